"""Ingestion by the command line: jobs, what they left, and stores made of their archive."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from kgdistill.cli import main
from kgdistill.cli.jobs import _kept
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.mapping.load import Condition, JoinMapping, Value, load_mapping, parse_mapping
from kgdistill.ingest.readers import FillDown
from kgdistill.store import load_schema, open_store

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "ingest.md").read_text(encoding="utf-8")
BOUGHT = ("User", "BOUGHT", "Product")
MAPPING = """
version: 1
name: shop
sources:
  products:
    files: products.csv
    nodes: [{label: Product, key: sku, properties: {title: name}}]
  orders:
    files: ["orders*.csv"]
    nodes: [{label: User, key: who}]
    relationships:
      - {type: BOUGHT, from: {User: who}, to: {Product: sku}, properties: {at: at, quantity: n, amount: paid}}
"""
HEAD = "who,sku,at,n,paid\n"

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KGDISTILL_STORE", "KGDISTILL_ARCHIVE", "KGDISTILL_SALT", "KGDISTILL_NEO4J_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    Path("shop.yaml").write_text(MAPPING)
    Path("data").mkdir()
    Path("data/products.csv").write_text("sku,name\np1,Tea\np2,Mug\n")
    lines = "".join(f"u{n},p{1 + n % 2},2024-01-{1 + n % 28:02}T10:00:00,1,2.50\n" for n in range(200))
    Path("data/orders-1.csv").write_text(HEAD + lines + "u1,p9,2024-01-05,1,1\n")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*args: str, code: int = 0) -> Any:
        assert main([*args, "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*args: str) -> str:
        assert main(list(args)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return said.err

    return run


RUN = ("ingest", "run", "shop.yaml", "data")


def _pairs(store: str = "kgdistill.db") -> dict[tuple[str, str], tuple[int, float]]:
    with open_store(f"ladybug:{store}") as opened:
        rows = opened.read_relationships(BOUGHT).to_pylist()
    return {(row["source"], row["target"]): (row["count"], row["spend"]) for row in rows}


def test_a_job_reports_and_the_same_job_again_does_nothing(ask: Ask) -> None:
    report = ask(*RUN)
    counts = {name: report[name] for name in ("state", "job", "rows", "accepted", "skipped", "rejected")}
    assert counts == {"state": "done", "job": 1, "rows": 203, "accepted": 202, "skipped": 0, "rejected": 1}
    assert report["read"] == ["products:products.csv", "orders:orders-1.csv"]
    assert report["written"] == {"User": 200, "Product": 2, "User-BOUGHT-Product": 200}
    (reason,) = report["reasons"]
    assert reason == {"reason": "there is no such Product", "column": "BOUGHT.target", "rows": 1}
    rejects = Path("rejects.csv").read_text().splitlines()
    assert rejects[1] == '"orders:orders-1.csv",202,,"BOUGHT.target","p9","there is no such Product"'
    again = ask(*RUN)
    assert (again["state"], again["job"], again["unchanged"], again["written"]) == ("unchanged", None, 2, {})
    assert Path("rejects.csv").exists()
    status = ask("ingest", "status")
    assert (status["jobs"], status["pending"], status["unfinished"]) == (1, [], [])
    assert status["latest_events"] == {"User-BOUGHT-Product": "2024-01-28T10:00:00"}
    (job,) = ask("ingest", "history")
    assert (job["mapping"], job["state"], job["accepted"]) == ("shop", "accepted", 202)
    assert [j["sources"] for j in ask("ingest", "history", "--sources")] == report["read"]


def test_too_many_rejects_change_nothing_but_the_history(ask: Ask, fail: Callable[..., str]) -> None:
    ask(*RUN)
    before = _pairs()
    Path("data/orders-2.csv").write_text(HEAD + "u1,p1,2024-02-01,1,1\nu1,p1,yesterday,1,1\n")
    said = fail(*RUN, "--rejects", "bad/rows.parquet")
    assert "1 of 2 rows do not fit, more than the allowed 1.00%" in said
    assert "line 3, column at: 'yesterday'" in said
    assert "see bad/rows.parquet" in said
    assert _pairs() == before
    assert pa.parquet.read_table("bad/rows.parquet")["line"].to_pylist() == [3]
    assert [job["state"] for job in ask("ingest", "history")] == ["accepted", "refused"]
    assert ask(*RUN, "--max-reject-share", "0.5")["accepted"] == 1
    assert _pairs()["u1", "p1"] == (1, 1.0)


def test_files_may_be_renamed_in_the_mapping_and_grow_but_count_once(ask: Ask) -> None:
    ask(*RUN)
    Path("shop.yaml").write_text(MAPPING.replace('["orders*.csv"]', "[orders-1.csv, orders-2.csv]"))
    Path("data/orders-2.csv").write_text(HEAD + "u1,p2,2024-02-01,1,1\n")
    assert ask(*RUN)["read"] == ["orders:orders-2.csv"]
    with Path("data/orders-1.csv").open("a") as file:
        file.write("u1,p2,2023-12-01,2,5\n")
    grown = ask(*RUN)
    assert grown["read"] == ["orders:orders-1.csv"]
    assert _pairs()["u1", "p2"] == (3, 8.5)
    Path("data/orders-2.csv").unlink()
    Path("shop.yaml").write_text(MAPPING)
    assert ask(*RUN)["state"] == "unchanged"
    assert _pairs()["u1", "p2"] == (3, 8.5)


def test_standard_input_is_one_source_that_its_next_content_replaces(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.yaml").write_text(MAPPING.replace('["orders*.csv"]', '"-"\n    format: csv'))
    for lines, expected in (("u1,p1,2024-01-01,1,2\n", (1, 2.0)), ("u1,p1,2024-01-02,1,3\n", (1, 3.0))):
        stdin = io.TextIOWrapper(io.BytesIO((HEAD + lines).encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "orders:-" in ask(*RUN)["read"]
        assert _pairs() == {("u1", "p1"): expected}


def test_a_dry_run_shows_and_writes_nothing(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/orders-1.csv").write_text(HEAD + "u1,p1,2024-01-01,1,2\nu2,p2,2024-01-01,none,2\n")
    seen = ask(*RUN, "--dry-run")
    assert (seen["rows"], seen["rejected"], seen["too_many_rejected"], seen["whole"]) == (4, 1, True, True)
    assert seen["types"] == {"Product": 2, "User": 1, "User-BOUGHT-Product": 1}
    assert seen["examples"]["Product"][0] == {"product_id": "p1", "title": "Tea"} | {
        name: None for name in seen["examples"]["Product"][0] if name not in ("product_id", "title")
    }
    assert main([*RUN, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "\nUser-BOUGHT-Product, the first 1:\nsource" in said.out
    assert "more than 1.00% that do not fit, the job would be refused" in said.err
    assert seen["eventless"] == {}
    assert "without an event" not in said.err
    left = {"shop.yaml", "data"}
    assert {p.name for p in Path().iterdir()} == left


def test_rows_without_an_event_are_told_by_source(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    when = "to: {Product: sku}, when: [{column: at, present: true}], properties"
    Path("shop.yaml").write_text(MAPPING.replace("to: {Product: sku}, properties", when))
    Path("data/orders-1.csv").write_text(HEAD + "u1,p1,2024-01-01,1,2\nu2,p2,,1,2\nu2,p1,,1,2\n")
    seen = ask(*RUN, "--dry-run")
    assert (seen["eventless"], seen["idle"]) == ({"orders": 2}, [])
    assert main([*RUN, "--dry-run"]) == 0
    told = "orders: 2 rows without an event: a condition does not hold, or what an event needs is empty"
    assert told in capsys.readouterr().err
    assert main(list(RUN)) == 0
    assert told in capsys.readouterr().err


def test_what_makes_nothing_of_any_row_is_told(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    to = "to: {Product: {column: sku, required: false}}, when: [{column: n, in: ['1']}], properties"
    Path("shop.yaml").write_text(MAPPING.replace("to: {Product: sku}, properties", to))
    Path("data/orders-1.csv").write_text(HEAD + "u1,,2024-01-01,1,2\nu2,,2024-01-01,1,2\n")
    idle = {"source": "orders", "type": "User-BOUGHT-Product", "rows": 2, "empty": {"who": 0, "sku": 2}}
    for asked in ([*RUN, "--dry-run"], RUN):
        assert ask(*asked)["idle"] == [idle]
    assert main([*RUN, "--dry-run"]) == 0
    told = "orders: User-BOUGHT-Product makes nothing: of 2 rows sku is empty in all"
    assert told in capsys.readouterr().err


def test_init_proposes_what_runs(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", "init", "data/orders-1.csv"]) == 0
    printed = capsys.readouterr().out
    parse_mapping(printed)
    proposed = ask("ingest", "init", "data", "--out", "mine.yaml")
    assert proposed["mapping"] == Path("mine.yaml").read_text()
    assert [Path(file).name for file in proposed["files"]] == ["orders-1.csv", "products.csv"]
    load_mapping("mine.yaml").compile(load_schema())
    assert main(["ingest", "init", "data", "--out", "again.yaml"]) == 0
    said = capsys.readouterr().err
    assert "then: kgdistill ingest run again.yaml data --dry-run" in said
    assert "KGDISTILL_SALT" not in said


def test_init_says_that_what_it_hashes_needs_a_salt(
    ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"u{i}@ex.org,p{i},2024-01-01\n" for i in range(5))
    Path("mails.csv").write_text(f"email,sku,date\n{lines}")
    monkeypatch.delenv("KGDISTILL_SALT", raising=False)
    assert main(["ingest", "init", "mails.csv", "--out", "one.yaml"]) == 0
    told = "set KGDISTILL_SALT, as ids are hashed, then: kgdistill ingest run one.yaml"
    assert told in capsys.readouterr().err
    monkeypatch.setenv("KGDISTILL_SALT", "s")
    assert main(["ingest", "init", "mails.csv", "--out", "two.yaml"]) == 0
    assert "KGDISTILL_SALT" not in capsys.readouterr().err


def test_what_init_proposes_for_odd_files_a_job_reads(ask: Ask, fail: Callable[..., str]) -> None:
    Path("odd").mkdir()
    titles = ["苏泊尔电饭煲", "小米手机壳", "洗衣液 2kg"]
    lines = "".join(f"s{n},{title},2.5\n" for n, title in enumerate(titles))
    Path("odd/products.csv").write_bytes(f"商品清单,,\n\nsku,title,price\n{lines}".encode("gb18030"))
    lines = "".join(f"u{n};s{n % 3};view_item;2024-01-{n + 1:02} 09:05:00 -0500;\n" for n in range(20))
    Path("odd/log.csv").write_text(
        f"sep=;\nuser_id;sku;event_name;at\n{lines}u1;s1;purchase;2024-01-31 20:05:00 -0500;\n",
        encoding="utf-16",
    )
    said = fail("ingest", "init", "odd/products.csv", "--encoding", "cp1252")
    assert "looks garbled when read as cp1252" in said
    assert "gb18030 reads it: '商品清单'" in said
    assert "did you mean 'gb18030'" in fail("ingest", "init", "odd", "--encoding", "gb18300")
    doubts = ask("ingest", "init", "odd", "--out", "odd.yaml")["doubts"]
    assert any(
        doubt.startswith("encoding gb18030: it would read '商品清单', '苏泊尔电饭煲'") for doubt in doubts
    )
    assert "21 of 21 rows have 5 values, not 4 as the header; what is more is always empty" in doubts
    report = ask("ingest", "run", "odd.yaml", "odd")
    assert (report["accepted"], report["rejected"]) == (24, 0)
    with open_store("ladybug:kgdistill.db") as store:
        held = {p["product_id"]: p["title"] for p in store.read_nodes("Product").to_pylist()}
        (bought,) = store.read_relationships(BOUGHT).to_pylist()
        assert store.read_relationships(("User", "VIEWED", "Product")).num_rows == 20
    assert held == {f"s{n}": title for n, title in enumerate(titles)}
    assert bought["first_at"].isoformat() == "2024-02-01T01:05:00"


def test_init_names_the_files_that_make_nothing_yet(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    Path("some").mkdir()
    Path("some/orders.csv").write_text("order_id,customer_id,sku,time\n1,C1,P1,2024-03-05\n")
    Path("some/lines.csv").write_text("order_id,product_id,quantity\n1,P1,2\n")
    Path("some/odd.csv").write_text("x,y\na,b\n")
    Path("some/weather.csv").write_text("p,q\na,b\n")
    assert main(["ingest", "init", "some", "--out", "some.yaml"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "makes nothing yet, see the comments in its place: odd.csv, weather.csv" in said
    assert ask("ingest", "init", "some")["idle"] == ["odd.csv", "weather.csv"]
    assert main(["ingest", "init", "data/orders-1.csv"]) == 0
    assert "makes nothing" not in capsys.readouterr().err


def test_init_names_what_it_leaves_out_of_a_folder_and_orders_that_are_keys_alone(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("some/old").mkdir(parents=True)
    Path("some/rendelés.csv").write_text(
        "cikk;sku;kelte;db\n" + "".join(f"{i};P{i % 2};2024-03-0{i};1\n" for i in range(1, 9))
    )
    Path("some/customers.csv").write_text("customer_id,since\nC1,2024-03-05\nC2,2024-03-05\n")
    Path("some/old/catalogue.xlsx").write_bytes(b"PK\x03\x04")
    assert main(["ingest", "init", "some", "--out", "-"]) == 0
    said = capsys.readouterr()
    assert set(parse_mapping(said.out).sources) == {"rendelés", "customers"}
    assert not Path("-").exists()
    assert "makes keys alone, though its rows have a time, see its comments: rendelés.csv\n" in said.err
    assert "some/old/catalogue.xlsx; save sheets as CSV (UTF-8), and unpack archives" in said.err
    told = ask("ingest", "init", "some")
    assert (told["keys"], told["left_out"]) == (["rendelés.csv"], ["some/old/catalogue.xlsx"])
    assert main(["ingest", "init", "some/old"]) == 2
    assert "unpack archives: catalogue.xlsx" in capsys.readouterr().err


def test_where_nothing_fits_init_writes_a_skeleton_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.csv").write_text("colour,weight\nred,2\n")
    assert main(["ingest", "init", "x.csv"]) == 2
    said = capsys.readouterr()
    assert "nothing looks like the id" in said.err
    assert "Traceback" not in said.err
    assert set(parse_mapping(said.out).sources) == {"x"}
    assert main(["ingest", "init", "x.csv", "--out", "x.yaml"]) == 2
    assert Path("x.yaml").read_text() == said.out
    assert "x.yaml" in capsys.readouterr().err
    assert main(["ingest", "init", "x.csv", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["mapping"] == said.out
    assert main(["ingest", "run", "x.yaml", "."]) == 2
    assert "makes nothing" in capsys.readouterr().err


def test_what_an_archive_holds_can_be_made_again_and_compared(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(*RUN)
    held = _pairs()
    shutil.rmtree("kgdistill.db")
    resumed = ask("ingest", "resume")
    assert resumed["jobs_applied"] == [1]
    assert _pairs() == held
    assert ask("store", "verify")["differences"] == []
    with open_store("ladybug:kgdistill.db") as store:
        store.delete_nodes("User", pa.array(["u7"]))
        table = pa.table({"product_id": ["p1"], "title": ["Another"]})
        store.write_nodes("Product", table)
    different = {d["type"]: d for d in ask("store", "verify", code=2)["differences"]}
    assert different["User"]["only_right"] == 1
    assert different["Product"]["changed"] == 1
    assert main(["store", "verify"]) == 2
    said = capsys.readouterr()
    assert "DIFFERS" in said.out
    assert "Product: 0 only in ladybug:kgdistill.db" in said.err
    ask("store", "rebuild")
    assert ask("store", "verify")["differences"] == []
    assert _pairs() == held
    copied = ask("store", "copy", "ladybug:kgdistill.db", "ladybug:copy.db")
    assert copied["written"]["User-BOUGHT-Product"] == 200
    against = ask("store", "verify", "--store", "ladybug:copy.db", "--against", "ladybug:kgdistill.db")
    assert against["differences"] == []
    # A store whose file is no longer one is put aside.
    next(Path("kgdistill.db").glob("*.lbug")).write_bytes(b"not a graph" * 1000)
    assert main(["store", "rebuild"]) == 0
    assert "put aside as kgdistill.db.damaged-" in capsys.readouterr().err
    assert _pairs() == held


def test_hashed_ids_need_a_salt_and_stay_out_of_the_rejects(
    ask: Ask, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = MAPPING.replace("key: who", "key: {column: who, hash: true}").replace(
        "User: who", "User: {column: who, hash: true}"
    )
    Path("shop.yaml").write_text(hashed)
    assert "needs a salt" in fail(*RUN)
    Path("salt").write_text("pepper\n")
    ask(*RUN, "--salt-file", "salt")
    users = {user for user, _ in _pairs()}
    assert len(users) == 200
    assert all(re.fullmatch("[0-9a-f]{32}", user) for user in users)
    assert "u1" not in Path("rejects.csv").read_text().replace("orders:orders-1.csv", "")
    monkeypatch.setenv("KGDISTILL_SALT", "pepper")
    assert ask(*RUN)["state"] == "unchanged"


def test_a_data_set_is_read_by_the_mapping_that_comes_with_it(ask: Ask, fail: Callable[..., str]) -> None:
    names = [entry["name"] for entry in ask("ingest", "dataset", "--list")]
    assert "online-retail" in names
    assert "there are: " in fail("ingest", "dataset", "online-retial", "data")
    assert "needs the folder" in fail("ingest", "dataset", "online-retail")
    done = ask("ingest", "dataset", "online-retail", str(ROOT / "data" / "sample_orders" / "first"))
    assert (done["rows"], done["rejected"], done["written"]["User"]) == (550, 4, 40)


def test_a_second_job_is_refused_while_one_is_at_work(fail: Callable[..., str]) -> None:
    with Archive("kgdistill.db.archive").lock():
        said = fail(*RUN)
    assert "is using this archive" in said
    assert "--wait SECONDS" in said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["ingest", "run", "none.yaml", "data"], "none.yaml: there is no such mapping"),
        (["ingest", "run", "data"], "data: is a folder, not a mapping"),
        (["ingest", "run", "data/products.csv", "data"], "holds data, not a mapping"),
        (["ingest", "run", "shop.yaml", "nowhere"], "nowhere: is not a folder"),
        (["ingest", "run", "shop.yaml"], "products: products.csv: matches no file"),
        ([*RUN, "--rejects", "rejects.txt"], "rejects cannot be written as '.txt'"),
        ([*RUN, "--since", "yesterday"], "'yesterday' is not a date"),
        ([*RUN, "--salt-file", "none"], "none: the salt cannot be read"),
        ([*RUN, "--archive", "data"], "not an archive"),
        ([*RUN, "--max-reject-share", "3"], "--max-reject-share"),
        (["ingest", "init", "none.csv"], "none.csv: there is no such file"),
        (["ingest", "init", "data", "--out", "shop.yaml"], "shop.yaml: exists already"),
        (["ingest", "init", "data", "--out", "none/shop.yaml"], "none/shop.yaml: cannot be written"),
        (["ingest", "resume"], "there is no archive here"),
        (["ingest", "status"], "there is no archive here"),
        (["ingest", "history"], "there is no archive here"),
        (["store", "verify"], "there is no archive here"),
        (["store", "rebuild"], "there is no archive here"),
        (["store", "copy", "ladybug:none.db", "ladybug:b.db"], "there is no store here"),
        (["ingest", "folder", "data"], "data/orders-1.csv: is named after no type"),
    ],
)
def test_what_cannot_be_done_is_one_message(args: list[str], words: str, fail: Callable[..., str]) -> None:
    assert words in fail(*args)
    assert not Path("rejects.csv").exists()


def test_a_fault_of_the_mapping_is_named_by_its_path(fail: Callable[..., str]) -> None:
    Path("shop.yaml").write_text(MAPPING.replace("key: who", "kee: who"))
    said = fail(*RUN)
    assert "shop.yaml: sources.orders.nodes[0].kee: is not a key here" in said
    assert "key" in said.splitlines()[1]
    Path("shop.yaml").write_text(MAPPING.replace("type: BOUGHT", "type: BOUHGT"))
    assert "sources.orders.relationships[0].type: unknown relationship type 'BOUHGT'" in fail(*RUN)


def test_every_example_of_the_guide_is_good_grammar() -> None:
    example, records, tables, heads = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.S)
    (lines,) = parse_mapping(f"version: 1\nname: shop\n{tables}").compile(load_schema()).values()
    assert [join.name for join in lines.joins] == ["orders", "customers"]
    (filled,) = parse_mapping(f"version: 1\nname: shop\n{heads}").compile(load_schema()).values()
    assert filled.options.fill_down == FillDown(("Name",), ("Created at", "Financial Status"))
    (events,) = parse_mapping(f"version: 1\nname: shop\n{records}").compile(load_schema()).values()
    assert events.of_records == {"items.item_id", "items.item_name", "items.price", "items.quantity"}
    section = GUIDE.split("### Data in several tables")[1].split("### A folder")[0]
    assert {f"`{name}`" for name in JoinMapping.model_fields} <= set(re.findall(r"`\w+`", section))
    mapping = parse_mapping(example)
    assert set(mapping.compile(load_schema())) == {"products", "orders", "clicks", "closed-accounts"}
    grammar, conditions = GUIDE.split("### Values")[1].split("### Conditions")
    for text, kind, least in ((grammar, Value, 20), (conditions.split("## ")[0], Condition, 5)):
        snippets = re.findall(r"\| `(\{.*\})` \|$", text, flags=re.M)
        assert len(snippets) >= least
        for snippet in snippets:
            kind.model_validate(yaml.safe_load(snippet.replace("\\|", "|")))
    told = set(re.findall(r"[{ ](\w+):", grammar)) | {"separator"}
    assert {field.alias or name for name, field in Value.model_fields.items()} <= told


def test_a_job_says_which_of_several_rows_counts(capsys: pytest.CaptureFixture[str]) -> None:
    Path("twice").mkdir()
    for name, text in {
        "User": "user_id\nann\n",
        "Product": "product_id,title\np1,Tea\np1,Green tea\n",
        "RATED": "source,target,at,rating\nann,p1,2024-01-04,5\nann,p1,2024-01-02,1\n",
    }.items():
        Path(f"twice/{name}.csv").write_text(text)
    assert main(["ingest", "folder", "twice"]) == 0
    said = capsys.readouterr().err
    assert "; of Product, which rows describe differently, the last counts" in said
    assert "; of User-RATED-Product, which rows describe differently, the first by time counts\n" in said
    with open_store("ladybug:kgdistill.db") as store:
        found = store.query("MATCH (:User)-[r:RATED]->(p:Product) RETURN r.rating AS r, p.title AS t")
        assert found.to_pylist() == [{"r": 1.0, "t": "Green tea"}]


def test_which_row_counts_is_told_by_kind() -> None:
    schema = load_schema()
    types = schema.relationships
    seen = types["RATED"].model_copy(
        update={
            "properties": {
                **types["RATED"].properties,
                "rating": types["RATED"].properties["rating"].model_copy(update={"cumulative": True}),
            }
        }
    )
    told = _kept(["Product", "User-RATED-Product", "User-BOUGHT-Product"], schema)
    assert told == [
        ("the last counts", "Product"),
        ("the first by time counts", "User-RATED-Product"),
        ("the last version of each event counts", "User-BOUGHT-Product"),
    ]
    other = schema.model_copy(update={"relationships": {**types, "RATED": seen}})
    assert _kept(["User-RATED-Product"], other)[0][0] == "the first by time counts, but the last rating"
