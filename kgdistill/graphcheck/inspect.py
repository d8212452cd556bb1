"""One look at the whole graph."""

from __future__ import annotations

from datetime import datetime, timezone

from kgdistill.errors import InputError
from kgdistill.graphcheck.aliases import brand_aliases
from kgdistill.graphcheck.facts import GraphFacts, read_edge, read_label
from kgdistill.graphcheck.findings import findings_of
from kgdistill.graphcheck.model import Finding, GraphStats, Inspection
from kgdistill.graphcheck.roles import roles_of
from kgdistill.graphcheck.values import value_findings
from kgdistill.moment import naive_utc
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema


def inspect_graph(
    store: GraphStore,
    schema: Schema,
    *,
    now: datetime | None = None,
    hub_share: float = 0.05,
    gap_days: int = 7,
    zone: str = "UTC",
) -> Inspection:
    """Statistics and findings of everything that `store` holds of `schema`; nothing is changed.

    Reads through `read_nodes` and `read_relationships` alone, so that it is the same on every store; holds
    the keys and names of all nodes and one edge type at a time. Types that the store does not know count
    as empty.

    Args:
        store: where the graph is.
        schema: its types; what stands for users, products and so on is told by names and kinds.
        now: what is the future is after it; naive is UTC; the clock's where left out.
        hub_share: a node with a larger share of a type's relationships, and ten times the mean, is a hub.
        gap_days: from how many days without an event on a gap is told.
        zone: the time zone whose days and clocks count.

    Raises:
        InputError: hub_share not within 0 and 1, or gap_days below 1.
        StoreError: from the store.
    """
    if not 0 < hub_share <= 1:
        raise InputError(f"hub_share is {hub_share}; it is above 0 and at most 1")
    if gap_days < 1:
        raise InputError(f"gap_days is {gap_days}; it is at least 1")
    moment = naive_utc(now or datetime.now(timezone.utc))
    facts = GraphFacts(schema, roles_of(schema), moment, hub_share, zone)
    values: list[Finding] = []
    edges = schema.edges()
    with step("looking at the graph", total=len(schema.nodes) + len(edges)) as progress:
        for label in schema.nodes:
            progress.note(label)
            read_label(facts, store, label)
            progress.advance()
        for edge in edges:
            progress.note("-".join(edge))
            table = read_edge(facts, store, edge)
            values += value_findings(edge, schema.relationship(edge), table, moment)
            progress.advance()
    stats = GraphStats(
        store=store.url,
        at=moment,
        zone=zone,
        nodes=facts.node_stats(),
        edges=facts.edges,
        times=facts.times,
        hubs=sorted(facts.hubs, key=lambda hub: -hub.share),
        unknown=facts.unknown,
    )
    return Inspection(stats, findings_of(facts, values, gap_days), brand_aliases(facts))
