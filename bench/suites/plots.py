"""A suite's plots as SVG files with their own colours, light and dark."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.suites.document import metric_title, removed_arms
from kgdistill.plotting import INK, SERIES, STYLE, svg

# The report's palette; a file of its own has no page to take it from.
_LIGHT = ("#1c2530", "#d6dce3", "#0b6aa2", "#c2570c", "#187a5b", "#a2458f", "#7a5f00", "#9aa5b1")
_DARK = ("#e4e9ef", "#3b4654", "#5fb0e8", "#f2995a", "#54c79f", "#de90cf", "#d8b948", "#66717d")
_NAMES = ("--plot-ink", "--plot-grid", *(f"--s{n}" for n in range(1, 7)))
_LOOKS = {
    "ours": (SERIES[0], "o"),
    "peer": (SERIES[1], "s"),
    "control": (SERIES[2], "^"),
    "ablation": (SERIES[5], "v"),
}


def suite_plots(document: dict[str, Any]) -> dict[str, str]:
    """SVG by name: "latency", "parameters" and "warm-cold"; one without figures is absent.

    Arms with one piece removed would crowd them and are left out.
    """
    removed = removed_arms(document)
    document = {**document, "arms": [arm for arm in document["arms"] if arm["arm"] not in removed]}
    settings = document["settings"]
    main = next(iter(settings))
    metric = settings[main]["headline"]
    ylabel = f"{main} {metric_title(metric)}"
    plots = {
        "latency": _against(
            document, main, metric, ylabel, "latency", "milliseconds to encode one text (log)",
            lambda arm: 1000 / arm["texts_per_second"] if arm["texts_per_second"] else None,
        ),
        "parameters": _against(
            document, main, metric, ylabel, "parameters", "parameters to serve (log)",
            lambda arm: arm["parameters"] or None,
        ),
    }  # fmt: skip
    cold = next((s for s in settings if s != main and "cold" in s), None)
    if cold is not None:
        other = settings[cold]["headline"]
        points = [
            (arm, found["mean"], mine)
            for arm in document["arms"]
            if (found := arm["settings"].get(cold, {}).get(other))
            and (mine := arm["settings"].get(main, {}).get(metric))
        ]
        label = f"{cold} {metric_title(other)}"
        plots["warm-cold"] = _scatter(document["suite"], "warm-cold", points, label, ylabel, log=False)
    return {name: text for name, text in plots.items() if text}


def _against(
    document: dict[str, Any], setting: str, metric: str, ylabel: str, name: str, xlabel: str, x: Any
) -> str:
    points = [
        (arm, x(arm), found)
        for arm in document["arms"]
        if (found := arm["settings"].get(setting, {}).get(metric)) and x(arm) is not None
    ]
    return _scatter(document["suite"], name, points, xlabel, ylabel, log=True)


def _scatter(
    suite: str,
    name: str,
    points: list[tuple[dict[str, Any], float, dict[str, Any]]],
    xlabel: str,
    ylabel: str,
    *,
    log: bool,
) -> str:
    if not points:
        return ""
    # Names beside the points would cover each other: points carry numbers, in order from the best.
    points = sorted(points, key=lambda p: -p[2]["mean"])
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, max(3.6, 0.9 + 0.17 * len(points))), layout="constrained")
        axes, key = figure.subplots(1, 2, width_ratios=[1.5, 1])
        for kind, (colour, marker) in _LOOKS.items():
            mine = [p for p in points if p[0]["kind"] == kind]
            if not mine:
                continue
            values = [found["mean"] for *_, found in mine]
            reach = [
                [max(found["mean"] - found["low"], 0) for *_, found in mine],
                [max(found["high"] - found["mean"], 0) for *_, found in mine],
            ]
            axes.errorbar(
                [x for _, x, _ in mine], values, yerr=reach, fmt=marker, color=colour, label=kind,
                markersize=6, elinewidth=0.8, capsize=2,
            )  # fmt: skip
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
        axes.margins(x=0.12, y=0.08)
        _number(axes, key, points)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(suite)
        axes.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
        told = "; ".join(f"{arm['title']} {found['mean']:.4f} at {x:.4g}" for arm, x, found in points)
        drawn = svg(figure, f"{suite}-{name}", f"{ylabel} against {xlabel}: {told}.")
    light, dark = (";".join(map(":".join, zip(_NAMES, tone, strict=True))) for tone in (_LIGHT, _DARK))
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    end = drawn.index(">") + 1
    return f"{drawn[:end]}{style}{drawn[end:]}"


def _number(axes: Axes, key: Axes, points: list[tuple[dict[str, Any], float, dict[str, Any]]]) -> None:
    """Numbers beside the points, and what they stand for beside the plot."""
    key.set_axis_off()
    for place, (arm, x, found) in enumerate(points, 1):
        # To the left and right in turn, as neighbours in rank are neighbours in height.
        shift, side = (6, "left") if place % 2 else (-6, "right")
        axes.annotate(
            str(place), (x, found["mean"]), xytext=(shift, 0), textcoords="offset points", fontsize=8,
            color=INK, ha=side, va="center",
        )  # fmt: skip
        key.text(
            0.0, 1.0 - (place - 0.5) / len(points), f"{place}  {textwrap.shorten(arm['title'], 52)}",
            fontsize=7.5, color=_LOOKS[arm["kind"]][0], va="center", transform=key.transAxes,
        )  # fmt: skip
