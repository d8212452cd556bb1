"""What the peers share: types, scorers made of vectors, users and items without history."""

from __future__ import annotations

import itertools
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from kgdistill.errors import InputError
from kgdistill.evaluate.task import Scorer

Floats: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

Unknown: TypeAlias = Literal["0", "-inf"]
"""What an item scores of which a model knows nothing: no opinion, or never shown."""

Grid: TypeAlias = tuple[dict[str, Any], ...]
"""Sets of keyword arguments to try on validation."""

DAY_US = 86_400_000_000


def grid(**axes: tuple[Any, ...]) -> Grid:
    """Every combination of the axes' values, the last axis fastest."""
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def above(name: str, value: float, low: float = 0.0, *, equal: bool = False) -> None:
    """InputError unless `value` is above `low`, or at least `low` where `equal`."""
    if not (value >= low if equal else value > low):
        raise InputError(f"{name} is {value}; it must be {'at least' if equal else 'above'} {low:g}")


def presence(history: csr_array) -> csr_array:
    """The same pairs, each once and with the value 1."""
    ones = csr_array(history, dtype=np.float32, copy=True)
    ones.sum_duplicates()
    ones.eliminate_zeros()
    ones.data[:] = 1.0
    return ones


def item_counts(history: csr_array) -> Ints:
    """int64 [items]: users of each."""
    return np.bincount(presence(history).indices, minlength=history.shape[1]).astype(np.int64)


def where_unknown(scorer: Scorer, known: Bools, unknown: Unknown) -> Scorer:
    """`scorer`, but items that are not `known` (bool [items]) score `unknown`, whatever it says of them."""
    value = np.float32(float(unknown))

    def score(users: Ints, candidates: Ints) -> Floats32:
        held = known[candidates]
        if held.all():
            return scorer(users, candidates)
        scores = np.full((len(users), len(candidates)), value, dtype=np.float32)
        if held.any():
            scores[:, held] = scorer(users, candidates[held])
        return scores

    return score


def from_vectors(users_by: Floats32, items_by: Floats32, history: csr_array, unknown: Unknown) -> Scorer:
    """Inner products of vectors float32 [users, E] and [items, E].

    Those without history have no vector that was learned from anything: users score 0 everywhere,
    items score `unknown`.
    """
    has = presence(history)
    mine = np.where(np.diff(has.indptr)[:, None] > 0, users_by, 0).astype(np.float32)
    known = item_counts(has) > 0

    def score(users: Ints, candidates: Ints) -> Floats32:
        scores: Floats32 = mine[users] @ items_by[candidates].T
        return scores

    return where_unknown(score, known, unknown)


def with_fallback(scorer: Scorer, history: csr_array, fallback: Scorer) -> Scorer:
    """`scorer`, but users without history get what `fallback` says, such as popularity."""
    has = np.diff(presence(history).indptr) > 0

    def score(users: Ints, candidates: Ints) -> Floats32:
        new = ~has[users]
        if not new.any():
            return scorer(users, candidates)
        scores = np.empty((len(users), len(candidates)), dtype=np.float32)
        scores[new] = fallback(users[new], candidates)
        if not new.all():
            scores[~new] = scorer(users[~new], candidates)
        return scores

    return score
