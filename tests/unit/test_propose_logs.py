"""Event logs of trackers and dumps of databases: what `ingest init` makes of their columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.ingest.propose.yaml_text import scalar
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
VIEWED = ("User", "VIEWED", "Product")


def proposed(folder: Path, **files: str) -> tuple[str, Mapping, Preview]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        ending = "jsonl" if text.startswith("{") else "csv"
        (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    text = propose(sorted(folder.iterdir()), SCHEMA)
    mapping = parse_mapping(text)
    return text, mapping, preview(mapping, SCHEMA, folder, 500, salt=b"salt")


def table(head: str, rows: int, line: str) -> str:
    """Rows of a file: {n} counts them from 1, {d} is a day, {u} one of 9 people, {g} one of 20 goods."""
    told = (line.format(n=n, d=n % 28 + 1, u=n % 9, g=n * 7 % 20) for n in range(1, rows + 1))
    return "\n".join([head, *told]) + "\n"


@pytest.mark.parametrize("key", ["id", "Nr", "编号"])
def test_two_columns_that_are_just_called_id_tie_no_tables(tmp_path: Path, key: str) -> None:
    goods = table(f"{key},sku,name,price,created_at", 30, "{n},S-{n},Lamp {n},{n}.5,2024-01-{d:02}")
    orders = table(f"{key},customer_id,created_at", 60, "{n},c{u},2024-02-{d:02}")
    _, mapping, shown = proposed(tmp_path, products=goods, orders=orders)
    assert not mapping.sources["products"].join
    assert BOUGHT not in shown.counts


@pytest.mark.parametrize(
    "name",
    ["order_cancelled", "stornierte_bestellungen", "已取消订单", "pedidos_cancelados", "unpaid_orders"],
)
def test_a_file_of_cancelled_orders_makes_no_purchases(tmp_path: Path, name: str) -> None:
    line = "o{n},u{u},P{g},20.5,2024-03-{d:02} 10:00"
    rows = table("order_id,user_id,product_id,total,timestamp", 60, line)
    text, mapping, shown = proposed(tmp_path, **{name: rows, "order_completed": rows})
    assert len(mapping.sources) == 2
    assert sum(shown.examples[BOUGHT]["count"].to_pylist()) == 60
    assert "these orders came to nothing, and they make none" in text


@pytest.mark.parametrize(
    ("brands", "head", "left"),
    [("brands", "product_id,name,brand_id,price", 30), ("marken", "Artikelnummer,Name,Marke_Id,Preis", 36)],
)
def test_a_product_without_a_brand_is_still_one(tmp_path: Path, brands: str, head: str, left: int) -> None:
    lines = [f"P{n},Lamp {n},{'' if n % 2 else n % 6 // 2 + 1},{n}.5" for n in range(60)]
    lines += [f"P{n},Pan {n},{9 if left == 36 else ''},{n}.5" for n in range(60, 66)]
    names = "id,name\n1,Acme\n2,Bolt\n3,Cord\n"
    text, _, shown = proposed(tmp_path, products="\n".join([head, *lines]), **{brands: names})
    assert (shown.rejected, shown.counts["Product"], shown.counts["Brand"]) == (0, 66, 3)
    assert shown.counts["Product", "MADE_BY", "Brand"] == 30
    assert ("83% of the first rows find theirs, and others make nothing of it" in text) == (left == 36)


def at(mapping: Mapping, source: str) -> dict[str, object]:
    """By type of event the column of its time."""
    made = mapping.sources[source].relationships
    return {one.type: one.properties["at"].column for one in made if "at" in one.properties}


@pytest.mark.parametrize(
    ("arrived", "happened"),
    [
        ("received_at", "timestamp"),
        ("loadedAt", "eventTime"),
        ("更新时间", "行为时间"),
        ("geändert am", "Zeitpunkt"),
        ("date de modification", "date"),
    ],
)
def test_the_time_of_arrival_ranks_last(tmp_path: Path, arrived: str, happened: str) -> None:
    line = "u{u},P{g},2024-03-{d:02} 12:00:{n:02},2024-02-{d:02} 10:00"
    rows = table(f"user_id,product_id,{arrived},{happened}", 40, line).replace("28 10:00", "28 10:01", 1)
    text, mapping, _ = proposed(tmp_path, views=rows)
    assert at(mapping, "views") == {"VIEWED": happened}
    assert f"# ? time: when the row came in or was changed: {arrived}\n" in text


def test_a_time_that_few_rows_have_does_not_stand_for_that_of_all(tmp_path: Path) -> None:
    rows = "".join(f"u{n},P{n},{'2024-02-03' if n < 12 else ''},2024-03-{n % 28 + 1:02}\n" for n in range(40))
    _, mapping, shown = proposed(tmp_path, orders=f"user_id,product_id,checked_at,updated_at\n{rows}")
    assert at(mapping, "orders") == {"BOUGHT": "updated_at"}
    assert shown.counts[BOUGHT] == 40


@pytest.mark.parametrize(
    ("sent", "redeemed"),
    [("sent_at", "redeemed_at"), ("verschickt_am", "eingeloest_am"), ("发送时间", "核销时间")],
)
def test_a_time_called_as_an_event_is_that_of_the_event(tmp_path: Path, sent: str, redeemed: str) -> None:
    rows = "".join(
        f"C{n % 2},u{n},2024-02-01 09:00,{'2024-02-03 10:00,CP' if n % 3 else ','}\n" for n in range(30)
    )
    head = f"campaign_id,customer_id,{sent},{redeemed},coupon_code\n"
    _, mapping, shown = proposed(tmp_path, recipients=head + rows)
    assert at(mapping, "recipients") == {"REDEEMED": redeemed, "RECEIVED": sent}
    assert shown.counts["User", "REDEEMED", "Coupon"] == 20
    assert shown.counts["User", "RECEIVED", "Campaign"] == 30


def test_a_campaign_is_received_when_it_was_sent(tmp_path: Path) -> None:
    rows = table("campaign_id,customer_id,sent_at,opened_at", 40, "C1,c{u},2024-02-01,2024-02-{d:02}")
    _, mapping, _ = proposed(tmp_path, recipients=rows)
    assert at(mapping, "recipients") == {"RECEIVED": "sent_at"}


@pytest.mark.parametrize(
    ("viewed", "bought"),
    [("view_time", "purchase_time"), ("date de vue", "date d'achat"), ("浏览时间", "购买时间")],
)
def test_a_row_with_times_of_several_events_makes_each(tmp_path: Path, viewed: str, bought: str) -> None:
    rows = "".join(
        f"u{n % 7},P{n % 9},2024-02-{n % 28 + 1:02},{'2024-03-02' if n % 20 == 0 else ''}\n"
        for n in range(60)
    )
    text, mapping, shown = proposed(tmp_path, log=f"user_id,product_id,{viewed},{bought}\n{rows}")
    assert at(mapping, "log") == {"VIEWED": viewed, "BOUGHT": bought}
    assert (shown.counts[VIEWED], shown.counts[BOUGHT]) == (60, 3)
    assert "time: or" not in text


def user_keys(shown: Preview) -> set[str]:
    return {row["user_id"] for row in shown.examples["User"].to_pylist()}


@pytest.mark.parametrize(
    ("user", "visitor"),
    [
        ("userId", "anonymousId"),
        ("user_id", "visitor_id"),
        ("Kundennummer", "Besucher-ID"),
        ("用户ID", "设备编号"),
        ("用户ID", "匿名ID"),
    ],
)
def test_visitors_who_are_not_signed_in_are_known_by_another_id(
    tmp_path: Path, user: str, visitor: str
) -> None:
    rows = "".join(
        f"{f'u{n}' if n % 4 == 0 else ''},v{n},P{n % 9},2024-02-{n % 28 + 1:02}\n" for n in range(40)
    )
    text, _, shown = proposed(tmp_path, views=f"{user},{visitor},product_id,viewed_at\n{rows}")
    assert user_keys(shown) == {f"u{n}" if n % 4 == 0 else f"v{n}" for n in range(40)}
    assert (shown.counts[VIEWED], shown.rejected) == (40, 0)
    told = "30 of 40 rows (75%) have none, and count as of"
    assert f"# ? {user}: {told} {visitor}: who signs in later is two users\n" in text


def test_rows_with_neither_id_are_counted(tmp_path: Path) -> None:
    rows = "".join(
        f"{f'u{n}' if n % 2 else ''},{f'd{n}' if n % 10 else ''},s{n % 8},P{n % 9},2024-02-{n % 28 + 1:02}\n"
        for n in range(40)
    )
    text, _, shown = proposed(tmp_path, views=f"user_id,device_id,session_id,product_id,viewed_at\n{rows}")
    assert (shown.counts[VIEWED], shown.rejected) == (36, 0)
    assert "20 of 40 rows (50%) have none, and count as of device_id" in text
    assert "4 have neither and make no event" in text
    assert {"u1", "d2"} <= user_keys(shown)


def test_a_second_id_is_not_needed_where_all_have_the_first(tmp_path: Path) -> None:
    rows = table("user_id,visitor_id,product_id,viewed_at", 40, "u{u},v{n},P{g},2024-02-{d:02}")
    _, _, shown = proposed(tmp_path, views=rows)
    assert user_keys(shown) == {f"u{n}" for n in range(9)}


def line_ids(text: str) -> list[str]:
    """What is said of event_id, whether it is proposed or offered."""
    return [line.strip().removeprefix("# ? ") for line in text.splitlines() if "event_id" in line]


@pytest.mark.parametrize("key", ["id", "messageId", "order_item_id", "Ereignis-ID", "uuid"])
def test_the_id_of_a_line_is_its_event_id(tmp_path: Path, key: str) -> None:
    rows = table(
        f"{key},order_id,user_id,product_id,quantity,ordered_at", 60, "{n},o{u},u{u},P{g},1,2024-02-{d:02}"
    )
    text, _, _ = proposed(tmp_path, purchases=rows)
    told = f"event_id: {scalar(key)}"
    assert line_ids(text) == [f"{told}  (where a line may come again in another export)"]


def test_rows_that_are_sent_again_count_once(tmp_path: Path) -> None:
    row = '{{"messageId": "m{n}", "userId": "u{u}", "product_id": "P{n}", "viewed_at": "2024-02-{d:02}"}}'
    lines = [row.format(n=n, u=n % 9, d=n % 28 + 1) for n in range(60)]
    again = "\n".join([*lines[:40], *lines[:3]])
    text, mapping, _ = proposed(tmp_path, views_1=again, views_2="\n".join(lines[20:]))
    assert line_ids(text) == ["event_id: messageId  # ? 23 rows come again, all alike, and count once"]
    assert [one.event_id is not None for one in mapping.sources["views_1"].relationships] == [True]


def test_an_id_of_rows_that_differ_is_none_of_lines(tmp_path: Path) -> None:
    # A shipment holds two lines.
    rows = "".join(
        f"s{n // 2},o{n // 3},u{n // 3},P{n % 7},2024-02-{n // 3 % 28 + 1:02}\n" for n in range(60)
    )
    text, _, _ = proposed(tmp_path, orders=f"shipment_id,order_id,user_id,product_id,ordered_at\n{rows}")
    assert [told.split("  ")[0] for told in line_ids(text)] == [
        'event_id: {columns: [order_id, product_id], separator: " "}'
    ]


def test_ids_that_each_export_gives_anew_do_not_tell_its_lines(tmp_path: Path) -> None:
    line = "{n},o{n},u{u},P{g},1,2024-02-{d:02}"
    one = table("id,order_id,user_id,product_id,quantity,ordered_at", 40, line)
    head, *rows = one.splitlines()
    two = [head, *(f"{n + 500},{row.split(',', 1)[1]}" for n, row in enumerate(rows))]
    text, _, _ = proposed(tmp_path, orders_1=one, orders_2="\n".join(two))
    assert "event_id: {columns: [order_id, product_id]" in line_ids(text)[0]


@pytest.mark.parametrize("head", ["order_id,user_id,product_id", "Bestellnummer,Kunde,Artikelnummer"])
def test_lines_that_nothing_tells_apart_get_no_event_id(tmp_path: Path, head: str) -> None:
    rows = "".join(f"o{n // 2},u{n // 2},P{n // 2},{n % 2 + 1},2024-02-{n % 28 + 1:02}\n" for n in range(20))
    text, _, _ = proposed(tmp_path, orders=f"{head},quantity,ordered_at\n{rows}")
    assert line_ids(text) == [
        "no event_id: 10 lines have the order and product of another, and no column is sure to tell them"
        " apart; what comes again in another export counts again"
    ]


def test_a_session_is_no_order_where_there_is_one(tmp_path: Path) -> None:
    rows = table(
        "session_id,transaction_id,user_id,item_id,bought_at", 40, "s{u},t{n},u{u},P{g},2024-02-{d:02}"
    )
    text, _, _ = proposed(tmp_path, sales=rows)
    assert "transaction_id" in line_ids(text)[0]
    assert "session_id" not in line_ids(text)[0]


def shown_titles(shown: Preview) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = shown.examples["Product"].to_pylist()
    return rows


@pytest.mark.parametrize(
    ("device", "text"),
    [("device_category", "event_description"), ("Gerätekategorie", "Beschreibung"), ("终端类别", "描述")],
)
def test_what_does_not_go_with_the_product_says_nothing_of_it(tmp_path: Path, device: str, text: str) -> None:
    devices = ("desktop", "mobile", "tablet")
    rows = "".join(
        f"u{n % 9},P{n % 25},Kind {n % 25 % 4},{devices[n // 25 % 3]},Product seen,2024-02-{n % 28 + 1:02}\n"
        for n in range(100)
    )
    said, _, shown = proposed(
        tmp_path, views=f"user_id,product_id,category,{device},{text},viewed_at\n{rows}"
    )
    assert {row["category_text"] for row in shown_titles(shown)} == {f"Kind {n}" for n in range(4)}
    assert not any(row.get("title") or row.get("description") for row in shown_titles(shown))
    assert f"# ? categories: {device} says nothing of product_id, as it changes with the row or never" in said
    assert f"# ? description: {text} says nothing of product_id" in said


def test_numbered_categories_keep_their_order_and_placeholders_are_nothing(tmp_path: Path) -> None:
    rows = "".join(
        f"P{n},Lamp {n},{'(not set)' if n < 5 else 'Acme'},Top {n % 6},Mid {n % 3},Low {n % 2},{n}.5\n"
        for n in range(40)
    )
    head = "product_id,name,brand,category,category2,category3,price\n"
    _, _, shown = proposed(tmp_path, products=head + rows)
    assert shown_titles(shown)[7]["category_text"] == "Top 1 > Mid 1 > Low 1"
    assert (shown.counts["Brand"], shown.counts["Product", "MADE_BY", "Brand"]) == (1, 35)


@pytest.mark.parametrize(("kind", "term"), [("search", "search_term"), ("搜索", "搜索词")])
def test_a_column_of_a_rare_kind_of_event_is_used(tmp_path: Path, kind: str, term: str) -> None:
    rows = "".join(
        f"u{n % 9},{kind},,lamp {n},2024-02-{n % 28 + 1:02}\n"
        if n % 50 == 0
        else f"u{n % 9},view,P{n % 20},,2024-02-{n % 28 + 1:02}\n"
        for n in range(200)
    )
    _, _, shown = proposed(tmp_path, log=f"user_id,event,product_id,{term},time\n{rows}")
    assert shown.counts["User", "SEARCHED", "Query"] == 4


def test_a_kind_of_event_without_products_is_named_and_makes_none(tmp_path: Path) -> None:
    rows = "".join(
        f"u{n % 9},page_view,,2024-02-{n % 28 + 1:02}\nu{n % 9},view_item,P{n % 20},2024-02-{n % 28 + 1:02}\n"
        for n in range(30)
    )
    text, mapping, _ = proposed(tmp_path, log=f"user_id,event,product_id,time\n{rows}")
    assert "# ? event: of page_view no row has product_id, and they make nothing\n" in text
    (view,) = mapping.sources["log"].relationships
    assert "when: [{column: event, in: [view_item]}]" in text, view


@pytest.mark.parametrize(
    ("converted", "plain"),
    [
        ("revenue_in_usd", "revenue"),
        ("Betrag EUR", "Betrag"),
        ("金额(美元)", "金额"),
        ("base_total", "total"),
    ],
)
def test_a_sum_counts_as_it_is_and_not_in_another_currency(
    tmp_path: Path, converted: str, plain: str
) -> None:
    rows = table(
        f"user_id,product_id,{converted},{plain},ordered_at", 40, "u{u},P{g},{n}.01,{n}.81,2024-02-{d:02}"
    )
    text, mapping, _ = proposed(tmp_path, orders=rows)
    (bought,) = mapping.sources["orders"].relationships
    assert bought.properties["amount"].column == plain
    assert f"# ? amount: or {converted}\n" in text


@pytest.mark.parametrize(
    ("name", "head", "key"),
    [
        ("categories", "id,parent_id,name", "category_id"),
        ("Kategorien", "Kategorie_Id,Eltern_Id,Name", "Kategorie_Id"),
    ],
)
def test_a_table_of_categories_is_a_tree(tmp_path: Path, name: str, head: str, key: str) -> None:
    tree = f"{head}\n1,,Home\n2,,Sport\n3,1,Lamps\n4,1,Pans\n5,2,Shoes\n6,2,Lamps\n7,3,Desk lamps\n"
    rows = "".join(f"P{n},Thing {n},{(3, 4, 5, 6, 7)[n % 5]},{n}.5\n" for n in range(40))
    text, mapping, shown = proposed(tmp_path, products=f"product_id,name,{key},price\n{rows}", **{name: tree})
    assert [row["category_text"] for row in shown_titles(shown)[:5]] == [
        "Home > Lamps",
        "Home > Pans",
        "Sport > Shoes",
        "Sport > Lamps",
        "Home > Lamps > Desk lamps",
    ]
    assert (shown.rejected, len(mapping.sources["products"].join)) == (0, 3)
    assert shown.counts["Category"] == 5
    assert "root: Department" in text


@pytest.mark.parametrize("tops", ["1,1,Home\n2,2,Sport\n", "1,3,Home\n2,5,Sport\n"])
def test_a_table_of_categories_that_goes_in_circles_is_no_tree(tmp_path: Path, tops: str) -> None:
    """A top that names itself, or what is below it: joins would follow it round and round."""
    tree = f"id,parent_id,name\n{tops}3,1,Lamps\n4,1,Pans\n5,2,Shoes\n"
    rows = "".join(f"P{n},Thing {n},{(3, 4, 5)[n % 3]},{n}.5\n" for n in range(40))
    _, mapping, shown = proposed(
        tmp_path, products=f"product_id,name,category_id,price\n{rows}", categories=tree
    )
    assert len(mapping.sources["products"].join) == 1
    assert {row["category_text"] for row in shown_titles(shown)} == {"Lamps", "Pans", "Shoes"}


@pytest.mark.parametrize("late", ["product_id", "order_id", "id"])
def test_a_key_that_is_a_list_further_on_is_compared_as_any_other(tmp_path: Path, late: str) -> None:
    """Beyond the first rows nothing told of it."""
    rows = [
        {"id": f"e{n}", "order_id": f"o{n // 2}", "user_id": f"u{n % 9}", "product_id": f"p{n % 20}",
         "created_at": f"2024-02-{n % 28 + 1:02}", "price": 3.5}
        for n in range(1_300)
    ]  # fmt: skip
    rows[1_200][late] = ["a", "b"]
    text, _, _ = proposed(tmp_path, orders="".join(f"{json.dumps(row)}\n" for row in rows))
    assert "type: BOUGHT" in text


def test_where_a_key_of_several_rows_is_a_list_further_on_nothing_is_filled_down(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for n in range(1_300):
        rows.append({"Name": f"#{n // 2}", "sku": f"p{n % 20}", "quantity": 1, "price": 3.5})
        if n % 2 == 0:
            rows[-1] |= {"Email": f"u{n % 9}@x.org", "Created at": f"2024-02-{n % 28 + 1:02}"}
    text, _, _ = proposed(tmp_path / "whole", orders="".join(f"{json.dumps(row)}\n" for row in rows))
    assert "fill_down" in text
    rows[1_200]["Name"] = ["#600", "x"]
    text, _, _ = proposed(tmp_path / "late", orders="".join(f"{json.dumps(row)}\n" for row in rows))
    assert "fill_down" not in text
    assert "type: BOUGHT" in text
