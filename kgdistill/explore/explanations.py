"""Why a product was recommended to a user: the typed paths of the graph that lead from one to the other."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from kgdistill.errors import InputError
from kgdistill.explore.paths import CountedPaths, Fact, Paths, Row
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import GraphStore
from kgdistill.wording import Language, language_of, say

if TYPE_CHECKING:
    from kgdistill.explore.frozen_paths import FrozenPaths

Kind = Literal["MADE_BY", "IN_CATEGORY", "ALSO_BOUGHT", "NONE"]


class PathNode(NamedTuple):
    """A node on a path; `name` is what a person reads."""

    label: str
    key: str
    name: str


class PathLink(NamedTuple):
    """A relationship on a path; `forward` where it leads the way the path is read."""

    type: str
    forward: bool


Steps: TypeAlias = tuple[PathNode | PathLink, ...]
_Read: TypeAlias = Callable[[Iterable[str]], list[Row]]
_Count: TypeAlias = Callable[[Iterable[str]], dict[str, int]]


@dataclass(frozen=True)
class Explanation:
    """One typed path from a user to a recommended product.

    Attributes:
        user, product: the two ends' keys.
        kind: what links the product that was bought to the recommended one.
        steps: node, relationship, node, …, from the user to the product.
        because: the path in words.
        specificity: from 0 (it could have led to any product) to 1 (to this one alone):
            1 - log(n) / log(N) for n products behind the link and N in all, where n is divided by
            lift * (1 - 1 / sqrt(support)): a lift that few purchases carry weighs less.
        products: n: of the brand, in the category, or bought together with either of the two products.
        lift: how many times the chance share: of the brand or category among the user's purchases against
            everybody's (support: `purchases`), or of one product's buyers among the other's (support: users
            who bought both). What is no more than chance explains nothing. None without a path.
        bought_at: the last purchase on this path; where it is not before `before`, the first. Naive UTC.
        purchases: how many products the user bought that lead along this brand or category.
    """

    user: str
    product: str
    kind: Kind
    steps: Steps
    because: str
    specificity: float
    products: int
    lift: float | None
    bought_at: datetime | None
    purchases: int

    def __str__(self) -> str:
        return self.because

    def to_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text, steps as lists."""
        steps = [
            {"label": s.label, "key": s.key, "name": s.name}
            if isinstance(s, PathNode)
            else {"relationship": s.type, "forward": s.forward}
            for s in self.steps
        ]
        return {
            "user": self.user,
            "product": self.product,
            "kind": self.kind,
            "because": self.because,
            "specificity": self.specificity,
            "products": self.products,
            "lift": self.lift,
            "bought_at": self.bought_at.isoformat() if self.bought_at is not None else None,
            "purchases": self.purchases,
            "steps": steps,
        }


def explain(
    store: GraphStore,
    user: str,
    product: str,
    *,
    limit: int = 5,
    before: datetime | None = None,
    language: Language | None = None,
) -> list[Explanation]:
    """The paths from what `user` bought to `product`, the most telling first.

    Paths are: bought -> same brand, bought -> same category (the deepest one) and bought -> bought
    together, as derived; where none of these leads there, what is bought together is counted now. The
    user's own purchase of `product` is never on one. Paths through one brand or category are one
    explanation, which names the latest purchase; one of which the user buys no more than everybody is none.
    Ordered by specificity, then by how recent the purchase is, then by kind and keys.

    Args:
        store: an open store.
        user, product: keys.
        limit: at most this many.
        before: only purchases first made before this time count; naive is UTC.
        language: of `because`; None for that of the product's name.

    Returns:
        Explanations; none where no path leads there.

    Raises:
        InputError: there is no such user or product; ids near it are named. `limit` is below 1.
        StoreError: from the store.
    """
    pair = (user, product)
    found = explain_many(store, [pair], limit=limit, before=before, language=language)[pair]
    if found:
        return found
    before = before and naive_utc(before)
    counted = CountedPaths(store, user, product, before)
    return along(counted, [pair], counted.products([product]), limit, before, language)[pair]


