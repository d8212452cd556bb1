"""How times, encodings and kinds of events are told; what is proposed is what a job reads."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgdistill.errors import InputError, KgdistillError
from kgdistill.ingest.mapping.cast import cast_times
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose import times
from kgdistill.ingest.propose.propose import NothingFitsError, Preview, preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT = ("User", "BOUGHT", "Product")
VIEWED = ("User", "VIEWED", "Product")
AT = datetime(2024, 1, 31, 21, 5, 9)
MINUTE, DAY = AT.replace(second=0), AT.replace(hour=0, minute=0, second=0)
HOUR = timedelta(hours=1)


def tried(folder: Path, rows: list[list[str]], encoding: str = "utf-8") -> tuple[str, Mapping, Preview]:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    (folder / "orders.csv").write_bytes(text.getvalue().encode(encoding))
    yaml = propose([folder / "orders.csv"], SCHEMA)
    mapping = parse_mapping(yaml)
    return yaml, mapping, preview(mapping, SCHEMA, folder)


def bought_at(folder: Path, times: list[str]) -> tuple[str, list[datetime]]:
    """What is proposed for purchases at these times, and when the graph then has them."""
    head = ["customer_id", "sku", "order_date"]
    yaml, _, shown = tried(folder, [head, *([f"c{i}", "s1", time] for i, time in enumerate(times))])
    assert shown.rejects.to_pylist() == []
    assert shown.counts[BOUGHT] == len(times)
    return yaml, shown.examples[BOUGHT]["first_at"].to_pylist()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-01-31 21:05:09 -0500", AT + 5 * HOUR),
        ("2024-01-31 21:05:09 -05:00", AT + 5 * HOUR),
        ("2024-01-31 21:05 +0000", MINUTE),
        ("2024-01-31T21:05:09Z", AT),
        ("2024-01-31 21:05:09 Z", AT),
        ("2024-01-31 21:05:09 UTC", AT),
        ("2024-01-31 21:05:09 GMT", AT),
        ("2024-01-31T21:05:09.000+0000", AT),
        ("2024-01-31 21:05:09 +0000 UTC", AT),
        ("2024-01-31T21:05:09,000", AT),
        ("2024-01-31 21:05:09 +01", AT - HOUR),
        ("2024/01/31 21:05", MINUTE),
        ("2024/1/31 21:05:09", AT),
        ("2024.01.31 21:05:09", AT),
        ("2024-1-31 21:05:09", AT),
        ("01/31/2024 9:05 PM", MINUTE),
        ("31/01/2024 09:05:09 pm", AT),
        ("1/31/24 21:05", MINUTE),
        ("31.01.24, 21:05", MINUTE),
        ("31.01.2024 - 21:05:09", AT),
        ("31-Jan-2024 21:05:09", AT),
        ("31-Jan-24", DAY),
        ("Jan 31, 2024 9:05:09 PM", AT),
        ("January 31, 2024", DAY),
        ("31 January 2024 21:05", MINUTE),
        ("20240131", DAY),
        ("20240131210509", AT),
        ("20240131T210509Z", AT),
        ("20240131 2105", MINUTE),
        ("Wed, 31 Jan 2024 21:05:09 +0000", AT),
        ("Wed Jan 31 21:05:09 2024", AT),
        ("31/Jan/2024:21:05:09 +0000", AT),
        ("31/01/2024 21:05 UTC", MINUTE),
        ("31/01/2024 21:05:09 +0100", AT - HOUR),
        ("31.01.2024 21.05", MINUTE),
        ("31.01.2024 21:05:09.250", AT + timedelta(seconds=0.25)),
        ("1706735109", AT),
        ("1706735109.25", AT + timedelta(seconds=0.25)),
        ("1706735109000", AT),
        ("1706735109000000", AT),
        ("1706735109000000000", AT),
    ],
)
def test_a_time_that_is_proposed_is_read_to_the_second(tmp_path: Path, text: str, at: datetime) -> None:
    yaml, found = bought_at(tmp_path, [text, text])
    assert found == [at, at]
    assert "could also be" not in yaml


def test_times_in_several_zones_and_shapes_are_one_column(tmp_path: Path) -> None:
    _, found = bought_at(
        tmp_path, ["2024-01-03 09:05:00 -0500", "2024-01-03 09:05:00 +0200", "2024-01-03 09:05:00Z"]
    )
    assert [at.hour for at in found] == [14, 7, 9]
    _, found = bought_at(
        tmp_path, ["31.01.2024 21:05"] * 30 + ["31.01.2024"] * 10 + ["2024-01-31 21:05:09"] * 5
    )
    assert len(found) == 10


def test_years_of_two_figures_may_stand_first_whatever_the_mark(tmp_path: Path) -> None:
    for mark in "/.-":
        _, found = bought_at(tmp_path, [f"24{mark}03{mark}{day:02}" for day in range(1, 29)])
        assert set(found) == {datetime(2024, 3, day) for day in range(1, 11)}
        yaml, _ = bought_at(tmp_path, [f"{day:02}{mark}03{mark}24" for day in range(1, 21)])
        assert f"could also be %y{mark}%m{mark}%d: no value tells the day from the year" in yaml


@pytest.mark.parametrize("name", ["ts", "event_ts", "epoch", "timestamp_ms"])
def test_numbers_since_1970_are_times_where_the_name_says_so(tmp_path: Path, name: str) -> None:
    rows = [[f"c{i}", "s1", str(1_706_735_109_000 + i)] for i in range(9)]
    yaml, _, shown = tried(tmp_path, [["customer_id", "sku", name], *rows])
    assert f"at: {{column: {name}, unit: ms}}" in yaml
    assert shown.counts[BOUGHT] == 9


@pytest.mark.parametrize("time", ["2024-01-31 21:05:09 CET", "45310", "31. März 2024", "21:05 p.m. 31/1"])
def test_times_in_a_way_that_is_not_known_are_named(tmp_path: Path, time: str) -> None:
    head = ["customer_id", "sku", "order_date"]
    yaml, _, shown = tried(tmp_path, [head, *([f"c{i}", "s1", time] for i in range(9))])
    assert BOUGHT not in shown.counts
    assert "# ? time: no column looks like one" in yaml
    assert f"of none that is known: order_date with {time}; say at:" in yaml


@pytest.mark.parametrize("without", [0, 1, 30])
def test_that_a_few_rows_have_no_key_is_asked_about(tmp_path: Path, without: int) -> None:
    """Many are rows of another kind, such as searches among views."""
    rows = [[f"p{i}" if i >= without else "", f"thing {i}", "2.5"] for i in range(60)]
    yaml, _, shown = tried(tmp_path, [["product_id", "title", "price"], *rows])
    told = "# ? product_id: 1 of 60 rows (2%) have none and make nothing of it; without required: false they"
    assert (told in yaml, "have none" in yaml) == (without == 1, without == 1)
    assert ("required: false" in yaml) == (without > 0)
    assert (shown.counts["Product"], shown.rejected) == (60 - without, 0)


def test_few_values_that_are_no_times_or_numbers_are_counted(tmp_path: Path) -> None:
    head = ["customer_id", "sku", "order_date", "quantity", "price"]
    rows = [[f"c{i}", f"s{i}", f"2024-01-{i % 28 + 1:02}", "1", "2.5"] for i in range(60)]
    yaml, _, shown = tried(
        tmp_path, [head, *rows, ["c60", "s60", "soon", "1", "2.5"], ["c", "s", "", "", "(2)"]]
    )
    assert "# ? order_date: 1 of 61 values, such as soon, are written in another way and would be" in yaml
    assert "# ? price: 1 of 62 values, such as (2), are written in another way and would be rejected" in yaml
    assert "# ? quantity" not in yaml
    assert shown.rejected == 2


def test_the_status_of_orders_that_came_to_nothing_is_named(tmp_path: Path) -> None:
    head = ["customer_id", "sku", "order_date", "Order Status", "quantity"]
    kinds = ["completed", "Cancelled", "pending"]
    rows = [[f"c{i}", "s1", "2024-01-01", kinds[i % 3], "1"] for i in range(9)]
    yaml, _, _ = tried(tmp_path, [head, *rows])
    assert 'where: [{column: "Order Status", not_in: [Cancelled, pending]}]' in yaml
    yaml, _, _ = tried(tmp_path, [head, *rows[::3]])
    assert "rows of all kinds count" not in yaml


def test_searches_without_their_words_and_rows_without_a_kind_make_nothing_and_are_named(
    tmp_path: Path,
) -> None:
    head = ["user_id", "item_id", "event", "event_time"]
    kinds = ["view_item", "search", "", "view_search_results"]
    yaml, _, shown = tried(
        tmp_path, [head, *([f"u{i}", "p1", kinds[i % 4], "2024-01-01"] for i in range(12))]
    )
    assert shown.counts[VIEWED] == 3
    assert "# ? event: these kinds make nothing: search, view_search_results" in yaml
    assert "# ? rows: those without event make no event" in yaml
    head[1] = "query"
    yaml, _, shown = tried(
        tmp_path, [head, *([f"u{i}", "tea", kinds[i % 4], "2024-01-01"] for i in range(12))]
    )
    assert shown.counts["User", "SEARCHED", "Query"] == 6
    assert "# ? event: these kinds make nothing: view_item" in yaml


def test_days_up_to_twelve_leave_a_doubt_and_the_whole_file_decides(tmp_path: Path) -> None:
    days = [f"{n % 12 + 1:02}/{n % 11 + 1:02}/2024" for n in range(1_500)]
    yaml, found = bought_at(tmp_path, days)
    assert "# ? order_date: the time could also be %m/%d/%Y" in yaml
    assert found[1] == datetime(2024, 2, 2)
    assert found[2] == datetime(2024, 3, 3)
    yaml, found = bought_at(tmp_path, [*days, "02/25/2024"])
    assert found[11] == datetime(2024, 12, 1) if len(found) > 11 else True
    assert 'format: "%m/%d/%Y"' in yaml
    assert "could also be" not in yaml
    yaml, _ = bought_at(tmp_path, ["3.4.24", "4.5.24"])
    assert "could also be %m.%d.%y" in yaml
    yaml, _ = bought_at(tmp_path, ["03-04-05", "04-05-06"])
    assert "could also be" in yaml


@pytest.mark.parametrize(("most", "least"), [("%d/%m/%Y", "%m/%d/%Y"), ("%m/%d/%Y", "%d/%m/%Y")])
def test_few_values_in_the_other_order_are_counted_and_never_turned(
    tmp_path: Path, most: str, least: str
) -> None:
    start = datetime(2024, 1, 1)
    times = [(start + timedelta(days=n % 28)).strftime(most) for n in range(1_596)]
    times += [datetime(2024, 2, 25).strftime(least)] * 4
    head = ["customer_id", "sku", "order_date"]
    yaml, _, shown = tried(tmp_path, [head, *([f"c{i}", "s1", time] for i, time in enumerate(times))])
    assert f'format: "{most}"' in yaml
    assert f"4 of 1,600 values, such as {times[-1]}, can only be {least} and would be rejected" in yaml
    assert (shown.rows, shown.rejected) == (1_600, 4)
    assert "written in another way" not in yaml


def test_a_time_that_lies_ahead_is_said_to_and_is_in_no_other_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Then:
            return cls(2024, 6, 15, tzinfo=tz)

    monkeypatch.setattr(times, "datetime", Then)
    for ahead in ("01/12/2024", "31/12/2024"):
        told = [f"{n % 28 + 1:02}/03/2024" for n in range(60)] + [ahead]
        path = tmp_path / "orders.csv"
        path.write_text("customer_id,sku,order_date\n" + "".join(f"C1,S1,{time}\n" for time in told))
        yaml = propose([path], SCHEMA)
        assert 'format: "%d/%m/%Y"' in yaml
        assert f"1 of 61 values, such as {ahead}, lie ahead of today and would be rejected" in yaml
        assert "%m/%d/%Y" not in yaml
        assert "written in another way" not in yaml


def test_files_with_day_and_month_in_either_order_are_read_each_in_its_own(tmp_path: Path) -> None:
    for name, order in (("a.csv", "{0:02}/03/2024"), ("b.csv", "03/{0:02}/2024"), ("c.csv", "03/03/2024")):
        lines = [f"c{i},s{i},{order.format(i)}" for i in range(1, 29)]
        (tmp_path / name).write_text("\n".join(["customer_id,sku,order_date", *lines]) + "\n")
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    mapping = parse_mapping(propose(files, SCHEMA))
    assert [item.files for item in mapping.sources.values()] == [("a.csv", "c.csv"), ("b.csv",)]
    assert preview(mapping, SCHEMA, tmp_path).rejects.to_pylist() == []


def test_half_of_each_order_is_said_and_no_job_takes_it(tmp_path: Path) -> None:
    times = ["25/02/2024", "02/25/2024"] * 30
    head = ["customer_id", "sku", "order_date"]
    yaml, _, shown = tried(tmp_path, [head, *([f"c{i}", "s1", time] for i, time in enumerate(times))])
    assert "30 of 60 values, such as 02/25/2024, can only be %m/%d/%Y" in yaml
    assert shown.rejected == 30


def test_what_lies_ahead_is_not_when_something_was_bought(tmp_path: Path) -> None:
    head = ["customer_id", "sku", "valid_until", "order_date"]
    _, _, shown = tried(
        tmp_path, [head, ["c1", "s1", "2099-12-31", "2024-01-31"], ["c2", "s1", "2099-12-31", "2024-01-31"]]
    )
    assert (shown.rejected, shown.counts[BOUGHT]) == (0, 2)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2024, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["", " "]),
    st.sampled_from(["", ":"]),
)
def test_an_offset_is_read_however_it_is_set(at: datetime, minutes: int, blank: str, colon: str) -> None:
    hours, rest = divmod(abs(minutes), 60)
    text = f"{at:%Y-%m-%d %H:%M:%S}{blank}{'-' if minutes < 0 else '+'}{hours:02}{colon}{rest:02}"
    times, bad = cast_times(pa.array([text, None]), (), None, "Asia/Tokyo")
    assert times.to_pylist() == [at - timedelta(minutes=minutes), None]
    assert not bad.any()


TITLES = {
    "gb18030": ["苏泊尔电饭煲", "小米手机壳", "洗衣液 2kg"],
    "gbk": ["苏泊尔电饭煲", "小米手机壳", "洗衣液 2kg"],
    "big5": ["電鍋", "筆記型電腦", "兒童腳踏車"],
    "shift_jis": ["炊飯器", "ノートパソコン", "洗濯洗剤"],
    "euc_jp": ["炊飯器", "ノートパソコン", "洗濯洗剤"],
    "cp949": ["전기밥솥", "노트북", "세탁세제"],
    "cp1252": ["Käsereibe für Küche", "Crème brûlée – 5 €", "Señor piñata"],
    "latin-1": ["Käsereibe", "Müller Öl", "Straße"],
    "cp1250": ["Żółta łyżka", "Příbor nerezový", "Čajník"],
    "cp1251": ["Чайник электрический", "Кофеварка", "Нож кухонный"],
    "koi8_r": ["Чайник электрический", "Кофеварка", "Нож кухонный"],
    "cp1254": ["Çaydanlık", "Bıçak seti", "Güneş gözlüğü"],
    "utf-8": ["苏泊尔电饭煲", "Käse", "😀"],
    "utf-8-sig": ["苏泊尔电饭煲", "Käse", "😀"],
    "utf-16": ["苏泊尔电饭煲", "Käse", "😀"],
    "utf-16-le": ["Käsereibe", "Tea", "Mug"],
    "utf-16-be": ["Käsereibe", "Tea", "Mug"],
    "utf-32": ["苏泊尔电饭煲", "Käse", "😀"],
}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("title", ["Чайник электрический", "苏泊尔电饭煲", "Käsereibe"])
def test_utf_16_of_any_script_is_told_without_its_mark(tmp_path: Path, encoding: str, title: str) -> None:
    yaml, _, shown = tried(
        tmp_path, [["sku", "title", "brand"], ["s1", title, title], ["s2", title, title]], encoding
    )
    assert shown.examples["Product"]["title"].to_pylist() == [title, title]
    assert f"encoding: {encoding}" in yaml


@pytest.mark.parametrize(
    ("titles", "encodings"),
    [
        (["Żelazko parowe", "Łyżka stołowa", "Książka dla dzieci"], ["cp1250", "iso8859_2"]),
        (["Žehlička napařovací", "Lžíce kuchyňská", "Kniha pro děti"], ["cp1250", "iso8859_2"]),
        (["Žlica", "Šećer", "Čaj"], ["cp1250", "iso8859_2"]),
        (["Gőzölős vasaló", "Evőkanál", "Gyerekkönyv"], ["cp1250", "iso8859_2"]),
        (["Jõulukuusk", "Öölamp", "Küünal šokolaad", "Žanr"], ["cp1252"]),
        (["Kit Mölkky hôtel dû", "Pâté de goût", "Crème brûlée"], ["cp1252"]),
        (["Jõulukuusk ja Öölamp", "Käsn, roheline", "Kohvik Café"], ["cp1252"]),
        (["Smør", "Brød på fat", "Kjøkkenkniv ålesund"], ["cp1252"]),
        (["Caffè macinato", "Più buono", "Tè così"], ["cp1252"]),
    ],
)
def test_letters_in_the_same_places_are_those_of_the_language(
    tmp_path: Path, titles: list[str], encodings: list[str]
) -> None:
    for encoding in encodings:
        rows = [["sku", "title"], *([f"s{i}", titles[i % len(titles)]] for i in range(20))]
        _, _, shown = tried(tmp_path, rows, encoding)
        assert shown.examples["Product"]["title"].to_pylist()[: len(titles)] == titles


@pytest.mark.parametrize("encoding", TITLES)
def test_an_encoding_is_told_by_the_bytes_and_shown(tmp_path: Path, encoding: str) -> None:
    titles = TITLES[encoding]
    rows = [["sku", "title"], *([f"s{i}", titles[i % len(titles)]] for i in range(12))]
    yaml, _, shown = tried(tmp_path, rows, encoding)
    assert shown.examples["Product"]["title"].to_pylist()[: len(titles)] == titles
    assert shown.rejected == 0
    if not encoding.startswith("utf"):
        assert "# ? encoding" in yaml
        assert "it would read '" in yaml


def test_big_endian_marks_and_compressed_files_are_read_too(tmp_path: Path) -> None:
    import gzip

    text = "sku,title\n" + "".join(f"s{i},苏泊尔电饭煲\n" for i in range(5))
    for name, data in (
        ("be.csv", b"\xfe\xff" + text.encode("utf-16-be")),
        ("gb.csv.gz", gzip.compress(text.encode("gb18030"))),
        ("j.jsonl", b'{"sku": "s1", "title": "' + "苏泊尔电饭煲".encode("gb18030") + b'"}\n'),
    ):
        (tmp_path / name).write_bytes(data)
        mapping = parse_mapping(propose([tmp_path / name], SCHEMA))
        shown = preview(mapping, SCHEMA, tmp_path)
        assert shown.examples["Product"]["title"][0].as_py() == "苏泊尔电饭煲"


def test_an_encoding_that_is_told_is_taken_where_the_text_reads_well(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(("sku,title\n" + "".join(f"s{i},苏泊尔电饭煲\n" for i in range(5))).encode("gb18030"))
    for name in ("gb18030", "GBK", "gb2312"):
        shown = preview(parse_mapping(propose([file], SCHEMA, name)), SCHEMA, tmp_path)
        assert shown.examples["Product"]["title"][0].as_py() == "苏泊尔电饭煲"
    with pytest.raises(InputError, match="looks garbled when read as cp1252: 'ËÕ²´¶û") as failed:
        propose([file], SCHEMA, "cp1252")
    assert "苏泊尔电饭煲" in str(failed.value)
    with pytest.raises(InputError, match="is not utf-8 text"):
        propose([file], SCHEMA, "utf-8")
    for wrong in ("gb18300", "hex", "rot13", "", "no such", "\0"):
        with pytest.raises(InputError, match="is not a text encoding") as failed:
            propose([file], SCHEMA, wrong)
        assert ("did you mean 'gb18030'" in str(failed.value)) == (wrong == "gb18300")
    file.write_text("sku,title\ns1,Tea\n")
    assert "encoding: cp1252" in propose([file], SCHEMA, "cp1252")
    with pytest.raises(InputError, match="utf-16"):
        propose([file], SCHEMA, "utf-16")


def test_text_that_was_spoilt_before_is_said(tmp_path: Path) -> None:
    twice = "Müller Öl".encode().decode("cp1252")
    file = tmp_path / "a.csv"
    file.write_text("sku,title\n" + "".join(f"s{i},{twice} {i}\n" for i in range(9)), encoding="utf-8")
    yaml = propose([file], SCHEMA)
    with pytest.raises(InputError, match="9 of 9 values beyond ASCII look garbled"):
        preview(parse_mapping(yaml), SCHEMA, tmp_path)
    assert "the text looks garbled: 'MÃ¼ller Ã–l 0' was perhaps 'Müller Öl 0'" in yaml
    file.write_text("sku,title\ns1,M\ufffdller\ns2,Öl\n", encoding="utf-8")
    yaml = propose([file], SCHEMA)
    assert "1 lines hold \ufffd where a character was lost" in yaml
    both = b"sku,title\n" + b"".join("s,Käse\n".encode("cp1252" if i % 2 else "utf-8") for i in range(20))
    (tmp_path / "b.csv").write_bytes(both)
    with pytest.raises(InputError, match="is a mixture: 10 of 20 lines beyond ASCII are UTF-8"):
        propose([tmp_path / "b.csv"], SCHEMA)
    rows = "sku,title\n" + "".join(f"s{i},Müller {i}\n" for i in range(60))
    (tmp_path / "m.csv").write_bytes(rows.encode() + "s99,Käse\n".encode("cp1252"))
    yaml = propose([tmp_path / "m.csv"], SCHEMA)
    assert "1 of 61 lines beyond ASCII are not UTF-8 and would be rejected" in yaml
    assert preview(parse_mapping(yaml), SCHEMA, tmp_path).rejected == 1


@pytest.mark.parametrize(
    ("column", "seen", "sought", "bought", "nothing"),
    [
        ("event_type", ["view"], [], ["purchase"], ["refund", "remove_from_cart"]),
        (
            "event_name",
            ["view_item", "page_view"],
            ["view_search_results"],
            ["purchase"],
            ["begin_checkout", "view_cart"],
        ),
        ("type", ["VIEWED"], ["SEARCHED"], ["BOUGHT"], ["REMOVED"]),
        ("behavior", ["pv"], [], ["buy"], ["scroll", "checkout"]),
        ("what", ["Product Viewed"], ["Products Searched"], ["Order Completed"], ["Product Removed"]),
        ("action", ["productViewed"], [], ["orderCompleted"], ["removeFromCart"]),
    ],
)
def test_kinds_of_events_become_types_of_the_graph(
    tmp_path: Path, column: str, seen: list[str], sought: list[str], bought: list[str], nothing: list[str]
) -> None:
    kinds = [*seen, *nothing, *sought] * 400 + bought
    head = ["user_id", "item_id", column, "event_time", "query", "price"]
    rows = [
        [
            f"u{i % 9}",
            "" if kind in sought else f"p{i % 7}",
            kind,
            "2019-10-01 00:00:00 UTC",
            "tea" if kind in sought else "",
            "2.5",
        ]
        for i, kind in enumerate(kinds)
    ]
    yaml, _, shown = tried(tmp_path, [head, *rows])
    assert shown.rejects.to_pylist() == []
    assert shown.counts[VIEWED] == 400 * len(seen)
    # The first of them is beyond the sample's rows.
    assert shown.counts[BOUGHT] == len(bought)
    assert shown.counts.get(("User", "SEARCHED", "Query"), 0) == 400 * len(sought)
    assert f"# ? event: these kinds make nothing: {', '.join(sorted(nothing))}" in yaml


def test_a_type_of_ones_own_takes_the_events_of_its_name(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "graph" / "schema.yaml").read_text()
    rated = text[text.index("  RATED:\n") : text.index("  SAW:\n")]
    (tmp_path / "own.yaml").write_text(text.replace(rated, rated + rated.replace("RATED", "PINNED"), 1))
    schema = load_schema(tmp_path / "own.yaml")
    rows = "user_id,sku,event,ts\nu1,s1,PINNED,2024-01-31\nu1,s1,VIEWED,2024-01-31\nu1,s1,BOUGHT,2024-01-31\n"
    (tmp_path / "log.csv").write_text(rows)
    yaml = propose([tmp_path / "log.csv"], schema)
    shown = preview(parse_mapping(yaml), schema, tmp_path)
    assert {key[1]: count for key, count in shown.counts.items() if isinstance(key, tuple)} == {
        "PINNED": 1,
        "VIEWED": 1,
        "BOUGHT": 1,
    }
    assert "make nothing" not in yaml


NAMES = st.sampled_from(
    ["user_id", "sku", "date", "title", "", "name", "name", "event", "price", "é", "qty", '"', "a b"]
)
CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "1",
            "2024-01-31",
            "01/02/2024",
            "view",
            "1,5",
            "€ 2",
            '"x',
            "4.0E+12",
            "\\N",
            "a;b",
            "true",
            "\0",
            "ï¿½",
        ]
    ),
    st.text(max_size=6),
)


@st.composite
def some_bytes(draw: st.DrawFn) -> bytes:
    sign = draw(st.sampled_from([",", ";", "\t", "|", "::"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [sign.join(draw(st.lists(NAMES, max_size=6)))]
    lines += [sign.join(draw(st.lists(CELLS, max_size=7))) for _ in range(draw(st.integers(0, 6)))]
    text = draw(st.sampled_from(["", "sep=;\n", "\ufeff", "Report\n\n"])) + end.join(lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-16", "cp1252", "gb18030", "utf-16-be"]))
    data = text.encode(encoding, "replace")
    return data + draw(st.binary(max_size=4))


def some_json() -> st.SearchStrategy[bytes]:
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    values = st.recursive(
        leaves,
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
        max_leaves=5,
    )
    names = st.sampled_from(["user_id", "sku", "date", "", "a.b", "title"])
    rows = st.lists(st.dictionaries(names, values, max_size=4), max_size=5)
    return rows.map(lambda some: "\n".join(map(json.dumps, some)).encode())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(some_bytes(), st.binary(max_size=200), some_json()),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".inter"]),
)
def test_of_any_bytes_a_proposal_loads_and_runs_or_is_refused_clearly(
    data: bytes, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"f{suffix}"
    file.write_bytes(data)
    try:
        yaml = propose([file], SCHEMA)
    except NothingFitsError as error:
        parse_mapping(error.skeleton)
        return
    except KgdistillError:
        return
    # Text that no encoding makes is another matter.
    mapping = parse_mapping(yaml.replace("\n    files:", "\n    check_text: false\n    files:"))
    preview(mapping, SCHEMA, tmp_path, salt=b"s")
