"""What a user cares for, from what the user bought, viewed or searched for beside what everybody does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from kgdistill.explore.explanations import check_known
from kgdistill.explore.paths import BOUGHT, Paths
from kgdistill.explore.properties import Kinds, held, kinds_of_products
from kgdistill.explore.queries import Dialect, dialect_of
from kgdistill.explore.signals import BRAND, CATEGORY, Signal, shares, signals
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import GraphStore
from kgdistill.wording import Language, event_name, language_of, say

_TIMEOUT_S, _ROWS = 120.0, 2_000_000
_LEAST, _CHANCE, _SHOWN = 2, 0.05, 5
"""Fewer products are no interest; nor is what chance would give to one user in so many (Bonferroni)."""
# By quarters of an hour, which time zones are whole numbers of: few, however many moments there are. What
# does not fall on the start of one (sharp) is no date without an hour.
_TIMES = """
MATCH (:User)-[w:`{event}`]->(:`{label}`)
WHERE {counted}
WITH {seconds} AS s
RETURN s - s % 900 AS start, s % 900 = 0 AS sharp, count(*) AS bought
"""
_SECONDS: dict[Dialect, str] = {
    "ladybug": "to_epoch_ms(w.`{time}`) / 1000",
    "neo4j": "w.`{time}`.epochSeconds",
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
    """Something of which a user buys more than others, or views, rates or searches for more.

    Attributes:
        key, name: of the category or brand; of a time both are its name; of a property its value, and both.
        products: how many of the user's purchases (a product counts once), or of another event's; of
            searches how many texts name it.
        share, usual: theirs among the user's and among everybody's.
        lift: share / usual.
        event: what was done.
        property: of products, whose value it is; else empty.
    """

    key: str
    name: str
    products: int
    share: float
    usual: float
    lift: float
    event: str = BOUGHT
    property: str = ""


@dataclass(frozen=True)
class Interests:
    """What is known of a user's taste.

    Attributes:
        user: the key.
        products: how many were bought.
        first_at, last_at: of the purchases, naive UTC.
        categories, brands, times: of each event the strongest evidence first, of purchases before all
            others; none where nothing stands out.
        price_level: where the products stand among those of their categories; None without prices.
        price_share: the mean share of these that cost less, from 0 to 1.
        before: later events were left out.
        others: how much else was done, by event, such as how many products were viewed.
        searches: of events that lead to texts alone, such as searches, the last texts.
        above: of events with ratings, the middle of these; what was not rated above it counts nowhere.
        properties: values that products share, such as a colour or a language; as `categories`.
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
    others: Mapping[str, int] = field(default_factory=dict)
    searches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    above: Mapping[str, float] = field(default_factory=dict)
    properties: tuple[Interest, ...] = ()

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
        done = {**({BOUGHT: self.products} if self.products else {}), **self.others}
        if not done and self.before is not None:
            return say("nothing bought before", told, user=self.user, before=f"{self.before:%Y-%m-%d}")
        if not done:
            return say("nothing bought", told, user=self.user)
        clauses = [self._clause(event, count, told) for event, count in done.items()]
        return say("who", told, user=self.user, did=say("semicolon", told).join(clauses)) + say("stop", told)

    def _clause(self, event: str, count: int, told: Language) -> str:
        """What was done of one kind, and what of it more than others do."""
        bought, typed = event == BOUGHT, self.searches.get(event, ())
        did = "did above" if event in self.above else "did"
        if typed:
            did = "did searches" if event == "SEARCHED" else "did texts"
        above = f"{self.above.get(event, 0):g}"
        s = "" if count == 1 else "s"
        parts = [say(did, told, event=event_name(event, told), products=count, above=above, s=s)]
        for message, some in (("mostly", self.categories), ("of brands", self.brands)):
            names = [f"{i.name.split(' > ')[-1]} ({i.lift:.1f}×)" for i in some if i.event == event][:3]
            if names:
                named = say("comma", told).join(names)
                parts.append(say(message if bought else f"{message} done", told, names=named))
        if chosen := [f"{i.name} ({i.lift:.1f}×)" for i in self.properties if i.event == event][:3]:
            parts.append(say("of kinds", told, names=say("comma", told).join(chosen)))
        if bought and self.price_level is not None:
            parts.append(say(f"{self.price_level} prices", told))
        times = [i for i in self.times if i.event == event]
        most = next((i for i in times if i.share > 0.5), None)
        if times:
            message = "at times" if most else "more at times"
            named = say((most or times[0]).name, told)
            parts.append(say(message if bought else f"{message} done", told, names=named))
        if typed:
            parts.append(say("typed last", told, names=say("comma", told).join(typed[:3])))
        return say("comma", told).join(parts)


