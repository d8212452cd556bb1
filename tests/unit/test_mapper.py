from __future__ import annotations

import hmac
import unicodedata
from collections import Counter
from datetime import date, datetime, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest.mapping.load import CompiledSource, parse_mapping
from kgdistill.ingest.mapping.mapper import Mapped, map_batch
from kgdistill.ingest.model import REJECT_SCHEMA
from kgdistill.ingest.readers import RawBatch
from kgdistill.ingest.rows import row_schema
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
NOW = datetime(2024, 6, 1, 12)
SALT = b"salt"
NO_TIME = "is not a time such as 2017-04-01 or 2017-04-01T13:05:00Z"


@lru_cache
def compiled_source(body: str) -> CompiledSource:
    whole = {"version": 1, "name": "m", "sources": {"s": yaml.safe_load(body)}}
    return parse_mapping(whole).compile(SCHEMA, salt=SALT, now=NOW)["s"]


def mapped(source: str | dict[str, Any], table: pa.Table | list[dict[str, Any]]) -> Mapped:
    """What the rows make; the first row stands in line 2."""
    compiled = compiled_source(source if isinstance(source, str) else yaml.safe_dump(source))
    if isinstance(table, list):
        names = {name: None for row in table for name in row} | dict.fromkeys(compiled.columns)
        table = pa.table({name: pa.array([row.get(name) for row in table]) for name in names})
    lines = np.arange(2, table.num_rows + 2, dtype=np.int64)
    batch = RawBatch(table.select(compiled.columns), lines, None, REJECT_SCHEMA.empty_table(), 1)
    result = map_batch(compiled, batch, "s:file.csv")
    for key, made in result.tables.items():
        assert made.schema.equals(row_schema(SCHEMA, key))
        assert key in compiled.keys
    return result


def rows(result: Mapped, key: Any) -> list[dict[str, Any]]:
    """A type's rows without what is null or of no interest."""
    table = result.tables.get(key)
    if table is None:
        return []
    dull = {"_line", "_deleted", "_overlap"}
    return [{k: v for k, v in row.items() if v is not None and k not in dull} for row in table.to_pylist()]


def faults(result: Mapped) -> list[tuple[int, str, str | None, str]]:
    return [(r["line"], r["column"], r["value"], r["reason"]) for r in result.rejects.to_pylist()]


def cell(value: Any, prop: str, cells: list[Any]) -> tuple[list[Any], list[tuple[str, str | None, str]]]:
    """The values that a property of a product gets from the column `c`, and the faults met."""
    label, key = ("Campaign", "campaign_id") if prop == "start_at" else ("Product", "product_id")
    label, key = ("Category", "category_id") if prop == "level" else (label, key)
    source = {"nodes": [{"label": label, "key": "k", "properties": {prop: value}}]}
    table = pa.table({"k": [f"k{i}" for i in range(len(cells))], "c": pa.array(cells), "d": pa.array(cells)})
    result = mapped(source, table)
    made = result.tables.get(label)
    return ([] if made is None else made[prop].to_pylist()), [f[1:] for f in faults(result)]


