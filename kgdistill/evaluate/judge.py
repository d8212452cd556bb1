"""Full ranking: every candidate is ranked for every user, and what comes first is judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.progress import step
from kgdistill.ranking.metrics import mrr_at_k, ndcg_at_k, recall_at_k
from kgdistill.ranking.topk import top_k
from kgdistill.tasks.match import MatchTask, Scorer, Setting, Split


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
    ks: Sequence[int] | None = None,
    settings: Sequence[Setting] | None = None,
    chunk: int = 256,
    progress: bool = True,
) -> ArmResult:
    """Ranks every candidate for every user with a relevant one, and judges the first `k`.

    What the user had before the split is masked. Memory beyond the scorer's own is about
    10 · `chunk` · candidates bytes (two float32 matrices of that shape and one of bools) and 64 MB, whatever
    the number of users.

    Args:
        scorer: gives scores float32 [B, C] for B users and C ascending candidates.
        task: what is asked; for the test split it must be opened (`MatchTask.open_test`).
        arm, title: the arm's short name and what a reader calls it.
        split: "validation" or "test".
        k: how many ranks count and are kept.
        ks: further depths at which the same ranking is judged; None: the protocol's.
        settings: which to judge; None: the protocol's. One in which no user has a relevant candidate is left
            out of the result.
        chunk: how many users are scored at once.
        progress: whether to show how far it is.

    Raises:
        LeakError: the test split is not opened.
        InputError: the scorer gives NaN or another shape; `chunk` is below 1; an unknown setting; nobody
            to be judged in any setting.
    """
    others = [other for other in dict.fromkeys(task.protocol.ks if ks is None else ks) if other != k]
    depth = max(k, *others, 1)
    if chunk < 1 or min([k, *others]) < 1:
        raise InputError(f"chunk is {chunk} and k is {k}; both must be at least 1")
    started = time.perf_counter()
    relevant = task.relevant(split)[task.users]
    seen = task.seen(split)[task.users]
    asked = []
    for setting in dict.fromkeys(task.protocol.settings if settings is None else settings):
        candidates = task.candidates(setting, split)
        right = _of(relevant, candidates, task.judged(setting, split))
        rows = np.flatnonzero(np.diff(right.indptr) > 0)
        if len(rows):
            asked.append((setting, candidates, right[rows], seen[rows][:, candidates], task.users[rows]))
    if not asked:
        raise InputError(
            f"no eligible user has a relevant candidate in the {split} split", where=task.protocol.title
        )
    found: dict[Setting, SettingResult] = {}
    tables = []
    total = sum(len(users) for *_, users in asked)
    with step(f"ranking for {title}", total) if progress else nullcontext() as work:
        for setting, candidates, right, masked, users in asked:
            items = np.empty((len(users), k), dtype=np.int64)
            scores = np.empty((len(users), k), dtype=np.float32)
            hits = np.zeros((len(users), depth), dtype=np.bool_)
            for start in range(0, len(users), chunk):
                now = slice(start, min(start + chunk, len(users)))
                given = _scores(scorer, users[now], candidates, arm)
                held = masked[now].tocoo()
                given[held.row, held.col] = -np.inf
                best, value = top_k(given, candidates, depth)
                items[now], scores[now] = best[:, :k], value[:, :k]
                shown = best >= 0
                columns = np.searchsorted(candidates, np.where(shown, best, candidates[0]))
                hits[now] = np.take_along_axis(right[now].toarray() > 0, columns, axis=1) & shown
                if work is not None:
                    work.advance(now.stop - now.start)
            counts = np.diff(right.indptr).astype(np.int64)
            found[setting] = SettingResult(
                users=users,
                candidates=candidates,
                ndcg=ndcg_at_k(hits, counts, k),
                recall=recall_at_k(hits, counts, k),
                mrr=mrr_at_k(hits, counts, k),
                items=items,
                deeper={
                    f"{name}@{other}": metric(hits, counts, other)
                    for other in others
                    for name, metric in (("ndcg", ndcg_at_k), ("recall", recall_at_k), ("mrr", mrr_at_k))
                },
            )
            tables.append(_table(task, setting, users, items, scores))
    return ArmResult(
        arm=arm,
        title=title,
        split=split,
        k=k,
        settings=found,
        topk=pa.concat_tables(tables),
        seconds=time.perf_counter() - started,
    )


def _of(relevant: csr_array, candidates: IntArray, judged: IntArray) -> csr_array:
    """The candidates' columns of `relevant`, with nothing outside the `judged` ones."""
    right = csr_array(relevant[:, candidates])
    if len(judged) == len(candidates):
        return right
    right.data = right.data * np.isin(candidates, judged)[right.indices]
    right.eliminate_zeros()
    return right


def _scores(scorer: Scorer, users: IntArray, candidates: IntArray, arm: str) -> FloatArray:
    """The scorer's own scores, checked and copied: it may hand out a view."""
    given = np.array(scorer(users, candidates), dtype=np.float32)
    if given.shape != (len(users), len(candidates)):
        raise InputError(
            f"gives scores of shape {given.shape} for {len(users)} users and {len(candidates)} candidates",
            where=f"arm {arm}",
        )
    if np.isnan(given).any():
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
