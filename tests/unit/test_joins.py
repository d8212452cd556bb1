"""Joins: how a mapping declares them, how keys meet, and what is refused."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest import joins as joins_module
from kgdistill.ingest import keys as keys_module
from kgdistill.ingest.joins import Joins, load_joins
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.mapping.plan import JoinPlan
from kgdistill.ingest.propose.propose import Preview, preview
from kgdistill.ingest.readers import SourceOptions, find_sources, table_source
from kgdistill.store import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
ORDERS = "no,who,at\n1,a,2024-01-01\n2,b,2024-01-02\n"
LINES = "no,sku\n1,x\n2,y\n"


def source(**more: Any) -> dict[str, Any]:
    """Lines of orders, whose user and time stand in another file."""
    bought = {
        "type": "BOUGHT",
        "from": {"User": "orders.who"},
        "to": {"Product": "sku"},
        "missing": "stub",
        "properties": {"at": "orders.at"},
    }
    join = {"orders": {"files": "orders.csv", "on": {"no": "no"}}}
    return {"files": "lines.csv", "join": join, "relationships": [bought]} | more


def told(**more: Any) -> Mapping:
    return parse_mapping({"version": 1, "name": "m", "sources": {"lines": source(**more)}}, where="m.yaml")


def made(folder: Path, mapping: Mapping | None = None, **files: str) -> Preview:
    for name, text in ({"orders": ORDERS, "lines": LINES} | files).items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return preview(mapping or told(), SCHEMA, folder, 100)


def pairs(graph: Preview) -> list[tuple[str, str]]:
    table = graph.examples[BOUGHT]
    return list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def faults(graph: Preview) -> list[tuple[int, str, str | None, str]]:
    return [(r["line"], r["column"], r["value"], r["reason"]) for r in graph.rejects.to_pylist()]


def refusal(folder: Path, mapping: Mapping | None = None, **files: str) -> str:
    with pytest.raises(InputError) as error:
        made(folder, mapping, **files)
    return str(error.value)


def test_a_row_has_the_columns_of_the_row_that_it_finds(tmp_path: Path) -> None:
    assert pairs(made(tmp_path)) == [("a", "x"), ("b", "y")]


def test_a_chain_is_followed_in_whatever_order_it_is_declared(tmp_path: Path) -> None:
    join = {
        "people": {"files": "people.csv", "on": {"orders.who": "id"}},
        "orders": {"files": "orders.csv", "on": {"no": "no"}},
    }
    bought = source()["relationships"][0] | {"from": {"User": "people.true"}}
    graph = made(tmp_path, told(join=join, relationships=[bought]), people="id,true\na,P\nb,P\n")
    assert pairs(graph) == [("P", "x"), ("P", "y")]


def test_the_reason_says_which_join_found_nothing(tmp_path: Path) -> None:
    join = {
        "orders": {"files": "orders.csv", "on": {"no": "no"}},
        "people": {"files": "people.csv", "on": {"orders.who": "id"}},
    }
    bought = source()["relationships"][0] | {"from": {"User": "people.true"}}
    mapping = told(join=join, relationships=[bought])
    orders = "no,who,at\n1,a,2024-01-01\n2,b,2024-01-02\n3,,2024-01-03\n"
    lines = "no,sku\n1,x\n2,y\n3,z\n9,x\n,x\n"
    graph = made(tmp_path, mapping, orders=orders, lines=lines, people="id,true\na,P\n")
    assert pairs(graph) == [("P", "x")]
    assert faults(graph) == [
        (3, "orders.who", "b", "is in no row of the join people"),
        (4, "orders.who", None, "is empty, so that nothing can be found in the join people"),
        (5, "no", "9", "is in no row of the join orders"),
        (6, "no", None, "is empty, so that nothing can be found in the join orders"),
    ]


def test_a_join_may_be_called_as_a_column_of_the_row(tmp_path: Path) -> None:
    """As a brand's number in `brand` leads to the brand; the reason used to be looked for without an end."""
    join = {"brand": {"files": "brands.csv", "on": {"brand": "id"}}}
    mapping = told(join=join, nodes=[{"label": "Brand", "key": "brand.label"}], relationships=[])
    graph = made(tmp_path, mapping, lines="sku,brand\nx,1\ny,2\nz,\n", brands="id,label\n1,Acme\n")
    assert graph.examples["Brand"]["brand_id"].to_pylist() == ["Acme"]
    assert faults(graph) == [
        (3, "brand", "2", "is in no row of the join brand"),
        (4, "brand", None, "is empty, so that nothing can be found in the join brand"),
    ]


