"""Measures our models beside their peers, what ours cost, and which targets are met.

    python bench/models.py                           every suite; some hours on two cores, most for the peers
    python bench/models.py --suite office            that one alone
    python bench/models.py --suite office --no-peers ours alone
    python bench/models.py --targets                 only the targets, from the figures that stand there

Each suite runs in a process of its own with two threads: ours first, into an empty folder, which gives its
time and the most memory that this process held; then the same command again with the peers, for which ours is
kept. Writes bench/results/models-SUITE.{json,parquet,md,svg} by `python -m bench.suites`, models-cost.json
and models-targets.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from _process import THREADS

RESULTS = Path(__file__).parent / "results"
SUITES = ("completejourney", "office", "chorus")
# Of new items among all others, the student is to find so many at such a cost to the whole ranking.
FRONT = {"office": {0.02: 0.045, 0.05: 0.060}}
PARAMETERS, TIMES = 0.08, 300
MINUTES = {"completejourney": 40, "office": 15, "chorus": 20}
PEAK_GIB = 6.0
FITS = ("student", "recbole_lightgcn")
COSTS = RESULTS / "models-cost.json"
_SAMPLE_S = 0.1


@dataclass(frozen=True)
class Target:
    """What an arm is to reach; `than` makes it the low end of a difference instead of a mean.

    Attributes:
        share, relative: of `than`, in the place of a difference.
        corrected: the difference is also to survive Holm's correction.
        why: the difference itself, not its low end, is to reach 0.
    """

    suite: str
    arm: str
    setting: str
    metric: str
    least: float
    than: str = ""
    share: bool = False
    relative: bool = False
    corrected: bool = False
    why: str = ""


TARGETS = [
    Target("completejourney", "student", "warm", "ndcg@20", 0.0610),
    Target("completejourney", "student", "warm", "ndcg@20", 0.0, than="ease"),
    Target("completejourney", "student", "cold", "ndcg@20", 0.0260),
    Target("completejourney", "student", "tail", "ndcg@20", 0.0170),
    Target("completejourney", "student", "tail", "ndcg@20", 0.0, than="student_nodistill", why="not below"),
    Target("completejourney", "student", "strictly_cold", "ndcg@20", 0.0240),
    Target("completejourney", "student", "repeat", "ndcg@20", 0.400),
    Target("office", "student", "all", "ndcg@20", 0.0585),
    Target("office", "student", "all", "ndcg@20", 0.0, than="blend_five", corrected=True),
    Target("office", "student", "cold", "ndcg@10", 0.135),
    Target("office", "student", "cold_in_all", "recall@20", 0.060),
    Target("chorus", "student_hybrid", "full", "ndcg@10", 0.80),
    Target("chorus", "student_hybrid", "relevant", "recall@50", 0.88),
    Target("chorus", "student", "rerank", "ndcg@10", 0.88),
    *(
        Target(suite, "student", setting, metric, least, than="teacher", share=True)
        for suite, setting, metric, least in (
            ("completejourney", "warm", "ndcg@20", 0.97),
            ("completejourney", "cold", "ndcg@20", 0.97),
            ("office", "all", "ndcg@20", 0.975),
            ("office", "cold", "ndcg@10", 0.97),
        )
    ),
    Target(
        "completejourney", "teacher_vectors", "warm", "ndcg@20", 0.0, than="recbole_lightgcn", why="level"
    ),
    Target("office", "teacher_vectors", "all", "ndcg@20", 0.0, than="lightgcn", why="level"),
    Target("chorus", "student_hybrid", "full", "ndcg@10", 0.97, than="teacher", share=True),
    *(
        Target(suite, "teacher", setting, metric, 0.0, than=control)
        for suite, setting, metric in (
            ("completejourney", "cold", "ndcg@20"),
            ("completejourney", "tail", "ndcg@20"),
            ("office", "cold", "ndcg@10"),
            ("office", "tail", "ndcg@20"),
            ("chorus", "full", "ndcg@10"),
        )
        for control in ("teacher_text", "teacher_shuffled")
    ),
    *(
        Target(suite, "teacher", setting, "ndcg@20", 0.0, than=control, why="not below")
        for suite, setting in (("completejourney", "warm"), ("office", "all"))
        for control in ("teacher_text", "teacher_shuffled")
    ),
    Target("completejourney", "student", "warm", "ndcg@20", 0.05, than="student_nodistill", relative=True),
    Target("completejourney", "student", "cold", "ndcg@20", 0.10, than="student_nodistill", relative=True),
    Target("office", "student", "all", "ndcg@20", 0.05, than="student_nodistill", relative=True),
    Target("office", "student", "cold", "ndcg@10", 0.10, than="student_nodistill", relative=True),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=SUITES, action="append", help="which; all where left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--ablate-seeds", type=int, help="with so many of the seeds; all where left out")
    parser.add_argument("--targets", action="store_true", help="run nothing")
    parser.add_argument(
        "--work", type=Path, help="where models are kept; a folder that goes afterwards if left out"
    )
    given = parser.parse_args()
    if not given.targets:
        for suite in given.suite or SUITES:
            measure(suite, given)
    text = "\n".join(targets())
    (RESULTS / "models-targets.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(suite: str, given: argparse.Namespace) -> None:
    """Runs a suite; notes what ours cost where it started from nothing."""
    scratch = None if given.work else tempfile.mkdtemp(prefix="kgdistill-bench-")
    work = given.work or Path(str(scratch))
    try:
        base = ["--suite", suite, "--seeds", str(given.seeds), "--work", str(work)]
        base += ["--threads", str(THREADS), "--out", str(RESULTS)]
        fresh = not work.exists() or not any(work.iterdir())
        seconds, peak = run([*base, "--no-peers"])
        if fresh:
            note(suite, seconds, peak, given.seeds)
        more = [] if given.peers else ["--no-peers"]
        if given.ablate:
            more += ["--ablate", *(["--ablate-seeds", str(n)] if (n := given.ablate_seeds) else [])]
        if given.peers or given.ablate:
            run([*base, *more])
        if fresh:
            note_fits(suite)
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def run(arguments: list[str]) -> tuple[float, float]:
    """Runs a command; its wall time in seconds and the most resident memory of it and its children in GiB."""
    threads = {f"{name}_NUM_THREADS": str(THREADS) for name in ("OMP", "MKL", "OPENBLAS")}
    started, peak = time.monotonic(), 0
    command = [sys.executable, "-m", "bench.suites", *arguments]
    child = psutil.Popen(command, env={**os.environ, **threads}, stdout=subprocess.DEVNULL)
    while child.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(p.memory_info().rss for p in (child, *child.children(recursive=True))))
        time.sleep(_SAMPLE_S)
    if child.returncode != 0:
        raise SystemExit(child.returncode)
    return time.monotonic() - started, peak / 2**30


def note(suite: str, seconds: float, peak: float, seeds: int) -> None:
    """Keeps what a suite's own part cost."""
    keep(
        suite,
        {
            "minutes": round(seconds / 60, 2),
            "peak_rss_gib": round(peak, 2),
            "seeds": seeds,
            "load": round(os.getloadavg()[0], 1),
        },
    )


