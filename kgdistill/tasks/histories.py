"""What users bought, as far as a store or a run's folder knows by now: for answers, never for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.errors import InputError
from kgdistill.moment import naive_utc
from kgdistill.ranking.habits import Time, Timed
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema
from kgdistill.tasks.counted import QUANTITY, floors, is_counted

_ROWS = 5_000_000
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class UserHistory:
    """What one user bought.

    Attributes:
        items: the keys that the bundle knows, in the order of the first purchase, the latest last.
        beside: keys that were only ever returned, given or rated low: no purchase, and not to recommend.
        until: when the latest of all events was; naive UTC.
    """

    items: list[str]
    beside: list[str]
    until: datetime


@dataclass(frozen=True)
class Pasts:
    """What everybody, or one user, did.

    Attributes:
        own: the event whose items make up a history.
        known: by user, those.
        others: by further event that the task weighs, everybody's histories of it.
        timed: by user every purchase with its time, where a task ranks what is bought again.
    """

    own: str
    known: Mapping[str, UserHistory]
    others: Mapping[str, Mapping[str, UserHistory]]
    timed: Mapping[str, Timed] | None = None

    def of(self, user: str) -> list[str] | dict[str, list[str]] | Timed:
        """All that a user did, as `Bundle.recommend` reads it."""
        if self.timed is not None:
            return self.timed.get(user, Timed([]))
        items = self.known[user].items if user in self.known else []
        return {self.own: items, **self.further(user)} if self.others else items

    def further(self, user: str) -> dict[str, list[str]]:
        """What a user did beside the own event, by further event."""
        return {name: of[user].items for name, of in self.others.items() if user in of and of[user].items}


def stored_purchases(
    store: GraphStore,
    edge: EdgeType,
    schema: Schema,
    *,
    user: str | None = None,
    reverse: bool = False,
    above: Mapping[str, float] | None = None,
) -> pa.Table:
    """What a store holds now.

    Args:
        store: an open store.
        edge: the relationship that stands for a purchase.
        schema: names its properties.
        user: that user's alone.
        reverse: the relationship leads from the product to the user.
        above: by event and property the number above which an event counts as bought.

    Returns:
        user, product (string), at (timestamp, naive UTC), bought (bool).

    Raises:
        InputError: the relationship has no time.
        StoreError: from the store.
    """
    time = _time_of(edge, schema)
    least = floors(above or {}, edge[1])
    columns = [time, *({QUANTITY} & schema.relationship(edge).properties.keys()), *least]
    if user is None:
        return _uniform(store.read_relationships(edge, columns), time, reverse, least)
    source, target = schema.node(edge[0]).key, schema.node(edge[2]).key
    returned = ", ".join(f"b.`{name}` AS `{name}`" for name in columns)
    asked = f"p.`{target}`" if reverse else f"u.`{source}`"
    table = store.query(
        f"MATCH (u:`{edge[0]}`)-[b:`{edge[1]}`]->(p:`{edge[2]}`) WHERE {asked} = $user "
        f"RETURN u.`{source}` AS source, p.`{target}` AS target, {returned}",
        {"user": user}, limit=_ROWS, timeout_s=_TIMEOUT_S,
    )  # fmt: skip
    return _uniform(table, time, reverse, least)


def items_of(purchases: pa.Table, *, before: datetime | None = None) -> list[str]:
    """The keys of what a user bought, the latest last; what was only ever returned is left out.

    Args:
        purchases: of one user, from `stored_purchases`.
        before: only those before this time; naive is UTC.
    """
    counted = purchases.filter(purchases["bought"])
    if before is not None:
        counted = counted.filter(pc.less(counted["at"], naive_utc(before)))
    keys: list[str] = counted.sort_by([("at", "ascending"), ("product", "ascending")])["product"].to_pylist()
    return keys


def stored_past(
    store: GraphStore,
    schema: Schema,
    user: str,
    events: Iterable[str],
    *,
    before: datetime | None = None,
    above: Mapping[str, float] | None = None,
) -> dict[str, list[str]]:
    """What a user did with products, by the type of the event, as a store holds it now.

    Args:
        store: an open store.
        schema: its schema; a type that it lacks between users and products is left out.
        user: the key.
        events: types.
        before: only what was done before this time; naive is UTC.
        above: as of `stored_purchases`.
    """
    edges = {name: ("User", name, "Product") for name in events}
    return {
        name: items_of(stored_purchases(store, edge, schema, user=user, above=above), before=before)
        for name, edge in edges.items()
        if edge in schema.edges("event")
    }


def frozen_purchases(
    snapshot: Snapshot,
    later: pa.Table | None,
    edge: EdgeType,
    *,
    reverse: bool = False,
    above: Mapping[str, float] | None = None,
) -> pa.Table:
    """What a run's folder holds: the snapshot and the events after its cut, as of when it was taken.

    Args:
        snapshot: the run's.
        later: what `take_events` gave from its cut on; None where nothing was put aside.
        edge: the relationship that stands for a purchase.
        reverse: it leads from the product to the user.
        above: as of `stored_purchases`.

    Returns:
        As `stored_purchases`.
    """
    time, known = _time_of(edge, snapshot.schema), snapshot.edge_table(edge)
    least = floors(above or {}, edge[1])
    before = {
        "source": snapshot.keys(edge[0])[known["source"].to_numpy()],
        "target": snapshot.keys(edge[2])[known["target"].to_numpy()],
        time: known[time],
        **{name: known[name] for name in (QUANTITY, *least) if name in known.column_names},
    }
    parts = [pa.table(before), *([later] if later is not None else [])]
    return pa.concat_tables([_uniform(part, time, reverse, least) for part in parts])


def histories(purchases: pa.Table, keys: Sequence[str]) -> dict[str, UserHistory]:
    """Each user's history over the items of a bundle; products that it lacks do not count.

    Args:
        purchases: from `stored_purchases` or `frozen_purchases`.
        keys: the bundle's.

    Returns:
        By user, in the order of the users' ids. One with several purchases of an item has it once, where the
        first of them stands; those of one moment stand in the order of `keys`, as training counts them.
    """
    users = pc.unique(purchases["user"])
    users = users.take(pc.array_sort_indices(users))
    who = pc.index_in(purchases["user"], value_set=users).to_numpy()
    places = pc.index_in(purchases["product"], value_set=pa.array(keys, pa.string()))
    what = pc.fill_null(places, -1).to_numpy()
    at = purchases["at"].to_numpy().astype("datetime64[us]")
    # A moment that nobody knows comes before all others.
    micros = np.where(np.isnat(at), np.iinfo(np.int64).min, at.astype(np.int64))
    bought = purchases["bought"].to_numpy()
    order = np.lexsort((what, micros, who))
    ends = np.cumsum(np.bincount(who, minlength=len(users)))
    names = np.array(keys, dtype=object)
    found: dict[str, UserHistory] = {}
    for user, start, end in zip(users.to_pylist(), [0, *ends], ends, strict=False):
        mine = order[start:end]
        until = at[mine[-1]]
        mine = mine[what[mine] >= 0]
        items = dict.fromkeys(what[mine[bought[mine]]].tolist())
        beside = dict.fromkeys(i for i in what[mine].tolist() if i not in items)
        found[user] = UserHistory(
            names[list(items)].tolist(),
            names[list(beside)].tolist(),
            until.astype(datetime) if not np.isnat(until) else datetime.min,
        )
    return found


def timed_lines(purchases: pa.Table, at: datetime | None) -> dict[str, Timed]:
    """Each user's purchases with their times; those without a time are left out.

    Args:
        purchases: from `stored_purchases` or `frozen_purchases`.
        at: the moment of asking.
    """
    known = purchases.filter(pc.and_(purchases["bought"], pc.is_valid(purchases["at"])))
    lines: dict[str, list[tuple[str | int, Time]]] = {}
    for user, product, time in zip(*(known[n].to_pylist() for n in ("user", "product", "at")), strict=True):
        lines.setdefault(user, []).append((product, time))
    return {user: Timed(mine, at) for user, mine in lines.items()}


def latest_purchase(store: GraphStore, edge: EdgeType, schema: Schema) -> datetime | None:
    """When the latest purchase of anybody was that a store holds; naive UTC, None without any.

    Raises:
        InputError: the relationship has no time.
        StoreError: from the store.
    """
    time = _time_of(edge, schema)
    table = store.query(
        f"MATCH (:`{edge[0]}`)-[b:`{edge[1]}`]->(:`{edge[2]}`) RETURN max(b.`{time}`) AS at",
        timeout_s=_TIMEOUT_S,
    )
    latest: datetime | None = table["at"].cast(pa.timestamp("us"))[0].as_py()
    return latest


def gone(store: GraphStore, label: str, keys: Sequence[str]) -> list[str]:
    """Those of `keys` of which the store holds no node any more, in order."""
    held = set(store.read_nodes(label, []).column(0).to_pylist())
    return [key for key in keys if key not in held]


def _time_of(edge: EdgeType, schema: Schema) -> str:
    time = schema.relationship(edge).time
    if time is None:
        raise InputError(f"{edge[1]} has no time, so that no history has an order")
    return time


def _uniform(table: pa.Table, time: str, reverse: bool, least: Mapping[str, float]) -> pa.Table:
    """user, product, at and bought: whether the event counts."""
    at = table[time].cast(pa.timestamp("us")) if table.num_rows else pa.array([], pa.timestamp("us"))
    user, product = ("target", "source") if reverse else ("source", "target")
    return pa.table(
        {
            "user": table[user].cast(pa.string()),
            "product": table[product].cast(pa.string()),
            "at": at,
            "bought": pa.array(is_counted(table, least)),
        }
    )
