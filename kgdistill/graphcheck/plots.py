"""The page's plots."""

from __future__ import annotations

import textwrap

from matplotlib import rc_context
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kgdistill.graphcheck.model import EdgeStats, NodeStats, TimeStats
from kgdistill.plotting import DASHES, INK, SERIES, STYLE, svg

_DAYS = {"day": 1, "week": 7, "month": 28}


def degree_plot(edge: EdgeStats) -> str:
    """How many nodes have how many relationships, at both ends, both axes logarithmic."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 2.6), layout="constrained")
        axes = figure.subplots()
        for n, (side, distribution) in enumerate((("from", edge.start), ("to", edge.end))):
            axes.plot(
                [low for low, _, _ in distribution.histogram],
                # A logarithmic axis has no place for none.
                [nodes or float("nan") for _, _, nodes in distribution.histogram],
                color=SERIES[n],
                linestyle=DASHES[n],
                marker="os"[n],
                markersize=4,
                label=f"{side} {distribution.label}",
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
            axis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))
        axes.set_xlabel("relationships of a node, at least")
        axes.set_ylabel("nodes")
        axes.legend()
        ends = "; ".join(
            f"{d.label}: {d.nodes:,} nodes with {d.min:,} to {d.max:,}, median {d.median:g}"
            for d in (edge.start, edge.end)
        )
        return svg(figure, f"degree-{edge.type}", f"Degrees of {edge.type}. {ends}.")


def time_plot(times: TimeStats) -> str:
    """Events per day, week or month."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.bar(
            [date2num(day) for day, _ in times.buckets],  # type: ignore[no-untyped-call]
            [count for _, count in times.buckets],
            width=_DAYS[times.unit],
            align="edge",
            color=SERIES[0],
        )
        axes.set_ylim(bottom=0)
        locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylabel(f"events per {times.unit}")
        most = max(times.buckets, key=lambda bucket: bucket[1])
        return svg(
            figure,
            f"time-{times.type}",
            f"{times.type} per {times.unit} from {times.first:%Y-%m-%d} to {times.last:%Y-%m-%d}; "
            f"the most, {most[1]:,}, from {most[0]} on.",
        )


def filled_plot(node: NodeStats) -> str:
    """For how many nodes of a label each property is known."""
    shares = {name: 100 * count / node.count for name, count in node.filled.items()}
    with rc_context(STYLE):
        figure = Figure(figsize=(4.7, 0.7 + 0.3 * len(shares)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(shares)), list(shares.values()), height=0.62, color=SERIES[0])
        axes.set_yticks(range(len(shares)), [textwrap.fill(name, 24) for name in shares])
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("% of nodes that have it", color=INK)
        values = "; ".join(f"{name} {share:.1f} %" for name, share in shares.items())
        return svg(figure, f"filled-{node.label}", f"Share of {node.label} that has each property: {values}.")
