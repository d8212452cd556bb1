"""What explanations are made of, read from a snapshot: a run's report has no store at hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csc_array

from kgdistill.arrays import BoolArray
from kgdistill.explore.explanation import Explanation
from kgdistill.explore.explanations import Weigh, along
from kgdistill.explore.paths import (
    BOUGHT,
    LEAST_TOGETHER,
    RATING,
    Fact,
    Lead,
    Row,
    events_of,
    facts_of,
    joined_leads,
    leads_of,
)
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType


def explain_frozen(
    snapshot: Snapshot,
    purchases: pa.Table,
    edge: EdgeType,
    pairs: Iterable[tuple[str, str]],
    *,
    limit: int = 5,
    reverse: bool = False,
    weigh: Weigh | None = None,
    reads: Collection[str] | None = None,
) -> dict[tuple[str, str], list[Explanation]]:
    """`explain_many` without a store: what is bought together is counted before the snapshot's cut.

    Args:
        snapshot: has the facts.
        purchases: user, product (string), at (timestamp), bought (bool): what is known by now.
        edge: the relationship that stands for a purchase.
        pairs: users and products; of one that the snapshot lacks nothing is told.
        limit: at most so many for each.
        reverse: the relationship leads from the product to the user.
        weigh, reads: see `explain`.
    """
    paths = FrozenPaths(snapshot, purchases, edge, reverse=reverse)
    wanted = list(dict.fromkeys(pairs))
    names = paths.products({product for _, product in wanted})
    known = [pair for pair in wanted if pair[1] in names]
    return along(paths, known, names, limit, None, weigh=weigh, reads=reads)


class FrozenPaths:
    """As `Paths`, of a snapshot and the purchases that are known by now.

    Args:
        snapshot: has the facts, and who bought what before its cut.
        purchases: user, product, at, bought; whom explanations are for.
        edge: the relationship that stands for a purchase.
        reverse: it leads from the product to the user.
    """

    def __init__(
        self, snapshot: Snapshot, purchases: pa.Table, edge: EdgeType, *, reverse: bool = False
    ) -> None:
        self._snapshot, self._purchases = snapshot, purchases
        self._user, self._label = (edge[2], edge[0]) if reverse else (edge[0], edge[2])
        self.own = edge[1]
        pairs = snapshot.edge_index(edge)[:: -1 if reverse else 1]
        shape = (snapshot.num_nodes(self._user), snapshot.num_nodes(self._label))
        self._buyers = csc_array((np.ones(pairs.shape[1], np.int64), (pairs[0], pairs[1])), shape=shape)
        self._buyers.data[:] = 1
        self._rows = self._buyers.tocsr()

    def products(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of `keys` that are products, with their names; the key where there is no title."""
        wanted = sorted(keys)
        ids = self._snapshot.index(self._label, wanted)
        table = self._snapshot.node_table(self._label)
        shown = self._snapshot.schema.node(self._label).name
        if shown not in table.column_names:
            return {key: key for key, i in zip(wanted, ids, strict=True) if i >= 0}
        names = table[shown].take(pa.array(ids[ids >= 0])).to_pylist()
        known = [key for key, i in zip(wanted, ids, strict=True) if i >= 0]
        return {key: name or key for key, name in zip(known, names, strict=True)}

    def catalogue(self) -> int:
        """How many products there are."""
        return self._snapshot.num_nodes(self._label)

    def purchases(self, users: Iterable[str]) -> list[Row]:
        """user, product, first_at, last_at."""
        mine = self._purchases.filter(
            pc.and_(pc.is_in(self._purchases["user"], pa.array(sorted(users))), self._purchases["bought"])
        )
        return [
            {"user": row["user"], "product": row["product"], "first_at": row["at"], "last_at": row["at"]}
            for row in mine.select(["user", "product", "at"]).to_pylist()
        ]

    def facts(self) -> list[Fact]:
        """What products share."""
        return facts_of(self._snapshot.schema, self._label)

    def shared(self, fact: Fact, products: Iterable[str]) -> list[Row]:
        """product, via, name, level: what the products have of it."""
        return self._via(self._edge(fact), products, ("path", self._snapshot.schema.node(fact.label).name))

    def sizes(self, fact: Fact, vias: Iterable[str]) -> dict[str, int]:
        """How many products share each."""
        return self._counted(self._edge(fact), vias)

    def purchases_of(
        self, fact: Fact, vias: Iterable[str], before: datetime | None, event: str
    ) -> dict[str, int]:
        """How much of what shares it everybody bought, or did another thing with, before the cut."""
        return self._counted(self._edge(fact), vias, self._users(event))

    def purchases_in_all(self, before: datetime | None, event: str) -> int:
        """How much everybody bought, or did another thing with, before the cut."""
        return int(self._users(event).sum())

    def events(self) -> list[str]:
        """What users do with products beside their own event."""
        return events_of(self._snapshot.schema, self._user, self._label, self.own)

    def happened(self, event: str, users: Iterable[str]) -> list[Row]:
        """user, product, at, times of another event; how often is not known as of a cut."""
        done = self._done((self._user, event, self._label), users)
        return [{"user": u, "product": key, "at": at, "times": 1} for u, _, key, at in done]

    def times_of(self, event: str, products: Iterable[str], before: datetime | None) -> dict[str, int]:
        """How many users did it with each product."""
        wanted, counts = sorted(products), self._users(event)
        found = zip(wanted, self._snapshot.index(self._label, wanted), strict=True)
        return {key: int(counts[i]) for key, i in found if i >= 0}

    def leads(self) -> list[Lead]:
        """What users do with something that leads to products."""
        return leads_of(self._snapshot.schema, self._user, self._label)

    def led(self, lead: Lead, users: Iterable[str], products: Iterable[str]) -> list[Row]:
        """As `Paths.led`."""
        edge: EdgeType = (lead.label, lead.link, self._label)
        done = self._done((self._user, lead.event, lead.label), users)
        if not done or edge not in self._snapshot.edge_types:
            return []
        sources, targets = self._snapshot.edge_index(edge)
        keep = np.isin(targets, self._snapshot.index(self._label, sorted(products)))
        vias, keys = self._snapshot.keys(lead.label), self._snapshot.keys(self._label)
        pairs = [
            {"product": str(keys[target]), "via": str(vias[source])}
            for source, target in zip(sources[keep], targets[keep], strict=True)
        ]
        out = np.bincount(sources, minlength=len(vias))
        shown = self._shown(lead.label, ("path", self._snapshot.schema.node(lead.label).name))
        rows = [{"user": u, "via": key, "name": shown(i), "at": at} for u, i, key, at in done]
        return joined_leads(rows, pairs, {key: int(out[i]) for _, i, key, _ in done}, len(sources))

    def _edge(self, fact: Fact) -> EdgeType:
        return (self._label, *fact)

    def _users(self, event: str) -> npt.NDArray[Any]:
        """How many users did it with each product, int64 [products]."""
        if event == self.own:
            return np.diff(self._buyers.indptr)
        edge: EdgeType = (self._user, event, self._label)
        count = self._snapshot.num_nodes(self._label)
        if edge not in self._snapshot.edge_types:
            return np.zeros(count, np.int64)
        return np.bincount(self._snapshot.edge_index(edge)[1][self._liked(edge)], minlength=count)

    def _liked(self, edge: EdgeType) -> BoolArray:
        """Which of what was done counts, bool [edges]: of ratings of products those that `Paths` counts."""
        table, every = self._snapshot.edge_table(edge), np.ones(self._snapshot.num_edges(edge), np.bool_)
        bought = edge[1] in (self.own, BOUGHT)
        if bought or edge[2] != self._label or RATING not in table.column_names:
            return every
        column = table[RATING]
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            return every
        ends = pc.min_max(column).as_py()
        if ends["min"] is None or ends["min"] == ends["max"]:
            return every
        liked = pc.greater(column, (ends["min"] + ends["max"]) / 2)
        return np.asarray(liked.fill_null(False).to_numpy(), np.bool_)

    def _done(self, edge: EdgeType, users: Iterable[str]) -> list[tuple[str, int, str, datetime | None]]:
        """user, position, key and time of what some users did before the cut."""
        if edge not in self._snapshot.edge_types:
            return []
        sources, targets = self._snapshot.edge_index(edge)
        mine = np.isin(sources, self._snapshot.index(edge[0], sorted(users)))
        keep = np.flatnonzero(mine & self._liked(edge))
        who, what, times = (
            self._snapshot.keys(edge[0]),
            self._snapshot.keys(edge[2]),
            self._snapshot.times(edge),
        )
        at = [None] * len(keep) if times is None else times[keep].astype("datetime64[us]").tolist()
        return [
            (str(who[sources[n]]), int(targets[n]), str(what[targets[n]]), moment)
            for n, moment in zip(keep, at, strict=True)
        ]

    def _shown(self, label: str, names: tuple[str, ...]) -> Callable[[int], str | None]:
        """What a person reads of a node: the first of some properties that it has."""
        table = self._snapshot.node_table(label)
        columns = [table[name].to_pylist() for name in names if name in table.column_names]
        return lambda i: next((column[i] for column in columns if column[i]), None)

    def also_bought(self, products: Iterable[str]) -> list[Row]:
        """recommended, bought, support, lift."""
        found: list[Row] = []
        keys, users = self._snapshot.keys(self._label), max(int((np.diff(self._rows.indptr) > 0).sum()), 1)
        for product, place, both in self._together(products):
            counts = np.diff(self._buyers.indptr)
            for other in np.flatnonzero(both >= LEAST_TOGETHER):
                lift = float(both[other]) * users / (float(counts[place]) * float(counts[other]))
                row = {"bought": str(keys[other]), "support": int(both[other]), "lift": lift}
                found.append({"recommended": product, **row})
        return found

    def partners(self, products: Iterable[str]) -> dict[str, int]:
        """How many products each is bought together with."""
        return {key: int((both >= LEAST_TOGETHER).sum()) for key, _, both in self._together(products)}

    def _together(self, products: Iterable[str]) -> Iterable[tuple[str, int, npt.NDArray[Any]]]:
        """Each product that is known, its id, and how many of its buyers bought every other one."""
        wanted = sorted(set(products))
        for key, i in zip(wanted, self._snapshot.index(self._label, wanted), strict=True):
            if i >= 0:
                buyers = self._buyers.indices[self._buyers.indptr[i] : self._buyers.indptr[i + 1]]
                both = np.asarray(self._rows[buyers].sum(axis=0)).ravel()
                both[i] = 0
                yield key, int(i), both

    def _via(self, edge: EdgeType, products: Iterable[str], names: tuple[str, ...]) -> list[Row]:
        if edge not in self._snapshot.edge_types:
            return []
        ids = self._snapshot.index(self._label, sorted(products))
        sources, targets = self._snapshot.edge_index(edge)
        keep = np.isin(sources, ids)
        keys, vias = self._snapshot.keys(self._label), self._snapshot.keys(edge[2])
        table = self._snapshot.node_table(edge[2])
        shown = self._shown(edge[2], names)
        levels = table["level"].to_pylist() if "level" in table.column_names else [0] * table.num_rows
        return [
            {
                "product": str(keys[source]),
                "via": str(vias[target]),
                "name": shown(int(target)),
                "level": levels[target] or 0,
            }
            for source, target in zip(sources[keep], targets[keep], strict=True)
        ]

    def _counted(
        self, edge: EdgeType, keys: Iterable[str], each: npt.NDArray[Any] | None = None
    ) -> dict[str, int]:
        """How many products an edge leads to each node from, or the sum of what `each` says of them."""
        wanted = sorted(keys)
        if edge not in self._snapshot.edge_types or not wanted:
            return {}
        products, targets = self._snapshot.edge_index(edge)
        weights = None if each is None else each[products]
        counts = np.bincount(targets, weights, minlength=self._snapshot.num_nodes(edge[2]))
        found = zip(wanted, self._snapshot.index(edge[2], wanted), strict=True)
        return {key: int(counts[i]) for key, i in found if i >= 0}
