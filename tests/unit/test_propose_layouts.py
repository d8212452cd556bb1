"""What people's files look like: headers, preambles, delimiters, quotes; what is proposed reads every row."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgdistill.errors import InputError
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import NothingFitsError, Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
HEAD = "order_id,customer_id,sku,product_name,quantity,price,order_date"
ROWS = [f"o{i},c{i % 7},s{i % 11},Thing {i % 11},1,2.5,2024-01-{i % 28 + 1:02} 10:00:00" for i in range(40)]


def tried(folder: Path, text: str | bytes, name: str = "orders.csv") -> tuple[str, Mapping, Preview]:
    """What is proposed for a file, and what comes of it."""
    data = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(data)
    yaml = propose([folder / name], SCHEMA)
    mapping = parse_mapping(yaml)
    return yaml, mapping, preview(mapping, SCHEMA, folder, salt=b"s")


def doubts(yaml: str) -> list[str]:
    return [line.partition("# ?")[2].strip() for line in yaml.splitlines()[2:] if "# ?" in line][1:]


def whole(shown: Preview, rows: int = 40, bought: int | None = None) -> None:
    assert (shown.rows, shown.rejects.to_pylist()) == (rows, [])
    assert shown.counts[BOUGHT] == (rows if bought is None else bought)


@pytest.mark.parametrize(
    ("before", "skipped"),
    [
        ("Orders report,,,,,,\nExported 2024-03-01,,,,,,\n\n", 3),
        ("Orders report\nExported 2024-03-01\n\n", 3),
        ("# orders\n", 1),
        ("Shop,Main,From,2024-01-01,To,2024-02-01,\n", 1),
        ("\n\n", 0),
        ('"Orders,\nof January"\n', 2),
        ("sep=,\nOrders report\n", 2),
    ],
)
def test_lines_above_the_header_are_skipped_and_shown(tmp_path: Path, before: str, skipped: int) -> None:
    yaml, mapping, shown = tried(tmp_path, before + "\n".join([HEAD, *ROWS]) + "\n")
    assert mapping.sources["orders"].skip_lines == skipped
    told = "1 line before the header is" if skipped == 1 else f"{skipped} lines before the header are"
    assert (f"{told} skipped" in yaml) == (skipped > 0)
    whole(shown)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_by_the_rows_or_the_line_for_excel(tmp_path: Path, sign: str) -> None:
    lines = [line.replace(",", sign) for line in (HEAD, *ROWS)]
    for before in ("", f"sep={sign}\n", f'"sep={sign}"\n'):
        _, _, shown = tried(tmp_path, "\ufeff" + before + "\r\n".join(lines) + "\r\n")
        whole(shown)
    decimal = [re.sub(r"2\.5", "1.002,5", line) for line in lines]
    if sign != ",":
        _, _, shown = tried(tmp_path, "\n".join(decimal))
        assert shown.examples[BOUGHT]["spend"][0].as_py() == 1002.5


def test_a_header_of_fewer_names_than_values_says_so_and_is_read(tmp_path: Path) -> None:
    yaml, mapping, shown = tried(tmp_path, "\n".join([HEAD, *(f"{row}," for row in ROWS)]))
    assert "40 of 40 rows have 8 values, not 7 as the header" in yaml
    assert mapping.sources["orders"].columns == (*HEAD.split(","), "column_8")
    whole(shown)
    yaml, _, shown = tried(tmp_path, "\n".join([HEAD + ",", *ROWS]))
    assert "40 of 40 rows have 7 values, not 8 as the header" in yaml
    whole(shown)
    # R writes the rows' names without a name for them.
    yaml, mapping, shown = tried(
        tmp_path, "\n".join([HEAD, *(f"{i},{row}" for i, row in enumerate(ROWS, 1))])
    )
    assert mapping.sources["orders"].columns == ("row", *HEAD.split(","))
    whole(shown)
    assert shown.examples[BOUGHT]["source"][0].as_py() == "c0"


@pytest.mark.parametrize("more", [2, 5])
def test_several_delimiters_at_the_ends_of_rows_are_no_values(tmp_path: Path, more: int) -> None:
    yaml, mapping, shown = tried(tmp_path, "\n".join([HEAD, *(row + more * "," for row in ROWS)]))
    assert f"40 of 40 rows have {7 + more} values, not 7 as the header; what is more is always empty" in yaml
    assert mapping.sources["orders"].skip_lines == 1
    whole(shown)


def test_a_header_without_rows_says_so(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(HEAD + "\n")
    with pytest.raises(NothingFitsError, match="there are no rows below the header"):
        propose([tmp_path / "orders.csv"], SCHEMA)


def test_rows_of_another_width_are_counted(tmp_path: Path) -> None:
    yaml, _, shown = tried(tmp_path, "\n".join([HEAD, *ROWS, "o41,c1"]))
    assert "1 of 41 rows have not 7 values as the header, and would be rejected" in yaml
    assert (shown.rows, shown.rejected) == (41, 1)


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    for head, row in ((",,", "0,0,"), (",", "0,"), ("Unnamed: 0,", "0,")):
        yaml, _, shown = tried(tmp_path, "\n".join([head + HEAD, *(row + line for line in ROWS)]))
        assert ("without a name, and left out: column 1" in yaml) == head.startswith(",")
        whole(shown)
    yaml, _, shown = tried(
        tmp_path, "customer_id,,sku,,order_date\nc1,x,s1,y,2024-01-01\nc2,x,s1,y,2024-01-01\n"
    )
    assert "without a name, and left out: column 2, 4" in doubts(yaml)
    whole(shown, 2)


def test_names_that_come_twice_are_told_apart(tmp_path: Path) -> None:
    yaml, mapping, shown = tried(tmp_path, "customer_id,name,sku,name,,date\nc1,Ann,s1,Tea,x,2024-01-01\n")
    source = mapping.sources["orders"]
    assert source.columns == ("customer_id", "name", "sku", "name_2", "column_5", "date")
    assert source.skip_lines == 1
    assert "named more than once in the header: name" in yaml
    whole(shown, 1)
    table = pa.table(
        [["c1"], ["s1"], ["x"], ["y"], ["2024-01-01"]], names=["customer_id", "sku", "a", "a", "date"]
    )
    pq.write_table(table, tmp_path / "o.parquet")
    yaml = propose([tmp_path / "o.parquet"], SCHEMA)
    assert "named more than once, and left out: a" in yaml
    whole(preview(parse_mapping(yaml), SCHEMA, tmp_path), 1)


STRANGE = [
    "a: b", "# x", "- c", "? d", "& e", "* f", "! g", "yes", "no", "null", "~", "true", "1", "1e5", "0x1F",
    "12:30", "{x}", "[y]", "%z", "@at", "`", "'", "a\tb", "two\nlines", "é", "商品", "SKU_", "sku_",
    " spaced ", "=", "<<", "|", ">", "\\", "\u200b", "\ufeffmark", "x" * 3_000, "\x1b[31m", "\x85", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_any_name_can_stand_in_a_proposal(tmp_path: Path, name: str) -> None:
    text = io.StringIO()
    names = ["customer_id", f"product_id{name}", name, "order_date", "Title", "title"]
    rows = [[f"c{i}", f"p{i}", "x", "2024-01-01", f"T{i}", "t"] for i in range(3)]
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([names, *rows])
    _, _, shown = tried(tmp_path, text.getvalue())
    assert (shown.rows, shown.rejected) == (3, 0)


def test_names_written_as_one_word_in_single_quotes_are_known(tmp_path: Path) -> None:
    text = "'userid','itemid','orderdate','unitprice'\n" + "'u1','i1','2024-01-31','2,5'\n" * 2
    _, mapping, shown = tried(tmp_path, text)
    assert mapping.sources["orders"].quote == "'"
    assert shown.examples[BOUGHT].to_pylist()[0]["spend"] == 2.5
    whole(shown, 2)


def test_a_file_without_a_header_is_said_to_have_none_and_gets_a_skeleton(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text(
        "1::1193::5::978300760\n1::661::3::978302109\n2::914::3::978301968\n"
    )
    with pytest.raises(NothingFitsError) as failed:
        propose([tmp_path / "ratings.dat"], SCHEMA)
    assert "the first line looks like data" in failed.value.skeleton
    source = parse_mapping(failed.value.skeleton).sources["ratings"]
    assert (source.delimiter, source.columns) == ("::", ("column_1", "column_2", "column_3", "column_4"))
    assert "#   column_2  such as 1193; 661; 914" in failed.value.skeleton


def test_where_nothing_fits_a_skeleton_shows_every_column_but_no_person(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("colour,weight,email\nred,2,ann@example.org\nblue,3,bob@example.org\n")
    with pytest.raises(NothingFitsError, match="looks like the id") as failed:
        propose([tmp_path / "x.csv"], SCHEMA)
    skeleton = failed.value.skeleton
    assert parse_mapping(skeleton).sources["x"].files == ("x.csv",)
    assert (
        "#   colour  such as red; blue\n    #   weight  such as 2; 3\n"
        "    #   email  looks personal; as an id {column: …, hash: true}\n" in skeleton
    )
    assert "example.org" not in skeleton
    # Beside a file that fits it is a comment alone, as a source that makes nothing would be refused.
    (tmp_path / "o.csv").write_text("customer_id,sku,date\nc1,s1,2024-01-01\n")
    mapping = parse_mapping(propose([tmp_path / "x.csv", tmp_path / "o.csv"], SCHEMA))
    assert set(mapping.sources) == {"o"}
    assert set(mapping.compile(SCHEMA)) == {"o"}


@pytest.mark.parametrize(
    "last", ["Total,,,,40,100.0,", "Summe:,,,,40,100.0,", ",,,,40,100.0,", "Grand Total,,,,,,"]
)
def test_a_last_line_that_sums_the_others_is_no_row(tmp_path: Path, last: str) -> None:
    yaml, _, shown = tried(tmp_path, "\n".join([HEAD, *ROWS, last]) + "\n\n")
    assert "the last line is a sum: it is left out" in yaml
    assert (shown.rows, shown.skipped, shown.rejected, shown.counts[BOUGHT]) == (41, 1, 0, 40)


def test_quotes_and_escapes_are_told_by_what_they_do_to_the_rows(tmp_path: Path) -> None:
    plain = [f"p{i}\tCup {i}\t{i}.5" for i in range(50)]
    _, mapping, shown = tried(tmp_path, "\n".join(["sku\ttitle\tprice", *plain]), "p.tsv")
    assert mapping.sources["p"].quote is None
    stray = [*plain[:10], 'p10\t"Best\t1', *plain[11:40], 'p40\t5" pipe"\t1', *plain[41:]]
    for name in ("p.tsv", "p.csv"):
        sign = "\t" if name.endswith("tsv") else ","
        text = "\n".join(["sku\ttitle\tprice", *stray]).replace("\t", sign)
        _, mapping, shown = tried(tmp_path, text, name)
        assert mapping.sources["p"].quote is None
        assert (shown.counts["Product"], shown.rejected) == (50, 0)
    quoted = [f'p{i}\t"Cup\t{i}, ""big"""\t{i}.5' for i in range(50)]
    _, mapping, shown = tried(tmp_path, "\n".join(["sku\ttitle\tprice", *quoted]), "p.tsv")
    assert mapping.sources["p"].quote == '"'
    assert shown.examples["Product"]["title"][3].as_py() == 'Cup\t3, "big"'
    escaped = [f'p{i},"{i}\\" pipe, red",{i}.5' for i in range(50)]
    _, mapping, shown = tried(tmp_path, "\n".join(["sku,title,price", *escaped]))
    assert mapping.sources["orders"].escape == "\\"
    assert shown.examples["Product"]["title"][3].as_py() == '3" pipe, red'
    lines = [f'p{i},"two\nlines, {i}",{i}.5' for i in range(50)]
    _, mapping, shown = tried(tmp_path, "\n".join(["sku,title,price", *lines]))
    assert (mapping.sources["orders"].quote, shown.counts["Product"]) == ('"', 50)