def explain_many(
    store: GraphStore,
    pairs: Iterable[tuple[str, str]],
    *,
    limit: int = 5,
    before: datetime | None = None,
    language: Language | None = None,
) -> dict[tuple[str, str], list[Explanation]]:
    """`explain` for many (user, product) pairs, with about ten queries for all of a page of them."""
    wanted = list(dict.fromkeys(pairs))
    if limit < 1:
        raise InputError(f"limit is {limit}; it is at least 1")
    if not wanted:
        return {}
    before = before and naive_utc(before)
    paths = Paths(store)
    users = {user for user, _ in wanted}
    recommended = {product for _, product in wanted}
    check_known(store, "User", "user_id", users, paths.users(users))
    names = paths.products(recommended)
    check_known(store, "Product", "product_id", recommended, names)
    return along(paths, wanted, names, limit, before, language)


def along(
    paths: Paths | FrozenPaths,
    wanted: list[tuple[str, str]],
    names: dict[str, str],
    limit: int,
    before: datetime | None,
    language: Language | None = None,
) -> dict[tuple[str, str], list[Explanation]]:
    """The explanations of every pair of `wanted`, whose products are all in `names`."""
    users = {user for user, _ in wanted}
    recommended = {product for _, product in wanted}
    bought = _purchases(paths, users, before)
    purchased = {product for rows in bought.values() for product in rows}
    links: list[_Links] = []
    facts: list[tuple[Fact, str, _Read, _Count]] = [
        ("MADE_BY", "Brand", paths.brands, paths.brand_sizes),
        ("IN_CATEGORY", "Category", paths.categories, paths.category_sizes),
    ]
    for kind, label, read, sizes in facts:
        of_recommended = _deepest(read(recommended))
        vias = {row["via"]: row["name"] or row["via"] for row in of_recommended}
        # Members that nobody here bought lead nowhere, so the purchases are asked for, not the vias.
        members = [row for row in read(purchased) if row["via"] in vias]
        usual = paths.purchases_of(kind, {row["via"] for row in members}, before)
        links.append(_Links(kind, label, of_recommended, members, vias, sizes(vias), usual))
    in_all = paths.purchases_in_all(before) if any(link.usual for link in links) else 0
    together = [
        row for row in paths.also_bought(recommended) if row["bought"] in purchased and row["lift"] > 1
    ]
    partners = paths.partners([*(row["bought"] for row in together), *(r["recommended"] for r in together)])
    on_paths = {row["product"] for link in links for row in link.members} | {r["bought"] for r in together}
    names |= paths.products(on_paths - names.keys())
    catalogue = paths.catalogue()

    by_recommended: dict[str, list[Row]] = defaultdict(list)
    for row in together:
        by_recommended[row["recommended"]].append(row)
    result: dict[tuple[str, str], list[Explanation]] = {}
    for user, product in wanted:
        told = language or language_of(names[product])
        context = _Context(user, product, bought.get(user, {}), names, catalogue, in_all, told)
        found = [e for link in links for e in _through(context, link)]
        found += _together(context, by_recommended[product], partners)
        result[(user, product)] = sorted(found, key=_order)[:limit]
    return result


class _Links:
    """One kind of fact around the recommended and the purchased products."""

    def __init__(
        self,
        kind: Fact,
        label: str,
        of_recommended: list[Row],
        members: list[Row],
        names: dict[str, str],
        sizes: dict[str, int],
        usual: dict[str, int],
    ) -> None:
        self.kind, self.label, self.names, self.sizes, self.members = kind, label, names, sizes, members
        self.usual = usual
        self.of: dict[str, list[str]] = defaultdict(list)
        for row in of_recommended:
            self.of[row["product"]].append(row["via"])
        self.inside: dict[str, list[str]] = defaultdict(list)
        for row in members:
            self.inside[row["via"]].append(row["product"])


@dataclass(frozen=True)
class _Context:
    user: str
    product: str
    bought: dict[str, datetime | None]
    names: dict[str, str]
    catalogue: int
    in_all: int
    language: Language

    def node(self, product: str) -> PathNode:
        return PathNode("Product", product, self.names.get(product, product))

    def start(self) -> PathNode:
        return PathNode("User", self.user, self.user)

    def specificity(self, products: int, lift: float) -> float:
        if self.catalogue < 2:
            return 0.0
        reached = max(products / max(lift, 1.0), 1.0)
        return max(0.0, 1.0 - math.log(reached) / math.log(self.catalogue))


