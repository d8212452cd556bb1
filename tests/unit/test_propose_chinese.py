"""Headings, kinds of events, times and numbers as Chinese, Japanese and Korean shops write them."""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.ingest.mapping.cast import cast_times
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.propose.eastern import _TERMS, pieces
from kgdistill.ingest.propose.propose import Preview, preview, propose
from kgdistill.ingest.propose.times import formats_of
from kgdistill.ingest.propose.words import is_known, words
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
BOUGHT, VIEWED = ("User", "BOUGHT", "Product"), ("User", "VIEWED", "Product")
SEARCHED, RATED = ("User", "SEARCHED", "Query"), ("User", "RATED", "Product")


def tried(
    folder: Path, names: list[str], rows: list[list[str]], encoding: str = "utf-8", file: str = "a.csv"
) -> tuple[str, Mapping, Preview]:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    (folder / file).write_bytes(text.getvalue().encode(encoding))
    yaml = propose([folder / file], SCHEMA)
    mapping = parse_mapping(yaml)
    return yaml, mapping, preview(mapping, SCHEMA, folder, salt=b"salt")


ORDERS = [
    ["D1", "U1", "P1", "2", "3.5", "7", "2024/3/5 14:03"],
    ["D2", "U2", "P2", "1", "4", "4", "2024/3/6 9:00"],
]
ORDER_NAMES = [
    ["订单编号", "会员编号", "商品编号", "数量", "单价", "实付金额", "下单时间"],
    ["订单号", "用户ID", "货号", "件数", "售价", "金额", "付款时间"],
    ["交易单号", "客户编号", "SKU编码", "购买数量", "商品价格", "支付金额", "交易时间"],
    ["訂單編號", "會員編號", "商品編號", "數量", "單價", "金額", "下單時間"],
    ["流水号", "顾客号", "商品ID", "个数", "价格", "总价", "日期"],
    ["注文番号", "会員番号", "商品コード", "数量", "単価", "合計", "注文日時"],
    ["주문번호", "회원번호", "상품번호", "수량", "단가", "결제금액", "주문일시"],
]  # fmt: skip


@pytest.mark.parametrize("names", ORDER_NAMES, ids=lambda names: names[0])
def test_orders_are_mapped_by_the_words_of_their_headings(tmp_path: Path, names: list[str]) -> None:
    yaml, _, shown = tried(tmp_path, names, ORDERS)
    lines = shown.examples[BOUGHT].to_pylist()
    assert [(r["source"], r["target"], r["first_quantity"], r["spend"]) for r in lines] == [
        ("U1", "P1", 2, 7.0),
        ("U2", "P2", 1, 4.0),
    ]
    assert lines[0]["first_at"] == datetime(2024, 3, 5, 14, 3)
    assert [r["price"] for r in shown.examples["Product"].to_pylist()] == [3.5, 4.0]
    assert f'event_id: {{columns: ["{names[0]}", ' in yaml
    zones = {"注": "Asia/Tokyo", "주": "Asia/Seoul"}
    assert f"such as {zones.get(names[0][0], 'Asia/Shanghai')}\n" in yaml


@pytest.mark.parametrize(
    "names",
    [
        ["商品编号", "商品名称", "品牌", "一级类目", "二级类目", "价格", "颜色", "规格", "商品描述"],
        ["货号", "标题", "品牌名称", "大类", "小类", "售价", "颜色", "尺码", "商品详情"],
        ["SKU", "品名", "厂商", "品类", "分类", "单价", "材质", "尺寸", "描述"],
        ["商品編號", "商品名稱", "品牌", "類別", "子分類", "價格", "顏色", "規格", "商品介紹"],
        ["商品コード", "商品名", "ブランド", "カテゴリ", "ジャンル", "価格", "カラー", "サイズ", "商品説明"],
        ["상품코드", "상품명", "브랜드", "카테고리", "분류", "가격", "색상", "사이즈", "상품 설명"],
    ],
    ids=lambda names: names[1],
)
def test_a_catalogue_is_mapped_by_the_words_of_its_headings(tmp_path: Path, names: list[str]) -> None:
    about = "不锈钢材质，耐用" * 20
    rows = [
        ["P1", "不锈钢炒锅", "苏泊尔", "厨具", "锅具", "￥199.00", "银色", "32cm", about],
        ["P2", "电饭煲", "美的", "厨具", "电器", "￥299.50", "白色", "4L", about],
    ]
    _, _, shown = tried(tmp_path, names, rows, "gb18030" if "编" in names[0] else "utf-8")
    found = shown.examples["Product"].to_pylist()[1]
    assert (found["product_id"], found["title"], found["brand_text"]) == ("P2", "电饭煲", "美的")
    assert (found["price"], found["category_text"], found["attributes"]) == (299.5, "厨具 > 电器", "白色, 4L")
    assert found["description"] == about
    assert (shown.counts["Brand"], shown.counts["Department"]) == (2, 1)


