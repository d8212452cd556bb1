"""From files in the encodings of their countries, by the proposed mapping, to the store."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from _jobs import SCHEMA, ingest, rows

from kgdistill.cli import main
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import propose
from kgdistill.store import open_store

CHINESE = ["苏泊尔不锈钢炒锅", "美的电饭煲家用智能", "小米手环运动防水", "纯棉四件套床上用品"]
TAIWAN = ["不鏽鋼炒鍋家用", "智慧型手環運動防水", "純棉床包四件組", "無線藍牙耳機"]
JAPANESE = ["ステンレス製フライパン", "電気炊飯器マイコン", "緑茶ティーバッグ", "ワイヤレスイヤホン"]
WESTERN = ["Käsemesser groß", "Crème brûlée-Schälchen", "Señor Muñoz café", "Thé à la menthe"]
QUOTED = ["“Käse”-Messer – groß", "Crème brûlée… 5 €", "Señor Muñoz’ café", "Thé à la menthe"]
# The encoding, what stands before the text, the texts, and what is said of it (nothing of UTF-8).
FILES = {
    "utf-8": ("utf-8", b"", CHINESE, ""),
    "utf-8 with a mark": ("utf-8", codecs.BOM_UTF8, CHINESE, ""),
    "utf-16 little": ("utf-16-le", codecs.BOM_UTF16_LE, CHINESE, "utf-16"),
    "utf-16 big": ("utf-16-be", codecs.BOM_UTF16_BE, CHINESE, "utf-16"),
    "gb18030": ("gb18030", b"", [*CHINESE, "㐀锅"], "gb18030"),
    "gbk": ("gbk", b"", CHINESE, "gb18030"),
    "big5": ("big5", b"", TAIWAN, "big5"),
    "shift-jis": ("shift_jis", b"", JAPANESE, "cp932"),
    "latin-1": ("latin-1", b"", WESTERN, "cp1252"),
    "cp1252": ("cp1252", b"", QUOTED, "cp1252"),
}


def write(folder: Path, kind: str, before: int = 0) -> list[str]:
    """A catalogue after so many plain rows; its titles."""
    encoding, mark, texts, _ = FILES[kind]
    titles = [*(f"plain {i}" for i in range(before)), *texts]
    text = "product_id,title\n" + "".join(f'p{i:07},"{title}"\n' for i, title in enumerate(titles))
    folder.mkdir(exist_ok=True)
    (folder / "a.csv").write_bytes(mark + text.encode(encoding))
    return titles


@pytest.mark.parametrize("kind", FILES)
def test_text_reaches_the_store_as_it_was_and_its_encoding_is_said(kind: str, tmp_path: Path) -> None:
    titles = write(tmp_path / "files", kind)
    mapping = parse_mapping(propose([tmp_path / "files" / "a.csv"], SCHEMA))
    with open_store("memory:") as store:
        report = ingest(store, tmp_path / "files", tmp_path / "x", mapping=mapping)
        assert (report.accepted, report.rejected) == (len(titles), 0)
        assert [row["title"] for row in rows(store, "Product")] == titles
    assert report.encodings == ({"a:a.csv": FILES[kind][3]} if FILES[kind][3] else {})


def test_a_mark_is_said_though_the_mapping_says_nothing_and_utf_8_never(tmp_path: Path) -> None:
    node = {"label": "Product", "key": "product_id", "properties": {"title": "title"}}
    for kind, told, said in (("utf-16 big", {}, {"a:a.csv": "utf-16"}), ("utf-8", {"encoding": "UTF8"}, {})):
        titles = write(tmp_path / kind, kind)
        source = {"files": "a.csv", "nodes": [node], **told}
        mapping = parse_mapping({"version": 1, "name": "m", "sources": {"a": source}})
        with open_store("memory:") as store:
            report = ingest(store, tmp_path / kind, tmp_path / f"{kind}.x", mapping=mapping)
            assert [row["title"] for row in rows(store, "Product")] == titles
        assert report.encodings == said


@pytest.mark.parametrize("kind", ["gb18030", "big5", "shift-jis", "cp1252"])
def test_the_whole_file_tells_its_encoding_and_not_its_first_kilobytes(kind: str, tmp_path: Path) -> None:
    titles = write(tmp_path / "files", kind, before=100_000)
    text = propose([tmp_path / "files" / "a.csv"], SCHEMA)
    assert f"    encoding: {FILES[kind][3]}\n" in text
    found = (tmp_path / "files" / "a.csv").read_bytes()
    assert found[:1_000_000].isascii()
    with open_store("memory:") as store:
        ingest(store, tmp_path / "files", tmp_path / "x", mapping=parse_mapping(text))
        assert [row["title"] for row in rows(store, "Product")] == titles


def test_the_commands_say_what_is_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KGDISTILL_ARCHIVE", raising=False)
    write(tmp_path / "商品", "gb18030")
    (tmp_path / "商品" / "a.csv").rename(tmp_path / "商品" / "目录.csv")
    (tmp_path / "商品" / "utf-8.csv").write_text("product_id,title,price\np9,Käse,3\n", encoding="utf-8")
    store = ["--store", "ladybug:shop.db"]
    assert main(["ingest", "init", "商品", "-o", "shop.yaml"]) == 0
    assert "read as gb18030: 目录\n" in capsys.readouterr().err
    assert main(["ingest", "init", "商品", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encodings"] == {"目录": "gb18030"}
    assert main(["ingest", "run", "shop.yaml", "商品", "--dry-run", *store]) == 0
    assert "read as gb18030: 目录:目录.csv\n" in capsys.readouterr().err
    assert main(["ingest", "run", "shop.yaml", "商品", *store]) == 0
    assert "read as gb18030: 目录:目录.csv\n" in capsys.readouterr().err
    assert main(["ingest", "init", "商品/目录.csv", "--encoding", "big5"]) == 2
    assert "gb18030 reads it: '苏泊尔不锈钢炒锅'" in capsys.readouterr().err
