"""Judges arms on the test split, and keeps what peers cost hours to find."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bench.suites.decoys import WIDE, levels, named, up_to
from bench.suites.result import ArmScores
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.errors import InputError
from kgdistill.evaluate.document import beyond_accuracy, gini
from kgdistill.evaluate.judge import ArmResult, SettingResult, evaluate_arm
from kgdistill.run.history_match import JudgedArm
from kgdistill.tasks.match import MatchTask, Scorer, Setting, Split

_SOURCES = (
    "bench/baselines/*.py",
    "bench/suites/choose.py",
    "bench/suites/decoys.py",
    "bench/suites/discovery.py",
    "bench/suites/peers.py",
    "kgdistill/evaluate/baselines.py",
    "kgdistill/evaluate/judge.py",
    "kgdistill/ranking/*.py",
    "kgdistill/tasks/match.py",
)


@dataclass
class Judge:
    """Collects the scores of arms on one task.

    Args:
        task: its test split is opened with the first arm that is judged.
        brands: the brand of each item, -1 for none, int64 [all items]; None leaves brand exposure out.
        decoys: how many the graph holds for each new item. The protocol's settings are asked without them,
            those that rank the whole catalogue once more with some and with all of them.
    """

    task: MatchTask
    brands: IntArray | None = None
    decoys: int = 0
    units: dict[str, list[str]] = field(default_factory=dict)

    def ours(self, arm: JudgedArm) -> ArmScores:
        """Judges one of ours."""
        scores, extra = self.measure(arm.scorer, arm.arm, arm.title)
        return ArmScores(
            arm=arm.arm,
            title=arm.title,
            kind=arm.kind,
            seed=arm.seed,
            fit_seconds=arm.fit_seconds,
            parameters=arm.parameters,
            texts_per_second=None,
            scores=scores,
            extra=extra,
        )

    def measure(
        self, scorer: Scorer, arm: str, title: str, settings: Sequence[Setting] | None = None
    ) -> tuple[dict[str, dict[str, DoubleArray]], dict[str, float]]:
        """Setting -> metric -> values, and what lies beyond accuracy in the widest setting."""
        self.task.open_test()
        asked = self.task.protocol.settings if settings is None else settings
        wide = [setting for setting in asked if setting in WIDE]
        scores: dict[str, dict[str, DoubleArray]] = {}

        def judged(level: int, settings: Sequence[Setting]) -> ArmResult:
            part = up_to(self.task, level) if self.decoys else self.task
            result = evaluate_arm(scorer, part, arm=arm, title=title, k=part.protocol.k, settings=settings)
            for setting, found in result.settings.items():
                name = named(setting, level) if level else setting
                self._same_units(name, found, arm)
                scores[name] = _values(found, result.k)
            return result

        plain = judged(0, asked)
        for level in levels(self.decoys) if wide else ():
            judged(level, wide)
        return scores, self._beyond(plain)

    def _same_units(self, setting: str, found: SettingResult, arm: str) -> None:
        keys = [str(self.task.user_keys[int(user)]) for user in found.users]
        if self.units.setdefault(setting, keys) != keys:
            raise InputError(f"{arm} was judged on other users", where=setting)

    def _beyond(self, result: ArmResult) -> dict[str, float]:
        wide: tuple[Setting, ...] = ("warm", "all")
        whole = next((s for s in wide if s in result.settings), None)
        if whole is None:
            return {}
        found = result.settings[whole]
        told = beyond_accuracy(self.task, found)
        if self.brands is not None:
            told |= brand_exposure(self.task, found, self.brands)
        return {name: value for name, value in told.items() if value is not None}


def _values(found: SettingResult, k: int) -> dict[str, DoubleArray]:
    return {**{f"{m}@{k}": found.values(m) for m in ("ndcg", "recall", "mrr")}, **found.deeper}


def kept(
    folder: Path, key: Mapping[str, Any], make: Callable[[], ArmScores], units: dict[str, list[str]]
) -> ArmScores:
    """An arm's scores from `folder` where they were found from the same inputs, else made and kept there.

    Args:
        folder: of the suite.
        key: what the scores depend on, beside the code of the peers and of the evaluation.
        make: finds them, and fills `units`.
        units: by setting; filled from what was kept.
    """
    name = sha256(json.dumps({**key, "code": _code()}, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = folder / f"{key['arm']}-{key['seed']}-{name}.npz"
    if place.is_file():
        with np.load(place, allow_pickle=False) as held:
            about = json.loads(str(held["about"]))
            scores: dict[str, dict[str, DoubleArray]] = {}
            for column in held.files:
                if column != "about":
                    setting, metric = column.split("|")
                    scores.setdefault(setting, {})[metric] = held[column]
        for setting, keys in about.pop("units").items():
            units.setdefault(setting, keys)
        return ArmScores(scores=scores, **about)
    found = make()
    about = {
        name: getattr(found, name)
        for name in ("arm", "title", "kind", "seed", "fit_seconds", "parameters", "texts_per_second", "extra")
    }
    about["units"] = {setting: units[setting] for setting in found.scores}
    columns = {f"{s}|{m}": values for s, metrics in found.scores.items() for m, values in metrics.items()}
    folder.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial.npz")
    np.savez_compressed(partial, about=np.array(json.dumps(about)), **columns)  # type: ignore[arg-type]
    partial.rename(place)
    return found


def brand_exposure(
    task: MatchTask, result: SettingResult, brands: IntArray, *, split: Split = "test"
) -> dict[str, float | None]:
    """How the first k ranks share what they show between brands, against how purchases do.

    Args:
        task: where it was asked.
        result: what an arm showed.
        brands: int64 [all items], each item's brand counted from 0; -1: it has none and is left out.
        split: what was judged; says which purchases were known.

    Returns:
        brand_gini: Gini's coefficient of how often each brand was shown, over the brands of the candidates.
        brand_gini_purchases: the same of the purchases of candidates in the known history.
        brand_shift: half the sum of |share of what was shown - share of purchases| over brands: 0, both
            alike; 1, nothing in common.
        Each None where nothing of a brand was shown, or bought.
    """
    there = brands[result.candidates]
    names, local = np.unique(there[there >= 0], return_inverse=True)
    where = np.full(int(brands.max(initial=-1)) + 2, -1, dtype=np.int64)
    where[names] = np.arange(len(names))
    shown = where[brands[result.items[result.items >= 0]]]
    seen = np.bincount(shown[shown >= 0], minlength=len(names)).astype(np.float64)
    bought = np.bincount(
        local, weights=task.counts(split)[result.candidates][there >= 0], minlength=len(names)
    )
    shift = None
    if seen.sum() and bought.sum():
        shift = float(np.abs(seen / seen.sum() - bought / bought.sum()).sum() / 2)
    return {"brand_gini": gini(seen), "brand_gini_purchases": gini(bought), "brand_shift": shift}


def merged(arm: ArmScores, other: Mapping[str, dict[str, DoubleArray]]) -> ArmScores:
    """The arm with further settings."""
    return replace(arm, scores={**arm.scores, **other})


def _code() -> str:
    root = Path(__file__).parents[2]
    files = sorted(path for pattern in _SOURCES for path in root.glob(pattern))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
