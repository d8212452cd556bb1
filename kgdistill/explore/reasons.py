"""Why each recommendation was made, in words, to be kept with it."""

from __future__ import annotations

import pyarrow as pa

from kgdistill.explore.explanations import explain_many
from kgdistill.progress import step
from kgdistill.store.protocol import EdgeType, GraphStore

_READ: tuple[EdgeType, ...] = (
    ("User", "BOUGHT", "Product"),
    ("Product", "MADE_BY", "Brand"),
    ("Product", "IN_CATEGORY", "Category"),
    ("Product", "ALSO_BOUGHT", "Product"),
)
_AT_ONCE = 10_000
"""Pairs that are explained between two steps of the progress."""


def with_reasons(store: GraphStore, edge: EdgeType, recommendations: pa.Table) -> pa.Table:
    """The same rows with `reason`, `reason_kind` and `reason_lift`: the most telling path, null without one.

    Paths are those that `explain_many` finds, between users and products of the project's own types alone:
    elsewhere the rows come back as they are.

    Args:
        store: an open store.
        edge: what the recommendations are written as.
        recommendations: user, product and further columns.

    Raises:
        InputError: a user or product that the store does not hold.
        StoreError: from the store.
    """
    if (edge[0], edge[2]) != ("User", "Product") or not set(_READ) <= set(store.schema.edges()):
        return recommendations
    pairs = list(
        zip(recommendations["user"].to_pylist(), recommendations["product"].to_pylist(), strict=True)
    )
    rows: list[dict[str, object]] = []
    with step("finding reasons", total=len(pairs)) as work:
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            found = explain_many(store, part, limit=1)
            for pair in part:
                best = next(iter(found[pair]), None)
                if best is None or best.kind == "NONE":
                    rows.append({"reason": None, "reason_kind": None, "reason_lift": None})
                else:
                    rows.append({"reason": str(best), "reason_kind": best.kind, "reason_lift": best.lift})
            work.advance(len(part))
    types = {"reason": pa.string(), "reason_kind": pa.string(), "reason_lift": pa.float64()}
    told = pa.Table.from_pylist(rows, schema=pa.schema(types.items()))
    for name in types:
        recommendations = recommendations.append_column(name, told[name])
    return recommendations
