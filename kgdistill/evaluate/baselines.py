"""The baselines that every run carries: popularity, EASE, and other users in the place of those who ask."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, csr_matrix

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.terms.linear import fit_linear
from kgdistill.models.terms.sparse import RANK
from kgdistill.progress import step
from kgdistill.tasks.match import MatchTask, Scorer

EXACT = 12_000
"""Up to so many users, or items, EASE is exact: the matrix between them takes a gigabyte."""
Unknown: TypeAlias = Literal["0", "-inf"]
"""What an item scores of which a model knows nothing: no opinion, or never shown."""


def popularity(task: MatchTask) -> Scorer:
    """Ranks items by how many eligible users had them in train, for everybody alike."""
    counts = item_counts(task.train).astype(np.float32)

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        return np.broadcast_to(counts[candidates], (len(users), len(candidates)))

    return score


def exchanged(users: IntArray, seed: int) -> IntArray:
    """For each of some users another of them, for all users the id, int64; what is left is not personal.

    Each stands for exactly one other, and for itself where there is but one.
    """
    order = np.random.default_rng(seed).permutation(users)
    somebody = np.arange(users.max(initial=0) + 1, dtype=np.int64)
    somebody[order] = np.roll(order, 1)
    return somebody


def ease(task: MatchTask, *, reg: float = 1000.0) -> Scorer:
    """EASE (`ease_of`) of the task's warm items, fitted on train.

    Args:
        task: gives the train matrix of its eligible users and its warm items.
        reg: λ, above 0.

    Returns:
        A scorer for eligible users (ValueError for others). It knows nothing of items that are not warm:
        they score -inf and come last.

    Raises:
        InputError: `reg` is not above 0.
    """
    warm = task.candidates("warm", "validation")
    scorer = ease_of(task.train, reg=reg, items=warm, unknown="-inf")
    eligible = np.zeros(task.train.shape[0], dtype=np.bool_)
    eligible[task.users] = True

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        if not eligible[users].all():
            raise ValueError(
                f"user {int(users[~eligible[users]][0])} is not eligible: EASE knows no history of theirs"
            )
        return scorer(users, candidates)

    return score


def ease_of(
    history: csr_array, *, reg: float = 200.0, items: IntArray | None = None, unknown: Unknown = "0"
) -> Scorer:
    """EASE: a linear item-to-item model with a zero diagonal (Steck 2019).

    It is `fit_linear` without sides: of the users or of the items, whichever are fewer. Where both are more
    than `EXACT`, the leading singular vectors stand for the matrix, which the progress says.

    Memory: three dense float64 matrices of min(users, items, `EXACT`)², and chunk x candidates.

    Args:
        history: float32 [users, items].
        reg: λ, above 0.
        items: int64, ascending: the items to model; None: those with a user.
        unknown: what the others score.

    Returns:
        A scorer; users without a modelled item score 0 everywhere.

    Raises:
        InputError: `reg` is not above 0.
    """
    above("EASE's reg", reg)
    seen = csr_matrix(presence(history))
    modelled = np.flatnonzero(item_counts(seen) > 0) if items is None else items
    among = seen[:, modelled]
    title = "fitting EASE"
    if min(among.shape) > EXACT:
        title += f" by {RANK} singular vectors, as there are more than {EXACT:,} users and items"
    with step(title):
        model = fit_linear(among, [], reg=reg, side_weight=0.0, limit=EXACT)
    column_of = np.full(history.shape[1], -1, dtype=np.int64)
    column_of[modelled] = np.arange(len(modelled))

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        scores: FloatArray = model.score(among[users], column_of[candidates]).numpy()
        return scores

    return where_unknown(score, column_of >= 0, unknown)


def where_unknown(scorer: Scorer, known: npt.NDArray[np.bool_], unknown: Unknown) -> Scorer:
    """`scorer`, but items that are not `known` (bool [items]) score `unknown`, whatever it says of them."""
    value = np.float32(float(unknown))

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        held = known[candidates]
        if held.all():
            return scorer(users, candidates)
        scores = np.full((len(users), len(candidates)), value, dtype=np.float32)
        if held.any():
            scores[:, held] = scorer(users, candidates[held])
        return scores

    return score


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


def item_counts(history: csr_array) -> IntArray:
    """int64 [items]: users of each."""
    return np.bincount(presence(history).indices, minlength=history.shape[1]).astype(np.int64)
