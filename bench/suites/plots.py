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
    """SVG by name: "latency", "ladder" and "warm-cold"; one without figures is absent.

    Arms with one piece removed would crowd them and are left out.
    """
    removed = removed_arms(document)
    document = {**document, "arms": [arm for arm in document["arms"] if arm["arm"] not in removed]}
    settings = document["settings"]
    main = next(iter(settings))
    metric = settings[main]["headline"]
    ylabel = f"{main} {metric_title(metric)}"
    scored = [
        (arm, 1000 / arm["texts_per_second"] if arm["texts_per_second"] else None, found)
        for arm in document["arms"]
        if (found := arm["settings"].get(main, {}).get(metric))
    ]
    timed = [point for point in scored if point[1] is not None]
    ours = [point for point in scored if point[0]["kind"] == "ours"]
    xlabel = "milliseconds to encode one text (log)"
    plots = {"latency": _scatter(document["suite"], "latency", timed, xlabel, ylabel, log=True)}
    teacher = next((found["mean"] for arm, _, found in ours if arm["arm"] == "teacher"), None)
    if teacher and len(ours) > 1 and any(x is not None for _, x, _ in ours):
        plots["ladder"] = _scatter(
            document["suite"], "ladder", ours, f"{xlabel}; the larger, the more bytes", ylabel,
            log=True, teacher=teacher,
        )  # fmt: skip
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


def _megabytes(arm: dict[str, Any]) -> float:
    """Of an arm's weights: as they were counted, or in float32."""
    return float(arm.get("extra", {}).get("megabytes") or 4e-6 * (arm["parameters"] or 0))


def _rung(arm: dict[str, Any], x: float | None, mean: float, teacher: float) -> str:
    """What the ladder says of an arm: what it keeps of the teacher, its bytes and its milliseconds."""
    weighs = f"{mean / teacher:.1%}, {_megabytes(arm):.3g} MB, {'not timed' if x is None else f'{x:.2g} ms'}"
    return f"{textwrap.shorten(arm['title'], 40)}: {weighs}"


def _scatter(
    suite: str,
    name: str,
    points: list[tuple[dict[str, Any], Any, dict[str, Any]]],
    xlabel: str,
    ylabel: str,
    *,
    log: bool,
    teacher: float | None = None,
) -> str:
    """Points by x and by a metric with its interval; None for x says it beside the plot alone.

    With `teacher`, its mean, marks are as large as the weights, and what is kept of the teacher is said.
    """
    if not points:
        return ""
    # Names beside the points would cover each other: points carry numbers, in order from the best.
    points = sorted(points, key=lambda p: -p[2]["mean"])
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, max(3.6, 0.9 + 0.17 * len(points))), layout="constrained")
        axes, key = figure.subplots(1, 2, width_ratios=[1.5, 1])
        for kind, (colour, marker) in _LOOKS.items():
            mine = [p for p in points if p[0]["kind"] == kind and p[1] is not None]
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
            if teacher is not None:
                most = max(_megabytes(arm) for arm, *_ in points) or 1.0
                areas = [1500 * _megabytes(arm) / most for arm, *_ in mine]
                axes.scatter([x for _, x, _ in mine], values, s=areas, color=colour, alpha=0.25, linewidths=0)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
        axes.margins(x=0.12, y=0.08)
        names = [
            arm["title"] if teacher is None else _rung(arm, x, found["mean"], teacher)
            for arm, x, found in points
        ]
        _number(axes, key, points, [textwrap.shorten(name, 52 if teacher is None else 90) for name in names])
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(suite)
        axes.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
        told = "; ".join(
            f"{name} {found['mean']:.4f}" + ("" if x is None else f" at {x:.4g}")
            for name, (_, x, found) in zip(names, points, strict=True)
        )
        drawn = svg(figure, f"{suite}-{name}", f"{ylabel} against {xlabel}: {told}.")
    light, dark = (";".join(map(":".join, zip(_NAMES, tone, strict=True))) for tone in (_LIGHT, _DARK))
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    end = drawn.index(">") + 1
    return f"{drawn[:end]}{style}{drawn[end:]}"


def _number(
    axes: Axes, key: Axes, points: list[tuple[dict[str, Any], Any, dict[str, Any]]], said: list[str]
) -> None:
    """Numbers beside the points, and what they stand for beside the plot."""
    key.set_axis_off()
    for place, ((arm, x, found), name) in enumerate(zip(points, said, strict=True), 1):
        # To the left and right in turn, as neighbours in rank are neighbours in height.
        shift, side = (6, "left") if place % 2 else (-6, "right")
        if x is not None:
            axes.annotate(
                str(place), (x, found["mean"]), xytext=(shift, 0), textcoords="offset points", fontsize=8,
                color=INK, ha=side, va="center",
            )  # fmt: skip
        key.text(
            0.0, 1.0 - (place - 0.5) / len(points), f"{place}  {name}",
            fontsize=7.5, color=_LOOKS[arm["kind"]][0], va="center", transform=key.transAxes,
        )  # fmt: skip