def interests(
    store: GraphStore, user: str, *, limit: int = 5, before: datetime | None = None, zone: str = "UTC"
) -> Interests:
    """What a user buys, views, rates or searches for more than others do.

    Each kind of event is held against everybody's of its kind. A category, brand, time or value of a property
    (`kinds_of_products`) is named where so many of the user's, drawn with everybody's share, were less likely
    than 5 %, divided by how many there are of its kind, by how many kinds of events the user has, and for
    values by how many properties there are. A search counts for the categories and brands
    whose names stand in it, and a rating where it lies above the middle of all.

    Args:
        store: an open store.
        user: the key.
        limit: at most this many of each kind, of each event.
        before: only what was first done before this time counts; naive is UTC.
        zone: in which days begin.

    Raises:
        InputError: there is no such user; ids near it are named.
        StoreError: from the store.
    """
    until = naive_utc(before) if before is not None else datetime(9999, 1, 1)
    paths = Paths(store, until)
    check_known(store, "User", "user_id", {user}, paths.users([user]))
    every = signals(paths, store.schema, user, until if before is not None else None)
    found: dict[str, tuple[Interest, ...]] = {"categories": (), "brands": (), "times": (), "properties": ()}
    kinds = kinds_of_products(store)
    for signal in every:
        named = partial(_standing_out, event=signal.event, tests=len(every))
        told = shares(store, paths, signal, (CATEGORY, BRAND), until)
        for kind, some in zip(("categories", "brands"), told, strict=True):
            found[kind] += named(*some, limit)
        found["times"] += _times(store, paths, signal, until, zone, named)[:limit]
        if not signal.texts:
            found["properties"] += _properties(store, paths, signal, kinds, until, len(every))[:limit]
    bought = next((signal.at for signal in every if signal.event == BOUGHT), {})
    known = [at for at in bought.values() if at is not None]
    price = _price_share(store, list(bought)) if bought else None
    return Interests(
        user,
        len(bought),
        min(known, default=None),
        max(known, default=None),
        found["categories"],
        found["brands"],
        found["times"],
        None if price is None else "low" if price < 1 / 3 else "high" if price > 2 / 3 else "middle",
        price,
        None if before is None else until,
        {signal.event: len(signal.at) for signal in every if signal.event != BOUGHT},
        {signal.event: signal.latest(_SHOWN) for signal in every if signal.texts},
        {s.event: above for s in every if not s.texts and (above := paths.above(s.event)) is not None},
        found["properties"],
    )


def _properties(
    store: GraphStore, paths: Paths, signal: Signal, kinds: list[Kinds], until: datetime, events: int
) -> tuple[Interest, ...]:
    """The values of products' properties that stand out, the greatest lift first."""
    found: list[Interest] = []
    for kind in kinds:
        some = held(store, paths, signal, kind, until)
        # What lists values mostly says itself what they are.
        names = {
            value: value if kind.lists else f"{kind.name.replace('_', ' ')} {value}" for value in some.mine
        }
        known = _standing_out(
            some.mine, some.everybody, names, len(names), event=signal.event, tests=events * len(kinds),
            of=some.total,
        )  # fmt: skip
        found += [replace(interest, property=kind.name) for interest in known]
    return tuple(sorted(found, key=lambda interest: -interest.lift))


def _times(
    store: GraphStore,
    paths: Paths,
    signal: Signal,
    until: datetime,
    zone: str,
    named: Callable[..., tuple[Interest, ...]],
) -> tuple[Interest, ...]:
    """The days of the week and hours that stand out, the greatest lift first."""
    known = [at for at in signal.at.values() if at is not None]
    if not known:
        return ()
    event, label = signal.event, signal.label
    time = store.schema.relationship(("User", event, label)).time
    cypher = _TIMES.format(
        event=event, label=label, counted=paths.counted(event, label),
        seconds=_SECONDS[dialect_of(store)].format(time=time),
    )  # fmt: skip
    table = store.query(cypher, paths.asked(event, until), limit=_ROWS, timeout_s=_TIMEOUT_S)
    usual: Counter[str] = Counter()
    for row in table.to_pylist():
        at = datetime(1970, 1, 1) + timedelta(seconds=row["start"] + (not row["sharp"]))
        usual.update(dict.fromkeys(_parts(at, zone), row["bought"]))
    counts = Counter(name for at in known for name in _parts(at, zone))
    found: tuple[Interest, ...] = ()
    # A day and an hour are each a whole of its own.
    for names in (("weekday", "weekend"), tuple(_PARTS)):
        some, all_ = (Counter({n: c[n] for n in names if c[n]}) for c in (counts, usual))
        found += named(some, all_, {n: n for n in names}, len(names))
    return tuple(sorted(found, key=lambda interest: -interest.lift))


def _standing_out(
    counts: Counter[str],
    usual: Counter[str],
    names: Mapping[str, str],
    limit: int,
    *,
    event: str = BOUGHT,
    tests: int = 1,
    of: tuple[int, int] | None = None,
) -> tuple[Interest, ...]:
    """Those of which the user did more than chance gives, the least likely first.

    `tests` is how often else the same is asked, and `of` what shares are of, where one may have several.
    """
    total, all_ = of or (counts.total(), usual.total())
    found = []
    for key, count in counts.items():
        if count < _LEAST or not usual[key]:
            continue
        share, common = count / total, usual[key] / all_
        chance = tests * len(usual) * _at_least(count, total, common)
        if share > common and chance < _CHANCE:
            found.append((chance, Interest(key, names[key], count, share, common, share / common, event)))
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
