"""Which properties of products tell kinds, such as a colour, and how much of what is done each kind has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kgdistill.explore.paths import Paths
from kgdistill.explore.signals import Signal
from kgdistill.listed import lists_values, parts_of
from kgdistill.store.protocol import GraphStore, Parameter

_IN_WORDS = {"brand_text", "category_text"}
"""What brands and categories say already."""
_VALUES, _SHARED, _TIMEOUT_S = 10_000, 0.9, 120.0


@dataclass(frozen=True)
class Kinds:
    """A property whose values products share.

    Attributes:
        name: of the property.
        lists: whether one text lists several values (`lists_values`).
    """

    name: str
    lists: bool

    def of(self, text: str) -> tuple[str, ...]:
        """The values in a text."""
        return parts_of(text) if self.lists else (text,)


@dataclass(frozen=True)
class Held:
    """How much of what was done is of each value.

    Attributes:
        mine, everybody: by value.
        total: how many of the user's, and of everybody's, have the property at all.
    """

    mine: Counter[str]
    everybody: Counter[str]
    total: tuple[int, int]


def kinds_of_products(store: GraphStore) -> list[Kinds]:
    """The properties of products whose values nine in ten of those that have one share with another.

    Neither their name, nor what the schema calls sensitive, nor one of more than 10,000 different texts.

    Raises:
        StoreError: from the store.
    """
    node = store.schema.node("Product")
    asked = [
        name
        for name, property_ in node.properties.items()
        if property_.type == "string" and not property_.sensitive and name not in {node.name, *_IN_WORDS}
    ]
    out = []
    for name in asked:
        some = f"MATCH (p:Product) WHERE p.`{name}` <> '' "
        if _table(store, f"{some}RETURN count(DISTINCT p.`{name}`) AS n")[0]["n"] > _VALUES:
            continue
        rows = _table(store, f"{some}RETURN p.`{name}` AS value, count(*) AS n")
        counts = Counter({row["value"]: row["n"] for row in rows})
        if lists_values(counts.elements()):
            out.append(Kinds(name, lists=True))
        elif sum(n for n in counts.values() if n > 1) >= _SHARED * counts.total() > 0:
            out.append(Kinds(name, lists=False))
    return out


def held(store: GraphStore, paths: Paths, signal: Signal, kinds: Kinds, until: datetime) -> Held:
    """Of each value what a user did, and what everybody did by then.

    Args:
        store, paths: the same store.
        signal: what the user did with products.
        kinds: the property.
        until: later events do not count.
    """
    value, counted = f"p.`{kinds.name}`", paths.counted(signal.event, signal.label)
    rows = _table(
        store,
        f"UNWIND $keys AS k MATCH (p:Product) WHERE p.product_id = k AND {value} <> '' "
        f"RETURN {value} AS value, count(*) AS n",
        keys=sorted(signal.at),
    )
    usual = _table(
        store,
        f"MATCH (:User)-[w:`{signal.event}`]->(p:Product) WHERE {counted} AND {value} <> '' "
        f"RETURN {value} AS value, count(*) AS n",
        **paths.asked(signal.event, until),
    )
    mine, everybody = (_by_value(some, kinds.of) for some in (rows, usual))
    return Held(mine, everybody, (sum(r["n"] for r in rows), sum(r["n"] for r in usual)))


def _by_value(rows: Iterable[dict[str, Any]], of: Callable[[str], tuple[str, ...]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(dict.fromkeys(of(row["value"]), row["n"]))
    return counts


def _table(store: GraphStore, cypher: str, **values: Parameter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.query(cypher, values, limit=_VALUES, timeout_s=_TIMEOUT_S).to_pylist()
    return rows
