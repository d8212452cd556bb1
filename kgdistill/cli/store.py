"""`kgdistill store` and `kgdistill schema`: what a store holds and may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from kgdistill.cli.jobs import ArchiveOption, WaitOption, archive_at, open_or_put_aside
from kgdistill.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say, shown

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Look into a graph store, compare, copy and rebuild it.

    \b
    Examples:
      kgdistill store stats
      kgdistill store stats --store neo4j://localhost:7687 --json
      kgdistill store verify
      kgdistill store copy ladybug:shop.db neo4j://localhost:7687
    """


@app.command("stats")
def stats(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    json: JsonOption = False,
) -> None:
    """Count the nodes and relationships of every type.

    \b
    Examples:
      kgdistill store stats
      kgdistill store stats --store bolt://localhost:7687 --password-file .neo4j/password
    """
    from kgdistill.explore import count_types

    with store_at(store, user, password_file) as opened:
        described = schema_at(schema, opened)
        counted = count_types(opened, described)
        url = opened.url
    nodes = counted.nodes
    relationships = {"-".join(edge): number for edge, number in counted.relationships.items()}
    if json:
        print_json({"store": url, "nodes": nodes, "relationships": relationships})
        return
    print_table(["type", "count"], [*nodes.items(), *relationships.items()], title=url)


@app.command("rebuild")
def rebuild(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Make a store hold what its archive says.

    It may be empty, damaged or changed by hand; nodes and relationships that the archive does not know
    go. What runs wrote back and what was derived comes back as the archive keeps it. Of runs and types that
    it does not know, all is left alone but for what hangs on nodes that go. An embedded store that cannot
    be opened is put aside and made anew.

    \b
    Examples:
      kgdistill store rebuild
      kgdistill store rebuild --store ladybug:new.db --archive kgdistill.db.archive
    """
    from kgdistill.ingest.projection import rebuild as make_anew

    place = archive_at(archive, store)
    with place.lock(wait), open_or_put_aside(store, user, password_file, place.folder, wait) as opened:
        done = make_anew(opened, place, wait_s=wait)
        url = opened.url
    if json:
        print_json({"store": url, "archive": place.folder, "written": done.written, "removed": done.removed})
        return
    rows = [[name, count, done.removed.get(name, 0)] for name, count in done.written.items()]
    print_table(["type", "written", "removed"], rows, title=url)
    say(f"made of {len(done.jobs)} job{'' if len(done.jobs) == 1 else 's'} in {shown(place.folder)}")


@app.command("verify")
def verify(
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="URL", help="Another store, instead of this one's archive."),
    ] = None,
    schema: SchemaOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a store with its archive, or another.

    By counts and checksums of every type, whatever order things are stored in.
    Ends with 2 where they differ. Against the archive, types that it holds nothing of are not looked at.

    \b
    Examples:
      kgdistill store verify
      kgdistill store verify --store ladybug:shop.db --against neo4j://localhost:7687
    """
    from kgdistill.ingest.projection import archived_types
    from kgdistill.store.compare import compare

    if against is None:
        place = archive_at(archive, store)
        with place.lock(), store_at(store, user, password_file) as opened, archived_types(place) as other:
            marks, differences = compare(opened, other.store, other.schema)
        name = shown(place.folder)
    else:
        with store_at(store, user, password_file) as opened, store_at(against, user, password_file) as right:
            marks, differences = compare(opened, right, schema_at(schema, opened))
            name = right.url
    if json:
        print_json({"store": store, "against": name, "types": marks, "differences": differences})
    else:
        differing = {d.type for d in differences}
        rows = [
            [kind, mark.rows, mark.checksum, "DIFFERS" if kind in differing else "equal"]
            for kind, mark in marks.items()
            if mark.rows or kind in differing
        ]
        print_table(["type", "rows", "checksum", "against " + name], rows, title=store)
        for d in differences:
            say(
                f"{d.type}: {d.only_left:,} only in {store}, {d.only_right:,} only in {name}, "
                f"{d.changed:,} with other properties; for example {d.example}"
            )
    if differences:
        if against is None:
            say("next:  kgdistill store rebuild; it leaves runs that the archive lacks: write them back")
        raise typer.Exit(2)


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The store to read.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The store to write.")],
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Copy a store's graph to another store.

    That is every node and relationship of the schema; what is there already is updated.

    \b
    Examples:
      kgdistill store copy ladybug:shop.db neo4j://localhost:7687
      kgdistill store copy neo4j://localhost:7687 ladybug:copy.db --json
    """
    from kgdistill.store.compare import copy as copy_all

    with (
        store_at(source, user, password_file) as left,
        store_at(target, user, password_file, existing=False, wait_s=wait) as right,
    ):
        written = copy_all(left, right, schema_at(schema, left), wait_s=wait)
        names = (left.url, right.url)
    if json:
        print_json({"from": names[0], "to": names[1], "written": written})
        return
    print_table(["type", "written"], [[n, c] for n, c in written.items() if c], title=" -> ".join(names))


def register(root: typer.Typer) -> None:
    """Adds `schema` to the commands."""
    root.command("schema")(show_schema)


def show_schema(
    schema: SchemaOption = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Write it as a Mermaid picture.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the node and relationship types of the graph.

    \b
    Examples:
      kgdistill schema
      kgdistill schema --mermaid > schema.mmd
      kgdistill schema --schema my-schema.yaml --json
    """
    from kgdistill.store.picture import mermaid as draw

    described = schema_at(schema)
    if mermaid:
        print(draw(described), end="")
    elif json:
        print_json(described.model_dump(mode="json"))
    else:
        rows = [
            [label, "node", node.key, ", ".join(node.properties)] for label, node in described.nodes.items()
        ]
        rows += [
            [name, rel.kind, "; ".join(f"{a} -> {b}" for a, b in rel.endpoints), ", ".join(rel.properties)]
            for name, rel in described.relationships.items()
        ]
        print_table(["type", "kind", "key or ends", "properties"], rows)
