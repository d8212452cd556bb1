"""`kgdistill task`: what can be asked of a graph, declared in files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kgdistill.cli.options import (
    JsonOption,
    PasswordFileOption,
    SchemaOption,
    UserOption,
    schema_at,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, say, shown
from kgdistill.errors import DiskError, InputError

if TYPE_CHECKING:
    from kgdistill.tasks.check import GraphCounts
    from kgdistill.tasks.spec import TaskSpec

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or its file.")]
# What is not asked for is not opened: a task can be checked against a schema alone.
StoreOrNone = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="KGDISTILL_STORE",
        metavar="URL",
        help="Look at what this graph store holds as well: ladybug:PATH, neo4j://HOST:PORT.",
    ),
]


@app.callback()
def group() -> None:
    """What is asked of a graph: tasks, declared in files of YAML.

    \b
    Examples:
      kgdistill task list
      kgdistill task check mine.yaml --store ladybug:shop.db
    """


@app.command("list")
def list_tasks(json: JsonOption = False) -> None:
    """List the project's own tasks.

    \b
    Examples:
      kgdistill task list
      kgdistill task list --json
    """
    from kgdistill.tasks.spec import load_task, task_names

    tasks = [load_task(name) for name in task_names()]
    if json:
        print_json([{"name": t.name, "kind": t.kind, "description": t.description} for t in tasks])
    else:
        print_table(["task", "kind", "what it asks"], [[t.name, t.kind, t.description] for t in tasks])


@app.command("show")
def show(task: TaskArgument, json: JsonOption = False) -> None:
    """Print a task's file; as JSON with all that it leaves out filled in.

    \b
    Examples:
      kgdistill task show recommend > mine.yaml
      kgdistill task show mine.yaml --json
    """
    from kgdistill.tasks.spec import load_task, task_file

    spec = load_task(task)
    if json:
        print_json(spec.declared())
    else:
        print(task_file(task).read_text(encoding="utf-8-sig"), end="")


@app.command("check")
def check(
    task: TaskArgument,
    store: StoreOrNone = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    json: JsonOption = False,
) -> None:
    """Check a task: its file, the schema's names, and with --store what the graph holds.

    \b
    Examples:
      kgdistill task check mine.yaml
      kgdistill task check mine.yaml --store ladybug:shop.db
      kgdistill task check search --schema mine-schema.yaml --json
    """
    from kgdistill.tasks.check import GraphCounts, check_graph, check_task, check_trainable
    from kgdistill.tasks.sensitive import check_sensitive
    from kgdistill.tasks.spec import load_task, task_file

    spec, where = load_task(task), shown(task_file(task))
    if store is None:
        asked = schema_at(schema)
        check_task(spec, asked, where=where)
        counts = GraphCounts()
    else:
        with store_at(store, user, password_file) as opened:
            asked = schema_at(schema, opened)
            counts = check_graph(spec, opened, asked, where=where)
    rows = _rows(spec, counts)
    if json:
        print_json({"task": spec.declared(), "counts": dict(rows)})
        return
    if rows:
        print_table(["what", "count"], [list(row) for row in rows])
    for line in _unlearned(spec, counts):
        say(line)
    say(f"{spec.name} can be asked of this {'schema' if store is None else 'graph'}")
    try:
        check_sensitive(spec, asked, allowed=False)
        check_trainable(spec)
    except InputError as error:
        say(f"but no run learns it yet: {error}")


@app.command("init")
def init(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The new task's file; it must not exist yet.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="match or classify.")] = "match",
    store: StoreOrNone = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    schema: SchemaOption = None,
    json: JsonOption = False,
) -> None:
    """Propose a task from the schema, and with --store from what the graph holds most of.

    \b
    Examples:
      kgdistill task init mine.yaml --store ladybug:shop.db
      kgdistill task init profile.yaml --kind classify --schema mine-schema.yaml
    """
    from kgdistill.tasks.propose import propose_task
    from kgdistill.tasks.spec import parse_task

    if kind not in ("match", "classify"):
        raise InputError(f"{kind!r} is no kind of task", where="--kind", hint="match or classify")
    chosen: Literal["match", "classify"] = "match" if kind == "match" else "classify"
    if out.exists():
        raise InputError("is there already and stays as it is", where=shown(out), hint="name a new file")
    if store is None:
        text = propose_task(schema_at(schema), kind=chosen)
    else:
        with store_at(store, user, password_file) as opened:
            text = propose_task(schema_at(schema, opened), opened, kind=chosen)
    spec = parse_task(text, name=out.stem, where=shown(out))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror}", where=shown(out)) from error
    if json:
        print_json({"file": out, "text": text, "task": spec.declared()})
    else:
        print(text, end="")
        named = ("--store", "--neo4j-user", "--password-file", "--schema")
        at = zip(named, (store, None if user == "neo4j" else user, password_file, schema), strict=True)
        options = [word for name, given in at if given for word in (name, str(given))]
        say(f"written to {shown(out)}; next:  kgdistill task check {shlex.join([shown(out), *options])}")


def _rows(spec: TaskSpec, counts: GraphCounts) -> list[tuple[str, int]]:
    edges = [(f"({a})-[{name}]->({b})", n) for (a, name, b), n in counts.edges.items()]
    classes = [(f"classes of {name}", n) for name, n in counts.classes.items()]
    untimed = [(f"{name} without a time", n) for name, n in counts.untimed.items() if n]
    shared = [(f"{asking} with {own} and {name}", n) for asking, own, name, n in _shared(spec, counts)]
    return [*counts.nodes.items(), *edges, *classes, *untimed, *shared]


def _unlearned(spec: TaskSpec, counts: GraphCounts) -> list[str]:
    """Of which events of a history nothing is learned."""
    held = {edge[1]: n for edge, n in counts.edges.items()}
    untimed = [(name, n) for name, n in counts.untimed.items() if n]
    apart = [(asking, own, name) for asking, own, name, n in _shared(spec, counts) if not n]
    return [
        *(f"{n:,} of {held[name]:,} {name} have no time and are left out" for name, n in untimed),
        *(f"no {asking} has both {own} and {name}: {name} teaches nothing" for asking, own, name in apart),
    ]


def _shared(spec: TaskSpec, counts: GraphCounts) -> list[tuple[str, str | None, str, int]]:
    """By weighed event: who asks, the task's own event, the weighed one, how many have both."""
    from kgdistill.tasks.spec import MatchSpec

    if not isinstance(spec, MatchSpec):
        return []
    return [(spec.anchors.label, spec.positives.event, name, n) for name, n in counts.shared.items()]
