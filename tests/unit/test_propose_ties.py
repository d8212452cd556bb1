"""Files that know the same things under other headings: `ingest init` finds the common key by values."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
RATED = ("User", "RATED", "Product")
GOODS = 30


def proposed(folder: Path, **files: str) -> tuple[str, Mapping, Preview]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    text = propose(sorted(folder.glob("*.csv")), SCHEMA)
    mapping = parse_mapping(text)
    return text, mapping, preview(mapping, SCHEMA, folder, 500, salt=b"salt")


def table(head: str, rows: int, line: str) -> str:
    """Rows of a file: {n} counts them, {g} is one of the goods, {u} one of 25 people, {o} an order."""
    told = (
        line.format(n=n, g=(n * 7) % GOODS, u=(n // 3) % 25, o=n // 3, d=n // 3 % 27 + 1) for n in range(rows)
    )
    return "\n".join([head, *told]) + "\n"


def lines(sku: str, price: str = "preis", name: str = "") -> str:
    head = f"order_id,customer_id,date,{sku},quantity,{price}" + (f",{name}" if name else "")
    return table(head, 150, "{o},c{u},2024-02-{d:02} 10:00,P{g:03},1,8.00" + (",Old {g}" if name else ""))


def keys(shown: Preview, label: str, key: str) -> set[str]:
    return {row[key] for row in shown.examples[label].to_pylist()}


@pytest.mark.parametrize(
    ("people", "orders"),
    [
        ("Customer ID,Email,Tags", "order_id,Email,date,sku,quantity"),
        ("Kundennummer,E-Mail,Ort", "Bestellnummer,Mailadresse,Datum,Artikelnummer,Menge"),
        ("n° client,courriel,ville", "commande_id,adresse e-mail,date,référence produit,quantité"),
    ],
)
def test_people_are_known_by_the_address_that_both_files_have(
    people: str, orders: str, tmp_path: Path
) -> None:
    _, mapping, shown = proposed(
        tmp_path,
        people=table(people, 25, "72{n:05},u{n}@ex.org,Rom"),
        orders=table(orders, 150, "{o},u{u}@ex.org,2024-02-{d:02},P{g:03},1"),
    )
    key = mapping.sources["people"].nodes[0].key
    assert (key.column, key.hash) == (people.split(",")[1], True)
    assert (len(keys(shown, "User", "user_id")), shown.counts["User"]) == (25, 25)


def test_people_with_a_number_in_both_files_are_not_known_by_their_address(tmp_path: Path) -> None:
    _, mapping, _ = proposed(
        tmp_path,
        people=table("customer_id,email", 25, "c{n},u{n}@ex.org"),
        orders=table("order_id,account,email,date,sku", 150, "{o},c{u},u{u}@ex.org,2024-02-{d:02},P{g:03}"),
    )
    assert mapping.sources["people"].nodes[0].key.column == "customer_id"
    assert mapping.sources["orders"].nodes[0].key.column == "account"


def test_people_with_an_address_by_which_no_other_file_knows_anybody_keep_their_number(
    tmp_path: Path,
) -> None:
    _, mapping, _ = proposed(
        tmp_path,
        newsletter=table("email,town", 25, "u{n}@ex.org,Rome"),
        orders=table(
            "order_id,customer_id,email,date,sku", 150, "{o},c{u},u{u}@ex.org,2024-02-{d:02},P{g:03}"
        ),
    )
    assert mapping.sources["orders"].nodes[0].key.column == "customer_id"


def test_who_is_known_by_an_address_alone_is_looked_up(tmp_path: Path) -> None:
    _, mapping, shown = proposed(
        tmp_path,
        orders=lines("sku"),
        people=table("customer_id,email", 25, "c{n},u{n}@ex.org"),
        reviews=table("email,sku,stars,date", 60, "u{u}@ex.org,P{g:03},4,2024-02-{d:02}"),
    )
    (join,) = mapping.sources["reviews"].join.values()
    assert (list(join.files), join.on) == (["people.csv"], {"email": "email"})
    assert (shown.counts["User"], shown.rejected) == (25, 0)


@pytest.mark.parametrize("key", ["Lineitem sku", "Artikelnummer", "référence produit"])
def test_lines_with_another_heading_overwrite_nothing_of_the_catalogue(key: str, tmp_path: Path) -> None:
    text, _, shown = proposed(
        tmp_path,
        catalogue=table("Variant SKU,title,brand,price", GOODS, "P{n:03},Thing {n},Acme,9.50"),
        orders=lines(key, "price", "title"),
    )
    goods = shown.examples["Product"].to_pylist()
    assert {(row["price"], row["title"][:5]) for row in goods} == {(9.5, "Thing")}
    assert (shown.counts["Product"], shown.examples[BOUGHT].to_pylist()[0]["spend"]) == (GOODS, 8)
    assert "updated_at" not in text


@pytest.mark.parametrize(("known", "share"), [(25, 0.8333), (10, 0.3333)])
def test_a_catalogue_without_some_products_takes_their_titles_with_a_doubt(
    known: int, share: float, tmp_path: Path
) -> None:
    """One without most of them takes none."""
    text, _, shown = proposed(
        tmp_path,
        catalogue=table("SKU,title", known, "P{n:03},Thing {n}"),
        orders=lines("Lineitem sku", "price", "title"),
    )
    doubt = f"catalogue.csv describes the products, and has {share:.0%} of those of the first rows"
    assert (doubt in text) is (share > 0.5)
    titles = {row.get("title") for row in shown.examples["Product"].to_pylist()}
    assert (f"Old {GOODS - 1}" in titles) is (share < 0.5)


@pytest.mark.parametrize("code", ["SKU", "Kennung", "Código"])
def test_a_catalogue_is_keyed_by_what_the_lines_find(code: str, tmp_path: Path) -> None:
    """Its own numbers are full, and what the lines know has gaps, or a heading that nobody knows."""
    rows = table(f"ID,{code},Name,Brand", GOODS, "{n},P{n:03},Thing {n},Acme").replace(",P000,", ",,")
    _, mapping, shown = proposed(tmp_path, products=rows, orders=lines("artikelnummer"))
    key = mapping.sources["products"].nodes[0].key
    assert (key.column, key.required) == (code, False)
    assert shown.counts["Product"] == GOODS


def test_numbers_alike_under_headings_that_tell_of_other_things_are_no_key(tmp_path: Path) -> None:
    orders = table("order_id,customer_id,date,sku", 150, "{o},{u},2024-02-{d:02},{g}")
    products = table("ID,ordinal,Name,Brand", GOODS, "9{n:03},{n},Thing {n},Acme")
    _, mapping, _ = proposed(tmp_path, products=products, orders=orders)
    assert mapping.sources["products"].nodes[0].key.column == "ID"


ITEMS = table("order_id,sku,qty,price", 150, "{o},P{g:03},1,9.5")
HEADS = "entity_id,status,customer_id,increment_id,created_at"


@pytest.mark.parametrize(
    ("name", "orders", "joined"),
    [("sales_order", 50, True), ("payments", 50, False), ("sales_order", 40, False)],
)
def test_the_head_of_an_order_is_found_by_its_values(
    name: str, orders: int, joined: bool, tmp_path: Path
) -> None:
    """Numbers from 0 on are alike in many files: most must be there, and the file's name tell of orders."""
    heads = table(HEADS, orders, "{n},complete,{u},00{n:05},2024-02-{d:02} 10:00")
    _, mapping, shown = proposed(tmp_path, **{name: heads, "order_item": ITEMS})
    assert shown.counts.get(BOUGHT, 0) == (150 if joined else 0)
    joins = mapping.sources["order_item"].join.values()
    assert [join.on for join in joins] == ([{"order_id": "entity_id"}] if joined else [])