def test_kinds_of_events_in_chinese_make_their_types(tmp_path: Path) -> None:
    kinds = ["浏览", "加购", "购买", "收藏", "移除"]
    rows = [[f"U{i % 3}", f"P{i}", kinds[i % 5], f"2024年{1 + i}月5日 14时03分"] for i in range(10)]
    yaml, _, shown = tried(tmp_path, ["用户ID", "商品ID", "行为类型", "时间"], rows)
    assert (shown.counts[VIEWED], shown.counts[BOUGHT], shown.rejected) == (2, 2, 0)
    assert "these kinds make nothing: 移除" in yaml
    assert shown.examples[VIEWED]["first_at"].to_pylist()[1] == datetime(2024, 6, 5, 14, 3)


def test_searches_and_reviews_in_chinese(tmp_path: Path) -> None:
    rows = [["20240305", "U1", "炒锅"], ["20240306", "U2", "手环"]]
    # The time of a search is no search, wherever it stands.
    _, _, shown = tried(tmp_path, ["搜索时间", "用户ID", "搜索词"], rows)
    assert shown.examples["Query"]["text"].to_pylist() == ["炒锅", "手环"]
    assert shown.examples[SEARCHED]["first_at"].to_pylist() == [datetime(2024, 3, 5), datetime(2024, 3, 6)]
    rows = [["张三", "P1", "5", "很好用", "2024.03.05"], ["李四", "P2", "1", "不好用", "2024.03.06"]]
    _, _, shown = tried(tmp_path, ["买家昵称", "商品ID", "评分", "评论内容", "评价时间"], rows, file="b.csv")
    assert shown.examples[RATED]["rating"].to_pylist() == [5.0, 1.0]
    # A nickname tells people apart where no id does: as a hash.
    assert "张三" not in str(shown.examples["User"].to_pylist())
    assert shown.examples["Statement"]["text"].to_pylist() == ["很好用", "不好用"]
    _, _, shown = tried(tmp_path, ["用户ID", "商品ID", "评价", "时间"], [["U1", "P1", "4", "2024.03.05"]] * 2)
    assert shown.examples[RATED]["rating"].to_pylist() == [4.0, 4.0]


def test_personal_columns_are_left_out_in_any_script(tmp_path: Path) -> None:
    personal = [
        "收货人姓名",
        "手机号",
        "收货地址",
        "身份证号",
        "邮箱",
        "出生日期",
        "氏名",
        "電話番号",
        "주소",
    ]
    held = [
        "张三",
        "13800000001",
        "北京市朝阳区",
        "11010519491231002X",
        "a b",
        "1990-01-02",
        "山田",
        "03-1",
        "서울",
    ]
    names = ["订单号", "用户ID", "商品ID", "下单时间", *personal]
    yaml, _, shown = tried(tmp_path, names, [["D1", "U1", "P1", "2024-03-05", *held]] * 2)
    assert f"left out, as they look personal: {', '.join(personal)}\n" in yaml
    assert shown.counts[BOUGHT] == 2
    assert not any(text in yaml for text in held if text != "山田")


