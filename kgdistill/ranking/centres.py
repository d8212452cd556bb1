"""How near a subject is to the classes that a model has learned: cosines with their centres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray

_LEAST = 1e-9


@dataclass(frozen=True)
class Centres:
    """Where the subjects of each class lie, seen from the middle of all.

    What a classifier takes for one of its classes although it is none lies far from all of them, which its
    probabilities do not say (class means, Lee et al. 2018; their cosine, Zhou et al. 2021).

    Attributes:
        middle: of what was learned from, float32 [F].
        rows: of each class that was learned, the direction in which its subjects lie, float32 [C, F].
    """

    middle: FloatArray
    rows: FloatArray

    @staticmethod
    def of(features: Any, truth: BoolArray) -> Centres:
        """The centres of some subjects' classes.

        Args:
            features: of the subjects, a NumPy array or a SciPy sparse matrix, [N, F].
            truth: bool [N, C]; what has none of the classes says nothing.
        """
        held = np.flatnonzero(truth.any(axis=1))
        features, classes = features[held], truth[held].astype(np.float64)
        middle = np.asarray(features.mean(axis=0), np.float64).reshape(-1)
        apart = 1 / _lengths(features, middle)
        sums = classes.T @ (_sparse(features, apart))  # sums of unit vectors from the middle
        sums = np.asarray(sums, np.float64) - np.outer(classes.T @ apart, middle)
        sums = sums[classes.any(axis=0)]
        size = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _LEAST)
        return Centres(middle.astype(np.float32), (sums / size).astype(np.float32))

    def near(self, features: Any) -> FloatArray:
        """The cosine of each subject with the class whose centre is nearest, float32 [N].

        Args:
            features: as `of` takes them.
        """
        middle, rows = self.middle.astype(np.float64), self.rows.astype(np.float64)
        seen = np.asarray(features @ rows.T, np.float64) - middle @ rows.T
        best = seen.max(axis=1, initial=-np.inf) if len(rows) else np.zeros(len(seen))
        return np.asarray(best / _lengths(features, middle), np.float32)


def centre_arrays(centres: Mapping[str, Centres]) -> dict[str, FloatArray]:
    """The arrays of some targets' centres, by the names that a file holds them under."""
    return {
        f"centres.{name}.{part}": getattr(held, part)
        for name, held in centres.items()
        for part in ("middle", "rows")
    }


def stored_centres(names: Iterable[str], arrays: Mapping[str, Any]) -> dict[str, Centres]:
    """What `centre_arrays` made of these targets' centres; KeyError where one is missing."""
    return {name: Centres(arrays[f"centres.{name}.middle"], arrays[f"centres.{name}.rows"]) for name in names}


def _lengths(features: Any, middle: DoubleArray) -> DoubleArray:
    """Of the vectors from the middle to each row, float64 [N]; never 0. A sparse matrix stays sparse."""
    squares = features.multiply(features) if hasattr(features, "multiply") else np.square(features)
    own = np.asarray(squares.sum(axis=1), np.float64).reshape(-1)
    squared = own - 2 * np.asarray(features @ middle, np.float64).reshape(-1) + middle @ middle
    return np.asarray(np.sqrt(np.maximum(squared, _LEAST)), np.float64)


def _sparse(features: Any, factors: DoubleArray) -> Any:
    """Each row times a factor, as the same kind of matrix."""
    if hasattr(features, "multiply"):
        return features.multiply(factors[:, None]).tocsr()
    return features * factors[:, None]
