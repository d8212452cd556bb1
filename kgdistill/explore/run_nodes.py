"""The node of a run in the graph, and what it leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from kgdistill.errors import SchemaError
from kgdistill.ingest.archive import utc_now
from kgdistill.ingest.model import TypeKey
from kgdistill.progress import notice
from kgdistill.store import load_schema
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import NodeType, Property, RelationshipType, Schema, arrow_type

RUN, MADE = "Run", "MADE"


@dataclass(frozen=True)
class RunFacts:
    """What a graph keeps of a run beside its answers; times are naive UTC, what is not known is None.

    Attributes:
        task: what it was asked.
        created_at: when it took its snapshot.
        cut: nothing from then on reached its models.
        snapshot: the hash of the snapshot.
        metric: what `value` is, such as `ndcg@20 warm`.
        value, low, high: the student's main figure on the test, and the ends of its 95 % interval.
        metrics: every figure of the student with its interval, as JSON.
    """

    task: str | None = None
    created_at: datetime | None = None
    cut: datetime | None = None
    snapshot: str | None = None
    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    metrics: str | None = None


def make_room(store: GraphStore, edges: Iterable[EdgeType]) -> Schema:
    """Adds to a store what it lacks for a run that answers by `edges`: Run, MADE and their properties.

    They are declared in the project's own schema; a store of an earlier version, or of a schema of one's own,
    gets them here. What contradicts the store's types is left out, and said.

    Returns:
        All that the store may hold.

    Raises:
        StoreError: from the store.
    """
    held, own = store.schema, load_schema()
    added = _lacking(held, own, list(edges), store.url)
    whole = held if added is None else held.joined(added)
    if whole != held or not _in_force(store, whole):
        store.apply_schema(whole)
    return whole


def _in_force(store: GraphStore, schema: Schema) -> bool:
    """Whether the store takes rows of Run as it is; one that was given another schema since does not."""
    if RUN not in schema.nodes:
        return True
    try:
        store.read_nodes(RUN, list(schema.nodes[RUN].properties))
    except SchemaError:
        return False
    return True


def _lacking(held: Schema, own: Schema, edges: Sequence[EdgeType], where: str) -> Schema | None:
    """The types that write-back needs, as far as they fit what is held; None where one is in the way."""
    keys = {node.key for node in held.nodes.values()}

    def fitting(properties: Mapping[str, Property]) -> dict[str, Property]:
        return {n: p for n, p in properties.items() if n not in keys and _same_type(held, n, p)}

    run = held.nodes.get(RUN, own.nodes[RUN])
    made = held.relationships.get(MADE, own.relationships[MADE])
    if (
        run.key != own.nodes[RUN].key
        or made.identity != own.relationships[MADE].identity
        or RUN in (held.relationships)
    ):
        notice(
            f"{where} has a {RUN} or {MADE} of its own: what the run is, is not written beside its answers"
        )
        return None
    labels = {label: held.nodes[label] for edge in edges for label in (edge[0], edge[2])}
    nodes: dict[str, NodeType] = {
        **labels,
        RUN: run.model_copy(update={"properties": fitting(own.nodes[RUN].properties)}),
    }
    ends = tuple(dict.fromkeys((RUN, edge[2]) for edge in edges))
    relationships: dict[str, RelationshipType] = {
        MADE: own.relationships[MADE].model_copy(update={"endpoints": ends})
    }
    for edge in edges:
        mine, theirs = own.relationships.get(edge[1]), held.relationships.get(edge[1])
        if theirs is None and mine is not None:
            theirs = mine.model_copy(update={"properties": {}})
        if theirs is None:
            theirs = held.relationship(edge)
        if mine is not None and mine.identity == theirs.identity and mine.kind == theirs.kind:
            properties = {**fitting(mine.properties), **theirs.properties}
            relationships[edge[1]] = theirs.model_copy(
                update={"properties": properties, "endpoints": ((edge[0], edge[2]),)}
            )
    return Schema(version=1, nodes=nodes, relationships=relationships)


def _same_type(held: Schema, name: str, prop: Property) -> bool:
    try:
        return bool(held.arrow_type(name) == arrow_type(prop.type))
    except SchemaError:
        return True


def run_tables(
    run_id: str, facts: RunFacts, schema: Schema, answers: Mapping[EdgeType, pa.Table]
) -> dict[TypeKey, pa.Table]:
    """The Run node and its MADE relationships.

    Args:
        run_id: names the run.
        facts: what is known of it.
        schema: as `make_room` gives it.
        answers: by type, the relationships that the run writes.

    Returns:
        By type, nodes first; nothing where the schema has no Run.
    """
    if RUN not in schema.nodes or MADE not in schema.relationships:
        return {}
    node = {
        "run_id": run_id,
        **vars(facts),
        "written_at": utc_now(),
        "answers": sum(table.num_rows for table in answers.values()),
    }
    columns = schema.node_arrow_schema(RUN)
    tables: dict[TypeKey, pa.Table] = {
        RUN: pa.Table.from_pylist([{name: node.get(name) for name in columns.names}], schema=columns)
    }
    led: dict[str, Counter[str]] = {}
    for edge, table in answers.items():
        led.setdefault(edge[2], Counter()).update(table["target"].to_pylist())
    for label, counted in led.items():
        tables[(RUN, MADE, label)] = pa.table(
            {
                "source": pa.array([run_id] * len(counted), pa.string()),
                "target": pa.array(list(counted), pa.string()),
                "run": pa.array([run_id] * len(counted), pa.string()),
                "answers": pa.array(list(counted.values()), pa.int64()),
            }
        )
    return tables
