"""Columns that only the first row of an order, or of a product's variants, has: what is proposed for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
HEAD = [
    "Beleg",
    "Kundennr",
    "Status",
    "Datum",
    "Gutschein",
    "Gesamtbetrag",
    "Artikelnr",
    "Artikelname",
    "Menge",
    "Preis",
]


def lines(orders: int = 40, start: int = 0) -> list[list[str]]:
    """Orders of one to three lines; who, status, time and sum stand on the first of them."""
    rows = []
    for n in range(start, start + orders):
        for i in range(1 + n % 3):
            first = [f"K{n % 11}", "storniert" if n % 8 == 4 else "bezahlt", f"2024-03-{1 + n % 28:02d}"]
            first += ["SOMMER" if n % 2 else "", f"{9.5 * (1 + n % 3)}"]
            item = (3 * n + i) % 20
            whole = first if i == 0 else [""] * 5
            rows.append([f"R{n}", *whole, f"A{item}", f"Ding {item}", "1", "9.50"])
    return rows


def tried(folder: Path, files: dict[str, list[list[str]]]) -> tuple[str, Preview]:
    """The proposal for these files, and what it makes; all rows fit."""
    for name, rows in files.items():
        (folder / name).write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    yaml = propose([folder / name for name in files], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder, 1_000)
    assert shown.rejects.to_pylist() == []
    return yaml, shown


def propose_only(folder: Path, rows: list[list[str]]) -> str:
    (folder / "export.csv").write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return propose([folder / "export.csv"], SCHEMA)


ENGLISH = dict(
    zip(
        HEAD,
        [
            "order",
            "customer_id",
            "status",
            "date",
            "voucher",
            "total",
            "sku",
            "item name",
            "quantity",
            "unit price",
        ],
        strict=True,
    )
)
FRENCH = dict(
    zip(
        HEAD,
        [
            "commande",
            "n° client",
            "statut",
            "date",
            "bon",
            "montant total",
            "référence",
            "désignation",
            "quantité",
            "prix",
        ],
        strict=True,
    )
)


@pytest.mark.parametrize("names", [{}, ENGLISH, FRENCH], ids=["german", "english", "french"])
def test_lines_of_an_order_take_what_its_first_row_has(tmp_path: Path, names: dict[str, str]) -> None:
    head = [names.get(name, name) for name in HEAD]
    yaml, shown = tried(tmp_path, {"export.csv": [head, *lines()]})
    rows = len(lines())
    who, when = names.get("Kundennr", "Kundennr"), names.get("Datum", "Datum")
    told = f"{rows - 40} of {rows} rows lack what the first row with the same {head[0]} has"
    (filled,) = (line for line in yaml.splitlines() if "fill_down:" in line)
    assert f"by: {head[0]}," in filled
    assert told in filled
    assert all(name in filled for name in (who, when))
    assert shown.counts[BOUGHT] == rows
    assert shown.eventless == {}
    # The sum of an order is no line's, and neither is its number a product's name.
    amounts = shown.examples[BOUGHT]["spend"].to_pylist()
    assert {float(amount) for amount in amounts} == {9.5}
    assert all(title.startswith("Ding") for title in shown.examples["Product"]["title"].to_pylist())


def test_the_where_that_is_offered_holds_on_all_lines_of_an_order(tmp_path: Path) -> None:
    yaml, _ = tried(tmp_path, {"export.csv": [HEAD, *lines()]})
    offered = "where: [{column: Status, not_in: [storniert]}]"
    assert f"rows of all kinds count; to leave some out: {offered}\n" in yaml
    with_where = yaml.replace("    format: csv\n", f"    format: csv\n    {offered}\n")
    shown = preview(parse_mapping(with_where), SCHEMA, tmp_path)
    undone = sum(1 + n % 3 for n in range(40) if n % 8 == 4)
    assert undone > 5
    assert shown.counts[BOUGHT] == len(lines()) - undone


def test_exports_of_two_halves_are_one_source_and_what_one_has_alone_is_filled_in_both(
    tmp_path: Path,
) -> None:
    later = [[*row[:4], "", *row[5:]] for row in lines(30, start=40)]
    yaml, shown = tried(tmp_path, {"a.csv": [HEAD, *lines()], "b.csv": [HEAD, *later]})
    assert "files: [a.csv, b.csv]" in yaml
    assert shown.counts[BOUGHT] == len(lines()) + len(later)


def test_variants_have_title_brand_and_category_of_their_product(tmp_path: Path) -> None:
    head = ["Modell", "Bezeichnung", "Marke", "Warengruppe", "angelegt am", "Farbe", "Artikelnr", "Preis"]
    rows = []
    for n in range(30):
        first = [f"Hemd {n}", "Acme", "Hemden", "2024-01-01"]
        for i, colour in enumerate(("rot", "blau", "gelb")[: 1 + n % 3]):
            rows.append([f"m{n}", *(first if i == 0 else [""] * 4), colour, f"A{n}-{i}", "9.50"])
    yaml, shown = tried(tmp_path, {"artikel.csv": [head, *rows]})
    assert "fill_down: {by: Modell, columns: [Bezeichnung, Marke, Warengruppe" in yaml
    products = shown.examples["Product"]
    assert products.num_rows == len(rows)
    for name in ("title", "brand_text", "category_text"):
        assert products[name].null_count == 0


def test_a_coupon_on_the_first_line_is_redeemed_once(tmp_path: Path) -> None:
    head = [name.replace("Gutschein", "Gutscheincode") for name in HEAD]
    yaml, shown = tried(tmp_path, {"export.csv": [head, *lines()]})
    assert shown.counts["User", "REDEEMED", "Coupon"] == 20
    (filled,) = (line for line in yaml.splitlines() if "fill_down:" in line)
    assert "Kundennr, Datum" in filled.replace("Status, ", "")


def test_a_number_of_the_order_on_its_first_row_is_no_product(tmp_path: Path) -> None:
    head = ["Nummer", "E-Mail", "Zeit", "Id", "Bezeichnung", "Artikelnr", "Menge"]
    rows = []
    for n in range(40):
        for i in range(1 + n % 3):
            own = [f"2024-03-{1 + n % 28:02d}", f"{77_000 + n}"] if i == 0 else ["", ""]
            rows.append([f"N{n}", f"u{n % 9}@example.org", *own, f"Ding {i}", f"A{i}" if n % 9 else "", "1"])
    yaml = propose_only(tmp_path, [head, *rows])
    assert "to: {Product: {column: Artikelnr, required: false}}" in yaml


def without(column: int, rows: list[list[str]]) -> list[list[str]]:
    return [[*row[:column], *row[column + 1 :]] for row in rows]


def test_rows_without_a_time_are_counted_where_nothing_tells_it(tmp_path: Path) -> None:
    rows = without(0, [HEAD, *lines()])
    # Without the order's number nothing says whose the later lines are; users stand on all of them here.
    rows = [[row[0] or "K1", *row[1:]] for row in rows]
    yaml, shown = tried(tmp_path, {"export.csv": rows})
    assert "fill_down" not in yaml
    gaps = len(lines()) - 40
    assert (
        f"# ? rows: those without Datum make no event: {gaps} of {gaps + 40} rows ({gaps / (gaps + 40):.0%})"
        in yaml
    )
    assert f"{gaps} of {gaps + 40} rows ({gaps / (gaps + 40):.0%}) have none, and would stay" in yaml
    assert shown.eventless == {"export": gaps}


def test_a_user_that_many_rows_lack_is_told_where_rows_are_events(tmp_path: Path) -> None:
    head = ["customer_id", "sku", "date", "quantity"]
    rows = [["" if n % 4 == 0 else f"c{n % 7}", f"p{n % 9}", "2024-03-05", "1"] for n in range(80)]
    yaml, shown = tried(tmp_path, {"orders.csv": [head, *rows]})
    assert "# ? customer_id: 20 of 80 rows (25%) have none and make no event" in yaml
    assert shown.eventless == {"orders": 20}


def test_kinds_that_make_nothing_are_counted(tmp_path: Path) -> None:
    kinds = ["view", "purchase", "checkout", "scroll"]
    rows = [[f"c{n % 7}", f"p{n % 9}", "2024-03-05", kinds[n % 4]] for n in range(80)]
    yaml, _ = tried(tmp_path, {"log.csv": [["user_id", "product_id", "time", "event"], *rows]})
    assert "# ? event: these kinds make nothing: checkout, scroll; 40 of the first 80 rows (50%)" in yaml


def test_what_a_few_variants_have_by_chance_is_not_of_all_variants(tmp_path: Path) -> None:
    head = ["Modell", "Bezeichnung", "Marke", "Beschreibung", "Artikelnr", "Preis"]
    rows = []
    for n in range(30):
        for i in range(1 + n % 3):
            said = "mit einem kleinen Fehler am linken Bund" if i == 0 and n in (4, 7, 10) else ""
            rows.append(
                [f"m{n}", *([f"Hemd {n}", "Acme"] if i == 0 else ["", ""]), said, f"A{n}-{i}", "9.50"]
            )
    yaml, shown = tried(tmp_path, {"artikel.csv": [head, *rows]})
    assert "columns: [Bezeichnung, Marke]}" in yaml
    told = shown.examples["Product"]["description"]
    assert len(told) - told.null_count == 3


def test_what_later_lines_have_beyond_the_first_rows_is_not_their_orders(tmp_path: Path) -> None:
    rows = lines(600)
    for n, row in enumerate(rows):
        if n > 1_050 and not row[1]:
            row[3] = "2024-05-05"
    rows[-1][3] = rows[-1][3] or "2024-05-05"
    yaml = propose_only(tmp_path, [HEAD, *rows])
    (filled,) = (line for line in yaml.splitlines() if "fill_down:" in line)
    assert "Kundennr" in filled
    assert "Datum" not in filled


def test_who_ordered_again_is_no_order(tmp_path: Path) -> None:
    rows = []
    for n in range(500):
        for i in range(3):
            who = f"K{n}" if n < 340 else f"K{n - 340}"
            rows.append([who, f"2024-03-{1 + n % 28:02d}" if i == 0 else "", f"A{(n + i) % 9}", "1"])
    yaml = propose_only(tmp_path, [["Kundennr", "Datum", "Artikelnr", "Menge"], *rows])
    assert "fill_down" not in yaml
    assert "those without Datum make no event: 66" in yaml
