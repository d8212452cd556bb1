from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY / "tests" / "fixtures" / "adapters"
BOUGHT = ("User", "BOUGHT", "Product")
FOLDERS = [
    *sorted(p for p in FIXTURES.iterdir() if p.name != "chorus-original"),
    REPOSITORY / "data" / "sample_shop",
]


def proposed(folder: Path) -> tuple[str, Mapping]:
    text = propose(sorted(p for p in folder.iterdir() if p.is_file()), SCHEMA)
    return text, parse_mapping(text)


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (folder / name).write_text(text, encoding=encoding, newline="")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_proposal_for_every_known_format_loads_and_takes_every_row(folder: Path) -> None:
    _, mapping = proposed(folder)
    shown = preview(mapping, SCHEMA, folder)
    assert shown.rejects.to_pylist() == []
    assert shown.rows > 0
    assert "Product" in {part for key in shown.counts for part in ((key,) if isinstance(key, str) else key)}


def test_what_is_proposed_for_a_shop_of_ones_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        "Bestellungen.csv",
        "Kundennummer;Artikelnummer;Bestelldatum;Menge;Einzelpreis;E-Mail;Größe\r\n"
        "K1;A-1;31.01.2024 09:15;2;1.003,50;anna@example.org;XL\r\n"
        "K2;A-2;01.02.2024 10:00;1;7,00;bob@example.org;S\r\n"
        ";A-2;01.02.2024 11:00;1;7,00;;S\r\n",
        "cp1252",
    )
    write(
        tmp_path,
        "artikel.csv",
        "Artikelnummer,Bezeichnung,Marke,Warengruppe,Preis\n"
        "A-1,Kanne,Hügel,Küche > Kannen,€ 1003.50\nA-2,Tee,,Lebensmittel > Tee,€ 7.00\n",
    )
    text, mapping = proposed(tmp_path)
    assert "left out, as they look personal: E-Mail" in text
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.rows, shown.rejected) == (5, 0)
    lines = shown.examples[BOUGHT].to_pylist()
    assert [(r["source"], r["target"], r["first_at"], r["first_quantity"], r["spend"]) for r in lines] == [
        ("K1", "A-1", datetime(2024, 1, 31, 9, 15), 2, 2007.0),
        ("K2", "A-2", datetime(2024, 2, 1, 10), 1, 7.0),
    ]
    kettle = next(r for r in shown.examples["Product"].to_pylist() if r["title"] == "Kanne")
    assert (kettle["brand_text"], kettle["category_text"], kettle["price"]) == (
        "Hügel",
        "Küche > Kannen",
        1003.5,
    )
    assert shown.counts["Department"] == 2
    assert shown.counts["Brand"] == 1


def test_online_retail_is_mapped_though_the_sample_does_not_tell_the_month_from_the_day(
    tmp_path: Path,
) -> None:
    start = datetime(2010, 12, 1, 8, 26)
    rows = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
    for i in range(3_000):
        at = start + timedelta(minutes=10 * i)
        customer = "" if i % 4 == 0 else str(17850 + i % 50)
        when = f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02}"
        rows.append(
            f"{536365 + i},{71000 + i % 90},LANTERN {i % 90},{i % 7 - 1},{when},{i % 9}.55,{customer},France"
        )
    write(tmp_path, "OnlineRetail.csv", "\n".join(rows) + "\n")
    text, mapping = proposed(tmp_path)
    assert "%m/%d/%Y %H:%M" in text
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.rows, shown.rejected, shown.skipped) == (3_000, 0, 0)
    assert shown.counts[BOUGHT] == 2_250


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_the_whole_of_a_parquet_file_tells_the_month_from_the_day_however_its_text_is_stored(
    tmp_path: Path, kind: pa.DataType
) -> None:
    start = datetime(2010, 12, 1, 8, 26)
    times = [start + timedelta(minutes=10 * i) for i in range(3_000)]
    table = pa.table(
        {
            "CustomerID": pa.array([17850 + i % 50 for i in range(3_000)]),
            "StockCode": pa.array([f"S{i % 90}" for i in range(3_000)]),
            "InvoiceDate": pa.array([f"{t.month}/{t.day}/10 {t.hour}:00" for t in times]).cast(kind),
        }
    )
    pq.write_table(table, tmp_path / "retail.parquet")
    _, mapping = proposed(tmp_path)
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.counts[BOUGHT], shown.rejected) == (3_000, 0)


def test_doubts_and_unused_columns_are_told_and_both_readings_of_a_date_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        "log.csv",
        "visitor_id,item_id,event,when,shelf\nv1,i1,view,01/02/2024,x\nv2,i1,purchase,03/02/2024,y\nv2,i2,refund,03/02/2024,y\n",
    )
    text, mapping = proposed(tmp_path)
    assert "# not used: shelf" in text
    assert "# ? when: the time could also be %m/%d/%Y" in text
    assert "# ? event: these kinds make nothing: refund" in text
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.counts[BOUGHT], shown.counts["User", "VIEWED", "Product"]) == (1, 1)


