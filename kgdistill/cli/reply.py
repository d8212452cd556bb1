"""`kgdistill answer`: what is answered to a text, or that a person is to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgdistill.cli.asking import CountOption, asked_at
from kgdistill.cli.options import JsonOption
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle
    from kgdistill.serve.joined import Joined

_SHOWN = 100


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("answer")(answer)


def answer(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What somebody wrote.")],
    intents: Annotated[
        Path | None,
        typer.Option("--intents", metavar="DIR", help="A run of the task intent, or its bundle."),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="DIR", help="A run of the task answer, or its bundle."),
    ] = None,
    k: CountOption = 3,
    intent_from: Annotated[
        float | None,
        typer.Option(
            "--intent-from", metavar="SHARE", help="Believe an intent from this confidence on, 0 to 1."
        ),
    ] = None,
    answer_from: Annotated[
        float | None,
        typer.Option("--answer-from", metavar="SHARE", help="The same of a past answer."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer a text by its intent's template, by the nearest past answer, or hand over to a person.

    The confidences were chosen on validation, for the precision that the settings ask for. A text that is too
    long, or of which the models know too little, is handed over. One of --intents and --answers is enough.

    \b
    Examples:
      kgdistill answer 'where is my parcel?' --intents runs/intent --answers runs/answer
      kgdistill answer 'where is my parcel?' --answers runs/answer/bundle -k 5 --json
    """
    from kgdistill.serve.reply import reply

    if intents is None and answers is None:
        raise InputError("give --intents, --answers or both", hint="kgdistill answer --help")
    told = reply(
        text, intents=_opened(intents, answers, past=False), answers=_opened(answers, intents, past=True),
        k=k, intent_from=intent_from, answer_from=answer_from,
    )  # fmt: skip
    if json:
        print_json(asdict(told))
        return
    said = {"intent": f"by the intent {told.intent}", "answer": "by a past answer", "person": "by a person"}
    print(f"to be answered {said[told.decision]}: {told.because}")
    if told.text:
        print(told.text)
    if told.placeholders:
        say(f"to be filled in: {', '.join(told.placeholders)}")
    if told.nodes:
        print_table(["refers to", "id", "name"], [[n["label"], n["id"], n["name"]] for n in told.nodes])
    if told.nearest:
        rows = [
            [one.answer[:_SHOWN], asked, "" if one.confidence is None else f"{one.confidence:.2f}"]
            for one in told.nearest
            for asked in ["its own words" if one.question == one.answer else one.question[:_SHOWN]]
        ]
        print_table(["past answer", "to", "right with"], rows)


def _joined(folder: Path | None) -> Joined | None:
    from kgdistill.serve.joined import Joined, bundles_in

    named = [] if folder is None else [(place, bundles_in(place)) for place in (folder, folder / "bundle")]
    return next((Joined(place, names) for place, names in named if names is not None), None)


def _opened(folder: Path | None, other: Path | None, *, past: bool) -> Bundle | None:
    """The bundle with past answers, or with templates, at a folder or of the run that is there.

    Where none was named the `other` folder's, if it holds bundles of several tasks.
    """
    held = _joined(other if folder is None else folder)
    if folder is None:
        return None if held is None else held.answering(past=past)
    if held is not None:
        if (found := held.answering(past=past)) is None:
            what = "past answers" if past else "templates of intents"
            raise InputError(f"not one of its bundles holds {what} alone", where=str(folder))
        return found
    return asked_at(folder, "answer").bundle
