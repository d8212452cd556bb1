"""Chinese in tables that go through a pipe, and in pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from rich.cells import cell_len

from kgdistill import plotting
from kgdistill.cli.output import print_table
from kgdistill.explore.picture import _wrapped, draw

TITLES = ["苏泊尔不锈钢炒锅", "SUPOR 电压力锅", "pan", "ステンレス", "프라이팬", ""]


def test_columns_of_piped_tables_start_in_the_same_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["名称", "n", "brand"], [[title, number, "美的"] for number, title in enumerate(TITLES)])
    lines = capsys.readouterr().out.splitlines()
    assert {cell_len(line) for line in lines[1:]} == {16 + 2 + 1 + 2 + 4}
    assert {cell_len(line[: line.rindex("美的")]) for line in lines[1:]} == {
        cell_len(lines[0][: lines[0].index("brand")])
    }
    assert lines[3] == "pan               2  美的"


def _font(folder: Path, name: str, characters: str) -> Path:
    """A font of filled squares for these characters."""
    pen = TTGlyphPen(None)
    for start, *others in [[(0, 0), (0, 900), (900, 900), (900, 0)]]:
        pen.moveTo(start)
        for point in others:
            pen.lineTo(point)
        pen.closePath()
    glyphs = [".notdef", *(f"u{ord(c):X}" for c in characters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(c): f"u{ord(c):X}" for c in characters})
    font.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(folder / f"{name}.ttf")
    return folder / f"{name}.ttf"


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A system without any font for Chinese; what stands in the list is found as if it were installed."""
    installed: list[str] = []
    known = [font for font in font_manager.fontManager.ttflist if font.name not in plotting.EASTERN_FONTS]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: installed)
    monkeypatch.setattr(plotting, "_FONT_PACKAGES", ())
    plotting._say_no_font.cache_clear()
    yield installed
    plotting._say_no_font.cache_clear()


def _paths(name: str) -> nx.MultiDiGraph[tuple[str, str]]:
    graph: nx.MultiDiGraph[tuple[str, str]] = nx.MultiDiGraph()
    for layer, (label, key) in enumerate((("User", "U1"), ("Product", "P1"))):
        graph.add_node((label, key), label=label, key=key, name=name if layer else key, layer=layer)
    graph.add_edge(("User", "U1"), ("Product", "P1"), key="BOUGHT", type="BOUGHT")
    return graph


def test_a_picture_without_a_font_for_its_text_says_so_once(
    no_fonts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(_paths("pan"), tmp_path / "a.png")
    assert capsys.readouterr().err == ""
    for _ in range(2):
        draw(_paths("炒锅"), tmp_path / "a.png")
    assert capsys.readouterr().err.count("no font with Chinese, Japanese or Korean was found") == 1


def test_a_picture_is_drawn_in_a_font_that_has_its_text(
    no_fonts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = draw(_paths("炒锅"), tmp_path / "boxes.png").read_bytes()
    # Installed since matplotlib made its list of fonts.
    no_fonts.append(str(_font(tmp_path, "WenQuanYi Zen Hei", "炒锅")))
    capsys.readouterr()
    assert plotting.eastern_fonts() == ["WenQuanYi Zen Hei"]
    assert draw(_paths("炒锅"), tmp_path / "squares.png").read_bytes() != boxes
    assert capsys.readouterr().err == ""


def test_text_in_plots_stays_text_whatever_fonts_there_are(no_fonts: list[str]) -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, "苏泊尔")
    with plotting.rc_context(plotting.STYLE):
        assert ">苏泊尔</text>" in plotting.svg(figure, "a", "b")


@given(st.text(st.sampled_from("炒锅不锈钢ab 1（）프ス"), min_size=1, max_size=60))
@example("不锈钢炒锅" * 6)
def test_a_name_is_wrapped_to_the_width_of_its_box(name: str) -> None:
    lines = _wrapped(name)
    assert len(lines) <= 2
    assert all(cell_len(line) <= 26 for line in lines)
    if cell_len(name) <= 26:
        assert "".join(lines).split() == name.split() or lines == [name]
    assert "".join(lines).replace(" …", "").replace(" ", "") in name.replace(" ", "")