def test_ids_that_a_spreadsheet_cut_are_flagged_and_titles_are_no_money(tmp_path: Path) -> None:
    lines = [f"4.00638E+12,Pen 40063813339{i:02},$ 1.5{i}" for i in range(60)]
    yaml, _, shown = tried(tmp_path, "\n".join(["ean,title,price", *lines]))
    assert any(
        "ean: 60 of 60 values are written like 4.00638E+12: a spreadsheet lost" in d for d in doubts(yaml)
    )
    product = shown.examples["Product"].to_pylist()[0]
    assert (product["title"], product["price"]) == ("Pen 4006381333900", 1.5)
    yaml, _, _ = tried(tmp_path, "\n".join(["ean,title", *(f"40063813339{i:02},Pen" for i in range(60))]))
    assert "lost their last digits" not in yaml


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("1.003,50 €", 1003.5), ("€1,003.50", 1003.5), ("$1,003", 1003), ("Rs. 1,003.50", 1003.5),
        ("US$ 7", 7), ("1 003,50", 1003.5), ("1'003.50 CHF", 1003.5), ("7 EUR", 7), ("1,003.50", 1003.5),
        ("-7,00", -7), ("kr. 15", 15), ("1\u202f003,50\u00a0€", 1003.5), ("R$ 1.003,50", 1003.5),
        ("15 kr.", 15),
    ],
)  # fmt: skip
def test_sums_of_money_are_read_as_they_are_written(tmp_path: Path, written: str, price: float) -> None:
    _, _, shown = tried(tmp_path, f"sku;title;price\ns1;Tea;{written}\ns2;Mug;{written}\n")
    assert (shown.rejected, shown.examples["Product"]["price"][0].as_py()) == (0, price)


