"""Columns that only the first row of an order has: filled down, whatever the format and the batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest import keys as keys_module
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview
from kgdistill.ingest.readers import FillDown, Source, SourceOptions, read_batches, table_source
from kgdistill.store import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
HEAD = "Beleg,Kunde,Datum,Status,Artikel\n"
ROWS = "1,a,2024-01-01,ok,x\n1,a,,,y\n2,b,2024-01-02,storniert,x\n2,b,,,y\n2,b,,,z\n"


def told(*columns: str, **more: Any) -> Mapping:
    bought = {
        "type": "BOUGHT",
        "from": {"User": "Kunde"},
        "to": {"Product": "Artikel"},
        "missing": "stub",
        "when": [{"column": "Datum", "present": True}],
        "properties": {"at": "Datum"},
    }
    fill = {"fill_down": {"by": "Beleg", "columns": list(columns)}} if columns else {}
    source = {"files": "*.csv", "relationships": [bought]} | fill | more
    return parse_mapping({"version": 1, "name": "m", "sources": {"lines": source}}, where="m.yaml")


def made(folder: Path, mapping: Mapping, text: str = HEAD + ROWS) -> Preview:
    (folder / "lines.csv").write_text(text, encoding="utf-8")
    return preview(mapping, SCHEMA, folder, 100)


def pairs(graph: Preview) -> list[tuple[str, str, str]]:
    table = graph.examples[BOUGHT]
    rows = zip(*(table[name].to_pylist() for name in ("source", "target", "first_at")), strict=True)
    return [(who, what, f"{at:%m-%d}") for who, what, at in rows]


def test_later_rows_have_what_stands_in_the_first(tmp_path: Path) -> None:
    graph = made(tmp_path, told("Datum"))
    assert pairs(graph) == [
        ("a", "x", "01-01"),
        ("a", "y", "01-01"),
        ("b", "x", "01-02"),
        ("b", "y", "01-02"),
        ("b", "z", "01-02"),
    ]
    assert graph.eventless == {}


def test_a_condition_holds_on_every_row_of_an_order(tmp_path: Path) -> None:
    where = [{"column": "Status", "not_in": ["storniert"]}]
    assert [what for _, what, _ in pairs(made(tmp_path, told("Datum", "Status", where=where)))] == ["x", "y"]


def test_rows_without_an_event_are_counted_and_those_left_out_are_not(tmp_path: Path) -> None:
    assert made(tmp_path, told()).eventless == {"lines": 3}
    where = [{"column": "Artikel", "not_in": ["z"]}]
    assert made(tmp_path, told(where=where)).eventless == {"lines": 2}
    users = [{"label": "User", "key": "Kunde"}]
    assert made(tmp_path, told(nodes=users)).eventless == {"lines": 3}
    assert made(tmp_path, told(nodes=users, relationships=[])).eventless == {}


def test_a_key_is_compared_as_keys_are_and_rows_without_one_stay_as_they_are(tmp_path: Path) -> None:
    text = (
        f"{HEAD}1,a,2024-01-01,,x\n 1.0 ,a, ,,y\n,c,2024-01-03,,v\n,c,,,w\nNaN,d,2024-01-04,,v\nNaN,d,,,w\n"
    )
    assert pairs(made(tmp_path, told("Datum"), text)) == [
        ("a", "x", "01-01"),
        ("a", "y", "01-01"),
        ("c", "v", "01-03"),
        ("d", "v", "01-04"),
    ]


def test_each_file_fills_its_own_rows(tmp_path: Path) -> None:
    (tmp_path / "early.csv").write_text(f"{HEAD}1,a,2023-05-05,,x\n2,e,,,w\n")
    graph = made(tmp_path, told("Datum"))
    assert ("a", "y", "01-01") in pairs(graph)
    assert graph.eventless == {"lines": 1}


def read(source: Source, *columns: str, rows: int = 65_536) -> list[dict[str, Any]]:
    batches = read_batches(source, columns, batch_rows=rows, block_bytes=16 * rows)
    return [row for batch in batches for row in batch.table.to_pylist()]


FILL = SourceOptions(fill_down=FillDown(("k",), ("v", "w")))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*(st.sampled_from(some) for some in (["", "a", "b", "c"], ["", "1", "2"], ["", "x"]))),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 7),
)
def test_the_first_value_of_a_key_counts_wherever_batches_end(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], size: int
) -> None:
    path = tmp_path_factory.mktemp("f") / "rows.csv"
    path.write_text("k,v,w\n" + "".join(f'"{k}",{v},{w}\n' for k, v, w in rows))
    first: dict[tuple[str, str], str] = {}
    for k, v, w in rows:
        for name, value in (("v", v), ("w", w)):
            if k and value:
                first.setdefault((k, name), value)
    expected = [{"w": w or first.get((k, "w")), "v": v or first.get((k, "v"))} for k, v, w in rows]
    assert read(Source("s", path, None, FILL), "w", "v", rows=size) == expected


def test_all_formats_fill_alike_and_row_groups_of_a_piece_find_what_stands_before(tmp_path: Path) -> None:
    table = pa.table(
        {"k": [1, 1, 2, 1, 2], "v": [1.5, None, None, float("nan"), 4.0], "w": ["", "z", *"  y"]}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    expected = [{"v": v} for v in (1.5, 1.5, 4.0, 1.5, 4.0)]
    assert read(table_source("s", table, FILL), "v") == expected
    piece = Source("s", tmp_path / "a.parquet", None, FILL, groups=(1, 3))
    assert read(piece, "v") == expected[2:]
    lines = [
        {"k": "a", "v": "p", "w": 1},
        {"k": "a", "v": ["q", "r"]},
        {"k": "a"},
        {"k": "b", "v": ["s"]},
        {"k": "b"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    found = read(Source("s", tmp_path / "a.jsonl", None, FILL), "v")
    assert [row["v"] for row in found] == [["p"], ["q", "r"], ["p"], ["s"], ["s"]]


def test_keys_of_one_hash_and_of_two_columns_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import kgdistill.ingest.readers.filled as filled

    def coarse(keys: pa.Array) -> Any:
        return pa.array([7] * len(keys), pa.uint64()).to_numpy()

    for module in (filled, keys_module):
        monkeypatch.setattr(module, "hashes_of", coarse)
    table = pa.table(
        {"k": ["a", "a b", "a", "a b"], "l": ["b c", "c", "b c", "c"], "v": ["1", "2", None, None]}
    )
    options = SourceOptions(fill_down=FillDown(("k", "l"), ("v",)))
    assert read(table_source("s", table, options), "v") == [{"v": v} for v in "1212"]


def test_what_cannot_be_filled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)has no column 'Datun'.*did you mean 'Datum'"):
        made(tmp_path, told("Datum", "Datun"))
    with pytest.raises(InputError, match=r"lines\.fill_down.*names 'Beleg', by which rows belong together"):
        told("Beleg")
    with pytest.raises(InputError, match=r"uses a column 'Beleg', which is not among these"):
        made(tmp_path, told("Datum", columns=["Kunde", "Datum", "Artikel"]))


def test_a_joined_table_and_a_given_one_are_filled_too(tmp_path: Path) -> None:
    (tmp_path / "goods.csv").write_text("Modell,Artikel,Titel\nM,x,Hemd\nM,y,\n")
    join = {"goods": {"files": "goods.csv", "on": {"Artikel": "Artikel"}}}
    join["goods"]["fill_down"] = {"by": "Modell", "columns": "Titel"}
    node = {"label": "Product", "key": "Artikel", "properties": {"title": "goods.Titel"}}
    mapping = told(files="lines.csv", join=join, nodes=[node], relationships=[])
    graph = made(tmp_path, mapping, f"{HEAD}1,a,,,y\n")
    assert graph.examples["Product"]["title"].to_pylist() == ["Hemd"]
    table = pa.table(
        {"Beleg": [1, 1], "Kunde": ["a", "a"], "Datum": ["2024-01-01", None], "Artikel": ["x", "y"]}
    )
    given_table = preview(told("Datum"), SCHEMA, tmp_path, 100, tables={"lines": table})
    assert len(pairs(given_table)) == 2
