"""Explanations as a graph, and as a picture of it."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from rich.cells import cell_len, chop_cells, set_cell_size

from kgdistill.errors import DiskError, InputError
from kgdistill.explore.explanation import Explanation, PathLink, PathNode
from kgdistill.plotting import fonts_for

NodeKey = tuple[str, str]

# Okabe and Ito's colours, told apart by the colour-blind too; black text stays readable on each.
_COLOURS = {"User": "#56B4E9", "Product": "#F0E442", "Brand": "#E69F00", "Category": "#8FD3B6"}
_RECOMMENDED = "#E9A6C8"
_OTHER = "#DDDDDD"
_TITLES = ("user", "bought", "because of", "recommended")
_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW = 2.3, 0.66, 3.6, 0.95


def subgraph(explanations: Iterable[Explanation]) -> nx.MultiDiGraph[NodeKey]:
    """The union of the paths.

    Nodes are (label, key) with `label`, `key`, `name` and `layer`: 0 user, 1 bought, 2 brand or category,
    3 recommended. Edges have the relationship's type as key and `type`, and lead as in the store.
    """
    graph: nx.MultiDiGraph[NodeKey] = nx.MultiDiGraph()
    for explanation in explanations:
        nodes = [s for s in explanation.steps if isinstance(s, PathNode)]
        links = [s for s in explanation.steps if isinstance(s, PathLink)]
        layers = {4: [0, 1, 2, 3], 3: [0, 1, 3], 2: [0, 3]}[len(nodes)]
        for node, layer in zip(nodes, layers, strict=True):
            key = (node.label, node.key)
            # A product recommended on one path and bought on another stands at the right.
            old = graph.nodes[key]["layer"] if key in graph else layer
            graph.add_node(key, label=node.label, key=node.key, name=node.name, layer=max(layer, old))
        for first, link, second in zip(nodes, links, nodes[1:], strict=False):
            ends = (first, second) if link.forward else (second, first)
            source, target = ((n.label, n.key) for n in ends)
            graph.add_edge(source, target, key=link.type, type=link.type)
    return graph


def draw(graph: nx.MultiDiGraph[NodeKey], path: str | Path) -> Path:
    """Draws a `subgraph` as a PNG, from the user at the left to what is recommended at the right.

    Raises:
        InputError: the graph is empty, or the path does not end in .png.
        DiskError: the file cannot be written.
    """
    file = Path(path)
    if graph.number_of_nodes() == 0:
        raise InputError("there is no path to draw", where=str(file))
    if file.suffix.lower() != ".png":
        raise InputError("a picture is written as PNG", where=str(file), hint="let the name end in .png")
    places = _layout(graph)
    height = max(max(y for _, y in places.values()) + _BOX_HEIGHT + 0.75, 2.4)
    width = 3 * _COLUMN + _BOX_WIDTH + 0.6
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-_BOX_WIDTH / 2 - 0.3, width - _BOX_WIDTH / 2 - 0.3)
    axes.set_ylim(height - 0.9, -0.9)
    axes.axis("off")
    with fonts_for("".join(str(data["name"]) + str(data["key"]) for _, data in graph.nodes(data=True))):
        _fill(axes, graph, places)
        _save(figure, file)
    return file


def _fill(axes: Any, graph: nx.MultiDiGraph[NodeKey], places: dict[NodeKey, tuple[float, float]]) -> None:
    layers = {data["layer"] for _, data in graph.nodes(data=True)}
    for layer in layers:
        axes.text(
            layer * _COLUMN, -0.66, _TITLES[layer], ha="center", va="center", fontsize=11, color="#444444"
        )
    for source, target, data in graph.edges(data=True):
        left, right = sorted((source, target), key=lambda n: places[n])
        # Bought together holds both ways: no arrow head.
        heads = (False, False) if data["type"] == "ALSO_BOUGHT" else (left == target, right == target)
        _line(axes, [places[n] for n in _stops(left, right, graph)], data["type"], heads)
    for node, data in graph.nodes(data=True):
        colour = _RECOMMENDED if data["layer"] == 3 else _COLOURS.get(data["label"], _OTHER)
        _box(axes, places[node], data, colour)


def _save(figure: Figure, file: Path) -> None:
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, format="png", facecolor="white")
        os.replace(part, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DiskError(f"the picture cannot be written: {error.strerror}", where=str(file)) from error


def _stops(left: NodeKey, right: NodeKey, graph: nx.MultiDiGraph[NodeKey]) -> list[NodeKey]:
    """The places that the line between two nodes passes: one more in each column that it crosses."""
    first, last = graph.nodes[left]["layer"], graph.nodes[right]["layer"]
    return [left, *((f"{left} between {right}", str(layer)) for layer in range(first + 1, last)), right]


def _layout(graph: nx.MultiDiGraph[NodeKey]) -> dict[NodeKey, tuple[float, float]]:
    """Columns by layer; within one, nodes near the middle of what they hang on, so that few lines cross."""
    layers: dict[int, set[NodeKey]] = defaultdict(set)
    near: dict[NodeKey, list[NodeKey]] = defaultdict(list)
    for node, data in graph.nodes(data=True):
        layers[data["layer"]].add(node)
    for ends in graph.edges():
        left, right = sorted(ends, key=lambda n: graph.nodes[n]["layer"])
        stops = _stops(left, right, graph)
        for layer, stop in enumerate(stops[1:-1], graph.nodes[left]["layer"] + 1):
            layers[layer].add(stop)
        for first, second in pairwise(stops):
            near[first].append(second)
            near[second].append(first)
    tallest = max(len(nodes) for nodes in layers.values())
    places: dict[NodeKey, tuple[float, float]] = {}

    def pull(node: NodeKey, columns: set[float]) -> float:
        heights = [places[n][1] for n in near[node] if n in places and places[n][0] in columns]
        return sum(heights) / len(heights) if heights else 0.0

    for backwards in (False, True, False, True, False):
        for layer in sorted(layers, reverse=backwards):
            side = {(layer + 1 if backwards else layer - 1) * _COLUMN}
            # What pulls equally keeps its order.
            nodes = sorted(sorted(layers[layer]), key=lambda n: (pull(n, side), places.get(n, (0.0, 0.0))[1]))
            top = (tallest - len(nodes)) / 2 * _ROW
            for i, node in enumerate(nodes):
                places[node] = (layer * _COLUMN, top + i * _ROW)
    return places


def _line(axes: Any, stops: list[tuple[float, float]], text: str, heads: tuple[bool, bool]) -> None:
    """A line from the right side of the first stop to the left side of the last, named in its middle."""
    half = _BOX_WIDTH / 2
    (x, y), (end_x, end_y) = stops[0], stops[-1]
    between = [(stop_x + side, stop_y) for stop_x, stop_y in stops[1:-1] for side in (-half, half)]
    points = [(x + half, y), *between, (end_x - half, end_y)]
    axes.plot(*zip(*points, strict=True), color="#777777", lw=1.2, zorder=1)
    arrow = {"arrowstyle": "-|>", "color": "#777777", "lw": 1.2}
    for wanted, tip, other in ((heads[0], points[0], points[1]), (heads[1], points[-1], points[-2])):
        if wanted:
            axes.annotate("", tip, other, arrowprops=arrow, zorder=1)
    first, last = (points[1], points[2]) if between else (points[0], points[-1])
    axes.text(
        (first[0] + last[0]) / 2,
        (first[1] + last[1]) / 2,
        text,
        ha="center",
        va="center",
        fontsize=7.5,
        color="#333333",
        zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )


def _box(axes: Any, place: tuple[float, float], data: dict[str, Any], colour: str) -> None:
    x, y = place
    corner = (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            _BOX_WIDTH,
            _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=colour,
            edgecolor="#555555",
            linewidth=0.8,
            zorder=3,
        )
    )
    name = str(data["name"])
    # A path of categories is told by its end.
    shown = "\n".join(_wrapped(name.split(" > ")[-1]))
    key = str(data["key"])
    detail = f"{data['label']} {key}" if cell_len(key) < 24 and key != name else str(data["label"])
    axes.text(x, y - 0.07, shown, ha="center", va="center", fontsize=9, zorder=4, linespacing=1.0)
    axes.text(
        x,
        y + _BOX_HEIGHT / 2 - 0.1,
        detail,
        ha="center",
        va="center",
        fontsize=7,
        color="#444444",
        zorder=4,
    )


def _wrapped(text: str) -> list[str]:
    """A name on two lines of 26 cells; a Chinese character takes two, and a line may end after any."""
    if cell_len(text) == len(text):
        return textwrap.wrap(text, 26, max_lines=2, placeholder=" …")
    lines = chop_cells(text, 26)
    return lines if len(lines) < 3 else [lines[0], set_cell_size(lines[1], 24).rstrip() + " …"]
