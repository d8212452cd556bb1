from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgdistill.errors import InputError
from kgdistill.ingest.folder import folder_mapping, tables_mapping
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.tables import GraphTables
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "User.csv").write_text("user_id,age\nu1,30\nu2,\n")
    (tmp_path / "Product.csv").write_text("product_id,title,price\np1,Milk,1.5\np2,Bread,\n")
    return tmp_path


def read_folder(folder: Path) -> GraphTables:
    return graph_tables(folder_mapping(folder, SCHEMA), folder, schema=SCHEMA)


def checked(tables: GraphTables) -> GraphTables:
    given = dict(tables.nodes) | {"-".join(edge): table for edge, table in tables.edges.items()}
    return graph_tables(tables_mapping(tables, SCHEMA), schema=SCHEMA, tables=given)


def rejected(tables: GraphTables) -> list[tuple[str, int, str]]:
    return [(r["source"].rpartition(":")[2], r["line"], r["column"]) for r in tables.rejects.to_pylist()]


def test_order_lines_become_one_purchase_per_pair(folder: Path) -> None:
    (folder / "BOUGHT.csv").write_text(
        "source,target,at,quantity,amount\n"
        "u1,p1,2024-01-03,2,3.0\n"
        "u1,p1,2024-01-01,0,0.5\n"
        "u1,p1,2024-01-02T10:00:00+02:00,1,1.5\n"
        "u2,p2,2024-01-05,-1,-2.0\n"
    )
    table = read_folder(folder).edges[BOUGHT]
    assert table.schema.equals(SCHEMA.edge_arrow_schema(BOUGHT))
    assert table.to_pylist() == [
        {
            "source": "u1",
            "target": "p1",
            "first_at": datetime(2024, 1, 2, 8),
            "first_quantity": 1,
            "last_at": datetime(2024, 1, 3),
            "count": 3,
            "spend": 5.0,
        },
        {
            "source": "u2",
            "target": "p2",
            "first_at": datetime(2024, 1, 5),
            "first_quantity": 0,
            "last_at": datetime(2024, 1, 5),
            "count": 1,
            "spend": -2.0,
        },
    ]


def test_each_bad_row_is_rejected_once_with_the_line_of_the_file(folder: Path) -> None:
    (folder / "Product.csv").write_text(
        "product_id,title,price\n"
        'p1,"Milk,\nfresh",1.5\n'  # lines 2 and 3
        "\n"
        "p2,Bread,cheap\n"  # 5
        ",Nameless,dear\n"  # 6: two faults, one reject
        "p1,Again,1\n"  # 7
        "p3,too,many,values\n"  # 8
        ",No key,1\n"  # 9
        "p4,Salt,inf\n"  # 10
        "p5,Tea, 2 \n"
    )
    (folder / "BOUGHT.csv").write_text(
        "source,target,at\nu1,p1,2024-01-01\nu1,p9,2024-01-01\nu1,p9,2024-01-02\nu7,p1,2024-01-01\nu1,p5,soon\n"
    )
    tables = read_folder(folder)
    assert sorted(rejected(tables)) == [
        ("BOUGHT.csv", 3, "BOUGHT.target"),
        ("BOUGHT.csv", 4, "BOUGHT.target"),
        ("BOUGHT.csv", 5, "BOUGHT.source"),
        ("BOUGHT.csv", 6, "at"),
        ("Product.csv", 5, "price"),
        ("Product.csv", 6, "product_id"),
        ("Product.csv", 8, ""),
        ("Product.csv", 9, "product_id"),
        ("Product.csv", 10, "price"),
    ]
    assert tables.nodes["Product"]["product_id"].to_pylist() == ["p1", "p5"]
    # Line 7 says something else of p1 than line 2: the last write wins.
    assert tables.nodes["Product"]["title"].to_pylist() == ["Again", "Tea"]
    assert tables.edges[BOUGHT].num_rows == 1


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("Product.csv", "product_id,titel\np1,Milk\n", ["Product.csv", "'titel'", "did you mean 'title'"]),
        ("Product.csv", "productid,title\np1,Milk\n", ["'productid'", "did you mean 'product_id'"]),
        ("Product.csv", "title\nMilk\n", ["lacks the column 'product_id'"]),
        ("Product.csv", "product_id,title,title\np1,a,b\n", ["'title' twice"]),
        ("Product.csv", "", ["is empty"]),
        ("BOUGHT.csv", "source,target\nu1,p1\n", ["lacks the column 'first_at'", "source, target, at"]),
        ("BOUGHT.csv", "source,target,at,qty\nu1,p1,2024-01-01,1\n", ["'qty'", "quantity"]),
        ("Prodcut.csv", "product_id\np1\n", ["Prodcut.csv", "did you mean 'Product'"]),
        ("PART_OF.csv", "source,target\na,b\n", ["Category-PART_OF-Department.csv"]),
        ("Product.tsv", "product_id\np1\n", ["same type as Product.csv"]),
    ],
)
def test_a_file_that_cannot_be_used_says_what_and_where(
    folder: Path, name: str, text: str, says: list[str]
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_folder(folder)
    for words in says:
        assert words in str(caught.value)


def test_a_row_that_is_not_utf8_is_rejected_alone(folder: Path) -> None:
    (folder / "Product.csv").write_bytes(b"product_id,title\np1,Caf\xe9\np2,Tea\n")
    tables = read_folder(folder)
    assert [place[:2] for place in rejected(tables)] == [("Product.csv", 2)]
    assert tables.nodes["Product"]["product_id"].to_pylist() == ["p2"]


def test_a_folder_without_files_and_no_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no CSV"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "none")


def test_loose_types_in_memory_are_cast_and_losses_rejected(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"product_id": [7, 8], "price": pa.array([1, 2], pa.int32())}), tmp_path / "Product.parquet"
    )
    from_file = read_folder(tmp_path).nodes["Product"]
    assert from_file.to_pylist() == [{"product_id": "7", "price": 1.0}, {"product_id": "8", "price": 2.0}]

    bought = pa.table(
        {
            "source": pa.array([1.0, 2.0, None]),
            "target": ["a", "a", "a"],
            "first_at": pa.array([datetime(2024, 1, 1)] * 3, pa.timestamp("ns", "Europe/Berlin")),
            "count": [1.0, 1.5, 1.0],
        }
    )
    nodes = {"User": pa.table({"user_id": ["1", "2"]}), "Product": pa.table({"product_id": ["a"]})}
    tables = checked(GraphTables(nodes, {BOUGHT: bought}))
    assert rejected(tables) == [("User-BOUGHT-Product", 2, "count"), ("User-BOUGHT-Product", 3, "source")]
    assert tables.edges[BOUGHT].to_pylist() == [
        {
            "source": "1",
            "target": "a",
            "first_at": datetime(2024, 1, 1),
            "first_quantity": 1,
            "last_at": datetime(2024, 1, 1),
            "count": 1,
        }
    ]
    with pytest.raises(InputError, match="'first_at' holds int64"):
        checked(GraphTables(nodes, {BOUGHT: bought.set_column(2, "first_at", [[1, 2, 3]])}))
