"""Full ranking: every candidate is ranked for every user, and what comes first is judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import csr_array

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models import scorer as torch_scorer
from kgdistill.models.topk import best
from kgdistill.progress import Step, step
from kgdistill.ranking.metrics import mrr_at_k, ndcg_at_k, recall_at_k
from kgdistill.tasks.match import MatchTask, Scorer, Setting, Split

# Users scored at once.
_CHUNK = 256


@dataclass(frozen=True)
class SettingResult:
    """How one arm did in one setting; arrays are by user, in the order of `users`.

    Attributes:
        users: int64 [U], ascending: those with a relevant candidate.
        candidates: int64 [C], ascending: the items that were ranked.
        ndcg, recall, mrr: float64 [U].
        items: int64 [U, k]: what was ranked first; -1 where fewer than k could be shown.
        deeper: the same metrics at the other depths that were asked for, such as "ndcg@10": float64 [U].
    """

    users: IntArray
    candidates: IntArray
    ndcg: DoubleArray
    recall: DoubleArray
    mrr: DoubleArray
    items: IntArray
    deeper: Mapping[str, DoubleArray] = field(default_factory=dict)

    def values(self, metric: str) -> DoubleArray:
        """The values of "ndcg", "recall" or "mrr", or of a name in `deeper`; InputError for another name."""
        named = {"ndcg": self.ndcg, "recall": self.recall, "mrr": self.mrr, **self.deeper}
        if metric not in named:
            raise InputError(f"unknown metric {metric!r}", hint=f"known: {', '.join(named)}")
        return named[metric]


@dataclass(frozen=True)
class ArmResult:
    """How one arm did.

    Attributes:
        arm, title: its short name and what a reader calls it.
        split, k: what was judged.
        settings: by setting; one in which no user has a relevant candidate is absent.
        topk: the user's and the item's key under the protocol's column names, rank (int64, from 1),
            score (float32), setting (string); ordered by setting, user, rank.
        seconds: how long scoring and ranking took.
    """

    arm: str
    title: str
    split: Split
    k: int
    settings: Mapping[Setting, SettingResult]
    topk: pa.Table
    seconds: float

    def mean(self, setting: Setting, metric: str = "ndcg") -> float:
        """The mean over users of "ndcg", "recall" or "mrr"."""
        if setting not in self.settings:
            raise InputError(f"{self.arm} was not judged in the setting {setting!r}")
        return float(self.settings[setting].values(metric).mean())


def evaluate_arm(
    scorer: Scorer,
    task: MatchTask,
    *,
    arm: str,
    title: str,
    split: Split = "test",
    k: int = 20,
    settings: Sequence[Setting] | None = None,
    progress: bool = True,
) -> ArmResult:
    """Ranks every candidate for every user with a relevant one, and judges the first `k`.

    What the user had before the split is masked. The scores of a torch model stay on its device, where the
    best are picked (`models.topk`). Memory beyond the scorer's own is about 2,560 · candidates bytes (for 256
    users two float32 matrices and one of bools) and 64 MB, on a device 128 MB, whatever the number of users.

    Args:
        scorer: gives scores float32 [B, C] for B users and C ascending candidates.
        task: what is asked; for the test split it must be opened (`MatchTask.open_test`).
        arm, title: the arm's short name and what a reader calls it.
        split: "validation" or "test".
        k: how many ranks count and are kept; the protocol's `ks` are judged beside it.
        settings: which to judge; None: the protocol's. One in which no user has a relevant candidate is left
            out of the result.
        progress: whether to show how far it is.

    Raises:
        LeakError: the test split is not opened.
        InputError: the scorer gives NaN or another shape; `k` is below 1; an unknown setting; nobody to be
            judged in any setting.
    """
    if k < 1:
        raise InputError(f"k is {k}; it must be at least 1")
    started = time.perf_counter()
    asked = _asked(task, split, task.protocol.settings if settings is None else settings)
    found: dict[Setting, SettingResult] = {}
    tables = []
    total = sum(len(part.users) for part in asked.values())
    with step(f"ranking for {title}", total) if progress else nullcontext() as work:
        for setting, part in asked.items():
            found[setting], scores = _judge(scorer, part, k, task.protocol.ks, arm, work)
            tables.append(_table(task, setting, part.users, found[setting].items, scores))
    seconds = time.perf_counter() - started
    return ArmResult(arm, title, split, k, found, pa.concat_tables(tables), seconds)


class _Asked(NamedTuple):
    """A setting's users [U], candidates [C], and CSR [U, C]: what is right, and what a user has had."""

    users: IntArray
    candidates: IntArray
    right: csr_array
    seen: csr_array


