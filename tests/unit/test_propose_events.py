"""Which event the rows of a file are, by its name and its columns, where none of them says so row by row."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.store.schema import Schema, load_schema

SCHEMA = load_schema()
ROWS = "U1,P1,2024-03-05\nU2,P2,2024-03-06\n"
ENGLISH = "user_id,product_id,time\n"
CHINESE = "用户ID,商品ID,时间\n"


def own_schema(folder: Path, *types: str) -> Schema:
    """The shipped schema with further events from users to products."""
    text = (Path(__file__).parents[2] / "graph" / "schema.yaml").read_text()
    viewed = text[text.index("  VIEWED:\n") : text.index("  ADDED:\n")]
    more = "".join(viewed.replace("VIEWED", name) for name in types)
    (folder / "own.yaml").write_text(text.replace(viewed, viewed + more, 1))
    return load_schema(folder / "own.yaml")


def events(folder: Path, files: dict[str, str], schema: Schema = SCHEMA) -> tuple[dict[str, int], str]:
    """How many rows of each event the proposal for these files makes, and the proposal."""
    for name, text in files.items():
        (folder / name).write_text(text)
    yaml = propose([folder / name for name in files], schema)
    shown = preview(parse_mapping(yaml), schema, folder)
    assert shown.rejects.to_pylist() == []
    kinds = {key[1]: count for key, count in shown.counts.items() if isinstance(key, tuple)}
    return {name: count for name, count in kinds.items() if schema.relationships[name].kind == "event"}, yaml


@pytest.mark.parametrize(
    ("file", "head", "kind"),
    [
        ("views.csv", ENGLISH, "VIEWED"),
        ("product-views_2024.csv", ENGLISH, "VIEWED"),
        ("browsing_history.csv", ENGLISH, "VIEWED"),
        ("order_clicks.csv", ENGLISH, "VIEWED"),
        ("view_orders.csv", ENGLISH, "BOUGHT"),
        ("浏览记录.csv", CHINESE, "VIEWED"),
        ("export.csv", "user_id,product_id,viewed_at\n", "VIEWED"),
        ("export.csv", "用户ID,商品ID,浏览时间\n", "VIEWED"),
        ("orders.csv", "user_id,product_id,viewed_at\n", "BOUGHT"),
        ("购买记录.csv", CHINESE, "BOUGHT"),
        ("export.csv", ENGLISH, "BOUGHT"),
        ("export.csv", "user_id,product_id,added_at\n", "BOUGHT"),
        ("searches.csv", ENGLISH, "VIEWED"),
    ],
)
def test_the_name_of_a_file_and_of_its_time_say_what_happened(
    tmp_path: Path, file: str, head: str, kind: str
) -> None:
    assert events(tmp_path, {file: head + ROWS})[0] == {kind: 2}


@pytest.mark.parametrize("file", ["ratings.csv", "评分.csv", "reviews.csv", "点评.csv"])
def test_ratings_and_reviews_are_rated_and_stand_for_purchases(tmp_path: Path, file: str) -> None:
    made, yaml = events(tmp_path, {file: ENGLISH + ROWS})
    assert made == {"RATED": 2, "BOUGHT": 2}
    assert "type: BOUGHT  # ? a rating stands for a purchase" in yaml


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("cart.csv", "ADDED"),
        ("added_to_cart.csv", "ADDED"),
        ("加购.csv", "ADDED"),
        ("warenkorb.csv", "ADDED"),
        ("カート.csv", "ADDED"),
        ("favourites.csv", "FAVORITED"),
        ("收藏.csv", "FAVORITED"),
        ("Merkzettel.csv", "FAVORITED"),
        ("shares.csv", "SHARED"),
        ("分享记录.csv", "SHARED"),
        ("comments.csv", "COMMENTED"),
        ("评论.csv", "COMMENTED"),
        ("댓글.csv", "COMMENTED"),
    ],
)
def test_a_file_of_baskets_wishes_shares_or_comments_makes_these_alone(
    tmp_path: Path, file: str, kind: str
) -> None:
    assert events(tmp_path, {file: ENGLISH + ROWS})[0] == {kind: 2}


MIXED = {
    "VIEWED": "product_viewed 浏览 view",
    "ADDED": "add_to_cart 加购 cart basket Product_Added カート",
    "FAVORITED": "fav 收藏 add_to_wishlist お気に入り",
    "SHARED": "share 分享 product_shared",
    "COMMENTED": "comment 评论 kommentiert",
    "BOUGHT": "purchase 购买 buy",
}


@pytest.mark.parametrize("place", range(3))
def test_events_of_one_file_are_told_apart_and_taking_out_of_the_basket_is_none(
    tmp_path: Path, place: int
) -> None:
    kinds = {name: said.split()[min(place, len(said.split()) - 1)] for name, said in MIXED.items()}
    said = [*kinds.values(), "remove_from_cart"]
    rows = "".join(f"U{n},P{n},{kind},2024-03-0{n + 1}\n" for n, kind in enumerate(said))
    made, yaml = events(tmp_path, {"log.csv": "user_id,product_id,event,time\n" + rows})
    assert made == dict.fromkeys(MIXED, 1)
    assert "# ? event: these kinds make nothing: remove_from_cart" in yaml


def test_a_kind_that_the_schema_lacks_is_named_and_makes_nothing(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "graph" / "schema.yaml").read_text()
    shared = text[text.index("  SHARED:\n") : text.index("  COMMENTED:\n")]
    (tmp_path / "own.yaml").write_text(text.replace(shared, ""))
    made, yaml = events(tmp_path, {"shares.csv": ENGLISH + ROWS}, load_schema(tmp_path / "own.yaml"))
    assert made == {}
    assert "# ? event: the schema has no event such as SHARED from User to Product" in yaml


@pytest.mark.parametrize(
    ("file", "types", "kind"),
    [
        ("reviews.csv", ["REVIEWED"], "REVIEWED"),
        ("cart.csv", ["ADDED_TO_CART"], "ADDED"),
        ("browsed.csv", ["BROWSED"], "BROWSED"),
        ("views.csv", ["BROWSED"], "VIEWED"),
        ("gifts.csv", ["GIFTS"], "GIFTS"),
        ("clicks.csv", ["CLICKS"], "CLICKS"),
    ],
)
def test_of_types_that_fit_the_nearest_by_name_is_taken(
    tmp_path: Path, file: str, types: list[str], kind: str
) -> None:
    assert events(tmp_path, {file: ENGLISH + ROWS}, own_schema(tmp_path, *types))[0] == {kind: 2}


def test_views_beside_purchases_are_sources_of_their_own(tmp_path: Path) -> None:
    more = ENGLISH + "U3,P3,2024-03-07\n"
    files = {"views.csv": ENGLISH + ROWS, "orders-1.csv": more, "orders-2.csv": more}
    made, yaml = events(tmp_path, files)
    assert made == {"VIEWED": 2, "BOUGHT": 2}
    assert "[orders-1.csv, orders-2.csv]" in yaml


def test_what_a_name_says_is_no_doubt_and_a_rating_is_never_lost(tmp_path: Path) -> None:
    doubt = "bought, or only seen?"
    for file, unsure in (("orders.csv", False), ("views.csv", False), ("export.csv", True)):
        assert (doubt in events(tmp_path, {file: ENGLISH + ROWS})[1]) is unsure
    rated = "user_id,product_id,rating,time\nU1,P1,4,2024-03-05\n"
    assert events(tmp_path, {"comments.csv": rated})[0] == {"RATED": 1, "BOUGHT": 1}


def test_a_fact_that_many_files_tell_is_counted_once_and_every_event_by_itself(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(
            "user_id,product_id,brand,time\n"
            + "".join(f"{name}{i},P{i % 2},Acme,2024-03-0{1 + i}\n" for i in range(5))
        )
    yaml = propose([tmp_path / "a.csv", tmp_path / "b.csv"], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, tmp_path)
    assert shown.counts["Product", "MADE_BY", "Brand"] == 2
    assert shown.counts["User", "BOUGHT", "Product"] == 10


def test_the_id_of_a_review_beside_an_order_leaves_it_a_purchase(tmp_path: Path) -> None:
    head = "review_id,user_id,product_id,time\nR1,U1,P1,2024-03-05\n"
    assert events(tmp_path, {"a.csv": head})[0] == {"RATED": 1, "BOUGHT": 1}
    head = "receipt_id,review_id,user_id,product_id,time\nO1,R1,U1,P1,2024-03-05\n"
    assert events(tmp_path, {"b.csv": head})[0] == {"BOUGHT": 1}


def test_beside_purchases_a_rating_makes_none_whichever_stands_first(tmp_path: Path) -> None:
    files = {"a_ratings.csv": ENGLISH + ROWS, "orders.csv": ENGLISH + "U3,P3,2024-03-07\n"}
    files["reviews.csv"] = "user_id,product_id,stars,time\nU1,P1,4,2024-03-05\n"
    made, yaml = events(tmp_path, files)
    assert made == {"RATED": 3, "BOUGHT": 1}
    assert yaml.count("# ? event: a rating makes no purchase here, as other files hold purchases") == 2
    # Views are no purchases; a log of both tells its purchases itself.
    assert events(tmp_path, {"ratings.csv": ENGLISH + ROWS, "views.csv": ENGLISH + ROWS})[0]["BOUGHT"] == 2
    log = "user_id,product_id,event,time\nU1,P1,view,2024-03-05\nU1,P1,purchase,2024-03-05\n"
    made, _ = events(tmp_path, {"ratings.csv": ENGLISH + ROWS, "log.csv": log})
    assert made == {"RATED": 2, "VIEWED": 1, "BOUGHT": 1}


def test_one_file_of_two_kinds_is_told_apart_by_a_column_wherever_the_second_kind_starts(
    tmp_path: Path,
) -> None:
    head = "user_id,product_id,kind,time\n"
    rows = ["U1,P1,view,2024-03-05\n"] * 1_200 + ["U1,P2,purchase,2024-03-06\n"] * 3
    made, _ = events(tmp_path, {"views_and_purchases.csv": head + "".join(rows)})
    assert made == {"VIEWED": 1_200, "BOUGHT": 3}


@pytest.mark.parametrize(
    ("no", "yes"), [("0", "1"), ("false", "true"), ("N", "Y"), ("nein", "ja"), ("否", "是")]
)
def test_a_column_of_yes_and_no_that_is_called_as_an_event_tells_whether_it_was(
    tmp_path: Path, no: str, yes: str
) -> None:
    text = "user_id,product_id,time,clicked,is_purchased\n"
    text += f"U1,P1,2024-03-05,{yes},{no}\nU1,P2,2024-03-06,{yes},{yes}\nU2,P1,2024-03-07,{no},{no}\n"
    assert events(tmp_path, {"log.csv": text})[0] == {"VIEWED": 2, "BOUGHT": 1}
    made, yaml = events(tmp_path, {"log.csv": text.replace("clicked", "shelf")})
    assert made == {"VIEWED": 2, "BOUGHT": 1}
    assert "type: VIEWED  # ? only seen, where is_purchased does not say" in yaml
    # What a column of another name says of an order makes it none the less one.
    assert events(tmp_path, {"orders.csv": text.replace("clicked", "a").replace("is_", "gift_")})[0] == {
        "BOUGHT": 3
    }


@pytest.mark.parametrize(("view", "buy"), [("V", "P"), ("v", "2"), ("1", "pur")])
def test_codes_are_told_by_the_names_in_the_files_name_else_by_what_is_left(
    tmp_path: Path, view: str, buy: str
) -> None:
    rows = f"U1,P1,{view},2024-03-05\nU1,P2,{buy},2024-03-06\nU2,P1,{view},2024-03-07\n"
    made, yaml = events(tmp_path, {"views_and_purchases.csv": "user_id,product_id,kind,time\n" + rows})
    assert made == {"VIEWED": 2, "BOUGHT": 1}
    assert "# ? kind: " in yaml


def test_two_kinds_that_nothing_tells_apart_are_said_aloud(tmp_path: Path) -> None:
    made, yaml = events(tmp_path, {"views_and_purchases.csv": ENGLISH + ROWS})
    assert made == {"BOUGHT": 2}
    assert "# ? event: the file's name tells of VIEWED and BOUGHT; all rows are taken for BOUGHT" in yaml
    coded = "user_id,product_id,kind,time\nU1,P1,7,2024-03-05\nU1,P2,8,2024-03-06\n"
    made, yaml = events(tmp_path, {"views_and_purchases.csv": coded})
    assert made == {"BOUGHT": 2}
    assert "# ? event: the file's name tells of VIEWED and BOUGHT; all rows are taken for BOUGHT" in yaml
    assert 'when: [{column: kind, in: ["7"]}]' in yaml


def test_kinds_of_a_second_file_that_are_unknown_are_named(tmp_path: Path) -> None:
    head = "user_id,product_id,kind,time\n"
    known = head + "U1,P1,view,2024-03-05\nU1,P2,purchase,2024-03-06\n"
    made, yaml = events(tmp_path, {"a.csv": known, "b.csv": head + "U1,P1,V,2024-03-05\n"})
    assert made == {"VIEWED": 1, "BOUGHT": 1}
    assert "# ? event: these kinds make nothing: V" in yaml


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("einloesungen.csv", "kunde,gutschein,zeitpunkt\n"),
        ("Einlösungen_2024.csv", "Kunde;Gutschein;Datum\n"),
        ("redemptions.csv", "customer,coupon,time\n"),
        ("核销记录.csv", "用户ID,优惠券,核销时间\n"),
    ],
)
def test_what_is_redeemed_in_a_file_that_says_so_needs_no_word_for_ids(
    tmp_path: Path, file: str, head: str
) -> None:
    rows = ROWS.replace(",", ";") if ";" in head else ROWS
    assert events(tmp_path, {file: head + rows})[0] == {"REDEEMED": 2}


def test_a_coupon_in_a_file_of_purchases_is_none_of_its_keys(tmp_path: Path) -> None:
    rows = "U1,P1,2024-03-05,X\nU2,P2,2024-03-06,Y\n"
    assert events(tmp_path, {"orders.csv": f"{ENGLISH.strip()},coupon\n{rows}"})[0] == {"BOUGHT": 2}


def test_redeemed_products_are_not_bought(tmp_path: Path) -> None:
    made, yaml = events(tmp_path, {"einloesungen.csv": "kunde_id,artikel_id,zeit\n" + ROWS})
    assert (made, "no event such as REDEEMED from User to Product" in yaml) == ({}, True)


@pytest.mark.parametrize(
    ("user", "product"),
    [
        ({"session": {"kunde": "U{}", "id": "S{}"}}, {"artikel": {"id": "P{}"}}),
        ({"session": {"kunde_id": "U{}"}}, {"payload": {"artikel": "P{}"}}),
        ({"order": {"customer": {"id": "U{}"}, "id": "O{}"}}, {"order_item": {"sku": "P{}"}}),
    ],
)
def test_who_and_what_may_stand_within_other_objects_of_json(
    tmp_path: Path, user: dict[str, object], product: dict[str, object]
) -> None:
    row = json.dumps({**user, **product, "zeit": "2024-03-05", "ereignis": "purchase"})
    lines = "\n".join(row.replace("{}", str(n)) for n in range(3))
    made, yaml = events(tmp_path, {"log.jsonl": lines})
    assert (made, "not used: session.kunde" in yaml) == ({"BOUGHT": 3}, False)
    shown = preview(parse_mapping(yaml), SCHEMA, tmp_path)
    assert shown.examples["User"]["user_id"].to_pylist() == ["U0", "U1", "U2"]


@pytest.mark.parametrize(
    ("file", "head"),
    [
        ("returns.csv", ENGLISH),
        ("order_returns.csv", ENGLISH),
        ("returned_orders.csv", ENGLISH),
        ("refunds.csv", ENGLISH),
        ("Rückgaben.csv", ENGLISH),
        ("Retouren.csv", ENGLISH),
        ("Erstattungen.csv", ENGLISH),
        ("retours.csv", ENGLISH),
        ("remboursements.csv", ENGLISH),
        ("devoluciones.csv", ENGLISH),
        ("退货记录.csv", CHINESE),
        ("退款.csv", CHINESE),
        ("export.csv", "user_id,product_id,return_date\n"),
        ("export.csv", "user_id,product_id,returned_at\n"),
        ("export.csv", "user_id,product_id,date_retour\n"),
        ("export.csv", "user_id,product_id,fecha_devolución\n"),
        ("export.csv", "user_id,product_id,Rückgabedatum\n"),
        ("export.csv", "用户ID,商品ID,退货时间\n"),
    ],
)
def test_a_return_is_no_purchase_and_the_doubt_says_how_it_would_count(
    tmp_path: Path, file: str, head: str
) -> None:
    made, yaml = events(tmp_path, {file: head + ROWS})
    assert made == {}
    assert "# ? event: the name says that these rows are returns" in yaml


def test_a_return_as_the_doubt_says_it_is_never_a_first_purchase(tmp_path: Path) -> None:
    head = "order_id,user_id,product_id,quantity,price,{}_date\n"
    files = {
        "orders.csv": head.format("order") + "1,U1,P1,3,2.5,2024-03-05\n",
        "returns.csv": head.format("return") + "1,U1,P1,2,2.5,2024-03-09\n",
    }
    made, yaml = events(tmp_path, files)
    assert made == {"BOUGHT": 1}
    told = re.search(r"make them BOUGHT with (.*)}", yaml)
    assert told is not None
    mapping = f"""