def test_a_code_finds_the_head_of_an_order_under_any_heading(tmp_path: Path) -> None:
    heads = table("Beleg,Kundennummer,Datum", 50, "B-{n:04},k{n},2024-02-{d:02} 10:00")
    items = table("Auftragsnummer,Artikelnummer,Menge", 150, "B-{o:04},P{g:03},1")
    _, mapping, shown = proposed(tmp_path, kopf=heads, zeilen=items)
    (join,) = mapping.sources["zeilen"].join.values()
    assert (join.on, shown.counts[BOUGHT]) == ({"Auftragsnummer": "Beleg"}, 150)


VARIANTS = "".join(
    f"tee-no-{n},{f'Tee {n},Acme' if size == 's' else ','},{n}-{size},9.50\n"
    for n in range(GOODS)
    for size in "sm"
)
RATINGS = "title,body,rating,review_date,reviewer_email,"


@pytest.mark.parametrize(("handle", "theirs"), [("Handle", "product_handle"), ("URL key", "Artikel-Slug")])
def test_lines_by_variant_and_reviews_by_handle_meet(handle: str, theirs: str, tmp_path: Path) -> None:
    text, mapping, shown = proposed(
        tmp_path,
        products=f"{handle},Title,Vendor,Variant SKU,Price\n{VARIANTS}",
        orders=table(
            "order_id,email,date,Lineitem sku,quantity", 150, "{o},u{u}@ex.org,2024-02-{d:02},{g}-s,1"
        )
        + "51,u1@ex.org,2024-03-01,gone-1,1\n",
        reviews=table(RATINGS + theirs, 100, ",I like {n},5,2024-02-{d:02},u{u}@ex.org,tee-no-{g}"),
    )
    assert mapping.sources["products"].nodes[0].key.column == handle
    (join,) = mapping.sources["orders"].join.values()
    assert (list(join.files), join.on) == (["products.csv"], {"Lineitem sku": "Variant SKU"})
    bought = {row["target"] for row in shown.examples[BOUGHT].to_pylist()}
    # What the catalogue has no more is known by its own code.
    assert bought == {f"tee-no-{n}" for n in range(GOODS)} | {"gone-1"}
    assert {row["target"] for row in shown.examples[RATED].to_pylist()} <= bought
    assert (shown.counts["Product"], shown.rejected) == (GOODS, 0)
    assert 'columns: [order_id, "Lineitem sku"]' in text


