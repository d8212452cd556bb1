"""The Cypher behind explanations: purchases and the links of products, for many users at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from kgdistill.store.protocol import EdgeType, GraphStore, Parameter
from kgdistill.store.schema import Kind, NodeType, Schema

# Keys in one query, and rows that one may return: a page of users with all they bought.
_PAGE = 2_000
_USERS = 200
_ROWS = 2_000_000
_TIMEOUT_S = 120.0

# For products UNWIND: with IN, Ladybug reads the whole label (0.6 s against 0.03 s for 900 keys).
_USERS_KNOWN = "MATCH (u:User) WHERE u.user_id IN $keys RETURN u.user_id AS key"
_PRODUCTS = (
    "UNWIND $keys AS k MATCH (p:Product) WHERE p.product_id = k RETURN p.product_id AS key, p.title AS name"
)
_COUNT = "MATCH (p:Product) RETURN count(p) AS products"
# A pair that was only ever returned or given (quantity 0) is no purchase.
_PURCHASES = """
MATCH (u:User)-[w:BOUGHT]->(p:Product)
WHERE u.user_id IN $keys AND coalesce(w.first_quantity, 1) > 0
RETURN u.user_id AS user, p.product_id AS product, w.first_at AS first_at, w.last_at AS last_at
"""
_ALSO_BOUGHT = """
UNWIND $keys AS k MATCH (r:Product)-[a:ALSO_BOUGHT]-(p:Product) WHERE r.product_id = k
RETURN r.product_id AS recommended, p.product_id AS bought, a.support AS support, a.lift AS lift
"""
_OF_PRODUCT = """
UNWIND $keys AS k MATCH (p:Product)-[:ALSO_BOUGHT]-(x:Product) WHERE p.product_id = k
RETURN p.product_id AS key, count(x) AS products
"""

_TOGETHER = """
MATCH (r:Product)<-[v:BOUGHT]-(u:User)-[w:BOUGHT]->(p:Product)
WHERE r.product_id = $product AND u.user_id <> $user AND p.product_id <> $product
  AND coalesce(v.first_quantity, 1) > 0 AND coalesce(w.first_quantity, 1) > 0
  AND v.first_at < $before AND w.first_at < $before
RETURN p.product_id AS bought, count(DISTINCT u) AS support
"""
_BUYERS = """
UNWIND $keys AS k MATCH (p:Product)<-[w:BOUGHT]-(u:User) WHERE p.product_id = k
  AND coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before
