from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest.tables import GraphTables, read_folder, validate_tables
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "User.csv").write_text("user_id,age\nu1,30\nu2,\n")
    (tmp_path / "Product.csv").write_text("product_id,title,price\np1,Milk,1.5\np2,Bread,\n")
    return tmp_path


def rejected(tables: GraphTables) -> list[tuple[str, int, str]]:
    return [(Path(r["source"]).name, r["line"], r["column"]) for r in tables.rejects.to_pylist()]


def test_order_lines_become_one_purchase_per_pair(folder: Path) -> None:
    (folder / "BOUGHT.csv").write_text(
        "source,target,at,quantity,amount\n"
        "u1,p1,2024-01-03,2,3.0\n"
        "u1,p1,2024-01-01,0,0.5\n"
        "u1,p1,2024-01-02T10:00:00+02:00,1,1.5\n"
        "u2,p2,2024-01-05,-1,-2.0\n"
    )
    table = read_folder(folder, SCHEMA).edges[BOUGHT]
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
    tables = validate_tables(SCHEMA, read_folder(folder, SCHEMA))
    assert sorted(rejected(tables)) == [
        ("BOUGHT.csv", 3, "target"),
        ("BOUGHT.csv", 4, "target"),
        ("BOUGHT.csv", 5, "source"),
        ("BOUGHT.csv", 6, "at"),
        ("Product.csv", 5, "price"),
        ("Product.csv", 6, "product_id"),
        ("Product.csv", 7, "product_id"),
        ("Product.csv", 8, ""),
        ("Product.csv", 9, "product_id"),
        ("Product.csv", 10, "price"),
    ]
    assert tables.nodes["Product"]["product_id"].to_pylist() == ["p1", "p5"]
    assert tables.nodes["Product"]["title"][0].as_py() == "Milk,\nfresh"
    assert tables.edges[BOUGHT].num_rows == 1
    assert tables.input_rows() == 2 + 8 + 5
    again = tables.rejects.filter(pa.compute.equal(tables.rejects["line"], 7)).to_pylist()[0]
    assert again["value"] == "p1"
    assert again["reason"] == "stands already in line 2"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("Product.csv", "product_id,titel\np1,Milk\n", ["Product.csv", "'titel'", "did you mean 'title'"]),
        ("Product.csv", "productid,title\np1,Milk\n", ["'productid'", "did you mean 'product_id'"]),
        ("Product.csv", "title\nMilk\n", ["lacks the column 'product_id'"]),
        ("Product.csv", "product_id,title,title\np1,a,b\n", ["'title' twice"]),
        ("Product.csv", "product_id,title\n", ["has no rows"]),
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
        read_folder(folder, SCHEMA)
    for words in says:
        assert words in str(caught.value)


def test_text_that_is_not_utf8_is_an_input_error(folder: Path) -> None:
    (folder / "Product.csv").write_bytes(b"product_id,title\np1,Caf\xe9\n")
    with pytest.raises(InputError, match=r"Product\.csv"):
        read_folder(folder, SCHEMA)


def test_a_folder_without_files_and_no_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no CSV"):
        read_folder(tmp_path, SCHEMA)
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "none", SCHEMA)


def test_loose_types_in_memory_are_cast_and_losses_rejected(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"product_id": [7, 8], "price": pa.array([1, 2], pa.int32())}), tmp_path / "Product.parquet"
    )
    from_file = read_folder(tmp_path, SCHEMA).nodes["Product"]
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
    tables = validate_tables(SCHEMA, GraphTables(nodes, {BOUGHT: bought}))
    assert rejected(tables) == [("User-BOUGHT-Product", 3, "source"), ("User-BOUGHT-Product", 2, "count")]
    assert tables.edges[BOUGHT].to_pylist() == [
        {"source": "1", "target": "a", "first_at": datetime(2024, 1, 1), "count": 1}
    ]
    with pytest.raises(InputError, match="'first_at' holds int64"):
        validate_tables(SCHEMA, GraphTables(nodes, {BOUGHT: bought.set_column(2, "first_at", [[1, 2, 3]])}))
    with pytest.raises(InputError, match="has no rows"):
        validate_tables(SCHEMA, GraphTables({"User": pa.table({"user_id": pa.array([], pa.string())})}, {}))


cells = st.sampled_from(["", "a", "b", "1", "2024-02-03", 'say "hi"', "x\ny", "é,;", " "])


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=12), blank=st.booleans())
def test_no_row_is_lost_and_every_reject_names_its_own_line(
    rows: list[tuple[str, str]], blank: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    where: dict[int, str] = {}
    text = "user_id,age\n"
    for key, age in rows:
        text += "\n" if blank else ""
        where[text.count("\n") + 1] = key
        text += ",".join('"' + cell.replace('"', '""') + '"' for cell in (key, age)) + "\n"
    (folder / "User.csv").write_text(text, encoding="utf-8")
    tables = read_folder(folder, SCHEMA)
    kept = tables.nodes["User"]["user_id"].to_pylist()
    assert kept == list(dict.fromkeys(key for key, _ in rows if key.strip()))
    assert len(kept) + tables.rejects.num_rows == len(rows) == tables.input_rows()
    for reject in tables.rejects.to_pylist():
        assert where[reject["line"]] == (reject["value"] or where[reject["line"]])
        assert reject["value"] is not None or not where[reject["line"]].strip()
