"""What a user cares for, from what the user bought beside what everybody buys."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from kgdistill.explore.explanations import check_known
from kgdistill.explore.paths import Paths
from kgdistill.explore.queries import Dialect, dialect_of
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import GraphStore
from kgdistill.wording import Language, language_of, say

_TIMEOUT_S, _ROWS = 120.0, 2_000_000
_LEAST, _CHANCE = 2, 0.05
"""Fewer products are no interest; nor is what chance would give to one user in so many (Bonferroni)."""
_CATEGORY_SHARES = """
MATCH (:User)-[w:BOUGHT]->(:Product)-[:IN_CATEGORY]->(v:Category)
WHERE coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before
RETURN v.category_id AS key, count(*) AS bought
"""
_BRAND_SHARES = """
MATCH (:User)-[w:BOUGHT]->(:Product)-[:MADE_BY]->(v:Brand)
WHERE coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before
RETURN v.brand_id AS key, count(*) AS bought
"""
# By quarters of an hour, which time zones are whole numbers of: few, however many moments there are. What
# does not fall on the start of one (sharp) is no date without an hour.
_TIMES = """
MATCH (:User)-[w:BOUGHT]->(:Product)
WHERE coalesce(w.first_quantity, 1) > 0 AND w.first_at < $before
WITH {seconds} AS s
RETURN s - s % 900 AS start, s % 900 = 0 AS sharp, count(*) AS bought
"""
_SECONDS: dict[Dialect, str] = {
    "ladybug": "to_epoch_ms(w.first_at) / 1000",
    "neo4j": "w.first_at.epochSeconds",
}
# Two patterns: in one Neo4j would not come back to the product itself.
_PRICES = """
UNWIND $keys AS k MATCH (p:Product)-[:IN_CATEGORY]->(v:Category)
WHERE p.product_id = k AND p.price IS NOT NULL
MATCH (v)<-[:IN_CATEGORY]-(o:Product) WHERE o.price IS NOT NULL
RETURN k AS product, sum(CASE WHEN o.price < p.price THEN 1 ELSE 0 END) AS below,
       sum(CASE WHEN o.price = p.price THEN 1 ELSE 0 END) AS level, count(o) AS products
"""

PriceLevel: TypeAlias = Literal["low", "middle", "high"]
_PARTS = {"night": range(0, 6), "morning": range(6, 12), "afternoon": range(12, 18), "evening": range(18, 24)}


@dataclass(frozen=True)
class Interest:
    """Something of which a user buys more than others.

    Attributes:
        key, name: of the category or brand; of a time both are its name.
        products: how many of the user's purchases (a product counts once).
        share, usual: theirs among the user's and among everybody's.
        lift: share / usual.
    """

    key: str
    name: str
    products: int
    share: float
    usual: float
    lift: float


@dataclass(frozen=True)
class Interests:
    """What is known of a user's taste.

    Attributes:
        user: the key.
        products: how many were bought.
        first_at, last_at: of the purchases, naive UTC.
        categories, brands, times: the strongest evidence first; none where nothing stands out.
        price_level: where the products stand among those of their categories; None without prices.
        price_share: the mean share of these that cost less, from 0 to 1.
        before: later purchases were left out.
    """

    user: str
    products: int
    first_at: datetime | None
    last_at: datetime | None
    categories: tuple[Interest, ...]
    brands: tuple[Interest, ...]
    times: tuple[Interest, ...]
    price_level: PriceLevel | None
    price_share: float | None
    before: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: times as ISO text."""
        told = asdict(self)
        for name in ("first_at", "last_at", "before"):
            told[name] = told[name] and told[name].isoformat()
        return told

    def sentence(self, language: Language | None = None) -> str:
        """One sentence; None: in the language of the first category or brand."""
        named = [interest.name for interest in (*self.categories, *self.brands)]
        told = language or (language_of(named[0]) if named else "en")
        if not self.products and self.before is not None:
            return say("nothing bought before", told, user=self.user, before=f"{self.before:%Y-%m-%d}")
        if not self.products:
            return say("nothing bought", told, user=self.user)
        parts = [say("buys", told, user=self.user, products=self.products)]
        for message, some in (("mostly", self.categories), ("of brands", self.brands)):
            if some:
                names = [f"{i.name.split(' > ')[-1]} ({i.lift:.1f}×)" for i in some[:3]]
                parts.append(say(message, told, names=say("comma", told).join(names)))
        if self.price_level is not None:
            parts.append(say(f"{self.price_level} prices", told))
        most = next((i for i in self.times if i.share > 0.5), None)
        if self.times:
            message = "at times" if most else "more at times"
            parts.append(say(message, told, names=say((most or self.times[0]).name, told)))
        return say("comma", told).join(parts) + say("stop", told)