@pytest.mark.parametrize(
    ("value", "prop", "cells", "expected"),
    [
        ("c", "title", [" Milk ", "  ", None, "\u00a0x"], ["Milk", None, None, "x"]),
        ("c", "title", [12.0, 2.5, None, float("nan")], ["12", "2.5", None, None]),
        ("c", "title", [True, False], ["true", "false"]),
        ("c", "title", [["a", " ", "b "], [], None], ["a, b", None, None]),
        ("c", "price", ["1.5", "+2", " 3e2 ", None], [1.5, 2.0, 300.0, None]),
        ("c", "level", ["12.0", "+7", "-3", "4"], [12, 7, -3, 4]),
        ("c", "level", [12.0, None], [12, None]),
        ({"columns": ["c", "d"], "separator": "/"}, "title", ["a", None], ["a/a", None]),
        ({"columns": ["c", "k"]}, "title", [None, "b"], ["k0", "b k1"]),
        ({"template": "{c} by {{{k}}}"}, "title", ["a", None], ["a by {k0}", None]),
        ({"coalesce": ["c", "k"]}, "title", ["a", None], ["a", "k1"]),
        (
            {"coalesce": [{"column": "c", "invalid": "null"}, {"constant": 9}]},
            "price",
            ["x", "2"],
            [9.0, 2.0],
        ),
        ({"constant": "all"}, "title", ["a", None], ["all", "all"]),
        ({"multiply": ["c", {"constant": 3}]}, "price", ["0.5", None], [1.5, None]),
        ({"value": {"column": "c", "split": "|"}, "case": "upper"}, "title", ["a|b"], ["A, B"]),
        ({"column": "c", "split": "|"}, "title", ["a| b||", "|", None], ["a, b", None, None]),
        ({"column": "c", "decimal": ","}, "price", ["1.234,5", "2,5", "7"], [1234.5, 2.5, 7.0]),
        ({"column": "c", "decimal": "."}, "price", ["1,234.5", "1.5e1"], [1234.5, 15.0]),
        ("c", "price", ["1.1万", "-3億", "5千", "2百万", ".5萬"], [11000.0, -3e8, 5000.0, 2e6, 5000.0]),
        ({"column": "c", "decimal": ","}, "price", ["1,2万", "1.000亿"], [12000.0, 1e11]),
        ("c", "level", ["1.2万", "3"], [12000, 3]),
        ({"column": "c", "values": {"E": 3, "S": 2}}, "price", ["E", "S", None], [3.0, 2.0, None]),
        ({"column": "c", "values": {"E": 3}, "default": 0}, "price", ["E", "x", None], [3.0, 0.0, 0.0]),
        ({"column": "c", "default": "none"}, "title", ["a", None], ["a", "none"]),
        ({"column": "c", "strip": False}, "title", [" a ", "  "], [" a ", None]),
        ({"column": "c", "case": "lower"}, "title", ["ÄB"], ["äb"]),
        (
            {"column": "c", "fold": "nfkc"},
            "title",
            ["Ａ１\u3000（锅）", None, "\u3000"],
            ["A1 (锅)", None, None],
        ),
        ({"column": "c", "fold": "nfkc"}, "price", ["１２．５"], [12.5]),
        ({"column": "c", "replace": {"[0-9]+": "", "^(.)b": "\\1_"}}, "title", ["ab12", "9"], ["a_", None]),
        ({"column": "c", "invalid": "null"}, "price", ["x", "1", "inf"], [None, 1.0, None]),
        (
            {"column": "c", "min": 0, "max": 5, "invalid": "null"},
            "price",
            ["-1", "5", "6"],
            [None, 5.0, None],
        ),
    ],
)
def test_each_option_of_a_value_does_what_it_says(
    value: Any, prop: str, cells: list[Any], expected: list[Any]
) -> None:
    assert cell(value, prop, cells) == (expected, [])


@pytest.mark.parametrize(
    ("value", "cells", "expected"),
    [
        (
            "c",
            ["2024-03-01", "2024-03-01T13:05", "2024-03-01 13:05:00.25"],
            ["03-01 00:00", "03-01 13:05", "03-01 13:05"],
        ),
        ("c", ["2024-03-01T13:05:00Z", "2024-03-01 13:05:00+02:00"], ["03-01 13:05", "03-01 11:05"]),
        (
            "c",
            ["2024-03-01", "2024-03-01T13:05:00Z", "2024-03-01 13:05:00 UTC"],
            ["03-01 00:00", "03-01 13:05", "03-01 13:05"],
        ),
        ("c", ["2024-03-01 13:05:00.123456789"], ["03-01 13:05"]),
        ("c", [date(2024, 3, 1)], ["03-01 00:00"]),
        (
            {"column": "c", "format": "%d/%m/%Y %H:%M"},
            ["02/03/2024 9:05", "01/02/2024 00:00"],
            ["03-02 09:05", "02-01 00:00"],
        ),
        (
            {"column": "c", "format": ["%d.%m.%Y", "iso"]},
            ["02.03.2024", "2024-03-01"],
            ["03-02 00:00", "03-01 00:00"],
        ),
        ({"column": "c", "format": "%Y%m%d"}, [20240301, None], ["03-01 00:00", None]),
        ({"column": "c", "format": "%d/%b/%Y:%H:%M:%S %z"}, ["01/Mar/2024:13:05:00 +0200"], ["03-01 11:05"]),
        ({"column": "c", "format": "%Y-%m-%dT%H:%M:%S.%f"}, ["2024-03-01T13:05:00.5"], ["03-01 13:05"]),
        ({"column": "c", "unit": "s"}, ["1709298300", "1.7092983e9"], ["03-01 13:05", "03-01 13:05"]),
        ({"column": "c", "unit": "ms"}, [1709298300000, None], ["03-01 13:05", None]),
        (
            {"column": "c", "zone": "Europe/Berlin"},
            ["2024-03-01 13:05", "2024-03-01T13:05Z"],
            ["03-01 12:05", "03-01 13:05"],
        ),
        # Skipped by the clock: the moment after.
        ({"column": "c", "zone": "Europe/Berlin"}, ["2024-03-31 02:30"], ["03-31 01:00"]),
        ({"column": "c", "zone": "Europe/Berlin", "format": "%d.%m.%Y"}, ["01.03.2024"], ["02-29 23:00"]),
        ({"column": "c", "max": "2100-01-01"}, ["2024-08-01"], ["08-01 00:00"]),
        ({"column": "c", "default": "2024-01-02"}, [None, "2024-03-01"], ["01-02 00:00", "03-01 00:00"]),
    ],
)
def test_times_become_utc(value: Any, cells: list[Any], expected: list[str | None]) -> None:
    times, wrong = cell(value, "start_at", cells)
    assert wrong == []
    assert [t and f"{t:%m-%d %H:%M}" for t in times] == expected


