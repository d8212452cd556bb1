"""Why each recommendation was made, in words, to be kept with it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import pyarrow as pa

from kgdistill.explore.explanations import explain_many
from kgdistill.explore.queries import dialect_of
from kgdistill.progress import step
from kgdistill.store import MemoryStore
from kgdistill.store.protocol import EdgeType, GraphStore

_READ: tuple[EdgeType, ...] = (
    ("User", "BOUGHT", "Product"),
    ("Product", "MADE_BY", "Brand"),
    ("Product", "IN_CATEGORY", "Category"),
    ("Product", "ALSO_BOUGHT", "Product"),
)
_TYPES = pa.schema([("reason", pa.string()), ("reason_kind", pa.string()), ("reason_lift", pa.float64())])
_AT_ONCE = 10_000
"""Pairs that are explained between two steps of the progress."""


def with_reasons(
    store: GraphStore, edge: EdgeType, recommendations: pa.Table, *, reads: Collection[str] | None = None
) -> pa.Table:
    """The same rows with `reason`, `reason_kind` and `reason_lift`: the most telling path, null without one.

    Paths are those that `explain_many` finds, between users and products of the project's own types alone:
    elsewhere the rows come back as they are. A server is read once and its copy in memory is asked: a row of
    purchases costs it a hundred times what it costs there.

    Args:
        store: an open store.
        edge: what the recommendations are written as.
        recommendations: user, product and further columns.
        reads: the events that the run's model reads; a path from another is told where these have none.

    Raises:
        InputError: a user or product that the store does not hold.
        StoreError: from the store.
    """
    if (edge[0], edge[2]) != ("User", "Product") or not set(_READ) <= set(store.schema.edges()):
        return recommendations
    with contextlib.ExitStack() as stack:
        if dialect_of(store) == "neo4j":
            store = stack.enter_context(_copied(store))
        told = pa.Table.from_pylist(list(_reasons(store, recommendations, reads)), schema=_TYPES)
    for name in _TYPES.names:
        recommendations = recommendations.append_column(name, told[name])
    return recommendations


@contextlib.contextmanager
def _copied(store: GraphStore) -> Iterator[GraphStore]:
    """What happened and holds in a graph, in memory; what runs wrote and people judged is no reason."""
    schema = store.schema
    edges = schema.edges("fact", "event", "derived")
    labels = {end for edge in edges for end in edge[::2]}
    part = schema.restricted(labels, {edge[1] for edge in edges})
    with MemoryStore() as memory:
        memory.apply_schema(part)
        with step("reading the graph", total=len(part.nodes) + len(part.edges())) as work:
            for label in part.nodes:
                memory.write_nodes(label, store.read_nodes(label))
                work.advance()
            for edge in part.edges():
                memory.write_relationships(edge, store.read_relationships(edge))
                work.advance()
        yield memory


def _reasons(
    store: GraphStore, recommendations: pa.Table, reads: Collection[str] | None
) -> Iterator[dict[str, str | float | None]]:
    users, products = (recommendations[name].to_pylist() for name in ("user", "product"))
    pairs = list(zip(users, products, strict=True))
    with step("finding reasons", total=len(pairs)) as work:
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            found = explain_many(store, part, limit=1, reads=reads)
            for pair in part:
                best = next((e for e in found[pair] if e.kind != "NONE"), None)
                told = (None, None, None) if best is None else (str(best), best.kind, best.lift)
                yield dict(zip(_TYPES.names, told, strict=True))
            work.advance(len(part))
