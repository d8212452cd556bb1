"""What a person's query to Neo4j may do: read the graph, and nothing else.

The server takes a few things for reads that are none: LOAD CSV fetches any address, some procedures change
the server. They are kept out twice. Before a query is sent, its words are looked at; then every operator of
the server's own plan must be one that reads. The plan alone does not do: what stands inside an expression
(a CASE, a list comprehension) is no operator of it, but text in the details of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kgdistill.errors import QueryError
from kgdistill.store.neo4j.tokens import Neo4jToken

PROCEDURES = frozenset(
    {
        *("db.labels", "db.relationshipTypes", "db.propertyKeys", "db.ping", "db.info"),
        *("db.schema.visualization", "db.schema.nodeTypeProperties", "db.schema.relTypeProperties"),
        *("db.index.fulltext.queryNodes", "db.index.fulltext.queryRelationships"),
        *("db.index.fulltext.listAvailableAnalyzers",),
        *("db.index.vector.queryNodes", "db.index.vector.queryRelationships"),
    }
)
# A function without a dot in its name is the server's own, and those only compute.
_NAMESPACES = frozenset(
    (
        *("date", "datetime", "duration", "graph", "localdatetime"),
        *("localtime", "point", "time", "vector", "vector.similarity"),
    )
)
# What follows a variable and is no procedure's name: before it CALL is a variable. The plan sees to the rest.
_AFTER_A_NAME = frozenset(
    {"AS", "AND", "OR", "XOR", "IN", "IS", "STARTS", "ENDS", "CONTAINS", "ORDER", "SKIP", "LIMIT", "WHERE"}
    | {"RETURN", "WITH", "MATCH", "OPTIONAL", "UNWIND", "UNION", "ASC", "ASCENDING", "DESC", "DESCENDING"}
    | {"THEN", "ELSE", "END", "WHEN"}
)
_BEGINNINGS = frozenset({"MATCH", "OPTIONAL", "WITH", "UNWIND", "RETURN", "CALL", "SHOW"})
_READING = """
    AllNodesScan AllRelationshipsScan AntiConditionalApply AntiSemiApply Apply Argument AssertSameNode
    AssertSameRelationship BFSPruningVarLengthExpand BidirectionalRepeat CacheProperties CartesianProduct
    ConditionalApply Distinct Eager EagerAggregation EmptyResult EmptyRow ExhaustiveLimit Expand Filter
    IntersectionNodeByLabelsScan LetAntiSemiApply LetSelectOrAntiSemiApply LetSelectOrSemiApply
    LetSemiApply Limit MultiNodeIndexSeek NodeByElementIdSeek NodeByIdSeek NodeByLabelScan
    NodeCountFromCountStore NodeHashJoin NodeIndexContainsScan NodeIndexEndsWithScan NodeIndexScan
    NodeIndexSeek NodeIndexSeekByRange NodeLeftOuterHashJoin NodeRightOuterHashJoin NodeUniqueIndexSeek
    NodeUniqueIndexSeekByRange NullifyMetadata Optional OptionalExpand OrderedAggregation OrderedDistinct
    OrderedUnion PartialSort PartialTop ProcedureCall ProduceResults ProjectEndpoints Projection
    RelationshipByElementIdSeek RelationshipByIdSeek RelationshipCountFromCountStore
    RelationshipIndexContainsScan RelationshipIndexEndsWithScan RelationshipIndexScan
    RelationshipIndexSeek RelationshipIndexSeekByRange RelationshipTypeScan RelationshipUniqueIndexSeek
    RelationshipUniqueIndexSeekByRange Repeat RollUpApply SelectOrAntiSemiApply SelectOrSemiApply
    SemiApply ShortestPath ShowConstraints ShowFunctions ShowIndexes ShowProcedures Skip Sort
    StatefulShortestPath SubtractionNodeByLabelsScan Top Top1WithTies TriadicBuild TriadicFilter
    TriadicSelection Union UnionNodeByLabelsScan UnionRelationshipTypesScan Unwind ValueHashJoin
    VarLengthExpand