RETURN p.product_id AS key, count(DISTINCT u) AS users
"""
_ALL_BUYERS = """
MATCH (u:User)-[w:BOUGHT]->(:Product)
WHERE coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before RETURN count(DISTINCT u) AS users
"""
_NEVER = datetime(9999, 1, 1)
LEAST_TOGETHER = 3
"""Fewer users who bought both are no evidence."""

Row = dict[str, Any]
BOUGHT = "BOUGHT"
RATING = "rating"


class Fact(NamedTuple):
    """A relationship that holds, from a product to something that products share."""

    type: str
    label: str


class Lead(NamedTuple):
    """What a user did with something (label) that leads to products by another relationship."""

    event: str
    label: str
    link: str


def facts_of(schema: Schema, product: str = "Product") -> list[Fact]:
    """What products share by the schema; nothing sensitive, nor what training never reads."""
    return [Fact(name, end) for start, name, end in _plain(schema, "fact") if start == product != end]


def events_of(schema: Schema, user: str = "User", product: str = "Product", own: str = BOUGHT) -> list[str]:
    """What users do with products beside buying them, or beside another event of their own."""
    return [n for a, n, b in _plain(schema, "event") if (a, b) == (user, product) and n != own]


def texts_of(schema: Schema, user: str = "User") -> list[EdgeType]:
    """What users do that leads to texts and nothing else, as searching does."""
    return [edge for edge in _plain(schema, "event") if edge[0] == user and schema.is_text(edge[2])]


def leads_of(schema: Schema, user: str = "User", product: str = "Product") -> list[Lead]:
    """What users do with something that leads to products."""
    links = [edge for edge in _plain(schema, "event", "fact") if edge[2] == product and edge[0] != user]
    return [
        Lead(event, label, link)
        for start, event, label in _plain(schema, "event")
        if start == user and label != product
        for source, link, _ in links
        if source == label
    ]


def _plain(schema: Schema, *kinds: Kind) -> list[EdgeType]:
    return [edge for edge in schema.edges(*kinds) if not schema.relationship(edge).sensitive]


class Paths:
    """Reads what explanations are made of; each method is a query per few hundred or thousand keys.

    Args:
        store: an open store.
        before: ratings before it say which are low; None for all.
    """

    own = BOUGHT
    """What a product was recommended by, which `purchases` says."""

    def __init__(self, store: GraphStore, before: datetime | None = None) -> None:
        self._store, self._before = store, before or _NEVER
        self._above: dict[str, float | None] = {}

    def users(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that are users."""
        return {row["key"] for row in self._rows(_USERS_KNOWN, keys)}

    def products(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of `keys` that are products, with their names; the key where there is no title."""
        return {row["key"]: row["name"] or row["key"] for row in self._rows(_PRODUCTS, keys)}

    def catalogue(self) -> int:
        """How many products there are."""
        return int(self._store.query(_COUNT, timeout_s=_TIMEOUT_S)["products"][0].as_py())

    def purchases(self, users: Iterable[str]) -> list[Row]:
        """user, product, first_at, last_at."""
        return self._rows(_PURCHASES, users, page=_USERS)

    def facts(self) -> list[Fact]:
        """What products share."""
        return facts_of(self._store.schema)

    def brands(self, products: Iterable[str]) -> list[Row]:
        """product, via, name, level (0)."""
        return self.shared(Fact("MADE_BY", "Brand"), products)

    def categories(self, products: Iterable[str]) -> list[Row]:
        """product, via, name, level."""
        return self.shared(Fact("IN_CATEGORY", "Category"), products)

    def shared(self, fact: Fact, products: Iterable[str]) -> list[Row]:
        """product, via, name, level: what the products have of it."""
        node = self._store.schema.node(fact.label)
        level = "coalesce(v.level, 0)" if "level" in node.properties else "0"
        return self._rows(
            f"UNWIND $keys AS k MATCH (p:Product)-[:`{fact.type}`]->(v:`{fact.label}`) "
            f"WHERE p.product_id = k RETURN p.product_id AS product, v.`{node.key}` AS via, "
            f"{name_of(node)} AS name, {level} AS level",
            products,
        )

    def sizes(self, fact: Fact, vias: Iterable[str]) -> dict[str, int]:
        """How many products share each."""
        key = self._store.schema.node(fact.label).key
        rows = self._rows(
            f"UNWIND $keys AS k MATCH (v:`{fact.label}`)<-[:`{fact.type}`]-(p:Product) WHERE v.`{key}` = k "
            f"RETURN k AS key, count(p) AS products",
            vias,
        )
        return {row["key"]: row["products"] for row in rows}

    def purchases_of(
        self, fact: Fact, vias: Iterable[str], before: datetime | None, event: str = BOUGHT
    ) -> dict[str, int]:
        """How much of what shares it everybody bought, or did another thing with."""
        key = self._store.schema.node(fact.label).key
        rows = self._rows(
            f"UNWIND $keys AS k MATCH (v:`{fact.label}`)<-[:`{fact.type}`]-(:Product)<-[w:`{event}`]-(:User) "
            f"WHERE v.`{key}` = k AND {self.counted(event)} RETURN k AS key, count(w) AS purchases",
            vias, _PAGE, **self.asked(event, before),
        )  # fmt: skip
        return {row["key"]: row["purchases"] for row in rows}

    def purchases_in_all(self, before: datetime | None, event: str = BOUGHT) -> int:
        """How much everybody bought, or did another thing with."""
        cypher = (
            f"MATCH (:User)-[w:`{event}`]->(:Product) WHERE {self.counted(event)} RETURN count(w) AS events"
        )
        table = self._store.query(cypher, self.asked(event, before), timeout_s=_TIMEOUT_S)
        return int(table["events"][0].as_py())

    def events(self) -> list[str]:
        """What users do with products beside buying them."""
        return events_of(self._store.schema)

    def happened(self, event: str, users: Iterable[str]) -> list[Row]:
        """user, product, at, times of another event, where it was no low rating."""
        edge = self._store.schema.relationship(("User", event, "Product"))
        times = "coalesce(w.`count`, 1)" if "count" in edge.properties else "1"
        return self._rows(
            f"MATCH (u:User)-[w:`{event}`]->(p:Product) WHERE {self._liked(event)}u.user_id IN $keys "
            f"RETURN u.user_id AS user, p.product_id AS product, w.`{edge.time}` AS at, {times} AS times",
            users, page=_USERS, **self._least(event),
        )  # fmt: skip

    def typed(self, edge: EdgeType, user: str) -> list[Row]:
        """key, text, at of the texts that an event leads a user to."""
        node, time = self._store.schema.node(edge[2]), self._store.schema.relationship(edge).time
        return self._rows(
            f"MATCH (u:User)-[w:`{edge[1]}`]->(q:`{edge[2]}`) WHERE u.user_id IN $keys "
            f"RETURN q.`{node.key}` AS key, q.`{node.name}` AS text, w.`{time}` AS at",
            [user],
        )  # fmt: skip

    def times_of(self, event: str, products: Iterable[str], before: datetime | None) -> dict[str, int]:
        """How many users did it with each product."""
        rows = self._rows(
            f"UNWIND $keys AS k MATCH (p:Product)<-[w:`{event}`]-(:User) WHERE p.product_id = k "
            f"AND {self.counted(event)} RETURN k AS key, count(w) AS users",
            products, _PAGE, **self.asked(event, before),
        )  # fmt: skip
        return {row["key"]: row["users"] for row in rows}

    def leads(self) -> list[Lead]:
        """What users do with something that leads to products."""
        return leads_of(self._store.schema)

    def led(self, lead: Lead, users: Iterable[str], products: Iterable[str]) -> list[Row]:
        """user, product, via, name, at, out, into, links.

        `out` is how many products it leads to, `into` what leads to the product so, `links` all such.
        """
        schema = self._store.schema
        node, time = schema.node(lead.label), schema.relationship(("User", lead.event, lead.label)).time
        done = self._rows(
            f"MATCH (u:User)-[w:`{lead.event}`]->(v:`{lead.label}`) WHERE u.user_id IN $keys "
            f"RETURN u.user_id AS user, v.`{node.key}` AS via, {name_of(node)} AS name, "
            f"min(w.`{time}`) AS at",
            users, page=_USERS,
        )  # fmt: skip
        if not done:
            return []
        link = f"(v:`{lead.label}`)-[:`{lead.link}`]->(p:Product)"
        pairs = self._rows(
            f"UNWIND $keys AS k MATCH {link} WHERE p.product_id = k "
            f"RETURN k AS product, v.`{node.key}` AS via",
            products,
        )
        out = self._rows(
            f"UNWIND $keys AS k MATCH {link} WHERE v.`{node.key}` = k RETURN k AS key, count(p) AS n",
            {row["via"] for row in done},
        )
        all_of = self._store.query(f"MATCH {link} RETURN count(*) AS n", timeout_s=_TIMEOUT_S)["n"][0].as_py()
        return joined_leads(done, pairs, {row["key"]: row["n"] for row in out}, int(all_of))

    def counted(self, event: str, label: str = "Product") -> str:
        """Which events `w` count: before `$before`, no purchases that were only returned, no low ratings."""
        time = self._store.schema.relationship(("User", event, label)).time
        returned = "coalesce(w.first_quantity, 1) > 0 AND " if event == BOUGHT else ""
        return f"{returned}{self._liked(event)}w.`{time}` < $before"

    def asked(self, event: str, before: datetime | None) -> dict[str, Parameter]:
        """The parameters of `counted`."""
        return {"before": before or _NEVER, **self._least(event)}

    def above(self, event: str) -> float | None:
        """Halfway between the lowest and the highest rating that products have by an event.

        None where these are no numbers or all the same, and of purchases, of which all count.
        """
        if event not in self._above:
            edge = self._store.schema.relationships[event]
            rating, ends = edge.properties.get(RATING), {"low": None, "high": None}
            numbers = rating is not None and rating.type in ("double", "int64")
            if numbers and ("User", "Product") in edge.endpoints and event != BOUGHT:
                ends = self._store.query(
                    f"MATCH (:User)-[w:`{event}`]->(:Product) WHERE w.`{edge.time}` < $before "
                    f"RETURN min(w.{RATING}) AS low, max(w.{RATING}) AS high",
                    {"before": self._before},
                    timeout_s=_TIMEOUT_S,
                ).to_pylist()[0]
            low, high = ends["low"], ends["high"]
            self._above[event] = None if low is None or low == high else (low + high) / 2
        return self._above[event]

    def _least(self, event: str) -> dict[str, Parameter]:
        above = self.above(event)
        return {} if above is None else {"above": float(above)}

    def _liked(self, event: str) -> str:
        """A condition on `w`, with AND behind it: beside ratings, what has none is no liking."""
        return f"w.{RATING} > $above AND " if self._least(event) else ""

    def also_bought(self, products: Iterable[str]) -> list[Row]:
        """recommended, bought, support, lift."""
        return self._rows(_ALSO_BOUGHT, products)

    def partners(self, products: Iterable[str]) -> dict[str, int]:
        """How many products each is bought together with."""
        return {row["key"]: row["products"] for row in self._rows(_OF_PRODUCT, products)}

    def _rows(self, cypher: str, keys: Iterable[str], page: int = _PAGE, **values: Parameter) -> list[Row]:
        ordered: Sequence[str] = sorted(set(keys))
        found: list[Row] = []
        for start in range(0, len(ordered), page):
            part = ordered[start : start + page]
            table = self._store.query(cypher, {"keys": part, **values}, limit=_ROWS, timeout_s=_TIMEOUT_S)
            found += table.to_pylist()
        return found


class CountedPaths(Paths):
    """As `Paths` where nothing was derived: what is bought together with one product is counted now.

    Args:
        store: an open store.
        user: whom the explanation is for; their own purchases are no evidence.
        product: what is explained.
        before: only purchases first made before it count; None for all.
    """

    def __init__(self, store: GraphStore, user: str, product: str, before: datetime | None) -> None:
        super().__init__(store, before)
        values: dict[str, Parameter] = {"user": user, "product": product, "before": self._before}
        rows = store.query(_TOGETHER, values, limit=_ROWS, timeout_s=_TIMEOUT_S).to_pylist()
        self._product = product
        self._support = {row["bought"]: row["support"] for row in rows if row["support"] >= LEAST_TOGETHER}

    def also_bought(self, products: Iterable[str]) -> list[Row]:
        """recommended, bought, support, lift."""
        if not self._support:
            return []
        known = self._rows(_BUYERS, [self._product, *self._support], before=self._before)
        buyers = {row["key"]: row["users"] for row in known}
        values = {"before": self._before}
        users = self._store.query(_ALL_BUYERS, values, timeout_s=_TIMEOUT_S)["users"][0].as_py()
        return [
            {
                "recommended": self._product,
                "bought": other,
                "support": support,
                "lift": support * users / (buyers[self._product] * buyers[other]),
            }
            for other, support in self._support.items()
        ]

    def partners(self, products: Iterable[str]) -> dict[str, int]:
        """How many products each is bought together with; as many as the explained one."""
        return dict.fromkeys(products, len(self._support))


def joined_leads(done: Sequence[Row], pairs: Sequence[Row], out: Mapping[str, int], links: int) -> list[Row]:
    """What users did with something (user, via, name, at) beside what that leads to (product, via)."""
    into = Counter(row["product"] for row in pairs)
    products: dict[str, list[str]] = defaultdict(list)
    for row in pairs:
        products[row["via"]].append(row["product"])
    return [
        {**row, "product": product, "out": out[row["via"]], "into": into[product], "links": links}
        for row in done
        for product in products[row["via"]]
    ]


def name_of(node: NodeType) -> str:
    """What a person reads of `v`: its path where it has one."""
    shown = [name for name in ("path", node.name) if name in node.properties]
    return f"coalesce({', '.join(f'v.`{name}`' for name in shown)})" if len(shown) > 1 else f"v.`{node.name}`"
