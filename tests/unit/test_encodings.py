# ruff: noqa: E501
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from _jobs import SCHEMA, rows
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ingest.garbled import GARBLED, TextCheck, is_garbled
from kgdistill.ingest.job import JobReport, run_job
from kgdistill.ingest.mapping.load import Mapping, parse_mapping
from kgdistill.ingest.model import Notice
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.ingest.readers import Source, SourceOptions, read_batches
from kgdistill.ingest.readers.detect import detected
from kgdistill.store import open_store

# Real words of shops, by an encoding in which such files come.
TEXTS = {
    "gb18030": ["苏泊尔不锈钢炒锅", "美的电饭煲家用智能", "小米手环运动防水", "纯棉四件套床上用品", "龙井绿茶礼盒装"],
    "big5": ["不鏽鋼炒鍋家用", "智慧型手環運動防水", "純棉床包四件組", "烏龍茶禮盒", "無線藍牙耳機"],
    "cp932": ["ステンレス製フライパン", "電気炊飯器マイコン", "緑茶ティーバッグ", "ワイヤレスイヤホン", "綿の枕カバー"],
    "cp949": ["스테인리스 프라이팬", "전기밥솥 가정용", "녹차 선물세트", "무선 이어폰", "순면 베개커버"],
    "cp1252": ["Käsemesser groß", "Crème brûlée-Schälchen", "Señor Muñoz café", "Grüner Tee Ñandú", "Thé à la menthe « été »"],
    "cp1250": ["Żółta łódź podwodna", "Příliš žluťoučký kůň", "Čajová sada růžová", "Święta wędzone śliwki", "Nůž na sýr"],
    "cp1251": ["Чайник электрический", "Сковорода чугунная", "Зелёный чай подарочный", "Наушники беспроводные", "Подушка хлопок"],
    "cp1253": ["Τηγάνι αντικολλητικό", "Πράσινο τσάι δώρου", "Ασύρματα ακουστικά", "Μαχαίρι τυριού", "Βαμβακερή θήκη"],
    "cp1254": ["Çaydanlık gümüş", "Paslanmaz tava ığdır", "Yeşil çay hediye", "Kablosuz kulaklık ğ", "Şeker kâsesi"],
    "cp1256": ["شاي أخضر هدية", "سماعات لاسلكية", "مقلاة غير لاصقة", "سكين الجبن", "وسادة قطن"],
}  # fmt: skip
REAL = [
    "5 m³/h", "Preis¹", "£5m", "¿Qué?", "Señor ¡Hola!",
    *(text for texts in TEXTS.values() for text in texts),
    "Ấm đun nước siêu tốc", "Chảo chống dính được ưa chuộng", "NESCAFÉ® Gold", "Jäääär", "þýðing á bókum", "½ l für 5 €",
    "Men’s “Classic” Shirt – 20 % off…", "हिन्दी चाय का प्याला", "ชุดถ้วยชา", "תה ירוק", "İstanbul’da ışık", "🧀 👨‍👩‍👧 x²·³°",
    "déjà « à » été", "SÃO JOÃO", "MAÇÃ", "Škoda ÄÖÜ", "联通", "naïve façade", "Bücher »Größe«",
]  # fmt: skip


@given(st.lists(st.sampled_from(REAL), min_size=1, max_size=6))
def test_real_text_of_any_script_is_not_garbled(words: list[str]) -> None:
    assert not any(is_garbled(text) for text in words)
    assert not is_garbled(" | ".join(words))


@pytest.mark.parametrize("read", ["cp1252", "latin-1"])
@pytest.mark.parametrize("written", ["utf-8", *TEXTS])
def test_text_read_in_a_wrong_encoding_is_garbled(written: str, read: str) -> None:
    if written in ("cp1252", "cp1250", "cp1254"):
        # Single letters that are others: nothing tells them by themselves.
        return
    texts = [t for ts in TEXTS.values() for t in ts] if written == "utf-8" else TEXTS[written]
    garbled = [text.encode(written).decode(read, "replace") for text in texts]
    assert sum(map(is_garbled, garbled)) >= 0.9 * len(texts), garbled