@pytest.mark.parametrize("heading", ["itemDescription", "product_name", "Item Name"])
def test_lines_that_tell_products_by_their_names_alone_make_purchases(tmp_path: Path, heading: str) -> None:
    rows = "1808,21-07-2015,tropical fruit\n2552,05-01-2015,whole milk\n1808,19-09-2015,whole milk\n"
    write(tmp_path, "groceries.csv", f"Member_number,Date,{heading}\n{rows}")
    text, mapping = proposed(tmp_path)
    assert f"# ? Product: no column holds ids of products, so that each {heading} is one" in text
    shown = preview(mapping, SCHEMA, tmp_path)
    assert (shown.counts[BOUGHT], shown.counts["Product"], shown.rejected) == (3, 2, 0)
    assert shown.examples["Product"].to_pylist()[0]["title"] == "tropical fruit"


@pytest.mark.parametrize(
    "rows",
    [
        "user_id,created_at,item_name\nu1,2024-01-01,Lamp\nu2,2024-01-02,Chair\n",
        "user_id,date,title\nu1,2024-01-01,Dr\nu2,2024-01-02,Dr\n",
    ],
    ids=["each name once", "no word of a product or a sale"],
)
def test_names_that_may_be_of_anything_are_no_products(tmp_path: Path, rows: str) -> None:
    write(tmp_path, "list.csv", rows)
    assert "Product" not in preview(proposed(tmp_path)[1], SCHEMA, tmp_path).counts


GENRES = ["Action|Thriller", "Comedy|Drama", "Drama|Action", "Comedy", "Drama", "", "Thriller|Comedy|Drama"]


@pytest.mark.parametrize(
    ("name", "head", "mark"),
    [
        ("movies.csv", "movieId,title,genres", "|"),
        ("ml.item", "item_id:token\ttitle:token_seq\tclass:token_seq", " "),
    ],
)
def test_categories_that_are_no_path_are_one_each(tmp_path: Path, name: str, head: str, mark: str) -> None:
    rows = [[str(i), f"Film {i}", genres.replace("|", mark)] for i, genres in enumerate(GENRES)]
    by = "\t" if "\t" in head else ","
    key = "product_id" if by == "," else "item_id"
    write(tmp_path, name, "\n".join([head.replace("movieId", key), *(by.join(row) for row in rows)]) + "\n")
    shown = preview(proposed(tmp_path)[1], SCHEMA, tmp_path)
    made = {(c["category_id"], c["name"], c["path"]) for c in shown.examples["Category"].to_pylist()}
    assert made == {(name, name, name) for name in ("Action", "Comedy", "Drama", "Thriller")}
    assert (shown.counts["Product", "IN_CATEGORY", "Category"], shown.rejected) == (11, 0)
    assert shown.examples["Product"].to_pylist()[0]["category_text"] == "Action, Thriller"


def test_a_path_stays_one_though_a_name_comes_at_two_heights(tmp_path: Path) -> None:
    rows = ["Kitchen|Tea|Pots", "Kitchen|Pans", "Garden|Tools", "Tea|Green", "Garden|Tools|Saws"]
    write(tmp_path, "items.csv", "sku,category\n" + "".join(f"s{i},{row}\n" for i, row in enumerate(rows)))
    shown = preview(proposed(tmp_path)[1], SCHEMA, tmp_path)
    assert (shown.counts["Department"], shown.counts["Category", "PART_OF", "Department"]) == (3, 4)


def test_a_person_as_id_is_hashed(tmp_path: Path) -> None:
    write(
        tmp_path, "o.csv", "email,sku,date\nanna@example.org,s1,2024-01-01\nbob@example.org,s2,2024-01-02\n"
    )
    text, mapping = proposed(tmp_path)
    assert "KGDISTILL_SALT" in text
    with pytest.raises(InputError, match="salt"):
        preview(mapping, SCHEMA, tmp_path)
    users = preview(mapping, SCHEMA, tmp_path, salt=b"s").examples["User"]["user_id"].to_pylist()
    assert len(users) == 2
    assert not any("@" in user for user in users)


def test_types_of_parquet_and_times_in_milliseconds_are_seen(tmp_path: Path) -> None:
    table = pa.table(
        {
            "customer": pa.array([1.0, 2.0]),
            "product": pa.array([7, 8]),
            "ts": pa.array([1_700_000_000_000, 1_700_000_100_000]),
            "stars": pa.array([5, 1]),
        }
    ).rename_columns(["customer_id", "product_id", "timestamp", "stars"])
    pq.write_table(table, tmp_path / "r.parquet")
    _, mapping = proposed(tmp_path)
    rated = preview(mapping, SCHEMA, tmp_path).examples["User", "RATED", "Product"].to_pylist()
    assert rated[0] == {
        "source": "1",
        "target": "7",
        "at": datetime(2023, 11, 14, 22, 13, 20),
        "rating": 5.0,
    }


