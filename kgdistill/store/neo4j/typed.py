"""Values in a query to Neo4j, in the types of the schema.

Neo4j compares a text with a number, or a day with a time, without a word, and finds nothing. So a value that
is compared with a property of the schema (`b.first_at >= $since`, `p.product_id = 20000`,
`(p:Product {product_id: $id})`, `p.size IN [1, $n]`) is sent in the property's type, as the embedded store
does it, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import Any

from kgdistill.errors import QueryError
from kgdistill.store.neo4j.tokens import Neo4jToken
from kgdistill.store.protocol import Parameter
from kgdistill.store.schema import PropertyType, Schema

_COMPARING_WORDS = frozenset({"IN", "CONTAINS", "WITH"})
_PATTERN_WORDS = frozenset({"MATCH", "WHERE", "AND", "OR", "XOR", "NOT", "EXISTS"})
_TIMES = frozenset({"date", "datetime", "localdatetime", "timestamp"})
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# Of one moment in two zones the server takes one for the later.
_IN_UTC = re.compile(r"['\"][0-9-]+(T[0-9:.]+)?Z?['\"]\Z")
_LOOKS_LIKE_A_TIME = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass
class TypedQuery:
    """A query as it is sent.

    Attributes:
        cypher: its text.
        values: its parameters, dates and times as datetimes.
        notes: what the user should know, a sentence each.
    """

    cypher: str
    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def typed(
    cypher: str, words: Sequence[Neo4jToken], values: Mapping[str, Parameter], schema: Schema, *, zoned: bool
) -> TypedQuery:
    """The same query with every value that is compared with a property in that property's type.

    Args:
        cypher: the query.
        words: its words.
        values: its parameters.
        schema: what the store holds.
        zoned: whether its times are stored with a zone; those of earlier versions are not.

    Raises:
        QueryError: a value cannot be of the type that it is compared with.
    """
    return _Typing(cypher, words, values, schema, zoned).run()


class _Typing:
    def __init__(
        self,
        cypher: str,
        words: Sequence[Neo4jToken],
        values: Mapping[str, Parameter],
        schema: Schema,
        zoned: bool,
    ) -> None:
        self._cypher, self._words, self._values, self._zoned = cypher, words, values, zoned
        self._types = schema.property_types
        self._partner = _brackets(words)
        self._owned = {label: {node.key, *node.properties} for label, node in schema.nodes.items()}
        self._owned |= {name: set(rel.properties) for name, rel in schema.relationships.items()}
        self._sent: dict[str, Any] = dict(values)
        self._decided: set[str] = set()
        # Where, how many characters of the text go, and what comes instead.
        self._edits: list[tuple[int, int, str]] = []

    def run(self) -> TypedQuery:
        self._check_owners()
        for at, word in enumerate(self._words):
            if word.kind == "symbol" and word.text == ":" and self._in_pattern(at):
                self._value(at + 1, at - 1)
            elif self._starts_comparison(at):
                end = self._end_of_comparison(at)
                left = self._property_before(at)
                if left is not None:
                    self._value(end, left)
                right = self._property_after(end)
                if right is not None:
                    self._value_before(at, right)
        cypher = self._cypher
        for start, length, text in sorted(set(self._edits), reverse=True):
            cypher = cypher[:start] + text + cypher[start + length :]
        return TypedQuery(cypher, self._sent, self._notes())

    def _check_owners(self) -> None:
        """Refuses a property of the schema that what stands before the dot cannot have."""
        owners: dict[str, set[str]] = {}
        again = {self._words[at + 1].text for at in range(len(self._words) - 1) if self._text(at) == "AS"}
        for at in range(2, len(self._words)):
            if self._text(at - 2) in ("(", "[") and self._is_name(at - 1) and self._text(at) == ":":
                alone = self._text(at + 2) in (")", "]", "{", "*")
                known = self._owned.get(self._words[at + 1].text) if at + 1 < len(self._words) else None
                if alone and known is not None and self._words[at - 1].text not in owners:
                    owners[self._words[at - 1].text] = known
                else:
                    again.add(self._words[at - 1].text)
        for at in range(1, len(self._words) - 1):
            variable, name = self._words[at - 1], self._words[at + 1]
            if not (self._text(at) == "." and variable.is_name and name.is_name):
                continue
            has = owners.get(variable.text)
            if has is None or variable.text in again or self._text(at - 2) == ".":
                continue
            if name.text in self._types and name.text not in has:
                raise QueryError(
                    f"asks for {variable.text}.{name.text}, which {variable.text} does not have",
                    hint=f"it has: {', '.join(sorted(has))}",
                )

    def _notes(self) -> list[str]:
        if not any(self._types.get(word.text) == "timestamp" for word in self._words if word.is_name):
            return []
        return [
            f"the parameter {name!r} is a text: compare a time with datetime(${name})"
            for name, value in self._values.items()
            if isinstance(value, str)
            and _LOOKS_LIKE_A_TIME.match(value)
            and name not in self._decided
            and not self._is_argument(name)
        ]

    def _is_argument(self, name: str) -> bool:
        """Whether the parameter is given to a function everywhere."""
        return all(
            at > 0 and self._text(at - 1) == "("
            for at, word in enumerate(self._words)
            if (word.kind, word.text) == ("parameter", name)
        )

    def _text(self, at: int) -> str:
        """The symbol or keyword there; empty for anything else and outside."""
        if not 0 <= at < len(self._words):
            return ""
        word = self._words[at]
        return word.text if word.kind == "symbol" else word.keyword

    def _starts_comparison(self, at: int) -> bool:
        if self._text(at) in _COMPARING_WORDS:
            return self._text(at) != "WITH" or self._text(at - 1) in ("STARTS", "ENDS")
        return self._text(at) in ("=", "<", ">") and self._text(at - 1) not in ("=", "<", ">", "-", "+")

    def _end_of_comparison(self, at: int) -> int:
        while self._text(at) in ("=", "<", ">", "~", *_COMPARING_WORDS):
            at += 1
        return at

    def _property_before(self, at: int) -> int | None:
        at -= 1 if self._text(at) != "WITH" else 2
        known = at > 1 and self._words[at].is_name and self._words[at].text in self._types
        return at if known and self._text(at - 1) == "." else None

    def _property_after(self, at: int) -> int | None:
        chain = at
        while self._is_name(chain) and self._text(chain + 1) == "." and self._is_name(chain + 2):
            chain += 2
        known = chain > at and self._words[chain].text in self._types
        return chain if known and self._text(chain + 1) != "(" else None

    def _is_name(self, at: int) -> bool:
        return 0 <= at < len(self._words) and self._words[at].is_name

    def _in_pattern(self, at: int) -> bool:
        """Whether the colon there stands in the properties of a node or relationship of a pattern."""
        if not (self._is_name(at - 1) and self._words[at - 1].text in self._types):
            return False
        brace = self._opening(at)
        bracket = self._opening(brace) if brace is not None else None
        if brace is None or bracket is None or self._text(brace) != "{" or self._text(brace - 1) == ",":
            return False
        before = bracket - 1
        if self._text(bracket) == "[":
            return self._text(before) == "-"
        return self._text(bracket) == "(" and (
            not self._is_name(before) or self._text(before) in _PATTERN_WORDS
        )

    def _opening(self, at: int) -> int | None:
        """The innermost bracket that is open there."""
        at -= 1
        while at >= 0:
            if self._text(at) in (")", "]", "}"):
                at = self._partner.get(at, 0)
            elif self._text(at) in ("(", "[", "{"):
                return at
            at -= 1
        return None

    def _value_before(self, at: int, name: int) -> None:
        last = at - 1
        if self._text(last) == ")":
            opened = self._partner.get(last)
            if opened is not None and self._is_name(opened - 1):
                self._value(opened - 1, name)
        elif last >= 0 and self._words[last].kind in ("string", "number", "parameter"):
            self._value(last, name)

    def _value(self, at: int, name: int) -> None:
        """Sees to the value that begins at `at` and is compared with the property at `name`."""
        if at >= len(self._words):
            return
        word, prop = self._words[at], self._words[name].text
        kind = self._types[prop]
        if word.kind == "parameter":
            self._parameter(word, prop, kind)
        elif word.keyword in ("TRUE", "FALSE"):
            if kind != "bool":
                raise QueryError(f"compares {prop}, which is {_called(kind)}, with {word.text}")
        elif word.kind in ("string", "number"):
            if self._text(at + 1) not in ("+", "-", "*", "/", "%", "^"):
                self._literal(at, prop, kind)
        elif word.kind == "symbol" and word.text == "[":
            for inner in range(at + 1, self._partner.get(at, at)):
                if self._text(inner - 1) in ("[", ","):
                    self._value(inner, name)
        elif kind == "timestamp" and word.text.lower() in _TIMES and self._text(at + 1) == "(":
            self._call(at, word.text.lower())

    def _parameter(self, word: Neo4jToken, prop: str, kind: PropertyType) -> None:
        self._decided.add(word.text)
        if word.text not in self._values or kind == "float_list":
            return
        value = self._values[word.text]
        many = isinstance(value, Sequence) and not isinstance(value, str)
        items: Sequence[Any] = value if many else [value]  # type: ignore[assignment]
        sent: list[Any] = []
        for item in items:
            try:
                sent.append(self._stored(converted(item, kind)))
            except ValueError as error:
                raise QueryError(f"compares {prop}, {error} (${word.text})") from error
        if [(type(a), a) for a in sent] != [(type(a), a) for a in items]:
            name = f"{word.text} ({kind})"
            self._sent[name] = sent if many else sent[0]
            end = self._cypher[word.at :].index(word.text) + len(word.text)
            end += self._cypher[word.at + 1] == "`"
            self._edits.append((word.at, end, f"$`{name}`"))

    def _stored(self, value: Any) -> Any:
        return value.replace(tzinfo=None) if isinstance(value, datetime) and not self._zoned else value

    def _literal(self, at: int, prop: str, kind: PropertyType) -> None:
        word = self._words[at]
        if kind == "float_list":
            return
        plain = _ESCAPE.sub(r"\1", word.text[1:-1]) if word.kind == "string" else word.text
        if (word.kind == "string") == (kind == "string") and kind != "timestamp":
            return
        try:
            value = converted(plain if word.kind == "string" else float(plain.replace("_", "")), kind)
        except ValueError as error:
            raise QueryError(f"compares {prop}, {error}") from error
        if isinstance(value, datetime):
            function = "datetime" if self._zoned else "localdatetime"
            text = f"{function}('{value.replace(tzinfo=None).isoformat()}')"
        else:
            text = f"'{plain}'" if kind == "string" else repr(value)
        self._edits.append((word.at, len(word.text), text))

    def _call(self, at: int, name: str) -> None:
        """A day or a time of the other sort, as a time of the sort that is stored."""
        close = self._partner.get(at + 1)
        if close is None or name == ("localdatetime" if not self._zoned else ""):
            return
        plain = close == at + 3 and _IN_UTC.match(self._words[at + 2].text)
        if name == "datetime" and self._zoned and plain:
            return
        word = self._words[at]
        if name == "timestamp":
            # The embedded store's name for it.
            self._edits.append((word.at, len(word.text), "datetime"))
            if self._zoned and plain:
                return
        zone = "" if name == "date" else ", timezone: 'Z'"
        part = "date" if name == "date" else "datetime"
        before, after = f"datetime({{{part}: ", f"{zone}}})"
        if not self._zoned:
            before, after = f"localdatetime({{datetime: {before}", f"{after}}})"
        self._edits.append((word.at, 0, before))
        self._edits.append((self._words[close].at + 1, 0, after))


def converted(value: Any, kind: PropertyType) -> Any:
    """A parameter in the type of a property; times in UTC with their zone.

    Raises:
        ValueError: it cannot be; the text says which type the property has, and what the value is.
    """
    if value is None or kind == "float_list":
        return value
    if kind == "timestamp":
        return _time(value)
    if isinstance(value, bool) != (kind == "bool"):
        raise ValueError(f"which is {_called(kind)}, with {value!r}")
    if kind == "string" and isinstance(value, int | float):
        return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)
    if kind in ("int64", "double") and isinstance(value, str):
        text = value.strip()
        if not _NUMBER.match(text):
            raise ValueError(f"which is {_called(kind)}, with the text {value!r}")
        number = float(text)
        return int(text) if "." not in text and "e" not in text.lower() else number
    if isinstance(value, datetime):
        raise ValueError(f"which is {_called(kind)}, with a time")
    return value


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        # Python 3.10 knows neither Z nor a time without minutes.
        text = re.sub(r"[zZ]\Z", "+00:00", value.strip())
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"which is a time, with {value!r}: write it like 2024-04-01 or 2024-04-01T08:30:00"
            ) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"which is a time, with {value!r}")
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _called(kind: PropertyType) -> str:
    found: dict[PropertyType, str] = {
        "string": "a text",
        "int64": "a number",
        "double": "a number",
        "bool": "true or false",
        "timestamp": "a time",
        "float_list": "a list",
    }
    return found[kind]


def _brackets(words: Sequence[Neo4jToken]) -> dict[int, int]:
    """Where each bracket's partner is, both ways."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for at, word in enumerate(words):
        if word.kind != "symbol":
            continue
        if word.text in ("(", "[", "{"):
            opened.append(at)
        elif word.text in (")", "]", "}") and opened:
            start = opened.pop()
            found[start], found[at] = at, start
    return found
