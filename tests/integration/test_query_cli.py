"""`kgdistill query` as a person uses it, and what it writes."""

from __future__ import annotations

import csv
import json
import shlex
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgdistill.cli import main
from kgdistill.errors import DiskError, QueryError
from kgdistill.explore import save_rows, saved_queries
from kgdistill.store import MemoryStore, open_store
from tests._explored_shop import fill_explored_shop

HISTORY = ["product", "title", "category", "first_at", "last_at", "count", "spend"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"ladybug:{tmp_path_factory.mktemp('shop') / 'graph'}"
    with open_store(url) as store:
        fill_explored_shop(store)
    return url


@pytest.fixture(autouse=True)
def _here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGDISTILL_STORE", url)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(["query", *words]) == 0
    out, err = capsys.readouterr()
    return out, err


def test_what_show_says_to_run_runs(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(said(capsys, "list", "--json")[0])
    assert [query["name"] for query in listed] == [query.name for query in saved_queries()]
    out, err = said(capsys, "list")
    assert "[run], limit=50" in next(line for line in out.splitlines() if line.startswith("brand_shares"))
    assert "query show NAME" in err
    out, _ = said(capsys, "show", "why_not")
    assert "Why is a product not among a user's recommendations?" in out
    assert "MATCH (u:User {user_id: $user})" in out
    assert "// title" not in out
    (example,) = [line for line in out.splitlines() if line.startswith("kgdistill query run")]
    assert example == "kgdistill query run why_not -p user=ann -p 'product=Filter coffee' -p run=demo"
    assert main(shlex.split(example)[1:]) == 0
    assert "Filter coffee" in capsys.readouterr().out
    out, _ = said(capsys, "show", "nearest_products")
    assert out.index("// ladybug") < out.index("// neo4j") < out.index("vector.similarity.cosine")


@pytest.mark.parametrize("words", [["cypher"], []])
def test_cypher_needs_no_word_before_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = "MATCH (b:Brand {name: $name}) RETURN b.brand_id AS brand"
    out, err = said(capsys, *words, text, "-p", "name=Kiln")
    assert (out.split(), err) == (["brand", "kiln"], "1 row\n")
    out, _ = said(capsys, *words, "-p", "name=Kiln", "--json", text)
    assert json.loads(out) == [{"brand": "kiln"}]


def test_every_format_holds_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["run", "history_of_user", "-p", "user=ann"]
    rows = json.loads(said(capsys, *asked, "--json")[0])
    assert [list(rows[0]), rows[0]["last_at"], len(rows)] == [HISTORY, "2024-01-20T00:00:00", 3]
    assert json.loads(said(capsys, *asked, "--format", "json")[0]) == rows
    printed, _ = said(capsys, *asked, "--format", "csv")
    for name, more in (("a.csv", []), ("b.json", []), ("c.parquet", []), ("d.txt", ["--format", "csv"])):
        out, err = said(capsys, *asked, "--out", f"new/{name}", *more)
        assert (out, err) == ("", f"3 rows in new/{name}\n")
    assert Path("new/a.csv").read_text("utf-8") == Path("new/d.txt").read_text("utf-8") == printed
    assert [row["last_at"] for row in csv.DictReader(printed.splitlines())] == [r["last_at"] for r in rows]
    assert json.loads(Path("new/b.json").read_text("utf-8")) == rows
    held = pq.read_table("new/c.parquet").to_pylist()
    assert held[0]["last_at"] == datetime(2024, 1, 20)
    assert [row["product"] for row in held] == [row["product"] for row in rows]
    assert not list(Path("new").glob("*.partial"))


def test_a_file_holds_what_a_table_cannot(tmp_path: Path) -> None:
    with MemoryStore() as store:
        table = store.query(
            "RETURN ['a', '茶'] AS list, true AS yes, NULL AS empty, 'x,\"y\"\nz' AS text, 0.1 AS f"
        )
    found = save_rows(table, tmp_path / "deep" / "x.csv")
    with found.open(encoding="utf-8", newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert row == {"list": '["a", "茶"]', "yes": "true", "empty": "", "text": 'x,"y"\nz', "f": "0.1"}
    assert json.loads(save_rows(table, tmp_path / "x", "json").read_text("utf-8"))[0]["list"] == ["a", "茶"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        save_rows(table, tmp_path / "file" / "x.csv")
    late = pa.table({"x": pa.array([2**62], pa.timestamp("us"))})
    with pytest.raises(QueryError, match="cannot be shown"):
        save_rows(late, found)
    assert "茶" in found.read_text("utf-8")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["x.csv"]


def test_a_wrong_name_ends_the_command_with_what_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "run", "also_bought", "-p", "product=Grean tea"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "there is no Product with the id or name 'Grean tea'" in err
    assert "near it are: 'Green tea' (tea-1)" in err
