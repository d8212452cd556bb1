"""What the types of a schema stand for in a shop's graph: by their names, else by their kinds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema

_USERS = ("user", "customer", "household", "member", "person", "shopper")
_PRODUCTS = ("product", "item", "article")
_BRANDS = ("brand", "manufacturer", "maker", "vendor")
_CATEGORIES = ("category", "department", "class", "producttype")
_PARENTS = frozenset(
    {"PART_OF", "CHILD_OF", "SUBCATEGORY_OF", "SUBCLASS_OF", "IS_A", "PARENT", "HAS_PARENT", "BELONGS_TO"}
)


@dataclass(frozen=True)
class Roles:
    """Labels and edge types by what they stand for; None or empty where the schema has none.

    Attributes:
        user, product, brand: labels.
        brand_edges: from the product to its brand.
        category_edges: from the product to a category, or to what stands above the categories.
        tree_edges: from a node of a tree to its parent.
    """

    user: str | None
    product: str | None
    brand: str | None
    brand_edges: tuple[EdgeType, ...]
    category_edges: tuple[EdgeType, ...]
    tree_edges: tuple[EdgeType, ...]


def roles_of(schema: Schema) -> Roles:
    """The roles that `schema` lets one see."""
    events = schema.edges("event")
    user = _named(schema, _USERS) or _commonest(edge[0] for edge in events)
    product = _named(schema, _PRODUCTS) or _commonest(edge[2] for edge in events)
    facts = schema.edges("fact")
    brand = _named(schema, _BRANDS)
    category = _named(schema, _CATEGORIES)
    trees = {edge[1:] for edge in facts if edge[0] == edge[2] and _is_tree(edge, category)}
    rooted = {label for _, label in trees}
    tree_edges = tuple(edge for edge in facts if edge[0] in rooted and (edge[1], edge[0]) in trees)
    above = {edge[2] for edge in tree_edges} | ({category} if category else set())
    return Roles(
        user=user,
        product=product,
        brand=brand,
        brand_edges=tuple(e for e in facts if e[0] == product and e[2] == brand),
        category_edges=tuple(e for e in facts if e[0] == product and e[2] in above),
        tree_edges=tree_edges,
    )


def _is_tree(edge: EdgeType, category: str | None) -> bool:
    return edge[1].upper() in _PARENTS or edge[0] == category


def _named(schema: Schema, names: tuple[str, ...]) -> str | None:
    folded = {label.casefold(): label for label in schema.nodes}
    return next((folded[name] for name in names if name in folded), None)


def _commonest(labels: object) -> str | None:
    counted = Counter(labels).most_common(1)  # type: ignore[call-overload]
    return counted[0][0] if counted else None
