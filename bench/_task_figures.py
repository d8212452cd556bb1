"""Figures of classifiers over several seeds: with intervals, and paired differences with p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgdistill.arrays import DoubleArray
from kgdistill.ranking.classes import Classified, ClassifyMetric, macro_f1

Seeds = Sequence[Classified]
"""What an arm says of the same subjects, by seed; a baseline without one is one long."""


def resampled(arm: Seeds, metric: ClassifyMetric, samples: int) -> DoubleArray:
    """The mean over the seeds of a figure, float64 [1 + samples]: of the subjects, then of each resample."""
    count, draw = len(arm[0].truth), np.random.default_rng(0)
    weights = [np.ones(count, np.int64)]
    weights += [np.bincount(draw.integers(count, size=count), minlength=count) for _ in range(samples)]
    return np.array([np.mean([metric(given, w) for given in arm]) for w in weights])


def class_rows(
    setting: str,
    arms: Mapping[str, tuple[str, Seeds]],
    compared: Sequence[tuple[str, str]],
    *,
    metric: ClassifyMetric = macro_f1,
    samples: int = 1000,
) -> dict[str, list[dict[str, Any]]]:
    """`figures` and `compared` of one target, as `bench/tasks.py` keeps them.

    Args:
        setting: what is told, such as a target's name.
        arms: by short name a title and what it said, by seed.
        compared: pairs of arms: the first less the second over the same resamples.
        metric: a figure of the whole sample.
        samples: of the bootstrap.
    """
    held = {name: resampled(said, metric, samples) for name, (_, said) in arms.items()}
    name_of = metric.__name__
    figures = [
        {
            "setting": setting, "metric": name_of, "arm": name, "title": arms[name][0], **_ends(values),
            "seeds": [float(metric(given, np.ones(len(given.truth), np.int64))) for given in arms[name][1]],
        }
        for name, values in held.items()
    ]  # fmt: skip
    differences = []
    for one, other in compared:
        apart = held[one] - held[other]
        # Two-sided: how often resamples, centred on 0, are as far from it; rounding tells nothing apart.
        beyond = int((np.abs(apart[1:] - apart[0]) >= abs(apart[0]) - 1e-12).sum())
        p = (1 + beyond) / (1 + samples)
        differences.append(
            {"setting": setting, "metric": name_of, "arm": one, "other": other, **_ends(apart), "p": p}
        )
    return {"figures": figures, "compared": differences}


def _ends(values: DoubleArray) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"mean": float(values[0]), "low": float(low), "high": float(high)}
