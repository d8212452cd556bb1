"""Why a product was recommended to a user: the typed paths of the graph that lead from one to the other."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from kgdistill.errors import InputError
from kgdistill.explore.explanation import Explanation, PathLink, PathNode, Steps
from kgdistill.explore.paths import CountedPaths, Fact, Paths, Row
from kgdistill.explore.reasons import (
    Links,
    ReasonContext,
    Weigh,
    by_chance,
    led,
    ordered,
    seen,
    through,
    together,
)
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import GraphStore
from kgdistill.wording import Language, language_of

if TYPE_CHECKING:
    from kgdistill.explore.frozen_paths import FrozenPaths

__all__ = ["Explanation", "PathLink", "PathNode", "Steps", "Weigh", "explain", "explain_many"]

_HASH = re.compile("[0-9a-f]{32}")


def explain(
    store: GraphStore,
    user: str,
    product: str,
    *,
    limit: int = 5,
    before: datetime | None = None,
    language: Language | None = None,
    weigh: Weigh | None = None,
    reads: Collection[str] | None = None,
) -> list[Explanation]:
    """The paths from what `user` did to `product`, the most telling first.

    Paths are: bought -> what both share (brand, the deepest category, every other fact of the schema),
    bought -> bought together, as derived; where none of these leads there, what is bought together is counted
    now; the same from every other event (viewed, rated, …), the product viewed itself, and what was searched
    for, clicked or redeemed that leads to it. The user's own purchase of `product` is never on one. Paths
    through one brand or category are one explanation, which names the latest purchase; one of which the user
    buys no more than everybody is none. Ordered by specificity, times the model's weight where one is asked;
    then by how recent the event is, by kind and keys.

    Args:
        store: an open store.
        user, product: keys.
        limit: at most this many.
        before: only purchases first made before this time count; naive is UTC.
        language: of `because`; None for that of the product's name.
        weigh: a model's view of the purchases on each path, such as `kgdistill.serve.weigh.PathWeights`.
        reads: the events that a model reads, whose paths come before all others; None: none goes before.

    Returns:
        Explanations; none where no path leads there.

    Raises:
        InputError: there is no such user or product; ids near it are named. `limit` is below 1.
        StoreError: from the store.
    """
    pair = (user, product)
    known = explain_many(
        store, [pair], limit=limit, before=before, language=language, weigh=weigh, reads=reads
    )[pair]
    if known:
        return known
    before = before and naive_utc(before)
    counted = CountedPaths(store, user, product, before)
    names = counted.products([product])
    return along(counted, [pair], names, limit, before, language, weigh=weigh, reads=reads)[pair]


def explain_many(
    store: GraphStore,
    pairs: Iterable[tuple[str, str]],
    *,
    limit: int = 5,
    before: datetime | None = None,
    language: Language | None = None,
    weigh: Weigh | None = None,
    reads: Collection[str] | None = None,
) -> dict[tuple[str, str], list[Explanation]]:
    """`explain` for many (user, product) pairs, with some twenty queries for all of a page of them."""
    wanted = list(dict.fromkeys(pairs))
    if limit < 1:
        raise InputError(f"limit is {limit}; it is at least 1")
    if not wanted:
        return {}
    before = before and naive_utc(before)
    paths = Paths(store, before)
    users = {user for user, _ in wanted}
    recommended = {product for _, product in wanted}
    check_known(store, "User", "user_id", users, paths.users(users))
    names = paths.products(recommended)
    check_known(store, "Product", "product_id", recommended, names)
    return along(paths, wanted, names, limit, before, language, weigh=weigh, reads=reads)


def along(
    paths: Paths | FrozenPaths,
    wanted: list[tuple[str, str]],
    names: dict[str, str],
    limit: int,
    before: datetime | None,
    language: Language | None = None,
    *,
    weigh: Weigh | None = None,
    reads: Collection[str] | None = None,
) -> dict[tuple[str, str], list[Explanation]]:
    """The explanations of every pair of `wanted`, whose products are all in `names`."""
    users = {user for user, _ in wanted}
    recommended = {product for _, product in wanted}
    own = paths.own
    done = {own: _purchases(paths, users, before)}
    others = {event: _others(paths, event, users, before) for event in paths.events()}
    done |= {event: _latest(rows) for event, rows in others.items() if rows}
    links = [found for fact in paths.facts() for found in _links(paths, fact, recommended, done, before)]
    purchased = {product for rows in done[own].values() for product in rows}
    pairs = [
        row for row in paths.also_bought(recommended)
        if row["bought"] in purchased and not by_chance(row["lift"])
    ]  # fmt: skip
    partners = paths.partners([*(row["bought"] for row in pairs), *(r["recommended"] for r in pairs)])
    leads = [
        (lead, rows)
        for lead in paths.leads()
        if (rows := _before(paths.led(lead, users, recommended), before))
    ]
    on_paths = {product for link in links for some in link.inside.values() for product in some}
    on_paths |= {row["bought"] for row in pairs}
    names |= paths.products(on_paths - names.keys())
    catalogue = paths.catalogue()
    asked = {link.event for link in links} | (done.keys() - {own})
    in_all = {event: paths.purchases_in_all(before, event) for event in sorted(asked)}
    seen_by = {event: paths.times_of(event, recommended, before) for event in done.keys() - {own}}

    by_recommended = _grouped(pairs, "recommended")
    led_to = [(lead, _grouped(rows, "user")) for lead, rows in leads]
    seen_of = {event: _grouped(rows, "user") for event, rows in others.items()}
    result: dict[tuple[str, str], list[Explanation]] = {}
    for user, product in wanted:
        told = language or language_of(names[product])
        context = ReasonContext(user, product, done[own].get(user, {}), names, catalogue, in_all, told, own)
        found = [e for link in links for e in through(context, link, done[link.event].get(user, {}))]
        found += together(context, by_recommended[product], partners)
        for event, counts in seen_by.items():
            found += seen(context, event, seen_of[event][user], counts.get(product, 0))
        for lead, rows_of in led_to:
            found += led(context, lead, rows_of[user])
        result[(user, product)] = ordered(found, weigh, reads)[:limit]
    return result


def _links(
    paths: Paths | FrozenPaths,
    fact: Fact,
    recommended: set[str],
    done: Mapping[str, Mapping[str, Mapping[str, datetime | None]]],
    before: datetime | None,
) -> list[Links]:
    """One kind of fact around the recommended products and, for each event, those of the users."""
    of_recommended = _deepest(paths.shared(fact, recommended))
    vias = {row["via"]: row["name"] or row["via"] for row in of_recommended}
    sizes = paths.sizes(fact, vias)
    found = []
    for event, by_user in done.items():
        had = {product for rows in by_user.values() for product in rows}
        # Members that nobody here bought lead nowhere, so the purchases are asked for, not the vias.
        members = [row for row in paths.shared(fact, had) if row["via"] in vias]
        if members:
            usual = paths.purchases_of(fact, {row["via"] for row in members}, before, event)
            found.append(Links(fact, of_recommended, members, vias, sizes, usual, event))
    return found


def _others(paths: Paths | FrozenPaths, event: str, users: set[str], before: datetime | None) -> list[Row]:
    """What the users did with products beside buying them."""
    return _before(paths.happened(event, users), before)


def _before(rows: list[Row], before: datetime | None) -> list[Row]:
    return rows if before is None else [r for r in rows if r["at"] is not None and r["at"] < before]


def _latest(rows: list[Row]) -> dict[str, dict[str, datetime | None]]:
    found: dict[str, dict[str, datetime | None]] = defaultdict(dict)
    for row in rows:
        found[row["user"]][row["product"]] = row["at"]
    return found


def _grouped(rows: Iterable[Row], by: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[by]].append(row)
    return found


def of_hashes(given: str, keys: Sequence[str]) -> str:
    """How the id of what was given is made where all ids are hashes and it is none; else nothing."""
    if not keys or _HASH.fullmatch(given) or not all(_HASH.fullmatch(key) for key in keys):
        return ""
    made = 'printf %s ID | openssl dgst -sha256 -hmac "$KGDISTILL_SALT"'
    told = "where KGDISTILL_SALT is set, commands take what was hashed, too; else"
    return (
        f"ids are hashed here: {told} the first 32 digits are one of {made}, with ID as the mapping reads it"
    )


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
    hint = of_hashes(unknown[0], keys) or hint
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
