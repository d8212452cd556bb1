"""What a user did, by kind of event, and how much of it is of each category or brand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from kgdistill.explore.paths import BOUGHT, Fact, Paths, name_of, texts_of
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import Schema
from kgdistill.words import NamesInWords, shortened, spelled, stem, words

CATEGORY, BRAND = Fact("IN_CATEGORY", "Category"), Fact("MADE_BY", "Brand")
_TIMEOUT_S, _ROWS = 120.0, 2_000_000
_SHOWN = 60
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Signal:
    """What a user did of one kind.

    Attributes:
        event: such as "BOUGHT".
        label: of what it leads to.
        at: by key, when it was first done; naive UTC.
        texts: by key, where it leads to texts and nothing else.
    """

    event: str
    label: str
    at: Mapping[str, datetime | None]
    texts: Mapping[str, str] = field(default_factory=dict)

    def latest(self, count: int) -> tuple[str, ...]:
        """The beginnings of the last texts."""
        keys = sorted(self.texts, key=lambda key: (self.at[key] or datetime.min, key), reverse=True)
        return tuple(shortened(" ".join(self.texts[key].split()), _SHOWN) for key in keys[:count])


class Shares(NamedTuple):
    """How much of what was done is of each node, by key: a user's, everybody's; and the nodes' names."""

    mine: Counter[str]
    everybody: Counter[str]
    names: dict[str, str]


def signals(paths: Paths, schema: Schema, user: str, before: datetime | None) -> list[Signal]:
    """What a user did with products, purchases first, and typed; none of what was not done.

    Args:
        paths: of the store.
        schema: of the store; what it calls sensitive is not read.
        user: the key.
        before: only what was done before; None for all.
    """

    def known(at: datetime | None) -> bool:
        return before is None or (at is not None and at < before)

    found = [
        Signal(
            BOUGHT,
            "Product",
            {r["product"]: r["first_at"] for r in paths.purchases([user]) if known(r["first_at"])},
        )
    ]
    for event in paths.events():
        rows = paths.happened(event, [user])
        found.append(Signal(event, "Product", {r["product"]: r["at"] for r in rows if known(r["at"])}))
    for edge in texts_of(schema):
        rows = [r for r in paths.typed(edge, user) if r["text"] and known(r["at"])]
        at, texts = ({r["key"]: r[name] for r in rows} for name in ("at", "text"))
        found.append(Signal(edge[1], edge[2], at, texts))
    return [signal for signal in found if signal.at]


def shares(
    store: GraphStore, paths: Paths, signal: Signal, facts: Sequence[Fact], until: datetime
) -> list[Shares]:
    """Of each fact, what it leads to from what a user did, and from what everybody did by then."""
    counted, done = paths.counted(signal.event, signal.label), f"MATCH (:User)-[w:`{signal.event}`]->"
    values = paths.asked(signal.event, until)

    def asked(cypher: str) -> dict[str, int]:
        table = store.query(cypher, values, limit=_ROWS, timeout_s=_TIMEOUT_S)
        return dict(zip(table["key"].to_pylist(), table["n"].to_pylist(), strict=True))

    if signal.texts:
        text = f"q.`{store.schema.node(signal.label).name}`"
        typed = asked(f"{done}(q:`{signal.label}`) WHERE {counted} RETURN {text} AS key, count(*) AS n")
        return [_named(store, signal, fact, typed) for fact in facts]
    out = []
    for fact in facts:
        rows = paths.shared(fact, signal.at)
        usual = asked(
            f"{done}(:Product)-[:`{fact.type}`]->(v:`{fact.label}`) WHERE {counted} "
            f"RETURN v.`{store.schema.node(fact.label).key}` AS key, count(*) AS n"
        )
        names = {row["via"]: row["name"] or row["via"] for row in rows}
        out.append(Shares(Counter(row["via"] for row in rows), Counter(usual), names))
    return out


def _named(store: GraphStore, signal: Signal, fact: Fact, typed: Mapping[str, int]) -> Shares:
    """By the names that stand in a user's texts, and in everybody's: how often each was typed."""
    node = store.schema.node(fact.label)
    cypher = (
        f"MATCH (v:`{fact.label}`) "
        f"RETURN v.`{node.key}` AS key, v.`{node.name}` AS name, {name_of(node)} AS shown"
    )
    rows = store.query(cypher, limit=_ROWS, timeout_s=_TIMEOUT_S).to_pylist()
    named = named_in({row["key"]: row["name"] or "" for row in rows})
    everybody: Counter[str] = Counter()
    for text, count in typed.items():
        everybody.update(dict.fromkeys(named(text or ""), count))
    mine = Counter(key for text in signal.texts.values() for key in named(text))
    return Shares(mine, everybody, {row["key"]: row["shown"] or row["key"] for row in rows})


def named_in(names: Mapping[str, str]) -> Callable[[str], set[str]]:
    """Which keys are named in a text: of names in each other the longer ones; of two of one name both.

    Args:
        names: by key.
    """
    said: dict[tuple[str, ...], list[str]] = {}
    for key, name in names.items():
        for one in spelled(name):
            parts = _words(one)
            if len("".join(parts)) > 1 and any(c.isalpha() for word in parts for c in word):
                said.setdefault(parts, []).append(key)
    known = NamesInWords(said)

    def named(text: str) -> set[str]:
        found, taken = set[str](), set[int]()
        for span, keys in known.spans(_words(text)):
            if taken.isdisjoint(span):
                taken |= set(span)
                found |= set(keys)
        return found

    return named


def _words(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in words(text))
