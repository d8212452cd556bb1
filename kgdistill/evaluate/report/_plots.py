"""The report's plots, as SVG that takes its colours from the page."""

from __future__ import annotations

import html
import io
import re
import textwrap
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kgdistill.evaluate.report._run import Metrics
from kgdistill.evaluate.report._words import headline_arm, metric_title, setting_title

# Placeholders that become CSS variables, so that light, dark and print each have their own colours.
_INK, _GRID = "#010203", "#010204"
_SERIES = [f"#0102{n:02x}" for n in range(0x10, 0x16)]
_VARIABLES = {_INK: "--plot-ink", _GRID: "--plot-grid"} | {c: f"--s{i + 1}" for i, c in enumerate(_SERIES)}
_DASHES: list[str | tuple[int, tuple[int, ...]]] = ["-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1))]

# Any: the key type that matplotlib declares differs between its versions.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def training_plot(name: str, title: str, history: list[dict[str, float]]) -> str:
    """Losses above, validation metrics below, by epoch; empty where there is nothing to draw."""
    keys = list(dict.fromkeys(k for row in history for k in row))
    losses = [k for k in keys if k == "loss" or k.startswith("loss/")]
    valid = [k for k in keys if k.startswith("valid/")]
    panels = [(label, ks) for label, ks in (("loss", losses), ("validation", valid)) if ks]
    if not panels:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.7, 0.3 + 2.3 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for panel, (label, names) in zip(axes, panels, strict=True):
            _curves(panel, label, names, history)
        axes[-1].set_xlabel("epoch")
        last = history[-1]
        ends = ", ".join(f"{_curve_title(k)} {last[k]:.4g}" for _, ks in panels for k in ks if k in last)
        return _svg(
            figure,
            f"train-{name}",
            f"{title}: {len(history)} epochs; at the last, {ends or 'nothing logged'}.",
        )


def _curve_title(key: str) -> str:
    kind, _, rest = key.partition("/")
    if kind == "loss":
        return rest or "loss"
    setting, _, metric = rest.rpartition("_")
    return f"{setting_title(setting)} {metric_title(metric)}".strip()


def _curves(axes: Axes, label: str, names: list[str], history: list[dict[str, float]]) -> None:
    seen = []
    for n, key in enumerate(names):
        points = [(row["epoch"], row[key]) for row in history if key in row]
        seen += [y for _, y in points]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=_SERIES[n % len(_SERIES)],
            linestyle=_DASHES[n % len(_DASHES)],
            marker="o" if len(points) < 15 else None,
            markersize=3,
            label=_curve_title(key),
        )
    if label == "loss" and min(seen) > 0 and max(seen) > 20 * min(seen):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.set_title(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Beside the title, where no curve runs.
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.98), borderaxespad=0.1, columnspacing=1.2)


def setting_plot(metrics: Metrics, setting: str) -> str:
    """Bars of NDCG with intervals, one per arm; empty where no arm has it."""
    name = f"ndcg@{metrics.protocol.k}"
    found = [(a, i) for a in metrics.arms if (i := a.settings.get(setting, {}).get(name))]
    if not found:
        return ""
    own = headline_arm(metrics).arm
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.7, 0.9 + 0.36 * len(found)), layout="constrained")
        axes = figure.subplots()
        means = [i.mean for _, i in found]
        # An interval that does not hold its mean would be a negative length: draw it as none.
        reach = [[max(i.mean - i.low, 0) for _, i in found], [max(i.high - i.mean, 0) for _, i in found]]
        axes.barh(
            range(len(found)),
            means,
            xerr=reach,
            height=0.62,
            color=[_SERIES[0] if a.arm == own else _SERIES[5] for a, _ in found],
            error_kw={"ecolor": _INK, "elinewidth": 1.2, "capsize": 3},
        )
        axes.set_yticks(range(len(found)), [textwrap.fill(a.title, 20) for a, _ in found])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(f"{setting_title(setting)}: {metric_title(name)}", x=0)
        values = "; ".join(f"{a.title} {i}" for a, i in found)
        return _svg(figure, f"bars-{setting}", f"{metric_title(name)}, {setting_title(setting)}: {values}.")


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element with a text alternative."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # Several figures stand in one page: an id must not meet its namesake of another figure.
    text = re.sub(r'(<[A-Za-z]+\b[^>]*?) id="([^"]*)"', rf'\1 id="{name}-\2"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    label = html.escape(description, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