def test_reviews_by_a_handle_that_several_variants_share_stay_apart_with_a_doubt(tmp_path: Path) -> None:
    """Two products have one code, by which no line would find its handle."""
    text, mapping, _ = proposed(
        tmp_path,
        products=f"Handle,Title,Vendor,Variant SKU,Price\n{VARIANTS}cup,Cup,Acme,0-s,3\n",
        orders=table("order_id,email,date,sku,quantity", 150, "{o},u{u}@ex.org,2024-02-{d:02},{g}-s,1"),
        reviews=table(RATINGS + "product_handle", 100, ",I {n},5,2024-02-{d:02},u{u}@ex.org,tee-no-{g}"),
    )
    assert mapping.sources["products"].nodes[0].key.column == "Variant SKU"
    assert "# ? product_handle: names products by Handle of products.csv, which rows of several keys" in text


@pytest.mark.parametrize("head", ["product_handle", "item_slug", "Artikel-Kürzel"])
def test_what_is_called_as_a_product_and_holds_codes_is_its_id(head: str, tmp_path: Path) -> None:
    reviews = table(RATINGS + head, 100, ",I like {n},5,2024-02-{d:02},u{u}@ex.org,tee-no-{g}")
    assert proposed(tmp_path, reviews=reviews)[2].counts[RATED] == 100


@pytest.mark.parametrize("values", ["{g}00ml", "Nice {g}", "https://ex.org/{g}", "1.{g}"])
def test_what_holds_no_codes_is_no_id(values: str, tmp_path: Path) -> None:
    reviews = table(RATINGS + "product_pack", 100, ",I like {n},5,2024-02-{d:02},u{u}@ex.org," + values)
    assert RATED not in proposed(tmp_path, reviews=reviews)[2].counts


