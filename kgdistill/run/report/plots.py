"""The report's plots, as SVG that takes its colours from the page."""

from __future__ import annotations

import textwrap

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kgdistill.plotting import DASHES, INK, SERIES, STYLE, svg
from kgdistill.run.report.run import Metrics
from kgdistill.run.report.words import headline_arm, metric_title, setting_title


def training_plot(name: str, title: str, history: list[dict[str, float]], kept: dict[str, float]) -> str:
    """Losses above, validation metrics below, by epoch, a line at the one kept; empty without figures."""
    keys = list(dict.fromkeys(k for row in history for k in row))
    losses = [k for k in keys if k == "loss" or k.startswith("loss/")]
    valid = [k for k in keys if k.startswith("valid/")]
    panels = [(label, ks) for label, ks in (("loss", losses), ("validation", valid)) if ks]
    if not panels:
        return ""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 0.3 + 2.3 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for panel, (label, names) in zip(axes, panels, strict=True):
            _curves(panel, label, names, history)
            panel.axvline(kept["epoch"], color=INK, linewidth=0.8, linestyle=":")
        axes[-1].set_xlabel("epoch")
        held = ", ".join(f"{_curve_title(k)} {kept[k]:.4g}" for _, ks in panels for k in ks if k in kept)
        return svg(
            figure,
            f"train-{name}",
            f"{title}: {history[-1]['epoch']:g} epochs; at {kept['epoch']:g}, which was kept, "
            f"{held or 'nothing logged'}.",
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
            color=SERIES[n % len(SERIES)],
            linestyle=DASHES[n % len(DASHES)],
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
    name = metrics.protocol.headline
    found = [(a, i) for a in metrics.arms if (i := a.settings.get(setting, {}).get(name))]
    if not found:
        return ""
    own = headline_arm(metrics).arm
    with rc_context(STYLE):
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
            color=[SERIES[0] if a.arm == own else SERIES[5] for a, _ in found],
            error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3},
        )
        axes.set_yticks(range(len(found)), [textwrap.fill(a.title, 20) for a, _ in found])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(f"{setting_title(setting)}: {metric_title(name)}", x=0)
        values = "; ".join(f"{a.title} {i}" for a, i in found)
        return svg(figure, f"bars-{setting}", f"{metric_title(name)}, {setting_title(setting)}: {values}.")


def gains_plot(metrics: Metrics) -> str:
    """The share of the positives found among the best so many of all pairs; empty where nothing was told."""
    if not metrics.gains:
        return ""
    own = headline_arm(metrics).arm
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":", label="by chance")
        for n, (arm, points) in enumerate(metrics.gains.items()):
            axes.plot(
                [0, *(100 * share for share, _ in points)], [0, *(100 * found for _, found in points)],
                color=SERIES[n % len(SERIES)], linestyle=DASHES[n % len(DASHES)],
                linewidth=2.0 if arm == own else 1.0, label=metrics.title(arm),
            )  # fmt: skip
        axes.set_xlabel("the best of all candidates, %")
        axes.set_title("found of the positives, %")
        axes.legend(loc="lower right")
        told = "; ".join(f"{share:.0%} hold {found:.0%}" for share, found in metrics.gains.get(own, []))
        return svg(figure, "gains", f"Gains of the {metrics.title(own)}: of all candidates, the best {told}.")
