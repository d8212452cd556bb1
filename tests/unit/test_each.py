"""Lists of records: a row for each record, values by their keys, and what `ingest init` makes of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgdistill.errors import InputError
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.joins import load_joins
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.ingest.readers import RawBatch, Source, SourceOptions, read_batches, table_source
from kgdistill.ingest.readers.source import line_groups
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT, VIEWED, ADDED = (("User", name, "Product") for name in ("BOUGHT", "VIEWED", "ADDED"))
ORDERS: list[dict[str, Any]] = [
    {
        "order": "o1",
        "by": {"id": "u1"},
        "lines": [{"sku": "A", "n": 2, "price": 10.50, "of": {"brand": "Acme"}}, {"sku": "B", "n": 1}],
        "params": [{"key": "code", "value": {"text": None, "number": "7"}}, {"key": "how", "value": "web"}],
    },
    {"order": "o2", "by": {"id": "u2"}, "lines": [], "params": []},
    {"order": "o3", "by": {"id": "u3"}, "lines": [{"sku": "A", "n": 3, "price": 4}], "params": None},
]
COLUMNS = ["order", "by.id", "lines.sku", "lines.n", "lines.of.brand", "params.code", "params.how"]
WANTED = {
    "order": ["o1", "o1", "o2", "o3"],
    "by.id": ["u1", "u1", "u2", "u3"],
    "lines.sku": ["A", "B", None, "A"],
    "lines.n": ["2", "1", None, "3"],
    "lines.of.brand": ["Acme", None, None, None],
    "params.code": ["7", "7", None, None],
    "params.how": ["web", "web", None, None],
}


def as_lines(folder: Path, rows: list[dict[str, Any]], name: str = "a.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def as_csv(folder: Path, rows: list[dict[str, Any]], name: str = "a.csv") -> Path:
    """As warehouses write rows: what is nested stands as JSON in a cell."""
    file = folder / name
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()})
    return file


def as_parquet(folder: Path, rows: list[dict[str, Any]], name: str = "a.parquet") -> Path:
    file = folder / name
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def one_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With values that all are objects, as Parquet wants them."""

    def value(text: Any) -> Any:
        return text if isinstance(text, dict) else {"text": text, "number": None}

    return [
        row | {"params": row["params"] and [p | {"value": value(p["value"])} for p in row["params"]]}
        for row in rows
    ]


def read(file: Path, columns: list[str], each: str | None = "lines", **how: int) -> list[RawBatch]:
    suffix = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}[file.suffix]
    source = Source("s", file, None, SourceOptions(format=suffix, each=each))
    return list(read_batches(source, columns, **how))


def texts(batches: list[RawBatch], name: str) -> list[Any]:
    return [
        None if v is None else [str(x) for x in v] if isinstance(v, list) else str(v)
        for batch in batches
        for v in batch.table[name].to_pylist()
    ]


@pytest.mark.parametrize("write", [as_lines, as_csv, as_parquet])
@pytest.mark.parametrize("batch_rows", [1, 2, 65_536])
def test_a_row_becomes_one_for_each_record(tmp_path: Path, write: Any, batch_rows: int) -> None:
    rows = one_kind(ORDERS) if write is as_parquet else ORDERS
    batches = read(write(tmp_path, rows), COLUMNS, batch_rows=batch_rows)
    assert {name: texts(batches, name) for name in COLUMNS} == WANTED
    first = 2 if write is as_csv else 1
    lines = [batch.lines.tolist() for batch in batches]
    assert [line for some in lines for line in some] == [first, first, first + 1, first + 2]
    # The records of a line stay together.
    assert [first, first] in [found[:2] for found in lines]
    assert sum(batch.rejects.num_rows for batch in batches) == 0


def test_numbers_of_records_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"price": 1.50, "l": [{"price": 2.50, "n": 1e3}, {"price": "x"}, {"price": 11.0}]}\n'
        '{"price": 3.10, "l": [{"price": 7.70}]}\n{"l": [{"price": 123456789012345678901234567890}]}\n',
        encoding="utf-8",
    )
    batches = read(file, ["price", "l.price", "l.n"], "l")
    assert texts(batches, "l.price") == ["2.50", "x", "11", "7.70", "123456789012345678901234567890"]
    assert texts(batches, "price") == ["1.50", "1.50", "1.50", "3.10", None]
    assert texts(batches, "l.n") == ["1000", None, None, None, None]


