"""The peers that every run carries, for a task: popularity, EASE, chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgdistill.evaluate import peers
from kgdistill.evaluate.task import EvaluationTask, Scorer

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def popularity(task: EvaluationTask) -> Scorer:
    """Ranks items by how many eligible users had them in train, for everybody alike."""
    return peers.popularity(task.train)


def random_scorer(seed: int) -> Scorer:
    """Chance: a number in [0, 1) that depends on the seed, the user and the item alone, not on chunks."""
    start = _mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))

    def score(users: Ints, candidates: Ints) -> Floats32:
        rows = _mixed(users.astype(np.uint64) ^ start)
        cells = _mixed(rows[:, None] ^ candidates.astype(np.uint64)[None, :])
        return (cells >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)

    return score


def ease(task: EvaluationTask, *, reg: float = 1000.0) -> Scorer:
    """EASE (`peers.ease`) of the task's warm items, fitted on train.

    Args:
        task: gives the train matrix of its eligible users and its warm items.
        reg: λ, above 0.

    Returns:
        A scorer for eligible users (ValueError for others). It knows nothing of items that are not warm:
        they score -inf, so judge it in the setting "warm".

    Raises:
        InputError: `reg` is not above 0.
    """
    warm = task.candidates("warm", "validation")
    scorer = peers.ease(task.train, reg=reg, items=warm, unknown="-inf")
    eligible = np.zeros(task.train.shape[0], dtype=np.bool_)
    eligible[task.users] = True

    def score(users: Ints, candidates: Ints) -> Floats32:
        if not eligible[users].all():
            raise ValueError(
                f"user {int(users[~eligible[users]][0])} is not eligible: EASE knows no history of theirs"
            )
        return scorer(users, candidates)

    return score


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