def test_people_have_handles_too(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path, tweets=table("handle,text,date", 90, "ann-{u},I like {n},2024-02-{d:02}")
    )
    assert "Product" not in shown.counts


def test_goods_are_known_by_their_handle_where_other_things_tell_that_they_are_goods(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path,
        goods=table("slug,title,brand,price", GOODS, "tee-{n},Tee {n},Acme,9.5"),
        orders=table(
            "order_id,email,date,slug,quantity,price", 150, "{o},u{u}@ex.org,2024-02-{d:02},tee-{g},1,9"
        ),
    )
    assert (shown.counts["Product"], shown.counts[BOUGHT]) == (GOODS, 150)


NUMBERED = "#1{o:03},u{u}@ex.org,2024-02-{d:02} 10:00,P{g:03},Thing {g},1"


@pytest.mark.parametrize("head", ["Name", "Order", "Bestellung", "Nummer"])
def test_what_comes_again_with_one_user_and_time_is_an_order(head: str, tmp_path: Path) -> None:
    orders = table(f"{head},email,date,sku,title,quantity", 90, NUMBERED)
    text, _, shown = proposed(tmp_path, orders=orders)
    assert f"# ? event_id: {{columns: [{head}, sku]" in text
    assert {row["title"][:5] for row in shown.examples["Product"].to_pylist()} == {"Thing"}
    # Where one order is of two people, it is none.
    other = orders + "#1000,other@ex.org,2024-02-01 10:00,P001,Thing 1,1\n"
    assert "event_id" not in proposed(tmp_path, orders=other)[0]


def months(again: str = "", *, head: str = "Name") -> dict[str, str]:
    """Two exports, of which the second begins with ten rows of the first."""
    first, *rows = table(f"{head},email,date,sku,title,quantity", 90, NUMBERED).splitlines()
    one, two = "\n".join([first, *rows[:60]]), "\n".join([first, *rows[50:]])
    return {"orders_1": f"{one}\n{again}", "orders_2": f"{two}\n"}


def test_exports_that_overlap_count_a_line_once(tmp_path: Path) -> None:
    text, mapping, _ = proposed(tmp_path, **months())
    (edge,) = (e for e in mapping.sources["orders_1"].relationships if e.type == "BOUGHT")
    assert edge.event_id is not None
    assert edge.event_id.columns == ("Name", "sku")
    assert "# ? 10 lines stand in several of the files, and count once" in text


def test_a_line_that_comes_twice_in_an_order_counts_twice(tmp_path: Path) -> None:
    twice = months()["orders_1"].splitlines()[1] + "\n"
    text, mapping, _ = proposed(tmp_path, **months(twice))
    (edge,) = (e for e in mapping.sources["orders_1"].relationships if e.type == "BOUGHT")
    assert (edge.event_id, edge.overlap) == (None, True)
    assert "10 lines stand in several of the files, and count once; 1 come again within one" in text


def test_exports_that_do_not_overlap_or_number_anew_are_left_as_they_are(tmp_path: Path) -> None:
    apart = {name: text.replace("#", "#" if name == "orders_1" else "#9") for name, text in months().items()}
    text, mapping, _ = proposed(tmp_path / "apart", **apart)
    assert all(e.event_id is None and not e.overlap for e in mapping.sources["orders_1"].relationships)
    assert "# ? event_id: {columns: [Name, sku]" in text
    anew = months(head="order_id")
    anew["orders_2"] = anew["orders_2"].replace("2024-02", "2024-03")
    text, mapping, _ = proposed(tmp_path / "anew", **anew)
    assert all(e.event_id is None and not e.overlap for e in mapping.sources["orders_1"].relationships)


def test_exports_without_numbers_of_orders_that_overlap_are_in_doubt(tmp_path: Path) -> None:
    bare = {n: "\n".join(r.split(",", 1)[1] for r in t.splitlines()) for n, t in months().items()}
    assert "# ? overlap: true  (10 lines stand in several" in proposed(tmp_path, **bare)[0]
