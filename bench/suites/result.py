"""What a suite hands back: one value per unit for every arm, seed, setting and metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from kgdistill.arrays import DoubleArray
from kgdistill.errors import InputError

Kind: TypeAlias = Literal["ours", "peer", "control", "ablation"]


@dataclass(frozen=True)
class ArmScores:
    """How one arm did with one seed. An arm without chance in it has one seed, 0.

    Attributes:
        arm, title: its short name and what a reader calls it.
        kind: "ours", "peer", "control" (a model that only a comparison needs) or "ablation".
        seed: what its chance was drawn from.
        fit_seconds: how long fitting took; None where it was not measured.
        parameters: how many numbers serving needs; None where that makes no sense.
        texts_per_second: how many texts it encodes in a second; None where it encodes none or it was not
            measured.
        scores: setting -> metric with its cut, such as "ndcg@20" -> float64 [units of the setting]. A setting
            that makes no sense for the arm is absent.
        extra: figures without units, such as coverage or the hyper-parameters that validation chose.
    """

    arm: str
    title: str
    kind: Kind
    seed: int
    fit_seconds: float | None
    parameters: int | None
    texts_per_second: float | None
    scores: dict[str, dict[str, DoubleArray]]
    extra: dict[str, float] = field(default_factory=dict)


@dataclass
class SuiteResult:
    """A suite's figures.

    Attributes:
        suite: its name.
        protocol: what was asked, one sentence each.
        units: setting -> the users or queries that were judged, in the order of the scores.
        arms: every arm and seed.
        comparisons: pairs of arms (a, b) whose difference a - b is wanted in every setting and metric that
            both have.
        ablations: pairs (whole, with one piece removed), compared likewise, but in a table and a family of
            tests of their own, lest they weaken what the others show.
        shares: pairs of arms (a, b) whose share a / b is wanted, such as a student of its teacher.
        headline: setting -> the metric that a table shows first; the first metric where a setting is absent.
        aside: settings that are told, but stand outside of the family that p is corrected for.
        notes: what a reader has to know, one sentence each.
        front: what lifting new items costs and brings (`front.Front.rows`).
    """

    suite: str
    protocol: list[str]
    units: dict[str, list[str]]
    arms: list[ArmScores]
    comparisons: list[tuple[str, str]] = field(default_factory=list)
    ablations: list[tuple[str, str]] = field(default_factory=list)
    shares: list[tuple[str, str]] = field(default_factory=list)
    headline: dict[str, str] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    front: list[dict[str, Any]] = field(default_factory=list)

    def names(self) -> list[str]:
        """The arms' short names, each once, in the order in which they came."""
        return list(dict.fromkeys(arm.arm for arm in self.arms))

    def seeds(self, arm: str) -> list[ArmScores]:
        """The arm with each of its seeds.

        Raises:
            InputError: there is no such arm.
        """
        found = [a for a in self.arms if a.arm == arm]
        if not found:
            raise InputError(f"no arm is called {arm!r}", where=self.suite, hint=", ".join(self.names()))
        return found

    def per_seed(self, arm: str, setting: str, metric: str) -> DoubleArray | None:
        """float64 [seeds, units]; None where the arm was not judged so."""
        found = [a.scores[setting][metric] for a in self.seeds(arm) if metric in a.scores.get(setting, {})]
        return np.stack(found) if found else None

    def check(self) -> None:
        """That everything fits together.

        Raises:
            InputError: an arm with a seed twice, seeds judged on different settings or metrics, values that
                do not match the units or are not finite, or a comparison with an arm that is not there.
        """
        if not self.arms:
            raise InputError("no arm was judged", where=self.suite)
        pairs = [(a.arm, a.seed) for a in self.arms]
        if len(set(pairs)) < len(pairs):
            raise InputError("an arm stands there twice with one seed", where=self.suite)
        shape: dict[str, dict[str, list[str]]] = {}
        for arm in self.arms:
            where = f"{self.suite}, arm {arm.arm}, seed {arm.seed}"
            mine = {setting: sorted(metrics) for setting, metrics in arm.scores.items()}
            if shape.setdefault(arm.arm, mine) != mine:
                raise InputError("was judged otherwise than with another seed", where=where)
            for setting, metrics in arm.scores.items():
                if setting not in self.units:
                    raise InputError(f"has the setting {setting!r}, of which no units are known", where=where)
                for metric, values in metrics.items():
                    if values.shape != (len(self.units[setting]),) or not np.isfinite(values).all():
                        raise InputError(
                            f"{setting} {metric} has shape {values.shape}, or values that are not finite; "
                            f"there are {len(self.units[setting])} units",
                            where=where,
                        )
        for name in {name for pair in [*self.comparisons, *self.ablations, *self.shares] for name in pair}:
            self.seeds(name)
