"""The units that models read features in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgdistill.ranking.repeats import WIDTH
from kgdistill.ranking.units import units_of
from kgdistill.train.basket import RepeatModel, RepeatSettings, _Examples, _Lesson


def test_a_unit_is_the_spread_but_where_nearly_all_are_alike() -> None:
    spread = np.random.default_rng(0).normal(0, 3, 1000)
    nearly = np.where(np.arange(1000) == 0, 4.0, 5.0)
    same = np.full(1000, np.log1p(25.0), np.float32)
    middle, unit = units_of(np.stack([spread, nearly, same], axis=1))
    np.testing.assert_allclose(middle, [spread.mean(), 4.999, np.log1p(25.0)], rtol=1e-6)
    np.testing.assert_allclose(unit, [spread.std(), 0.4999, 1e6], rtol=1e-6)


def test_what_all_baskets_have_alike_is_silent_of_others() -> None:
    values = np.random.default_rng(0).normal(size=(64, WIDTH)).astype(np.float32)
    values[:, 0] = np.log1p(25.0)
    window = _Examples(values, np.arange(64) % 2 == 0, np.array([0, 32, 64]), True)
    model = RepeatModel(WIDTH, 4)
    _Lesson(model, [window], RepeatSettings())
    other = values.copy()
    other[:, 0] = np.log1p(16.0)
    apart = model.standardise(torch.from_numpy(other)) - model.standardise(torch.from_numpy(values))
    assert float(apart.abs().max()) == pytest.approx(0.0, abs=1e-5)
