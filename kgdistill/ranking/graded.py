"""What a ranking of a whole catalogue is worth, query by query, against judged products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.errors import InputError

CUT = 10
DEPTH = 50
RELEVANT = 2.0


@dataclass(frozen=True)
class Judgements:
    """Graded products of a list of queries.

    Attributes:
        queries: the texts.
        products: for each query the judged products, int64 ids, ascending.
        grades: for each query their grades, float64, not negative.
    """

    queries: list[str]
    products: list[IntArray]
    grades: list[DoubleArray]

    @classmethod
    def of(cls, judged: Mapping[str, Mapping[int, float]]) -> Judgements:
        """From query → product id → grade, in the order given.

        Raises:
            InputError: a grade is negative or no number.
        """
        products, grades = [], []
        for query, found in judged.items():
            ids = np.array(sorted(found), np.int64)
            values = np.array([found[int(i)] for i in ids], np.float64)
            if not (values >= 0).all():
                raise InputError(f"the query {query!r} has a grade that is negative or no number")
            products.append(ids)
            grades.append(values)
        return cls(list(judged), products, grades)


def ranking(scores: FloatArray, limit: int) -> IntArray:
    """The `limit` best columns of each row, ties by the lower column; int64 [Q, limit]."""
    limit = min(limit, scores.shape[1])
    out = np.empty((len(scores), limit), np.int64)
    for row, values in enumerate(-scores):
        # Only what can be among the first is sorted.
        near = np.flatnonzero(values <= np.partition(values, limit - 1)[limit - 1])
        out[row] = near[np.argsort(values[near], kind="stable")[:limit]]
    return out


def gain(grades: DoubleArray) -> float:
    """Discounted gain of grades in ranked order: sum of (2^grade − 1) / log2(rank + 1)."""
    return float(((2.0**grades - 1) / np.log2(np.arange(2, len(grades) + 2))).sum())


def search_metrics(
    scores: FloatArray, judgements: Judgements, *, given: FloatArray | None = None
) -> dict[str, DoubleArray]:
    """Four measures of every query, float64 [Q].

    `full/ndcg@10`: the whole catalogue ranked, unjudged products have grade 0; gain 2^grade − 1; NaN
    where no product has a grade above 0. `full/recall@50`: of products with grade 2 or more; NaN where
    there are none. `full/judged@10`: share of the first ten that is judged. `rerank/ndcg@10`: only the
    judged products ranked. Ties go to the lower id.

    Args:
        scores: float32 [Q, products], higher is better.
        judgements: of the same queries.
        given: the scores by which judged products alone are ranked, where they are others; float32
            [Q, products].

    Raises:
        InputError: the shapes do not fit.
    """
    if scores.ndim != 2 or len(scores) != len(judgements.queries):
        raise InputError(f"scores of shape {scores.shape} for {len(judgements.queries)} queries")
    names = ("full/ndcg@10", "full/recall@50", "full/judged@10", "rerank/ndcg@10")
    given = scores if given is None else given
    out = {name: np.full(len(scores), np.nan) for name in names}
    for row, (ids, grades) in enumerate(zip(judgements.products, judgements.grades, strict=True)):
        order = ranking(scores[row : row + 1], DEPTH)[0]
        found = np.zeros(scores.shape[1])
        found[ids] = grades
        known = np.zeros(scores.shape[1], bool)
        known[ids] = True
        ideal = gain(np.sort(grades)[::-1][:CUT])
        out["full/judged@10"][row] = known[order[:CUT]].mean()
        if ideal > 0:
            out["full/ndcg@10"][row] = gain(found[order[:CUT]]) / ideal
            only = ids[np.argsort(-given[row, ids], kind="stable")[:CUT]]
            out["rerank/ndcg@10"][row] = gain(found[only]) / ideal
        relevant = grades >= RELEVANT
        if relevant.any():
            out["full/recall@50"][row] = np.isin(ids[relevant], order).mean()
    return out
