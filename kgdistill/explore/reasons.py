"""What becomes of the rows around a user and a product: typed paths with their evidence, in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from kgdistill.explore.explanation import Explanation, PathLink, PathNode, Steps
from kgdistill.explore.paths import BOUGHT, Fact, Lead, Row
from kgdistill.wording import Language, event_name, say

Weigh: TypeAlias = Callable[[str, str, Sequence[tuple[str, ...]]], Sequence[float]]
"""Of a user, a product and purchases that are taken out together: which share of what speaks for the product
goes with each, from 0 to 1, to a model."""

_Order: TypeAlias = tuple[float, float, float, str, Steps]
_WEIGHED = 32


@dataclass(frozen=True)
class ReasonContext:
    """One user, one product, and what is known around them.

    Attributes:
        user, product: keys.
        bought: when the user bought what.
        names: of products, for people.
        catalogue: how many products there are.
        in_all: by event, how much everybody did.
        language: of the words.
        own: the event that `bought` are.
    """

    user: str
    product: str
    bought: Mapping[str, datetime | None]
    names: Mapping[str, str]
    catalogue: int
    in_all: Mapping[str, int]
    language: Language
    own: str = BOUGHT

    def node(self, product: str) -> PathNode:
        """A product on a path."""
        return PathNode("Product", product, self.name(product))

    def name(self, product: str) -> str:
        """What a product is called."""
        return self.names.get(product, product)

    def start(self) -> PathNode:
        """The user on a path."""
        return PathNode("User", self.user, self.user)

    def specificity(self, products: int, lift: float, support: int) -> float:
        """See `Explanation`."""
        if self.catalogue < 2:
            return 0.0
        reached = max(products / max(lift * (1 - support**-0.5), 1.0), 1.0)
        return max(0.0, 1.0 - math.log(reached) / math.log(self.catalogue))


class Links:
    """One kind of fact around the recommended products and those that users did something with."""

    def __init__(
        self,
        fact: Fact,
        of_recommended: list[Row],
        members: list[Row],
        names: Mapping[str, str],
        sizes: Mapping[str, int],
        usual: Mapping[str, int],
        event: str = BOUGHT,
    ) -> None:
        self.fact, self.names, self.sizes, self.event, self.usual = fact, names, sizes, event, usual
        self.of: dict[str, list[str]] = defaultdict(list)
        for row in of_recommended:
            self.of[row["product"]].append(row["via"])
        self.inside: dict[str, list[str]] = defaultdict(list)
        for row in members:
            self.inside[row["via"]].append(row["product"])


def sure_of(lift: float, support: int) -> float:
    """The lift that is left at the lower end of its support, one standard error down.

    By Wilson and Hilferty's approximation (1931) of a Poisson count's limit: c·(1 − 1/9c − 1/3√c)³.
    """
    count = max(support, 1)
    return lift * max(1 - 1 / (9 * count) - 1 / (3 * math.sqrt(count)), 0.0) ** 3


def by_chance(lift: float) -> bool:
    """Whether it is told as no more than 1.0 times, and so explains nothing."""
    return round(lift, 1) <= 1


def through(context: ReasonContext, links: Links, done: Mapping[str, datetime | None]) -> list[Explanation]:
    """Explanations through what the product shares with what the user bought, or did another thing with."""
    found: list[Explanation] = []
    others, event, told = len(done.keys() - {context.product}), links.event, context.language
    in_all = context.in_all.get(event, 0)
    for via in links.of[context.product]:
        members = [p for p in links.inside[via] if p in done and p != context.product]
        # What nobody had before the cut counts as had once.
        usual = max(links.usual.get(via, in_all), 1) / max(in_all, 1)
        lift = len(members) / others / usual if members else 0.0
        if by_chance(lift):
            continue
        members.sort(key=lambda p: (recency(done[p]), p))
        latest, count, size = members[0], len(members), links.sizes[via]
        steps: Steps = (
            context.start(),
            PathLink(event, True),
            context.node(latest),
            PathLink(links.fact.type, True),
            PathNode(links.fact.label, via, links.names[via]),
            PathLink(links.fact.type, False),
            context.node(context.product),
        )
        because = _shared(context, links, latest, links.names[via].split(" > ")[-1], count)
        because += say("usual share", told, lift=lift)
        found.append(
            Explanation(
                context.user, context.product, links.fact.type, steps, because,
                context.specificity(size, lift, count), size, lift, done[latest], count,
                tuple(members) if event == context.own else (), math.log1p(sure_of(lift, count)),
            )
        )  # fmt: skip
    return found


def _shared(context: ReasonContext, links: Links, latest: str, name: str, count: int) -> str:
    """What the user did with what shares it; a name that would come twice comes once."""
    told, item, verb = context.language, context.name(latest), event_name(links.event, context.language)
    if item.casefold() == name.casefold():
        return say("some of", told, event=verb, count=count, name=name)
    more = say("and more", told, count=count - 1, all=count) if count > 1 else ""
    message = "brand" if links.fact.type == "MADE_BY" else "category"
    return say(message, told, event=verb, item=item, more=more, name=name)


def together(context: ReasonContext, rows: Iterable[Row], partners: Mapping[str, int]) -> list[Explanation]:
    """Explanations through products that are bought, or had of another event, by the same users."""
    found: list[Explanation] = []
    kind = "ALSO_BOUGHT" if context.own == BOUGHT else f"{context.own}_TOGETHER"
    verb = event_name(context.own, context.language)
    for row in rows:
        other, support, lift = row["bought"], row["support"], row["lift"]
        if other not in context.bought or other == context.product:
            continue
        # The relationship leads from the smaller key to the larger.
        steps: Steps = (
            context.start(),
            PathLink(context.own, True),
            context.node(other),
            PathLink(kind, other < context.product),
            context.node(context.product),
        )
        size = max(partners[other], partners[context.product])
        values = {"event": verb, "item": context.name(other), "support": support, "lift": lift}
        because = say("together", context.language, **values)
        found.append(
            Explanation(
                context.user, context.product, kind, steps, because,
                context.specificity(size, lift, support), size, lift, context.bought[other], 1,
                (other,), math.log1p(sure_of(lift, support)),
            )
        )  # fmt: skip
    return found


def seen(context: ReasonContext, event: str, rows: Sequence[Row], users: int) -> list[Explanation]:
    """The product itself, viewed, rated or the like: by so many of all users.

    Args:
        context: of whom.
        event: what was done.
        rows: product, at, times: what the user did so.
        users: how many did it with the product.
    """
    found = []
    for row in rows:
        lift = context.in_all.get(event, 0) / (len(rows) * max(users, 1))
        if row["product"] != context.product or by_chance(lift):
            continue
        steps: Steps = (context.start(), PathLink(event, True), context.node(context.product))
        verb = event_name(event, context.language)
        message = "seen" if row["times"] == 1 else "seen often"
        because = say(message, context.language, event=verb, times=row["times"])
        found.append(_direct(context, event, steps, because, len(rows), lift, row, row["times"]))
    return found


def led(context: ReasonContext, lead: Lead, rows: Sequence[Row]) -> list[Explanation]:
    """What the user searched for, redeemed or the like, that leads to the product."""
    found = []
    for row in rows:
        lift = row["links"] / (row["out"] * row["into"])
        if row["product"] != context.product or by_chance(lift):
            continue
        name = row["name"] or row["via"]
        steps: Steps = (
            context.start(),
            PathLink(lead.event, True),
            PathNode(lead.label, row["via"], name),
            PathLink(lead.link, True),
            context.node(context.product),
        )
        verb = event_name(lead.event, context.language)
        because = say("led", context.language, event=verb, name=name, lift=lift)
        found.append(_direct(context, lead.event, steps, because, row["out"], lift, row, 1))
    return found


def _direct(
    context: ReasonContext,
    kind: str,
    steps: Steps,
    because: str,
    size: int,
    lift: float,
    row: Row,
    support: int,
) -> Explanation:
    return Explanation(
        context.user, context.product, kind, steps, because, context.specificity(size, lift, support), size,
        lift, row["at"], 0, (), math.log1p(sure_of(lift, support)),
    )  # fmt: skip


def ordered(
    found: Sequence[Explanation], weigh: Weigh | None, reads: Collection[str] | None = None
) -> list[Explanation]:
    """The most telling first: by specificity, times what the model makes of the purchases on the path.

    Paths from events that a model reads come before all others. A model is asked of the paths with most
    evidence. Of equals the more recent come first.
    """

    def place(explanation: Explanation) -> tuple[bool, _Order]:
        return _unread(explanation, reads), _order(explanation)

    if weigh is None or not found:
        return sorted(found, key=place)
    some = [e for e in sorted(found, key=lambda e: (-e.evidence, *_order(e))) if e.members][:_WEIGHED]
    weights = weigh(found[0].user, found[0].product, [e.members for e in some])
    known = dict(zip(map(id, some), weights, strict=True))
    return sorted((replace(e, weight=float(known.get(id(e), 0.0))) for e in found), key=place)


def _unread(explanation: Explanation, reads: Collection[str] | None) -> bool:
    """Whether a path starts with an event that the model does not read."""
    first = explanation.steps[1] if len(explanation.steps) > 1 else None
    return reads is not None and isinstance(first, PathLink) and first.type not in reads


def _order(explanation: Explanation) -> _Order:
    weight = 1.0 if explanation.weight is None else explanation.weight
    return (
        -explanation.specificity * weight,
        -explanation.specificity,
        recency(explanation.bought_at),
        explanation.kind,
        explanation.steps,
    )


def recency(at: datetime | None) -> float:
    """For sorting: the latest first, the unknown last."""
    return -(at - datetime(1970, 1, 1)).total_seconds() if at is not None else math.inf