def test_what_is_found_but_empty_is_no_fault_of_the_join(tmp_path: Path) -> None:
    graph = made(tmp_path, orders="no,who,at\n1,,2024-01-01\n2,b,2024-01-02\n")
    assert faults(graph) == [(2, "orders.who", None, "is empty, but required")]


def test_a_row_that_needs_no_partner_is_kept(tmp_path: Path) -> None:
    user = {"User": {"column": "orders.who", "required": False}}
    bought = source()["relationships"][0] | {"from": user}
    node = {"label": "Product", "key": "sku", "properties": {"title": "orders.who"}}
    bought["when"] = [{"column": "orders.at", "present": True}]
    graph = made(tmp_path, told(nodes=[node], relationships=[bought]), lines="no,sku\n1,x\n9,y\n")
    assert graph.examples["Product"].select(["product_id", "title"]).to_pylist() == [
        {"product_id": "x", "title": "a"},
        {"product_id": "y", "title": None},
    ]
    assert pairs(graph) == [("a", "x")]
    assert not graph.rejects.num_rows


def test_conditions_and_templates_see_joined_columns(tmp_path: Path) -> None:
    node = {"label": "Product", "key": "sku", "properties": {"title": {"template": "{orders.who}!"}}}
    where = [{"column": "orders.who", "not_in": ["b"]}]
    graph = made(tmp_path, told(nodes=[node], where=where))
    assert graph.examples["Product"]["title"].to_pylist() == ["a!"]
    assert pairs(graph) == [("a", "x")]


@pytest.mark.parametrize(
    "there",
    [
        pa.array([10248, 2]),
        pa.array([10248.0, 2.0]),
        pa.array(["10248.0", " 2 "]),
        pa.array(["10248", "2"]).dictionary_encode(),
    ],
)
def test_numbers_and_texts_meet(there: pa.Array, tmp_path: Path) -> None:
    columns = {"no": there, "who": pa.array(["a", "b"]), "at": pa.array(["2024-01-01"] * 2)}
    pq.write_table(pa.table(columns), tmp_path / "orders.parquet")
    join = {"orders": {"files": "orders.parquet", "on": {"no": "no"}}}
    lines = "no,sku\n10248,x\n10248.0,y\n2,z\n010248,w\n10248.5,v\n"
    graph = made(tmp_path, told(join=join), lines=lines)
    assert pairs(graph) == [("a", "x"), ("a", "y"), ("b", "z")]
    assert [fault[0] for fault in faults(graph)] == [5, 6]


def test_what_can_be_no_key_is_refused(tmp_path: Path) -> None:
    columns = {"no": pa.array([{"a": 1}]), "who": pa.array(["a"]), "at": pa.array(["2024-01-01"])}
    pq.write_table(pa.table(columns), tmp_path / "orders.parquet")
    join = {"orders": {"files": "orders.parquet", "on": {"no": "no"}}}
    text = refusal(tmp_path, told(join=join))
    assert "orders.parquet: the column 'no' holds struct<a: int64>, not text, and is no key" in text


def test_json_is_joined_by_its_dotted_names(tmp_path: Path) -> None:
    rows = [{"head": {"no": 1}, "who": {"id": "a"}, "at": "2024-01-01"}, {"head": {"no": 2.0}, "who": None}]
    (tmp_path / "orders.jsonl").write_text("\n".join(map(json.dumps, rows)))
    join = {"orders": {"files": "orders.jsonl", "on": {"no": "head.no"}}}
    bought = source()["relationships"][0] | {"from": {"User": "orders.who.id"}}
    graph = made(tmp_path, told(join=join, relationships=[bought]))
    assert pairs(graph) == [("a", "x")]
    assert faults(graph) == [(3, "orders.who.id", None, "is empty, but required")]


def test_a_number_that_is_missing_is_no_key(tmp_path: Path) -> None:
    graph = made(tmp_path, orders=ORDERS + "nan,c,2024-01-03\nnan,d,2024-01-04\n", lines="no,sku\nnan,x\n")
    assert [fault[3] for fault in faults(graph)] == ["is in no row of the join orders"]


def test_several_columns_make_a_key(tmp_path: Path) -> None:
    join = {"orders": {"files": "orders.csv", "on": {"shop": "shop", "no": "no"}}}
    orders = "shop,no,who,at\n1,12,a,2024-01-01\n11,2,b,2024-01-02\n1,2,c,2024-01-03\n"
    lines = "shop,no,sku\n11,2,x\n1,12,y\n1,2,z\n,2,x\n2,1,x\n"
    graph = made(tmp_path, told(join=join), orders=orders, lines=lines)
    assert pairs(graph) == [("b", "x"), ("a", "y"), ("c", "z")]
    assert faults(graph) == [
        (5, "shop", None, "is empty, so that nothing can be found in the join orders"),
        (6, "shop, no", "2, 1", "is in no row of the join orders"),
    ]