def test_one_object_plain_values_and_lists_in_lists_are_records_too(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"a": {"l": {"x": 1}}},
        {"a": [{"l": [{"x": 2}, {"x": 3}]}, {"l": [{"x": 4}]}]},
        {"a": None},
    ]
    assert texts(read(as_lines(tmp_path, rows), ["a.l.x"], "a.l"), "a.l.x") == ["1", "2", "3", "4", None]
    nested: list[dict[str, Any]] = [{"a": [{"l": [{"x": 2}, {"x": 3}]}, {"l": [{"x": 4}]}]}, {"a": []}]
    assert texts(read(as_parquet(tmp_path, nested), ["a.l.x"], "a.l"), "a.l.x") == ["2", "3", "4", None]
    tags = as_lines(tmp_path, [{"id": 1, "tags": ["x", "y"]}, {"id": 2}], "b.jsonl")
    assert texts(read(tags, ["id", "tags"], "tags"), "tags") == ["x", "y", None]


def test_json_in_texts_of_parquet_and_json_lines_is_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "l": json.dumps([{"x": 1}, {"x": 2}])}, {"id": "2", "l": None}]
    for write in (as_parquet, as_lines):
        assert texts(read(write(tmp_path, rows), ["id", "l.x"], "l"), "l.x") == ["1", "2", None]
        assert texts(read(write(tmp_path, rows), ["id"], "l"), "id") == ["1", "1", "2"]


def test_text_that_is_no_json_rejects_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('id,l\n1,"[{""x"": 1}"\n2,"[{""x"": 2}]"\n3,none\n4,7\n', encoding="utf-8")
    (batch,) = read(file, ["id", "l.x"], "l")
    assert batch.table.to_pydict() == {"id": ["2"], "l.x": ["2"]}
    assert [(row["line"], row["column"]) for row in batch.rejects.to_pylist()] == [
        (2, "l"),
        (4, "l"),
        (5, "l"),
    ]
    (batch,) = read(as_lines(tmp_path, [{"id": 1, "l": "[{"}, {"id": 2}]), ["id", "l.x"], "l")
    assert batch.table["id"].to_pylist() == ["2"]
    assert batch.rejects["line"].to_pylist() == [1]
    assert "l that is not JSON" in batch.rejects["reason"].to_pylist()[0]


def test_a_list_within_json_that_is_text_and_no_json_rejects_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = [
            ["u", "data"],
            ["a", '{"items":[{"p":"x"}]}'],
            ["b", '{"items":"[bad"}'],
            ["c", '{"items":[]}'],
        ]
        csv.writer(out).writerows(rows)
    batches = read(file, ["u", "data.items.p"], "data.items")
    assert (texts(batches, "u"), texts(batches, "data.items.p")) == (["a", "c"], ["x", None])
    (told,) = [row for batch in batches for row in batch.rejects.to_pylist()]
    assert (told["line"], told["column"]) == (3, "data")
    assert "is not JSON" in told["reason"]


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    for write in (as_lines, as_csv, as_parquet):
        rows = one_kind(ORDERS) if write is as_parquet else ORDERS
        with pytest.raises(InputError, match="has no column 'linez'"):
            read(write(tmp_path, rows), ["order"], "linez")


@pytest.mark.parametrize("name", ["key", "name", "eigenschaft"])
def test_values_are_read_by_their_keys(tmp_path: Path, name: str) -> None:
    def pairs(**given: Any) -> list[dict[str, Any]]:
        return [{name: key, "value": value} for key, value in given.items()]

    rows: list[dict[str, Any]] = [{"p": pairs(size="XL", n="3")}, {"p": pairs(n="4")}, {"p": []}, {"p": None}]
    for write in (as_lines, as_csv, as_parquet):
        batches = read(write(tmp_path, rows), ["p.size", "p.n"], None)
        assert texts(batches, "p.size") == ["XL", None, None, None]
        assert texts(batches, "p.n") == ["3", "4", None, None]


def test_maps_of_arrow_are_read_by_their_keys() -> None:
    kind = pa.map_(pa.string(), pa.float64())
    table = pa.table({"id": ["1", "2"], "m": pa.array([[("a", 1.0), ("b", 2.5)], None], kind)})
    (batch,) = read_batches(table_source("s", table), ["id", "m.b"])
    assert batch.table["m.b"].to_pylist() == [2.5, None]


def test_parts_hold_about_as_many_rows_as_wanted() -> None:
    assert list(line_groups(np.array([1, 2, 9, 1, 1]), 3)) == [(0, 2), (2, 3), (3, 5)]


