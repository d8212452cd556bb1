"""The Cypher behind explanations: purchases and the links of products, for many users at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from kgdistill.store.protocol import GraphStore, Parameter

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
_BRANDS = """
UNWIND $keys AS k MATCH (p:Product)-[:MADE_BY]->(v:Brand) WHERE p.product_id = k
RETURN p.product_id AS product, v.brand_id AS via, v.name AS name, 0 AS level
"""
_CATEGORIES = """
UNWIND $keys AS k MATCH (p:Product)-[:IN_CATEGORY]->(v:Category) WHERE p.product_id = k
RETURN p.product_id AS product, v.category_id AS via, coalesce(v.path, v.name) AS name,
       coalesce(v.level, 0) AS level
"""
_OF_BRAND = """
UNWIND $keys AS k MATCH (v:Brand)<-[:MADE_BY]-(p:Product) WHERE v.brand_id = k
RETURN v.brand_id AS key, count(p) AS products
"""
_OF_CATEGORY = """
UNWIND $keys AS k MATCH (v:Category)<-[:IN_CATEGORY]-(p:Product) WHERE v.category_id = k
RETURN v.category_id AS key, count(p) AS products
"""
_THROUGH = {
    kind: f"""
UNWIND $keys AS k MATCH (v:{label})<-[:{kind}]-(:Product)<-[w:BOUGHT]-(:User) WHERE v.{key} = k
  AND coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before
RETURN k AS key, count(w) AS purchases
"""
    for kind, label, key in (("MADE_BY", "Brand", "brand_id"), ("IN_CATEGORY", "Category", "category_id"))
}
_ALL_PURCHASES = """
MATCH (:User)-[w:BOUGHT]->(:Product)
WHERE coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before RETURN count(w) AS purchases
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
Fact = Literal["MADE_BY", "IN_CATEGORY"]


class Paths:
    """Reads what explanations are made of; each method is a query per few hundred or thousand keys."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store

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

    def brands(self, products: Iterable[str]) -> list[Row]:
        """product, via, name, level (0)."""
        return self._rows(_BRANDS, products)

    def categories(self, products: Iterable[str]) -> list[Row]:
        """product, via, name, level."""
        return self._rows(_CATEGORIES, products)

    def brand_sizes(self, brands: Iterable[str]) -> dict[str, int]:
        """How many products each brand has."""
        return {row["key"]: row["products"] for row in self._rows(_OF_BRAND, brands)}

    def category_sizes(self, categories: Iterable[str]) -> dict[str, int]:
        """How many products stand in each category itself."""
        return {row["key"]: row["products"] for row in self._rows(_OF_CATEGORY, categories)}

    def purchases_of(self, kind: Fact, vias: Iterable[str], before: datetime | None) -> dict[str, int]:
        """How much of each brand or category everybody bought."""
        known = self._rows(_THROUGH[kind], vias, before=before or _NEVER)
        return {row["key"]: row["purchases"] for row in known}

    def purchases_in_all(self, before: datetime | None) -> int:
        """How much everybody bought."""
        values = {"before": before or _NEVER}
        return int(self._store.query(_ALL_PURCHASES, values, timeout_s=_TIMEOUT_S)["purchases"][0].as_py())

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
        super().__init__(store)
        self._before = before or _NEVER
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