def test_two_columns_are_no_other_two_that_read_alike(tmp_path: Path) -> None:
    join = {"orders": {"files": "orders.csv", "on": {"shop": "shop", "no": "no"}}}
    orders = "shop,no,who,at\na b,c,a,2024-01-01\na,b c,b,2024-01-02\n"
    graph = made(tmp_path, told(join=join), orders=orders, lines="shop,no,sku\na,b c,x\na b,c,y\n")
    assert pairs(graph) == [("b", "x"), ("a", "y")]
    text = refusal(tmp_path, told(join=join), orders=orders + "a b,c,z,2024-01-01\n")
    assert "has a further row with the key 'a b c' (shop, no) for the join 'orders'" in text


def test_two_rows_of_one_key_are_refused_where_they_differ(tmp_path: Path) -> None:
    (tmp_path / "later.csv").write_text("no,who,at,note\n1,a,2024-01-01,other\n2,c,2024-01-02,\n")
    join = {"orders": {"files": ["orders.csv", "later.csv"], "on": {"no": "no"}}}
    text = refusal(tmp_path, told(join=join))
    assert text.startswith(
        f"{tmp_path / 'orders.csv'}, line 3: has a further row with the key '2' (no) for the join 'orders', "
        f"which differs in 'who' from line 3 of {tmp_path / 'later.csv'}"
    )
    assert "a join needs one row for each key: export it so, say by which `updated_at`" in text


def test_two_rows_that_are_alike_in_what_is_used_are_one(tmp_path: Path) -> None:
    orders = "no,who,at,note\n1,a,2024-01-01,first\n2,b,2024-01-02,\n1,a,2024-01-01,second\n"
    assert pairs(made(tmp_path, orders=orders)) == [("a", "x"), ("b", "y")]
    assert "line 4: has a further row with the key '1'" in refusal(
        tmp_path, orders=orders.replace("1,a,2024-01-01,second", "1,,2024-01-01,second")
    )


def test_of_several_rows_the_latest_counts_where_their_times_are_told(tmp_path: Path) -> None:
    updated = {"column": "changed", "format": "%d.%m.%Y"}
    join = {"orders": {"files": ["orders.csv", "later.csv"], "on": {"no": "no"}, "updated_at": updated}}
    head = "no,who,at,changed\n"
    first = f"{head}1,a,2024-01-01,05.01.2024\n2,old,2024-01-02,09.01.2023\n2,b,2024-01-02,01.02.2024\n"
    # Of two that are as late as each other, and of those whose time cannot be read, none is picked.
    later = f"{head}1,c,2024-01-01,06.01.2024\n2,older,2024-01-02,\n2,b,2024-01-02,01.02.2024\n"
    (tmp_path / "later.csv").write_text(later)
    graph = made(tmp_path, told(join=join), orders=first)
    assert (pairs(graph), graph.notices) == ([("c", "x"), ("b", "y")], ())
    (tmp_path / "later.csv").write_text(later + "2,z,2024-01-02,01.02.2024\n")
    text = refusal(tmp_path, told(join=join), orders=first)
    assert "later.csv, line 5: has a further row with the key '2' (no) for the join 'orders'" in text
    assert "differs in 'who' from line 4\n" in text
    (tmp_path / "later.csv").write_text(later + "2,z,2024-01-02,soon\n")
    (notice,) = made(tmp_path, told(join=join), orders=first).notices
    assert (notice.line, notice.column, notice.value) == (5, "changed", "soon")
    assert notice.reason == "is not a time such as 01.04.2017: taken as the earliest"


def test_a_hashed_id_does_not_stand_in_the_rejects(tmp_path: Path) -> None:
    bought = source()["relationships"][0] | {"from": {"User": {"column": "orders.who", "hash": True}}}
    (tmp_path / "orders.csv").write_text("mail,who,at\na@b.de,a,2024-01-01\n")
    (tmp_path / "lines.csv").write_text("mail,sku\nc@d.de,x\n")
    join = {"orders": {"files": "orders.csv", "on": {"mail": "mail"}}}
    mapping = told(join=join, relationships=[bought])
    graph = preview(mapping, SCHEMA, tmp_path, salt=b"salt")
    assert faults(graph) == [(2, "mail", None, "is in no row of the join orders")]