def test_files_with_the_same_columns_are_one_source_and_folders_are_kept(tmp_path: Path) -> None:
    for month in ("01", "02"):
        (tmp_path / month).mkdir()
        write(tmp_path / month, "orders.csv", f"user_id,sku,date\nu,s{month},2024-{month}-01\n")
    text = propose([tmp_path / "01" / "orders.csv", tmp_path / "02" / "orders.csv"], SCHEMA)
    mapping = parse_mapping(text)
    assert mapping.sources["orders"].files == ("01/orders.csv", "02/orders.csv")
    assert preview(mapping, SCHEMA, tmp_path).counts[BOUGHT] == 2


def test_nothing_that_looks_like_an_id_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "x.csv", "colour,weight\nred,2\n")
    with pytest.raises(InputError, match="looks like the id"):
        proposed(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        propose([tmp_path / "absent.csv"], SCHEMA)


def test_a_preview_stops_shows_what_does_not_fit_and_no_more_examples_than_wanted(tmp_path: Path) -> None:
    rows = "".join(f"u{i},s{i},{'soon' if i == 3 else '2024-01-01'}\n" for i in range(50))
    write(tmp_path, "orders.csv", "user_id,sku,date\n" + rows)
    mapping = parse_mapping(
        "version: 1\nname: m\nsources:\n  orders:\n    files: orders.csv\n    relationships:\n"
        "      - {type: BOUGHT, from: {User: user_id}, to: {Product: sku}, properties: {at: date}}\n"
    )
    shown = preview(mapping, SCHEMA, tmp_path, rows=4, limit=20)
    assert (shown.rows, shown.rejected, shown.whole) == (20, 1, False)
    assert shown.counts == {BOUGHT: 19}
    assert shown.examples[BOUGHT].num_rows == 4
    assert not any(name.startswith("_") for name in shown.examples[BOUGHT].column_names)
    assert [(r["line"], r["value"]) for r in shown.rejects.to_pylist()] == [(5, "soon")]
    assert preview(mapping, SCHEMA, tmp_path).whole


CHARACTERS = st.characters(codec="utf-8", exclude_characters="\r\n\x00")
KNOWN = """user_id customer product_id sku date timestamp event query title name brand category price qty
    rating label ad_id campaign order_id Kundennr Artikel Preis email colour level1_category"""
NAMES = st.one_of(st.sampled_from(KNOWN.split()), st.text(CHARACTERS, min_size=1, max_size=8))
VALUES = st.one_of(
    st.sampled_from(
        ["", "NA", "2024-01-31", "31.01.2024", "1/2/2024", "view", "purchase", "a@b.org", "€ 1,50"]
    ),
    st.integers(-5, 2_000_000_000).map(str),
    st.text(CHARACTERS, max_size=12),
)


@st.composite
def a_file(draw: st.DrawFn) -> tuple[str, int]:
    names = draw(st.lists(NAMES, min_size=2, max_size=8, unique_by=str.strip))
    row = st.lists(VALUES, min_size=len(names), max_size=len(names))
    rows = draw(st.lists(row, min_size=1, max_size=6))
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([names, *rows])
    return text.getvalue(), len(rows)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=a_file())
def test_whatever_the_file_a_proposal_loads_compiles_and_runs_or_none_is_made(
    file: tuple[str, int], tmp_path: Path
) -> None:
    text, rows = file
    write(tmp_path, "any.csv", text)
    try:
        yaml = propose([tmp_path / "any.csv"], SCHEMA)
    except InputError:
        return
    # Text that no encoding makes is another matter.
    mapping = parse_mapping(yaml.replace("\n    files:", "\n    check_text: false\n    files:"))
    assert preview(mapping, SCHEMA, tmp_path, salt=b"s").rows == rows


def test_a_few_bad_values_do_not_cost_a_column(tmp_path: Path) -> None:
    rows = [f"I{n},C{n % 9},P{n % 7},{n % 5 + 1},1/{n % 28 + 1}/2024,2.50" for n in range(200)]
    rows[7] = "I7,C1,P1,six,1/2/2024,2.50"
    rows[9] = "I9,C1,P1,1,2/30/2024,2.50"
    text = "\n".join(["InvoiceNo,CustomerID,StockCode,Quantity,InvoiceDate,UnitPrice", *rows]) + "\n"
    (tmp_path / "orders.csv").write_text(text)
    mapping = parse_mapping(propose([tmp_path / "orders.csv"], SCHEMA))
    seen = preview(mapping, SCHEMA, tmp_path)
    assert (seen.rows, seen.rejected) == (200, 2)
    assert "Quantity" in {column for item in mapping.compile(SCHEMA).values() for column in item.columns}