@pytest.mark.parametrize(
    ("value", "prop", "cells", "fault"),
    [
        ("c", "price", ["1", "cheap"], ("c", "cheap", "is not a number")),
        ("c", "price", ["1", "inf"], ("c", "inf", "is not a number")),
        ("c", "level", ["1", "2.5"], ("c", "2.5", "is not a whole number")),
        ("c", "level", ["1", "9223372036854775808"], ("c", "9223372036854775808", "is not a whole number")),
        ("c", "level", [1.0, 2.5], ("c", "2.5", "is not a whole number")),
        ("c", "title", [b"ok", b"\xff"], ("c", None, "is not text in UTF-8")),
        ({"column": "c", "min": 0}, "price", ["0", "-0.5"], ("c", "-0.5", "is below 0")),
        ({"column": "c", "max": 5}, "price", ["5", "6"], ("c", "6", "is above 5")),
        ({"column": "c", "values": {"E": 3}}, "price", ["E", "x"], ("c", "x", "is not one of: E")),
        ({"column": "c", "required": True}, "title", ["a", " "], ("c", None, "is empty, but required")),
        ({"column": "c", "decimal": ","}, "price", ["1,5", "1.5"], ("c", "1.5", "is not a number")),
        ("c", "level", ["1.2万", "1.23456万"], ("c", "1.23456万", "is not a whole number")),
        ("c", "price", ["5千", "1万5千"], ("c", "1万5千", "is not a number")),
        ("c", "price", ["5千", "1 万"], ("c", "1 万", "is not a number")),
        ({"template": "{c}{k}"}, "price", ["", "x"], ("c, k", "xk1", "is not a number")),
        ({"coalesce": ["c", {"constant": 1}]}, "price", [None, "x"], ("c", "x", "is not a number")),
        ("c", "start_at", ["2024-01-01", "2024-02-30"], ("c", "2024-02-30", NO_TIME)),
        ("c", "start_at", ["2024-01-01", "1709298300"], ("c", "1709298300", NO_TIME)),
        ("c", "start_at", ["2024-06-02", "2024-06-03"], ("c", "2024-06-03", "lies in the future")),
        ("c", "start_at", ["1900-01-01", "1899-12-31"], ("c", "1899-12-31", "lies before 1900-01-01")),
        (
            {"column": "c", "min": "2020-01-01"},
            "start_at",
            ["2020-01-01", "2019-12-31"],
            ("c", "2019-12-31", "lies before 2020-01-01"),
        ),
        (
            {"column": "c", "format": "%d/%m/%Y"},
            "start_at",
            ["01/02/2024", "31/02/2024"],
            ("c", "31/02/2024", "is not a time such as 01/04/2017"),
        ),
        ({"column": "c", "unit": "s"}, "start_at", ["1", "x"], ("c", "x", "is not a number of s since 1970")),
        (
            {"column": "c", "unit": "s"},
            "start_at",
            [1, 2**62],
            ("c", str(2**62), "is not a number of s since 1970"),
        ),
    ],
)
def test_a_value_that_does_not_fit_rejects_its_row_in_words(
    value: Any, prop: str, cells: list[Any], fault: tuple[str, str | None, str]
) -> None:
    made, wrong = cell(value, prop, cells)
    assert len(made) == 1
    assert wrong == [fault]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("{column: c, in: [a, 5]}", [0, 1]),
        ("{column: c, not_in: [a, 5]}", [2, 3, 4]),
        ("{column: c, present: true}", [0, 1, 2, 3]),
        ("{column: c, present: false}", [4]),
        ("{column: c, min: 5}", [1, 2]),
        ("{column: c, min: 0, max: 5.5}", [1]),
        ("{column: c, matches: '[a-z]|5'}", [0, 1]),
        ("{column: c, matches: 'b'}", []),
    ],
)
def test_each_condition_holds_for_what_it_says(condition: str, kept: list[int]) -> None:
    table = [{"k": str(i), "c": c} for i, c in enumerate(["a", " 5", "6.5", "bb", " "])]
    body = "nodes: [{label: User, key: k%s}]"
    skipped = mapped(f"where: [{condition}]\n" + body % "", table)
    unmade = mapped(body % f", when: [{condition}]", table)
    for result in (skipped, unmade):
        assert [int(row["user_id"]) for row in rows(result, "User")] == kept
        assert (result.rows, result.skipped, result.rejected) == (5, 5 - len(kept), 0)


