"""`kgdistill store` and `kgdistill schema`: what a store holds and may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from kgdistill.cli._options import (
    DEFAULT_STORE,
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    StoreOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli._output import print_json, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Look into a graph store.

    \b
    Examples:
      kgdistill store stats
      kgdistill store stats --store neo4j://localhost:7687 --json
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
    described = schema_at(schema)
    labels, edges = list(described.nodes), described.edges()
    # Names come from the schema, which allows plain identifiers only.
    parts = [f"MATCH (n:`{label}`) RETURN {n} AS place, count(n) AS amount" for n, label in enumerate(labels)]
    parts += [
        f"MATCH (:`{a}`)-[r:`{name}`]->(:`{b}`) RETURN {n} AS place, count(r) AS amount"
        for n, (a, name, b) in enumerate(edges, len(labels))
    ]
    with store_at(store, user, password_file) as opened:
        counted = opened.query(" UNION ALL ".join(parts), limit=len(parts), timeout_s=120.0)
        url = opened.url
    amounts = {row["place"]: int(row["amount"]) for row in counted.to_pylist()}
    nodes = {label: amounts.get(n, 0) for n, label in enumerate(labels)}
    relationships = {"-".join(e): amounts.get(n, 0) for n, e in enumerate(edges, len(labels))}
    if json:
        print_json({"store": url, "nodes": nodes, "relationships": relationships})
        return
    print_table(["type", "count"], [*nodes.items(), *relationships.items()], title=url)


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
