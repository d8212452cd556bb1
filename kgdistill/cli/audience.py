"""`kgdistill audience`: whom a campaign should reach, and what can be expected of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgdistill.cli.asking import BundleOption, BundleTaskOption, RunBundleOption, ask, asked_at
from kgdistill.cli.options import AllowSensitiveOption, JsonOption
from kgdistill.cli.output import print_json, print_table, say
from kgdistill.errors import InputError

if TYPE_CHECKING:
    from kgdistill.serve.among import Among
    from kgdistill.serve.audiences import AudienceAnswer
    from kgdistill.serve.bundle import Bundle

_RESTS_ON = {
    "products": "the products that it is for",
    "text": "the products that its text names, or is nearest to",
    "habits": "what they do in general",
}


def register(root: typer.Typer) -> None:
    """Adds the command."""
    root.command("audience")(audience)


def audience(
    campaigns: Annotated[
        list[str] | None, typer.Argument(metavar="CAMPAIGN...", help="One or several that the bundle knows.")
    ] = None,
    run: RunBundleOption = None,
    bundle: BundleOption = None,
    size: Annotated[int, typer.Option("--size", min=1, max=10_000_000, help="How many of each.")] = 100,
    products: Annotated[
        str | None, typer.Option("--products", metavar="ID,ID,...", help="What a new campaign is for.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="WORDS", help="What a new one says.")] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            "--exclude", metavar="FILE", help="Users to leave out, an id a line; # begins a remark."
        ),
    ] = None,
    cap: Annotated[
        int | None,
        typer.Option("--cap", min=1, help="Nobody is in more than so many of the campaigns asked for."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Only users of whom this is known, or predicted by --profiles; repeated for another "
            "property, or another value of the same.",
        ),
    ] = None,
    profiles: Annotated[
        Path | None,
        typer.Option(
            "--profiles",
            metavar="RUN|DIR",
            help="A run or bundle that tells properties of users, or several of which one does.",
        ),
    ] = None,
    allow_sensitive: AllowSensitiveOption = False,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """List whom a campaign should reach, how many of them will redeem or click, and why each.

    A probability is calibrated on campaigns that the model did not learn from. Of a user is read only what
    came before the campaign's start. JSON has the gains too: how many are expected of growing audiences. What
    the schema declares sensitive chooses nobody, known or predicted, unless --allow-sensitive is given.

    \b
    Examples:
      kgdistill audience 18 --size 200 --run runs/target
      kgdistill audience 19 20 --size 100 --cap 1 --exclude no-post.txt --bundle runs/target/bundle --json
      kgdistill audience --products 1095275,1082185 --size 50 --run runs/target
      kgdistill audience --text 'frozen pizza' --size 50 --run runs/target
      kgdistill audience 18 --where region=north --bundle runs/target/bundle
    """
    new = products is not None or text is not None
    if bool(campaigns) == new:
        raise InputError(
            "give a CAMPAIGN, or --products or --text of a new one", hint="kgdistill audience --help"
        )
    if cap is not None and new:
        raise InputError("goes with campaigns of the bundle", where="--cap")
    for option, given in (("--profiles", profiles is not None), ("--allow-sensitive", allow_sensitive)):
        if given and not where:
            raise InputError("goes with --where", where=option)
    out = _listed(exclude) if exclude is not None else []
    asked = ask(bundle, run, task, "audience").bundle
    if asked.audiences is None:
        asked.audience(str(campaigns))  # which says what the bundle was made for
    assert asked.audiences is not None
    chosen = _chosen(asked, where, profiles, allow_sensitive) if where else None
    if new:
        keys = None if products is None else [key.strip() for key in products.split(",") if key.strip()]
        answers = [asked.audiences.of_new(keys, text, size, out, chosen)]
    else:
        answers = asked.audiences.of_campaigns(list(campaigns or ()), size, out, cap, chosen)
    if json:
        print_json([_as_json(answer) for answer in answers])
        return
    for answer in answers:
        _show(answer)


def _chosen(bundle: Bundle, where: list[str], profiles: Path | None, allow_sensitive: bool) -> Among:
    """Who may be chosen."""
    from kgdistill.serve.among import among

    other = None if profiles is None else asked_at(profiles, "profile").bundle
    asked: dict[str, list[Any]] = {}
    for condition in where:
        name, equals, text = (part.strip() for part in condition.partition("="))
        if not equals or not name:
            raise InputError(
                f"{condition[:60]!r} is no KEY=VALUE", where="--where", hint="--where region=north"
            )
        people = bundle.finder.people if bundle.finder is not None else None
        held = people is not None and name in people.properties
        told = other is not None and other.classifier is not None and name in other.classifier.targets
        asked.setdefault(name, []).append(people.parsed(name, text) if people and held and not told else text)
    conditions = {name: values[0] if len(values) == 1 else values for name, values in asked.items()}
    return among(bundle, conditions, profiles=other, allow_sensitive=allow_sensitive)


def _listed(file: Path) -> list[str]:
    """The ids of a file, an id a line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text in UTF-8"
        raise InputError(f"cannot be read: {reason}", where=f"--exclude {file}") from error
    return [key for line in lines if (key := line.partition("#")[0].strip())]


def _show(answer: AudienceAnswer) -> None:
    for note in answer.notes:
        say(note)
    if answer.unknown:
        say(f"unknown: {', '.join(answer.unknown[:12])}{', …' if len(answer.unknown) > 12 else ''}")
    if not answer:
        say("nobody is left to choose")
        return
    rows: list[list[Any]] = [[m.rank, m.id, f"{m.probability:.3f}", m.because] for m in answer]
    print_table(["rank", "id", "probability", "because"], rows, title=answer.campaign)
    mean, low, high = answer.expected
    whole = answer.gains[-1][1] if answer.gains else mean
    share = f", {mean / whole:.0%} of those expected of all {answer.candidates:,}" if whole > 0 else ""
    say(f"expected of {len(answer):,}: {mean:.1f} (95 %: {low:.1f} to {high:.1f}){share}")
    say(f"rests on {_RESTS_ON[answer.basis]}")


def _as_json(answer: AudienceAnswer) -> dict[str, Any]:
    return {
        "campaign": answer.campaign,
        "basis": answer.basis,
        "rests_on": _RESTS_ON[answer.basis],
        "candidates": answer.candidates,
        "expected": answer.expected._asdict(),
        "gains": [{"size": size, "expected": expected} for size, expected in answer.gains],
        "notes": answer.notes,
        "unknown": answer.unknown,
        "members": [member._asdict() for member in answer],
    }