def test_what_was_paid_counts_and_not_what_was_due(tmp_path: Path) -> None:
    names = ["用户ID", "商品ID", "时间", "应付金额", "优惠金额", "实付金额"]
    rows = [["U1", "P1", "2024-03-05", "100", "20", "80"]] * 2
    _, _, shown = tried(tmp_path, names, rows)
    assert shown.examples[BOUGHT]["spend"].to_pylist() == [80.0, 80.0]


def test_statuses_and_sums_are_understood(tmp_path: Path) -> None:
    rows = [[f"D{i}", "U1", f"P{i}", "2024-03-05", "已取消" if i % 2 else "交易成功"] for i in range(6)]
    yaml, _, shown = tried(tmp_path, ["订单号", "用户ID", "商品ID", "下单时间", "订单状态"], rows)
    assert 'where: [{column: "订单状态", not_in: ["已取消"]}]' in yaml
    rows = [["U1", "P1", "2024-03-05", "2"], ["U2", "P2", "2024-03-05", "3"], ["合计", "", "", "5"]]
    _, _, shown = tried(tmp_path, ["用户ID", "商品ID", "时间", "数量"], rows, file="b.csv")
    assert (shown.counts[BOUGHT], shown.rejected, shown.skipped) == (2, 0, 1)


def test_full_width_figures_are_read_and_ids_in_them_told(tmp_path: Path) -> None:
    rows = [[f"{'Ｃ' if i == 3 else 'C'}{i}", f"P{i}", "１２件", f"２０２４／３／{i + 1}"] for i in range(6)]
    yaml, _, shown = tried(tmp_path, ["客户编号", "商品编号", "数量", "日期"], rows)
    assert shown.rejected == 0
    line = shown.examples[BOUGHT].to_pylist()[3]
    assert (line["source"], line["first_quantity"], line["first_at"]) == ("Ｃ3", 12, datetime(2024, 3, 4))
    assert "1 of 6 values hold full-width letters or digits, such as Ｃ3; with fold: nfkc it is C3" in yaml


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024/3/5 14:03", datetime(2024, 3, 5, 14, 3)),
        ("2024年3月5日", datetime(2024, 3, 5)),
        ("2024年03月05日 14时03分", datetime(2024, 3, 5, 14, 3)),
        ("2024年3月5日14:03:22", datetime(2024, 3, 5, 14, 3, 22)),
        ("2024年3月5日 14时3分22秒", datetime(2024, 3, 5, 14, 3, 22)),
        ("20240305", datetime(2024, 3, 5)),
        ("2024.03.05", datetime(2024, 3, 5)),
        ("2024/3/5 下午 2:03", datetime(2024, 3, 5, 14, 3)),
        ("2024/3/5 上午12:03:22", datetime(2024, 3, 5, 0, 3, 22)),
        ("2024/3/5 下午14:03", datetime(2024, 3, 5, 14, 3)),
        ("2024年3月5日 下午2时03分", datetime(2024, 3, 5, 14, 3)),
        ("2024年3月5日 凌晨1点", datetime(2024, 3, 5, 1)),
        ("2024年3月5日 午後2時03分", datetime(2024, 3, 5, 14, 3)),
        ("2024년 3월 5일 오후 2:03", datetime(2024, 3, 5, 14, 3)),
        ("2024. 3. 5. 오전 2:03", datetime(2024, 3, 5, 2, 3)),
        ("2024年3月5日 14时03分 +0800", datetime(2024, 3, 5, 6, 3)),
    ],
)
def test_a_time_that_is_proposed_is_read_to_the_second(tmp_path: Path, text: str, at: datetime) -> None:
    yaml, _, shown = tried(tmp_path, ["用户ID", "商品ID", "时间"], [["U1", "P1", text], ["U2", "P2", text]])
    assert shown.rejected == 0, yaml
    assert shown.examples[BOUGHT]["first_at"].to_pylist() == [at, at]


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2026, 1, 1)),
    st.sampled_from(["年月日", "年月日 ", "년월일 "]),
    st.sampled_from(["时分秒", "時分秒", "시분초", "", "上午下午", "午前午後"]),
    st.booleans(),
)
def test_any_time_that_is_written_so_comes_back(
    moment: datetime, date: str, clock: str, padded: bool
) -> None:
    moment = moment.replace(microsecond=0)
    width = 2 if padded else 1
    text = (
        "".join(
            f"{number:0{width}}{sign}"
            for number, sign in zip((moment.year, moment.month, moment.day), date, strict=False)
        )
        + date[3:]
    )
    if len(clock) == 3:
        parts = zip((moment.hour, moment.minute, moment.second), clock, strict=True)
        text += "".join(f"{number:0{width}}{sign}" for number, sign in parts)
    elif clock:
        half = clock[:2] if moment.hour < 12 else clock[2:]
        text += f"{half}{moment.hour % 12 or 12}:{moment.minute:02}:{moment.second:02}"
    else:
        moment, text = moment.replace(hour=0, minute=0, second=0), text.strip()
    (name,) = formats_of(text)
    times, bad = cast_times(pa.array([text]), (name,), None, "UTC")
    assert not bad.any(), (text, name)
    assert times.to_pylist() == [moment], (text, name)


