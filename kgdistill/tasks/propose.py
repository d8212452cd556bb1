"""A first task file for a graph: what its schema and its counts suggest, with what else there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from kgdistill.errors import InputError
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema
from kgdistill.tasks.check import CLASS_TYPES, count_edges, count_nodes, count_values

_MOST_CLASSES = 100


def propose_task(
    schema: Schema, store: GraphStore | None = None, *, kind: Literal["match", "classify"] = "match"
) -> str:
    """A commented task file in YAML.

    Args:
        schema: of the graph.
        store: the one of what stands there most often is proposed; without, the first that the schema has.
        kind: rank candidates, or tell classes.

    Raises:
        InputError: nothing in the schema, or in the graph, could be such a task.
        StoreError: from the store.
    """
    return (_match if kind == "match" else _classify)(schema, store)


def _match(schema: Schema, store: GraphStore | None) -> str:
    events = {edge: count_edges(store, edge) if store is not None else None for edge in schema.edges("event")}
    possible = [edge for edge, n in events.items() if n is None or n > 0]
    if not possible:
        place = "schema" if store is None else "graph"
        raise InputError(
            f"no event stands in the {place}, so that nothing can be ranked by one",
            hint="a task can rank by facts as well: positives: {relationship: TYPE}",
        )
    # What a text model can read is the better candidate; of several the most frequent.
    source, name, target = max(possible, key=lambda e: (bool(schema.nodes[e[2]].text), events[e] or 0))
    facts = any(edge[0] == target for edge in schema.edges("fact"))
    known_by = ["history", *(["text"] if schema.nodes[target].text else []), *(["facts"] if facts else [])]
    others = [f"#   {_shown(e)}{_counted(events[e])}" for e in possible if e != (source, name, target)]
    outputs = [e[1] for e in schema.edges("output") if (e[0], e[2]) == (source, target)]
    lines = [
        f"# Rank {target} nodes for a {source} by {name}{_counted(events[source, name, target])}.",
        "kind: match",
        f"anchors: {{label: {source}, by: history}}",
        f"candidates: {{label: {target}, by: [{', '.join(known_by)}]}}",
        f"positives: {{event: {name}}}",
        *(
            f"# positives: {{event: {name}, weights: {{{other}: 0.5}}}}  # where histories hold that too"
            for other in [e[1] for e in possible if (e[0], e[2]) == (source, target) and e[1] != name][:1]
        ),
        *(
            f"# positives: {{{how}, above: {{{key}: middle}}}}  # what is not above the middle is no liking"
            for how, key in _numbers(schema, (source, name, target), possible)
        ),
        "# Cut and test are put after these shares of the events; or write cut: DATE and test_start: DATE.",
        "protocol: {split: time, cut_share: 0.8, test_share: 0.9, k: 20}",
        "# repeats: true  # where what somebody had may be right again",
        *(f"output: {name}" for name in outputs[:1]),
        *(["# Other events:", *others] if others else []),
    ]
    return "\n".join(lines) + "\n"


def _numbers(schema: Schema, own: EdgeType, possible: list[EdgeType]) -> list[tuple[str, str]]:
    """How the first event between the same labels that has a number is named, and that number's key."""
    named = {edge: f"event: {own[1]}, weights: {{{edge[1]}: 0.5}}" for edge in possible}
    named[own] = f"event: {own[1]}"
    found = [
        (named[edge], f"{edge[1]}.{name}")
        for edge in (own, *possible)
        if (edge[0], edge[2]) == (own[0], own[2])
        for name, held in schema.relationship(edge).properties.items()
        if held.type == "double" and not held.cumulative
    ]
    return found[:1]


def _classify(schema: Schema, store: GraphStore | None) -> str:
    candidates = list(_targets(schema, store))
    if not candidates:
        place = "schema" if store is None else "graph"
        raise InputError(
            f"no property in the {place} has from 2 to {_MOST_CLASSES} values to tell apart",
            hint="a task can tell what a relationship leads to as well: {relationship: TYPE}",
        )
    (label, name), classes = max(candidates, key=lambda found: found[1])
    events = [e for e in schema.edges("event") if e[0] == label]
    text = bool(schema.nodes[label].text)
    often = max(events, key=lambda e: count_edges(store, e) if store is not None else 0, default=None)
    known_by = "text" if text else f"history, history: {often[1]}" if often is not None else "facts"
    others = [f"#   {lab}.{prop}" for (lab, prop), _ in candidates if (lab, prop) != (label, name)]
    lines = [
        f"# Tell the {name} of a {label}{_counted(classes or None, 'values')}.",
        "kind: classify",
        f"subjects: {{label: {label}, by: {known_by}}}",
        "targets:",
        f"  {name}: {{property: {name}}}",
        "# Held out whole, by a hash of the key; or write split: given and property: NAME.",
        "protocol: {split: held_out, share: 0.2, validation_share: 0.1}",
        *(["# Other properties:", *others] if others else []),
    ]
    return "\n".join(lines) + "\n"


def _targets(schema: Schema, store: GraphStore | None) -> Iterator[tuple[tuple[str, str], int]]:
    """Properties that could be classes, with how many values they have; 0 where no store tells."""
    for label, node in schema.nodes.items():
        if node.output or (store is not None and not count_nodes(store, label)):
            continue
        for name, prop in node.properties.items():
            if prop.type not in CLASS_TYPES or prop.cumulative or name in (node.name, *node.text):
                continue
            values = count_values(store, label, name) if store is not None else 0
            if store is None or 2 <= values <= _MOST_CLASSES:
                yield (label, name), values


def _shown(edge: EdgeType) -> str:
    return f"({edge[0]})-[{edge[1]}]->({edge[2]})"


def _counted(count: int | None, of: str = "in the graph") -> str:
    return "" if count is None else f", {count:,} {of}"
