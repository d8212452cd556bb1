"""What the commands that ask a bundle share: which bundle, which items, and how an answer is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError
from kgdistill.nearest import nearest

if TYPE_CHECKING:
    from kgdistill.run.base import RunBase
    from kgdistill.serve.answer import Answer
    from kgdistill.serve.bundle import Bundle

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle; nothing else is needed.")
]
RunBundleOption = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="The folder of a run, whose bundle is asked.")
]
BundleTaskOption = Annotated[
    str | None,
    typer.Option("--task", metavar="NAME|FILE", help="Refuse a bundle that was made for another task."),
]
CountOption = Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only items of which this holds; repeated for another property, or another value of the same. "
        "A range of numbers or times is LEAST..MOST, either left out; nothing behind the = asks for those "
        "without a value.",
    ),
]


class Asked(NamedTuple):
    """A bundle, and the run that it is of, if one was named."""

    bundle: Bundle
    run: RunBase | None


def ask(bundle: Path | None, run: Path | None, task: str | None, command: str) -> Asked:
    """Opens the bundle that was named.

    Raises:
        InputError: none or two were named, or it was made for another task.
        ArtefactError: there is none, or it is damaged.
    """
    from kgdistill.serve.bundle import load_bundle

    if (run is None) == (bundle is None):
        raise InputError("give one of: --run, --bundle", hint=f"kgdistill {command} --help")
    opened = None
    if run is not None:
        from kgdistill.run.base import RunBase

        opened = RunBase.open(run)
        opened.need("bundle")
    folder = bundle if bundle is not None else Path(run or "") / "bundle"
    loaded = load_bundle(folder)
    if task is not None:
        from kgdistill.tasks.spec import load_task

        wanted, held = load_task(task).name, loaded.task.get("name")
        if wanted != held:
            raise InputError(
                f"was made for {held!r}, not for {wanted!r}", where=str(folder), hint="name another bundle"
            )
    return Asked(loaded, opened)


def conditions(bundle: Bundle, where: Sequence[str] | None) -> tuple[dict[str, Any], list[str]]:
    """A filter, and what is to be said of it: values that no item has.

    Raises:
        InputError: a condition is no KEY=VALUE, of a property that the bundle lacks, or of another kind.
    """
    found: dict[str, list[Any]] = {}
    for condition in where or ():
        name, equals, text = condition.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"{condition[:60]!r} is no KEY=VALUE", where="--where", hint="--where brand=Acme"
            )
        found.setdefault(name.strip(), []).append(bundle.items.parsed(name.strip(), text.strip()))
    notes = []
    for name, values in found.items():
        for value in values:
            if not bundle.items.mask({name: value}).any():
                close = nearest(value, bundle.items.values(name)) if isinstance(value, str) else ""
                notes.append(f"no item has {name} {value!r}{'; ' + close.strip() if close else ''}")
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}, notes


def show(
    bundle: Bundle,
    answer: Answer,
    notes: list[str],
    *,
    rests_on: str,
    columns: Sequence[str],
    nothing: str,
    json: bool,
) -> None:
    """Writes an answer: JSON, or a table with what it rests on."""
    if json:
        print_json(
            {
                "basis": answer.basis, "rests_on": rests_on, "score_is": bundle.score_is, "notes": notes,
                "unknown": answer.unknown, "new": answer.new, "hits": [hit._asdict() for hit in answer],
            }
        )  # fmt: skip
        return
    for note in notes:
        say(note)
    if not answer:
        say(nothing)
        return
    print_table(columns, [[getattr(hit, name) for name in columns] for hit in answer])
    say(f"rests on {rests_on}")
    say("a score is no probability, and is compared within this list alone")