def test_a_row_there_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    joins = loaded(tmp_path, "no,who\n1,a\n2,b,c\n")
    (notice,) = joins.notices
    assert (notice.line, notice.value) == (3, "2,b,c")
    assert notice.reason == "has 3 values, not 2 as the header: left out of the join"


def loaded(folder: Path, text: str) -> Joins:
    (folder / "there.csv").write_text(text)
    plan = JoinPlan("orders", ("there.csv",), False, SourceOptions(), ("no",), ("no",), ("who",))
    return load_joins([plan], [find_sources("lines.orders", ["there.csv"], folder)])


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(keys: pa.Array) -> Any:
        return pa.array([len(key or "") for key in keys.to_pylist()], pa.uint64()).to_numpy()

    monkeypatch.setattr(joins_module, "hashes_of", coarse)
    monkeypatch.setattr(keys_module, "hashes_of", coarse)
    names = [f"k{n:02}" for n in range(30)]
    plan = JoinPlan("j", (), False, SourceOptions(), ("k",), ("k",), ("v",))
    there = table_source("there", pa.table({"k": names[::-1], "v": [*range(30)][::-1]}))
    (looked,) = load_joins([plan], [[there]]).tables
    rows = looked.index.rows(pa.array([*names, "k30", "k1", None]))
    assert looked.table[".v"].take(pa.array(rows[:30])).to_pylist() == [*range(30)]
    assert rows[30:].tolist() == [-1, -1, -1]


def test_a_column_of_two_types_is_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"no": [1], "who": [7], "at": ["2024-01-01"]}), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("no,who,at\n2,07,2024-01-02\n")
    join = {"orders": {"files": ["a.parquet", "b.csv"], "on": {"no": "no"}}}
    assert pairs(made(tmp_path, told(join=join))) == [("7", "x"), ("07", "y")]


def test_no_file_is_a_fault_unless_it_is_optional(tmp_path: Path) -> None:
    def mapping(optional: bool) -> Mapping:
        join = {"orders": {"files": "none/*.csv", "on": {"no": "no"}, "optional": optional}}
        return told(join=join)

    assert re.match(r"lines\.orders: .*none/\*\.csv: matches no file", refusal(tmp_path, mapping(False)))
    assert [fault[3] for fault in faults(made(tmp_path, mapping(True)))] == [
        "is in no row of the join orders"
    ] * 2


@pytest.mark.parametrize(
    ("more", "files", "message"),
    [
        ({"join": {"orders": {"files": "orders.csv"}}}, {}, "join.orders.on: is missing"),
        ({"join": {"orders": {"files": "orders.csv", "on": {}}}}, {}, "on: should not be empty"),
        ({"join": {"a.b": {"on": {"no": "no"}}}}, {}, "a join's name should be letters, digits, '_' and '-'"),
        (
            {"join": {"orders": {"on": {"no": "no"}, "delimter": ";"}}},
            {},
            "join.orders.delimter: is not a key here\n  did you mean 'delimiter'?",
        ),
        (
            {
                "join": {
                    "orders": {"files": "orders.csv", "on": {"people.no": "no"}},
                    "people": {"files": "orders.csv", "on": {"orders.who": "who"}},
                }
            },
            {},
            "m.yaml: sources.lines.join: look each other up: ",
        ),
        (
            {"join": {"orders": {"files": "orders.csv", "on": {"orders.no": "no"}}}},
            {},
            "look each other up: orders -> orders\n  one of them has to start `on` a column of the source",
        ),
        (
            {"join": source()["join"] | {"idle": {"files": "orders.csv", "on": {"no": "no"}}}},
            {},
            "m.yaml: sources.lines.join.idle: is used by nothing\n  its columns are called idle.COLUMN",
        ),
        (
            {"join": {"orders": {"files": "orders.csv", "on": {"no": "no"}, "columns": ["no", "wo", "at"]}}},
            {},
            "join.orders.columns: the mapping uses a column 'who', which is not among these\n  did you mean",
        ),
        (
            {"updated_at": "oders.at"},
            {},
            "has no column 'oders.at', and no join 'oders'\n  did you mean 'orders'?",
        ),
        ({"updated_at": "x.y"}, {}, "has no column 'x.y', and no join 'x'\n  its joins: orders"),
        ({"updated_at": "orders.att"}, {}, "orders.csv: has no column 'att'\n  did you mean 'at'?"),
        (
            {"join": {"orders": {"files": "orders.csv", "on": {"no": "nr"}}}},
            {},
            "orders.csv: has no column 'nr'",
        ),
        (
            {"join": {"orders": {"files": "orders.csv", "on": {"nr": "no"}}}},
            {},
            "lines.csv: has no column 'nr'",
        ),
        (
            {"join": {"orders": {"files": "orders.csv", "on": {"no": "no"}, "updated_at": "chnged"}}},
            {},
            "orders.csv: has no column 'chnged'",
        ),
        (
            {
                "join": {
                    "orders": {"on": {"no": "no"}, "updated_at": {"column": "at", "format": "%d"}},
                }
            },
            {},
            "join.orders.updated_at.format: '%d' is not a format of times with a year",
        ),
        ({}, {"orders": ""}, "orders.csv: is empty"),
        (
            {},
            {"lines": "no,sku,orders.who\n1,x,q\n"},
            "lines.csv: has a column 'orders.who' itself, beside the join 'orders'\n  give",
        ),
    ],
)
def test_each_mistake_is_one_clear_error(
    more: dict[str, Any], files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        made(tmp_path, told(**more), **files)
    assert message in str(error.value)


def test_objects_of_json_stand_beside_joins_of_other_names(tmp_path: Path) -> None:
    def lines(**first: Any) -> None:
        rows = [{"no": 1, "sku": "x", **first}, {"no": 2, "sku": "y"}]
        (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)))

    lines(order={"at": "2020-01-01"})
    updated = told(files="lines.jsonl", updated_at="order.at")
    assert pairs(made(tmp_path, updated)) == [("a", "x"), ("b", "y")]
    lines(orders={"who": "z"})
    assert "has a column 'orders.who' itself" in refusal(tmp_path, told(files="lines.jsonl"))
    lines()
    assert "no join 'order'" in refusal(tmp_path, updated)


