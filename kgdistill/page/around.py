"""What stands around a node, and what holds between the nodes on screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kgdistill.errors import InputError
from kgdistill.page.source import GraphSource
from kgdistill.store.protocol import EdgeType, Parameter

MOST_SHOWN = 300
"""Nodes that a picture may hold."""
_MOST_LINKS = 3_000


class NodeRef(NamedTuple):
    """A node by its label and key; as text `Label:key`."""

    label: str
    key: str

    def __str__(self) -> str:
        return f"{self.label}:{self.key}"


class Link(NamedTuple):
    """A relationship between two nodes; `value` is its rank, lift or the like."""

    source: NodeRef
    type: str
    target: NodeRef
    value: float | None = None
    run: str = ""


@dataclass
class Neighbourhood:
    """Nodes with their names, and the relationships among them."""

    names: dict[NodeRef, str]
    links: list[Link]

    def elements(self) -> dict[str, list[dict[str, Any]]]:
        """As the picture takes them."""
        nodes = [
            {"id": str(ref), "label": ref.label, "key": ref.key, "name": name}
            for ref, name in self.names.items()
        ]
        # Of several between two nodes, as redemptions at several times, one is drawn.
        edges = {}
        for link in self.links:
            name = f"{link.source}|{link.type}|{link.run}|{link.target}"
            edges[name] = {
                "id": name,
                "source": str(link.source),
                "target": str(link.target),
                "type": link.type,
                "run": link.run,
                "value": link.value,
            }
        return {"nodes": nodes, "edges": list(edges.values())}


def node_ref(source: GraphSource, text: str) -> NodeRef:
    """The node that `Label:key` names; InputError where it names none."""
    label, colon, key = text.partition(":")
    if not colon or not key or label not in source.schema.nodes:
        raise InputError(f"{text[:60]!r} names no node", hint="it is written Label:key, as in Product:123")
    return NodeRef(label, key)


def neighbours(
    source: GraphSource, node: NodeRef, *, limit: int = 8, kinds: Sequence[Any] = (), run: str | None = None
) -> Neighbourhood:
    """A node's neighbours, of each type of relationship at most `limit`, the strongest or latest first.

    Args:
        source: what is asked.
        node: from where; InputError where there is none such.
        limit: of each type and direction.
        kinds: of relationships, such as `fact`; all where there are none.
        run: of what runs wrote, this one's alone.
    """
    names = {node: str(source.node(*node)["name"])}
    ways: list[tuple[EdgeType, bool]] = []
    for edge in source.held(*kinds):
        ways += [(edge, True)] if edge[0] == node.label else []
        ways += [(edge, False)] if edge[2] == node.label else []
    if not ways:
        return Neighbourhood(names, [])
    parts = [_neighbour_part(source, place, edge, out, run) for place, (edge, out) in enumerate(ways)]
    values: dict[str, Parameter] = {"key": node.key, "limit": limit}
    if run is not None and any("$run" in part for part in parts):
        values["run"] = run
    links = []
    for row in source.store.query(" UNION ALL ".join(parts), values, limit=_MOST_LINKS).to_pylist():
        edge, out = ways[row["place"]]
        other = NodeRef(edge[2] if out else edge[0], row["other"])
        names.setdefault(other, row["name"] or row["other"])
        ends = (node, other) if out else (other, node)
        links.append(Link(ends[0], edge[1], ends[1], row["value"] or None, row["run"] or ""))
    return Neighbourhood(names, links)


def among(source: GraphSource, nodes: Iterable[NodeRef]) -> list[Link]:
    """The relationships between these nodes.

    Raises:
        InputError: there are more than a picture holds.
    """
    by_label: dict[str, list[str]] = {}
    shown = dict.fromkeys(nodes)
    if len(shown) > MOST_SHOWN:
        raise InputError(
            f"{len(shown)} nodes are more than the {MOST_SHOWN} that a picture holds",
            hint="hide some of them",
        )
    for label, key in shown:
        by_label.setdefault(label, []).append(key)
    edges = [edge for edge in source.held() if edge[0] in by_label and edge[2] in by_label]
    parts, values = [], {f"k{i}": keys for i, keys in enumerate(by_label.values())}
    place = {label: f"$k{i}" for i, label in enumerate(by_label)}
    counts = source.counts.nodes
    for number, edge in enumerate(edges):
        a, kind, b = edge
        value, with_run = _value(source, edge)
        x, y = f"x.`{source.schema.node(a).key}`", f"y.`{source.schema.node(b).key}`"
        # The embedded engine looks through a whole label for the keys of a list: let it be the smaller.
        (each, of), (end, held) = ((x, a), (y, b)) if counts[b] <= counts[a] else ((y, b), (x, a))
        parts.append(
            f"UNWIND {place[of]} AS k MATCH (x:`{a}`)-[r:`{kind}`]->(y:`{b}`) "
            f"WHERE {each} = k AND {end} IN {place[held]} "
            f"RETURN {number} AS place, {x} AS one, {y} AS other, {value} AS value, {with_run} AS run"
        )
    if not parts:
        return []
    text = " UNION ALL ".join(parts)
    given: Mapping[str, Parameter] = {name: keys for name, keys in values.items() if f"${name}" in text}
    found = source.store.query(text, given, limit=_MOST_LINKS).to_pylist()
    return [
        Link(
            NodeRef(edges[row["place"]][0], row["one"]),
            edges[row["place"]][1],
            NodeRef(edges[row["place"]][2], row["other"]),
            row["value"] or None,
            row["run"] or "",
        )
        for row in found
    ]


def _neighbour_part(source: GraphSource, place: int, edge: EdgeType, out: bool, run: str | None) -> str:
    a, kind, b = edge
    near, far = (a, b) if out else (b, a)
    key, other = source.schema.node(near), source.schema.node(far)
    arrow = f"-[r:`{kind}`]->" if out else f"<-[r:`{kind}`]-"
    value, with_run = _value(source, edge)
    known = source.schema.relationship(edge).properties
    of_run = " AND r.run = $run" if run is not None and "run" in known else ""
    by = "r.rank" if "rank" in known else next((f"r.{n} DESC" for n in ("lift", "last_at") if n in known), "")
    order = ", ".join(filter(None, [by, f"m.`{other.key}`"]))
    # One property twice in a union's first part, and the embedded engine mixes up the columns of all others.
    name = f"m.`{other.name}`" if other.name != other.key else "''"
    return (
        f"MATCH (n:`{near}`){arrow}(m:`{far}`) WHERE n.`{key.key}` = $key{of_run} "
        f"WITH m, r ORDER BY {order} LIMIT $limit "
        f"RETURN {place} AS place, m.`{other.key}` AS other, {name} AS name, "
        f"{value} AS value, {with_run} AS run"
    )


def _value(source: GraphSource, edge: EdgeType) -> tuple[str, str]:
    """What is said of a relationship beside its type, as a number, and the run that wrote it."""
    known = source.schema.relationship(edge).properties
    name = next((n for n in ("rank", "probability", "lift", "grade", "count") if n in known), None)
    return (f"1.0 * r.`{name}`" if name else "0.0"), ("r.run" if "run" in known else "''")