def check_known(store: GraphStore, label: str, key: str, wanted: set[str], known: Iterable[str]) -> None:
    """Refuses keys that are no node's.

    Raises:
        InputError: with ids near the first unknown one.
    """
    unknown = sorted(wanted - set(known))
    if not unknown:
        return
    keys: Sequence[str] = sorted(store.read_nodes(label, [])[key].to_pylist())
    near = difflib.get_close_matches(unknown[0], keys, n=3, cutoff=0.5)
    hint = f"near it are: {', '.join(near)}" if near else f"the store holds {len(keys):,} of them"
    raise InputError(f"there is no {label} with the id {unknown[0]!r}", where=store.url, hint=hint)


def _purchases(
    paths: Paths | FrozenPaths, users: Iterable[str], before: datetime | None
) -> dict[str, dict[str, datetime | None]]:
    found: dict[str, dict[str, datetime | None]] = defaultdict(dict)
    for row in paths.purchases(users):
        if before is None:
            found[row["user"]][row["product"]] = row["last_at"] or row["first_at"]
        elif row["first_at"] is not None and row["first_at"] < before:
            # last_at may lie after `before`: then the first purchase is the last that is known.
            last = row["last_at"]
            found[row["user"]][row["product"]] = last if last and last < before else row["first_at"]
    return found


def _deepest(rows: list[Row]) -> list[Row]:
    depth: dict[str, int] = {}
    for row in rows:
        depth[row["product"]] = max(depth.get(row["product"], 0), row["level"])
    return [row for row in rows if row["level"] == depth[row["product"]]]


def _recency(at: datetime | None) -> float:
    return -(at - datetime(1970, 1, 1)).total_seconds() if at is not None else math.inf


def _order(explanation: Explanation) -> tuple[float, float, str, Steps]:
    return (
        -explanation.specificity,
        _recency(explanation.bought_at),
        explanation.kind,
        explanation.steps,
    )


def _through(context: _Context, links: _Links) -> list[Explanation]:
    """Explanations through the brands or categories of the recommended product."""
    found: list[Explanation] = []
    others = len(context.bought.keys() - {context.product})
    for via in links.of[context.product]:
        members = [p for p in links.inside[via] if p in context.bought and p != context.product]
        # What nobody had before the cut counts as had once.
        usual = max(links.usual.get(via, context.in_all), 1) / max(context.in_all, 1)
        lift = len(members) / others / usual if members else 0.0
        if lift <= 1:
            continue
        latest = min(members, key=lambda p: (_recency(context.bought[p]), p))
        name, size = links.names[via], links.sizes[via]
        steps: Steps = (
            context.start(),
            PathLink("BOUGHT", True),
            context.node(latest),
            PathLink(links.kind, True),
            PathNode(links.label, via, name),
            PathLink(links.kind, False),
            context.node(context.product),
        )
        told, count = context.language, len(members)
        more = say("and more", told, count=count - 1, all=count) if count > 1 else ""
        item = context.names.get(latest, latest)
        message = "brand" if links.kind == "MADE_BY" else "category"
        because = say(message, told, item=item, more=more, name=name)
        found.append(
            Explanation(
                context.user,
                context.product,
                links.kind,
                steps,
                because,
                context.specificity(size, lift * (1 - count**-0.5)),
                size,
                lift,
                context.bought[latest],
                len(members),
            )
        )
    return found


def _together(context: _Context, rows: list[Row], partners: dict[str, int]) -> list[Explanation]:
    found: list[Explanation] = []
    for row in rows:
        other = row["bought"]
        if other not in context.bought or other == context.product:
            continue
        # The relationship leads from the smaller key to the larger.
        steps: Steps = (
            context.start(),
            PathLink("BOUGHT", True),
            context.node(other),
            PathLink("ALSO_BOUGHT", other < context.product),
            context.node(context.product),
        )
        item = context.names.get(other, other)
        size = max(partners[other], partners[context.product])
        sure = row["lift"] * (1 - row["support"] ** -0.5)
        because = say("together", context.language, item=item, support=row["support"], lift=row["lift"])
        found.append(
            Explanation(
                context.user,
                context.product,
                "ALSO_BOUGHT",
                steps,
                because,
                context.specificity(size, sure),
                size,
                row["lift"],
                context.bought[other],
                1,
            )
        )
    return found
