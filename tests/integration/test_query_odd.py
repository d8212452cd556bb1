"""Odd parameters, names and values: one clear error each, from Python and from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from kgdistill.cli import main
from kgdistill.errors import QueryError
from kgdistill.store.ladybug.store import LadybugStore, MemoryStore


@pytest.fixture(scope="module", params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LadybugStore]:
    folder = tmp_path_factory.mktemp("odd") / "graph"
    with MemoryStore() if request.param == "memory" else LadybugStore(folder) as opened:
        yield opened


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1, "x"], "values of different kinds"),
        ([True, 1], "values of different kinds"),
        ([[1]], "an item of the parameter .* is a list"),
        ([], "a list without a value"),
        ([None], "a list without a value"),
        ({"a": 1}, "is a dict"),
        (b"x", "is a bytes"),
        (2**63, "does not fit in 64 bits"),
        ([1, 2**64], "does not fit in 64 bits"),
        (float("nan"), "not a finite number"),
        ([1.0, float("inf")], "not a finite number"),
        ("a\0b", "NUL"),
        ("a\ud800", "no text, at character 2"),
    ],
)
def test_a_parameter_that_no_engine_takes_is_named(store: LadybugStore, value: Any, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        store.query("RETURN $a AS x", {"a": value})


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ((1, 2), [1, 2]),
        (-(2**63), -(2**63)),
        ("'; LOAD FROM $x", "'; LOAD FROM $x"),
        (None, None),
        (datetime(2024, 1, 2, 3), datetime(2024, 1, 2, 3)),
        (datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 1, 2, 1)),
        ([datetime(2024, 1, 2)], [datetime(2024, 1, 2)]),
    ],
)
def test_a_parameter_comes_back_as_it_went(store: LadybugStore, value: Any, back: Any) -> None:
    assert store.query("RETURN $a AS x", {"a": value}).to_pylist() == [{"x": back}]


@pytest.mark.parametrize(
    ("cypher", "given", "says"),
    [
        ("RETURN $a + $b AS x", {"a": 1}, r"uses the parameter \$b, which is not given \(given: \$a\)"),
        ("RETURN $a AS x", {"a": 1, "b": 2}, r"'b' is given, but .* \(it uses: \$a\)"),
        ("RETURN '$a' AS x // $a", {"a": 1}, r"'a' is given, but .* \(it uses: none\)"),
        ("RETURN 'a\0' AS x", {}, "NUL"),
        ("RETURN 'a\udcff' AS x", {}, "no text, at character 10"),
        ("RETURN '" + "a" * 2**20 + "' AS x", {}, "longer than 1,048,576 characters"),
        ("RETURN 1 AS a, 2 AS a", {}, "two columns of the answer are called 'a'"),
    ],
)
def test_a_query_and_its_parameters_belong_together(
    store: LadybugStore, cypher: str, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        store.query(cypher, given)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan"), 1e30])
def test_a_timeout_is_a_time(store: LadybugStore, timeout_s: float) -> None:
    with pytest.raises(QueryError, match="must be above 0 and at most 86,400"):
        store.query("RETURN 1 AS x", timeout_s=timeout_s)


def test_whole_numbers_of_any_size_stay_exact(store: LadybugStore) -> None:
    row = store.query("UNWIND [1, 2] AS x RETURN 12345678901234567890123 AS a, sum(x) AS c").to_pylist()[0]
    assert int(row["a"]) == 12345678901234567890123
    assert row["c"] == 3
    large = store.query("RETURN CAST(18446744073709551615 AS UINT64) AS b").to_pylist()
    assert large == [{"b": 18446744073709551615}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["RETURN $a AS x", "-p", 'a=[1,"x"]'], "different kinds"),
        (["RETURN $a AS x", "-p", "a=" + "[" * 100_000], "nested too deeply"),
        (["RETURN $a AS x", "-p", "a=1e400"], "not a finite number"),
        (["RETURN 1 AS x", "--timeout", "inf"], "at most 86,400"),
        (["RETURN 1 AS x", "-p", "a b\x1b=1"], "is given, but the query does not use it"),
        (["RETURN 1 AS a, 2 AS a", "--json"], "two columns"),
        (["RETURN \x1b[31m"], r"RETURN \\x1b\[31m"),
        (["RETURN timestamp('99999-01-01 00:00:00') AS x"], "cannot be shown"),
        (["// nothing"], "the query is empty"),
    ],
)
def test_the_command_line_says_it_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    place = f"ladybug:{tmp_path}/graph"
    LadybugStore(tmp_path / "graph").close()
    assert main(["query", *arguments, "--store", place]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kgdistill: ")
    assert "\x1b" not in err
    assert re.search(says, err)


def test_numbers_that_are_none_are_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LadybugStore(tmp_path / "graph").close()
    query = "RETURN 0.0 / 0.0 AS a, 1e400 AS b, [0.0 / 0.0] AS c, 12345678901234567890123 AS d"
    assert main(["query", query, "--json", "--store", f"ladybug:{tmp_path}/graph"]) == 0
    expected = [{"a": None, "b": None, "c": [None], "d": 12345678901234567890123}]
    assert json.loads(capsys.readouterr().out) == expected
