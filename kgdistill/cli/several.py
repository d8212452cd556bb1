"""The commands of a run, of a folder that holds runs of several tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgdistill.cli.options import run_at, store_at
from kgdistill.cli.output import print_json, print_table, say, shown
from kgdistill.errors import InputError

if TYPE_CHECKING:
    from kgdistill.explore.writeback import WriteBackReport
    from kgdistill.run.run import Run

UNJUDGED = "kgdistill search TEXT"
"""What comes after the training of a run that nothing judges, with --run behind it."""


def are_in(folder: Path) -> bool:
    """Whether it holds runs of several tasks."""
    from kgdistill.serve.joined import runs_in

    return runs_in(folder) is not None


def fit(
    folder: Path,
    tasks: Sequence[str],
    values: Mapping[str, Any],
    store: tuple[str, str, Path | None],
    *,
    device: str | None,
    threads: int | None,
    json: bool,
) -> None:
    """`fit` of several tasks: of those named, and of those that the folder holds."""
    from kgdistill.run.run import Runs

    if values and not tasks:
        raise InputError("has settings already", where=shown(folder), hint="name a new folder")
    if tasks:
        with store_at(*store) as opened:
            Runs.create(folder, opened, tasks, **values)
    held = Runs.open(folder)
    runs = Runs(
        folder, {n: run_at(r.folder, device=device, threads=threads, keep=True) for n, r in held.items()}
    )
    runs.fit()
    stages = [(name, s, run.need(s).seconds) for name, run in runs.items() for s in run.fitted]
    if json:
        told = [{"task": name, "stage": stage, "seconds": seconds} for name, stage, seconds in stages]
        print_json({"runs": folder, "tasks": list(runs), "stages": told, "bundle": folder / "bundle"})
        return
    print_table(["task", "stage", "seconds"], stages)
    say(f"one bundle for all:  {shown(folder / 'bundle')}")
    following = "kgdistill evaluate" if any(run.judges for run in runs.values()) else UNJUDGED
    say(f"next:  {following} --run {shown(folder)}")


def one_of(folder: Path, task: str | None) -> Path:
    """The run of the task, of a folder that holds several; any other folder as it is.

    Raises:
        UnknownNameError: none of them was made for the task.
    """
    from kgdistill.run.run import Runs

    return Runs.open(folder)[task].folder if task is not None and are_in(folder) else folder


def join_again(run: Run) -> None:
    """After one of several runs was fitted by itself: its new bundle stands among the others' too."""
    from kgdistill.run.run import Runs
    from kgdistill.serve.joined import runs_in

    folder = run.folder.resolve().parent
    if run.folder.resolve().name in (runs_in(folder) or {}).values():
        Runs.open(folder).join()
        say(f"joined again:  {shown(folder / 'bundle')}")


def evaluate(
    folder: Path, tell: Callable[[Run, Any], None], *, device: str | None, threads: int | None, json: bool
) -> None:
    """`evaluate` of every run that something judges; `tell` shows one."""
    from kgdistill.progress import said_of
    from kgdistill.run.run import Runs

    runs = {n: run_at(r.folder, device=device, threads=threads) for n, r in Runs.open(folder).items()}
    results = {}
    for name, run in runs.items():
        if run.judges:
            with said_of(name):
                results[name] = run.evaluate()
    if json:
        print_json(results)
        return
    for name, metrics in results.items():
        tell(runs[name], metrics)
    for name in runs.keys() - results.keys():
        say(f"nothing judges {name}: the graph held no grades")


def write_back(
    folder: Path, write: Callable[[Run], WriteBackReport], *, device: str | None, json: bool
) -> None:
    """`writeback` of every run whose answers have a place in the graph, each told as it is done."""
    from kgdistill.run.run import Runs

    written = {}
    for name, run in Runs.open(folder).items():
        if not run.writes:
            say(f"a run of the task {name!r} has nothing to write back")
            continue
        written[name] = one = write(run_at(run.folder, device=device))
        if not json:
            print(
                f"{name}: {one.recommendations or sum(one.classes.values()):,} answers as {one.run}",
                flush=True,
            )
        say_if_none(run, one)
        say_left_out(one)
    if json:
        print_json(written)


def say_if_none(run: Run, written: WriteBackReport) -> None:
    """Says why a run wrote no answer, where the graph holds nobody that it answers."""
    if run.config.kind == "classify" or written.recommendations or written.unanswered:
        return
    later = " that starts at the run's cut or later" if run.config.kind == "audience" else ""
    say(f"no answer was written: the graph holds no {run.answered_as[0]}{later}")


def say_left_out(written: WriteBackReport) -> None:
    """Says which classes were not written, being sensitive."""
    if written.left_out:
        verb = "is" if len(written.left_out) == 1 else "are"
        say(
            f"{', '.join(written.left_out)} {verb} sensitive and not written back: --allow-sensitive of the "
            "run writes what is"
        )


def report(folder: Path, *, json: bool) -> None:
    """`report` of every run that something judges."""
    from kgdistill.run.report import write_report
    from kgdistill.run.run import Runs

    pages = {name: write_report(run.folder) for name, run in Runs.open(folder).items() if run.judges}
    if json:
        print_json({name: {"html": html, "markdown": markdown} for name, (html, markdown) in pages.items()})
        return
    for html, _ in pages.values():
        print(shown(html))