def test_a_type_that_can_never_fit_is_refused_as_a_whole() -> None:
    with pytest.raises(InputError, match="'c' holds int64, not times; say what they are with `unit`"):
        cell("c", "start_at", [1, 2])
    with pytest.raises(InputError, match="'c' holds struct"):
        cell("c", "title", [{"a": 1}])


LINES = """
where: [{column: state, not_in: [test]}]
nodes:
  - {label: User, key: user}
  - {label: Product, key: sku, properties: {title: title, price: price}}
relationships:
  - type: BOUGHT
    from: {User: user}
    to: {Product: sku}
    properties: {at: at, quantity: n, amount: {multiply: [n, price]}}
  - {type: MADE_BY, from: {Product: sku}, to: {Brand: brand}, when: [{column: brand, present: true}]}
"""


def line(**cells: Any) -> dict[str, Any]:
    return {"user": "u", "sku": "p", "title": "T", "price": "2", "at": "2024-01-01", "n": "1", **cells}


def test_a_line_is_an_event_that_happened_once() -> None:
    result = mapped(LINES, [line(n="0.4"), line(n="-2"), line(n=None), line(n="3")])
    times = {"first_at": datetime(2024, 1, 1), "last_at": datetime(2024, 1, 1), "count": 1}
    ends = {"source": "u", "target": "p"}
    assert rows(result, BOUGHT) == [
        {**ends, **times, "first_quantity": 1, "spend": 0.8},
        {**ends, **times, "first_quantity": 0, "spend": -4.0},
        {**ends, **times, "first_quantity": 1},
        {**ends, **times, "first_quantity": 3, "spend": 6.0},
    ]
    # Equal nodes are kept once, with the first line; events always.
    assert result.tables["User"]["_line"].to_pylist() == [2]
    assert result.tables[BOUGHT]["_line"].to_pylist() == [2, 3, 4, 5]
    assert result.tables[BOUGHT]["_overlap"].to_pylist() == [False] * 4


def test_a_fault_in_any_piece_rejects_the_row_once_and_nothing_of_it_is_made() -> None:
    result = mapped(
        LINES,
        [
            line(user="u1", sku="p1", brand="b1", at="soon", n="many"),
            line(user="u2", sku="p2", n="1e300"),
            line(user="u3", sku="", brand="b3"),
            line(user="u4", state="test", at="soon"),
            line(user="u5", sku="p5", brand="b5"),
        ],
    )
    assert [f[:3] for f in faults(result)] == [(2, "at", "soon"), (3, "n", "1e+300"), (4, "sku", None)]
    assert (result.rows, result.skipped, result.rejected) == (5, 1, 3)
    assert [r["user_id"] for r in rows(result, "User")] == ["u5"]
    assert rows(result, ("Product", "MADE_BY", "Brand")) == [{"source": "p5", "target": "b5"}]


def test_a_fault_of_a_piece_that_is_not_made_is_none() -> None:
    source = """
    nodes:
      - {label: User, key: k}
      - {label: Campaign, key: k, properties: {start_at: t},
         when: [{column: t, present: true}, {column: k, in: [b]}]}
    """
    result = mapped(source, [{"k": "a", "t": "soon"}, {"k": "b", "t": "2024-01-01"}])
    assert result.rejected == 0
    assert len(rows(result, "Campaign")) == 1


def test_lists_make_a_piece_per_element_and_fail_as_one_row() -> None:
    source = """
    nodes: [{label: User, key: {column: users, split: "|", values: {a: A, b: B}}}]
    relationships:
      - {type: VIEWED, from: {User: {column: users, split: "|", values: {a: A, b: B}}}, to: {Product: skus},
         properties: {at: t}}
    """
    table = [
        {"users": "a|b", "skus": ["x", "y"], "t": "2024-01-01"},
        {"users": "a|c|d", "skus": ["x"], "t": "2024-01-01"},
        {"users": "b", "skus": [], "t": "2024-01-01"},
        {"users": "b", "skus": None, "t": "2024-01-01"},
    ]
    result = mapped(source, table)
    viewed = [(r["source"], r["target"]) for r in rows(result, ("User", "VIEWED", "Product"))]
    assert viewed == [("A", "x"), ("A", "y"), ("B", "x"), ("B", "y")]
    assert [r["user_id"] for r in rows(result, "User")] == ["A", "B"]
    assert faults(result) == [
        (3, "users", "c", "is not one of: a, b"),
        (5, "skus", None, "is empty, but required"),
    ]


def test_a_key_that_need_not_be_there_makes_nothing() -> None:
    source = "nodes: [{label: User, key: k}, {label: Brand, key: {column: b, required: false}}]"
    result = mapped(source, [{"k": "1", "b": None}, {"k": "2", "b": "B"}])
    assert (len(rows(result, "User")), len(rows(result, "Brand")), result.rejected) == (2, 1, 0)


