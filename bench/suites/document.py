"""A suite's figures as one document and as a table for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from bench.comparisons import Estimate, Resampled, Resamples, holm
from bench.suites.result import ArmScores, SuiteResult
from kgdistill.run.report.environment import environment

_SAMPLES, _LEVEL = 4000, 0.95


def suite_document(result: SuiteResult, *, samples: int = _SAMPLES, seed: int = 0) -> dict[str, Any]:
    """Means, intervals, differences and shares; what models-SUITE.json holds.

    A difference in a setting's headline metric carries `p_holm`, adjusted over all such differences of the
    suite, or over all such of its ablations; those in other metrics or aside have only their own `p`. The
    `low` of a share is the least that is kept; `seeds_low` where the seeds are drawn anew as well.

    Args:
        result: what to write; it must fit together (`SuiteResult.check`).
        samples, seed: of the bootstrap.

    Raises:
        InputError: it does not.
    """
    result.check()
    arms: dict[str, dict[str, Any]] = {name: _about(result.seeds(name)) for name in result.names()}
    differences: list[dict[str, Any]] = []
    ablations: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    for setting, metrics in metrics_of(result).items():
        if not result.units[setting]:
            continue
        resamples = Resamples(len(result.units[setting]), samples=samples, level=_LEVEL, seed=seed)
        for metric in metrics:
            held = {
                name: values
                for name in arms
                if (values := result.per_seed(name, setting, metric)) is not None
            }
            drawn = dict(zip(held, resamples.draw(*held.values()), strict=True))
            for name, mine in drawn.items():
                told = {**asdict(mine.estimate()), "per_seed": mine.means.tolist()}
                arms[name]["settings"].setdefault(setting, {})[metric] = told
            where = {"setting": setting, "metric": metric}
            differences += _differences(result.comparisons, drawn, where)
            for pair in result.ablations:
                ablations += _differences([pair], _same_seeds(result, pair, drawn), where)
            shares += _shares(result, drawn, where)
    first = headlines(result)
    tested = {setting: metric for setting, metric in first.items() if setting not in result.aside}
    compared, ablated = (_adjust(found, tested) for found in (differences, ablations))
    return {
        "suite": result.suite,
        "protocol": result.protocol,
        "environment": environment({}),
        "bootstrap": {
            "samples": samples,
            "level": _LEVEL,
            "seed": seed,
            "compared": compared,
            "ablated": ablated,
        },
        "settings": {s: {"units": len(result.units[s]), "headline": first[s]} for s in first},
        "arms": list(arms.values()),
        "comparisons": differences,
        "ablations": ablations,
        "shares": shares,
        "front": result.front,
        "notes": result.notes,
    }


def metrics_of(result: SuiteResult) -> dict[str, list[str]]:
    """Setting -> every metric that an arm has there, in the order in which they came."""
    found: dict[str, dict[str, None]] = {setting: {} for setting in result.units}
    for arm in result.arms:
        for setting, metrics in arm.scores.items():
            found[setting].update(dict.fromkeys(metrics))
    return {setting: list(metrics) for setting, metrics in found.items() if metrics}


def headlines(result: SuiteResult) -> dict[str, str]:
    """Setting -> the metric that is shown first."""
    return {
        setting: result.headline.get(setting, metrics[0]) for setting, metrics in metrics_of(result).items()
    }


def suite_scores(result: SuiteResult) -> pa.Table:
    """Every value: setting, metric, arm, unit (dictionaries), seed (int32), value (float32)."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("setting", "metric", "arm", "unit", "seed", "value")
    }
    for arm in result.arms:
        for setting, metrics in arm.scores.items():
            units = pa.array(result.units[setting], pa.string())
            for metric, values in metrics.items():
                for name, value in (("setting", setting), ("metric", metric), ("arm", arm.arm)):
                    columns[name].append(pa.array([value]).take(pa.array(np.zeros(len(units), np.int64))))
                columns["unit"].append(units)
                columns["seed"].append(pa.array(np.full(len(units), arm.seed, np.int32)))
                columns["value"].append(pa.array(values.astype(np.float32)))
    made = {name: pa.chunked_array(parts) for name, parts in columns.items()}
    for name in ("setting", "metric", "arm", "unit"):
        made[name] = made[name].dictionary_encode().unify_dictionaries()
    return pa.table(made)


