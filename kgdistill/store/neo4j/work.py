"""Expressions that a server computes for hours and cannot be stopped in.

Neo4j looks between rows whether a query was ended, and inside one expression never: loops in loops, or a
regular expression that tries every way to cut a text, keep one of its threads busy long after the answer was
given up. What is plainly so by its words is refused here; of what is not, `reader` lets few run at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from kgdistill.errors import QueryError
from kgdistill.store.neo4j.tokens import Neo4jToken

MOST_STEPS = 10_000_000
# What a list that the words say nothing of is taken to hold, and the parts of one node or path.
_UNKNOWN, _OF_ONE = 1_000, 50
_OPEN, _CLOSE = ("(", "[", "{"), (")", "]", "}")
_PREDICATES = frozenset({"ANY", "ALL", "NONE", "SINGLE", "REDUCE"})
_PARTS = frozenset({"NODES", "RELATIONSHIPS", "LABELS", "KEYS"})
_MOST_REPEATS, _MOST_OPTIONAL = 3, 10
# A repetition with its lazy or possessive mark; the second group is of so many exactly.
_REPEAT = re.compile(r"([*+?]|\{(?:(\d+)|\d+,\d*)\})[?+]?")
_RANGE = re.compile(r"range\((-?\d{1,30}),(-?\d{1,30})(?:,(-?\d{1,30}))?\)", re.IGNORECASE)
_PIECE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[(?:\\.|[^\]\\])+\]|.", re.DOTALL)


def check_work(words: Sequence[Neo4jToken], parameters: Mapping[str, Any]) -> None:
    """Refuses (QueryError) loops of over ten million steps in an expression, and slow regular expressions."""
    closing = _closing(words)
    running: list[tuple[int, int]] = []
    for at, word in enumerate(words):
        running = [loop for loop in running if at < loop[0]]
        if word.keyword == "RANGE" and not (at and words[at - 1].keyword == "UNWIND"):
            _check_steps(_size(words[at : closing.get(at + 1, at) + 1]))
        source = _source(words, at, closing)
        if source is not None:
            running.append((closing[at], _size(source)))
            _check_steps(prod(size for _, size in running))
        if _is(word, "=") and at + 1 < len(words) and _is(words[at + 1], "~"):
            _check_pattern(words, at + 2, parameters)


def slow_pattern(pattern: str) -> str:
    """What may make a regular expression take for ever on some text; empty where nothing does."""
    groups: list[bool] = []
    repeats = optional = 0
    closed = False
    at = 0
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)[0]  # type: ignore[index]
        at += len(piece)
        if re.fullmatch(r"\\[1-9k]", piece):
            return "refers back to one of its groups"
        if piece == "(":
            groups.append(False)
            at += pattern.startswith("?", at)
        elif piece == ")" and groups:
            closed = groups.pop()
        repeat = _REPEAT.match(pattern, at)
        if repeat is not None:
            at = repeat.end()
            if piece == ")" and closed and repeat[1] != "?":
                return "repeats a group that holds a repetition or a choice"
            optional += repeat[1] == "?"
            repeats += repeat[1] != "?" and repeat[2] is None
        if piece == "|" or repeat is not None:
            groups = [True] * len(groups)
    many = repeats > _MOST_REPEATS or optional > _MOST_OPTIONAL
    return f"has more than {_MOST_REPEATS} repetitions or {_MOST_OPTIONAL} question marks" if many else ""


def _is(word: Neo4jToken, symbol: str) -> bool:
    return word.kind == "symbol" and word.text == symbol


def _closing(words: Sequence[Neo4jToken]) -> dict[int, int]:
    """By the place of an opening bracket, that of its end."""
    stack: list[int] = []
    found: dict[int, int] = {}
    for at, word in enumerate(words):
        if word.kind == "symbol" and word.text in _OPEN:
            stack.append(at)
        elif word.kind == "symbol" and word.text in _CLOSE and stack:
            found[stack.pop()] = at
    return found


def _source(words: Sequence[Neo4jToken], at: int, closing: Mapping[int, int]) -> Sequence[Neo4jToken] | None:
    """The list that the loop whose bracket stands here goes through; None where there is no such loop."""
    before = words[at - 1].keyword if at else ""
    if at not in closing or not (_is(words[at], "[") or before in _PREDICATES):
        return None
    end, inside, start = closing[at], at + 1, -1
    while inside < end:
        word = words[inside]
        # A loop's variable stands first, a reduction's after its comma.
        first = inside == at + 1 or (before == "REDUCE" and _is(words[inside - 1], ","))
        if start < 0 and first and word.is_name and words[inside + 1].keyword == "IN":
            start = inside + 2
        elif start >= 0 and (word.keyword == "WHERE" or _is(word, "|")):
            return words[start:inside]
        inside = closing.get(inside, inside) + 1
    return words[start:end] if start >= 0 else None


def _size(source: Sequence[Neo4jToken]) -> int:
    """About how many items a list has, as far as its words tell; numbers in a computation are multiplied."""
    text = "".join(word.text for word in source)
    written = _RANGE.fullmatch(text)
    if written is not None:
        first, last, step = (int(part or 1) for part in written.groups())
        return 1 + max(0, (last - first) // (step or 1))
    if source and source[0].keyword in _PARTS:
        return _OF_ONE
    if source and _is(source[0], "["):
        return 1 + sum(_is(word, ",") for word in source)
    if any(_is(word, "^") for word in source):
        return MOST_STEPS + 1
    return max(_UNKNOWN, prod(max(1, _number(word.text)) for word in source if word.kind == "number"))


def _number(text: str) -> int:
    text = text.replace("_", "")
    try:
        return int(text, 0) if text.startswith(("0x", "0o")) else int(float(text))
    except (ValueError, OverflowError):
        return MOST_STEPS + 1


def _check_steps(steps: int) -> None:
    if steps > MOST_STEPS:
        raise QueryError(
            f"may take more than {MOST_STEPS:,} steps in one expression, where the server cannot be stopped",
            hint="take the rows apart with UNWIND, or use shorter ranges",
        )


def _check_pattern(words: Sequence[Neo4jToken], at: int, parameters: Mapping[str, Any]) -> None:
    hint = "use CONTAINS, STARTS WITH or ENDS WITH, or a simpler expression"
    word = words[at] if at < len(words) else Neo4jToken("symbol", "", 0)
    after = words[at + 1] if at + 1 < len(words) else Neo4jToken("symbol", "", 0)
    if word.kind not in ("string", "parameter") or after.text in ("+", "[", "."):
        raise QueryError(
            "has a regular expression that is computed", hint="write it out, or give it as a parameter"
        )
    pattern = parameters.get(word.text) if word.kind == "parameter" else word.text[1:-1].replace("\\\\", "\\")
    slow = slow_pattern(pattern) if isinstance(pattern, str) else ""
    if slow:
        raise QueryError(f"has a regular expression that {slow}: the server may never end it", hint=hint)
