"""Measures `kgdistill watch`: false alarms, planted surges, and the sentiment under it.

    python -m bench.tasks_watch                      three seeds
    python -m bench.tasks_watch --seeds 1
    python -m bench.tasks_watch --only surges        one part alone; the others stay as they were

False alarms: the detector as it is, at one allowed a month over all topics, on hourly streams without any
surge, counted from the first hour on. Surges: 200 planted ones a seed; every detector is tuned to the same
rate of false alarms on streams of its own, and the detector as it is stands beside them, untuned. With the
student's sentiment, negatives are told with the mistakes that it makes on the test of Financial PhraseBank,
as if statements were drawn from there with replacement. Into the dated Chinese news surges of a week are
planted, in windows of a day. Writes bench/results/tasks_watch.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from bench.watch_streams import (
    KINDS,
    MONTH_HOURS,
    SCORES,
    TOPICS,
    WARM,
    Delay,
    Mistakes,
    delays,
    draw_stream,
    plant,
    starts,
    threshold,
    watched,
)
from kgdistill.progress import step
from kgdistill.ranking.bootstrap import bootstrap_statistic
from kgdistill.watch.detector import Sensitivity, SurgeDetector

RESULTS = Path(__file__).parent / "results" / "tasks_watch.json"
MONTHS, REPLICATES = 6, 6
SURGES, EACH, SURGE_MONTHS = 200, 20, 4
# Tried with true labels alone: those that are not in use and need no model.
CANDIDATES = ("CUSUM, odds times 2",)
STATED = 1.0
NOTHING: dict[str, Any] = {"of": {}}


def poisson_interval(count: int, exposure: float) -> dict[str, float]:
    """The rate of a Poisson count and its exact 95 % interval (Garwood 1936)."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return {
        "mean": count / exposure,
        "low": low / exposure,
        "high": chi2.ppf(0.975, 2 * count + 2) / 2 / exposure,
    }


def false_alarms(seeds: int) -> dict[str, Any]:
    """Of the detector as it is, by kind of stream."""
    hours, out = int(MONTHS * MONTH_HOURS), {}
    with step("false alarms", len(KINDS) * seeds) as progress:
        for kind in KINDS:
            topics, replicates = (100, 2) if kind == "many topics" else (TOPICS, REPLICATES)
            counts = []
            for seed in range(seeds):
                stream = draw_stream(kind, hours, topics * replicates, seed)
                counts.append(len(watched(stream, topics, STATED)))
                progress.advance()
            months = MONTHS * replicates * seeds
            out[kind] = {
                "topics": topics, "months": months, "alarms": sum(counts), "by_seed": counts,
                "a_month": poisson_interval(sum(counts), months),
            }  # fmt: skip
    return out


def summary(found: list[Delay | None]) -> dict[str, Any]:
    """The share found, and medians of those found, with 95 % intervals over surges."""
    hours = np.array([np.inf if d is None else d.hours for d in found])
    statements = np.array([np.inf if d is None else d.statements for d in found])
    there = np.isfinite(hours)

    def share(weights: Any) -> float:
        return float(np.average(there, weights=weights))

    def median(values: Any) -> Any:
        return lambda w: float(np.median(np.repeat(values[there], w[there]))) if w[there].any() else 0.0

    return {
        "surges": len(found),
        "found": bootstrap_statistic(share, len(found))._asdict(),
        "hours": bootstrap_statistic(median(hours), len(found))._asdict(),
        "statements": bootstrap_statistic(median(statements), len(found))._asdict(),
    }


def surges(seeds: int, mistakes: Mistakes) -> dict[str, Any]:
    """Every detector tuned to the stated rate on streams without surges, then judged on planted ones."""
    replicates = SURGES // EACH
    hours = int(SURGE_MONTHS * MONTH_HOURS)
    found: dict[str, list[Delay | None]] = {}
    alarms: dict[str, list[int]] = {}
    with step("surges", seeds * (2 * (len(SCORES) + 1) - len(CANDIDATES))) as progress:
        for seed in range(seeds):
            planted, odds, more = plant(hours, replicates, EACH, seed)
            for name, errs in (("", Mistakes()), (", sentiment by the student", mistakes)):
                calm = draw_stream("planted", hours, REPLICATES * TOPICS, 100 + seed, mistakes=errs)
                other = draw_stream("planted", hours, REPLICATES * TOPICS, 300 + seed, mistakes=errs)
                stream = draw_stream(
                    "planted", hours, replicates * TOPICS, 200 + seed, mistakes=errs, odds=odds, more=more
                )
                months = REPLICATES * (hours - WARM) / MONTH_HOURS
                for method, score in SCORES.items():
                    if name and method in CANDIDATES:
                        continue
                    least = threshold(score(calm)[WARM:], months, STATED)
                    told = starts(score(stream) > least)
                    found.setdefault(f"{method}{name}", []).extend(delays(planted, told, stream))
                    again = len(starts(score(other)[WARM:] > least))
                    alarms.setdefault(f"{method}{name}", []).append(again)
                    progress.advance()
                own = f"as it is, untuned{name}"
                found.setdefault(own, []).extend(delays(planted, watched(stream, TOPICS, STATED), stream))
                later = [w for w, _ in watched(other, TOPICS, STATED) if w >= WARM]
                alarms.setdefault(own, []).append(len(later))
                progress.advance()
    exposure = seeds * REPLICATES * (hours - WARM) / MONTH_HOURS
    return {
        name: summary(told) | {"false_alarms_a_month": poisson_interval(sum(alarms[name]), exposure)}
        for name, told in found.items()
    }


