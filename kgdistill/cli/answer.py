"""`kgdistill recommend` and `demo`: what comes out at the end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgdistill.cli.asking import (
    AtOption,
    BundleOption,
    BundleTaskOption,
    CountOption,
    EventOption,
    HistoryOption,
    HistoryStoreOption,
    PurchasesOption,
    RunBundleOption,
    UserIdOption,
    WhereOption,
    ask,
    at_moment,
    conditions,
    for_whom,
    history_keys,
    purchases_in,
    show,
)
from kgdistill.cli.jobs import ArchiveOption
from kgdistill.cli.options import JsonOption, PasswordFileOption, UserOption, password_in
from kgdistill.cli.output import print_json, print_table, print_wide, say, shown
from kgdistill.errors import InputError
from kgdistill.wording import spoken

if TYPE_CHECKING:
    from kgdistill.demo import DemoResult
    from kgdistill.serve.answer import Answer

_RESTS_ON = {
    "text": "the products nearest in words to the text",
    "popularity": "popularity alone",
}


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    root.command("recommend")(recommend)
    root.command("demo")(demo)


def recommend(
    run: RunBundleOption = None,
    bundle: BundleOption = None,
    user_id: UserIdOption = None,
    history: HistoryOption = None,
    purchases: PurchasesOption = None,
    events: EventOption = None,
    at: AtOption = None,
    text: Annotated[
        str, typer.Option("--text", metavar="WORDS", help="Recommend what fits these words.")
    ] = "",
    k: CountOption = 10,
    where: WhereOption = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            metavar="POOL",
            help="all, warm or cold: products with few buyers, or the others; left out: as written back.",
        ),
    ] = None,
    store: HistoryStoreOption = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    diversity: Annotated[
        float,
        typer.Option(
            "--diversity",
            min=0.0,
            max=1.0,
            help="How much it counts that a product is unlike those before: by vectors, brand, category.",
        ),
    ] = 0.0,
    new: Annotated[
        int,
        typer.Option(
            "--new", metavar="N", min=0, help="At least N of the -k are new: products with few buyers yet."
        ),
    ] = 0,
    task: BundleTaskOption = None,
    json: JsonOption = False,
) -> None:
    """Recommend products, and say on what the answer rests: a history, a text, or popularity.

    What --user bought is left out, also what was bought after the cut that the models were trained before. A
    bundle that ranks what is bought again answers with the next basket: it needs the time of every purchase.
    A score orders the products of one answer and is no probability; "because" says what raises it most, and
    nothing where nothing stands out.

    \b
    Examples:
      kgdistill recommend --run runs/demo --user 900
      kgdistill recommend --run runs/demo --user 900 --store ladybug:runs/demo/graph.db
      kgdistill recommend --bundle runs/demo/bundle --history 1095275,1082185 -k 5
      kgdistill recommend --bundle runs/demo/bundle --text 'green tea' --pool cold --json
      kgdistill recommend --bundle runs/demo/bundle --history 1095275,1082185 --new 2
      kgdistill recommend --bundle runs/views/bundle --history 1095275 --event VIEWED=1082185,1029743
      kgdistill recommend --bundle runs/basket/bundle --history 1095275@2024-03-01,1095275@2024-03-08 --at now
      kgdistill recommend --run runs/demo --user 900 --where brand=PRIVATE --where price=..5
    """
    from kgdistill.serve.diverse import DEPTH, diversified
    from kgdistill.serve.fresh import with_new

    if (run is None) == (bundle is None):
        raise InputError("give one of: --run, --bundle", hint="kgdistill recommend --help")
    if new and pool == "warm":
        raise InputError(
            "warm leaves out what --new asks for", where="--pool", hint="leave --pool or --new out"
        )
    if purchases is not None and (user_id is not None or history is not None):
        raise InputError("give one of: --user, --history, --purchases")
    keys = history_keys(user_id, history, run is not None, events)
    held = ask(bundle, run, task, "recommend")
    loaded = held.bundle
    filtered, notes = conditions(loaded, where)
    asked = for_whom(held, keys, events, user_id, (store, user, password_file))
    if purchases is not None:
        asked = asked._replace(history=purchases_in(purchases))
    asked = at_moment(loaded, asked, at)

    def of_pool(pool: str | None) -> Answer:
        among = k if not diversity else DEPTH * k
        answer = loaded.recommend(
            asked.history, among, text=text, where=filtered, exclude=asked.exclude, pool=pool, reasons=True
        )
        return diversified(loaded, answer, k, diversity) if diversity else answer

    answer = of_pool(pool)
    if new:
        answer = with_new(loaded, answer, of_pool("cold"), k, new)
        notes.append(_said_of_new(answer, new))
    notes += [*asked.notes, *answer.notes]
    if text.strip() and "text" not in answer.basis:
        notes.append("no word of --text stands in any product's text")
    if answer.unknown:
        notes.append(f"unknown in --history{' or --event' if events else ''}: {', '.join(answer.unknown)}")
    rests_on = asked.rests_on if answer.basis.startswith("history") else _RESTS_ON[answer.basis]
    if answer.basis == "history and text":
        rests_on += "; only products that fit --text"
    if diversity:
        rests_on += (
            f"; ordered by the score and by how unlike each is to those before (--diversity {diversity:g})"
        )
    show(
        loaded, answer, notes, rests_on=rests_on, columns=["rank", "id", "title", "score", "because"],
        nothing="no product is left to recommend"
        + (" among what --where leaves" if filtered else "")
        + ("" if (pool or loaded.pool) == "all" else "; try --pool all"),
        json=json,
    )  # fmt: skip


def _said_of_new(answer: Answer, wanted: int) -> str:
    if not answer.new:
        return "no new product is left to recommend (--new)"
    short = f": there are no more of the {wanted} that --new asks for" if len(answer.new) < wanted else ""
    return f"new, with few buyers yet: {', '.join(answer.new)}{short}"


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A sample of the households.")] = False,
    lang: Annotated[
        str, typer.Option("--lang", metavar="en|zh", help="zh: an invented shop with data in Chinese.")
    ] = "en",
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="KGDISTILL_STORE",
            metavar="URL",
            help="The graph store; an embedded one inside the run's folder where left out.",
        ),
    ] = None,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    archive: ArchiveOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="The run's folder; left out: runs/demo, or runs/demo-zh."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the sample and starts the training.")] = 0,
    json: JsonOption = False,
) -> None:
    """Go the whole way on Complete Journey: files, graph, teacher, student, answers, report.

    Stopped and started again, it goes on from the last finished stage.

    \b
    Examples:
      kgdistill demo --quick
      kgdistill demo --lang zh --quick
      kgdistill demo --device cuda --out runs/gpu
      kgdistill demo --store neo4j://localhost:7687 --password-file .neo4j/password
    """
    from kgdistill.demo import DemoStore, run_demo
    from kgdistill.models.device import choose_device

    choose_device(device)
    language = spoken(lang, "--lang")
    out = Path("runs/demo" if language == "en" else "runs/demo-zh") if out is None else out
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "config.json").is_file())):
        raise InputError("holds something else than a run", where=shown(out), hint="name a new folder: --out")
    if out.name in ("", ".."):
        out = out.resolve()  # the folder's name is the run's name in the graph
    password = password_in(password_file) if password_file is not None else None
    result = run_demo(
        out, quick=quick, store=DemoStore(store, user, password, archive), device=device, threads=threads,
        seed=seed, language=language,
    )  # fmt: skip
    if json:
        print_json(result)
        return
    _show(result, out, [] if password_file is None else ["--password-file", str(password_file)], user)


def _show(result: DemoResult, out: Path, secret: list[str], user: str) -> None:
    from kgdistill.run.report import metrics_table

    print_wide(metrics_table(result.metrics))
    for example in result.examples[:3]:
        found = example["recommendations"][:5]
        rows = [[r["rank"], r["product"], r["title"]] for r in found]
        print(f"for user {_line(example['user'])}")
        print_table(["rank", "product", "title"], rows)
        told = next(iter(_explained(example)), None)
        if told is not None:
            print(f"why {_line(told['title'])}: {_line(told['because'])}")
        print()
    print(f"report  {shown(result.report)}")
    print(f"bundle  {shown(result.bundle)}")
    say(f"took {result.seconds:.0f} s; try next:")
    at = ["--store", result.store_url, *secret, *(["--neo4j-user", user] if user != "neo4j" else [])]
    for words in _next(result, out, at):
        say(f"  kgdistill {shlex.join(words)}")


def _explained(example: dict[str, Any]) -> list[dict[str, Any]]:
    """The recommendations to which a path of the graph leads; every path starts at a purchase."""
    return [r for r in example["recommendations"] if r["explained"]]


def _next(result: DemoResult, out: Path, at: list[str]) -> list[list[str]]:
    """Commands that work for this run."""
    told = [(str(example["user"]), found) for example in result.examples for found in _explained(example)]
    commands: list[list[str]] = []
    if told:
        user, found = told[0]
        named = ["--param", f"user={user}", "--param", f"run={out.resolve().name}"]
        commands += [
            ["query", "run", "recommendations_of_user", *named, *at],
            ["explain", user, str(found["product"]), *at],
            ["recommend", "--run", shown(out), "--user", user, *at],
            ["recommend", "--bundle", shown(result.bundle), "--text", _line(str(found["title"]))],
        ]
    return [*commands, ["query", "list"]]


def _line(value: Any) -> str:
    return "".join(c if c.isprintable() else " " for c in str(value))
