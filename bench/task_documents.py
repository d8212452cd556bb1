"""What the benches of the tasks found, each in the form of `bench/tasks.py`, read from bench/results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]
_ENDS = ("mean", "low", "high")
_TITLES = {
    "banking77": "intent: Banking77", "curekart": "intent: HINT3, CureKart",
    "sofmattress": "intent: HINT3, SOFMattress", "bitext": "intent: Bitext",
    "financial_phrasebank": "sentiment: Financial PhraseBank",
    "finance_news_zh": "sentiment: Chinese finance news", "reviews_zh": "sentiment: Chinese reviews",
}  # fmt: skip


def documents(results: Path) -> dict[str, Document]:
    """By name: title, protocol, figures, compared and targets of every task that was measured."""

    def read(name: str) -> dict[str, Any]:
        file = results / f"{name}.json"
        held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return held

    watched = read("tasks_watch")
    found = {
        **{name: _intent(name, told) for name, told in read("tasks_answer").get("intents", {}).items()},
        **{name: {**told, "title": _TITLES[name]} for name, told in read("tasks").items()},
        **{name: _sentiment(name, told) for name, told in watched.get("sentiment", {}).get("of", {}).items()},
    }
    if told := read("tasks_profile"):
        found["profile"] = _profile(told)
    if told := read("tasks_target"):
        found["target"] = _target(told)
    if told := watched.get("surges", {}).get("of", {}):
        found["alerts"] = _alerts(told)
    return found


def _document(
    title: str,
    protocol: list[str],
    figures: Iterable[Mapping[str, Any]],
    compared: Iterable[Mapping[str, Any]],
    wanted: float | None = None,
) -> Document:
    rows = [dict(row) for row in figures]
    reached = next((row["mean"] for row in rows if row["arm"] == "student"), 0.0)
    targets = [] if wanted is None else [{"what": "student", "wanted": wanted, "reached": reached}]
    return {
        "title": title, "protocol": protocol, "figures": rows, "targets": targets,
        "compared": [dict(pair) for pair in compared],
    }  # fmt: skip


def _row(setting: str, metric: str, arm: Mapping[str, Any], ends: Mapping[str, Any]) -> dict[str, Any]:
    said = {"setting": setting, "metric": metric, "arm": arm["arm"], "title": arm["title"]}
    return said | {end: ends[end] for end in _ENDS}


def _pair(setting: str, metric: str, names: tuple[str, str], told: Mapping[str, Any]) -> dict[str, Any]:
    mean = told["mean"] if "mean" in told else told["difference"]
    return {
        "setting": setting, "metric": metric, "arm": names[0], "other": names[1],
        "mean": mean, "low": told["low"], "high": told["high"], "p": told["p"],
    }  # fmt: skip


def _intent(name: str, told: Mapping[str, Any]) -> Document:
    metric = told["figures"][0]["metric"]
    return _document(
        _TITLES[name], told["protocol"],
        (_row("intent", metric, row, row) for row in told["figures"]),
        (_pair("intent", metric, (pair["a"], pair["b"]), pair) for pair in told["compared"]),
        told["wanted"],
    )  # fmt: skip


def _sentiment(name: str, told: Mapping[str, Any]) -> Document:
    arms = [{"arm": arm, **held} for arm, held in told["arms"].items()]
    return _document(
        _TITLES[name], told["protocol"],
        (_row("sentiment", "macro_f1", arm, arm["macro_f1"]) for arm in arms),
        (_pair("sentiment", "macro_f1", (pair["arm"], pair["other"]), pair) for pair in told["compared"]),
        {"financial_phrasebank": 0.78, "finance_news_zh": 0.95}[name],
    )  # fmt: skip


def _profile(told: Mapping[str, Any]) -> Document:
    protocol = [
        f"{told['folds']} folds of the households of Complete Journey whose property is known; "
        "rare classes are favoured as far as each fold's training households ask for."
    ]
    return _document("profile: Complete Journey", protocol, told["figures"], told["compared"])


def _target(told: Mapping[str, Any]) -> Document:
    metrics = ("auc", "auc_within", "top10")
    return _document(
        "target: Complete Journey", told["protocol"],
        (_row("campaigns", metric, arm, arm[metric]) for metric in metrics for arm in told["arms"]),
        (
            _pair("campaigns", pair["metric"], (pair["arm"], pair["other"]), pair)
            for pair in told["compared"]
        ),
        0.83,
    )  # fmt: skip


def _alerts(told: Mapping[str, Any]) -> Document:
    protocol = [
        "Every detector is tuned to one false alarm a month on streams of its own, but the one that is "
        "called untuned; the share of planted surges that is found, and the median hours until then."
    ]
    arms = [{"arm": name, "title": name, **held} for name, held in told.items()]
    return _document(
        "alerts: planted surges", protocol,
        (_row("surges", metric, arm, arm[metric]) for metric in ("found", "hours") for arm in arms), (),
    )  # fmt: skip
