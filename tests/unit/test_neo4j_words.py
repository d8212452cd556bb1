"""The words of a query to Neo4j, what they may be, and values in the types of the schema."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import QueryError
from kgdistill.store import load_schema
from kgdistill.store.neo4j.fence import check_plan, check_words
from kgdistill.store.neo4j.tokens import tokens
from kgdistill.store.neo4j.typed import converted, typed
from tests._load_script import load_script

HOSTILE = load_script("bench/_hostile.py")
SCHEMA = load_schema()
APRIL = datetime(2024, 4, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("cypher", HOSTILE.NEO4J_FETCHES)
def test_load_csv_is_seen_wherever_it_stands(cypher: str) -> None:
    with pytest.raises(QueryError):
        check_words(tokens(cypher))


@pytest.mark.parametrize(
    "cypher",
    [
        "RETURN 'LOAD CSV FROM' AS a",
        'MATCH (p:Product) WHERE p.title CONTAINS "load csv" RETURN p.title // LOAD CSV',
        "MATCH (load)-[csv]->(m) RETURN load, csv /* LOAD CSV */",
        "MATCH (n) RETURN n.`LOAD CSV`, n.call AS call",
        "RETURN 'it\\'s', \"a\\\"b\", `c``d`, $p, $`a b`, 1.5e-3, 0xFF, .5, [1..3] AS x;",
        "CALL db.labels() YIELD label RETURN label",
        "CALL () { MATCH (n) RETURN n } RETURN date.truncate('month', date()), duration.between(a, b)",
        "RETURN vector.similarity.cosine([1], [1]), point.distance(a, b)",
        "MATCH (n)-[*1..3]->(m) WHERE n.größe > 1 RETURN count(*)",
        "SHOW INDEXES",
    ],
)
def test_a_query_that_only_reads_passes(cypher: str) -> None:
    check_words(tokens(cypher))


@pytest.mark.parametrize(
    ("cypher", "says"),
    [
        ("", "empty"),
        ("// nothing", "empty"),
        ("RETURN 'open", "a text without an end"),
        ("RETURN `open", "back-quotes without an end"),
        ("RETURN 1 /* open", "comment without an end"),
        ("RETURN 1AS x", "number that runs into a word"),
        ("RETURN\u00a01", r"U\+00A0 \(line 1, column 7\)"),
        ("RETURN 1\n  \x00", r"U\+0000 \(line 2, column 3\)"),
        (r"RETURN '\u0041'", r"holds \\u"),
        ("RETURN 1; RETURN 2", "several statements"),
        ("PROFILE RETURN 1", "begins with 'PROFILE'"),
        ("WITH 1. AS x CALL db.stats.clear('QUERIES') YIELD section RETURN 1", r"calls db\.stats\.clear"),
        ("RETURN 1 ORDER BY 1. CALL db.stats.clear('QUERIES')", r"calls db\.stats\.clear"),
        ("RETURN apoc . version()", r"calls apoc\.version\(\)"),
        ("RETURN " + "(" * 65 + "1" + ")" * 65, "nested too deeply"),
        ("RETURN " + "NOT " * 65 + "true", "nested too deeply"),
        ("RETURN " + "CASE WHEN true THEN " * 65 + "1" + " END" * 65, "nested too deeply"),
        ("RETURN " + "{a: " * 13 + "1" + "}" * 13, "nested too deeply"),
        ("RETURN '" + "x" * 200_000 + "'", "longer than 200,000"),
        ("RETURN [" + "1," * 30_000 + "1]", "more than 50,000 words"),
        ("RETURN 1 " + "UNION RETURN 1 " * 300, "more than 500 clauses"),
    ],
)
def test_what_is_not_sent_is_said(cypher: str, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        check_words(tokens(cypher))


def test_the_words_end_where_the_servers_do() -> None:
    found = [
        (t.kind, t.text)
        for t in tokens("MATCH (a:`b``c` {d: $`e f`})--(g) // h\nRETURN 'i\\'j' AS k /* l */;")
    ]
    assert found[:6] == [
        ("word", "MATCH"),
        ("symbol", "("),
        ("word", "a"),
        ("symbol", ":"),
        ("quoted", "b`c"),
        ("symbol", "{"),
    ]
    assert ("parameter", "e f") in found
    assert found[-4:] == [("string", "'i\\'j'"), ("word", "AS"), ("word", "k"), ("symbol", ";")]


@given(st.text(st.sampled_from("aL'\"`/*\\\n\r $.u1(){}[]|-é\u00a0"), max_size=40))
def test_any_text_is_cut_whole_or_refused(text: str) -> None:
    try:
        found = tokens(text)
    except QueryError:
        return
    ends = [token.at for token in found] + [len(text)]
    assert ends == sorted(ends)
    # Nothing but blanks and comments lies between the words.
    for token, end in zip(found, ends[1:], strict=True):
        assert text[token.at : end].startswith((token.text[:1], "`", "$"))


TEXTS = st.text(st.sampled_from("a '\"`/*\n\r\\"), max_size=30)


@given(TEXTS, TEXTS)
def test_load_csv_is_hidden_by_a_text_name_or_comment_alone(before: str, after: str) -> None:
    try:
        found = tokens(f"RETURN {before} x LOAD CSV y {after}")
    except QueryError:
        return
    if not any(a.keyword == "LOAD" and b.keyword == "CSV" for a, b in pairwise(found)):
        assert any(quote in before for quote in ("'", '"', "`", "//", "/*"))


def plan(operator: str, details: str = "", *children: dict[str, Any]) -> dict[str, Any]:
    return {"operatorType": operator, "args": {"Details": details}, "children": list(children)}


def test_a_plan_with_an_operator_that_is_not_known_to_read_is_refused() -> None:
    check_plan(plan("ProduceResults@neo4j", "a", plan("VarLengthExpand(All)@shop", "(a)-[*]->(b)")))
    check_plan(plan("ProduceResults@neo4j", "`'LOAD CSV'`", plan("DirectedRelationshipTypeScan@neo4j", "x")))
    check_plan(plan("ProcedureCall@neo4j", "db.labels() :: (label :: STRING)"))
    for refused in (
        None,
        plan("ProduceResults@system"),
        plan("SomethingNew@neo4j"),
        plan("ProduceResults@neo4j", "a", plan("Apply@neo4j", "", plan("LoadCSV@neo4j", "row"))),
        plan("ProcedureCall@neo4j", "db.stats.clear($a) :: (section :: STRING)"),
        plan("Projection@neo4j", '[i IN $l | COLLECT { LOAD CSV FROM "x" AS row RETURN 1 AS x }] AS `a`'),
        plan("Projection@neo4j", "[i IN $l | COLLECT { ResolvedCall(db.stats.clear(a)) }] AS a"),
    ):
        with pytest.raises(QueryError):
            check_plan(refused)


def sent(cypher: str, *, zoned: bool = True, **values: Any) -> tuple[str, dict[str, Any]]:
    found = typed(cypher, tokens(cypher), values, SCHEMA, zoned=zoned)
    return found.cypher, {name: value for name, value in found.values.items() if name not in values}


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        ("b.first_at >= '2024-04-01'", "b.first_at >= datetime('2024-04-01T00:00:00')"),
        ("b.first_at >= date('2024-04-01')", "b.first_at >= datetime({date: date('2024-04-01')})"),
        ('date("2024-04-01") <= b.first_at', 'datetime({date: date("2024-04-01")}) <= b.first_at'),
        ("b.first_at > timestamp('2024-04-01')", "b.first_at > datetime('2024-04-01')"),
        ("b.first_at > datetime('2024-04-01')", "b.first_at > datetime('2024-04-01')"),
        ("b.first_at > datetime($d)", "b.first_at > datetime({datetime: datetime($d), timezone: 'Z'})"),
        (
            "b.first_at < localdatetime()",
            "b.first_at < datetime({datetime: localdatetime(), timezone: 'Z'})",
        ),
        ("date(b.first_at) = date('2024-04-01')", "date(b.first_at) = date('2024-04-01')"),
        ("p.product_id = 20000", "p.product_id = '20000'"),
        ("p.product_id IN [1, '2', 3]", "p.product_id IN ['1', '2', '3']"),
        ("20000 = p.product_id", "'20000' = p.product_id"),
        ("b.count = '3'", "b.count = 3"),
        ("b.count = 3 AND p.title = '3'", "b.count = 3 AND p.title = '3'"),
        ("'3' <= b.count AND b.count < '9'", "3 <= b.count AND b.count < 9"),
    ],
)
def test_a_value_is_sent_in_the_type_of_the_property_beside_it(written: str, becomes: str) -> None:
    query = "MATCH (u:User)-[b:BOUGHT]->(p:Product) WHERE {} RETURN 1"
    assert sent(query.format(written))[0] == query.format(becomes)


def test_values_of_patterns_are_typed_and_maps_of_other_kinds_are_left() -> None:
    text = "MATCH (p:Product {{product_id: {}}})-[b:BOUGHT {{count: {}}}]-() RETURN {{count: '3'}} AS count"
    assert sent(text.format("20000", "'3'"))[0] == text.format("'20000'", "3")
    left = "RETURN datetime({year: 2024}), collect({count: '3'}), [{title: 3}], 'a' + 3"
    assert sent(left)[0] == left


def test_parameters_are_sent_in_the_type_of_the_property_beside_them() -> None:
    query, added = sent(
        "MATCH (p:Product {product_id: $p})<-[b]-() WHERE b.first_at > $d RETURN $p", p=7, d="2024-04-01"
    )
    assert query == (
        "MATCH (p:Product {product_id: $`p (string)`})<-[b]-() WHERE b.first_at > $`d (timestamp)` RETURN $p"
    )
    assert added == {"p (string)": "7", "d (timestamp)": APRIL}
    query, added = sent(
        "MATCH (p) WHERE $`a b` = p.product_id OR p.product_id IN $l RETURN 1", **{"a b": 7, "l": [1, "2"]}
    )
    assert query == "MATCH (p) WHERE $`a b (string)` = p.product_id OR p.product_id IN $`l (string)` RETURN 1"
    assert added == {"a b (string)": "7", "l (string)": ["1", "2"]}
    assert sent("MATCH ()-[b]->() WHERE b.first_at > $d RETURN 1", zoned=False, d=APRIL)[1] == {
        "d (timestamp)": datetime(2024, 4, 1)
    }


def test_times_of_an_earlier_version_are_compared_without_a_zone() -> None:
    query = "MATCH ()-[b]->() WHERE b.first_at > {} RETURN 1"
    for written, becomes in (
        ("'2024-04-01'", "localdatetime('2024-04-01T00:00:00')"),
        ("localdatetime('2024-04-01')", "localdatetime('2024-04-01')"),
        (
            "datetime('2024-04-01')",
            "localdatetime({datetime: datetime({datetime: datetime('2024-04-01'), timezone: 'Z'})})",
        ),
    ):
        assert sent(query.format(written), zoned=False)[0] == query.format(becomes)


@pytest.mark.parametrize(
    ("cypher", "values", "says"),
    [
        ("MATCH (p) WHERE p.product_id = true RETURN 1", {}, "product_id, which is a text, with true"),
        (
            "MATCH (b) WHERE b.count > $n RETURN 1",
            {"n": "x"},
            r"count, which is a number, with the text 'x' \(\$n\)",
        ),
        (
            "MATCH (b) WHERE b.first_at > $d RETURN 1",
            {"d": "hello"},
            "a time, with 'hello': write it like 2024",
        ),
        ("MATCH (b) WHERE b.first_at > 5 RETURN 1", {}, "a time, with 5"),
        ("MATCH (b) WHERE b.first_at > '1. April' RETURN 1", {}, "a time, with '1. April'"),
        ("MATCH (p:Product) RETURN p.brand_id", {}, r"p\.brand_id, which p does not have"),
    ],
)
def test_a_value_that_cannot_be_of_the_type_is_refused(
    cypher: str, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        sent(cypher, **values)


def test_a_text_that_looks_like_a_time_and_is_compared_with_nothing_known_is_noted() -> None:
    for query, notes in (
        ("MATCH ()-[b:BOUGHT]->() WITH b.first_at AS t WHERE t > $d RETURN count(*)", 1),
        ("MATCH ()-[b:BOUGHT]->() WHERE b.first_at > datetime($d) RETURN count(*)", 0),
        ("MATCH (p:Product) WHERE p.title = $d RETURN 1", 0),
    ):
        assert len(typed(query, tokens(query), {"d": "2024-04-01"}, SCHEMA, zoned=True).notes) == notes


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-12, 12))
def test_a_time_means_the_same_in_every_zone_and_spelling(time: datetime, hours: int) -> None:
    zoned = time.replace(tzinfo=timezone.utc).astimezone(timezone(timedelta(hours=hours)))
    for value in (time, zoned, time.isoformat(), zoned.isoformat(), time.isoformat(" ") + "Z"):
        assert converted(value, "timestamp") == time.replace(tzinfo=timezone.utc)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_go_to_text_and_back(number: int) -> None:
    text = converted(number, "string")
    assert text == str(number)
    assert converted(text, "int64") == number
