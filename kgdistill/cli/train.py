"""From the graph to answers: `snapshot`, `train`, `evaluate`, `writeback` and `report`."""

from __future__ import annotations

import json as json_module
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kgdistill.cli import several
from kgdistill.cli.jobs import KeptOption, WaitOption, say_if_unkept
from kgdistill.cli.options import (
    DEFAULT_STORE,
    AllowSensitiveOption,
    DeviceOption,
    JsonOption,
    PasswordFileOption,
    RunOption,
    StoreOption,
    TaskOption,
    TasksOption,
    ThreadsOption,
    UserOption,
    check_device,
    check_run_task,
    run_at,
    store_at,
)
from kgdistill.cli.output import print_json, print_table, print_wide, say, shown
from kgdistill.errors import InputError
from kgdistill.moment import moment

if TYPE_CHECKING:
    from kgdistill.run.run import Run

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings in YAML: protocol, text, teacher, student, …; docs/settings.md says every key.",
    ),
]

train_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    root.command("snapshot")(snapshot)
    root.command("fit")(fit)
    root.add_typer(train_app, name="train")
    root.command("evaluate")(evaluate)
    root.command("writeback")(writeback)
    root.command("report")(report)


def snapshot(
    run: RunOption,
    task: TaskOption = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    config: ConfigOption = None,
    cut: Annotated[
        str | None,
        typer.Option("--cut", metavar="DATE", help="Training sees what comes before it; needs --test-start."),
    ] = None,
    test_start: Annotated[
        str | None, typer.Option("--test-start", metavar="DATE", help="Validation ends and the test begins.")
    ] = None,
    complete_journey: Annotated[
        bool, typer.Option("--complete-journey", help="Split and leave out as fits Complete Journey.")
    ] = False,
    allow_sensitive: AllowSensitiveOption = False,
    json: JsonOption = False,
) -> None:
    """Freeze the graph at a cut and make the folder of a run.

    Without --cut and --test-start, nor both in the file, a fifth of the purchases comes after the cut and
    half of these are the test. The settings in force are written to RUN/config.json.

    \b
    Examples:
      kgdistill snapshot --run runs/mine
      kgdistill snapshot --run runs/mine --cut 2024-03-01 --test-start 2024-04-01 --config mine.yaml
      kgdistill snapshot --run runs/journey --complete-journey --store neo4j://localhost:7687
    """
    values = _values(config, {"--cut": cut, "--test-start": test_start}, complete_journey)
    values |= {"allow_sensitive": True} if allow_sensitive else {}
    opened = _created(run, values, task, (store, user, password_file), str(config or "configuration"))
    _frozen(opened, json)


