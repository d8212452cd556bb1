"""The commands of a run, of a folder that holds runs of several tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgdistill.cli.options import store_at
from kgdistill.cli.output import print_json, print_table, print_wide, say, shown
from kgdistill.errors import InputError

if TYPE_CHECKING:
    from kgdistill.graph import Graph


def are_in(folder: Path) -> bool:
    """Whether it holds runs of several tasks."""
    from kgdistill.serve.joined import tasks_in

    return tasks_in(folder) is not None


def fit(
    folder: Path,
    tasks: Sequence[str],
    values: Mapping[str, Any],
    store: tuple[str, str, Path | None],
    *,
    json: bool,
) -> None:
    """`fit` of several tasks: of those named, and of those that the folder holds."""
    from kgdistill.run.run import Runs
    from kgdistill.serve.joined import tasks_in

    held = tasks_in(folder) or []
    if held and values and not tasks:
        raise InputError("has settings already", where=shown(folder), hint="name a new folder")
    if tasks:
        with store_at(*store) as opened:
            runs = Runs.create(folder, opened, tasks, **values)
    else:
        runs = Runs.open(folder)
    runs.fit()
    stages = [(name, s, run.need(s).seconds) for name, run in runs.items() for s in run.pipeline.fitted]
    if json:
        told = [{"task": name, "stage": stage, "seconds": seconds} for name, stage, seconds in stages]
        print_json({"runs": folder, "tasks": list(runs), "stages": told, "bundle": folder / "bundle"})
        return
    print_table(["task", "stage", "seconds"], stages)
    say(f"one bundle for all:  {shown(folder / 'bundle')}")
    say(f"next:  kgdistill evaluate --run {shown(folder)}")


def evaluate(folder: Path, *, json: bool) -> None:
    """`evaluate` of every run."""
    from kgdistill.run.report import metrics_table
    from kgdistill.run.run import Runs

    runs = Runs.open(folder)
    results = runs.evaluate()
    if json:
        print_json(results)
        return
    for name in runs.keys() - results.keys():
        say(f"nothing judges {name}: the graph held no grades")
    for metrics in results.values():
        print_wide(metrics_table(metrics))
    say(f"next:  kgdistill report {shown(folder)}")


def write_back(folder: Path, graph: Graph, *, wait_s: float, json: bool) -> None:
    """`writeback` of every run whose answers have a place in the graph."""
    from kgdistill.run.run import Runs

    written: dict[str, Any] = {}
    for name, run in Runs.open(folder).items():
        if run.writes:
            written[name] = graph.write_back(run, wait_s=wait_s)
        else:
            say(f"a run of the task {name!r} has nothing to write back")
    if json:
        print_json(written)
        return
    rows = [
        (name, one.run, one.recommendations or sum(one.classes.values())) for name, one in written.items()
    ]
    print_table(["task", "run", "answers"], rows)


def report(folder: Path, *, json: bool) -> None:
    """`report` of every run."""
    from kgdistill.run.report import write_report
    from kgdistill.run.run import Runs

    pages = {name: write_report(run.folder) for name, run in Runs.open(folder).items() if run.judges}
    if json:
        print_json({name: {"html": html, "markdown": markdown} for name, (html, markdown) in pages.items()})
        return
    for html, _ in pages.values():
        print(shown(html))
