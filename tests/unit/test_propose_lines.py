"""What lines of orders tell: whose a name, an amount, a quantity or an id is, where headings mislead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")


def proposed(folder: Path, **files: list[list[Any]]) -> tuple[str, Preview]:
    """What is proposed for files of these rows, the first the headings, and what comes of it."""
    for name, rows in files.items():
        lines = (",".join("" if cell is None else str(cell) for cell in row) for row in rows)
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    text = propose(sorted(folder / f"{name}.csv" for name in files), SCHEMA)
    return text, preview(parse_mapping(text), SCHEMA, folder, salt=b"s")


def basket(order: int, place: int) -> int:
    """The number of the product in a place of an order."""
    return (order * 3 + place * 5 + order * place) % 11


def lines(orders: int = 30, size: int = 3) -> list[tuple[int, int, int]]:
    """The order, the place in it and the product of each line."""
    return [(order, place, basket(order, place)) for order in range(orders) for place in range(size)]


def titles(shown: Preview) -> set[str | None]:
    return {row.get("title") for row in shown.examples["Product"].to_pylist()}


@pytest.mark.parametrize(
    "head",
    [
        "Name,Email,Created at,Payment Title,Row sku,Row name,Row quantity",
        "Nom,Courriel,Date de commande,Titre du paiement,SKU,Nom de l'article,Quantité",
        "Name,E-Mail,Bestelldatum,Zahlart Titel,EAN,Artikelname,Menge",
    ],
)
def test_a_name_is_one_of_products_where_each_product_has_one(tmp_path: Path, head: str) -> None:
    rows: list[list[Any]] = [
        [
            f"#{order}",
            f"u{order % 7}@x.org",
            f"2024-03-05 10:{order:02}",
            ("Card", "Bill", "Wallet")[order % 3],
            f"P{product}",
            f"Thing {product}",
            1,
        ]
        for order, _, product in lines()
    ]
    text, shown = proposed(tmp_path, orders=[head.split(","), *rows])
    assert titles(shown) <= {f"Thing {number}" for number in range(11)}, text
    # Where none of them is a name of products there is none, and that is said.
    without = [[*row[:5], row[6]] for row in [head.split(","), *rows]]
    text, shown = proposed(tmp_path, orders=without)
    assert f" does not go with {head.split(',')[4]}, and is no name of products" in text
    assert "Product" not in shown.examples or titles(shown) == {None}


def test_names_of_variants_are_names_of_their_product_and_so_are_those_of_few_rows(tmp_path: Path) -> None:
    head = ["order_id", "customer_id", "product_id", "name", "date"]
    rows = [
        [o, f"c{o % 5}", f"P{p}", f"Thing {p} {'red' if o % 2 else 'blue'}", "2024-03-05"]
        for o, _, p in lines()
    ]
    text, shown = proposed(tmp_path, orders=[head, *rows])
    assert None not in titles(shown), text
    text, shown = proposed(tmp_path, orders=[head, *([*row[:3], "Card", row[4]] for row in rows)])
    assert "# ? title: name does not go with product_id" in text
    few = [[o, f"c{o}", f"P{o % 2}", f"Thing {o}", "2024-03-05"] for o in range(9)]
    text, shown = proposed(tmp_path, orders=[head, *few])
    assert None not in titles(shown), text


def test_of_few_rows_the_name_beside_the_key_is_the_title(tmp_path: Path) -> None:
    head = ["Name", "Email", "Created at", "Posten sku", "Posten name", "Status title"]
    rows = [[f"#{o}", f"u{o}@x.org", "2024-03-05", f"P{o}", f"Thing {o % 3}", "Open"] for o in range(5)]
    text, _ = proposed(tmp_path, orders=[head, *rows])
    assert 'title: "Posten name"' in text


def test_the_title_of_a_review_is_no_doubt(tmp_path: Path) -> None:
    rows = [[f"c{o}", f"P{p}", 1 + o % 5, f"Well {o}", "2024-03-05"] for o, _, p in lines()]
    text, _ = proposed(tmp_path, reviews=[["user_id", "product_id", "rating", "title", "date"], *rows])
    assert "? title" not in text


def test_a_table_of_products_may_name_them_in_several_languages(tmp_path: Path) -> None:
    names = (("Pot", "Topf"), ("Cup", "Tasse"), ("Fork", "Gabel"))
    rows = [[f"P{p}", lang, names[p % 3][lang == "de"], 9.5] for p in range(30) for lang in ("en", "de")]
    text, _ = proposed(tmp_path, products=[["sku", "language", "name", "price"], *rows])
    assert "title: name" in text


@pytest.mark.parametrize("head", ["Bill-to Name", "Nom (livraison)", "Name (Billing)", "Empfänger Name"])
def test_names_of_those_who_pay_or_receive_are_personal(tmp_path: Path, head: str) -> None:
    rows = [[f"c{i % 3}", f"P{i % 4}", f"Ann {i}", "2024-03-05"] for i in range(9)]
    text, shown = proposed(tmp_path, orders=[["customer_id", "sku", head, "date"], *rows])
    assert f"left out, as they look personal: {head}" in text
    assert "Product" not in shown.examples


def test_what_a_table_describes_lines_do_not_say_again(tmp_path: Path) -> None:
    table: list[list[Any]] = [
        ["Product code", "Title", "Brand", "Price"],
        *([f"P{p}", f"Thing {p}", "Hill", 8] for p in range(10)),
    ]
    head = ["order_id", "customer_id", "date", "Item sku", "Item name", "Item brand", "quantity", "price"]
    rows = [[o, f"c{o}", "2024-03-05", f"P{p}", f"Old {p}", "Other", 2, 9] for o, _, p in lines()]
    text, shown = proposed(tmp_path, products=table, orders=[head, *rows])
    assert titles(shown) == {f"Thing {p}" for p in range(10)}
    assert {row["price"] for row in shown.examples["Product"].to_pylist()} == {8.0}
    assert {row["spend"] for row in shown.examples[BOUGHT].to_pylist()} >= {18.0}
    # Of eleven that were sold the catalogue lacks some.
    text, _ = proposed(tmp_path, products=table[:10], orders=[head, *rows])
    assert "products.csv describes the products, and has 82% of those of the first rows" in text
    # A table that lacks most of what was sold describes something else.
    text, _ = proposed(tmp_path, products=table[:5], orders=[head, *rows])
    assert 'title: "Item name"' in text
    assert "? products:" not in text


def spend(shown: Preview) -> float:
    return sum(row["spend"] or 0.0 for row in shown.examples[BOUGHT].to_pylist())


@pytest.mark.parametrize(
    ("head", "first_alone"),
    [
        ("order_id,email,date,sku,quantity,price,total", False),
        ("order_id,email,date,sku,quantity,price,total", True),
        ("Bestellnummer,E-Mail,Bestelldatum,SKU,Menge,Einzelpreis,Betrag", False),
        ("reference,courriel,date de commande,référence article,quantité,prix,montant", False),
    ],
)
def test_the_sum_of_an_order_is_no_lines(tmp_path: Path, head: str, first_alone: bool) -> None:
    rows = [
        [o, f"u{o}@x.org", f"2024-03-05 10:{o:02}", f"P{p}", 1, 9.5, None if first_alone and i else 28.5]
        for o, i, p in lines(10)
    ]
    text, shown = proposed(tmp_path, orders=[head.split(","), *rows])
    name = head.split(",")[-1]
    assert f"# ? {name}: is of a whole order, and left out: in 10 of 10 orders of several lines" in text
    assert {row["spend"] for row in shown.examples[BOUGHT].to_pylist()} == {9.5}


@pytest.mark.parametrize("head", ["amount", "order_total", "row_total"])
def test_the_sum_of_a_line_stays_its_amount(tmp_path: Path, head: str) -> None:
    names = ["order_id", "customer_id", "date", "sku", "quantity", "price", head]
    # With a tax on it, the same in all lines of an order, and nearer to a line's price than to their sum.
    rows = [[o, f"c{o}", "2024-03-05", f"P{p}", 1, 9.5, 11.4] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[names, *rows])
    if head == "order_total":
        # As its name says.
        assert f"? {head}: is of a whole order" in text
    else:
        assert f"amount: {head}" in text
    rows = [[o, f"c{o}", "2024-03-05", f"P{p}", 1, 9.5 + p, 8 + p] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[names, *rows])
    assert f"amount: {head}" in text
    # Orders of one line, and fewer of several lines than tell.
    rows = [[o, f"c{o}", "2024-03-05", f"P{p}", 1, 9.5, 28.5] for o, i, p in lines(10) if o < 4 or not i]
    text, _ = proposed(tmp_path, orders=[names, *rows])
    assert (f"amount: {head}" in text) == (head != "order_total")


def test_beside_the_sum_of_an_order_that_of_a_line_counts_and_without_prices_none(tmp_path: Path) -> None:
    names = ["order_id", "customer_id", "date", "sku", "total", "line total"]
    rows: list[list[Any]] = [[o, f"c{o}", "2024-03-05", f"P{p}", 30 + o, 5 + p] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[names, *rows])
    assert 'amount: "line total"' in text
    text, shown = proposed(tmp_path, orders=[row[:-1] for row in (names, *rows)])
    assert "# ? total: is of a whole order" in text
    assert "amount:" not in text
    assert len(shown.examples[BOUGHT])
    # Where everything costs the same, nothing tells.
    same = [[*row[:4], 7] for row in rows]
    text, _ = proposed(tmp_path, orders=[names[:-1], *same])
    assert "amount: total" in text


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("qty_canceled", "qty_invoiced", "qty_ordered"), "qty_ordered"),
        (("Stornierte Menge storniert", "Menge"), "Menge"),
        (("quantité annulée", "stock quantité", "quantité"), "quantité"),
        (("min qty", "qty refunded", "qty"), "qty"),
    ],
)
def test_the_quantity_is_how_many_were_bought(tmp_path: Path, names: tuple[str, ...], chosen: str) -> None:
    head = ["order_id", "customer_id", "date", "sku", "price", *names]
    rows = [
        [o, f"c{o}", "2024-03-05", f"P{p}", 2, *(2 if name == chosen else o % 3 == 0 for name in names)]
        for o, _, p in lines(10)
    ]
    rows = [[int(cell) if isinstance(cell, bool) else cell for cell in row] for row in rows]
    text, shown = proposed(tmp_path, orders=[head, *rows])
    assert {row["first_quantity"] for row in shown.examples[BOUGHT].to_pylist()} == {2}, text
    assert ("# ? quantity: or qty_invoiced" in text) == ("qty_invoiced" in names)


def test_of_quantities_that_nothing_tells_apart_the_others_are_named(tmp_path: Path) -> None:
    head = ["customer_id", "date", "sku", "qty", "qty shipped"]
    rows = [[f"c{o}", "2024-03-05", f"P{p}", p % 2, 1 + o % 2] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[head, *rows])
    # One that is never 0.
    assert 'quantity: "qty shipped"' in text
    assert "# ? quantity: or qty" in text
    # With nothing else, one less what came back is the quantity, and none that is nearly always 0.
    for number, there in ((1, True), (0, False)):
        rows = [[f"c{o}", "2024-03-05", f"P{p}", 0 if o == 9 else number] for o, _, p in lines(10)]
        text, _ = proposed(tmp_path, orders=[[*head[:3], "Quantity (- Refund)"], *rows])
        assert ("quantity:" in text) == there


@pytest.mark.parametrize(
    "head", ["item_id,order_id,customer_id,sku", "Artikel-ID,Bestellnummer,Kundennummer,EAN"]
)
def test_an_id_that_is_another_on_each_line_is_no_products(tmp_path: Path, head: str) -> None:
    names = [*head.split(","), "date", "quantity"]
    rows: list[list[Any]] = [
        [n, o, f"c{o}", f"P{p}", "2024-03-05", 1] for n, (o, _, p) in enumerate(lines(10))
    ]
    text, shown = proposed(tmp_path, orders=[names, *rows])
    assert {row["target"] for row in shown.examples[BOUGHT].to_pylist()} <= {f"P{p}" for p in range(11)}, text
    alone = [[*row[:3], *row[4:]] for row in (names, *rows)]
    text, _ = proposed(tmp_path, orders=alone)
    assert f"# ? {names[0]}: is another in each of 30 rows, as ids of lines are" in text
    # In orders of one line each anything is another in each row.
    text, _ = proposed(tmp_path, orders=[alone[0], *alone[1::3]])
    assert "is another in each" not in text


@pytest.mark.parametrize(
    ("head", "mail"),
    [
        ("order_id,customer_id,customer_email,created_at,sku", "customer_email"),
        ("Bestellnummer,Kundennummer,E-Mail,Bestelldatum,SKU", "E-Mail"),
    ],
)
def test_guests_count_by_the_mail_that_all_rows_have(tmp_path: Path, head: str, mail: str) -> None:
    def rows(gaps: int, mails: int = 99) -> list[list[Any]]:
        return [
            head.split(","),
            *(
                [o, f"c{o % 9}" if o >= gaps else None, f"u{o % mails}@x.org", "2024-03-05", f"P{p}"]
                for o, _, p in lines(20, 2)
            ),
        ]

    account = head.split(",")[1]
    text, shown = proposed(tmp_path, orders=rows(5))
    assert len({row["source"] for row in shown.examples[BOUGHT].to_pylist()}) > 0
    assert shown.counts[BOUGHT] == 40
    assert f"# ? {mail}: or {account}, which 10 of 40 rows have not" in text
    # A few gaps, or a mail that all have, as of the shop, tell nobody apart.
    for other in (rows(1), rows(5, mails=1)):
        text, shown = proposed(tmp_path, orders=other)
        assert f"User: {{column: {account}, required: false}}" in text
    # Other files know the account.
    table: list[list[Any]] = [[account, "age"], *([f"c{i}", 30 + i] for i in range(9))]
    text, _ = proposed(tmp_path, orders=rows(5), people=table)
    assert f"User: {{column: {account}, required: false}}" in text
    assert f"# ? {account}: 10 of 40 rows have none, and {mail} has one in all of these: key" in text


@pytest.mark.parametrize(
    "name", ["order type", "Shipping class", "订单类型", "Tipo de pedido", "message_group", "注文タイプ"]
)
def test_the_type_of_an_order_is_no_category(tmp_path: Path, name: str) -> None:
    head = ["order_id", "customer_id", "product_id", "quantity", "time", name]
    rows = [[f"O{i}", f"C{i % 3}", f"P{i % 2}", 1, "2024-03-05", f"plain {i % 2}"] for i in range(6)]
    text, shown = proposed(tmp_path, orders=[head, *rows])
    assert (shown.counts[BOUGHT], "Category" in shown.counts) == (6, False)
    assert "category_text" not in text


def test_a_type_is_a_category_where_each_product_has_one(tmp_path: Path) -> None:
    head = ["order_id", "customer_id", "product_id", "quantity", "time", "type"]
    for of_product, levels in ((True, 3), (False, 0)):
        kinds = [(product if of_product else order) % 3 for order, _, product in lines()]
        rows: list[list[Any]] = [
            [f"O{order}", f"C{order % 9}", f"P{product}", 1, "2024-03-05", f"T{kind}"]
            for (order, _, product), kind in zip(lines(), kinds, strict=True)
        ]
        assert proposed(tmp_path, orders=[head, *rows])[1].counts.get("Category", 0) == levels


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        ("product_type", ("simple", "configurable", "Simple, virtual")),
        ("Type de produit", ("Simple", "Groupé", "Einfach")),
        ("type", ("simple", "variable", "variation")),
    ],
)
def test_how_goods_are_sold_is_no_category(tmp_path: Path, head: str, kinds: tuple[str, ...]) -> None:
    rows = [[f"P{i}", f"Thing {i}", f'"{kinds[i % 3]}"', 9.5] for i in range(30)]
    text, shown = proposed(tmp_path, products=[["sku", "title", head, "price"], *rows])
    assert "Category" not in shown.counts, text
    # What they are is one, in doubt where it is but called a type.
    goods = [[*row[:2], ("Tea", "Simple cups", "Forks")[i % 3], 9.5] for i, row in enumerate(rows)]
    text, shown = proposed(tmp_path, products=[["sku", "title", head, "price"], *goods])
    assert shown.counts["Category"] == 3
    assert f"# ? categories: {head} is taken for them, as nothing else is: Tea, Simple cups, Forks" in text
    both = [[*row, f"Room {i % 2}"] for i, row in enumerate(rows)]
    text, shown = proposed(tmp_path, products=[["sku", "title", head, "price", "category"], *both])
    assert shown.counts["Category"] == 2
    assert "? categories" not in text


@pytest.mark.parametrize("head", ["item_id,parent_item_id", "Zeilennummer,Eltern-Zeilennummer"])
def test_rows_that_are_parts_of_others_are_counted(tmp_path: Path, head: str) -> None:
    names = [*head.split(","), "order_id", "customer_id", "date", "sku", "quantity"]
    rows: list[list[Any]] = [
        [n, n - 1 if i == 1 else None, o, f"c{o}", "2024-03-05", f"P{p}", 1]
        for n, (o, i, p) in enumerate(lines(10))
    ]
    text, shown = proposed(tmp_path, orders=[names, *rows])
    part, whole = names[1], names[0]
    assert f"# ? {part}: 10 of 30 rows are of a row whose {whole} it holds, and count beside it; to" in text
    assert "present: false}]" in text
    assert shown.counts[BOUGHT] == 30
    other = [[*row[:1], None if row[1] is None else 900 + row[0], *row[2:]] for row in rows]
    text, _ = proposed(tmp_path, orders=[names, *other])
    assert "count beside it" not in text


@pytest.mark.parametrize(
    ("head", "main", "where"),
    [
        ("store_view", "", "{column: store_view, present: false}"),
        ("Sprache", "fr", "{column: Sprache, in: [fr]}"),
    ],
)
def test_what_tells_descriptions_of_one_product_apart_is_named(
    tmp_path: Path, head: str, main: str, where: str
) -> None:
    names = ["sku", head, "color", "name", "price"]
    rows: list[list[Any]] = []
    for i in range(12):
        rows.append([f"P{i}", main, ("red", "blue")[i % 2], f"Thing {i}", 9.5])
        rows += [[f"P{i}", "de", ("red", "blue")[i % 2], f"Ding {i}", 9.5]] if i < 9 else []
    text, shown = proposed(tmp_path, products=[names, *rows])
    assert f"# ? {head}: 9 of the first 21 rows describe a product again, and differ in this" in text
    assert f"alone: where: [{where}]" in text
    assert shown.rejected == 0
    # A text beside the name that only one of them has changes nothing.
    noted = [[*row, f"Long {n}" if row[1] == main else None] for n, row in enumerate(rows)]
    text, _ = proposed(tmp_path, products=[[*names, "description"], *noted])
    assert f"alone: where: [{where}]" in text
    # Described alike, nothing is lost; of variants no colour is that of nearly all.
    same = [[*row[:3], f"Thing {row[0]}", row[4]] for row in rows]
    colours = [
        [f"P{i}", "", ("red", "blue", "green")[(i + n) % 3], f"Thing {i} {n}", 9]
        for i in range(12)
        for n in (0, 1)
    ]
    for other in (same, colours):
        text, _ = proposed(tmp_path, products=[names, *other])
        assert "describe a product again" not in text


def test_numbers_of_customers_are_no_rows_that_others_are_part_of(tmp_path: Path) -> None:
    rows = [
        [n, None if n % 3 else o, f"u{o}@x.org", "2024-03-05", f"P{p}"]
        for n, (o, _, p) in enumerate(lines(10))
    ]
    for head in ("id", "line_no"):
        names = [head, "customer_id", "email", "date", "sku"]
        text, _ = proposed(tmp_path, orders=[names, *rows])
        assert "count beside it" not in text


@pytest.mark.parametrize(("total", "first_alone"), [(28.5, True), (12.0, True), (8.0, False)])
def test_a_sum_is_an_orders_without_a_column_of_orders_or_with_little_of_it_paid(
    tmp_path: Path, total: float, first_alone: bool
) -> None:
    # The time stands in the first line alone, too; prices differ where the sum stands in each.
    rows = [
        [
            f"u{o}@x.org",
            None if i else f"2024-03-05 10:{o:02}",
            f"P{p}",
            9.5 + (not first_alone) * i,
            None if i and first_alone else total,
        ]
        for o, i, p in lines(10)
    ]
    text, _ = proposed(tmp_path, orders=[["email", "date", "sku", "price", "total"], *rows])
    assert "# ? total: is of a whole order, and left out: in 10 of 10 orders" in text
    assert "amount: price" in text


def test_a_total_price_of_an_order_is_no_price(tmp_path: Path) -> None:
    rows = [[o, f"c{o}", "2024-03-05", f"P{p}", 30 + o] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[["order_id", "customer_id", "date", "sku", "total price"], *rows])
    assert "total price: is of a whole order" in text
    assert "          price:" not in text


@pytest.mark.parametrize("other", ["stock qty", "min qty", "qty shipped"])
def test_what_is_in_stock_is_not_what_was_bought(tmp_path: Path, other: str) -> None:
    rows = [["2024-03-05", f"c{o}", f"P{p}", 50 + o, 2] for o, _, p in lines(10)]
    text, _ = proposed(tmp_path, orders=[["date", "customer_id", "sku", other, "qty ordered"], *rows])
    assert 'quantity: "qty ordered"' in text
    assert ("? quantity: or" in text) == (other == "qty shipped")
