from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kgdistill.errors import InputError
from kgdistill.explore import run_query, saved_queries, saved_query
from kgdistill.store import MemoryStore, load_schema, open_store


def test_every_saved_query_has_a_header_that_matches_its_text() -> None:
    queries = {query.name: query for query in saved_queries()}
    assert {
        "recommendations_of_user",
        "why",
        "brand_reach",
        "neighbours_of_product",
        "also_bought",
        "history_of_user",
        "runs",
    } <= set(queries)
    for query in queries.values():
        given = {part.partition("=")[0] for part in shlex.split(query.example)}
        assert given >= {p.name for p in query.parameters if p.default is None}, query.name
        assert given <= {p.name for p in query.parameters}, query.name
        assert query.title[0].isupper(), query.name
        assert not query.title.endswith("."), query.name


def test_a_saved_query_names_labels_and_properties_of_the_schema() -> None:
    schema = load_schema()
    kinds: dict[str, Any] = {**schema.nodes, **schema.relationships}
    for query in saved_queries():
        for parameter in query.parameters:
            kind, _, prop = parameter.type.partition(".")
            if kind not in ("string", "int", "float"):
                assert prop in kinds[kind].properties if prop else kind in schema.nodes, query.name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "// title: T\n// Says.\n// $a string: one\n// example: a=1\nRETURN $b AS b\n",
            "'a' is in the header or in the text",
        ),
        ("MATCH (n) RETURN n\n", "lacks the title"),
        ("// Says.\n// example:\nRETURN 1 AS x\n", "lacks the title"),
        ("// title: T\n// example:\nRETURN 1 AS x\n", "the question"),
        (
            "// title: T\n// Says.\n// $a strng: one\n// example: a=1\nRETURN $a AS a\n",
            "unknown type 'strng'\n.*did you mean 'string'",
        ),
    ],
)
def test_a_header_that_does_not_match_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "odd.cypher").write_text(text)
    with pytest.raises(InputError, match=says):
        saved_queries(tmp_path)


def test_a_query_may_have_a_text_for_each_store_and_needs_both(tmp_path: Path) -> None:
    header = "// title: T\n// Says.\n// example:\n"
    (tmp_path / "two.neo4j.cypher").write_text(header + "RETURN type($r)".replace("$r", "1"))
    with pytest.raises(InputError, match="no text for ladybug"):
        saved_queries(tmp_path)
    (tmp_path / "two.ladybug.cypher").write_text(header + "RETURN label(1)")
    assert "label" in saved_query("two", tmp_path).text["ladybug"]
    assert "type" in saved_query("two", tmp_path).text["neo4j"]


def test_wrong_names_and_values_are_named() -> None:
    with MemoryStore() as store:
        with pytest.raises(InputError, match="did you mean 'also_bought'"):
            run_query(store, "alsobought")
        with pytest.raises(InputError, match="did you mean 'product'"):
            run_query(store, "also_bought", {"prodct": "1"})
        with pytest.raises(InputError, match="needs the parameter 'product'"):
            run_query(store, "also_bought")
        with pytest.raises(InputError, match="'limit' is 'many', not int"):
            run_query(store, "also_bought", {"product": "1", "limit": "many"})
        for below in (-1, "-1"):
            with pytest.raises(InputError, match="'limit' is -1, below 0"):
                run_query(store, "also_bought", {"product": "1", "limit": below})


@pytest.mark.parametrize("arguments", [["list"], ["RETURN 1 AS x", "--store", "{}"]])
def test_a_query_loads_nothing_that_only_models_and_pictures_need(
    tmp_path: Path, arguments: list[str]
) -> None:
    store = f"ladybug:{tmp_path}/graph"
    with open_store(store):
        pass
    code = (
        "import sys; from kgdistill.cli import main; assert main(sys.argv[1:]) == 0; "
        "print([m for m in ('torch', 'matplotlib', 'networkx', 'neo4j', 'pandas') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "query", *(a.format(store) for a in arguments)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