@pytest.mark.parametrize("read", ["gb18030", "big5", "cp932"])
def test_utf_8_read_as_two_byte_text_is_garbled(read: str) -> None:
    texts = [*TEXTS["gb18030"], *TEXTS["big5"], *TEXTS["cp932"]]
    garbled = [text.encode().decode(read, "replace") for text in texts]
    assert sum(map(is_garbled, garbled)) >= 0.9 * len(texts), garbled


def table(texts: list[str], format: str) -> str:
    if format == "jsonl":
        return "".join(
            json.dumps({"sku": f"p{i}", "title": t}, ensure_ascii=False) + "\n" for i, t in enumerate(texts)
        )
    mark = "\t" if format == "tsv" else ","
    return f"sku{mark}title\n" + "".join(f"p{i}{mark}{text}\n" for i, text in enumerate(texts))


def read(path: Path, **options: str | None) -> list[str]:
    source = Source("s", path, None, SourceOptions(**options))  # type: ignore[arg-type]
    return [text for batch in read_batches(source, ["title"]) for text in batch.table["title"].to_pylist()]


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("encoding", TEXTS)
def test_a_file_that_is_not_utf_8_is_refused_with_line_byte_and_the_encoding_to_try(
    encoding: str, format: str, tmp_path: Path
) -> None:
    plain = ["plain"] * 3
    path = tmp_path / f"a.{format}"
    texts = [*plain, *TEXTS[encoding] * 4]
    path.write_bytes(table(texts, format).encode(encoding))
    with pytest.raises(InputError, match="is not UTF-8 text, first at byte ") as error:
        read(path)
    line = 4 + (format != "jsonl")
    assert error.value.where == f"{path}, line {line}"
    # The first letter beyond ASCII, counted in the file's own bytes.
    before = table(texts, format).encode(encoding)
    byte = int(error.value.message.split("at byte ")[1].split()[0])
    start = sum(len(part) + 1 for part in before.split(b"\n")[: line - 1])
    assert start < byte <= start + len(before.split(b"\n")[line - 1])
    assert "say encoding: " in error.value.hint
    told = error.value.hint.split("encoding: ")[1].split()[0]
    assert read(path, encoding=told) == texts or encoding in ("cp1250", "cp1254", "cp1253", "cp1256")
    assert read(path, encoding=encoding) == texts


def test_a_few_damaged_bytes_reject_their_rows_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good = table(["Käse"] * 40, "csv").encode()
    path.write_bytes(good + b"p,\xe2\x80\n")
    assert len(read(path)) == 40
    few = good[: good.index(b"\n", 40) + 1]
    path.write_bytes(few + b"p,\xe2\x80\n")
    assert len(read(path)) == few.count(b"\n") - 1
    # No encoding reads these: damage, however many there are.
    path.write_bytes(few + b"p,\xe2\x80\nq,\xe2\x80\n")
    assert len(read(path)) == few.count(b"\n") - 1
    assert len(read(path, encoding="utf-8")) > 0