def news_surges(seeds: int) -> dict[str, Any]:
    """Surges of a week planted into the dated news, 200 a seed, one at a time; windows of a day."""
    from datetime import date

    from bench.watch_sentiment import finance_news

    rows = finance_news()
    days = np.array([date.fromisoformat(row["day"]).toordinal() for row in rows])
    bad = np.array([row["sentiment"] == "negative" for row in rows])
    first, last = np.quantile(days, [0.05, 1.0]).astype(int)
    n = np.bincount(days[days >= first] - first, minlength=last - first + 1)
    x = np.bincount(days[days >= first] - first, weights=bad[days >= first], minlength=len(n)).astype(
        np.int64
    )
    sensitivity = Sensitivity(window_hours=24.0)

    def told(negatives: Any, statements: Any) -> list[tuple[int, int]]:
        detector = SurgeDetector(sensitivity)
        detector.add_topics(negatives.shape[1])
        return [
            (i, c.topic)
            for i in range(len(negatives))
            if statements[i].any()
            for c in detector.step(i, negatives[i], statements[i], 1)
            if not c.ends
        ]

    real = told(x[:, None], n[:, None])
    out: dict[str, Any] = {
        "days": len(n), "news": int(n.sum()), "negative": float(x.sum() / n.sum()),
        "alerts_without_planting": len(real), "months": len(n) * 24 / MONTH_HOURS,
    }  # fmt: skip
    for times in (1, 2, 4):
        found: list[Delay | None] = []
        for seed in range(seeds):
            draw = np.random.default_rng([seed, times])
            begin = draw.integers(180, len(n) - 20, SURGES)
            xs, ns = np.tile(x[:, None], SURGES), np.tile(n[:, None], SURGES)
            for k, at in enumerate(begin):
                # So many more negatives a day as there are statements on a usual day, times this.
                added = draw.poisson(times * n[max(0, at - 90) : at].mean(), 7)
                xs[at : at + 7, k] += added
                ns[at : at + 7, k] += added
            alerts = told(xs, ns)
            for k, at in enumerate(begin):
                mine = [w for w, t in alerts if t == k and at <= w < at + 10]
                statements = float(ns[at : mine[0] + 1, k].sum()) if mine else 0.0
                found.append(Delay(24.0 * (mine[0] + 1 - at), statements) if mine else None)
        out[f"negatives added, times the usual volume: {times}"] = summary(found)
    return out


def sentiment(seeds: int) -> dict[str, Any]:
    """Macro-F1 of the run as it stands on both data sets, and the mistakes of the student's first seed."""
    from bench.watch_sentiment import finance_news, measure, phrasebank

    out: dict[str, Any] = {}
    for name, rows in (("financial_phrasebank", phrasebank()), ("finance_news_zh", finance_news())):
        out[name], test = measure(rows, seeds)
        negative = test["names"].index("negative")
        right, told = np.array(test["right"]) == negative, np.array(test["told"]["student"]) == negative
        out[name]["mistakes"] = {"found": float(told[right].mean()), "wrong": float(told[~right].mean())}
    return out


def rows(seeds: int, only: str = "", kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All figures, or one part anew beside those that are kept; each part says of how many seeds it is."""
    found = {"stated_false_alarms_a_month": STATED, **(kept or {})}

    def part(name: str, work: Callable[[], dict[str, Any]]) -> None:
        if only in ("", name):
            found[name] = {"seeds": seeds, "of": work()}

    part("sentiment", lambda: sentiment(seeds))
    part("false_alarms", lambda: false_alarms(seeds))
    part("surges", lambda: surges(seeds, _mistakes(found)))
    part("news", lambda: news_surges(seeds))
    return found


def _mistakes(found: Mapping[str, Any]) -> Mistakes:
    """Those of the student on Financial PhraseBank."""
    return Mistakes(**found["sentiment"]["of"]["financial_phrasebank"]["mistakes"])


def show(found: dict[str, Any], console: Console) -> None:
    """Tables."""

    def cell(i: dict[str, float], digits: int = 3) -> str:
        return f"{i['mean']:.{digits}f} [{i['low']:.{digits}f}, {i['high']:.{digits}f}]"

    for name, told in found.get("sentiment", NOTHING)["of"].items():
        table = Table("arm", "macro-F1", title=f"{name}: sentiment, {told['subjects']} test statements")
        for arm in told["arms"].values():
            table.add_row(arm["title"], cell(arm["macro_f1"]))
        console.print(table)
    table = Table("stream", "topics", "months", "false alarms a month", title="at most 1 a month is stated")
    for kind, told in found.get("false_alarms", NOTHING)["of"].items():
        table.add_row(kind, str(told["topics"]), str(told["months"]), cell(told["a_month"], 2))
    console.print(table)
    table = Table("detector", "found", "hours", "statements", "false alarms a month", title="planted surges")
    for name, told in found.get("surges", NOTHING)["of"].items():
        table.add_row(
            name, cell(told["found"], 2), cell(told["hours"], 1), cell(told["statements"], 0),
            cell(told["false_alarms_a_month"], 2),
        )  # fmt: skip
    console.print(table)
    console.print(found.get("news", NOTHING)["of"])


PARTS = ("sentiment", "false_alarms", "surges", "news")


def main() -> None:
    """Measures, prints, writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--only", choices=PARTS, default="")
    options = asked.parse_args()
    # One part after the other: what was measured is not lost with a later one.
    for part in [options.only] if options.only else PARTS:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        found = rows(options.seeds, part, kept)
        again = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        found = {**found, **again, part: found[part]}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(found, Console(width=160))


if __name__ == "__main__":
    main()
