"""What a server would compute for hours inside one expression, told from what it answers at once."""

from __future__ import annotations

from typing import Any

import pytest

from kgdistill.errors import QueryError
from kgdistill.store.neo4j.tokens import tokens
from kgdistill.store.neo4j.work import check_work, slow_pattern

STEPS, PATTERN = "may take more than 10,000,000 steps", "has a regular expression that"


@pytest.mark.parametrize(
    "cypher",
    [
        "RETURN reduce(s = 0, i IN range(1, 100000) | s + i) AS a",
        "RETURN reduce(s = 'x', j IN range(1, 20) | s + s) AS a",
        "RETURN [i IN range(1, 1000) WHERE any(j IN range(1, 1000) WHERE i = j) | i] AS a",
        "MATCH p = (a)-[*..3]->(b) WHERE all(n IN nodes(p) WHERE none(l IN labels(n) WHERE l IN ['X', 'Y'])) "
        "RETURN [n IN nodes(p) | [k IN keys(n) | n[k]]] AS a",
        "MATCH (p:Product) WITH collect(p) AS ps RETURN [i IN range(0, size(ps) - 1) | ps[i].title] AS a",
        "MATCH (a) WITH collect(a) AS xs RETURN [x IN xs WHERE any(y IN xs WHERE y.n > x.n)] AS a",
        "UNWIND range(1, 1000000000) AS x RETURN x",
        "RETURN range(1, 5000000) AS a, range(10, 1, -1) AS b, 'range(1, 1000000000)' AS c",
        # One after the other is not one in the other.
        "RETURN any(i IN range(1, 1000000) WHERE i = 0) OR any(i IN range(1, 1000000) WHERE i = 1) AS a",
        "MATCH (n) WHERE n.any IN [1] RETURN [(n)-->(m) WHERE m.x IN [1] | m.x] AS a, n.range",
    ],
)
def test_loops_that_end_pass(cypher: str) -> None:
    check_work(tokens(cypher), {})


@pytest.mark.parametrize(
    "cypher",
    [
        "RETURN reduce(s = 0, i IN range(1, 1000000000) | s + i) AS a",
        "RETURN any(i IN range(1, 10000) WHERE any(j IN range(1, 10000) WHERE i + j < 0)) AS a",
        "RETURN ALL ( i IN RANGE ( 1 , 10000 ) WHERE none(j IN range(1, 10000) WHERE i = j)) AS a",
        "RETURN [i IN range(1, 1000000000) WHERE i < 0] AS a",
        "RETURN [i IN range(1, 10000) | [j IN range(1, 10000) | i * j]] AS a",
        "RETURN [i IN range(1, 100000000000000000000, 2) | i] AS a",
        "MATCH (x) WITH collect(x) AS l RETURN any(a IN l WHERE any(b IN l WHERE any(c IN l WHERE a = c)))",
        "WITH range(1, 1000000000) AS xs RETURN single(x IN xs WHERE x < 0) AS a",
        "MATCH (n) RETURN reduce(s = 0, i IN range(n.x, 1e12) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, 1_000_000_000) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, 1e999) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, 1" + "0" * 5000 + ") | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, 0x_) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(0x1, 0xFFFFFFFF) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, 1000 * 1000 * 1000) | s + i) AS a",
        "RETURN reduce(s = 0, i IN range(1, toInteger(10 ^ 12)) | s + i) AS a",
        "RETURN reduce(s = reduce(t = 0, k IN range(1, 9) | t), i IN range(-1000000000, 0) | s + i) AS a",
    ],
)
def test_loops_that_do_not_end_are_refused(cypher: str) -> None:
    with pytest.raises(QueryError, match=STEPS):
        check_work(tokens(cypher), {})


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            ".*tea.*",
            "(?i).*green tea.*",
            "[a-z]+-\\d{1,3}",
            "(tea|coffee).*",
            "(?:ab)+",
            "colou?rs?",
            "a{3}",
        ),
        *("(a)?b", "\\(a+\\)+", "[(a+)]+x", "\\Q(a+)+\\E", ".*?x.*+y", "(tea|coffee)?", ""),
    ],
)
def test_expressions_that_end_pass(pattern: str) -> None:
    assert slow_pattern(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+b", "(a|aa)+b", "(.*a){20}b", "(a?){60}b", "((ab)*c)*d", "(?:a+)*b", "(a)\\1", "((a+))+"),
        *("(?<x>a)\\k<x>", "a*a*a*a*b", "a{1,9}a{1,9}a{1,9}a{1,}b", "a?" * 30 + "a" * 30, "(a|b){2,}c"),
    ],
)
def test_expressions_that_may_not_end_are_refused(pattern: str) -> None:
    assert slow_pattern(pattern)
    for text, given in ((pattern.replace("\\", "\\\\"), {}), ("", {"x": pattern})):
        right = "$x" if given else f"'{text}'"
        with pytest.raises(QueryError, match=PATTERN):
            check_work(tokens(f"MATCH (p) WHERE p.title =~ {right} RETURN p.title"), given)


@pytest.mark.parametrize(
    ("right", "given"),
    [("'.*tea.*'", {}), ("$x", {"x": "(?i)tea.*"}), ("$x AND true", {"x": None}), ('"tea" OR 1 = 2', {})],
)
def test_what_is_written_or_given_is_looked_at(right: str, given: dict[str, Any]) -> None:
    check_work(tokens(f"MATCH (p) WHERE p.title =~ {right} RETURN p.title"), given)


@pytest.mark.parametrize("right", ["'(a+' + ')+'", "p.pattern", "($x)", "toString($x)", "$x + '+'", "$x[0]"])
def test_what_is_computed_is_refused(right: str) -> None:
    with pytest.raises(QueryError, match="regular expression that is computed"):
        check_work(tokens(f"MATCH (p) WHERE p.title =~ {right} RETURN p.title"), {"x": "(a+)+"})