def test_columns_make_a_list_even_where_none_of_them_has_a_value() -> None:
    source = "nodes: [{label: Brand, key: {columns: [a, b], list: true, required: false}}]"
    result = mapped(source, [{"a": None, "b": None}, {"a": "x", "b": None}, {"a": "y", "b": "z"}])
    assert [r["brand_id"] for r in rows(result, "Brand")] == ["x", "y", "z"]
    assert result.skipped == 1


def test_rows_that_delete_need_only_what_names_them() -> None:
    source = """
    delete: {column: op, in: [gone]}
    updated_at: changed
    nodes: [{label: Product, key: sku, properties: {price: price}}]
    relationships:
      - {type: BOUGHT, from: {User: user}, to: {Product: sku}, properties: {at: at},
         event_id: {columns: [o, l], separator: "/"}}
    """
    table = [
        {
            "sku": "p",
            "price": "x",
            "user": "u",
            "at": None,
            "o": "1",
            "l": "2",
            "op": "gone",
            "changed": "2024-01-01",
        },
        {
            "sku": "q",
            "price": "1",
            "user": "u",
            "at": "2024-01-01",
            "o": "1",
            "l": "3",
            "op": None,
            "changed": None,
        },
        {
            "sku": "q",
            "price": "1",
            "user": "u",
            "at": "2024-01-01",
            "o": None,
            "l": None,
            "op": "gone",
            "changed": None,
        },
    ]
    result = mapped(source, table)
    assert faults(result) == [(4, "o, l", None, "is empty, but required")]
    assert result.tables["Product"]["_deleted"].to_pylist() == [True, False]
    assert rows(result, "Product") == [
        {"product_id": "p", "_time": datetime(2024, 1, 1)},
        {"product_id": "q", "price": 1.0},
    ]
    gone, kept = rows(result, BOUGHT)
    assert gone == {"source": "u", "target": "p", "_id": "1/2", "_time": datetime(2024, 1, 1)}
    assert (kept["_id"], kept["count"]) == ("1/3", 1)


def test_events_that_are_counted_already_keep_their_counts() -> None:
    source = """
    relationships:
      - {type: BOUGHT, from: {User: u}, to: {Product: p}, overlap: true,
         properties: {first_at: a, last_at: b, count: n, spend: s}}
    """
    table = [
        {"u": "u", "p": "p", "a": "2024-01-01", "b": "2024-02-01", "n": "4", "s": "9"},
        {"u": "u", "p": "p", "a": "2024-01-01", "b": None, "n": None, "s": None},
        {"u": "u", "p": "p", "a": "2024-01-02", "b": "2024-01-01", "n": "0", "s": None},
    ]
    result = mapped(source, table)
    first, second = rows(result, BOUGHT)
    assert (first["last_at"], first["count"], first["spend"]) == (datetime(2024, 2, 1), 4, 9.0)
    assert (second["last_at"], second["count"]) == (datetime(2024, 1, 1), 1)
    assert [f[3] for f in faults(result)] == ["lies before first_at"]
    assert result.tables[BOUGHT]["_overlap"].to_pylist() == [True, True]


def test_paths_become_a_tree_with_what_hangs_on_it() -> None:
    source = """
    nodes: [{label: Product, key: p}]
    trees: [{label: Category, path: {columns: [d, c, t], list: true}, root: Department, from: {Product: p}}]
    """
    table = [
        {"p": "1", "d": "Food", "c": "Cheese > Soft", "t": "Brie"},
        {"p": "2", "d": "Food", "c": None, "t": " "},
        {"p": "3", "d": None, "c": None, "t": None},
        {"p": "4", "d": "Food", "c": "Milk", "t": None},
    ]
    result = mapped(source, table)
    assert result.skipped == result.rejected == 0
    assert rows(result, "Department") == [{"department_id": "Food", "name": "Food"}]
    assert [tuple(r.values()) for r in rows(result, "Category")] == [
        ("Food > Cheese / Soft", "Cheese / Soft", "Food > Cheese / Soft", 1),
        ("Food > Cheese / Soft > Brie", "Brie", "Food > Cheese / Soft > Brie", 2),
        ("Food > Milk", "Milk", "Food > Milk", 1),
    ]
    edges = {
        (r["source"], key[1], r["target"])
        for key in result.tables
        if isinstance(key, tuple)
        for r in rows(result, key)
    }
    assert edges == {
        ("Food > Cheese / Soft > Brie", "PART_OF", "Food > Cheese / Soft"),
        ("Food > Cheese / Soft", "PART_OF", "Food"),
        ("Food > Milk", "PART_OF", "Food"),
        ("1", "IN_CATEGORY", "Food > Cheese / Soft > Brie"),
        ("2", "PART_OF", "Food"),
        ("4", "IN_CATEGORY", "Food > Milk"),
    }


