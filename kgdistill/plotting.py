"""Plots for pages, as SVG that takes its colours from the page's style sheet; fonts for any script."""

from __future__ import annotations

import contextlib
import functools
import html
import importlib.util
import io
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure
from rich.cells import cell_len

# Placeholders that become CSS variables, so that light, dark and print each have their own colours.
INK, _GRID = "#010203", "#010204"
SERIES = [f"#0102{n:02x}" for n in range(0x10, 0x16)]
_VARIABLES = {INK: "--plot-ink", _GRID: "--plot-grid"} | {c: f"--s{i + 1}" for i, c in enumerate(SERIES)}
DASHES: list[str | tuple[int, tuple[int, ...]]] = ["-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1))]

# Fonts with Chinese, most of them with Japanese and Korean too, as systems bring them.
EASTERN_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK TC",
    "Noto Sans CJK HK", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "PingFang SC", "PingFang HK", "Hiragino Sans GB", "Heiti SC", "STHeiti",
    "Microsoft YaHei", "SimHei", "SimSun", "Microsoft JhengHei", "Droid Sans Fallback", "Arial Unicode MS",
    "AR PL UMing CN", "LXGW WenKai", "Hiragino Sans", "Yu Gothic", "Meiryo", "IPAexGothic", "Malgun Gothic",
    "NanumGothic", "Apple SD Gothic Neo", "Unifont",
)  # fmt: skip
_FONT_PACKAGES = ("noto_cjk_sans_jp_regular",)

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


def eastern_fonts() -> list[str]:
    """The installed fonts that draw Chinese, Japanese or Korean, the likeliest first."""
    if not (found := _known_fonts()):
        # What was installed since matplotlib made its list.
        known = {font.fname for font in font_manager.fontManager.ttflist}
        for path in sorted({*font_manager.findSystemFonts(), *_packaged_fonts()} - known):
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                font_manager.fontManager.addfont(path)
        found = _known_fonts()
    return found


def eastern_font_file() -> Path | None:
    """The file of the likeliest of `eastern_fonts` that a browser reads, which takes no collections."""
    wanted = eastern_fonts()
    files = {font.name: Path(font.fname) for font in font_manager.fontManager.ttflist if font.name in wanted}
    readable = (files[name] for name in wanted if files[name].suffix.lower() in (".otf", ".ttf"))
    return next(readable, None)


def _packaged_fonts() -> Iterator[str]:
    """The fonts of Python packages that hold nothing else."""
    for name in _FONT_PACKAGES:
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from map(str, Path(folder).glob("*.otf"))


def _known_fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in EASTERN_FONTS if name in installed]


@functools.cache
def _say_no_font() -> None:
    print(
        "no font with Chinese, Japanese or Korean was found: pictures show boxes instead; install one: "
        "apt-get install fonts-noto-cjk, or pip install noto-cjk-sans-jp-regular",
        file=sys.stderr,
        flush=True,
    )


@contextlib.contextmanager
def fonts_for(text: str) -> Iterator[None]:
    """Within it pictures are drawn in fonts that have the characters of `text`; says once where none has."""
    wide = cell_len(text) > len(text)
    eastern = eastern_fonts()[:3] if wide else []
    if wide and not eastern:
        _say_no_font()
    with warnings.catch_warnings(), rc_context({"font.family": ["sans-serif", *eastern]}):
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element with a text alternative."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # What shows the page has fonts of its own.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
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
