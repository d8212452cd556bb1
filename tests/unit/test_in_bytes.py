"""A table whose numbers are rounded to a byte."""

from __future__ import annotations

import numpy as np

from bench.suites.search_ours import in_bytes


def test_a_number_is_off_by_half_a_step_at_most_and_a_row_of_zeros_stays() -> None:
    table = (
        np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
        * np.geomspace(1e-4, 1e3, 50)[:, None]
    )
    table = table.astype(np.float32)
    table[7] = 0
    rounded = in_bytes(table)
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert rounded.dtype == np.float32
    assert (np.abs(rounded - table) <= 0.5001 * step).all()
    assert not rounded[7].any()
    for row, unit in zip(rounded, step[:, 0], strict=True):
        if unit:
            assert np.abs(np.rint(row / unit)).max() <= 127
            np.testing.assert_allclose(row / unit, np.rint(row / unit), atol=1e-3)