def suite_table(document: dict[str, Any]) -> str:
    """The document as Markdown: arms, differences, shares, the protocol and notes."""
    settings = document["settings"]
    level = f"{document['bootstrap']['level']:.0%}"
    heads = [f"{setting} {metric_title(info['headline'])}" for setting, info in settings.items()]
    lines = [
        f"# {document['suite']}",
        "",
        f"Means with {level} bootstrap intervals over units; several seeds of an arm are averaged "
        "first, and an interval that resamples them too stands in the document.",
        "",
        _row(["arm", *heads, "seeds", "fit s", "parameters", "texts/s"]),
        _row(["---"] + ["---:"] * (len(heads) + 4)),
    ]
    removed = removed_arms(document)
    best = {
        s: max((_mean(a, s, i["headline"]) for a in document["arms"] if a["arm"] not in removed), default=0.0)
        for s, i in settings.items()
    }
    for arm in document["arms"]:
        if arm["arm"] in removed:
            continue
        cells = []
        for setting, info in settings.items():
            found = arm["settings"].get(setting, {}).get(info["headline"])
            text = "–" if found is None else f"{_interval(found)}"
            cells.append(f"**{text}**" if found is not None and found["mean"] == best[setting] else text)
        title = f"**{arm['title']}**" if arm["kind"] == "ours" else arm["title"]
        lines.append(
            _row(
                [
                    title,
                    *cells,
                    str(len(arm["seeds"])),
                    _number(arm["fit_seconds"]),
                    _number(arm["parameters"]),
                    _number(arm["texts_per_second"]),
                ]
            )
        )
    titles = {arm["arm"]: arm["title"] for arm in document["arms"]}
    compared = [d for d in document["comparisons"] if "p_holm" in d]
    if compared:
        lines += [
            "",
            f"Differences, paired by unit; p adjusted by Holm over these {len(compared)}.",
            "",
            _row(["a", "less b", "setting", "metric", "difference", "relative", "p (Holm)"]),
            _row(["---"] * 4 + ["---:"] * 3),
        ]
        for d in compared:
            relative = "–" if d["relative"] is None else f"{d['relative']:+.1%}"
            p = f"{d['p_holm']:.4f}" if d["p_holm"] >= 0.0001 else "< 0.0001"
            names = [titles[d["a"]], titles[d["b"]], d["setting"], metric_title(d["metric"])]
            lines.append(_row([*names, _interval(d, sign="+"), relative, p]))
    lines += _ablations(document, titles, heads)
    if told := [s for s in document["shares"] if s["metric"] == settings[s["setting"]]["headline"]]:
        lines += _kept(told, titles)
    if document["front"]:
        lines += _front(document["front"], titles)
    lines += ["", "Protocol.", *(f"- {line}" for line in document["protocol"])]
    if document["notes"]:
        lines += ["", "Notes.", *(f"- {line}" for line in document["notes"])]
    return "\n".join(lines) + "\n"


def removed_arms(document: dict[str, Any]) -> set[str]:
    """The arms with one piece removed, which have a table of their own."""
    return {d["b"] for d in document["ablations"]}


def _ablations(document: dict[str, Any], titles: dict[str, str], heads: list[str]) -> list[str]:
    """What each piece brings: the whole less the same without it, in every setting's headline metric."""
    found = {(d["a"], d["b"], d["setting"]): d for d in document["ablations"] if "p_holm" in d}
    pairs = list(dict.fromkeys((a, b) for a, b, _ in found))
    if not pairs:
        return []
    count = document["bootstrap"]["ablated"]
    lines = [
        "",
        "What a piece brings: the whole less the same without it, paired by unit; * where p, adjusted by "
        f"Holm over these {count}, is below 0.05.",
        "",
        _row(["whole", "less", *heads]),
        _row(["---"] * 2 + ["---:"] * len(heads)),
    ]
    for a, b in pairs:
        cells = []
        for setting in document["settings"]:
            d = found.get((a, b, setting))
            mark = " *" if d is not None and d["p_holm"] < 0.05 else ""
            cells.append("–" if d is None else _interval(d, sign="+") + mark)
        lines.append(_row([titles[a], titles[b], *cells]))
    return lines


