"""The one document of results: every arm, every setting, and the differences between arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgdistill.errors import InputError
from kgdistill.evaluate.judge import ArmResult, SettingResult
from kgdistill.ranking.bootstrap import METRICS, bootstrap_mean, paired_bootstrap
from kgdistill.tasks.match import SETTINGS, MatchTask, Setting, Split

_LEVEL = 0.95


def beyond_accuracy(
    task: MatchTask, result: SettingResult, *, split: Split = "test"
) -> dict[str, float | None]:
    """What metrics of accuracy do not show of the first k ranks.

    Args:
        task: where it was asked.
        result: what an arm showed.
        split: what was judged; says which history was known.

    Returns:
        coverage: the share of the candidates that anybody was shown.
        gini: Gini's coefficient of how often each candidate was shown; 0 when all are shown equally
            often, near 1 when a few get everything.
        popularity_lift: for a user, the mean over the shown items of log2(count / mean count in the
            user's history), count being an item's users in the history (at least 1); the mean over users
            with a history. 0: as popular as what they already have; 1: twice as popular. None where nothing
            was shown.
    """
    shown = result.items >= 0
    columns = np.searchsorted(result.candidates, result.items[shown])
    exposure = np.bincount(columns, minlength=len(result.candidates))
    if not shown.any():
        return {"coverage": 0.0, "gini": None, "popularity_lift": None}
    history = task.history(split)[result.users]
    counts = np.maximum(task.counts(split), 1).astype(np.float64)
    had = np.diff(history.indptr)
    usual = (history @ counts) / np.maximum(had, 1)
    per_user = shown.sum(axis=1)
    logs = np.where(shown, np.log2(counts[np.where(shown, result.items, 0)]), 0.0).sum(axis=1)
    some = (per_user > 0) & (had > 0)
    lift = logs[some] / per_user[some] - np.log2(usual[some])
    return {
        "coverage": float((exposure > 0).mean()),
        "gini": gini(exposure),
        "popularity_lift": float(lift.mean()) if len(lift) else None,
    }


def gini(amounts: npt.NDArray[Any]) -> float | None:
    """Gini's coefficient: half the mean absolute difference over the mean; None where there is nothing."""
    held = np.sort(amounts)
    total, n = float(held.sum()), len(held)
    return float((2 * np.arange(1, n + 1) - n - 1) @ held) / (n * total) if total else None


def metrics_document(
    task: MatchTask,
    results: Sequence[ArmResult],
    comparisons: Sequence[tuple[str, str]] = (),
    *,
    fit_seconds: Mapping[str, float] | None = None,
    parameters: Mapping[str, int] | None = None,
    samples: int = 1000,
) -> dict[str, Any]:
    """The figures of a comparison, as `evaluate/metrics.json` holds them.

    Args:
        task: what was asked; `beyond_accuracy` is told of "warm" or, where that was not judged, of "all".
        results: the arms, all on one split and with one k.
        comparisons: pairs of arms (a, b) whose difference a - b in NDCG is wanted, wherever both were judged.
        fit_seconds, parameters: by arm, where known.
        samples: as in `bootstrap_mean`.

    Raises:
        InputError: no results, an arm twice, arms judged on different splits, k or users, or a
            comparison with an arm that is not there.
    """
    protocol = task.protocol
    by_arm = {result.arm: result for result in results}
    asked = _compared(by_arm, results, comparisons, protocol.title)
    order = [setting for setting in SETTINGS if setting in asked]
    whole: Setting = "warm" if "warm" in asked else "all"
    users = {s: {"users": len(asked[s].users), "candidates": len(asked[s].candidates)} for s in order}
    return {
        "protocol": {
            "name": protocol.title,
            "description": protocol.describe(),
            "cut": protocol.cut.isoformat(),
            "test_start": protocol.test_start.isoformat(),
            "k": results[0].k,
            "settings": users,
            "bootstrap": {"samples": samples, "level": _LEVEL},
        },
        "arms": [
            {
                "arm": result.arm,
                "title": result.title,
                "fit_seconds": (fit_seconds or {}).get(result.arm),
                "parameters": (parameters or {}).get(result.arm),
                "settings": _means(result, order, samples),
            }
            for result in results
        ],
        "comparisons": [
            _difference(by_arm[a], by_arm[b], setting, samples)
            for a, b in comparisons
            for setting in order
            if setting in by_arm[a].settings and setting in by_arm[b].settings
        ],
        "beyond_accuracy": {
            result.arm: beyond_accuracy(task, result.settings[whole], split=result.split)
            for result in results
            if whole in result.settings
        },
    }


def _compared(
    by_arm: Mapping[str, ArmResult],
    results: Sequence[ArmResult],
    comparisons: Sequence[tuple[str, str]],
    where: str,
) -> dict[Setting, SettingResult]:
    """By setting, one result that says what was asked of all, which must be the same; else InputError."""
    if not results or len(by_arm) < len(results):
        raise InputError("a comparison needs results, one for each arm", where=where)
    asked: dict[Setting, SettingResult] = {}
    for result in results:
        if (result.k, result.split) != (results[0].k, results[0].split):
            raise InputError(f"{result.arm} and {results[0].arm} were judged on different splits or k")
        for setting, found in result.settings.items():
            if not _alike(asked.setdefault(setting, found), found):
                raise InputError(f"{result.arm} was judged on other users or candidates", where=setting)
    for name in (name for pair in comparisons for name in pair):
        if name not in by_arm:
            raise InputError(
                f"no results of the arm {name!r} to compare", hint=f"there are: {', '.join(by_arm)}"
            )
    return asked


def _means(result: ArmResult, order: Sequence[Setting], samples: int) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for setting in (s for s in order if s in result.settings):
        found = result.settings[setting]
        named = {**{f"{metric}@{result.k}": found.values(metric) for metric in METRICS}, **found.deeper}
        told[setting] = {
            name: bootstrap_mean(values, samples=samples, level=_LEVEL)._asdict()
            for name, values in named.items()
        }
    return told


def _alike(one: SettingResult, other: SettingResult) -> bool:
    return np.array_equal(one.users, other.users) and np.array_equal(one.candidates, other.candidates)


def _difference(a: ArmResult, b: ArmResult, setting: Setting, samples: int) -> dict[str, Any]:
    ours, theirs = (arm.settings[setting].ndcg for arm in (a, b))
    found = paired_bootstrap(ours, theirs, samples=samples, level=_LEVEL)
    return {
        "a": a.arm,
        "b": b.arm,
        "setting": setting,
        "metric": f"ndcg@{a.k}",
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
    }
