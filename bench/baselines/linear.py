"""EASE: the linear item-to-item model in closed form."""

from __future__ import annotations

from bench.baselines.common import Grid, grid
from kgdistill.evaluate.baselines import ease_of as ease

__all__ = ["EASE_GRID", "ease"]

EASE_GRID: Grid = grid(reg=(5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0))