@pytest.mark.parametrize("column", ["Tea 12", "A1", "12%", "500 g", "P-7", "PEN", "Model 3, 2nd"])
def test_text_with_figures_in_it_is_no_number(tmp_path: Path, column: str) -> None:
    _, _, shown = tried(tmp_path, f'sku,name\ns1,"{column}"\ns2,"{column}"\n')
    assert shown.examples["Product"]["title"][0].as_py() == column


WRONG = {
    "e.csv": (b"", "is empty"),
    "bom.csv": (b"\xef\xbb\xbf\n\n", "is empty"),
    "book.csv": (
        b"PK\x03\x04\x14\0\0\0xl/workbook.xml",
        "is an Excel workbook, not CSV.*save the sheet as CSV",
    ),
    "book.xlsx": (b"PK\x03\x04[Content_Types].xml", "is an Excel workbook, not CSV"),
    "old.xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900),
        "is an Excel workbook, or another old Office",
    ),
    "a.csv": (b"PK\x03\x04\x14\0\0\0orders.csv", "is a zip archive.*unpack it"),
    "p.csv": (b"\x89PNG\r\n\x1a\n\0\0", "is a picture"),
    "d.csv": (b"%PDF-1.7\n%\xe2\xe3", "is a PDF"),
    "h.csv": (b"<!DOCTYPE html><html><table>", "is HTML or XML"),
    "x.csv": (b"<?xml version='1.0'?><a/>", "is HTML or XML"),
    "q.csv": (b"PAR1\x15\x04", "is a Parquet file.*name it .parquet"),
    "s.csv": (b"SQLite format 3\0\x10", "is an SQLite database"),
    "r.csv": (bytes(range(256)) * 40, "is not text"),
    "j.json": (b'[{"user_id": 1}, {"user_id": 2}]', "is one JSON array.*jq -c '.\\[\\]'"),
    "l.json": (b'{\n "user_id": 1\n}\n', "objects that go over several lines"),
    "c.jsonl": (b"user_id,sku\n1,2\n", "is not JSON lines"),
    "n.csv": (b'{"user_id": 1}\n{"user_id": 2}\n', "holds JSON.*name it .jsonl"),
    "t.parquet": (b"user_id,sku\n1,2\n", "cannot be read as Parquet"),
    "u.doc": (b"user_id,sku\n1,2\n", "has a suffix that tells no format"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    data, said = WRONG[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as failed:
        propose([tmp_path / name], SCHEMA)
    assert re.search(said, str(failed.value), re.DOTALL)
    assert name in str(failed.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        propose([tmp_path], SCHEMA)


@pytest.mark.parametrize(
    "text", ["customer_id,sku,date\n", "x\n", "x\n1\n2\n", "customer_id\n1\n", "a,b\n\n\n", "\n\nx"]
)
def test_the_smallest_files_make_a_proposal_or_a_skeleton(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    try:
        yaml = propose([tmp_path / "f.csv"], SCHEMA)
    except NothingFitsError as error:
        yaml = error.skeleton
    assert "f" in parse_mapping(yaml).sources


def test_gaps_beyond_the_sample_cost_no_row(tmp_path: Path) -> None:
    rows = [f"c{i},s{i % 9},Tea,2024-01-31" for i in range(1_100)]
    yaml, _, shown = tried(
        tmp_path, "\n".join(["customer_id,sku,name,date", *rows, ",s1,Tea,2024-01-31", "c1,s1,Tea,"])
    )
    assert "# ? rows: those without date make no event" in yaml
    assert (shown.rows, shown.rejected, shown.counts[BOUGHT]) == (1_102, 0, 1_100)


def test_long_values_and_half_characters_cost_no_time_and_no_traceback(tmp_path: Path) -> None:
    _, _, shown = tried(tmp_path, f"customer_id,sku,date,name\nc1,s1,2024-01-31,{'x' * 300_000}\n")
    whole(shown, 1)
    line = '{"user_id": "u1", "sku": "s1", "date": "2024-01-31", "\\udfff": 1}\n'
    _, _, shown = tried(tmp_path, line * 2, "s.jsonl")
    whole(shown, 2)


def test_a_header_with_few_names_is_one_and_a_blank_one_is_none(tmp_path: Path) -> None:
    head, row = ["user_id", "sku", "date"], ["u1", "s1", "2024-01-31"]
    _, _, shown = tried(
        tmp_path, "\n".join(["\t".join(head + [""] * 50), *["\t".join(row + ["x"] * 50)] * 3])
    )
    whole(shown, 3)
    (tmp_path / "b.csv").write_text(",,,\n1,2,3,4\n")
    with pytest.raises(NothingFitsError):
        propose([tmp_path / "b.csv"], SCHEMA)
    for sign in ("\x01", "^"):
        _, _, shown = tried(tmp_path, "\n".join(sign.join(cells) for cells in (head, row, row)))
        whole(shown, 2)


def test_times_ahead_and_ids_that_are_no_number_are_seen_in_parquet(tmp_path: Path) -> None:
    ahead = pa.array([datetime(2999, 1, 1)] * 2)
    table = pa.table(
        {"user_id": [1.0, float("nan")], "sku": ["a", "b"], "valid": ahead, "at": pa.array([1.7e9, None])}
    )
    pq.write_table(table, tmp_path / "f.parquet")
    shown = preview(parse_mapping(propose([tmp_path / "f.parquet"], SCHEMA)), SCHEMA, tmp_path)
    assert (shown.rejected, shown.counts[BOUGHT]) == (0, 1)


def test_thousands_of_columns_make_a_short_proposal(tmp_path: Path) -> None:
    names = ["user_id", "sku", "date", *(f"feature {i}" for i in range(5_000))]
    row = ",".join(["u1", "s1", "2024-01-01", *["0"] * 5_000])
    yaml, _, shown = tried(tmp_path, "\n".join([",".join(names), row, row]))
    assert "and 4,940 more" in yaml
    assert len(yaml) < 5_000
    whole(shown, 2)


def test_nested_rows_are_read_as_far_as_a_mapping_can_name_them(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "user": pa.array([{"id": "u1", "a.b": 1}, {"id": "u2", "a.b": 2}]),
            "items": pa.array([[{"sku": "s1"}], [{"sku": "s2"}]]),
            "product_id": pa.array(["p1", "p2"]),
            "at": pa.array([1_700_000_000, 1_700_000_001]).cast(pa.timestamp("s", "UTC")),
            "raw": pa.array([b"\xff", b"\xfe"]),
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            "none": pa.nulls(2),
            "span": pa.array([1, 2], pa.duration("s")),
            "tags": pa.array([["a", "b"], None]),
        }
    )
    pq.write_table(rows, tmp_path / "r.parquet")
    yaml = propose([tmp_path / "r.parquet"], SCHEMA)
    whole(preview(parse_mapping(yaml), SCHEMA, tmp_path), 2)
    assert "from: {User: user.id}" in yaml
    text = '{"user": {"id": "u1"}, "items": [{"sku": 1}], "": 2, "product_id": 7, "at": "2024-01-01"}\n'
    yaml, _, shown = tried(tmp_path, text * 2, "r.jsonl")
    whole(shown, 2)


def test_files_written_in_different_ways_are_sources_of_their_own(tmp_path: Path) -> None:
    head = "customer_id,sku,date,title\n"
    days = {"a.csv": "2024-01-31", "b.csv": "01/02/2024", "c.csv": "31/01/2024", "d.csv": "2024-02-01"}
    for name, day in days.items():
        (tmp_path / name).write_text(f"{head}c1,s1,{day},Tea\n")
    (tmp_path / "e.csv").write_text(
        f"{head}c1,s1,2024-01-31,Öl für Käse\nc1,s1,2024-01-31,Früh\n", encoding="cp1252"
    )
    yaml = propose(sorted(tmp_path.glob("*.csv")), SCHEMA)
    mapping = parse_mapping(yaml)
    assert {s.files: s.encoding for s in mapping.sources.values()} == {
        ("a.csv", "d.csv", "e.csv"): "cp1252",
        ("b.csv", "c.csv"): None,
    }
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.rows, shown.rejected) == (6, 0)
    assert "could also be" not in yaml
