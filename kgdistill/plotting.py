"""Plots for pages, as SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Placeholders that become CSS variables, so that light, dark and print each have their own colours.
INK, _GRID = "#010203", "#010204"
SERIES = [f"#0102{n:02x}" for n in range(0x10, 0x16)]
_VARIABLES = {INK: "--plot-ink", _GRID: "--plot-grid"} | {c: f"--s{i + 1}" for i, c in enumerate(SERIES)}
DASHES: list[str | tuple[int, tuple[int, ...]]] = ["-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1))]

# Any: the key type that matplotlib declares differs between its versions.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": _GRID,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def svg(figure: Figure, name: str, description: str) -> str:
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