@pytest.mark.parametrize("texts", [["苏泊尔不锈钢锅", "铁观音乌龙茶"], ["plain", *TEXTS["gb18030"] * 200]])
@pytest.mark.parametrize("told", ["utf-8", "UTF8", None])
def test_a_file_without_any_utf_8_is_refused_where_somebody_says_utf_8_too(
    told: str | None, texts: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(table(texts, "csv").encode("gb18030"))
    with pytest.raises(InputError, match=r"is not UTF-?8 text, first at byte ") as error:
        read(path, encoding=told)
    assert error.value.hint.startswith("say encoding: gb18030 in the mapping, which reads it as '苏泊尔")
    assert error.value.hint.endswith("or export it again as UTF-8")


@pytest.mark.parametrize("told", ["utf-8", None])
def test_a_header_that_is_not_utf_8_is_refused_with_the_encoding_to_try(
    told: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("title,商品编号,商品价格\nTea,p1,5\n".encode("gb18030"))
    with pytest.raises(InputError, match="the header: is not UTF-8 text") as error:
        read(path, encoding=told)
    assert error.value.hint.startswith("say encoding: gb18030 in the mapping, which reads it as '商品编号'")


def test_a_mixture_with_more_of_another_encoding_is_read_row_by_row_where_utf_8_is_said(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    data = table(["Käse"], "csv").encode() + "q,Größe\nr,Hüte für Bären\ns,Äpfel\n".encode("cp1252")
    path.write_bytes(data)
    with pytest.raises(InputError, match="encoding: utf-8 rejects the rows that are none"):
        read(path)
    assert read(path, encoding="utf-8") == ["Käse"]


@pytest.mark.parametrize("told", ["cp1252", "gb18030", "latin-1"])
def test_utf_8_that_is_said_to_be_something_else_is_refused(told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(["Käse", "Größe", "茶"], "csv"), encoding="utf-8")
    with pytest.raises(InputError, match=f"is UTF-8, not {told.upper()} text: 'p0,Käse'") as error:
        read(path, encoding=told)
    assert error.value.hint == "leave encoding out of the mapping"


def test_utf_16_is_told_by_its_mark_and_refused_without(tmp_path: Path) -> None:
    for format in ("csv", "jsonl"):
        path = tmp_path / f"a.{format}"
        for encoding in ("utf-16", "utf-32"):
            path.write_bytes(table(["Käse", "茶"], format).encode(encoding))
            assert read(path) == ["Käse", "茶"]
        for encoding in ("utf-16-le", "utf-16-be"):
            path.write_bytes(table(["Käse", "plain text"], format).encode(encoding))
            with pytest.raises(InputError, match=f"without the mark.*\n  say encoding: {encoding}"):
                read(path)
            assert read(path, encoding=encoding) == ["Käse", "plain text"]


def test_half_a_character_of_utf_16_is_no_text_and_no_other_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("sku,title\n".encode("utf-16-le") + b"p")
    with pytest.raises(InputError, match="is not UTF-16-LE text, first at byte 2"):
        read(path, encoding="utf-16-le")


def mapping(**more: object) -> Mapping:
    node = {"label": "Product", "key": "sku", "properties": {"title": "title"}}
    source = {"files": "a.*", "nodes": [node], **more}
    return parse_mapping({"version": 1, "name": "m", "sources": {"s": source}})


@pytest.mark.parametrize(
    ("encoding", "told", "hint"),
    [
        ("gb18030", "cp1252", "say encoding: gb18030 in the mapping, which reads '苏泊尔"),
        ("utf-8", None, "'Käsemesser groß' in utf-8"),
    ],
)
def test_text_that_looks_garbled_is_refused_and_not_stored(
    encoding: str, told: str | None, hint: str, tmp_path: Path
) -> None:
    texts = TEXTS["gb18030" if encoding == "gb18030" else "cp1252"]
    data = table(["plain", *texts], "csv").encode(encoding)
    path = tmp_path / "a.csv"
    # Of UTF-8 somebody else had read it wrongly, and written it again.
    path.write_bytes(data if told else data.decode("cp1252").encode())
    options = {"encoding": told} if told else {}
    with open_store("memory:") as store:
        store.apply_schema(SCHEMA)

        def job(told: Mapping) -> JobReport:
            return run_job(store, told, tmp_path, archive=tmp_path / "x", schema=SCHEMA)

        for look in (job, lambda told: preview(told, SCHEMA, tmp_path)):
            with pytest.raises(InputError, match="5 of 5 values beyond ASCII look garbled") as error:
                look(mapping(**options))
            assert error.value.where == f"{path}, line 3, column title"
            assert hint in error.value.hint
        assert rows(store, "Product") == []
        assert job(mapping(check_text=False, **options)).accepted == 6


def check(texts: list[str | None]) -> list[tuple[int, str, str, int]]:
    found = TextCheck(Source("s", None))
    for start in range(0, len(texts), 7):
        part = pa.table({"n": pa.array(range(len(texts[start : start + 7]))), "t": texts[start : start + 7]})
        found.see(part, np.arange(start + 2, start + 2 + part.num_rows))
    return [(n.line, n.column, n.value, n.rows) for n in found.notices()]


def test_one_odd_title_is_told_and_stops_nothing() -> None:
    assert check(["a", None, "Käse"] * 10) == []
    assert check(["a"] * 20 + ["CafÃ©"] + ["a"] * 20) == [(22, "t", "CafÃ©", 1)]
    assert check(["Käse", "CafÃ©", "Wei\ufffd"] * 2 + ["Tür"] * 9) == [(3, "t", "CafÃ©", 4)]
    assert GARBLED in [n.reason for n in _notices("CafÃ©")]
    for texts in (["CafÃ©", "a"], ["a"] * 99 + ["CafÃ©", "ThÃ©", "KÃ¤se"], ["Wei\ufffd"] * 4 + ["Käse"] * 4):
        with pytest.raises(InputError, match="look garbled"):
            check(texts)


def test_odd_signs_that_no_wrong_reading_explains_are_told_and_stored() -> None:
    odd = ["Â´)¿<\x98", "\x94Þ&Û\x85·", "Ã¯\x9d!Ø", "\x8fq¤Â§?"]
    assert [notice[3] for notice in check(["Mill"] * 30 + odd)] == [4]


def _notices(text: str) -> list[object]:
    found = TextCheck(Source("s", None))
    found.see(pa.table({"t": ["a"] * 30 + [text]}), np.arange(31))
    return list(found.notices())


@pytest.mark.parametrize(
    "written", ["{},{} €", "{},{}€", "€ {},{}", "€{},{}", "{},{}\u00a0€", "{} – „{}“ € 5"]
)
@pytest.mark.parametrize("endings", [("99",), ("00",), ("90", "00"), ("99", "90", "00"), ("99", "50")])
def test_a_euro_sign_among_plain_text_is_that_of_western_europe(
    written: str, endings: tuple[str, ...]
) -> None:
    """Alone it is a letter of Cyrillic too, and no word tells which."""
    for count in (1, 40, 600):
        sums = [written.format(n % 37, endings[n % len(endings)]) for n in range(count)]
        lines = [f"{n};{n % 9};1;{text}" for n, text in enumerate(sums)]
        assert detected("\n".join(lines).encode("cp1252")) == "cp1252"


def test_a_euro_sign_of_a_heading_is_one() -> None:
    assert detected("sku;Preis in €;Rabatt (€)".encode("cp1252")) == "cp1252"


@pytest.mark.parametrize("encoding", ["cp1250", "cp1253", "cp1256", "gb18030", "big5", "cp932", "cp949"])
def test_a_euro_sign_beside_words_leaves_their_encoding(encoding: str) -> None:
    """What is read with signs of money is what is read without them."""
    plain = "\n".join(f"p{i};{text};5" for i, text in enumerate(TEXTS[encoding] * 4)).encode(encoding)
    told = detected(plain)
    assert told is not None
    assert detected(plain + "\np9;x;5 €".encode("cp1252")) in (told, None)


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("cp1251", "Ђорђе"), ("cp437", "Çelik"), ("cp437", "12 Çelik"), ("mac_roman", "Äpfel")],
)
def test_a_letter_in_the_place_of_the_euro_sign_is_none(encoding: str, word: str) -> None:
    lines = [f"{n};{word}" for n in range(40)]
    assert detected("\n".join(lines).encode(encoding)) != "cp1252"


# Headings and values of orders, of which there are few; and titles.
EASTERN = {
    "cp932": ["注文番号", "会員番号", "数量", "状態", "配達済み", "発送済み", "キャンセル", "讃岐うどん", "洗濯洗剤"],
    "euc_jp": ["注文番号", "会員番号", "数量", "状態", "配達済み", "発送済み", "キャンセル", "讃岐うどん", "洗濯洗剤"],
    "gb18030": ["订单号", "会员编号", "数量", "状态", "已完成", "待付款", "苏泊尔不锈钢炒锅", "碧螺春", "澳洲羊毛毡"],
    "big5": ["訂單編號", "會員編號", "數量", "狀態", "已完成", "智慧型手環", "兒童腳踏車", "襯衫", "電鍋"],
    "cp949": ["주문번호", "회원번호", "수량", "상태", "배송완료", "전기밥솥", "쿠쿠", "닭가슴살", "베개"],
}  # fmt: skip


@pytest.mark.parametrize("times", [1, 300])
@pytest.mark.parametrize("many", [2, 3, 5, 9])
@pytest.mark.parametrize("encoding", EASTERN)
def test_a_few_words_tell_the_encodings_of_the_east_apart(encoding: str, many: int, times: int) -> None:
    texts = EASTERN[encoding][:many]
    lines = [",".join(texts), *(f"B{n},K{n % 7},{text},1" for n, text in enumerate(texts * times))]
    assert detected("\n".join(lines).encode(encoding)) == encoding


LATIN = {
    "cp1250": [
        ["Złoty klucz z Łodzi", "Ostatni cień", "Młyn i mgła"],
        ["Nůž na sýr", "objednávka", "množství", "značka"],
        ["vevő", "megrendelés", "fűszer", "tűzhely"],
        ["Cană ceramică", "Faţă de masă", "roşu"],
    ],
    "cp1254": [["sipariş", "müşteri", "ürün adı", "İçecek"]],
    "cp1257": [["užsakymas", "ąžuolinis", "kūdikių žaislai"], ["Zaļā tēja", "krūze", "šķēres", "pasūtījums"]],
    "cp1252": [
        ["Grüner Tee", "Crème brûlée", "Straße", "pâté"],
        ["¿Qué?", "camión", "Señor"],
        ["þýðing á bókum", "fjörður"],
        ["5 m² Teppich", "NESCAFÉ® Gold", "Men’s – 20 % off…"],
        ["São João", "pão", "maçã"],
    ],
    "cp1253": [["Τιμή", "Πράσινο τσάι", "ποσότητα"]],
    "koi8_r": [["номер заказа", "Цена", "количество"]],
}
LATIN["iso8859_2"] = LATIN["cp1250"][:1] + LATIN["cp1250"][2:]
LATIN["iso8859_9"] = LATIN["cp1254"]


@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("encoding", LATIN)
def test_the_letters_of_a_language_tell_the_encoding(encoding: str, times: int) -> None:
    for texts in LATIN[encoding]:
        lines = [f"p{n};{text};5" for n, text in enumerate(texts * times)]
        data = "\n".join(lines).encode(encoding)
        told = detected(data)
        assert told is not None
        assert data.decode(told, "replace").split("\n") == lines


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("cp932", ["注文番号", "配達済み"]),
        ("shift_jis", ["ｷｬﾝｾﾙ", "配達済み"]),
        ("cp1250", ["Złoty klucz z Łodzi", "Ostatni cień"]),
        ("latin-1", ["Grüner Tee"]),
        ("iso8859_15", ["cœur", "Thé"]),
    ],
)
def test_what_somebody_says_is_taken_where_the_text_reads_well(
    encoding: str, texts: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(table(texts, "csv").encode(encoding))
    assert f"encoding: {encoding}" in propose([path], SCHEMA, encoding)


def test_polish_with_signs_within_its_words_is_garbled(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(table(["Złoty klucz z Łodzi", "Młyn i mgła", "Ostatni cień"], "csv").encode("cp1250"))
    with pytest.raises(InputError, match="2 of 3 values beyond ASCII look garbled") as error:
        preview(mapping(encoding="cp1252"), SCHEMA, tmp_path)
    assert "say encoding: cp1250 in the mapping, which reads 'Złoty klucz z Łodzi'" in error.value.hint
    with pytest.raises(InputError, match="looks garbled when read as cp1252: 'Z³oty klucz"):
        propose([path], SCHEMA, "cp1252")


@pytest.mark.parametrize(
    "text",
    [
        "Calle Mayor nº 5\nPlaza nº 3", "1ª\n2ª\n3º", "Camisa 2ª mano\nVestido nº 5\nNº 3", "20ºC\n5 ºC", "Mª José",
        "1 µF capacitor\n10 µF capacitor", "5 µm filter ±2\n50 °C", "100 µg – vitamin", "µ\n5µ",
        "nº 5;10 €", "1 µF;10 €",
    ],
)  # fmt: skip
def test_ordinals_and_the_micro_sign_are_signs_and_no_letters(text: str, tmp_path: Path) -> None:
    assert detected(text.encode("cp1252")) == "cp1252"
    path = tmp_path / "p.csv"
    path.write_bytes(table([text.replace("\n", " ")] * 30, "csv").encode("cp1252"))
    assert "encoding: cp1252" in propose([path], SCHEMA, "cp1252")


@pytest.mark.parametrize(
    "text",
    [
        "price (£)", "id,price £,name", "Tea – mild £5", "£12.50", "£12.50\n£13\n£4.99", "Tea £5\nMug £3", "¥500\n£5",
        "£5 each – it’s “great”\n£6 – ok\n£7", "Café £5", "£5–£10", "size 5½ £20", "5£\n10 £", "tea£5", "Marks£Spencer", "Tea 5¢",
    ],
)  # fmt: skip
def test_a_sign_of_money_where_one_is_expected_is_no_letter(text: str) -> None:
    assert detected(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    "text", ["cœur\nœuvre\nsœur", "fenêtre\nœuf", "œufs\nbœuf\nfrais", "fenêtre\nœuf dur\ncœur\nforêt\nbœuf", "Œuf\nŒUVRE", "œnologie", "ŒNOLOGIE\nœdème\nfœtus"]
)  # fmt: skip
def test_a_few_words_of_french_are_of_western_europe(text: str, tmp_path: Path) -> None:
    assert detected(text.encode("cp1252")) == "cp1252"
    path = tmp_path / "p.csv"
    path.write_bytes(table(text.split("\n"), "csv").encode("cp1252"))
    assert "encoding: cp1252" in propose([path], SCHEMA, "cp1252")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Złoty Łódka"), ("cp1250", "Łódź"), ("cp1250", "cena (zł)"), ("cp1250", "świeca\nśnieg"), ("cp1250", "liście\nwieści"), ("cp1250", "STÓŁ\nDÓŁ"),
        ("cp1250", "5 zł\n10 zł"), ("cp1250", "Łyżka"), ("iso8859_2", "Książka\nświeca"),
        ("cp1254", "kırmızı gömlek"), ("cp1250", "vevő\nfűszer"),
    ],
)  # fmt: skip
def test_a_few_words_with_letters_of_other_languages_are_not(encoding: str, text: str) -> None:
    data = text.encode(encoding)
    assert data.decode(detected(data) or "ascii", "replace") == text