def _asked(task: MatchTask, split: Split, settings: Sequence[Setting]) -> dict[Setting, _Asked]:
    relevant = task.positives(split)[task.users]
    seen = task.seen(split)[task.users]
    asked = {}
    for setting in dict.fromkeys(settings):
        candidates = task.candidates(setting, split)
        right = _of(relevant, candidates, task.judged(setting, split))
        rows = np.flatnonzero(np.diff(right.indptr) > 0)
        if len(rows):
            asked[setting] = _Asked(task.users[rows], candidates, right[rows], seen[rows][:, candidates])
    if not asked:
        raise InputError(
            f"no eligible user has a relevant candidate in the {split} split", where=task.protocol.title
        )
    return asked


def _judge(
    scorer: Scorer, asked: _Asked, k: int, ks: Sequence[int], arm: str, work: Step | None
) -> tuple[SettingResult, FloatArray]:
    """One setting's result, and the scores of what was ranked first, float32 [U, k]."""
    users, candidates, right, seen = asked
    others = [other for other in dict.fromkeys(ks) if other != k]
    depth = max(k, *others, 1)
    items = np.empty((len(users), k), dtype=np.int64)
    scores = np.empty((len(users), k), dtype=np.float32)
    hits = np.zeros((len(users), depth), dtype=np.bool_)
    for start in range(0, len(users), _CHUNK):
        now = slice(start, min(start + _CHUNK, len(users)))
        given = _scores(scorer, users[now], candidates, arm)
        held = seen[now].tocoo()
        row, column = (torch.from_numpy(a.astype(np.int64)).to(given.device) for a in (held.row, held.col))
        given[row, column] = -torch.inf
        first, value = best(given, candidates, depth)
        items[now], scores[now] = first[:, :k], value[:, :k]
        shown = first >= 0
        columns = np.searchsorted(candidates, np.where(shown, first, candidates[0]))
        hits[now] = np.take_along_axis(right[now].toarray() > 0, columns, axis=1) & shown
        if work is not None:
            work.advance(now.stop - now.start)
    counts = np.diff(right.indptr).astype(np.int64)
    metrics = (("ndcg", ndcg_at_k), ("recall", recall_at_k), ("mrr", mrr_at_k))
    ndcg, recall, mrr = (metric(hits, counts, k) for _, metric in metrics)
    deeper = {f"{name}@{other}": metric(hits, counts, other) for other in others for name, metric in metrics}
    return SettingResult(users, candidates, ndcg, recall, mrr, items, deeper), scores


def _of(relevant: csr_array, candidates: IntArray, judged: IntArray) -> csr_array:
    """The candidates' columns of `relevant`, with nothing outside the `judged` ones."""
    right = csr_array(relevant[:, candidates])
    if len(judged) == len(candidates):
        return right
    right.data = right.data * np.isin(candidates, judged)[right.indices]
    right.eliminate_zeros()
    return right


def _scores(scorer: Scorer, users: IntArray, candidates: IntArray, arm: str) -> torch.Tensor:
    """The scorer's own scores, checked, where its model is: only the best leave the device."""
    if isinstance(scorer, torch_scorer.Scorer):
        given = scorer.scores(users, candidates)
    else:
        # A copy: it may hand out a view.
        given = torch.from_numpy(np.array(scorer(users, candidates), dtype=np.float32))
    if given.shape != (len(users), len(candidates)):
        raise InputError(
            f"gives scores of shape {tuple(given.shape)} for {len(users)} users and {len(candidates)}"
            " candidates",
            where=f"arm {arm}",
        )
    if given.isnan().any():
        raise InputError(
            "gives NaN as a score",
            where=f"arm {arm}",
            hint="its training may have diverged: look at its losses, lower the learning rate",
        )
    return given


def _table(
    task: MatchTask, setting: Setting, users: IntArray, items: IntArray, scores: FloatArray
) -> pa.Table:
    row, column = np.nonzero(items >= 0)
    return pa.table(
        {
            task.protocol.user_column: task.user_keys.take(pa.array(users[row])),
            task.protocol.item_column: task.item_keys.take(pa.array(items[row, column])),
            "rank": pa.array(column.astype(np.int64) + 1),
            "score": pa.array(scores[row, column]),
            "setting": pa.array([setting] * len(row), type=pa.string()),
        }
    )
