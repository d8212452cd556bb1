"""Pieces of a mapping, written as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.profile import Sample
from kgdistill.store.schema import Schema

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_COLUMNS = 200
_SKELETON = (
    "Put columns in place of the dots, and take the # away from what there is:",
    "nodes:",
    "  - label: User",
    "    key: …",
    "  - label: Product",
    "    key: …",
    "    properties: {title: …, brand_text: …, price: …}",
    "relationships:",
    "  - type: BOUGHT",
    "    from: {User: …}",
    "    to: {Product: …}",
    "    missing: stub",
    "    properties: {at: …, quantity: …, amount: …}",
)
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf"}


def scalar(value: object) -> str:
    """A YAML scalar in a flow or block."""
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _NOT_TEXT:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def comment(text: str) -> str:
    """Text that may stand in a comment: on one line, without what YAML does not take."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def flow(value: object) -> str:
    """A YAML value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def names_in(value: Any) -> set[str]:
    """The columns that a value, a condition or a list of them names."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return names_in([value[key] for key in ("column", "columns", "multiply", "coalesce") if key in value])
    return {name for part in value for name in names_in(part)}


@dataclass
class Pieces:
    """What one source makes, as lines; what the schema does not have is left out.

    Attributes:
        beside_purchases: purchases stand in other sources.
        named: the columns that stand in them.
        made: the types of relationships.
        rates_alone: a purchase among them is a rating that stands for one.
    """

    schema: Schema
    found: Guess
    beside_purchases: bool = False
    nodes: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    salted: bool = False
    named: set[str] = field(default_factory=set)
    made: set[tuple[str, str, str]] = field(default_factory=set)
    rates_alone: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is made."""
        return bool(self.nodes or self.edges or self.trees)

    @property
    def buys(self) -> bool:
        """Whether purchases themselves are made."""
        return any(edge[1] == "BOUGHT" for edge in self.made) and not self.rates_alone

    def has(self, label: str, name: str | None = None) -> bool:
        """Whether the schema has the label, and the property."""
        item = self.schema.nodes.get(label)
        return item is not None and (name is None or name in item.properties)

    def node(
        self, label: str, key: Any, properties: Mapping[str, Any], doubts: Mapping[str, str] | None = None
    ) -> None:
        """Adds a node, its key and properties."""
        if not self.has(label):
            return
        self.nodes += [f"      - label: {label}", f"        key: {flow(key)}"]
        self.named |= names_in(key)
        known = {k: v for k, v in properties.items() if v is not None and self.has(label, k)}
        self.named |= names_in(list(known.values()))
        if known:
            self.nodes.append("        properties:")
            self.nodes += [
                f"          {k}: {flow(v)}" + (f"  # ? {(doubts or {})[k]}" if k in (doubts or {}) else "")
                for k, v in known.items()
            ]

    def edge(
        self,
        ends: tuple[str, str, str],
        source: Any,
        target: Any,
        properties: Mapping[str, Any],
        *,
        when: Sequence[Any] = (),
        stub: bool = True,
        doubt: str = "",
        comments: Sequence[str] = (),
    ) -> None:
        """Adds a relationship."""
        if ends not in self.schema.edges():
            return
        self.made.add(ends)
        self.edges.append(f"      - type: {ends[1]}" + (f"  # ? {comment(doubt)}" if doubt else ""))
        self.edges.append(f"        from: {flow({ends[0]: source})}")
        self.edges.append(f"        to: {flow({ends[2]: target})}")
        if stub:
            self.edges.append("        missing: stub")
        if when:
            self.edges.append(f"        when: {flow(list(when))}")
        known = self.schema.relationship(ends).properties
        lines = ("at", "quantity", "amount") if self.schema.relationship(ends).aggregated else ()
        kept = {k: v for k, v in properties.items() if v is not None and (k in known or k in lines)}
        self.named |= names_in([source, target, *when, *kept.values()])
        if kept:
            self.edges.append("        properties:")
            self.edges += [f"          {k}: {flow(v)}" for k, v in kept.items()]
        self.edges += [f"        {comment(text)}" for text in comments]

    def tree(self, path: Any, source: Any, root: str = "", each: str = "") -> None:
        """Adds a tree of categories; `each` stands between several paths of one value."""
        self.named |= names_in([path, source])
        self.trees += ["      - label: Category", f"        path: {flow(path)}"]
        if root:
            self.trees.append(f"        root: {root}")
        if each:
            self.trees.append(f"        each: {flow(each)}")
        self.trees.append(f"        from: {flow({'Product': source})}")


def listed(names: Sequence[str], most: int = 60) -> str:
    """The names one after the other, of many the first."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name[:60] for name in names[:most]) + more


def write_fill(sample: Sample, asked: Collection[str]) -> list[str]:
    """What only the first of several rows of one thing has, as far as these columns ask for it."""
    heads = sample.heads
    columns = [] if heads is None else [name for name in heads.fill.columns if name in asked]
    if heads is None or not columns:
        return []
    (key,) = heads.fill.by
    most = max(heads.empty[name] for name in columns)
    doubt = f"{most:,} of {heads.rows:,} rows lack what the first row with the same {key} has, and take it"
    return [f"    fill_down: {flow({'by': key, 'columns': columns})}  # ? {comment(doubt)}"]


def write_skeleton(sample: Sample, found: Guess) -> list[str]:
    """What a source is to be made of by hand: its columns with examples, and the pieces, as comments."""
    hidden = {c.name for c in found.personal}
    nothing = "nothing here looks like the id of a user, a product, a query or an ad, or like a text"
    if found.named_alone:
        nothing = "nothing but an id and a name says what this holds, and other files hold the products"
    lines = [f"    # ? {nothing}. The columns:"]
    for column in sample.columns[:_COLUMNS]:
        values = [] if column.name in hidden else list(dict.fromkeys(column.values))[:3]
        shown = "; ".join(value[:30] for value in values)
        told = f"  such as {shown}" if shown else ""
        if column.name in hidden:
            told = "  looks personal; as an id {column: …, hash: true}"
        lines.append(comment(f"    #   {scalar(column.name)}{told}"))
    if len(sample.columns) > _COLUMNS:
        lines.append(f"    #   and {len(sample.columns) - _COLUMNS:,} more")
    lines += [f"    # {line}" for line in _SKELETON]
    return lines