def seen_in(texts: list[str], encoding: str | None = None) -> list[Notice]:
    found = TextCheck(Source("s", None, None, SourceOptions(encoding=encoding)))
    found.see(pa.table({"t": texts}), np.arange(2, 2 + len(texts)))
    return list(found.notices())


@pytest.mark.parametrize("encoding", [None, "utf-8", "cp1252"])
@pytest.mark.parametrize(
    "texts",
    [
        ["Home¦Garden", "Toys¦Outdoor", "home¦kitchen"], ["Home¬Garden", "toys¬outdoor"], ["Marks£Spencer"], ["Toys¥Us"],
    ],
)  # fmt: skip
def test_signs_between_words_are_neither_refused_nor_told(texts: list[str], encoding: str | None) -> None:
    assert seen_in(texts * 20, encoding) == []


@pytest.mark.parametrize("encoding", [None, "cp1252"])
@pytest.mark.parametrize("text", ["£free delivery", "£ten note"])
def test_a_price_without_a_blank_is_not_garbled(text: str, encoding: str | None) -> None:
    assert seen_in([text] * 20, encoding) == []


def test_signs_within_most_words_of_utf_8_are_told_and_stored() -> None:
    (told,) = seen_in(["Z³oty klucz", "ksi¹¿ka", "m³yn", "cień"] * 5)
    assert (told.line, told.rows, told.reason) == (3, 10, GARBLED)
    assert seen_in(["ksi¹ka", "cień", "młyn"] * 5) == []


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_no_hint_proposes_the_text_that_is_there(encoding: str) -> None:
    texts = ["Z³oty klucz z £odzi", "ksi¹¿ka", "M³yn i mg³a"] * 5
    with pytest.raises(InputError, match="look garbled") as error:
        seen_in(texts, encoding)
    assert "'Złoty klucz z Łodzi'" in error.value.hint
