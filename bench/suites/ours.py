"""Our arms: trained by the stages of a run, one run folder per seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.suites.run import SuiteOptions
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import RunConfig, resolve_config
from kgdistill.progress import step
from kgdistill.run.chain import HISTORY
from kgdistill.run.history_match import JudgedArm
from kgdistill.run.run import Run
from kgdistill.store import GraphStore
from kgdistill.tasks.protocol import DiscoveryProtocol


@dataclass(frozen=True)
class Ablation:
    """Ours with one piece removed.

    Attributes:
        arm, title: its short name and what a reader calls it.
        of: "teacher" or "student", which is trained again; a student from the whole teacher.
        values: what is set in that section of the configuration.
    """

    arm: str
    title: str
    of: str
    values: dict[str, Any] = field(default_factory=dict)


ABLATIONS: tuple[Ablation, ...] = (
    Ablation("teacher_hops1", "teacher, one hop", "teacher", {"layers": 1}),
    Ablation("teacher_nofacts", "teacher, no messages along facts", "teacher", {"fact_weight": 0}),
    Ablation("teacher_nonear", "teacher, no messages between near texts", "teacher", {"near": 0}),
    Ablation("teacher_nonew", "teacher, no items as if they were new", "teacher", {"node_dropout": 0}),
    Ablation("teacher_sage", "teacher, GraphSAGE encoder", "teacher", {"encoder": "sage"}),
    Ablation("teacher_hgt", "teacher, HGT encoder", "teacher", {"encoder": "hgt"}),
    Ablation(
        "teacher_nodropout", "teacher without dropout of the relational part", "teacher", {"z_dropout": 0}
    ),
    Ablation("teacher_nowalk", "teacher without the walk", "teacher", {"walk": 0}),
    Ablation("teacher_noitems", "teacher without item-to-item experts", "teacher", {"item_to_item": False}),
    Ablation("teacher_nocold", "teacher without cold lists", "teacher", {"cold_weight": 0}),
    Ablation("student_noneighbours", "student without the table of neighbours", "student", {"neighbours": 0}),
    Ablation("student_nolist", "student without the list loss", "student", {"list_weight": 0}),
    Ablation("student_task", "student with the task loss too", "student", {"task_weight": 0.65}),
    Ablation("student_noiddropout", "student without dropout of ids", "student", {"id_dropout": 0}),
)

COMPARISONS = [
    ("student", "student_nodistill"),
    ("teacher", "teacher_noz"),
    ("teacher", "teacher_text"),
    ("teacher", "teacher_words"),
    ("teacher", "teacher_shuffled"),
    ("teacher_vectors", "lightgcn"),
    ("teacher_vectors", "recbole_lightgcn"),
]
SHARES = [("student", "teacher")]


def train_runs(
    folder: Path,
    protocol: DiscoveryProtocol,
    graph: Callable[[], AbstractContextManager[GraphStore]],
    options: SuiteOptions,
) -> list[Run]:
    """Trains every seed's models; what stands in `folder` from the same inputs is kept.

    The snapshot and, where the text encoder is frozen, the embeddings are made once and shared.

    Raises:
        InputError: the configuration is not valid.
    """
    runs: list[Run] = []
    for seed in options.seeds:
        config = _config(protocol, options, seed)
        place = folder / f"seed-{seed}"
        if runs:
            shared = ("graph", "text", "choice") if config.text.tune == "frozen" else ("graph",)
            share_stages(runs[0].folder, place, shared)
        run = Run(place, config)
        if not runs:
            with graph() as store:
                run.take_snapshot(store)
        if not runs or config.text.tune != "frozen":
            run.make("text")
        _train(run)
        runs.append(run)
    return runs


def our_arms(runs: list[Run]) -> Iterator[JudgedArm]:
    """Every arm of every seed, one after another, so that only one is in memory."""
    for run in runs:
        yield from run.by_history.arms()
        yield _vectors_alone(run)


def _vectors_alone(run: Run) -> JudgedArm:
    """The graph encoder and its gate as a recommender of their own: no term stands beside the vectors."""
    models = run.by_history
    whole = models.teacher_scorer("teacher")
    popular = np.log1p(whole.view.counts).astype(np.float32)
    lengths = np.diff(whole.view.purchases.indptr)

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        index = torch.from_numpy(candidates).to(whole.device)
        with torch.no_grad():
            scores = (whole.user_vectors(users) @ whole.vectors[index].T).cpu().numpy()
        # Who has bought nothing yet is shown what others buy.
        scores[lengths[users] == 0] = popular[candidates]
        found: FloatArray = scores
        return found

    size = whole.vectors.numel()
    return JudgedArm(
        "teacher_vectors", "fused teacher's vectors alone", "ablation", run.config.seed, score, None, size
    )


def ablated_arms(runs: list[Run]) -> Iterator[JudgedArm]:
    """Trains ours again with one piece removed at a time, each with every seed."""
    with step("removing one piece at a time", len(ABLATIONS) * len(runs)) as work:
        for run in runs:
            for ablation in ABLATIONS:
                yield _ablated(run, ablation)
                work.advance()


def ablated_config(config: RunConfig, ablation: Ablation) -> RunConfig:
    """The configuration with that piece removed.

    Raises:
        InputError: the ablation names a setting that is not there.
    """
    section = "student" if HISTORY.arms[ablation.of].learner == "student" else "teacher"
    whole = config.model_dump()
    return resolve_config({**whole, section: {**whole[section], **ablation.values}}, where=ablation.arm)


def _ablated(run: Run, ablation: Ablation) -> JudgedArm:
    place = run.folder / "ablations" / ablation.arm
    learns = HISTORY.arms[ablation.of].learner == "student"
    below = ("graph", "text", "choice")
    share_stages(run.folder, place, (*below, "teacher", "targets") if learns else below)
    other = Run(place, ablated_config(run.config, ablation))
    other.make("student" if learns else "teacher")
    models = other.by_history
    scorer = models.student_scorer("student") if learns else models.teacher_scorer("teacher")
    return JudgedArm(
        ablation.arm, ablation.title, "ablation", run.config.seed, scorer, None,
        run.by_history.parameters(ablation.of, scorer),
    )  # fmt: skip


def _config(protocol: DiscoveryProtocol, options: SuiteOptions, seed: int) -> RunConfig:
    given = {name: dict(values) for name, values in options.config.items()}
    more = {"device": options.device, "threads": options.threads, "seed": seed}
    return resolve_config({"protocol": protocol.model_dump(), **given, **more}, where="the suite's settings")


def share_stages(source: Path, target: Path, stages: tuple[str, ...]) -> None:
    """Links stages of another run; later stages take them as their own."""
    target.mkdir(parents=True, exist_ok=True)
    for name in stages:
        link = target / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to((source / name).resolve(), target_is_directory=True)


def _train(run: Run) -> None:
    for name in run.pipeline.stages:
        if name not in ("graph", "text", "bundle", "evaluate"):
            run.make(name)