def events(**more: Any) -> dict[str, Any]:
    source = {
        "files": ["a.*"],
        "each": "lines",
        "nodes": [{"label": "Product", "key": {"column": "lines.sku", "required": False}}],
        "relationships": [
            {
                "type": "BOUGHT",
                "from": {"User": "by.id"},
                "to": {"Product": {"column": "lines.sku", "required": False}},
                "missing": "stub",
                "properties": {"at": {"constant": "2024-01-01"}, "quantity": "lines.n"},
            },
            {
                "type": "SEARCHED",
                "from": {"User": "by.id"},
                "to": {"Query": "order"},
                "missing": "stub",
                "properties": {"at": {"constant": "2024-01-01"}},
            },
        ],
    }
    return {"version": 1, "name": "m", "sources": {"s": source | more}}


def made(mapping: dict[str, Any], folder: Path, **tables: pa.Table) -> Any:
    return graph_tables(parse_mapping(mapping), folder, schema=SCHEMA, tables=tables)


def counts(graph: Any, edge: tuple[str, str, str]) -> dict[tuple[str, str], int]:
    rows = graph.edges[edge].to_pylist() if edge in graph.edges else []
    return {(row["source"], row["target"]): row["count"] for row in rows}


@pytest.mark.parametrize("write", [as_lines, as_csv, as_parquet])
def test_what_is_of_the_row_is_made_once(tmp_path: Path, write: Any) -> None:
    write(tmp_path, one_kind(ORDERS))
    graph = made(events(), tmp_path)
    assert counts(graph, BOUGHT) == {("u1", "A"): 1, ("u1", "B"): 1, ("u3", "A"): 1}
    searched = counts(graph, ("User", "SEARCHED", "Query"))
    assert searched == {("u1", "o1"): 1, ("u2", "o2"): 1, ("u3", "o3"): 1}


def test_what_a_record_looks_up_is_of_the_record(tmp_path: Path) -> None:
    as_lines(tmp_path, ORDERS)
    (tmp_path / "brands.csv").write_text("id,owner\nA,x\nB,y\n", encoding="utf-8")
    mapping = events(join={"of": {"files": ["brands.csv"], "on": {"lines.sku": "id"}}})
    edge = mapping["sources"]["s"]["relationships"][1]
    edge["to"] = {"Query": {"column": "of.owner", "required": False}}
    searched = counts(made(mapping, tmp_path), ("User", "SEARCHED", "Query"))
    assert searched == {("u1", "x"): 1, ("u1", "y"): 1, ("u3", "x"): 1}


def test_a_joined_table_may_be_one_of_records(tmp_path: Path) -> None:
    file = as_lines(tmp_path, ORDERS)
    (tmp_path / "b.csv").write_text("product,at\nB,2024-01-01\n", encoding="utf-8")
    body = {
        "files": ["b.csv"],
        "join": {"sold": {"files": [file.name], "each": "lines", "on": {"product": "lines.sku"}}},
        "nodes": [{"label": "User", "key": "sold.by.id"}],
    }
    item = parse_mapping({"version": 1, "name": "m", "sources": {"s": body}}).compile(SCHEMA)["s"]
    with pytest.raises(InputError, match="a further row with the key 'A'"):
        load_joins(item.joins, [[Source("s", file, None, item.joins[0].options)]])


def test_a_fault_in_a_record_rejects_the_line_with_all_of_its_records(tmp_path: Path) -> None:
    rows = [dict(row) for row in ORDERS]
    rows[0] = rows[0] | {"lines": [{"sku": "A", "n": 1}, {"sku": "B", "n": "two"}, {"sku": "C", "n": "x"}]}
    as_lines(tmp_path, rows)
    graph = made(events(), tmp_path)
    assert counts(graph, BOUGHT) == {("u3", "A"): 1}
    assert [(r["line"], r["column"], r["value"]) for r in graph.rejects.to_pylist()] == [
        (1, "lines.n", "two")
    ]
    found = preview(parse_mapping(events()), SCHEMA, tmp_path)
    assert (found.rows, found.rejected, found.skipped) == (3, 1, 0)


def test_records_left_out_and_rows_of_which_nothing_is_made_are_counted_by_the_line(tmp_path: Path) -> None:
    as_lines(tmp_path, ORDERS)
    where = [{"column": "lines.sku", "in": ["A"]}]
    found = preview(parse_mapping(events(where=where)), SCHEMA, tmp_path)
    assert (found.rows, found.rejected, found.skipped) == (3, 0, 1)
    assert found.counts[BOUGHT] == 2


