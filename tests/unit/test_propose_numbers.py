"""Which mark of a number is the decimal one, where `1.500` and `1,500` may be either."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
POINT = 'is read with a decimal point; else say decimal: ","'
THOUSANDS = 'is read with the point between thousands; else say decimal: "."'
COMMAS = 'is read with the comma between thousands; else say decimal: ","'


def prices(folder: Path, *names: str) -> tuple[list[float], list[str]]:
    """The prices that are read of the files, and what is in doubt about their marks."""
    yaml = propose([folder / name for name in names], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, folder, 5_000)
    assert shown.rejects.to_pylist() == []
    doubts = [line for line in yaml.splitlines() if "# ?" in line and "else say decimal" in line]
    return [row["price"] for row in shown.examples["Product"].to_pylist()], doubts


def csv(path: Path, written: list[str], sign: str = ",", **others: str) -> None:
    head = sign.join(["sku", "title", "price", *others])
    lines = [sign.join([f"s{i}", "Tea", f'"{w}"', *others.values()]) for i, w in enumerate(written)]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("written", "sign", "others", "read"),
    [
        # A sign of money that has decimal commas, whole numbers beside it or not.
        (["1.500 €", "2.107 €"], ",", {}, [1500, 2107]),
        (["EUR 1.500", "EUR 950"], ",", {}, [1500, 950]),
        (["1.500 kr", "-2.107 kr"], ",", {}, [1500, -2107]),
        # Other numbers of the file.
        (["1.500", "2.107"], ",", {"weight": '"2,5"'}, [1500, 2107]),
        (["1.500", "2.107"], ";", {"weight": "2.5"}, [1.5, 2.107]),
        (["1,500", "2,107"], ",", {"weight": '"2,5"'}, [1.5, 2.107]),
        (["1,500", "2,107"], ";", {"weight": "2.5"}, [1500, 2107]),
        # What is no group of thousands.
        (["0.125", "1.250", "12.375"], ";", {}, [0.125, 1.25, 12.375]),
        (["0,125", "1,250", "12,375"], ",", {}, [0.125, 1.25, 12.375]),
        (["1.250", "1234.500"], ";", {}, [1.25, 1234.5]),
        (["1.250", "2.5"], ";", {}, [1.25, 2.5]),
        (["1.250", "12,50"], ",", {}, [1250, 12.5]),
    ],
)
def test_the_decimal_mark_is_told_by_signs_and_other_numbers(
    tmp_path: Path, written: list[str], sign: str, others: dict[str, str], read: list[float]
) -> None:
    csv(tmp_path / "p.csv", written, sign, **others)
    assert prices(tmp_path, "p.csv") == (read, [])


@pytest.mark.parametrize(
    ("written", "sign", "others", "read", "doubt"),
    [
        (["1.500", "2.107"], ",", {}, [1.5, 2.107], POINT),
        (["$1.500", "$2.107"], ",", {}, [1.5, 2.107], POINT),
        (["1,500", "2,107"], ",", {}, [1500, 2107], COMMAS),
        # Semicolons alone are a hint.
        (["1.500", "2.107"], ";", {}, [1500, 2107], THOUSANDS),
        # So are a sign and other numbers that say the contrary.
        (["1.500 €", "2.107 €"], ",", {"weight": "2.5"}, [1500, 2107], THOUSANDS),
        (["1.500", "2.107"], ",", {"weight": "2.5", "height": '"2,5"'}, [1.5, 2.107], POINT),
    ],
)
def test_what_nothing_settles_is_asked(
    tmp_path: Path, written: list[str], sign: str, others: dict[str, str], read: list[float], doubt: str
) -> None:
    csv(tmp_path / "p.csv", written, sign, **others)
    found, doubts = prices(tmp_path, "p.csv")
    assert (found, len(doubts)) == (read, 1)
    assert doubts[0].endswith(f"# ? price: {written[0]} {doubt}")


def test_ids_and_names_that_look_like_numbers_are_in_no_doubt(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("sku,title,price\n" + "".join(f"1.50{i},2.10{i},7\n" for i in range(9)))
    assert prices(tmp_path, "p.csv") == ([7] * 9, [])


@pytest.mark.parametrize("first", [["1.500", "2.107"], ["12,50", "2.107,00"]])
def test_files_of_one_table_tell_each_other_the_mark(tmp_path: Path, first: list[str]) -> None:
    csv(tmp_path / "p1.csv", first)
    csv(tmp_path / "p2.csv", [*first[::-1], "1.250"])
    csv(tmp_path / "p3.csv", ["1,5", "2.107"])
    found, doubts = prices(tmp_path, "p1.csv", "p2.csv", "p3.csv")
    assert (doubts, found[-3:]) == ([], [1250, 1.5, 2107])
    assert len(parse_mapping(propose(sorted(tmp_path.glob("*.csv")), SCHEMA)).sources) == 1


def test_another_file_tells_the_mark(tmp_path: Path) -> None:
    """They stay apart, as one is of another encoding."""
    csv(tmp_path / "p.csv", ["1.500", "2.107"])
    text = 'sku,title,price\nt1,Käse,"12,50"\nt2,Käse,"1.250,00"\n'
    (tmp_path / "q.csv").write_bytes(text.encode("cp1252"))
    (tmp_path / "r.csv").write_text("sku;title;price;shelf\nr1;Mug;1.750;4\n")
    found, doubts = prices(tmp_path, "p.csv", "q.csv", "r.csv")
    assert (sorted(found), doubts) == ([12.5, 1250, 1500, 1750, 2107], [])


def test_the_whole_column_tells_the_mark(tmp_path: Path) -> None:
    csv(tmp_path / "p.csv", ["1.500"] * 1_500 + ["12,50"])
    assert prices(tmp_path, "p.csv") == ([1500.0] * 1_500 + [12.5], [])
    csv(tmp_path / "p.csv", ["1,500"] * 1_500 + ["12,5"])
    assert prices(tmp_path, "p.csv") == ([1.5] * 1_500 + [12.5], [])


def test_numbers_that_are_stored_as_numbers_have_no_mark(tmp_path: Path) -> None:
    table = pa.table({"sku": ["s1", "s2"], "title": ["Tea", "Mug"], "price": [1.125, 12.375]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert prices(tmp_path, "p.parquet") == ([1.125, 12.375], [])
    # Nor are they evidence of how others are written.
    table = pa.table({"sku": ["t1"], "title": ["Pen"], "price": [2.5], "note": ["x"]})
    pq.write_table(table, tmp_path / "p.parquet")
    csv(tmp_path / "p.csv", ["1.500", "2.107"])
    assert prices(tmp_path, "p.parquet", "p.csv")[1] == [f"    # ? price: 1.500 {POINT}"]
    (tmp_path / "p.jsonl").write_text('{"sku": "s1", "title": "Tea", "price": 1.125}\n')
    assert prices(tmp_path, "p.jsonl") == ([1.125], [])


def test_texts_in_json_are_numbers_as_people_write_them(tmp_path: Path) -> None:
    def written(*rows: dict[str, object]) -> tuple[list[float], list[str]]:
        lines = (json.dumps({"sku": f"s{i}", "title": "Tea", **row}) for i, row in enumerate(rows))
        (tmp_path / "p.jsonl").write_text("\n".join(lines))
        return prices(tmp_path, "p.jsonl")

    assert written({"price": "1.299"}, {"price": "2.107"}) == (
        [1.299, 2.107],
        [f"    # ? price: 1.299 {POINT}"],
    )
    # Other texts of the file tell, and numbers that are stored do not.
    told = {"weight": "2,5", "height": 2.5}
    assert written({"price": "1.299", **told}, {"price": "2.107", **told}) == ([1299, 2107], [])
    assert written({"price": 1.299, **told}, {"price": 2.107, **told}) == ([1.299, 2.107], [])
    # Where a text stands among stored numbers, it is told by them.
    assert written({"price": "1.299"}, {"price": 2.5}) == ([1.299, 2.5], [])


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        ("${}", "$1.2k"), ("{}元", "1.2w"), ("{}元", "1万5千元"), ("¥{}", "¥1.2万起"),
        ("€ {}", "€ 1.2K"), ("{} €", "1.2 Mio €"), ("{} €", "1.2M"), ("{} ₽", "5 тыс. ₽"),
        ("{} ₽", "2 mln ₽"),
        ("Rs. {}", "Rs. 2 lakh"), ("{} €", "12€50"), ("¥{}", "¥1~¥2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [40, 1_200])
def test_what_may_multiply_a_number_is_not_left_out(
    tmp_path: Path, plain: str, other: str, place: int
) -> None:
    """Within the first rows a doubt tells that it is rejected; beyond them it is rejected all the same."""
    written = [plain.format(f"{i}.50") for i in range(1_500)]
    written[place] = other
    csv(tmp_path / "p.csv", written)
    yaml = propose([tmp_path / "p.csv"], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, tmp_path, 5_000)
    assert [row["value"] for row in shown.rejects.to_pylist()] == [other]
    told = f"# ? price: 1 of 1,000 values, such as {other}, are written in another way and would be rejected"
    assert (told in yaml) == (place < 1_000)


@pytest.mark.parametrize(
    ("plain", "other", "read"),
    [
        ("{}", "1.2万", 12_000), ("{}元", "1.2万元", 12_000), ("{}元", "1.1万", 11_000),
        ("¥{}", "¥1.2亿", 120_000_000), ("{} 件", "3千件", 3_000), ("{}元", "1,234.5萬 元", 12_345_000),
        ("NT$ {}", "NT$ -3 億", -300_000_000), ("{}円", "2.5百万円", 2_500_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [40, 1_200])
def test_chinese_signs_directly_behind_a_number_multiply_it(
    tmp_path: Path, plain: str, other: str, read: float, place: int
) -> None:
    written = [plain.format(f"{1_000 + i:,}.50") for i in range(1_500)]
    written[place] = other
    csv(tmp_path / "p.csv", written)
    found, doubts = prices(tmp_path, "p.csv")
    assert (found[place], found[place - 1], doubts) == (read, 1_000 + place - 1 + 0.5, [])


@pytest.mark.parametrize("written", [["1.2万", "3千"], ["1.234万元", "3.456万元"]])
def test_numbers_that_are_all_multiplied_are_in_no_doubt(tmp_path: Path, written: list[str]) -> None:
    csv(tmp_path / "p.csv", written)
    read = [12_000.0, 3_000] if written[0] == "1.2万" else [12_340.0, 34_560]
    assert prices(tmp_path, "p.csv") == (read, [])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["-$12.50", "$ 3.50", "$-4"], [-12.5, 3.5, -4]),
        (["- 12,50 kr.", "1 003,50 kr."], [-12.5, 1003.5]),
        (["US $ 2.50", "- US $ 1’003.50"], [2.5, -1003.5]),
        # Of one currency.
        (["¥12.5", "12.5元", "3", "￥4元"], [12.5, 12.5, 3, 4]),
        (["€ 12,50", "12,50 EUR", "€3"], [12.5, 12.5, 3]),
        (["$5", "5 USD", "US$6"], [5, 5, 6]),
        (["Rs 5", "Rs. 5"], [5, 5]),
    ],
)
def test_signs_stand_at_either_side_of_a_number(
    tmp_path: Path, written: list[str], read: list[float]
) -> None:
    csv(tmp_path / "p.csv", written)
    assert prices(tmp_path, "p.csv") == (read, [])


@pytest.mark.parametrize("other", ["5 €", "5円", "5 USD"])
def test_sums_in_several_currencies_are_not_read(tmp_path: Path, other: str) -> None:
    csv(tmp_path / "p.csv", ["5元", "6元", other])
    assert "# not used: price" in propose([tmp_path / "p.csv"], SCHEMA)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["€ 8,-", "€ 12,50", "€ 1.299,00"], [8, 12.5, 1299]),
        (["8,-- €", "12,50 €"], [8, 12.5]),
        (["CHF 8.-", "CHF 12.50"], [8, 12.5]),
        # Where Shift-JIS has the sign of the yen.
        (["\\1,299", "\\980", "\\12,800"], [1299, 980, 12800]),
    ],
)
def test_sums_without_hundredths_and_with_a_yen_of_shift_jis_are_read(
    tmp_path: Path, written: list[str], read: list[float]
) -> None:
    csv(tmp_path / "p.csv", written, ";")
    assert prices(tmp_path, "p.csv")[0] == read


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (["€ 12,50", "129,00 zł"], "stands in several currencies or units, that make no sum (zł, €)"),
        (["12 x 3", "4 x 5"], "is written in several ways, of which no one reads them all"),
    ],
)
def test_a_price_that_is_left_out_is_in_doubt(tmp_path: Path, written: list[str], told: str) -> None:
    csv(tmp_path / "p.csv", written)
    text = propose([tmp_path / "p.csv"], SCHEMA)
    assert f"# ? price: {told}, and is left out: {', '.join(written)}\n" in text
    csv(tmp_path / "q.csv", ["on request", "ask us"])
    assert "left out" not in propose([tmp_path / "q.csv"], SCHEMA)
