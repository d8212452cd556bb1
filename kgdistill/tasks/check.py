"""A declared task beside a schema and a graph: what it names that they lack, and what it could not learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kgdistill.errors import InputError, QueryError
from kgdistill.nearest import nearest
from kgdistill.progress import notice
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Kind, NodeType, Schema, kept_schema
from kgdistill.tasks.audience_edges import audience_edges
from kgdistill.tasks.side import Side, events_there
from kgdistill.tasks.spec import ClassifySpec, GivenSplit, MatchSpec, TaskSpec
from kgdistill.tasks.splits import applied, no_part, split_sentence
from kgdistill.tasks.target import Target
from kgdistill.tasks.undated import check_dated

CLASS_TYPES = ("string", "bool", "int64")
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class GraphCounts:
    """How much a graph holds of what a task names.

    Attributes:
        nodes: by label.
        edges: by edge type.
        classes: by a classification's target: how many there are.
        untimed: by the type of an event of a history: how many have no time, and say nothing.
        shared: by the type of a weighed event: how many anchors have it and the task's own.
    """

    nodes: Mapping[str, int] = field(default_factory=dict)
    edges: Mapping[EdgeType, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    untimed: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)


def check_task(spec: TaskSpec, schema: Schema, counts: GraphCounts | None = None, *, where: str = "") -> None:
    """Makes sure that a task can be asked of a graph.

    Args:
        spec: the task.
        schema: of the graph.
        counts: what the graph holds; without, the schema alone is looked at.
        where: stands for the task's file in messages.

    Raises:
        InputError: a label, relationship or property that the schema lacks or that cannot serve, with the
            nearest that can; no anchors, candidates, positives, weighed events, judgements or subjects;
            fewer than two classes, but none of a target where there is another.
    """
    check = _Check(schema, where or f"task {spec.name}")
    if isinstance(spec, MatchSpec):
        check.match(spec)
        if counts is not None:
            _check_match_counts(spec, counts, check.where)
    else:
        check.classify(spec)
        if counts is not None:
            _check_class_counts(spec, counts, check.where)


class _Check:
    """The task's names against the schema; each method raises InputError at the key's place."""

    def __init__(self, schema: Schema, where: str) -> None:
        self.schema, self.where = schema, where

    def fail(self, key: str, message: str, hint: str = "") -> InputError:
        return InputError(message, where=f"{self.where}: {key}", hint=hint)

    def match(self, spec: MatchSpec) -> None:
        self.side("anchors", spec.anchors)
        self.side("candidates", spec.candidates)
        positives, protocol = spec.positives, spec.protocol
        edge = spec.interaction
        if spec.finds_audience:
            self.type("positives.event", str(positives.event), ("event",))
            audience_edges(spec, self.schema)
        elif edge is not None:
            role = "event" if positives.event is not None else "relationship"
            self.edge(f"positives.{role}", edge, ("event",) if role == "event" else ("fact",))
            for weighed in spec.weighed:
                self.edge(f"positives.weights.{weighed[1]}", weighed, ("event",))
            for name in positives.above:
                self.number(f"positives.above.{name}", edge, *name.split("."))
            if spec.repeats and self.schema.relationship(edge).aggregated:
                raise self.fail(
                    "repeats",
                    f"the graph keeps one {edge[1]} of a pair, its first, so that no repeat can be told",
                    "declare the time as its identity in the schema (identity: [at]), or drop repeats",
                )
        asked = (spec.anchors.label, spec.candidates.label)
        if spec.judged_by is not None:
            judged = (asked[0], spec.judged_by, asked[1])
            self.edge("judged_by", judged, ("judgement",))
            if "grade" not in self.schema.relationship(judged).properties:
                raise self.fail("judged_by", f"{spec.judged_by} has no property grade")
        if spec.output is not None and self.writes(asked[0]):
            self.edge("output", (asked[0], spec.output, asked[1]), ("output",))
        if isinstance(protocol, GivenSplit):
            if protocol.of == "relationship" and edge is None:
                raise self.fail("protocol.of", "made-up anchors have no relationship that says their part")
            self.given(protocol, spec.anchors.label, edge)

    def classify(self, spec: ClassifySpec) -> None:
        label = spec.subjects.label
        self.side("subjects", spec.subjects)
        for name, target in spec.targets.items():
            self.target(f"targets.{name}", label, target)
        if spec.output is not None and self.writes(label):
            self.type("output", spec.output, ("output",))
        if isinstance(spec.protocol, GivenSplit):
            told = next((t.relationship for t in spec.targets.values() if t.relationship), None)
            edges = [e for e in self.schema.edges() if e[:2] == (label, told)]
            if spec.protocol.of == "relationship" and not edges:
                raise self.fail("protocol.of", "no target is a relationship that could say its part")
            self.given(spec.protocol, label, edges[0] if edges else None)

    def writes(self, label: str) -> bool:
        """Whether anything can be written back of a label; where not, a run of it can still be trained."""
        return any(edge[0] == label for edge in self.schema.edges("output"))

    def side(self, key: str, side: Side) -> None:
        node = self.label(f"{key}.label", side.label)
        if "text" in side.by and not node.text:
            raise self.fail(
                f"{key}.by",
                f"the schema names no text of {side.label}, so that it is not known by text",
                f"list properties under `text` of {side.label} in the schema, or leave text out",
            )
        names = {e[1] for e in self.schema.edges("event") if side.label in (e[0], e[2])}
        for event in events_there(side, self.schema):
            if event not in names:
                self.type(f"{key}.history", event, ("event",))
                raise self.fail(f"{key}.history", f"{event} does not touch {side.label}", _those(names))

    def label(self, key: str, label: str) -> NodeType:
        known = {name for name, node in self.schema.nodes.items() if not node.output}
        if label not in known:
            raise self.fail(key, f"the schema has no label {label!r}", nearest(label, known) + _those(known))
        return self.schema.nodes[label]

    def type(self, key: str, name: str, kinds: tuple[Kind, ...]) -> None:
        """Refuses a relationship type that there is not, or that is of another kind."""
        known = {n for n, rel in self.schema.relationships.items() if rel.kind in kinds}
        if name in known:
            return
        of_kind = " or ".join(kinds)
        if name in self.schema.relationships:
            kind = self.schema.relationships[name].kind
            why = ", which has no time" if kinds == ("event",) else ""
            raise self.fail(
                key, f"{name} is of the kind {kind}{why}, where {of_kind} is asked", _those(known)
            )
        near = nearest(name, known)
        raise self.fail(key, f"the schema has no {of_kind} {name!r}", near + _those(known))

    def edge(self, key: str, edge: EdgeType, kinds: tuple[Kind, ...]) -> None:
        source, name, target = edge
        self.type(key, name, kinds)
        ends = self.schema.relationships[name].endpoints
        if (source, target) in ends:
            return
        pairs = ", ".join(f"({a})-[{name}]->({b})" for a, b in ends)
        turned = "it leads the other way: write reverse; " if (target, source) in ends else ""
        raise self.fail(
            key, f"{name} does not lead from {source} to {target}", f"{turned}the schema has: {pairs}"
        )

    def property(self, key: str, owner: str, properties: Iterable[str], name: str) -> None:
        known = sorted(properties)
        if name not in known:
            raise self.fail(key, f"{owner} has no property {name!r}", nearest(name, known) + _those(known))

    def number(self, key: str, edge: EdgeType, event: str, name: str) -> None:
        """Refuses a property that an event lacks, that is no number, or that later events change."""
        properties = self.schema.relationship((edge[0], event, edge[2])).properties
        self.property(key, event, properties, name)
        held = properties[name]
        if held.type not in ("double", "int64") or held.cumulative:
            what = "is changed by later events" if held.cumulative else f"is {held.type}, which is no number"
            raise self.fail(key, f"{name} {what}", f"name a number of one {event}")

    def target(self, key: str, label: str, target: Target) -> None:
        if target.property is not None:
            properties = self.schema.nodes[label].properties
            self.property(f"{key}.property", label, properties, target.property)
            kind = properties[target.property].type
            if kind not in CLASS_TYPES:
                raise self.fail(
                    f"{key}.property",
                    f"{target.property} is {kind}, whose values are no classes",
                    f"a class is one of: {', '.join(CLASS_TYPES)}",
                )
            return
        name = str(target.relationship)
        self.type(f"{key}.relationship", name, ("fact", "event"))
        starts = {source for source, _ in self.schema.relationships[name].endpoints}
        if label not in starts:
            raise self.fail(
                f"{key}.relationship",
                f"{name} does not lead from {label}",
                f"it leads from: {', '.join(starts)}",
            )

    def given(self, protocol: GivenSplit, label: str, edge: EdgeType | None) -> None:
        if protocol.of == "relationship" and edge is not None:
            properties = self.schema.relationship(edge).properties
            self.property("protocol.property", edge[1], properties, protocol.property)
        else:
            self.property("protocol.property", label, self.schema.nodes[label].properties, protocol.property)


def _those(known: Iterable[str]) -> str:
    names = sorted(known)
    return f"there is: {', '.join(names)}" if names else "there is none"


def _check_match_counts(spec: MatchSpec, counts: GraphCounts, where: str) -> None:
    asking, ranked, edge = spec.anchors.label, spec.candidates.label, spec.interaction
    asked = edge is not None or spec.finds_audience
    if asked and not counts.nodes.get(asking, 0) and spec.positives.otherwise is None:
        raise InputError(f"the graph has no {asking}: nobody asks", where=f"{where}: anchors")
    if counts.nodes.get(ranked, 0) < 2:
        held = "one" if counts.nodes.get(ranked, 0) else "no"
        raise InputError(f"the graph has {held} {ranked}: nothing to rank", where=f"{where}: candidates")
    if edge is not None and not counts.edges.get(edge, 0) and spec.positives.otherwise is None:
        hint = (
            "write else: synthetic to make up anchors" if "text" in spec.anchors.by else "ingest some first"
        )
        raise InputError(
            f"the graph has no ({edge[0]})-[{edge[1]}]->({edge[2]}): nothing to learn from",
            where=f"{where}: positives",
            hint=hint,
        )
    for weighed in spec.weighed:
        if not counts.edges.get(weighed, 0):
            known = {edge[1] for edge, number in counts.edges.items() if number} - {spec.judged_by}
            raise InputError(
                f"the graph has no ({weighed[0]})-[{weighed[1]}]->({weighed[2]}): nothing to weigh",
                where=f"{where}: positives.weights.{weighed[1]}",
                hint=nearest(weighed[1], known) + _those(known),
            )


def kept_targets(spec: ClassifySpec, held: Mapping[str, int]) -> list[str]:
    """The targets that a task tells of a graph: those that somebody has, or all where nobody has any.

    What alerts count stays, that its absence is an error.

    Args:
        spec: the task.
        held: of each target, how much of it there is.
    """
    counted = None if spec.alerts is None else spec.alerts.target
    return [name for name in spec.targets if held[name] or name == counted] or list(spec.targets)


def _check_class_counts(spec: ClassifySpec, counts: GraphCounts, where: str) -> None:
    label = spec.subjects.label
    if not counts.nodes.get(label, 0):
        raise InputError(f"the graph has no {label}: nothing to classify", where=f"{where}: subjects")
    found = {name: counts.classes.get(name, 0) for name in spec.targets}
    for name in kept_targets(spec, found):
        target = spec.targets[name]
        classes, source = counts.classes.get(name, 0), target.property or target.relationship
        least = 1 if target.several else 2
        if classes < least:
            held = "no" if not classes else "only one"
            raise InputError(
                f"the {label}s of the graph have {held} class of {source}: nothing to tell apart",
                where=f"{where}: targets.{name}",
            )


def check_trainable(spec: TaskSpec) -> None:
    """Refuses what can be declared of a match and judged, but what no run learns from yet.

    Raises:
        InputError: says which part of the task, and what to write.
    """
    if not isinstance(spec, MatchSpec) or spec.finds_audience:
        return
    anchors, candidates, event = spec.anchors, spec.candidates, spec.positives.event
    others = {name for side in (anchors, candidates) for name in side.events} - {event}
    by_history = "history" in anchors.by
    for wrong, key, message, hint in (
        (
            by_history and spec.protocol.split != "time",
            "protocol",
            "anchors that are known by their history are split by time",
            "write protocol: {split: time}",
        ),
        (
            by_history and len(anchors.by) > 1,
            "anchors.by",
            "anchors with a history are known by it alone",
            "write by: history",
        ),
        (
            by_history and not {"history", "text"} <= set(candidates.by),
            "candidates.by",
            "what is ranked for a history is known by its own history and its text",
            "write by: [history, text] or by: [history, text, facts]",
        ),
        (
            not by_history and "text" not in anchors.by,
            "anchors.by",
            "anchors are known by their history or by their text",
            "write by: history or by: text",
        ),
        (
            not by_history and "text" not in candidates.by,
            "candidates.by",
            "what is ranked for a text is known by its text",
            "write by: text or by: [text, facts]",
        ),
        (
            bool(others),
            "anchors.history",
            f"{', '.join(others)} is not learned from",
            f"{event} is",
        ),
        (
            not by_history
            and spec.protocol.split not in ("time", "judged")
            and (spec.positives.relationship is None or "facts" in (*anchors.by, *candidates.by)),
            "protocol",
            "anchors that are known by text are judged by people's grades or by later events, or split as "
            "given where a relationship without a time leads to what is known by its text alone",
            "write judged_by: TYPE, protocol: {split: time}, or positives: {relationship: TYPE} and by: text",
        ),
    ):
        if wrong:
            raise InputError(message, where=f"task {spec.name}: {key}", hint=hint)


def check_graph(
    spec: TaskSpec, store: GraphStore, schema: Schema | None = None, *, where: str = ""
) -> GraphCounts:
    """Checks a task against what a store holds; its own schema where `schema` is None.

    Raises:
        InputError: as `check_task`, a given split without a part, nothing of a label that the task asks
            about has the time by which a cut tells it, or the store is empty.
        StoreError: from the store.
    """
    schema = schema if schema is not None else kept_schema(store)
    check_task(spec, schema, where=where)
    try:
        counts = count_graph(store, schema, spec)
    except QueryError as error:
        if store.schema.nodes:
            raise
        raise InputError(
            "nothing was ingested here yet", where=store.url, hint="kgdistill ingest --help"
        ) from error
    check_task(spec, schema, counts, where=where)
    check_dated(spec, store, schema, where or f"task {spec.name}")
    _check_given(spec, store, schema, where or f"task {spec.name}")
    return counts


def _check_given(spec: TaskSpec, store: GraphStore, schema: Schema, where: str) -> None:
    """Refuses a given split of which the graph lacks a part, before anything is trained."""
    protocol = spec.protocol
    if not isinstance(protocol, GivenSplit):
        return
    if isinstance(spec, MatchSpec):
        label, edges = spec.anchors.label, [spec.interaction] if spec.interaction is not None else []
    else:
        told = {target.relationship for target in spec.targets.values()}
        label = spec.subjects.label
        edges = [edge for edge in schema.edges() if edge[0] == label and edge[1] in told]
    name = protocol.property
    if protocol.of == "node":
        tables = [store.read_nodes(label, [name])]
    else:
        held = [edge for edge in edges if name in schema.relationship(edge).properties]
        tables = [store.read_relationships(edge, [name]) for edge in held]
    there = sorted({str(v) for table in tables for v in table[name].unique().to_pylist() if v is not None})
    split = applied(protocol, there)
    if split is not protocol:
        notice(f"{where}: {split_sentence(protocol, split, '', label)}")
        return
    for part in ("train", "test"):
        if not {*getattr(protocol, part)} & {*there}:
            raise no_part(protocol, part, there, f"{where}: protocol.property")


def count_graph(store: GraphStore, schema: Schema, spec: TaskSpec) -> GraphCounts:
    """Counts what a task names in a graph; `spec` must stand with the schema (see `check_task`).

    Raises:
        StoreError: from the store.
    """
    if isinstance(spec, MatchSpec):
        labels = (spec.anchors.label, spec.candidates.label)
        judged = [(labels[0], spec.judged_by, labels[1])] if spec.judged_by is not None else []
        own = [spec.interaction] if spec.interaction is not None else []
        edges = {edge: count_edges(store, edge) for edge in (*own, *spec.weighed, *judged)}
        if not all(edges[weighed] for weighed in spec.weighed):
            # What could be meant instead.
            beside = [e for e in schema.edges("event") if (e[0], e[2]) == (own[0][0], own[0][2])]
            edges |= {edge: count_edges(store, edge) for edge in beside}
        return GraphCounts(
            {label: count_nodes(store, label) for label in labels},
            edges,
            untimed=_count_untimed(store, schema, [*own, *spec.weighed]) if spec.weighed else {},
            shared={weighed[1]: _count_shared(store, spec, weighed) for weighed in spec.weighed},
        )
    label = spec.subjects.label
    classes = {
        name: count_values(store, label, target.property)
        if target.property is not None
        else _count_ends(store, [e for e in schema.edges() if e[:2] == (label, target.relationship)])
        for name, target in spec.targets.items()
    }
    return GraphCounts({label: count_nodes(store, label)}, classes=classes)


def count_nodes(store: GraphStore, label: str) -> int:
    """How many nodes a label has."""
    return _number(store, f"MATCH (n:`{label}`) RETURN count(n) AS n")


def count_edges(store: GraphStore, edge: EdgeType) -> int:
    """How many relationships of an edge type there are."""
    source, name, target = edge
    return _number(store, f"MATCH (:`{source}`)-[r:`{name}`]->(:`{target}`) RETURN count(r) AS n")


def count_values(store: GraphStore, label: str, name: str) -> int:
    """How many different values a property has."""
    return _number(store, f"MATCH (n:`{label}`) RETURN count(DISTINCT n.`{name}`) AS n")


def _count_untimed(store: GraphStore, schema: Schema, events: Iterable[EdgeType]) -> dict[str, int]:
    return {
        name: _number(
            store,
            f"MATCH (:`{source}`)-[r:`{name}`]->(:`{target}`)"
            f" WHERE r.`{schema.relationship((source, name, target)).time}` IS NULL RETURN count(r) AS n",
        )
        for source, name, target in events
    }


def _count_shared(store: GraphStore, spec: MatchSpec, weighed: EdgeType) -> int:
    """How many anchors have both the task's own event and a weighed one."""
    asking, ranked = spec.anchors.label, spec.candidates.label
    start, end = ("<-", "-") if spec.positives.reverse else ("-", "->")
    return _number(
        store,
        f"MATCH (a:`{asking}`){start}[:`{weighed[1]}`]{end}(:`{ranked}`) WITH DISTINCT a"
        f" MATCH (a){start}[:`{spec.positives.event}`]{end}(:`{ranked}`) RETURN count(DISTINCT a) AS n",
    )


def _count_ends(store: GraphStore, edges: list[EdgeType]) -> int:
    return sum(
        _number(store, f"MATCH (:`{a}`)-[:`{name}`]->(c:`{b}`) RETURN count(DISTINCT c) AS n")
        for a, name, b in edges
    )


def _number(store: GraphStore, query: str) -> int:
    # Labels, types and properties are the schema's, which are plain identifiers.
    return int(store.query(query, {}, timeout_s=_TIMEOUT_S)["n"][0].as_py())