def test_personal_ids_are_hashed_alike_under_every_label_and_kept_out_of_rejects() -> None:
    source = """
    nodes: [{label: User, key: {column: mail, case: lower, hash: true, required: false}}]
    relationships:
      - {type: SEARCHED, from: {User: {column: mail, case: lower, hash: true}},
         to: {Query: {column: mail, case: lower, hash: true}}, properties: {at: t}}
    """
    result = mapped(source, [{"mail": "A@b.c", "t": "2024-01-01"}, {"mail": "x@y.z", "t": "soon"}])
    digest = hmac.digest(SALT, b"a@b.c", "sha256").hex()[:32]
    assert rows(result, "User") == [{"user_id": digest}]
    (event,) = rows(result, ("User", "SEARCHED", "Query"))
    assert (event["source"], event["target"]) == (digest, digest)
    assert "x@y.z" not in str(result.rejects.to_pylist())


def test_any_text_passes_unharmed() -> None:
    nasty = ["`}) DETACH DELETE n //", "'; MATCH (n) \\u0027 $p", "{a: 1}", "a\nb\x00c", "ü" * 500_000, "\\"]
    source = "nodes: [{label: 'Product', key: k, properties: {title: t, description: {template: '{t}'}}}]"
    keys = [text[:2048] for text in nasty]
    result = mapped(
        source, [{"k": k, "t": text} for k, text in zip([*keys, "ü" * 2049], [*nasty, "x"], strict=True)]
    )
    made = result.tables["Product"]
    assert made["product_id"].to_pylist() == keys
    assert made["title"].to_pylist() == nasty
    assert faults(result) == [(8, "k", "ü" * 200, "is too long for a key (4,096 bytes)")]
    assert made["description"].to_pylist() == nasty


def test_the_reader_s_rejects_and_row_groups_are_kept() -> None:
    source = parse_mapping(
        {"version": 1, "name": "m", "sources": {"s": {"nodes": [{"label": "User", "key": "k"}]}}}
    ).compile(SCHEMA)["s"]
    before = pa.Table.from_pylist([{"source": "s:f", "line": 9, "reason": "uneven"}], schema=REJECT_SCHEMA)
    batch = RawBatch(pa.table({"k": ["a", None]}), np.array([8, 10]), 3, before, 1)
    result = map_batch(source, batch, "s:f")
    assert result.rejects["line"].to_pylist() == [9, 10]
    assert result.rejects["row_group"].to_pylist() == [None, 3]
    assert (result.rows, result.skipped, result.rejected) == (3, 0, 2)


def test_the_clock_of_the_job_bounds_times_where_none_is_given() -> None:
    source = {"nodes": [{"label": "Campaign", "key": "k", "properties": {"start_at": "t"}}]}
    compiled = parse_mapping({"version": 1, "name": "m", "sources": {"s": source}}).compile(SCHEMA)["s"]
    assert abs(compiled.now - datetime.now(timezone.utc).replace(tzinfo=None)).total_seconds() < 60


_DIRTY = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "1", "-2", "3.5", "x", "nan", "1e400", "2024-01-01", "2024-02-30", "2099-01-01", "a|b", "|",
         "a > b", "01/02/2024", "t"]
    ),
    st.text(max_size=4),
)  # fmt: skip
_EVERYTHING = """
where: [{column: f, not_in: [t]}]
delete: {column: e, in: ["1"]}
updated_at: {column: d, invalid: "null"}
nodes:
  - {label: User, key: {column: a, split: "|", required: false}}
  - {label: Product, key: b, properties: {title: c, price: {column: e, max: 3}},
     when: [{column: e, present: true}]}
relationships:
  - {type: BOUGHT, from: {User: {column: a, split: "|"}}, to: {Product: b},
     when: [{column: c, present: true}],
     properties: {at: {column: d, format: [iso, "%d/%m/%Y"]}, quantity: c}}
  - {type: MADE_BY, from: {Product: b}, to: {Brand: {coalesce: [f, c], required: false}},
     when: [{column: b, present: true}]}
trees:
  - {label: Category, path: {column: f, split: ">"}, root: Department, from: {Product: b},
     when: [{column: b, not_in: [x]}]}
  - {label: Category, path: {column: f, split: "a"}, each: "|", root: Department, from: {Product: b}}
"""


