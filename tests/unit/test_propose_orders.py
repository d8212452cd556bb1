"""Exports of orders: who bought where names are masked, what tells lines apart, what are no orders."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from kgdistill.ingest.mapping.cast import key_text
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import NothingFitsError, Preview, preview, propose
from kgdistill.ingest.propose.words import words
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")


def tried(folder: Path, **files: str) -> tuple[str, Mapping, Preview]:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    text = propose(sorted(folder.glob("*.csv")), SCHEMA)
    mapping = parse_mapping(text)
    return text, mapping, preview(mapping, SCHEMA, folder, 500, salt=b"salt")


def day(n: int) -> str:
    return f"2026-03-{n % 28 + 1:02} 10:00:00"


def table(head: str, rows: list[str]) -> str:
    return "\n".join([head, *rows]) + "\n"


def test_lines_and_a_catalogue_meet_by_a_code_of_any_name(tmp_path: Path) -> None:
    goods = [f"{5200 + n},Cup {n},{n}.50,K-{n}a,8,dish" for n in range(30)]
    lines = [
        f"{n // 2},c{n // 2 % 9},K-{n % 25}a,Old {n % 25},1,{n % 25}.50,{day(n // 2)}" for n in range(80)
    ]
    _, mapping, shown = tried(
        tmp_path,
        goods=table("listing_id,title,price,maker ref,count,category", goods),
        sales=table("order_id,customer_id,maker ref,title,quantity,price,created_at", lines),
    )
    (edge,) = mapping.sources["sales"].relationships
    assert edge.type == "BOUGHT"
    assert shown.counts[BOUGHT] == 80
    # What is in store makes the catalogue no list of what was bought.
    assert shown.counts["Product"] == 30
    assert [node.label for node in mapping.sources["sales"].nodes] == ["User"]
    assert mapping.sources["goods"].nodes[0].key.column == "maker ref"


def test_a_merchants_code_is_a_products_id() -> None:
    assert words("商家编码") == ("product", "id")
    assert words("下单帐号") == ("order", "nickname")


@pytest.mark.parametrize(
    "head", ["n° commande,Username,nom du produit,quantité,prix,date", "order,email,title,qty,price,date"]
)
def test_names_of_buyers_and_of_goods_make_purchases_together(tmp_path: Path, head: str) -> None:
    who = "u{}@example.org" if "email" in head else "tb{}"
    rows = [f"{9000 + n},{who.format(n % 7)},Cup {n % 5},1,{n % 5}.50,{day(n)}" for n in range(60)]
    text, mapping, shown = tried(tmp_path, sales=table(head, rows))
    assert (shown.counts["User"], shown.counts["Product"], shown.counts[BOUGHT]) == (7, 5, 60)
    assert mapping.sources["sales"].nodes[0].key.hash
    assert "no column holds ids of products" in text


def test_who_bought_is_looked_up_by_a_name_that_is_hashed(tmp_path: Path) -> None:
    orders = [f"{n},tb{n % 6},{day(n)}" for n in range(40)]
    lines = [f"{n // 2},p{n % 9},1,2.5" for n in range(80)]
    _, mapping, shown = tried(
        tmp_path,
        orders=table("order_id,Username,created_at", orders),
        parts=table("order_id,product_id,quantity,price", lines),
    )
    assert list(mapping.sources["parts"].join) == ["orders"]
    assert (shown.counts["User"], shown.counts[BOUGHT]) == (6, 80)


def test_talks_of_a_session_make_no_purchases_of_what_was_said(tmp_path: Path) -> None:
    rows = [f"s{n},agent{n % 3},{day(n)},Hello {n % 9}" for n in range(40)]
    (tmp_path / "log.csv").write_text(table("session_id,nickname,sent_at,content", rows))
    with pytest.raises(NothingFitsError):
        propose([tmp_path / "log.csv"], SCHEMA)


def months(state: str, user: str = "c{}") -> dict[str, str]:
    """Orders of two exports, ten of which stand in both, and their lines."""
    head = "bestellnr,kundennr,bestelldatum,status"
    one = [f"{n},c{n % 6},{day(n)},completed" for n in range(30)]
    two = [f"{n},{user.format(n % 6)},{day(n)},{state}" for n in range(20, 50)]
    lines = [f"{n % 50},p{n % 9},1,2.5" for n in range(90)]
    return {
        "orders_a": table(head, one),
        "orders_b": table(head, two),
        "lines": table("bestellnr,artikelnr,menge,preis", lines),
    }


@pytest.mark.parametrize("state", ["cancelled", "shipped"])
def test_a_status_that_changed_costs_no_join(tmp_path: Path, state: str) -> None:
    text, mapping, shown = tried(tmp_path, **months(state))
    assert len(mapping.sources["lines"].join) == 1
    assert (shown.rejected, shown.counts[BOUGHT]) == (0, 90)
    lost = "is not looked up: 10 values of bestellnr stand there again with another"
    assert (f"status in orders_a.csv, orders_b.csv {lost}" in text) == (state == "cancelled")
    assert "10 rows stand there again, alike in what is used, and count once" in text


def test_orders_that_differ_in_who_bought_are_told(tmp_path: Path) -> None:
    text, mapping, _ = tried(tmp_path, **months("completed", "d{}"))
    assert not mapping.sources["lines"].join
    assert (
        "10 values of bestellnr, such as 20, stand there again with another kundennr or bestelldatum" in text
    )


@pytest.mark.parametrize("mask", ["糖***{}", "138****00{}{}", "a{}xxxx@example.org", "J•••{}"])
def test_masked_names_tell_nobody(tmp_path: Path, mask: str) -> None:
    rows = [f"{n},{mask.format(n % 9, n % 9)},p{n % 7},1,2.5,{day(n)}" for n in range(60)]
    text, _, shown = tried(tmp_path, sales=table("order_id,customer_id,product_id,quantity,price,date", rows))
    assert "User" not in shown.counts
    shared = "so that several people share a value (9 in 60 rows): no user"
    assert f"customer_id: is masked, as {mask.format(0, 0)} is, {shared}" in text
    assert "no column tells who bought" in text


def test_of_two_names_the_one_of_the_shops_own_people_is_no_customers(tmp_path: Path) -> None:
    rows = [f"{n},a***{n % 9},anna{n % 3},p{n % 7},1,2.5,{day(n)}" for n in range(60)]
    head = "order_id,nickname,username,product_id,quantity,price,date"
    assert "User" not in tried(tmp_path, sales=table(head, rows))[2].counts
    rows = [row.replace("anna", f"tb{n % 12}x") for n, row in enumerate(rows)]
    assert tried(tmp_path, sales=table(head, rows))[2].counts["User"] > 9


def test_orders_of_nobody_are_told(tmp_path: Path) -> None:
    rows = [f"{n},p{n % 7},Cup {n % 7},1,2.5,{day(n)}" for n in range(60)]
    text, _, _ = tried(
        tmp_path, sales=table("numéro de commande,référence,nom du produit,quantité,prix,date", rows)
    )
    names = "numéro de commande, quantité, date"
    told = f"rows look like those of orders ({names}), and make no event: no column tells who bought"
    assert f"# ? {told}\n" in text
    goods = [f"p{n},Cup {n},{n}.5,3,{day(n)}" for n in range(60)]
    (tmp_path / "sales.csv").unlink()
    text, _, _ = tried(tmp_path, goods=table("product_id,title,price,quantity,created_at", goods))
    assert "rows look like" not in text


@pytest.mark.parametrize(
    ("time", "user", "bought"),
    [("modified", "{0}", 0), ("date", "myshop", 0), ("date", "{0}", 60), ("aktualisiert am", "myshop", 0)],
)
def test_a_list_of_products_with_a_shops_account_makes_no_purchases(
    tmp_path: Path, time: str, user: str, bought: int
) -> None:
    rows = [f"p{n},Cup {n},{n}.5,{user.format(f's{n % 5}')},{day(n)}" for n in range(60)]
    text, _, shown = tried(tmp_path, goods=table(f"product_id,title,price,user_id,{time}", rows))
    assert (shown.counts.get(BOUGHT, 0), shown.counts["Product"]) == (bought, 60)
    assert ("# ? user_id: " in text and "taken for the shop's" in text) == (not bought)


def test_long_numbers_of_orders_are_no_times(tmp_path: Path) -> None:
    rows = [f"{305981234567 + 7 * n},c{n % 9},p{n % 7},1,2.5,{day(n)}" for n in range(60)]
    text, _, shown = tried(tmp_path, sales=table("bestellnr,kundennr,artikelnr,menge,preis,datum", rows))
    assert "event_id: {columns: [bestellnr, artikelnr]" in text
    assert shown.counts[BOUGHT] == 60


def test_of_several_numbers_the_orders_own_counts(tmp_path: Path) -> None:
    rows = [f"YT{n},T{n},{n},c{n % 9},p{n % 7},1,{day(n)}" for n in range(60)]
    head = "Shipping invoice number,payment transaction id,Invoice no,customer_id,product_id,quantity,date"
    assert 'event_id: {columns: ["Invoice no", product_id]' in tried(tmp_path, sales=table(head, rows))[0]


def test_what_tells_lines_of_one_product_apart_is_in_the_id_of_an_event(tmp_path: Path) -> None:
    head = "order_id,customer_id,product_id,Farbe,variant sku,quantity,price,date"
    rows = [
        f"{n // 2},c{n // 2 % 9},p{n // 2 % 7},{'red' if n % 2 else 'blue'},v{n % 2},1,2.5,{day(n)}"
        for n in range(80)
    ]
    text, mapping, _ = tried(tmp_path, sales=table(head, rows))
    assert "event_id: {columns: [order_id, product_id, Farbe]" in text
    assert "Farbe: differs among the rows of one product: of the line, and left out" in text
    assert "attributes" not in (mapping.sources["sales"].nodes[1].properties or {})
    plain = [row.replace("red", "blue").replace(",v1", ",v0") for row in rows]
    text, *_ = tried(tmp_path, sales=table(head, plain))
    assert "no event_id: 40 lines have the order and product of another" in text


def test_what_is_called_a_product_beside_its_id_is_its_title(tmp_path: Path) -> None:
    rows = [f"{n},Tasse {n % 7} blau,{n % 7},1,2.5,{day(n)},c{n % 9}" for n in range(60)]
    _, _, shown = tried(tmp_path, sales=table("order_id,Artikel,Artikelnr,Menge,Preis,Datum,Kundennr", rows))
    assert {row["title"] for row in shown.examples["Product"].to_pylist()} >= {"Tasse 3 blau"}


@pytest.mark.parametrize("mark", [">>", " >> ", ">"])
def test_several_signs_in_a_row_are_one(tmp_path: Path, mark: str) -> None:
    rows = [f"p{n},Cup {n},{n}.5,Home{mark}Cups{mark}Kind {n % 5}" for n in range(40)]
    _, _, shown = tried(tmp_path, goods=table("product_id,title,price,category", rows))
    assert shown.examples["Product"].to_pylist()[0]["category_text"] == "Home > Cups > Kind 0"


def test_a_second_line_of_names_is_no_row(tmp_path: Path) -> None:
    rows = [f"p{n},Cup {n},{n}.5,{day(n)}" for n in range(40)]
    second = "Artikelnummer,Bezeichnung,Preis,Erstellt am"
    text, mapping, shown = tried(tmp_path, goods=table("product_id,title,price,created_at", [second, *rows]))
    assert (shown.rows, shown.rejected, shown.counts["Product"]) == (40, 0, 40)
    assert "the line after the header names the columns again, and is no row: Artikelnummer …" in text
    assert mapping.sources["goods"].nodes[0].key.column == "product_id"
    # Of the two the one counts that names an id.
    _, mapping, shown = tried(tmp_path, goods=table("a,title,price,created_at", [second, *rows]))
    assert (mapping.sources["goods"].nodes[0].key.column, shown.counts["Product"]) == ("Artikelnummer", 40)
    # A row of words is one.
    _, _, shown = tried(
        tmp_path, goods=table("product_id,title,price,created_at", ["px,Cup,ask,soon", *rows])
    )
    assert shown.rows == 41


def test_lists_of_options_are_no_key(tmp_path: Path) -> None:
    rows = [f'"{n}.5:10:K{n}:162;",Cup {n},{n}.5,K{n}' for n in range(40)]
    _, mapping, _ = tried(tmp_path, goods=table("sku options sku,title,price,item code", rows))
    assert mapping.sources["goods"].nodes[0].key.column == "item code"


def test_models_of_phones_are_not_personal_and_payments_describe_nothing(tmp_path: Path) -> None:
    head = "product_id,title,price,手机型号,支付详情,phone"
    rows = [f"p{n},Case {n},{n}.5,Mate {n},card,+49 30 1234{n:03}" for n in range(40)]
    text, _, shown = tried(tmp_path, goods=table(head, rows))
    assert "left out, as they look personal: phone\n" in text
    (row, *_) = shown.examples["Product"].to_pylist()
    assert (row["attributes"], row["description"]) == ("Mate 0", None)


def test_keys_are_read_without_the_formula_around_them(tmp_path: Path) -> None:
    assert key_text(pa.array(['="0012"', "0012", '="a', None])).to_pylist() == ["0012", "0012", '="a', None]
    orders = [f'"=""{10**18 + n}""",c{n % 6},{day(n)}' for n in range(40)]
    lines = [f"{10**18 + n // 2},p{n % 9},1,2.5" for n in range(80)]
    _, mapping, shown = tried(
        tmp_path,
        orders=table("order_id,customer_id,created_at", orders),
        parts=table("order_id,product_id,quantity,price", lines),
    )
    assert list(mapping.sources["parts"].join) == ["orders"]
    assert (shown.rejected, shown.counts[BOUGHT]) == (0, 80)