def note_fits(suite: str) -> None:
    """Keeps how long training the student and RecBole's LightGCN took, from the suite's document."""
    arms = document_of(suite)["arms"]
    timed = {a["arm"]: round(a["fit_seconds"], 1) for a in arms if a["arm"] in FITS and a["fit_seconds"]}
    keep(suite, {"fit_seconds": timed})


def keep(suite: str, values: dict[str, Any]) -> None:
    """Adds to models-cost.json."""
    held = costs()
    held[suite] = {**held.get(suite, {}), **values}
    COSTS.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def costs() -> dict[str, Any]:
    """What was kept by suite."""
    found: dict[str, Any] = json.loads(COSTS.read_text("utf-8")) if COSTS.is_file() else {}
    return found


def document_of(suite: str) -> dict[str, Any]:
    """A suite's figures; empty where there are none."""
    file = RESULTS / f"models-{suite}.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def targets() -> Iterator[str]:
    """The table's lines: a row for each target whose suite has figures."""
    yield "| suite | what | target | measured | met |"
    yield "| --- | --- | ---: | ---: | --- |"
    documents = {suite: found for suite in SUITES if (found := document_of(suite))}
    for target in TARGETS:
        if target.suite in documents:
            yield row(target, documents[target.suite])
    for suite, document in documents.items():
        yield from front(suite, document)
    yield from serving(documents)
    for suite, cost in costs().items():
        told = f"{cost['minutes']:.1f} min, {cost['peak_rss_gib']:.1f} GiB ({cost['seeds']} seeds)"
        met = cost["minutes"] <= MINUTES[suite] and cost["peak_rss_gib"] <= PEAK_GIB
        yield cells(suite, "cost of ours", f"≤ {MINUTES[suite]} min, ≤ {PEAK_GIB:g} GiB", told, met)


