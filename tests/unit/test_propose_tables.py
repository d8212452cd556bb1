"""A shop's data in several tables: what `ingest init` joins, and what it leaves apart."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.profile import Sample
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.ingest.readers import SourceOptions
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
MADE_BY = ("Product", "MADE_BY", "Brand")
ORDERS = "order_id,customer_id,order_date,freight\n" + "".join(
    f"{n},c{n % 7},2024-01-{n % 28 + 1:02} 10:00:00,{n}.5\n" for n in range(1, 41)
)
LINES = "order_id,product_id,quantity,unit_price\n" + "".join(
    f"{n % 40 + 1},p{n % 9},{n % 3 + 1},2.50\n" for n in range(90)
)


def proposed(folder: Path, **files: str) -> tuple[str, Mapping, Preview]:
    for name, text in files.items():
        file = folder / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    text = propose(sorted(folder.rglob("*.csv")), SCHEMA)
    mapping = parse_mapping(text)
    return text, mapping, preview(mapping, SCHEMA, folder, 500)


def joins(mapping: Mapping, source: str) -> dict[str, Any]:
    return {name: (list(j.files), j.on) for name, j in mapping.sources[source].join.items()}


def doubts(text: str) -> list[str]:
    """What is in doubt, beside what every proposal of purchases asks."""
    found = [line.partition("# ?")[2].strip() for line in text.splitlines()[2:] if "# ?" in line]
    return [doubt for doubt in found if not doubt.startswith(("of times that", "event_id:"))]


def test_lines_look_up_who_bought_and_when(tmp_path: Path) -> None:
    text, mapping, shown = proposed(tmp_path, orders=ORDERS, order_lines=LINES)
    assert doubts(text) == ["of one unit"]
    # All that the orders say is in the lines.
    assert list(mapping.sources) == ["order_lines"]
    assert joins(mapping, "order_lines") == {"orders": (["orders.csv"], {"order_id": "order_id"})}
    assert (shown.rows, shown.rejected, shown.counts[BOUGHT]) == (90, 0, 90)
    first = shown.examples[BOUGHT].to_pylist()[0]
    assert (first["source"], first["target"], first["first_at"], first["spend"]) == (
        "c1",
        "p0",
        datetime(2024, 1, 2, 10),
        2.5,
    )


def test_lines_that_know_the_user_look_up_when(tmp_path: Path) -> None:
    lines = "order_id,customer_id,product_id\n" + "".join(
        f"{n % 40 + 1},c{n % 3},p{n % 9}\n" for n in range(90)
    )
    text, mapping, shown = proposed(tmp_path, orders=ORDERS, order_lines=lines)
    assert doubts(text) == []
    assert joins(mapping, "order_lines") == {"orders": (["orders.csv"], {"order_id": "order_id"})}
    first = shown.examples[BOUGHT].to_pylist()[1]
    # Whoever stands in the line, and not in the order.
    assert (first["source"], first["first_at"]) == ("c1", datetime(2024, 1, 3, 10))
    assert shown.counts[BOUGHT] == 90


def test_a_person_behind_the_customers_of_orders_is_looked_up(tmp_path: Path) -> None:
    customers = "customer_id,customer_unique_id,customer_city\n" + "".join(
        f"c{n},u{n % 3},Rome\n" for n in range(7)
    )
    lines = LINES.replace("unit_price", "price").replace("order_id,product", "order_id,shipping_date,product")
    lines = "\n".join(
        line if "_" in line else line.replace(",p", ",2024-03-01,p") for line in lines.splitlines()
    )
    text, mapping, shown = proposed(tmp_path, orders=ORDERS, order_items=lines + "\n", customers=customers)
    assert doubts(text) == ["of one unit"]
    assert joins(mapping, "order_items") == {
        "orders": (["orders.csv"], {"order_id": "order_id"}),
        "customers": (["customers.csv"], {"orders.customer_id": "customer_id"}),
    }
    assert set(mapping.sources) == {"customers", "order_items"}
    assert mapping.sources["customers"].nodes[0].key.column == "customer_unique_id"
    assert "# not used: customer_city, customer_id" in text
    # The date of shipping is not when something was bought.
    assert "# not used: shipping_date" in text
    assert (shown.counts["User"], shown.rejected) == (3, 0)
    assert shown.examples[BOUGHT]["first_at"][0].as_py() == datetime(2024, 1, 2, 10)


def test_keys_that_are_just_called_id_are_those_of_the_file(tmp_path: Path) -> None:
    text, mapping, shown = proposed(
        tmp_path,
        orders=ORDERS.replace("order_id", "id").replace("customer_id", "user_id"),
        order_items=LINES,
        products="id,name,brand_id,category_id,price\n"
        + "".join(f"p{n},Thing {n},{n % 2 + 1},{n % 2 + 1},9\n" for n in range(9)),
        # Written alike, and of the same ids.
        brands="id,name\n1,Mill\n2,Farm\n",
        categories="id,name\n1,Food\n2,Drinks\n",
        users="id,email,created_at\n" + "".join(f"c{n},a{n}@b.de,2020-01-0{n + 1}\n" for n in range(7)),
    )
    # What the shop takes for a thing stands with the products, and not in each line.
    assert doubts(text) == []
    assert joins(mapping, "order_items") == {"orders": (["orders.csv"], {"order_id": "id"})}
    assert joins(mapping, "products") == {
        "brands": (["brands.csv"], {"brand_id": "id"}),
        "categories": (["categories.csv"], {"category_id": "id"}),
    }
    assert set(mapping.sources) == {"order_items", "products", "users"}
    thing = shown.examples["Product"].to_pylist()[1]
    assert (thing["brand_text"], thing["category_text"], thing["price"]) == ("Farm", "Drinks", 9.0)
    assert shown.examples["Brand"]["brand_id"].to_pylist()[:2] == ["Mill", "Farm"]
    assert shown.counts[MADE_BY] == 9


@pytest.mark.parametrize("piece", ["1", "part-00000-9af3-c000", "day=2024-01-01/data_1"])
def test_numbered_pieces_of_a_table_are_called_as_their_folder(piece: str, tmp_path: Path) -> None:
    tables = {
        "orders": ORDERS.replace("order_id", "id").replace("customer_id", "user_id"),
        "order_lines": LINES,
        "products": "id,name,price\n" + "".join(f"p{n},Thing {n},9\n" for n in range(9)),
        "users": "id,name\n" + "".join(f"c{n},Ann {n}\n" for n in range(7)),
    }
    flat, _, want = proposed(tmp_path / "flat", **tables)
    text, mapping, shown = proposed(tmp_path / "folders", **{f"{k}/{piece}": v for k, v in tables.items()})
    assert set(mapping.sources) == {"order_lines", "products", "users"}
    assert joins(mapping, "order_lines") == {"orders": ([f"orders/{piece}.csv"], {"order_id": "id"})}
    assert doubts(text) == doubts(flat)
    assert (shown.counts, shown.examples) == (want.counts, want.examples)


def test_a_source_that_yaml_would_read_as_none_has_a_name(tmp_path: Path) -> None:
    assert set(proposed(tmp_path, null=ORDERS)[1].sources) == {"null"}


@pytest.mark.parametrize(
    "piece",
    [
        "orders/2024年03月",
        "orders/part-r-00000",
        "orders/part-00000-tid-45361-9af3b1d2-abcd-4c3d-8e9f-0123456789ab-7-1-c000",
        "orders/2024Q1",
        "orders/2024-W05",
        "orders/20240305T120000",
        "orders/split_1",
        "orders.parquet/9af3b1d2-abcd-4c3d-8e9f-0123456789ab-0",
    ],
)
def test_a_piece_is_called_as_its_folder(piece: str) -> None:
    assert Sample(Path(f"/shop/{piece}.csv"), SourceOptions()).called == "orders"


@pytest.mark.parametrize(
    "name", ["bed", "feed", "parts", "data", "datasets2", "export_orders", "ad_2024", "feed2", "b2b"]
)
def test_a_name_that_says_something_is_the_tables(name: str) -> None:
    assert Sample(Path(f"/shop/orders/{name}.csv"), SourceOptions()).called == name


def test_tables_that_are_written_alike_are_told_apart_by_their_names(tmp_path: Path) -> None:
    users = {"users_1": "id,name\nu1,Ann\nu2,Bob\n", "users_2": "id,name\nu3,Cy\n"}
    _, mapping, shown = proposed(tmp_path, **users, brands="id,name\nb1,Mill\nb2,Farm\n")
    assert shown.counts.get("User") == 3
    assert list(mapping.sources["users_1"].files) == ["users_1.csv", "users_2.csv"]


def test_a_supplier_is_called_as_its_company(tmp_path: Path) -> None:
    products = "ProductID,ProductName,SupplierID\n" + "".join(
        f"{n},Thing {n},{n % 2 + 1}\n" for n in range(9)
    )
    suppliers = "SupplierID,CompanyName,ContactName,City\n1,Mill,Ann,Rome\n2,Farm,Bob,Oslo\n"
    text, mapping, shown = proposed(tmp_path, products=products, suppliers=suppliers)
    assert doubts(text) == []
    assert list(mapping.sources) == ["products"]
    assert set(shown.examples["Product"]["brand_text"].to_pylist()) == {"Mill", "Farm"}


def test_orders_that_were_cancelled_are_asked_about(tmp_path: Path) -> None:
    head, *rows = ORDERS.splitlines()
    states = [
        f"{head},order_status",
        *(f"{row},{'cancelled' if n % 5 == 0 else 'paid'}" for n, row in enumerate(rows)),
    ]
    text, _, _ = proposed(tmp_path, orders="\n".join(states) + "\n", order_lines=LINES)
    doubt, _ = doubts(text)
    assert doubt.endswith("where: [{column: orders.order_status, not_in: [cancelled]}]")


def test_a_few_orders_of_many_lines_are_told(tmp_path: Path) -> None:
    few = "\n".join(ORDERS.splitlines()[:11]) + "\n"
    text, _, shown = proposed(tmp_path, orders=few, order_lines=LINES)
    assert doubts(text) == [
        "33% of the first rows find theirs, and others would be rejected",
        "of one unit",
    ]
    assert shown.rejected == 60


@pytest.mark.parametrize(("user", "doubtful"), [("c1", False), ("", True)])
def test_blank_rows_among_the_orders_are_no_orders_of_guests(
    user: str, doubtful: bool, tmp_path: Path
) -> None:
    orders = ORDERS + ",,,\n" * 3 + f"41,{user},2024-01-01 10:00:00,1\n"
    text, mapping, _ = proposed(tmp_path, orders=orders, order_lines=LINES)
    key = mapping.sources["order_lines"].nodes[0].key
    assert (key.required is False) is doubtful
    assert "those without orders.order_date" not in text


def test_a_line_that_says_when_keeps_its_time(tmp_path: Path) -> None:
    sessions = "session_id,user_id,started_at\n" + "".join(
        f"s{n},u{n % 5},2024-01-01 0{n % 9}:00:00\n" for n in range(30)
    )
    views = "session_id,product_id,viewed_at\n" + "".join(
        f"s{n % 30},p{n % 7},2024-01-02 1{n % 9}:00:00\n" for n in range(60)
    )
    text, mapping, shown = proposed(tmp_path, sessions=sessions, views=views)
    assert doubts(text) == []
    assert joins(mapping, "views") == {"sessions": (["sessions.csv"], {"session_id": "session_id"})}
    assert shown.examples["User", "VIEWED", "Product"]["first_at"][0].as_py() == datetime(2024, 1, 2, 10)


@pytest.mark.parametrize(
    "files",
    [
        # When somebody joined is not when they rated.
        {
            "ratings": "user_id,product_id,stars\n1,a,3\n2,b,5\n1,b,4\n",
            "users": "user_id,joined_at\n1,2020-01-01\n2,2020-01-02\n",
        },
        # An order of many rows names none of them.
        {
            "lines": "order_id,product_id\n1,a\n2,b\n1,b\n",
            "payments": "order_id,customer_id,paid_at\n1,c,2024-01-01\n1,d,2024-01-02\n2,c,2024-01-02\n",
        },
        # Other numbers.
        {
            "lines": "order_id,product_id\n1,a\n2,b\n1,b\n",
            "orders": "order_id,customer_id,order_date\n7,c,2024-01-01\n8,d,2024-01-02\n",
        },
    ],
    ids=["another time", "not unique", "no partner"],
)
def test_what_does_not_belong_together_stays_apart(files: dict[str, str], tmp_path: Path) -> None:
    text, mapping, _ = proposed(tmp_path, **files)
    assert "join:" not in text
    assert set(mapping.sources) == set(files)


def test_that_a_key_comes_twice_is_seen_beyond_the_first_rows(tmp_path: Path) -> None:
    many = ORDERS + "".join(f"{n},c1,2024-01-01,1\n" for n in range(41, 1500))
    assert "join:" in proposed(tmp_path, orders=many, order_lines=LINES)[0]
    assert "join:" not in proposed(tmp_path, orders=many + "3,c1,2024-01-01,1\n", order_lines=LINES)[0]


@pytest.mark.parametrize("early", [True, False])
def test_a_row_that_stands_twice_alike_takes_no_key_away(early: bool, tmp_path: Path) -> None:
    """The job takes it for one row; another row of the key it refuses."""
    far = "".join(f"{n},c1,2024-01-01 10:00:00,1\n" for n in range(41, 1 if early else 1_500))
    again = ORDERS.splitlines()[3] + "\n"
    text, mapping, shown = proposed(tmp_path, orders=ORDERS + far + again * 2, order_lines=LINES)
    assert joins(mapping, "order_lines") == {"orders": (["orders.csv"], {"order_id": "order_id"})}
    assert (shown.rejected, shown.counts[BOUGHT]) == (0, 90)
    assert "# 2 rows stand there again, alike in what is used, and count once" in text
    other = again.replace("2024-01-04", "2024-01-05")
    assert other != again
    text, mapping, _ = proposed(tmp_path, orders=ORDERS + far + again + other, order_lines=LINES)
    assert "join:" not in text


def test_a_row_of_one_file_that_stands_in_another_is_no_further_order(tmp_path: Path) -> None:
    head, *rows = ORDERS.splitlines(keepends=True)
    months = {"orders-01": "".join([head, *rows[:20]]), "orders-02": "".join([head, *rows[19:]])}
    text, mapping, _ = proposed(tmp_path, **months, order_lines=LINES)
    assert joins(mapping, "order_lines")["orders"][0] == ["orders-01.csv", "orders-02.csv"]
    assert "# 1 row stands there again, alike in what is used, and counts once" in text


GOODS = "sku,title,price\n" + "".join(f"p{n},Thing {n},9\n" for n in range(9))
WRITERS = "id,name\n" + "".join(f"a{n},Ann {n}\n" for n in range(7))
ASKED = "Product: nothing but an id and a name says that these are products"


def test_what_has_an_id_and_a_name_alone_is_no_further_product(tmp_path: Path) -> None:
    text, mapping, shown = proposed(tmp_path, goods=GOODS, writers=WRITERS)
    assert (list(mapping.sources), shown.counts["Product"]) == (["goods"], 9)
    assert doubts(text) == [
        "nothing but an id and a name says what this holds, and other files hold the products. The columns:"
    ]


def test_what_has_an_id_and_a_name_alone_is_asked_about(tmp_path: Path) -> None:
    text, _, shown = proposed(tmp_path, writers=WRITERS)
    assert (doubts(text), shown.counts) == ([ASKED], {"Product": 7})
    text, _, _ = proposed(tmp_path, writers=WRITERS, order_lines=LINES, orders=ORDERS)
    assert ASKED in doubts(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("products", WRITERS),
        ("artikel_2024", WRITERS),
        ("all", "id,name,price\na1,Tea,2.5\n"),
        ("all", "id,name,brand\na1,Tea,Mill\n"),
        ("all", "id,name,category\na1,Tea,Drinks\n"),
        ("all", "id,name,sku\na1,Tea,s1\n"),
    ],
)
def test_a_file_or_heading_that_tells_of_products_leaves_no_doubt(
    name: str, text: str, tmp_path: Path
) -> None:
    found, _, shown = proposed(tmp_path, **{name: text})
    assert (doubts(found), set(shown.counts) >= {"Product"}) == ([], True)


@pytest.mark.parametrize(("mark", "sure"), [("p", True), ("", False)])
def test_what_lines_of_purchases_name_is_a_product(mark: str, sure: bool, tmp_path: Path) -> None:
    """A few numbers are alike by chance."""
    lines = LINES if mark else re.sub(r",p(\d)", r",\1", LINES)
    things = "id,name\n" + "".join(f"{mark}{n},Thing {n}\n" for n in range(4))
    text, mapping, _ = proposed(tmp_path, things=things, order_lines=lines, orders=ORDERS)
    assert "things" in mapping.sources
    assert (ASKED in doubts(text)) is not sure


@pytest.mark.parametrize(
    "head",
    [
        "Kampagne;Titel;Beginn;Ende;Typ",
        "Kampagnen-Nr.;Name;Startdatum;Enddatum;Art",
        "campaign_id;title;start_date;end_date;type",
        "Kampagne;Bezeichnung;Gültig ab;Gültig bis;Kampagnentyp",
    ],
)
def test_campaigns_have_a_title_and_times(head: str, tmp_path: Path) -> None:
    rows = "".join(
        f"K{n};Jazz {n};{n + 13:02}.03.2024 00:00;{n + 23:02}.03.2024 00:00;Mail\n" for n in range(6)
    )
    text, _, shown = proposed(tmp_path, campaigns=f"{head}\n{rows}")
    assert (doubts(text), "not used" in text, shown.rejected) == ([], False, 0)
    assert shown.examples["Campaign"].to_pylist()[0] == {
        "campaign_id": "K0",
        "title": "Jazz 0",
        "campaign_type": "Mail",
        "start_at": datetime(2024, 3, 13),
        "end_at": datetime(2024, 3, 23),
    }


@pytest.mark.parametrize("end", ["31/12/{}", "{}-12-31", "12/31/{}"])
def test_a_campaign_may_end_in_time_to_come(tmp_path: Path, end: str) -> None:
    ahead = datetime.now().year + 1
    rows = f"M1,Hello,2024-12-01,{end.format(2024)}\nM2,Bye,2025-12-13,{end.format(ahead)}\n"
    text, _, shown = proposed(tmp_path, campaigns="campaign_id,title,start_date,end_date\n" + rows)
    assert (doubts(text), shown.rejected) == ([], 0)
    assert shown.examples["Campaign"]["end_at"].to_pylist() == [
        datetime(2024, 12, 31),
        datetime(ahead, 12, 31),
    ]


def test_what_happened_is_told_by_another_time_than_an_end_that_may_lie_ahead(tmp_path: Path) -> None:
    ahead = datetime.now().year + 1
    rows = f"U1,P1,2024-03-05,{ahead}-03-05\nU2,P1,2024-03-05,{ahead}-03-06\n"
    text, _, shown = proposed(tmp_path, orders="customer_id,product_id,date,end_date\n" + rows)
    assert "at: date" in text
    assert shown.rejected == 0


def test_who_a_campaign_is_from_is_not_when(tmp_path: Path) -> None:
    text, _, shown = proposed(tmp_path, campaigns="Kampagne;Von;Ende\nK1;Ann;23.03.2024\nK2;Bob;24.03.2024\n")
    assert ("# not used: Von" in text, shown.rejected) == (True, 0)
    assert "end_at" in shown.examples["Campaign"].column_names


def test_what_a_coupon_offers_is_no_title_of_its_product_and_its_start_is_taken(tmp_path: Path) -> None:
    text, _, shown = proposed(
        tmp_path,
        coupons="coupon_id,sku,title,description,start_at\n"
        "c1,p1,10 off from 50,for regulars,2024-01-01\nc2,p2,5 off,for all,2024-01-05\n",
        products="sku,title,price\np1,Red mug,5.5\np2,Blue mug,6.5\n",
    )
    assert "not used: title, description" in text
    told = {row["product_id"]: row["title"] for row in shown.examples["Product"].to_pylist()}
    assert told == {"p1": "Red mug", "p2": "Blue mug"}
    assert [str(row["start_at"])[:10] for row in shown.examples["Coupon"].to_pylist()] == [
        "2024-01-01", "2024-01-05",
    ]  # fmt: skip


def test_purchases_in_a_log_beside_orders_are_in_doubt(tmp_path: Path) -> None:
    log = "user_id,product_id,event,time\n" + "".join(
        f"u{n % 7},p{n % 9},{'purchase' if n % 3 else 'view'},2024-01-{n % 27 + 1:02} 10:00\n"
        for n in range(60)
    )
    orders = "user_id,product_id,order_id,quantity,ordered_at\n" + "".join(
        f"u{n % 7},p{n % 9},o{n},1,2024-01-{n % 27 + 1:02} 10:00\n" for n in range(60)
    )
    twice = "BOUGHT: other files hold purchases too"
    assert sum(twice in line for line in doubts(proposed(tmp_path / "both", log=log, orders=orders)[0])) == 1
    assert not any(twice in line for line in doubts(proposed(tmp_path / "log", log=log)[0]))


def test_a_code_of_a_coupon_leaves_products_their_words(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path / "a",
        products="product_id,name,description,coupon_code,price\n"
        "p1,Red mug,a mug,C1,5.5\np2,Tea,black tea,C2,6.5\n",
    )
    assert [row["title"] for row in shown.examples["Product"].to_pylist()] == ["Red mug", "Tea"]
    _, _, shown = proposed(
        tmp_path / "b",
        orders="order_id,customer_id,product_id,title,coupon_code,date\n"
        "o1,u1,p1,Red mug,C1,2024-01-02\no2,u2,p1,Red mug,C2,2024-01-03\n",
    )
    assert {row["title"] for row in shown.examples["Product"].to_pylist()} == {"Red mug"}


def test_names_of_products_stand_beside_a_file_of_their_prices(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path,
        stammdaten="id,name\n" + "".join(f"A-{n},Kanne {n}\n" for n in range(30)),
        preise="artikel_id,preis\n" + "".join(f"A-{n},{n + 1}.50\n" for n in range(30)),
    )
    titles = {row["title"] for row in shown.examples["Product"].to_pylist()} - {None}
    assert titles <= {f"Kanne {n}" for n in range(30)}
    assert len(titles) > 1


def test_validity_is_the_time_of_a_campaign(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path,
        campaigns="campaign_id,title,valid_from,valid_until\n"
        "c1,Spring,2024-03-01,2024-03-31\nc2,Fall,2024-09-01,2024-09-30\n",
    )
    (first, _) = shown.examples["Campaign"].to_pylist()
    assert (first["start_at"].month, first["end_at"].day) == (3, 31)


def test_prices_of_two_tables_of_products_that_agree_are_both_taken(tmp_path: Path) -> None:
    text, _, shown = proposed(
        tmp_path,
        produkte="artikelnummer,name,preis\na1,Lampe,12.50\na2,Sofa,1299\n",
        webshop='artikelnummer,beschreibung,preis\na1,Eine rote Lampe,"12,50"\n'
        'a2,Ein Sofa,"1.299,00"\na3,Ein Tisch,"49,90"\n',
    )
    assert ("not used" in text, doubts(text)) == (False, [])
    prices = [(row["product_id"], row["price"]) for row in shown.examples["Product"].to_pylist()]
    assert prices == [("a1", 12.5), ("a2", 1299), ("a1", 12.5), ("a2", 1299), ("a3", 49.9)]


def test_prices_of_two_tables_of_products_that_differ_are_in_doubt(tmp_path: Path) -> None:
    text, _, shown = proposed(
        tmp_path,
        einkauf="artikelnummer,name,preis\na1,Lampe,10.00\na2,Sofa,99\na4,Bett,\n",
        produkte="artikelnummer,name,preis,marke\na1,Lampe,12.50,X\na2,Sofa,99,X\na3,Tisch,49.90,X\na4,Bett,1,X\n",
    )
    assert doubts(text) == [
        "preis: 1 of 2 products have another price in einkauf.csv, which counts; of those that have none"
        " there 2 get none from here; to take this one in its place, write price: preis here and not there"
    ]
    prices = [(row["product_id"], row["price"]) for row in shown.examples["Product"].to_pylist()]
    assert prices[:3] == [("a1", 10), ("a2", 99), ("a4", None)]
    assert all(price is None for _, price in prices[3:])


def test_a_price_that_is_left_out_tells_nothing_of_a_third(tmp_path: Path) -> None:
    head = "artikelnummer,name,preis"
    text, _, _ = proposed(
        tmp_path,
        a=f"{head}\na1,Lampe,10\na2,Sofa,99\n",
        b=f"{head},marke\na1,Lampe,12.5,X\na2,Sofa,99,X\n",
        c=f"{head},farbe\na1,Lampe,10.00,rot\na2,Sofa,99,blau\n",
    )
    assert [doubt.partition(",")[0] for doubt in doubts(text)] == [
        "preis: 1 of 2 products have another price in a.csv"
    ]
    # Of two tables, and in the doubt.
    assert text.count("price: preis") == 3


def test_what_was_paid_for_each_product_once_is_no_other_price(tmp_path: Path) -> None:
    _, _, shown = proposed(
        tmp_path,
        orders="order_id,customer_id,product_id,price,date\no1,c1,p1,7.5,2024-01-02\no2,c2,p2,8.5,2024-01-03\n",
        products="product_id,title,price\np1,Tea,9.5\np2,Mug,10.5\n",
    )
    prices = {row["product_id"]: row["price"] for row in shown.examples["Product"].to_pylist()}
    assert prices == {"p1": 9.5, "p2": 10.5}
    assert [row["spend"] for row in shown.examples[BOUGHT].to_pylist()] == [7.5, 8.5]


@pytest.mark.parametrize("mark", ["|", ";", ", "])
@pytest.mark.parametrize("key", ["P{}", "{}"])
def test_several_keys_of_products_in_one_value_are_no_product(tmp_path: Path, mark: str, key: str) -> None:
    products = "product_id,title\n" + "".join(f"{key.format(n)},Thing {n}\n" for n in range(20))
    rows = [mark.join(key.format(n + i) for i in range(3)) for n in range(10)] + [key.format(3)]
    campaigns = "campaign_id,title,start_date,products\n" + "".join(
        f'M{n},Hello {n},2024-03-05,"{row}"\n' for n, row in enumerate(rows)
    )
    text, _, shown = proposed(tmp_path, products=products, campaigns=campaigns)
    assert (shown.counts["Product"], shown.counts["Campaign"], shown.rejected) == (20, 11, 0)
    assert "title: title" in text.split("campaigns:")[1]
    (doubt,) = doubts(text)
    assert doubt.startswith("products: its values hold several keys of products each, and make none")


def test_several_keys_are_read_as_the_doubt_says_and_a_key_with_such_a_sign_stays_one(tmp_path: Path) -> None:
    products = "product_id,title\nA|1,Thing\nA|2,Thing\nA,Thing\n"
    lines = "customer_id,products,date\nC1,A|1,2024-03-05\nC2,A|2,2024-03-05\n"
    text, _, shown = proposed(tmp_path, products=products, orders=lines)
    assert "to: {Product: products}" in text
    rows = "C1,P1|P2,S,2024-03-05\nC2,P2,S,2024-03-05\nC2,P1|P3,S,2024-03-05\n"
    lists = f"customer_id,products,size,date\n{rows}"
    text, _, shown = proposed(tmp_path, products="product_id,title\nP1,A\nP2,B\nP3,C\n", orders=lists)
    assert BOUGHT not in shown.counts
    assert 'the end of a relationship, {column: products, split: "|"} makes one for each key' in text
    mapping = parse_mapping(
        """
version: 1
name: shop
sources:
  orders:
    files: [orders.csv]
    format: csv
    relationships:
      - type: BOUGHT
        from: {User: customer_id}
        to: {Product: {column: products, split: "|"}}
        properties: {at: date}
"""
    )
    assert preview(mapping, SCHEMA, tmp_path).counts[BOUGHT] == 5
