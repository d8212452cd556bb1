"""The words of a Cypher query, as Neo4j's own parser cuts them; what it may cut otherwise is refused."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from kgdistill.errors import QueryError

Kind = Literal["word", "quoted", "string", "number", "parameter", "symbol"]

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/)
    | (?P<string>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
    | (?P<quoted>(?:`[^`]*`)+)
    | (?P<parameter>\$(?:\w+|(?:`[^`]*`)+))
    | (?P<number>(?:0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?)(?!\w))
    | (?P<word>[^\W\d]\w*)
    | (?P<symbol>(?!/\*)[!\#-&(-/:-@\[\]^{-~])
    """,
    re.VERBOSE | re.DOTALL,
)
_LARGEST = 200_000
_MOST_TOKENS = 50_000
_MOST_CLAUSES = 500
# The server's parser and planner call themselves for every level; where their stack ends, no answer comes.
_DEEPEST = 64
_DEEPEST_BRACES = 12
_CLAUSES = frozenset({"MATCH", "WITH", "UNWIND", "RETURN", "CALL", "UNION"})
_SHORTER = "give long lists as parameters"
_FLATTER = "write it flatter: lists with IN, conditions without brackets around each"


class Neo4jToken(NamedTuple):
    """A word of a query.

    Attributes:
        kind: what it is; `quoted` is a name in back-quotes.
        text: a name without back-quotes, a parameter without the dollar sign, all else as written.
        at: where it begins.
    """

    kind: Kind
    text: str
    at: int

    @property
    def keyword(self) -> str:
        """In capitals, where it could be a keyword; empty where not."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def is_name(self) -> bool:
        """Whether it can name something."""
        return self.kind in ("word", "quoted")


def tokens(cypher: str) -> list[Neo4jToken]:
    """The words of `cypher` without blanks and comments.

    Raises:
        QueryError: it is too long or too deep, or holds what the server may read in another way.
    """
    if len(cypher) > _LARGEST:
        raise QueryError(f"is longer than {_LARGEST:,} characters", hint=_SHORTER)
    escape = re.search(r"\\[uU]", cypher)
    if escape is not None:
        # The server puts the character in its place before it reads anything: it may end a text.
        raise QueryError(
            f"holds {escape[0]} {_place(cypher, escape.start())}",
            hint="write the character itself, or give the text as a parameter",
        )
    found: list[Neo4jToken] = []
    at = 0
    while at < len(cypher):
        match = _TOKEN.match(cypher, at)
        if match is None:
            raise _unreadable(cypher, at)
        at = match.end()
        kind, text = str(match.lastgroup), match[0]
        if kind != "blank":
            found.append(Neo4jToken(kind, _bare(kind, text), match.start()))  # type: ignore[arg-type]
    _check_size(found)
    return found


def _bare(kind: str, text: str) -> str:
    if kind == "parameter":
        text = text[1:]
    return text[1:-1].replace("``", "`") if text.startswith("`") else text


def _unreadable(cypher: str, at: int) -> QueryError:
    where = _place(cypher, at)
    begin = cypher[at]
    if begin in "'\"`" or cypher.startswith("/*", at):
        what = "comment" if begin == "/" else "name in back-quotes" if begin == "`" else "text"
        return QueryError(f"has a {what} without an end {where}")
    if begin.isdigit():
        return QueryError(f"has a number that runs into a word {where}", hint="put a blank between them")
    return QueryError(
        f"holds the character U+{ord(begin):04X} {where}", hint="write a blank, or put names into back-quotes"
    )


def _place(cypher: str, at: int) -> str:
    lines = cypher[:at].split("\n")
    return f"(line {len(lines)}, column {len(lines[-1]) + 1})"


def _check_size(found: list[Neo4jToken]) -> None:
    if len(found) > _MOST_TOKENS:
        raise QueryError(f"has more than {_MOST_TOKENS:,} words", hint=_SHORTER)
    if sum(token.keyword in _CLAUSES for token in found) > _MOST_CLAUSES:
        raise QueryError(f"has more than {_MOST_CLAUSES} clauses", hint="ask several queries")
    depth = braces = cases = signs = 0
    for token in found:
        word = token.keyword or (token.text if token.kind == "symbol" else "")
        # Each NOT and sign in a row is a level of its own.
        signs = signs + 1 if word in ("NOT", "+", "-") else 0
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        braces += (word == "{") - (word == "}")
        # END may be the name of a property.
        cases = max(0, cases + (word == "CASE") - (word == "END"))
        if depth + cases + signs > _DEEPEST or braces > _DEEPEST_BRACES:
            raise QueryError("is nested too deeply", hint=_FLATTER)