def row(target: Target, document: dict[str, Any]) -> str:
    """One target."""
    what = f"{target.arm} {target.setting} {target.metric}"
    where = {"setting": target.setting, "metric": target.metric}
    if not target.than:
        arm = next((a for a in document["arms"] if a["arm"] == target.arm), None)
        found = arm["settings"].get(target.setting, {}).get(target.metric) if arm else None
        if found is None:
            return cells(target.suite, what, f"≥ {target.least:.4f}", "–", None)
        told = f"{found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
        return cells(target.suite, what, f"≥ {target.least:.4f}", told, found["mean"] >= target.least)
    pair = {"a": target.arm, "b": target.than, **where}
    among = document["shares" if target.share else "comparisons"]
    found = next((d for d in among if pair.items() <= d.items()), None)
    if target.share:
        what, goal = f"{what}, share of {target.than} (low end)", f"≥ {100 * target.least:g}%"
        told = "–" if found is None else f"{found['mean']:.1%} [{found['low']:.1%}, {found['high']:.1%}]"
        return cells(target.suite, what, goal, told, None if found is None else found["low"] >= target.least)
    if target.relative:
        what, goal = f"{what}, over {target.than}", f"≥ {target.least:+.0%}"
        if found is None or found["relative"] is None:
            return cells(target.suite, what, goal, "–", None)
        told = (
            f"{found['relative']:+.1%} ({found['difference']:+.4f} [{found['low']:.4f}, {found['high']:.4f}])"
        )
        return cells(target.suite, what, goal, told, found["relative"] >= target.least)
    goal = "≥ 0" if target.why else "> 0 (low end)" + ", p < 0.05 by Holm" * target.corrected
    what = f"{what}, less {target.than}"
    if found is None:
        return cells(target.suite, what, goal, "–", None)
    told = f"{found['difference']:+.4f} [{found['low']:.4f}, {found['high']:.4f}]"
    met = found["difference"] >= 0 if target.why else found["low"] > 0
    if target.corrected:
        told, met = f"{told}, p {found['p_holm']:.4f}", met and found["p_holm"] < 0.05
    return cells(target.suite, what, goal, told, met)


def front(suite: str, document: dict[str, Any]) -> Iterator[str]:
    """How many new items the student finds at each cost, without decoys."""
    for cost, least in FRONT.get(suite, {}).items():
        key = {"arm": "student", "decoys": 0, "cost": cost}
        found = next((row for row in document.get("front", []) if key.items() <= row.items()), None)
        told = "–" if found is None else f"{found['recall']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
        what = f"student cold_in_all recall@20 at a cost of {cost:.0%}"
        yield cells(suite, what, f"≥ {least:.4f}", told, None if found is None else found["recall"] >= least)


def serving(documents: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Parameters and throughput of the student against the teacher's, and its training against LightGCN's."""
    for suite, document in documents.items():
        arms = {arm["arm"]: arm for arm in document["arms"]}
        teacher, student = arms.get("teacher"), arms.get("student")
        if teacher is None or student is None:
            continue
        if teacher["parameters"] and student["parameters"]:
            share = student["parameters"] / teacher["parameters"]
            told = f"{share:.3f} ({student['parameters']:,} of {teacher['parameters']:,})"
            yield cells(
                suite,
                "parameters to serve, student of teacher",
                f"≤ {PARAMETERS:g}",
                told,
                share <= PARAMETERS,
            )
        rate = teacher["texts_per_second"] or arms.get("minilm", {}).get("texts_per_second")
        if rate and student["texts_per_second"]:
            times = student["texts_per_second"] / rate
            yield cells(
                suite, "texts per second, student over teacher", f"≥ {TIMES}", f"{times:.0f}", times >= TIMES
            )
        timed = costs().get(suite, {}).get("fit_seconds", {})
        if set(FITS) <= set(timed):
            ours, other = (timed[name] for name in FITS)
            told = f"{ours:.0f} s, {other:.0f} s"
            yield cells(suite, "training the student, RecBole LightGCN", "≤", told, ours <= other)


def cells(suite: str, what: str, goal: str, told: str, met: bool | None) -> str:
    """A row."""
    return f"| {suite} | {what} | {goal} | {told} | {'–' if met is None else 'yes' if met else '**no**'} |"


if __name__ == "__main__":
    main()