@settings(max_examples=40)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys("abcdef", _DIRTY)), max_size=12))
def test_every_row_is_accepted_or_rejected_or_skipped_and_never_two_of_these(
    table: list[dict[str, str | None]],
) -> None:
    raw = pa.Table.from_pylist(table, schema=pa.schema([(c, pa.string()) for c in "abcdef"]))
    together = mapped(_EVERYTHING, raw)
    rejected = Counter(r["line"] for r in together.rejects.to_pylist())
    assert set(rejected.values()) <= {1}
    made = {n for t in together.tables.values() for n in t["_line"].to_pylist()}
    assert not made & rejected.keys()
    # One by one, nothing hides behind an equal row before it.
    alone = [mapped(_EVERYTHING, raw.slice(i, 1)) for i in range(len(table))]
    states = [(r.rejected, r.skipped, int(bool(r.tables))) for r in alone]
    assert all(sum(state) == 1 and r.rows == 1 for state, r in zip(states, alone, strict=True))
    assert together.rejected == sum(r.rejected for r in alone) == len(rejected)
    assert together.skipped == sum(r.skipped for r in alone)
    assert rejected.keys() == {i + 2 for i, r in enumerate(alone) if r.rejected}
    assert made <= {i + 2 for i, r in enumerate(alone) if r.tables}
    # The same rows come of a batch as of its rows.
    for key in {k for r in alone for k in r.tables}:
        names = [n for n in row_schema(SCHEMA, key).names if n != "_line"]
        parts = pa.concat_tables([r.tables[key] for r in alone if key in r.tables]).select(names)
        whole = together.tables[key].select(names)
        if key == BOUGHT:
            assert Counter(map(str, parts.to_pylist())) == Counter(map(str, whole.to_pylist()))
        elif key in {"Product", "User", ("Product", "MADE_BY", "Brand")}:
            assert Counter(map(str, whole.to_pylist())) == Counter({str(r): 1 for r in parts.to_pylist()})
        else:
            # Of a tree's equal nodes that with the last time stays, so only what they are is compared.
            what = names[:1] if isinstance(key, str) else ["source", "target"]
            assert {tuple(r.values()) for r in whole.select(what).to_pylist()} == {
                tuple(r.values()) for r in parts.select(what).to_pylist()
            }


def test_several_paths_of_one_value_are_one_each_and_those_on_the_way_to_another_none() -> None:
    source = """
    updated_at: t
    trees:
      - {label: Category, path: {column: c, split: ">"}, each: ",", root: Department, from: {Product: p},
         when: [{column: p, not_in: [x]}]}
    """
    table = [
        {"p": "1", "c": "Food > Tea, Food,Food>Tea", "t": "2024-01-01"},
        {"p": "2", "c": " Home\\, Garden > Pots ,Food > Oil, > ", "t": "2024-01-02"},
        {"p": "3", "c": "Sale,Food>Tea", "t": "2024-03-01"},
        {"p": "x", "c": "Toys", "t": "2024-01-01"},
        {"p": "4", "c": None, "t": "2024-01-01"},
        {"p": "5", "c": "Food,Food > Oil>" + "o" * 5000, "t": "2024-01-01"},
        {"p": "6", "c": ",", "t": "2024-01-01"},
    ]
    result = mapped(source, table)
    assert [(f[0], f[3]) for f in faults(result)] == [(7, "is too long for a key (4,096 bytes)")]
    assert result.skipped == 3
    edges = (key for key in result.tables if isinstance(key, tuple))
    pairs = {key: [(r["source"], r["target"]) for r in rows(result, key)] for key in edges}
    assert pairs["Product", "IN_CATEGORY", "Category"] == [
        ("1", "Food > Tea"),
        ("2", "Home, Garden > Pots"),
        ("2", "Food > Oil"),
        ("3", "Food > Tea"),
    ]
    assert pairs["Product", "PART_OF", "Department"] == [("3", "Sale")]
    assert {r["department_id"]: r["_time"].month for r in rows(result, "Department")} == {
        "Food": 3,
        "Home, Garden": 1,
        "Sale": 3,
    }
    assert rows(mapped(source, table[6:]), "Category") == []


def test_of_a_tree_s_equal_nodes_the_last_by_time_stays() -> None:
    source = "updated_at: t\ntrees: [{label: Category, path: {column: p, split: '>'}}]"
    table = [{"p": "a>b", "t": "2024-01-01"}, {"p": "a>b", "t": "2024-03-01"}, {"p": "a", "t": None}]
    result = mapped(source, table)
    assert {r["category_id"]: r["_time"] for r in rows(result, "Category")} == {
        "a": datetime(2024, 3, 1),
        "a > b": datetime(2024, 3, 1),
    }
    assert (result.skipped, result.rejected) == (0, 0)


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        (["12.0", "12.00", "12", "-3.0", "0.0"], ["12", "12", "12", "-3", "0"]),
        (["007", "007.0", "12.50", "1.0.0", "v1.0", "1e3", "1E5"], None),
        (
            ["\u00a0a\u00a0", "\u200ba\ufeff", "a\u200db", "\uff11\uff12"],
            ["a", "a", "a\u200db", "\uff11\uff12"],
        ),
        ([12.0, 2.5, 1e3, 1e20, 2.0**53], ["12", "2.5", "1000", "1" + "0" * 20, str(2**53)]),
        ([2**64 - 1, 7], [str(2**64 - 1), "7"]),
        ([Decimal("1.00"), Decimal("12345678901234567890.00"), Decimal("2.50")], None),
        ([True, False], ["true", "false"]),
        (["NAN", "Inf.", "Nancy"], None),
    ],
)
def test_a_whole_number_is_one_key_however_it_is_written(cells: list[Any], keys: list[str] | None) -> None:
    if keys is None:
        keys = [str(c) if isinstance(c, str) else str(int(c) if c == int(c) else c) for c in cells]
    source = (
        "nodes: [{label: Product, key: k, properties: {title: k}}]\n"
        "relationships: [{type: MADE_BY, from: {Product: k}, to: {Brand: {coalesce: [k]}}}]"
    )
    kind = pa.uint64() if cells == [2**64 - 1, 7] else None
    result = mapped(source, pa.table({"k": pa.array(cells, kind)}))
    assert faults(result) == []
    assert {row["product_id"] for row in rows(result, "Product")} == set(keys)
    found = {(row["source"], row["target"]) for row in rows(result, ("Product", "MADE_BY", "Brand"))}
    assert found == {(key, key) for key in keys}
    # What is no key stays as it is written.
    if isinstance(cells[0], str):
        titles = {row["title"] for row in rows(result, "Product")}
        assert titles == {cell.strip() for cell in cells}