def test_an_id_of_the_row_tells_events_of_all_its_records_apart(tmp_path: Path) -> None:
    as_lines(tmp_path, [*ORDERS, ORDERS[0]])
    mapping = events()
    mapping["sources"]["s"]["relationships"][0]["event_id"] = "order"
    assert counts(made(mapping, tmp_path), BOUGHT) == {("u1", "A"): 1, ("u1", "B"): 1, ("u3", "A"): 1}


def test_a_table_from_python_may_hold_records(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(one_kind(ORDERS))
    assert counts(made(events(), tmp_path, s=table), BOUGHT)[("u1", "B")] == 1


def shop(n: int, kind: str, lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "evento": kind,
        "cliente_id": f"u{n % 13}",
        "fecha": f"2024-03-{n % 28 + 1:02}T10:00:00",
        "dispositivo": {"nombre": ["movil", "portatil"][n % 2]},
        "articulos": lines,
        "parametros": [{"clave": "termino", "value": {"texto": f"mesa {n % 5}", "numero": None}}],
        **more,
    }


def article(n: int, **more: Any) -> dict[str, Any]:
    names = {"articulo_id": f"P{n % 9}", "nombre": f"Mesa {n % 9}", "marca": f"M{n % 3}"}
    return {**names, "precio": n % 9 + 0.5, **more}


LOG = [
    shop(n, ["purchase", "view_item", "page_view"][n % 3], [article(n + i, cantidad=i + 1) for i in range(2)])
    if n % 3 < 2
    else shop(n, "page_view", [])
    for n in range(120)
]


@pytest.mark.parametrize("write", [as_lines, as_parquet, as_csv])
def test_init_proposes_lists_that_hold_products(tmp_path: Path, write: Any) -> None:
    file = write(tmp_path, LOG)
    text = propose([file], SCHEMA)
    mapping = parse_mapping(text)
    (source,) = mapping.sources.values()
    assert source.each == "articulos"
    assert "parametros.termino" in text
    product = next(node for node in source.nodes if node.label == "Product")
    assert product.key.column == "articulos.articulo_id"
    given = {name: value.column for name, value in product.properties.items()}
    assert given.items() >= {"title": "articulos.nombre", "brand_text": "articulos.marca"}.items()
    graph = graph_tables(mapping, tmp_path, schema=SCHEMA)
    assert graph.rejects.num_rows == 0
    for edge, kind in ((BOUGHT, "purchase"), (VIEWED, "view_item")):
        wanted = sum(len(row["articulos"]) for row in LOG if row["evento"] == kind)
        assert sum(counts(graph, edge).values()) == wanted
    spent = sum(
        i["precio"] * i["cantidad"] for row in LOG for i in row["articulos"] if row["evento"] == "purchase"
    )
    assert sum(row["spend"] for row in graph.edges[BOUGHT].to_pylist()) == pytest.approx(spent)
    # Those who only looked at pages are not lost.
    assert graph.nodes["User"].num_rows == 13


def track(n: int) -> dict[str, Any]:
    row = {
        "event": "Product Viewed",
        "userId": f"u{n % 11}",
        "timestamp": f"2024-03-{n % 28 + 1:02}T10:00:00Z",
    }
    good = {"product_id": f"P{n % 7}", "name": f"Lamp {n % 7}", "price": n % 7 + 1.5}
    if n % 4:
        return row | {"event": ["Product Added", "Product Viewed"][n % 2], "properties": good}
    order = {
        "order_id": f"o{n}",
        "total": 99.5,
        "products": [good | {"quantity": 2}, good | {"product_id": "P9"}],
    }
    return row | {"event": "Order Completed", "properties": order}


def test_init_tells_rows_with_records_from_those_with_a_product_of_their_own(tmp_path: Path) -> None:
    rows = [track(n) for n in range(200)]
    text = propose([as_lines(tmp_path, rows)], SCHEMA)
    mapping = parse_mapping(text)
    beside, lines = mapping.sources.values()
    assert (beside.each, lines.each) == (None, "properties.products")
    assert [(c.column, c.present) for source in (beside, lines) for c in source.where] == [
        ("properties.products.product_id", False),
        ("properties.products.product_id", True),
    ]
    graph = graph_tables(mapping, tmp_path, schema=SCHEMA)
    assert graph.rejects.num_rows == 0
    kinds = [row["event"] for row in rows]
    wanted = {BOUGHT: 2 * kinds.count("Order Completed"), VIEWED: kinds.count("Product Viewed")}
    wanted[ADDED] = kinds.count("Product Added")
    assert {edge: sum(counts(graph, edge).values()) for edge in wanted} == wanted


def test_init_names_records_that_it_makes_nothing_of(tmp_path: Path) -> None:
    rows = [
        {
            "product_id": f"P{n}",
            "title": f"Lamp {n}",
            "price": n + 0.5,
            "pictures": [{"src": "x", "alt": "y"}],
        }
        for n in range(40)
    ]
    for write in (as_lines, as_csv):
        text = propose([write(tmp_path, rows)], SCHEMA)
        (source,) = parse_mapping(text).sources.values()
        assert source.each is None
        assert (
            "# ? pictures holds records with src, alt, which make nothing here; with each: pictures" in text
        )
        assert "key: pictures" not in text


def test_days_of_json_lines_with_other_optional_fields_are_one_source(tmp_path: Path) -> None:
    quiet = [row for row in LOG if row["evento"] != "purchase"]
    for row in quiet:
        row["articulos"] = [{k: v for k, v in one.items() if k != "cantidad"} for one in row["articulos"]]
    files = [as_lines(tmp_path, LOG, "log_1.jsonl"), as_lines(tmp_path, quiet, "log_2.jsonl")]
    (source,) = parse_mapping(propose(files, SCHEMA)).sources.values()
    assert len(source.files) == 2


def test_what_a_list_shows_has_not_been_looked_at(tmp_path: Path) -> None:
    rows = [
        {
            "event": "product_list_viewed",
            "user_id": f"u{n % 7}",
            "sent_at": f"2024-03-{n % 28 + 1:02}T10:00:00",
        }
        | {
            "products": [
                {"product_id": f"P{n % 9}", "name": f"Lamp {n % 9}"},
                {"product_id": "P1", "name": "Lamp 1"},
            ]
        }
        for n in range(60)
    ]
    text = propose([as_csv(tmp_path, rows, "product_list_viewed.csv")], SCHEMA)
    assert "# ? event: these kinds make nothing: product_list_viewed" in text
    assert not counts(graph_tables(parse_mapping(text), tmp_path, schema=SCHEMA), VIEWED)


def test_ids_of_records_are_told_by_the_list(tmp_path: Path) -> None:
    def order(n: int, **line: Any) -> dict[str, Any]:
        at = {"created_at": f"2024-03-{n % 28 + 1:02}T10:00:00", "customer": {"id": f"u{n % 7}"}}
        return at | {"items": [{"id": f"{n}1", "quantity": 1, "price": 2.5, "title": "Lamp"} | line]}

    def key(rows: list[dict[str, Any]]) -> str | None:
        (source,) = parse_mapping(propose([as_lines(tmp_path, rows)], SCHEMA)).sources.values()
        return next(node.key.column for node in source.nodes if node.label == "Product")

    assert key([order(n, id=f"P{n % 9}") for n in range(60)]) == "items.id"
    # Beside the id of a product it is that of the line.
    assert key([order(n, product_id=f"P{n % 9}") for n in range(60)]) == "items.product_id"


def test_init_leaves_the_variants_of_a_product_alone_and_names_them(tmp_path: Path) -> None:
    rows = [
        {"product_id": f"P{n}", "title": f"Lamp {n}", "created_at": "2024-03-01T10:00:00"}
        | {"variants": [{"sku": f"P{n}-{i}", "price": n + i + 0.5} for i in range(2)]}
        for n in range(40)
    ]
    text = propose([as_lines(tmp_path, rows)], SCHEMA)
    (source,) = parse_mapping(text).sources.values()
    assert (source.each, source.nodes[0].key.column) == (None, "product_id")
    assert "# ? variants holds records with sku, price, which make nothing here" in text


def test_init_reads_sessions_with_the_events_in_them(tmp_path: Path) -> None:
    kinds = ["view_item", "add_to_cart"]
    rows = [
        {"Kundennummer": f"k{n % 9}", "Gerät": {"Bezeichnung": "Handy"}}
        | {
            "Ereignisse": [
                {
                    "Artikelnummer": f"A{(n + i) % 7}",
                    "Ereignis": kinds[i],
                    "Zeitpunkt": f"2024-03-01T10:{i:02}:00",
                }
                for i in range(n % 3)
            ]
        }
        for n in range(90)
    ]
    for write in (as_lines, as_parquet):
        mapping = parse_mapping(propose([write(tmp_path, rows)], SCHEMA))
        graph = graph_tables(mapping, tmp_path, schema=SCHEMA)
        assert [sum(counts(graph, edge).values()) for edge in (VIEWED, ADDED)] == [60, 30]
        assert graph.nodes["User"].num_rows == 9
