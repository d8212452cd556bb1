"""The arrays that pass between modules, by what they hold."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int64]
"""Ids and counts."""
FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Scores, weights and vectors."""
DoubleArray: TypeAlias = npt.NDArray[np.float64]
"""Metrics."""
BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""Masks."""