def test_a_mapping_without_joins_is_the_one_that_it_was() -> None:
    """Or every store that was made before would read all its sources again."""
    text = {
        "files": ["o.csv"],
        "null_values": ["", "NULL"],
        "delimiter": ";",
        "relationships": [
            {
                "type": "BOUGHT",
                "from": {"User": "u"},
                "to": {"Product": "p"},
                "missing": "stub",
                "properties": {"at": "t"},
            }
        ],
    }
    mapping = parse_mapping({"version": 1, "name": "m", "sources": {"orders": text}})
    digest = mapping.compile(SCHEMA)["orders"].digest
    assert digest == "f687cde4c56de799e6e4a92dd06efa41d68ecd6de22c04a854c4edc327dc481c"


def test_the_digest_follows_the_join_but_not_where_its_files_are() -> None:
    def digest(**join: Any) -> str:
        orders = {"files": "orders.csv", "on": {"no": "no"}} | join
        return told(join={"orders": orders}).compile(SCHEMA)["lines"].digest

    assert digest(files="other/*.csv", optional=True) == digest()
    assert len({digest(), digest(on={"no": "nr"}), digest(delimiter=";")}) == 3


KEYS = st.sampled_from(["1", "2", "3.0", " 4 ", "5", ""])


@given(
    st.lists(
        st.tuples(KEYS, st.sampled_from(["a", "b", ""]), st.sampled_from(["2024-01-01", "no"])), max_size=5
    ),
    st.lists(st.tuples(KEYS, st.sampled_from(["x", "y"])), min_size=1, max_size=8),
)
@settings(max_examples=60)
def test_joined_is_what_pandas_would_have_joined_before(
    there: list[tuple[str, str, str]], here: list[tuple[str, str]]
) -> None:
    def key(text: str) -> str:
        return text.strip().removesuffix(".0")

    there = list({key(row[0]): row for row in there if row[0]}.values())
    orders = pd.DataFrame(there, columns=["no", "who", "at"], dtype=str)
    lines = pd.DataFrame(here, columns=["no", "sku"], dtype=str)
    renamed = orders.rename(columns={"who": "orders.who", "at": "orders.at"})
    before = lines.assign(no=lines["no"].map(key)).merge(
        renamed.assign(no=renamed["no"].map(key)), on="no", how="left"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = parse_mapping({"version": 1, "name": "m", "sources": {"lines": source(join={})}})
        before.to_csv(folder / "lines.csv", index=False)
        expected = preview(plain, SCHEMA, folder, 100)
        found = made(folder, orders=orders.to_csv(index=False), lines=lines.to_csv(index=False))
    assert (found.rows, found.rejected, found.skipped) == (expected.rows, expected.rejected, expected.skipped)
    assert found.counts == expected.counts
    assert found.examples == expected.examples
    assert [fault[0] for fault in faults(found)] == [fault[0] for fault in faults(expected)]
