"""What a ranking of a whole catalogue is worth, query by query, against graded items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.ranking.topk import top_k

CUT = 10
DEPTH = 50
RELEVANT = 2.0
# 2^grade is the gain: of higher grades one would outweigh all others.
_HIGHEST = 30.0


@dataclass(frozen=True)
class Judgements:
    """Graded items of a list of queries.

    Attributes:
        queries: the texts.
        items: for each query the judged items, int64 ids, ascending.
        grades: for each query their grades, float64, not negative.
    """

    queries: list[str]
    items: list[IntArray]
    grades: list[DoubleArray]

    @classmethod
    def of(cls, judged: Mapping[str, Mapping[int, float]]) -> Judgements:
        """From query → item id → grade, in the order given.

        Raises:
            InputError: a grade is negative, above 30 or no number.
        """
        items, grades = [], []
        for query, graded in judged.items():
            ids = np.array(sorted(graded), np.int64)
            values = np.array([graded[int(i)] for i in ids], np.float64)
            if not ((values >= 0) & (values <= _HIGHEST)).all():
                raise InputError(
                    f"the query {query!r} has a grade that is negative, above {_HIGHEST:g} or no number",
                    hint="map grades to a scale such as 0 to 3",
                )
            items.append(ids)
            grades.append(values)
        return cls(list(judged), items, grades)

    @cached_property
    def relevant(self) -> float:
        """The grade from which an item is relevant: 2, or the highest where none reaches it."""
        return min(RELEVANT, max((float(g.max()) for g in self.grades if len(g)), default=RELEVANT))

    def take(self, rows: IntArray) -> Judgements:
        """Of some queries alone; what is relevant there stays."""
        part = Judgements(*([held[r] for r in rows] for held in (self.queries, self.items, self.grades)))
        part.__dict__["relevant"] = self.relevant
        return part


def gain(grades: DoubleArray) -> float:
    """Discounted gain of grades in ranked order: sum of (2^grade − 1) / log2(rank + 1)."""
    return float(((2.0**grades - 1) / np.log2(np.arange(2, len(grades) + 2))).sum())


def search_metrics(
    scores: FloatArray, judgements: Judgements, *, k: int = CUT, given: FloatArray | None = None
) -> dict[str, DoubleArray]:
    """Four measures of every query, float64 [Q].

    `full/ndcg@k`: the whole catalogue ranked, unjudged items have grade 0; gain 2^grade − 1; NaN
    where no item has a grade above 0. `full/recall@50`: of relevant items (`Judgements.relevant`); NaN where
    there are none. `full/judged@k`: share of the first k that is judged. `rerank/ndcg@k`: only the
    judged items ranked. Ties go to the lower id.

    Args:
        scores: float32 [Q, items], higher is better.
        judgements: of the same queries.
        k: how many ranks count.
        given: the scores by which judged items alone are ranked, where they are others; float32 [Q, items].

    Raises:
        InputError: the shapes do not fit.
    """
    if scores.ndim != 2 or len(scores) != len(judgements.queries):
        raise InputError(f"scores of shape {scores.shape} for {len(judgements.queries)} queries")
    names = (f"full/ndcg@{k}", f"full/recall@{DEPTH}", f"full/judged@{k}", f"rerank/ndcg@{k}")
    given = scores if given is None else given
    measured = {name: np.full(len(scores), np.nan) for name in names}
    full, recall, judged, rerank = measured.values()
    every = np.arange(scores.shape[1])
    first = top_k(scores, every, min(max(DEPTH, k), max(len(every), 1)))[0]
    for row, (ids, grades) in enumerate(zip(judgements.items, judgements.grades, strict=True)):
        order = first[row]
        graded = np.zeros(scores.shape[1])
        graded[ids] = grades
        ideal = gain(np.sort(grades)[::-1][:k])
        judged[row] = np.isin(order[:k], ids).mean()
        if ideal > 0:
            full[row] = gain(graded[order[:k]]) / ideal
            only = ids[np.argsort(-given[row, ids], kind="stable")[:k]]
            rerank[row] = gain(graded[only]) / ideal
        relevant = ids[(grades >= judgements.relevant) & (grades > 0)]
        if len(relevant):
            recall[row] = np.isin(relevant, order[:DEPTH]).mean()
    return measured