@given(st.text(max_size=8))
def test_keys_are_folded_where_the_mapping_says_so_and_nowhere_else(text: str) -> None:
    text = f"Ｋ{text}①"
    source: dict[str, Any] = {"nodes": [{"label": "Product", "key": "k"}]}
    plain = rows(mapped(source, [{"k": text}]), "Product")
    assert plain == rows(mapped(source, [{"k": text.strip()}]), "Product")
    assert plain[0]["product_id"].startswith("Ｋ")
    source["nodes"][0]["key"] = {"column": "k", "fold": "nfkc"}
    found = rows(mapped(source, [{"k": text}, {"k": unicodedata.normalize("NFKC", text)}]), "Product")
    # One node for both, which folding leaves as it is.
    assert len({row["product_id"] for row in found}) == 1
    key = found[0]["product_id"]
    assert key.startswith("K")
    assert unicodedata.normalize("NFKC", key) == key


@pytest.mark.parametrize("cells", [["NaN", "inf", "-Infinity"], [float("inf"), float("-inf"), 1e400]])
def test_what_stands_for_no_number_is_no_key(cells: list[Any]) -> None:
    result = mapped("nodes: [{label: User, key: k}]", [{"k": cell} for cell in cells])
    assert rows(result, "User") == []
    assert {reason for *_, reason in faults(result)} == {
        "is no key: it stands for a number that is missing or infinite"
    }


def test_keys_in_scientific_notation_are_told_once_with_line_column_and_count() -> None:
    source = (
        "nodes: [{label: Product, key: ean}, {label: User, key: {column: u, hash: true}}]\n"
        "relationships:\n"
        "  - {type: BOUGHT, from: {User: {column: u, hash: true}}, to: {Product: ean}, event_id: o,"
        " properties: {at: t}}"
    )
    eans = ["4006381333931", "4.00638E+12", "1E5", "4,00638e+12", "4.0", "E12", "4.1E+12"]
    table = [{"ean": ean, "u": "1.2E+3", "o": "7", "t": "2024-01-01"} for ean in eans]
    table[-1]["t"] = "never"
    result = mapped(source, table)
    found = {(n.line, n.column, n.value, n.rows) for n in result.notices}
    # Of a hashed column nothing is shown; the last row is a reject.
    assert found == {(3, "ean", "4.00638E+12", 3), (2, "u", "", 6)}
    assert {row["product_id"] for row in rows(result, "Product")} >= {"1E5", "4.00638E+12", "4"}


def test_a_planned_time_may_lie_ahead_and_the_same_column_elsewhere_may_not() -> None:
    campaign = {"label": "Campaign", "key": "k", "properties": {"end_at": "c"}}
    table = [{"k": "a", "c": "2024-05-01"}, {"k": "b", "c": "2026-12-31"}]
    result = mapped({"files": ["f.csv"], "format": "csv", "nodes": [campaign]}, table)
    assert [row["end_at"] for row in rows(result, "Campaign")] == [
        datetime(2024, 5, 1),
        datetime(2026, 12, 31),
    ]
    for value in ({"coalesce": ["c", "c"]}, {"value": "c"}):
        ended = {**campaign, "properties": {"end_at": value}}
        result = mapped({"files": ["f.csv"], "format": "csv", "nodes": [ended]}, table)
        assert len(rows(result, "Campaign")) == 2
    both = {**campaign, "properties": {"end_at": "c", "start_at": "c"}}
    result = mapped({"files": ["f.csv"], "format": "csv", "nodes": [both]}, table)
    assert [row["value"] for row in result.rejects.to_pylist()] == ["2026-12-31"]
