"""What exports of shops bring along: codes, states, guards and pairs beside orders and products."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
REDEEMED = ("User", "REDEEMED", "Coupon")


def tried(folder: Path, **files: list[str]) -> tuple[str, Preview]:
    """What is proposed for files of these lines, and what comes of it."""
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    yaml = propose([folder / f"{name}.csv" for name in files], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder, 100, salt=b"s")
    assert shown.rejects.to_pylist() == []
    return yaml, shown


def doubts(yaml: str, heading: str) -> list[str]:
    told = [line.partition(f"# ? {heading}: ")[2] for line in yaml.splitlines()]
    return [doubt for doubt in told if doubt]


def rows(shown: Preview, label: str) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if v is not None} for row in shown.examples[label].to_pylist()]


@pytest.mark.parametrize(
    ("code", "sold"),
    [
        ("coupon_code", "quantity"),
        ("Discount Code", "price"),
        ("Gutscheincode", "Menge"),
        ("优惠码", "数量"),
    ],
)
def test_a_code_beside_lines_of_orders_is_redeemed_and_the_lines_are_bought(
    tmp_path: Path, code: str, sold: str
) -> None:
    lines = [
        f"c{i % 7},p{i % 5},2024-03-{i + 1:02},{i % 3 + 1},{'' if i % 4 else 'NEW10'}" for i in range(20)
    ]
    _, shown = tried(tmp_path, lines=[f"customer_id,sku,date,{sold},{code}", *lines])
    assert (shown.counts[BOUGHT], shown.counts[REDEEMED]) == (20, 5)
    assert {row["coupon_id"] for row in rows(shown, "Coupon")} == {"NEW10"}


def test_redemptions_of_products_are_no_purchases(tmp_path: Path) -> None:
    lines = [f"c{i % 7},p{i % 5},2024-03-{i + 1:02},K{i % 3}" for i in range(20)]
    _, shown = tried(tmp_path, log=["customer_id,sku,date,coupon_code", *lines])
    assert BOUGHT not in shown.counts
    assert shown.counts[REDEEMED] == 20


@pytest.mark.parametrize("heading", ["discount_rate_id", "discount", "Discount Amount", "rabatt_typ_code"])
def test_a_rate_is_no_code(tmp_path: Path, heading: str) -> None:
    lines = [f"c{i % 7},p{i % 5},2024-03-{i + 1:02},1,{i % 3}5" for i in range(20)]
    _, shown = tried(tmp_path, orders=[f"customer_id,sku,date,quantity,{heading}", *lines])
    assert (shown.counts[BOUGHT], "Coupon" in shown.counts) == (20, False)


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("discounts_export", "Name,Value,Start,End"),
        ("Gutscheine", "Code,Wert,Beginn,Ende"),
        ("优惠券", "名称,金额,开始时间,结束时间"),
    ],
)
def test_each_row_of_a_file_of_discounts_is_a_coupon(tmp_path: Path, file: str, head: str) -> None:
    lines = [f"OFF{i},-10,2024-0{i + 1}-01,2024-0{i + 2}-01" for i in range(5)]
    _, shown = tried(tmp_path, **{file: [head, *lines]})
    coupons = rows(shown, "Coupon")
    assert [row["coupon_id"] for row in coupons] == [f"OFF{i}" for i in range(5)]
    assert [row["start_at"].month for row in coupons] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]


def test_a_file_of_discounts_that_names_products_has_these(tmp_path: Path) -> None:
    lines = [f"Tea {i},p{i},-10,2024-0{i + 1}-01" for i in range(5)]
    _, shown = tried(tmp_path, discounts=["name,sku,value,start", *lines])
    assert "Coupon" not in shown.counts


@pytest.mark.parametrize(
    ("heading", "states", "left_out"),
    [
        ("status", ["active", "draft", "archived"], "[archived, draft]"),
        ("Zustand Status", ["Aktiv", "Entwurf", "Ausgelistet"], "[Ausgelistet, Entwurf]"),
        ("published", ["TRUE", "FALSE", "TRUE"], '["FALSE"]'),
        ("Published", ["1", "0", "-1"], '["-1", "0"]'),
        ("sichtbar", ["ja", "nein", "ja"], "[nein]"),
        ("状态", ["在售", "下架", "在售"], '["下架"]'),
        ("estado", ["activo", "borrador", "activo"], "[borrador]"),
    ],
)
def test_products_that_are_not_for_sale_are_counted(
    tmp_path: Path, heading: str, states: list[str], left_out: str
) -> None:
    lines = [f"p{i},Thing {i},9.5,{states[i % 3]}" for i in range(12)]
    yaml, _ = tried(tmp_path, products=[f"sku,title,price,{heading}", *lines])
    few = 8 if "," in left_out else 4
    told = f"{few} of 12 rows are not for sale, and are products as others; to leave them out: where: "
    shown = heading if heading.isascii() and " " not in heading else f'"{heading}"'
    assert doubts(yaml, heading) == [f"{told}[{{column: {shown}, not_in: {left_out}}}]"]


def test_states_and_answers_that_say_nothing_of_sale_are_in_no_doubt(tmp_path: Path) -> None:
    lines = [f"p{i},Thing {i},9.5,{'yes' if i % 2 else 'no'},new" for i in range(12)]
    yaml, _ = tried(tmp_path, products=["sku,title,price,taxable,status", *lines])
    assert (doubts(yaml, "taxable"), doubts(yaml, "status")) == ([], [])


@pytest.mark.parametrize(
    ("heading", "states", "left_out"),
    [
        ("Order Status", ["Completed", "On hold", "Pending payment"], '["On hold", "Pending payment"]'),
        (
            "Bestellstatus",
            ["bezahlt", "Zahlung ausstehend", "storniert"],
            '["Zahlung ausstehend", storniert]',
        ),
        ("statut", ["payé", "en attente de paiement", "annulée"], '["annulée", "en attente de paiement"]'),
        ("fulfillment status", ["fulfilled", "pending", "cancelled"], "[cancelled]"),
        ("shipping_status", ["shipped", "pending", "shipped"], ""),
    ],
)
def test_states_of_orders_that_were_not_paid(
    tmp_path: Path, heading: str, states: list[str], left_out: str
) -> None:
    lines = [f"c{i % 7},p{i % 5},2024-03-{i + 1:02},{states[i % 3]}" for i in range(20)]
    yaml, _ = tried(tmp_path, orders=[f"customer_id,sku,date,{heading}", *lines])
    told = [doubt.rpartition("not_in: ")[2].removesuffix("}]") for doubt in doubts(yaml, heading)]
    assert told == ([left_out] if left_out else [])


def test_a_time_of_being_cancelled_and_what_was_paid_back_are_in_doubt(tmp_path: Path) -> None:
    ends = ("2024-04-01,{}.00,3.50", *[",{}.00,"] * 4)
    lines = [f"c{i % 7},p{i % 5},2024-03-{i + 1:02},{ends[i % 5].format(i % 2)}" for i in range(20)]
    yaml, _ = tried(tmp_path, orders=["customer_id,sku,date,Storniert am,refunded,cancelled sum", *lines])
    told = "of 20 rows have one, and count whole"
    where = "; to leave them out: where: "
    assert doubts(yaml, "Storniert am") == [f'4 {told}{where}[{{column: "Storniert am", present: false}}]']
    assert doubts(yaml, "refunded") == [f"10 {told}{where}[{{column: refunded, max: 0}}]"]
    assert doubts(yaml, "cancelled sum") == [f"4 {told}"]


def test_an_address_of_mail_is_one_user_in_capitals_too(tmp_path: Path) -> None:
    people = ["ann@ex.org", "Ann@Ex.org", "bo@ex.org", "BO@ex.org"]
    lines = [f"{people[i % 4]},p{i % 5},2024-03-{i + 1:02},1" for i in range(20)]
    _, shown = tried(tmp_path, orders=["Contact,sku,date,quantity", *lines])
    assert shown.counts["User"] == 2
    names = [f"{'Ann' if i % 2 else 'ann'},p{i % 5},2024-03-{i + 1:02},1" for i in range(20)]
    _, shown = tried(tmp_path, orders=["username,sku,date,quantity", *names])
    assert shown.counts["User"] == 2


@pytest.mark.parametrize(
    ("person", "guarded"),
    [("70{:03}", "'70{:03}"), ("0{:03}", '="0{:03}"'), ("+49{:09}", "'+49{:09}"), ("{:03}", "'{:03}\t")],
)
def test_a_number_that_is_kept_from_a_spreadsheet_is_the_number(
    tmp_path: Path, person: str, guarded: str
) -> None:
    people = [f"{guarded.format(i)},VIP" for i in range(7)]
    lines = [f"{person.format(i % 7)},p{i % 5},2024-03-{i + 1:02},'{i % 2}" for i in range(20)]
    tables = {"customers": ["customer_id,tags", *people], "orders": ["customer_id,sku,date,qty", *lines]}
    _, shown = tried(tmp_path, **tables)
    assert shown.counts["User"] == 7
    lines = [f"{guarded.format(i % 7)},p{i % 5},'2024-03-{i + 1:02},1" for i in range(20)]
    _, shown = tried(tmp_path, lines=["customer_id,sku,date,qty", *lines], orders=tables["orders"])
    assert (shown.counts["User"], shown.counts[BOUGHT]) == (7, 40)


def test_numbers_alone_are_guarded_beside_other_codes(tmp_path: Path) -> None:
    codes = ["'0012", "AB-1", "0013", "'0014"]
    lines = [f"c{i % 7},{codes[i % 4]},2024-03-{i + 1:02},1" for i in range(20)]
    _, shown = tried(tmp_path, orders=["customer_id,sku,date,qty", *lines])
    assert {row["target"] for row in shown.examples[BOUGHT].to_pylist()} == {"0012", "AB-1", "0013", "0014"}


@pytest.mark.parametrize("codes", [["'a", "b", "c"], ["'1'", "'2'"], ["'90s tee", "tea"], ["'1a'b", "2"]])
def test_an_apostrophe_that_may_be_part_of_a_code_stays(tmp_path: Path, codes: list[str]) -> None:
    lines = [f"c{i % 7},{codes[i % len(codes)]},2024-03-{i + 1:02},1" for i in range(20)]
    _, shown = tried(tmp_path, orders=["customer_id,sku,date,qty", *lines])
    assert {row["target"] for row in shown.examples[BOUGHT].to_pylist()} == {*codes}


def test_guards_are_read_past_the_first_rows_and_in_both_of_two_files(tmp_path: Path) -> None:
    times = [*["'01/02/2024"] * 1500, "'13/02/2024"]
    lines = [f"'00{i % 7},p{i % 5},{time},1" for i, time in enumerate(times)]
    head = "customer_id,sku,date,qty"
    other = [f"00{i % 7},p{i % 5},14/02/2024,1" for i in range(20)]
    yaml, shown = tried(tmp_path, orders_1=[head, *lines], orders_2=[head, *other])
    assert "%d/%m/%Y" in yaml
    assert "%m/%d/%Y" not in yaml
    assert (shown.counts["User"], shown.counts[BOUGHT]) == (7, 1521)


@pytest.mark.parametrize(
    ("file", "head", "doubted"),
    [
        ("reviews", "sku,title,body,rating,review_date,customer_id,reply", False),
        ("export", "product_id,title,body,rating,created_at,customer_id,response", True),
        ("Bewertungen", "Artikelnr,Titel,Text,Sterne,Datum,Kundennr,Antwort", False),
        ("评论", "商品编号,标题,内容,评分,时间,用户编号,商家回复", False),
    ],
)
@pytest.mark.parametrize("every", [1, 10, 40])
def test_a_shop_s_reply_makes_no_question_of_a_review(
    tmp_path: Path, file: str, head: str, doubted: bool, every: int
) -> None:
    lines = [
        f"p{i % 5},Nice,I like it for reason {i},{i % 5 + 1},2024-03-{i % 28 + 1:02},c{i % 7},"
        + ("" if i % every else f"Thank you for {i}")
        for i in range(80)
    ]
    yaml, shown = tried(tmp_path, **{file: [head, *lines]})
    told = {key if isinstance(key, str) else key[1]: rows for key, rows in shown.counts.items()}
    assert (told["Statement"], told["RATED"], told["SAID"]) == (80, 80, 80)
    assert not told.keys() & {"Question", "Answer"}
    assert ("taken for the reply to a review" in yaml) == (doubted and every < 40)


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("export", "ticket,message,reply,priority"),
        ("export", "product_id,question,reply,rating"),
        ("comments_and_questions", "message_id,text,reply,kind"),
    ],
)
def test_answers_without_a_review_are_answers(tmp_path: Path, file: str, head: str) -> None:
    lines = [f"t{i},How is it with {i}?,So is it with {i},{i % 3}" for i in range(20)]
    _, shown = tried(tmp_path, **{file: [head, *lines]})
    assert (shown.counts["Question"], shown.counts["Answer"]) == (20, 20)


def product(folder: Path, head: str, *lines: str) -> list[dict[str, object]]:
    return rows(tried(folder, products=[f"sku,name,price,{head}", *lines])[1], "Product")


@pytest.mark.parametrize("heading", ["Brands", "Marken", "marques", "brand"])
def test_brands_are_one_each_where_others_stand_alone(tmp_path: Path, heading: str) -> None:
    brands = ["Acme", "Zeta", '"Acme, Zeta"', '"Johnson, Inc"', '"Zeta,Acme"']
    lines = [f"p{i},Thing {i},9.5,{brand}" for i, brand in enumerate(brands)]
    _, shown = tried(tmp_path, products=[f"sku,name,price,{heading}", *lines])
    made = [row["target"] for row in shown.examples["Product", "MADE_BY", "Brand"].to_pylist()]
    assert made[:4] == ["Acme", "Zeta", "Acme", "Zeta"]
    assert {row["brand_id"]: row["name"] for row in rows(shown, "Brand")}["Acme"] == "Acme"
    alone = [line for line in lines if "Zeta," not in line and "Acme," not in line]
    _, shown = tried(tmp_path, products=[f"sku,name,price,{heading}", *alone])
    assert "Johnson, Inc" in {row["brand_id"] for row in rows(shown, "Brand")}


@pytest.mark.parametrize(
    ("heading", "other"),
    [
        ("Body (HTML)", "Image Alt Text"),
        ("Beschreibung", "Bild Text"),
        ("description", "SEO description"),
        ("Product content", "thumbnail description"),
    ],
)
def test_a_product_is_described_without_the_tags_of_a_page(tmp_path: Path, heading: str, other: str) -> None:
    told = r"<p>Tom &amp; Jerry&#39;s <b>tea</b>&nbsp;&ndash; hot</p>\n<ul><li>A &lt; B</li></ul>"
    page = f"<style>p {{color: red}}</style><!-- <p> -->{told}"
    lines = [f"p0,Q&amp;A,9.5,{told},a long text about the page of p0{'!' * 100}", f"p1,<3 tea,9.5,{page},p1"]
    items = product(tmp_path, f"{heading},{other}", *lines)
    assert [item["title"] for item in items] == ["Q&A", "<3 tea"]
    assert {item["description"] for item in items} == {"Tom & Jerry's tea – hot A < B"}


def test_a_review_is_read_without_tags_and_plain_texts_stay_as_they_are(tmp_path: Path) -> None:
    lines = [f"c{i},p{i},{i % 5 + 1},2024-03-0{i + 1},Fine<br>by me &amp; you {i}" for i in range(5)]
    head = "customer_id,sku,rating,date,review"
    _, shown = tried(tmp_path, reviews=[head, *lines])
    assert [row["text"] for row in rows(shown, "Statement")][:2] == [
        "Fine by me & you 0",
        "Fine by me & you 1",
    ]
    items = product(tmp_path, "description", r"p0,a,9.5,a < b & c\n > d  e &c; &unknown; <i like this")
    assert items[0]["description"] == r"a < b & c\n > d  e &c; &unknown; <i like this"


@pytest.mark.parametrize(
    ("head", "lines", "told"),
    [
        ("Tags", ['"eco, summer"', "new"], ["eco, summer", "new"]),
        (
            "Option1 Name,Option1 Value,Option2 Name,Option2 Value,Option2 Linked To,Tags",
            ["Color,Red,Size,L,x,eco", "Color,Blue,,,y,new", "Color,Blue,Size,S,x,"],
            ["Red, L, eco", "Blue, new", "Blue, S"],
        ),
        (
            "Attribute 1 name,Attribute 1 value(s),Attribute 1 visible,Attribute 1 global",
            ['Color,"Red, Blue",1,1', "Color,Green,0,1"],
            ["Red, Blue", "Green"],
        ),
        ("Merkmale", ["rot", "blau"], ["rot", "blau"]),
        (
            "additional_attributes",
            ['"color=Red,made_by=Acme"', "color=Blue"],
            ["color: Red,made_by: Acme", "color: Blue"],
        ),
    ],
)
def test_tags_and_options_are_attributes(
    tmp_path: Path, head: str, lines: list[str], told: list[str]
) -> None:
    items = product(tmp_path, head, *(f"p{i},Thing {i},9.5,{line}" for i, line in enumerate(lines)))
    assert [item["attributes"] for item in items] == told


def test_tags_of_orders_are_no_attributes(tmp_path: Path) -> None:
    lines = [f"c{i % 7},p{i % 5},2024-03-{i + 1:02},1,Thing,{'VIP' if i % 2 else 'new'}" for i in range(20)]
    _, shown = tried(tmp_path, orders=["customer_id,sku,date,quantity,product_name,Tags", *lines])
    assert not any("attributes" in row for row in rows(shown, "Product"))


@pytest.mark.parametrize("head", ["ID,Date,Name,Customer,Total", "Nr,Datum,Name,Kundennr,Summe"])
def test_orders_without_lines_beside_a_catalogue_are_named(tmp_path: Path, head: str) -> None:
    orders = [f"{1000 + i},2024-03-{i + 1:02},Order {i},c{i % 7},{i}.5" for i in range(20)]
    goods = [f"p{i},Thing {i},Acme,9.5" for i in range(5)]
    yaml, shown = tried(tmp_path, grid=[head, *orders], goods=["sku,name,brand,price", *goods])
    assert doubts(yaml, "Product") == []
    assert "# ? rows make keys alone, though they have a time" in yaml
    assert "updated_at" not in yaml
    assert (shown.counts["User"], shown.counts["Product"]) == (7, 5)