def _kept(shares: list[dict[str, Any]], titles: dict[str, str]) -> list[str]:
    """How much of another arm's figure each keeps; the lower end alone is what may be promised."""
    lines = [
        "",
        _row(["a", "share of b", "setting", "metric", "share", "at least", "at least, seeds drawn too"]),
        _row(["---"] * 4 + ["---:"] * 3),
    ]
    for s in shares:
        share = f"{s['mean']:.1%} [{s['low']:.1%}, {s['high']:.1%}]"
        names = [titles[s["a"]], titles[s["b"]], s["setting"], metric_title(s["metric"])]
        lines.append(_row([*names, share, f"{s['low']:.1%}", f"{s['seeds_low']:.1%}"]))
    return lines


def _front(rows: list[dict[str, Any]], titles: dict[str, str]) -> list[str]:
    """What lifting new items brings, by what it costs."""
    lines = [
        "",
        "New items among all others, with the highest lift by which the NDCG over all items falls by at most",
        "so much on this test, against no lift: what a lift can do, not what validation chose.",
        "",
        _row(["a", "decoys for each new item", "cost", "lift", "Recall of new items"]),
        _row(["---"] + ["---:"] * 4),
    ]
    for row in rows:
        cells = [
            f"{row['decoys']}",
            f"{row['cost']:.0%}",
            f"{row['lift']:.1f}",
            _interval({**row, "mean": row["recall"]}),
        ]
        lines.append(_row([titles[row["arm"]], *cells]))
    return lines


def metric_title(name: str) -> str:
    """A metric's name for people."""
    metric, _, k = name.partition("@")
    titles = {"ndcg": "NDCG", "recall": "Recall", "mrr": "MRR", "judged": "judged"}
    return f"{titles.get(metric, metric)}@{k}" if k else titles.get(metric, metric)


def _about(seeds: list[ArmScores]) -> dict[str, Any]:
    first = seeds[0]
    names = dict.fromkeys(name for arm in seeds for name in arm.extra)
    return {
        "arm": first.arm,
        "title": first.title,
        "kind": first.kind,
        "seeds": [arm.seed for arm in seeds],
        "fit_seconds": _average([arm.fit_seconds for arm in seeds]),
        "parameters": first.parameters,
        "texts_per_second": _average([arm.texts_per_second for arm in seeds]),
        "settings": {},
        "extra": {name: _average([arm.extra.get(name) for arm in seeds]) for name in names},
    }


def _adjust(differences: list[dict[str, Any]], first: dict[str, str]) -> int:
    """Adds `p_holm` to those in a headline metric; how many they are."""
    family = [d for d in differences if d["metric"] == first.get(d["setting"])]
    for found, adjusted in zip(family, holm([d["p"] for d in family]), strict=True):
        found["p_holm"] = adjusted
    return len(family)


def _same_seeds(
    result: SuiteResult, pair: tuple[str, str], drawn: dict[str, Resampled]
) -> dict[str, Resampled]:
    """The two arms with the seeds that both have: a whole may have been trained more often than its parts."""
    seeds = {name: [arm.seed for arm in result.seeds(name)] for name in pair}
    both = [seed for seed in seeds[pair[0]] if seed in seeds[pair[1]]]
    return {
        name: drawn[name].only([seeds[name].index(seed) for seed in both])
        for name in pair
        if name in drawn and both
    }


def _differences(
    pairs: list[tuple[str, str]], drawn: dict[str, Resampled], where: dict[str, str]
) -> list[dict[str, Any]]:
    found = []
    for a, b in pairs:
        if a in drawn and b in drawn:
            told = asdict(drawn[a].difference(drawn[b]))
            base = float(drawn[b].means.mean())
            difference = told.pop("mean")
            relative = difference / base if base > 0 else None
            found.append({"a": a, "b": b, **where, "difference": difference, "relative": relative, **told})
    return found


def _shares(result: SuiteResult, drawn: dict[str, Resampled], where: dict[str, str]) -> list[dict[str, Any]]:
    found = []
    for a, b in result.shares:
        share: Estimate | None = drawn[a].share(drawn[b]) if a in drawn and b in drawn else None
        if share is not None:
            found.append({"a": a, "b": b, **where, **asdict(share)})
    return found


def _average(values: list[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _mean(arm: dict[str, Any], setting: str, metric: str) -> float:
    return float(arm["settings"].get(setting, {}).get(metric, {}).get("mean", -np.inf))


def _interval(found: dict[str, Any], sign: str = "") -> str:
    mean = found.get("mean", found.get("difference"))
    return f"{mean:{sign}.4f} [{found['low']:.4f}, {found['high']:.4f}]"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