version: 1
name: shop
sources:
  returns:
    files: [returns.csv]
    format: csv
    relationships:
      - type: BOUGHT
        from: {{User: user_id}}
        to: {{Product: product_id}}
        properties: {told[1]}, at: return_date}}
"""
    shown = preview(parse_mapping(mapping), SCHEMA, tmp_path).examples["User", "BOUGHT", "Product"]
    assert shown.select(["first_quantity", "spend"]).to_pylist() == [{"first_quantity": 0, "spend": -5.0}]


def test_a_return_of_negative_quantity_and_an_order_with_a_flag_stay_purchases(tmp_path: Path) -> None:
    returns = "user_id,product_id,quantity,time\nU1,P1,-1,2024-03-09\n"
    assert events(tmp_path, {"returns.csv": returns})[0] == {"BOUGHT": 1}
    orders = (
        "user_id,product_id,quantity,returned,order_date\nU1,P1,1,no,2024-03-09\nU1,P2,1,yes,2024-03-09\n"
    )
    assert events(tmp_path, {"orders.csv": orders})[0] == {"BOUGHT": 2}
    # Few of the lines came back, so that an id of a return does not tell of all.
    some = "user_id,product_id,return_id,time\nU1,P1,,2024-03-09\nU1,P2,R1,2024-03-09\n"
    assert events(tmp_path, {"export.csv": some})[0] == {"BOUGHT": 2}


CATALOGUE = "product_id,title,size\nP1,Dress,XS-XL\nP2,Skirt,M\n"
SIZED = "user_id,product_id,size,color,time\nU1,P1,XS,red,2024-03-05\n"


@pytest.mark.parametrize("file", ["orders.csv", "views.csv", "returns.csv"])
def test_the_size_that_was_bought_is_of_the_line_where_another_file_describes_products(
    tmp_path: Path, file: str
) -> None:
    _, yaml = events(tmp_path, {file: SIZED, "products.csv": CATALOGUE})
    assert yaml.count("attributes:") == 1
    assert "attributes: size\n" in yaml
    assert "# ? size: of the line, and not of the product, which another file describes" in yaml


def test_lines_alone_describe_their_products_and_other_lines_are_no_description(tmp_path: Path) -> None:
    named = "user_id,product_id,title,size,time\nU1,P1,Dress,XS,2024-03-05\n"
    _, yaml = events(tmp_path, {"orders.csv": SIZED, "views.csv": named})
    assert yaml.count("attributes:") == 2