def interests(
    store: GraphStore, user: str, *, limit: int = 5, before: datetime | None = None, zone: str = "UTC"
) -> Interests:
    """What a user buys more of than others do.

    A category, brand or time is named where so many purchases of it, drawn with everybody's share, were less
    likely than 5 % divided by how many there are of its kind.

    Args:
        store: an open store.
        user: the key.
        limit: at most this many of each kind.
        before: only purchases first made before this time count; naive is UTC.
        zone: in which days begin.

    Raises:
        InputError: there is no such user; ids near it are named.
        StoreError: from the store.
    """
    paths = Paths(store)
    check_known(store, "User", "user_id", {user}, paths.users([user]))
    until = naive_utc(before) if before is not None else datetime(9999, 1, 1)
    rows = paths.purchases([user])
    if before is not None:
        rows = [row for row in rows if row["first_at"] is not None and row["first_at"] < until]
    mine: dict[str, datetime | None] = {row["product"]: row["first_at"] for row in rows}
    known = [at for at in mine.values() if at is not None]

    def everybody(cypher: str) -> Counter[str]:
        table = store.query(cypher, {"before": until}, limit=_ROWS, timeout_s=_TIMEOUT_S)
        return Counter(dict(zip(table["key"].to_pylist(), table["bought"].to_pylist(), strict=True)))

    def of(
        read: Callable[[Iterable[str]], list[dict[str, Any]]], usual: Counter[str]
    ) -> tuple[Interest, ...]:
        found = read(mine)
        names = {row["via"]: row["name"] or row["via"] for row in found}
        counts = Counter(row["via"] for row in found)
        return _standing_out(counts, usual, names, limit)

    price = _price_share(store, list(mine)) if mine else None
    return Interests(
        user,
        len(mine),
        min(known, default=None),
        max(known, default=None),
        of(paths.categories, everybody(_CATEGORY_SHARES)) if mine else (),
        of(paths.brands, everybody(_BRAND_SHARES)) if mine else (),
        _times(store, known, until, zone)[:limit],
        None if price is None else "low" if price < 1 / 3 else "high" if price > 2 / 3 else "middle",
        price,
        None if before is None else until,
    )


def _times(store: GraphStore, known: list[datetime], until: datetime, zone: str) -> tuple[Interest, ...]:
    """The days of the week and hours that stand out, the greatest lift first."""
    if not known:
        return ()
    cypher = _TIMES.format(seconds=_SECONDS[dialect_of(store)])
    table = store.query(cypher, {"before": until}, limit=_ROWS, timeout_s=_TIMEOUT_S)
    usual: Counter[str] = Counter()
    for row in table.to_pylist():
        at = datetime(1970, 1, 1) + timedelta(seconds=row["start"] + (not row["sharp"]))
        usual.update(dict.fromkeys(_parts(at, zone), row["bought"]))
    counts = Counter(name for at in known for name in _parts(at, zone))
    found: tuple[Interest, ...] = ()
    # A day and an hour are each a whole of its own.
    for names in (("weekday", "weekend"), tuple(_PARTS)):
        some, all_ = (Counter({n: c[n] for n in names if c[n]}) for c in (counts, usual))
        found += _standing_out(some, all_, {n: n for n in names}, len(names))
    return tuple(sorted(found, key=lambda interest: -interest.lift))


def _standing_out(
    counts: Counter[str], usual: Counter[str], names: dict[str, str], limit: int
) -> tuple[Interest, ...]:
    """Those of which the user bought more than chance gives, the least likely first."""
    total, all_ = counts.total(), usual.total()
    found = []
    for key, count in counts.items():
        if count < _LEAST or not usual[key]:
            continue
        share, common = count / total, usual[key] / all_
        chance = len(usual) * _at_least(count, total, common)
        if share > common and chance < _CHANCE:
            found.append((chance, Interest(key, names[key], count, share, common, share / common)))
    found.sort(key=lambda pair: (pair[0], pair[1].key))
    return tuple(interest for _, interest in found[:limit])


def _at_least(count: int, total: int, share: float) -> float:
    """How likely at least so many of all are, each with a probability of `share`: the tail of a binomial."""
    if share >= 1:
        return 1.0
    log, rest, whole = math.log(share), math.log1p(-share), math.lgamma(total + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(n + 1) - math.lgamma(total - n + 1) + n * log + (total - n) * rest)
        for n in range(count, total + 1)
    )


def _price_share(store: GraphStore, products: list[str]) -> float | None:
    """The mean share of a category's products that cost less than one that was bought.

    None where no category has two prices to compare.
    """
    table = store.query(_PRICES, {"keys": sorted(products)}, limit=_ROWS, timeout_s=_TIMEOUT_S)
    rows = [row for row in table.to_pylist() if row["level"] < row["products"]]
    shares = [(row["below"] + row["level"] / 2) / row["products"] for row in rows]
    return sum(shares) / len(shares) if shares else None


def _parts(at: datetime | None, zone: str) -> list[str]:
    if at is None:
        return []
    local = at.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(zone))
    day = "weekend" if local.weekday() >= 5 else "weekday"
    # Dates alone say nothing of the hour.
    if local.hour == local.minute == local.second == 0:
        return [day]
    return [day, next(name for name, hours in _PARTS.items() if local.hour in hours)]
