"""What a query on an embedded store may say, checked before the engine looks at it.

The engine opens the files that a query names while it only prepares it, so its own plan comes too late.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from kgdistill.store.cypher_tokens import Token, UnclosedError, tokens
from kgdistill.store.query.child import RefusedError

# Those that only tell of the graph.
FUNCTIONS = frozenset({"SHOW_TABLES", "TABLE_INFO", "SHOW_CONNECTION", "SHOW_FUNCTIONS", "DB_VERSION"})
_BEGINS = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL")
# Words that may follow a variable: before them LOAD and CALL are a name.
_FOLLOWS = re.compile(
    "AS|AND|OR|XOR|IN|IS|STARTS|ENDS|CONTAINS|ORDER|SKIP|LIMIT|WHERE|RETURN|WITH|MATCH|OPTIONAL"
    "|UNWIND|CALL|UNION|ASC|ASCENDING|DESC|DESCENDING|THEN|ELSE|END|WHEN|HINT|YIELD|CREATE|MERGE|SET"
    "|DELETE|DETACH"
)
_SCANS = re.compile(r"READ_.*|.*_SCAN|SCAN_.*", re.IGNORECASE | re.DOTALL)
# No label, alias or variable without backquotes (measured on Ladybug 0.22).
_RESERVED = re.compile(
    "ACYCLIC|ALL|AND|ANY|ASC|ASCENDING|CASE|CAST|COLUMN|CREATE|DBTYPE|DEFAULT|DESC|DESCENDING"
    "|DISTINCT|ELSE|END|ENDS|EXISTS|FALSE|FOR|GLOB|GROUP|HEADERS|HINT|IN|INDEX|INSTALL|JOIN|MACRO"
    "|MULTI_JOIN|NONE|NOT|NULL|ON|ONLY|OPTIONAL|OPTIONS|OR|ORDER|PRIMARY|PROFILE|SHORTEST|SINGLE"
    "|SORTED|STARTS|TABLE|THEN"
    "|TRAIL|TRUE|UNION|UNWIND|WHEN|WHERE|WITH|WSHORTEST|XOR"
)
# What the engine says of a query itself. Anything else may quote a file, or tell that there is one.
_ABOUT_THE_QUERY = re.compile(
    r"Parser exception: .*"
    r"|Catalog exception: (function|macro) \S+ does not exist\."
    r"|Binder exception: ("
    r"Variable .* (is not in scope|already exists)\."
    r"|Cannot find property .* for .*\."
    r"|Table .* does not exist\."
    r"|Function .* did not receive correct arguments:.*"
    r"|Cannot match a built-in function for given function .*"
    r"|Expression in WITH must be aliased .*|In WITH clause, ORDER BY .*"
    r"|(Expression )?.* has data type .* but .*(expected|supported).*"
    r"|The number of columns to union.*|Union and union all .*"
    r"|Type Mismatch: Cannot compare types .*"
    r"|Cannot bind .*|Cannot order by .*|Invalid struct field name.*"
    r"|(Lower|Upper) bound of .*"
    r"|Query node .*|Nested .*|Parameter .* not found.*"
    r")"
    r"|Conversion exception: (Cast failed\. )?(Could not convert|Error occurred during parsing) .*"
    r"|Overflow exception: .*"
    r"|Runtime exception: (Divide by zero|Modulo by zero|The number of rows to skip/limit|list_extract|"
    r"Invalid (regular|regex|substring)|Integer value).*",
    re.DOTALL,
)
# Words of such messages; any other word in one must stand in the query: a column's name may be a file's line.
_WORDS = frozenset(
    re.findall(
        r"\w+",
        """binder exception variable is not in scope already exists cannot find property for table does
        exist function did receive correct arguments actual expected match a built given supported
        inputs are expression with must be aliased use as clause order by followed skip or limit has
        data type but was implicit cast the number of columns to union all same and can used together
        mismatch compare types bind invalid struct field name lower upper bound exceeds maximum query
        node nested parameter found any default distinct star string bool int8 int16 int32 int64 int128
        uint8 uint16 uint32 uint64 uint128 float double decimal serial date timestamp timestamp_ns
        timestamp_ms timestamp_sec timestamp_tz interval uuid blob list array map rel recursive_rel
        internal_id list_creation""",
    )
)
_MOST_OF_A_MESSAGE = 1000


def readable(cypher: str) -> str:
    """The text that the engine may prepare: the same without its comments.

    Raises:
        RefusedError: it does more than read the graph, or is not one query.
    """
    try:
        found, plain = tokens(cypher)
    except UnclosedError as error:
        raise RefusedError(str(error)) from error
    while found and found[-1].text == ";" and found[-1].kind == "symbol":
        found.pop()
    if not found:
        raise RefusedError("the query is empty", "such as: MATCH (n) RETURN count(*) AS n")
    if any(token.kind == "symbol" and token.text == ";" for token in found):
        raise RefusedError("the query holds several statements", "run one at a time")
    if found[0].upper not in _BEGINS:
        raise RefusedError(
            f"the query is not read-only: it begins with {_short(found[0].text)}",
            f"it may begin with {', '.join(_BEGINS)}",
        )
    for place, token in enumerate(found):
        _check(found, place, token)
    return plain


def _check(found: Sequence[Token], place: int, token: Token) -> None:
    after = found[place + 1] if place + 1 < len(found) else Token("symbol", "")
    second = found[place + 2] if place + 2 < len(found) else Token("symbol", "")
    names = after.kind in ("word", "name", "string", "parameter")
    if token.upper == "LOAD" and names:
        headers = (after.upper, second.upper) == ("WITH", "HEADERS")
        if headers or not _FOLLOWS.fullmatch(after.upper):
            raise RefusedError("the query is not read-only: it would LOAD files")
    if token.upper == "CALL" and names and not _FOLLOWS.fullmatch(after.upper):
        called = after.text.upper()
        if called not in FUNCTIONS or second.text != "(":
            raise RefusedError(
                f"the query is not read-only: it would call {_short(after.text)}",
                f"it may call {', '.join(sorted(FUNCTIONS))}",
            )
    if token.kind in ("word", "name") and after.text == "(" and _SCANS.fullmatch(token.text):
        before = found[place - 1].text if place else ""
        if before not in (".", ":", "|"):
            raise RefusedError(
                f"the query is not read-only: it would call {_short(token.text)}, a scan of files"
            )


def limited_orders(cypher: str) -> int:
    """How many ORDER BY of a query are followed by a SKIP or LIMIT of the same clause."""
    found, _ = tokens(cypher)
    number, ordered = 0, False
    for before, token in pairwise(found):
        if before.text in (".", ",", ":") or before.upper in ("AS", "BY"):
            continue  # A name, whatever its letters.
        if token.upper in ("LIMIT", "SKIP"):
            number += ordered
            ordered = False
        elif token.upper in ("ORDER", *_BEGINS):
            ordered = token.upper == "ORDER"
    return number


def about_the_query(text: str, cypher: str) -> RefusedError:
    """What the engine said, where it is of the query alone; else that it cannot be run, and no more."""
    if len(text) > _MOST_OF_A_MESSAGE:
        text = f"{text[:_MOST_OF_A_MESSAGE]} …"
    words = set(re.findall(r"\w+", text.lower()))
    known = _WORDS.union(re.findall(r"\w+", cypher.lower()))
    if _ABOUT_THE_QUERY.fullmatch(text) is None or (text.startswith("Binder") and not words <= known):
        return RefusedError("the engine cannot run the query", "check its clauses, names and types")
    if "function TYPE does not exist" in text:
        return RefusedError(text, "this store says label(r) for type(r)")
    return RefusedError(text, _reserved_hint(cypher) if text.startswith("Parser exception") else "")


def _reserved_hint(cypher: str) -> str:
    found, _ = tokens(cypher)
    for before, token, after in zip(found, found[1:], [*found[2:], Token("symbol", "")], strict=False):
        # Such as `AS end`, `[:FOR|MADE_BY]`, `n.group`, and `(order:Product {group: 1})`.
        names = before.upper == "AS" or before.text in (":", ".", "|")
        names |= before.text in ("(", "[", "{", ",") and after.text == ":"
        if names and _RESERVED.fullmatch(token.upper):
            return f"{token.text} is a word of the language: as a name write it in backquotes, `{token.text}`"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