"""
_OPERATORS = frozenset(_READING.split())
_KIND = re.compile(
    r"(?:Partitioned)?(?:Directed|Undirected)?([A-Za-z0-9]+)(?:\([A-Za-z, ]+\))?"
    r"@(?!system\Z)[A-Za-z0-9._-]+\Z"
)
_BACK_QUOTED = re.compile(r"`[^`]*`")
_HIDDEN = re.compile(r"\bLOAD\s+CSV\b|(?:Resolved|Unresolved)Call\(", re.IGNORECASE)
_ONLY_READ = "and queries may only read the graph"


def check_words(words: Sequence[Neo4jToken]) -> None:
    """Refuses a query (QueryError) by its words, wherever in it they stand."""
    if not words:
        raise QueryError("is empty")
    if words[0].keyword not in _BEGINNINGS:
        raise QueryError(
            f"begins with {words[0].text!r}, {_ONLY_READ}",
            hint=f"begin with one of: {', '.join(sorted(_BEGINNINGS))}",
        )
    for n, word in enumerate(words):
        after = words[n + 1] if n + 1 < len(words) else Neo4jToken("symbol", "", 0)
        if word.keyword == "LOAD" and after.keyword == "CSV":
            raise QueryError(f"holds LOAD CSV, {_ONLY_READ}")
        if word.kind == "symbol" and word.text == ";" and after.text:
            raise QueryError("holds several statements", hint="run one at a time")
        if not word.is_name or _is_property(words, n):
            continue
        if word.keyword == "CALL" and after.is_name and after.keyword not in _AFTER_A_NAME:
            _check_procedure(_dotted(words, n + 1)[0])
            continue
        name, end = _dotted(words, n)
        called = end < len(words) and words[end].kind == "symbol" and words[end].text == "("
        if called and "." in name and not (n and words[n - 1].keyword == "CALL"):
            _check_function(name)


def check_plan(plan: Mapping[str, Any] | None) -> None:
    """Refuses a query (QueryError) by the server's plan: an operator that is not known to read only."""
    if plan is None:
        raise QueryError(f"has no plan, {_ONLY_READ}")
    operator = str(plan.get("operatorType", ""))
    details = str(plan.get("args", {}).get("Details", ""))
    kind = _KIND.match(operator)
    if kind is None or kind[1] not in _OPERATORS:
        raise QueryError(f"would run {operator.partition('@')[0]}, {_ONLY_READ}")
    if kind[1] == "ProcedureCall":
        _check_procedure(details.partition("(")[0].strip())
    if _HIDDEN.search(_BACK_QUOTED.sub("", details)):
        raise QueryError(f"holds LOAD CSV or a CALL inside an expression, {_ONLY_READ}")
    for child in plan.get("children", ()):
        check_plan(child)


def _is_property(words: Sequence[Neo4jToken], n: int) -> bool:
    """Whether a name follows a dot; one after `1.` does not, for that is a number."""
    return (
        n > 1
        and words[n - 1][:2] == ("symbol", ".")
        and (words[n - 2].is_name or words[n - 2].text in (")", "]", "}"))
    )


def _dotted(words: Sequence[Neo4jToken], start: int) -> tuple[str, int]:
    """The name with dots that begins at `start`, and where it has ended."""
    parts, at = [words[start].text], start + 1
    while (
        at + 1 < len(words) and words[at].text == "." and words[at].kind == "symbol" and words[at + 1].is_name
    ):
        parts.append(words[at + 1].text)
        at += 2
    return ".".join(parts), at


def _check_procedure(name: str) -> None:
    if name not in PROCEDURES:
        known = ", ".join(sorted(PROCEDURES))
        raise QueryError(f"calls {name}, {_ONLY_READ}", hint=f"these can be called: {known}")


def _check_function(name: str) -> None:
    if name.lower().rpartition(".")[0] not in _NAMESPACES and name != "db.nameFromElementId":
        raise QueryError(f"calls {name}(), {_ONLY_READ}")
