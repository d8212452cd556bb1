"""`kgdistill search`, `similar` and `classify`: what else a bundle answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kgdistill.cli.asking import (
    Asked,
    BundleOption,
    BundleTaskOption,
    CountOption,
    EventOption,
    HistoryOption,
    HistoryStoreOption,
    RunBundleOption,
    UserIdOption,
    WhereOption,
    ask,
    asked_at,
    conditions,
    for_whom,
    history_keys,
    lines_in,
    past,
    show,
)
from kgdistill.cli.options import JsonOption, PasswordFileOption, UserOption
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError

if TYPE_CHECKING:
    from kgdistill.serve.answer import Answer
    from kgdistill.serve.classifier import Prediction

_RESTS_ON = {
    "words and meaning": "the words that are shared, reordered by what they mean to the text tower",
    "words": "the words that are shared",
    "meaning": "what the text means to the text tower alone: no item shares a word",
    "fields": "the brand, category, other field or price that the text names",
    "nothing": "nothing: no word of the text is known",
    "together": "what was bought in the same baskets",
    "groups": "what was bought in the same baskets as products of that category or brand: too few bought it",
}
_LIKELIEST = 3
_SHOWN = 8


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    for command in (search, similar, goes_with, classify):
        root.command(command.__name__.replace("_", "-"))(command)


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is searched for.")],
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    k: CountOption = 10,
    where: WhereOption = None,
    as_typed: Annotated[
        bool, typer.Option("--as-typed", help="Correct no word that the catalogue lacks.")
    ] = False,
    facets: Annotated[
        Literal["boost", "filter", "off"],
        typer.Option(
            "--facets",
            metavar="boost|filter|off",
            help="What TEXT says of brand, category, price and further fields raises such items, leaves the "
            "others out, or is not read.",
        ),
    ] = "boost",
    user_id: UserIdOption = None,
    history: HistoryOption = None,
    events: EventOption = None,
    recommender: Annotated[
        Path | None,
        typer.Option(
            "--recommender",
            metavar="DIR",
            help="The bundle, or the run, that knows what was bought, where the one that searches does not.",
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=0.0,
            max=1.0,
            help="How much of the order is that of --user, --history and --event.",
        ),
    ] = 0.1,
    store: HistoryStoreOption = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """Find items by text, and say on what the answer rests.

    A word that no item has gives way to the nearest that some have, and that is said.

    \b
    Examples:
      kgdistill search 'green tea' --bundle runs/demo/bundle
      kgdistill search 'green tea under 5' --run runs/demo -k 5 --where brand=PRIVATE --json
      kgdistill search 'gren tea' --run runs/demo --user 900
      kgdistill search 'tea' --bundle runs/search/bundle --history 1095275 --recommender runs/demo
      kgdistill search 'tea' --run runs/views --event VIEWED=1082185,1029743
    """
    from kgdistill.serve.past import past_size

    if not text.strip():
        raise InputError("there is no text to search for", where="TEXT", hint="kgdistill search 'green tea'")
    somebody = user_id is not None or history is not None or bool(events)
    if recommender is not None and not somebody:
        raise InputError("goes with --user, --history or --event", where="--recommender")
    asked = ask(bundle, run, task, "search")
    by = asked if recommender is None else asked_at(recommender, "recommend")
    if recommender is None and asked.bundle.history is None and somebody:
        by = _beside(bundle, run)
    keys = history_keys(user_id, history, by.run is not None, events)
    whom = for_whom(by, keys, events, user_id, (store, user, password_file))
    filtered, notes = conditions(asked.bundle, where)
    answer = asked.bundle.search(
        text, k, where=filtered, spelling=not as_typed, facets=facets, history=whom.history,
        recommender=by.bundle, share=share,
    )  # fmt: skip
    notes += [*whom.notes, *answer.notes, *_said(answer, facets)]
    if answer.unknown:
        notes.append(f"unknown in --history{' or --event' if events else ''}: {', '.join(answer.unknown)}")
    rests_on = _RESTS_ON[answer.basis]
    if share and len(answer.unknown) < past_size(whom.history):
        rests_on += f"; and on {whom.rests_on} (--share {share:g})"
    show(
        asked.bundle, answer, notes, rests_on=rests_on,
        columns=["rank", "id", "title", "brand", "category", "score"],
        nothing="nothing fits that text" + (" among what --where leaves" if filtered else ""), json=json,
        more={
            "corrections": [one._asdict() for one in answer.corrections],
            "facets": [one._asdict() for one in answer.facets],
            "missing": answer.missing,
        },
    )  # fmt: skip


def _beside(bundle: Path | None, run: Path | None) -> Asked:
    """The bundle beside the one that searches that knows histories, in a folder of several tasks."""
    from kgdistill.serve.joined import bundles_in

    several = bundles_in(bundle if bundle is not None else Path(run or "") / "bundle")
    if several is None:
        hint = "name one that recommends: --recommender"
        raise InputError(
            "this bundle knows nothing of what was bought", where="--user, --history, --event", hint=hint
        )
    return ask(bundle, run, None, "recommend")


def _said(answer: Answer, use: str) -> list[str]:
    """What was made of the text."""
    notes = [
        f"searched for {searched} instead of {typed}; --as-typed searches for what was typed"
        for typed, searched in answer.corrections
    ]
    if answer.missing and answer.basis in ("words and meaning", "words", "fields"):
        words = ", ".join(map(repr, answer.missing[:_SHOWN])) + (
            ", …" if len(answer.missing) > _SHOWN else ""
        )
        notes.append(f"no item has {words}: found is what fits the rest")
    ends = [("from", "least"), ("up to", "most")]
    for facet in answer.facets:
        told = [f"{word} {getattr(facet, end):g}" for word, end in ends if getattr(facet, end) is not None]
        notes.append(f"{facet.text!r} is read as {facet.field} {facet.value or ' '.join(told)}")
    if answer.facets and use == "boost":
        notes.append("what is so comes further ahead; --facets filter leaves out the rest")
    return notes


def similar(
    item: Annotated[str, typer.Argument(metavar="ID", help="The item's id.")],
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    k: CountOption = 10,
    where: WhereOption = None,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """List the items nearest to one in the student's vectors.

    \b
    Examples:
      kgdistill similar 1095275 --bundle runs/demo/bundle
      kgdistill similar 1095275 --run runs/demo --where brand=PRIVATE --json
    """
    asked = ask(bundle, run, task, "similar")
    filtered, notes = conditions(asked.bundle, where)
    answer = asked.bundle.similar(item, k, where=filtered)
    show(
        asked.bundle, answer, notes, rests_on="the student's vectors",
        columns=["rank", "id", "title", "brand", "category", "score"], nothing="no item is left", json=json,
    )  # fmt: skip


def goes_with(
    items: Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of one or more items.")],
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    k: CountOption = 10,
    where: WhereOption = None,
    usual: Annotated[
        bool, typer.Option("--usual", help="Also what is bought with anything, the likeliest first.")
    ] = False,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """List what is bought together with some items, by more people than by chance.

    Of an item that too few bought, its category or its brand stands in; "because" says what each rests on.
    What could be bought instead of an item is told by `similar`.

    \b
    Examples:
      kgdistill goes-with 1095275 --bundle runs/demo/bundle
      kgdistill goes-with 1095275 1082185 --run runs/demo -k 5 --where brand=PRIVATE --json
    """
    from kgdistill.serve.goes_with import goes_with as found

    asked = ask(bundle, run, task, "goes-with")
    filtered, notes = conditions(asked.bundle, where)
    answer = found(asked.bundle, items, k, where=filtered, usual=usual)
    show(
        asked.bundle, answer, notes, rests_on=_RESTS_ON[answer.basis] + ("" if usual else ", beyond chance"),
        columns=["rank", "id", "title", "score", "because"],
        nothing="nothing is known to go with that"
        + (" among what --where leaves" if filtered else "")
        + ("" if usual else " beyond chance; --usual also lists what goes with anything"),
        json=json,
    )  # fmt: skip


def classify(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT...", help="One subject each; - reads them from stdin, one a line."),
    ] = None,
    bundle: BundleOption = None,
    run: RunBundleOption = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="ID,ID,...", help="What one subject did something with, by id."),
    ] = None,
    events: EventOption = None,
    facts: Annotated[
        list[str] | None,
        typer.Option("--fact", metavar="RELATIONSHIP=ID", help="What one subject is tied to; repeated."),
    ] = None,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """Tell the classes of texts, or of one subject by its history and facts.

    Each class has a probability.

    \b
    Examples:
      kgdistill classify 'where is my card?' 'top up failed' --bundle runs/intent/bundle
      kgdistill classify - --bundle runs/sentiment/bundle --json < reviews.txt
      kgdistill classify --history 1095275,1082185 --run runs/profile --json
    """
    if texts == ["-"]:
        texts = [line for _, line in lines_in(Path("-"), "-")]
        if not texts:
            raise InputError("holds no text", where="-", hint="one a line")
    if not texts and history is None and not events and not facts:
        raise InputError("give a TEXT, --history, --event or --fact", hint="kgdistill classify --help")
    from kgdistill.serve.past import past_texts
    from kgdistill.serve.reply import READ

    asked = ask(bundle, run, task, "classify")
    tied: dict[str, list[str]] = {}
    for fact in facts or ():
        name, equals, key = fact.partition("=")
        if not equals:
            raise InputError(f"{fact[:60]!r} is no RELATIONSHIP=ID", where="--fact")
        tied.setdefault(name.strip(), []).append(key.strip())
    done = None
    if history is not None or events:
        keys = [key.strip() for key in (history or "").split(",") if key.strip()]
        done = [past_texts(past(asked.bundle, keys, events))]
    told = asked.bundle.classify(texts or None, done, [tied] if tied else None)
    subjects, tower = texts or ["it"], asked.bundle.text
    shares = [None if tower is None or not texts else tower.known_share(text) for text in subjects]
    if json:
        whole = zip(subjects, told, shares, strict=True)
        print_json([_as_json(text, one, share) for text, one, share in whole])
        return
    rows = []
    for text, one, share in zip(subjects, told, shares, strict=True):
        for name, target in one.targets.items():
            likeliest = list(target.probabilities.items())[:_LIKELIEST]
            held = ", ".join(target.classes) or ("none of them" if target.out_of_scope else "none")
            rows.append([text[:60], name, held, ", ".join(f"{c} {p:.2f}" for c, p in likeliest)])
        if not one.known:
            say(f"nothing of {text[:60]!r} is known: told is what is common")
        elif share is not None and share < READ:
            say(f"of {text[:60]!r} only {share:.0%} is known: what is told rests on little")
        if one.unknown:
            say(f"unknown: {', '.join(one.unknown)}")
    print_table(["subject", "target", "told", "probabilities"], rows)


def _as_json(text: str, prediction: Prediction, share: float | None) -> dict[str, Any]:
    return {
        "subject": text,
        "known": prediction.known,
        "read": share,
        "unknown": prediction.unknown,
        "targets": {
            name: {
                "classes": target.classes,
                "out_of_scope": target.out_of_scope,
                "confidence": target.confidence,
                "probabilities": target.probabilities,
            }
            for name, target in prediction.targets.items()
        },
    }