def fit(
    run: RunOption,
    tasks: TasksOption = None,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    config: ConfigOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    allow_sensitive: AllowSensitiveOption = False,
    one_tower: Annotated[
        bool, typer.Option("--one-tower", help="Of several tasks: one text tower reads for those by text.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make everything of a run up to the bundle: snapshot, teacher, targets, student.

    A run that is not there yet is made from the store; one that is goes on where it was, with the settings
    that it has. What stands there from the same inputs is kept. A task that ranks reads nothing that the
    schema declares sensitive, unless --allow-sensitive is given.

    \b
    Examples:
      kgdistill fit --run runs/mine
      kgdistill fit --run runs/search --task search --store neo4j://localhost:7687
      kgdistill fit --run runs/viewed --task viewed.yaml --config mine.yaml --device cpu
      kgdistill fit --run runs/all --task recommend --task search --task intent
      kgdistill fit --run runs/all --task search --task answer --task intent --one-tower
    """
    if len(tasks or ()) > 1 or several.are_in(run):
        values = _values(config, {}, False) | ({"allow_sensitive": True} if allow_sensitive else {})
        values |= {"one_tower": True} if one_tower else {}
        return several.fit(
            run, tasks or [], values, (store, user, password_file), device=device, threads=threads, json=json
        )
    task = tasks[0] if tasks else None
    if one_tower:
        raise InputError("takes several tasks", where="--one-tower", hint="name each: --task A --task B")
    if not (run / "graph" / "stage.json").is_file():
        values = _values(config, {}, False) | ({"allow_sensitive": True} if allow_sensitive else {})
        _created(run, values, task, (store, user, password_file), str(config or "configuration"))
    elif config is not None or allow_sensitive:
        raise InputError("has settings already", where=shown(run), hint="name a new run")
    opened = run_at(run, device=device, threads=threads, keep=True)
    check_run_task(opened, task)
    opened.fit()
    several.join_again(opened)
    _trained(opened, list(opened.fitted), json, "kgdistill evaluate")


def _values(config: Path | None, moments: dict[str, str | None], complete_journey: bool) -> dict[str, Any]:
    """The settings that were given; what the options say goes before what the file says."""
    from kgdistill.config import read_config

    values = read_config(config) if config is not None else {}
    given = values.get("protocol") or {}
    if not isinstance(given, dict):
        raise InputError("'protocol' must be a mapping of keys to values", where=str(config))
    base: dict[str, Any] = {}
    if complete_journey:
        from kgdistill.datasets.complete_journey import complete_journey_protocol

        base = complete_journey_protocol().model_dump()
    told = {
        option[2:].replace("-", "_"): moment(text, option)
        for option, text in moments.items()
        if text is not None
    }
    protocol = {**base, **given, **told}
    return {**values, "protocol": protocol} if protocol else values


def _created(
    run: Path, values: dict[str, Any], task: str | None, store: tuple[str, str, Path | None], where: str
) -> Run:
    from kgdistill.run.create import check_new, draft, over_held
    from kgdistill.run.run import Run

    check_new(run)
    named = values.get("task") if task is None else task
    values = {name: value for name, value in values.items() if name != "task"}
    # A typo is told before the store is opened.
    check_device(draft(over_held(run, values, named), task=named, where=where).config.device)
    with store_at(*store) as opened:
        return Run.create(run, opened, task=named, where=where, **values)


def _frozen(run: Run, json: bool) -> None:
    """Tells what a snapshot holds."""
    from kgdistill.tasks.reads import unread_edges

    taken, config = run.snapshot, run.config
    facts: dict[str, Any] = {
        "run": run.folder,
        "task": config.task.name,
        "content_hash": taken.content_hash,
        "nodes": {label: taken.num_nodes(label) for label in taken.labels},
        "relationships": {"-".join(e): taken.num_edges(e) for e in taken.edge_types},
    }
    lines: list[str] = []
    if config.protocol is not None:
        task, protocol = run.task, config.protocol
        unread = {
            "-".join(e): taken.num_edges(e) for e in unread_edges(taken, protocol, run.declared_weights)
        }
        facts |= {
            "cut": protocol.cut,
            "test_start": protocol.test_start,
            "unread": list(unread),
            "users": len(task.users),
            "items": len(task.items),
            "train_pairs": int(task.train.nnz),
            "validation_pairs": int(task.validation.nnz),
        }
        lines = [
            *protocol.describe(),
            f"{facts['users']:,} users and {facts['items']:,} items count; "
            f"{facts['train_pairs']:,} pairs to train on, {facts['validation_pairs']:,} to validate",
            *_histories(run),
        ]
    if json:
        print_json(facts)
        return
    print_table(["type", "count"], [*facts["nodes"].items(), *facts["relationships"].items()])
    print()
    for line in lines:
        print(line)
    if facts.get("unread"):
        held = ", ".join(f"{name} ({facts['relationships'][name]:,})" for name in facts["unread"])
        say(f"no model reads these yet: {held}; they serve queries and checks")
    say(f"next:  kgdistill fit --run {shown(run.folder)}")


def _histories(run: Run) -> list[str]:
    """What is said of further events."""
    from kgdistill.tasks.positives import LEARNED

    held = {name: run.snapshot.num_edges(e) if e in run.snapshot.edge_types else 0
            for name, e in run.config.discovery.beside(run.declared_weights).items()}  # fmt: skip
    return [
        f"histories hold {name} too, "
        + ("what one weighs is learned" if weight == LEARNED else f"weighed {weight:g}")
        + ("" if held[name] else "; the graph holds none before the cut, so that nothing is learned of it")
        for name, weight in run.declared_weights.items()
    ]


@train_app.callback()
def group() -> None:
    """Train the models of a run; a model that stands there from the same settings is kept.

    \b
    Examples:
      kgdistill train teacher --run runs/mine
      kgdistill train student --run runs/mine --device cuda
    """


@train_app.command("teacher")
def teacher(
    run: RunOption,
    control: Annotated[
        Literal["all", "text", "shuffled", "none"],
        typer.Option(
            "--control",
            help="Which controls to train beside the fused teacher: shuffled are those on shuffled facts or "
            "labels, text the others.",
        ),
    ] = "all",
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Train the fused teacher with its controls, and write down what it hands to the student.

    The controls are a teacher that reads texts alone, and the fused one on shuffled facts; where classes are
    told one without facts, and one whose labels were exchanged. `evaluate` compares with those that are
    there.

    \b
    Examples:
      kgdistill train teacher --run runs/mine
      kgdistill train teacher --run runs/mine --control text --device cpu
    """
    opened = run_at(run, device=device, threads=threads, keep=True)
    _make(opened, opened.pipeline.teachers(control), json, "kgdistill train student")


@train_app.command("student")
def student(
    run: RunOption,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Train the student, and its controls: without distillation, lists or vectors; pack the bundle.

    \b
    Examples:
      kgdistill train student --run runs/mine
      kgdistill train student --run runs/mine --device cpu --threads 2 --json
    """
    opened = run_at(run, device=device, threads=threads, keep=True)
    _make(opened, list(opened.pipeline.by_learner[1]), json, "kgdistill evaluate")


def _make(run: Run, stages: list[str], json: bool, following: str) -> None:
    """Makes stages, without those that can show nothing, and says what they are."""
    with run.lock():
        made = run.make_each(stages)
    _trained(run, made, json, following)


def _trained(run: Run, stages: list[str], json: bool, following: str) -> None:
    found = [
        {
            "stage": name,
            "folder": run.folder / name,
            "seconds": run.need(name).seconds,
            **_best(run.read(name)),
        }
        for name in stages
    ]
    if json:
        print_json({"run": run.folder, "stages": found})
        return
    columns = ["stage", "seconds", *sorted({key for row in found for key in row if "/" in key})]
    print_table(columns, [[row.get(column) for column in columns] for row in found])
    if following == "kgdistill evaluate" and not run.judges:
        following = several.UNJUDGED
    say(f"next:  {following} --run {shown(run.folder)}")


def _best(stage: Path) -> dict[str, float]:
    """The validation figures of a trained model at the epoch that was kept."""
    history = stage / "history.jsonl"
    if not history.is_file():
        return {}
    file = next((f for f in (stage / "training.json", stage / "config.json") if f.is_file()), None)
    if file is None:
        return {}
    kept = json_module.loads(file.read_text(encoding="utf-8"))["best_epoch"]
    lines = (json_module.loads(line) for line in history.read_text(encoding="utf-8").splitlines())
    found: dict[str, float] = next((line for line in lines if line["epoch"] == kept), {})
    return {key: value for key, value in found.items() if key.startswith("valid/")}


def evaluate(
    run: RunOption,
    task: TaskOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Judge every model of a run, and the baselines, on the test period.

    \b
    Examples:
      kgdistill evaluate --run runs/mine
      kgdistill evaluate --run runs/mine --json
      kgdistill evaluate --run runs/all --task search
    """
    if several.are_in(run) and task is None:
        return several.evaluate(run, _judged, device=device, threads=threads, json=json)
    opened = run_at(several.one_of(run, task), device=device, threads=threads)
    if not several.are_in(run):
        check_run_task(opened, task)
    metrics = opened.evaluate()
    if json:
        print_json(metrics)
    else:
        _judged(opened, metrics)


def _judged(run: Run, metrics: Any) -> None:
    """Shows the figures of a run, and what there is to say of them."""
    from kgdistill.run.report import metrics_table

    print_wide(metrics_table(metrics))
    for kind, why in metrics["left_out"].items():
        stage = run.pipeline.stages.get(kind)
        say(f"left out: {why}" + (f" ({stage.command} --run {shown(run.folder)})" if stage else ""))
    for kind, why in metrics["void"].items():
        say(f"shows nothing: {run.pipeline.arms[kind].title}: {why}")
    if metrics.get("sensitive"):
        say(f"sensitive, and allowed to this run: {', '.join(metrics['sensitive'])}")
    say(f"next:  kgdistill report {shown(run.folder)}")


def writeback(
    run: RunOption,
    store: StoreOption = DEFAULT_STORE,
    user: UserOption = "neo4j",
    password_file: PasswordFileOption = None,
    device: DeviceOption = None,
    archive: KeptOption = None,
    wait: WaitOption = 0.0,
    least: Annotated[
        float | None,
        typer.Option(
            "--least",
            min=0.0,
            max=1.0,
            help="The probability from which on a class or a past answer is written; left out: 0.5 for a "
            "class, for an answer what validation chose.",
        ),
    ] = None,
    allow_sensitive: AllowSensitiveOption = False,
    reasons: Annotated[
        bool, typer.Option("--reasons/--no-reasons", help="Keep with each recommendation why it was made.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Write a run's answers and embeddings into the graph, in place of the run's former ones.

    Recommendations rest on all that the store knows now, also on purchases after the cut; what a user bought
    is left out, but where the task ranks what is bought again, as of the latest purchase of all. Of a run
    that finds audiences, those of the campaigns from its cut on are written; classes and past answers for
    nodes that the run did not learn from, where it is sure enough; what the schema declares sensitive with
    --allow-sensitive alone. They carry the name of the run's folder, which a Run
    node has too, with task, cut and figures; those of other runs stay. All is written, or nothing, and the
    store's archive keeps it, so that `store rebuild` brings it back.

    \b
    Examples:
      kgdistill writeback --run runs/mine
      kgdistill writeback --run runs/mine --store neo4j://localhost:7687 --json
    """
    from kgdistill.graph import Graph

    if several.are_in(run):
        if least is not None or allow_sensitive:
            raise InputError("of several runs, name one", where=shown(run), hint="--least, --allow-sensitive")
        with store_at(store, user, password_file, wait_s=wait) as held:
            graph = Graph(held, archive=archive)
            write = partial(graph.write_back, reasons=reasons, wait_s=wait)
            return several.write_back(run, write, device=device, json=json)
    opened = run_at(run, device=device)
    with store_at(store, user, password_file, wait_s=wait) as held:
        written = Graph(held, archive=archive).write_back(
            opened, least=least, allow_sensitive=allow_sensitive, reasons=reasons, wait_s=wait
        )
    if json:
        print_json(written)
        return
    rows = [["recommendations", written.recommendations], *([k, n] for k, n in written.embeddings.items())]
    if opened.config.kind == "classify":
        rows = [[f"classes of {name}", count] for name, count in written.classes.items()]
    elif opened.config.kind == "answer":
        rows = [["answers", written.recommendations]]
    print_table(["written", "count"], rows)
    if written.unanswered:
        more = ", …" if written.unanswered > len(written.unanswered_first) else ""
        told = f"{', '.join(written.unanswered_first)}{more}"
        say(f"{written.unanswered:,} {opened.answered_as[0]} nodes got no answer: {told}")
        _say_why_unanswered(opened)
    several.say_if_none(opened, written)
    several.say_left_out(written)
    say_if_unkept(written.archive, store)
    if opened.config.kind in ("history", "basket"):
        say(f"see them:  kgdistill query run runs --store {store}")


def _say_why_unanswered(run: Run) -> None:
    """Says of whom no answer is written, where a run answers those with a long enough history."""
    if run.config.kind in ("history", "basket"):
        told = run.config.discovery
        say(
            f"none is written for who has {told.interaction[1]} fewer than {told.min_user_events} "
            "(min_user_events of the task's protocol): `kgdistill recommend --user` may answer"
        )


def report(run: RunArgument, json: JsonOption = False) -> None:
    """Write report.html and report.md of a run anew.

    \b
    Examples:
      kgdistill report runs/demo
    """
    from kgdistill.run.report import write_report

    if several.are_in(run):
        return several.report(run, json=json)
    html, markdown = write_report(run)
    if json:
        print_json({"html": html, "markdown": markdown})
    else:
        print(shown(html))
        print(shown(markdown))