@pytest.mark.parametrize(
    ("heading", "written"), [("评分", "{}星"), ("星级", "{} 颗星"), ("rating", "{} stars")]
)
def test_stars_are_a_rating(tmp_path: Path, heading: str, written: str) -> None:
    rows = [[f"u{i}", f"p{i}", written.format(i), "2024-01-05 10:00:00"] for i in (5, 3)]
    _, _, shown = tried(tmp_path, ["会员编号", "商品编号", heading, "评价时间"], rows)
    assert [row["rating"] for row in shown.examples[RATED].to_pylist()] == [5, 3]


def test_words_are_cut_where_they_are_known() -> None:
    assert words("商品ID") == words("product_id") == ("product", "id")
    assert words("一级类目") == ("level", "category")
    assert words("买家的昵称") == ("user", "nickname")
    assert words("ＳＫＵ编码") == ("sku", "id")
    # 号 is a number at the end alone, and 色 a colour: neither within a word that is not known.
    assert words("型号") == ("style",)
    assert words("数码相机") == ("数码相机",)
    assert not is_known(words("黑色"))
    assert is_known(words("颜色"))


@given(st.text(st.sampled_from("商品编号名称买家ID_ 色黑カラー상품abc１"), max_size=12))
def test_nothing_of_a_name_is_lost_or_made_up(name: str) -> None:
    found = pieces(name)
    assert "".join(piece for piece, _ in found) == unicodedata.normalize("NFKC", name)
    english = {word for meaning in _TERMS for word in meaning.split()}
    for piece, known in found:
        assert all(word in english or word in piece for word in known)


def test_ids_of_reviews_bands_of_age_and_starts_of_coupons_are_known(tmp_path: Path) -> None:
    names = ["评价编号", "用户ID", "商品编号", "星级", "评价内容", "评价时间"]
    same = [["R1", "U1", "P1", "5", "很好", "2024-03-05"], ["R2", "U2", "P2", "5", "很好", "2024-03-06"]]
    yaml, _, shown = tried(tmp_path, names, same)
    assert shown.examples["Statement"].num_rows == 2, yaml
    _, mapping, _ = tried(tmp_path, ["会员编号", "年龄段"], [["U1", "25-34"], ["U2", "35-44"]])
    (node,) = mapping.sources["a"].nodes
    assert (node.label, [*node.properties]) == ("User", ["age"])
    names = ["优惠券编号", "商品编号", "生效时间"]
    _, _, shown = tried(tmp_path, names, [["C1", "P1", "2024-03-05"], ["C2", "P2", "2024-03-06"]])
    assert [row["start_at"].day for row in shown.examples["Coupon"].to_pylist()] == [5, 6]


def test_one_star_stands_beside_five_stars(tmp_path: Path) -> None:
    names = ["user_id", "product_id", "rating", "time"]
    rows = [[f"U{n}", f"P{n}", f"{n} star{'s' * (n > 1)}", "2024-03-05"] for n in range(1, 6)]
    _, _, shown = tried(tmp_path, names, rows)
    assert {row["rating"] for row in shown.examples[RATED].to_pylist()} <= {1.0, 2.0, 3.0, 4.0, 5.0}
