"""A task with repeats as a run: every event of a pair counts, and what was had before may be right again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from _refused import refused
from _shop import fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.cli import main
from kgdistill.errors import InputError, LeakError
from kgdistill.graph import Graph
from kgdistill.page.source import GraphSource
from kgdistill.page.views import _bundle_card
from kgdistill.ranking.habits import Timed
from kgdistill.resources import graph_dir
from kgdistill.run.report import write_report
from kgdistill.run.run import Run
from kgdistill.serve.bundle import load_bundle
from kgdistill.serve.joined import load
from kgdistill.serve.why import why
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.tasks.spec import load_task, parse_task

VIEWED = ("User", "VIEWED", "Product")
START, TURN, TURNS = datetime(2024, 1, 1), 14, 26
TASK: dict[str, Any] = {
    "kind": "match",
    "name": "again",
    "anchors": {"label": "User", "by": "history"},
    "candidates": {"label": "Product", "by": ["history", "text"]},
    "positives": {"event": "VIEWED"},
    "repeats": True,
    "output": "RECOMMENDED",
    "protocol": {
        "split": "time",
        "settings": ["warm"],
        "min_item_users": 1,
        "k": 5,
        "cut": START + timedelta(days=TURN * (TURNS - 2)),
        "test_start": START + timedelta(days=TURN * (TURNS - 1)),
    },
}
SMALL = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1}


def fill_views(store: GraphStore, folder: Path) -> None:
    """Everybody looks at two things of their own in turn, and at one other a turn."""
    whole = yaml.safe_load((graph_dir() / "schema.yaml").read_text(encoding="utf-8"))
    moment = {"type": "timestamp", "required": True}
    whole["relationships"]["VIEWED"] = {
        "kind": "event", "endpoints": [["User", "Product"]], "time": "at", "identity": ["at"],
        "properties": {"at": moment},
    }  # fmt: skip
    (folder / "schema.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    own = load_schema(folder / "schema.yaml")
    store.apply_schema(own)
    fill_shop(store, own)
    draw = np.random.default_rng(0)
    rows = [
        {"source": f"u{u:02}", "target": f"p{p:02}", "at": START + timedelta(days=TURN * n + d)}
        for u in range(40)
        for n in range(TURNS)
        for d, p in enumerate([u if n % 2 else (u + 7) % 80, int(draw.integers(80))])
    ]
    schema = own.edge_arrow_schema(VIEWED)
    store.write_relationships(VIEWED, pa.Table.from_pylist(rows, schema=schema))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, MemoryStore]]:
    folder = tmp_path_factory.mktemp("basket")
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_views(store, folder)
        run = Run.create(
            folder / "run", store, task=parse_task(TASK), text=text, student=SMALL, device="cpu",
            teacher={"dim": 8, "layers": 2, "graph_steps": 20, **SMALL},
        )  # fmt: skip
        run.fit()
        run.evaluate()
        yield run, store


def test_repeats_are_right_and_found(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    results = run.evaluate()
    scores = {arm["arm"]: arm["settings"]["warm"]["ndcg@5"]["mean"] for arm in results["arms"]}
    assert list(scores) == ["popularity", "frequency", "basket"]
    # No control is trained that nothing judges.
    assert {arm.role for arm in run.pipeline.arms.values()} == {"baseline", "needed", "benchmark"}
    assert (results["left_out"], results["void"]) == ({}, {})
    # One of the two that come is that of the two that is due.
    assert scores["basket"] > scores["frequency"] > scores["popularity"]
    assert scores["basket"] > 0.55
    with pytest.raises(LeakError):
        _ = run.by_history.repeats(opened=False).test  # type: ignore[attr-defined]


def lines_before(run: Run, moment: datetime) -> dict[str, list[tuple[str | int, datetime | str]]]:
    """Every purchase of everybody before a moment, from the run's folder."""
    lines: dict[str, list[tuple[str | int, datetime | str]]] = {}
    for row in run.purchases().to_pylist():
        if row["at"] < moment:
            lines.setdefault(row["user"], []).append((row["product"], row["at"]))
    return lines


def test_a_bundle_answers_what_was_judged(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    start, k = run.config.discovery.test_start, run.config.discovery.k
    bundle = load(run.folder / "bundle")
    lines = lines_before(run, start)
    judged = pq.read_table(run.folder / "evaluate" / "topk" / "basket.parquet").sort_by("rank").to_pylist()
    wanted: dict[str, list[str]] = {}
    for row in judged:
        wanted.setdefault(row["user_id"], []).append(row["product_id"])
    assert len(wanted) == 40
    assert bundle.repeats.network.informed  # or the student would play no part in either
    answers = bundle.recommend_many([Timed(lines[user], start) for user in wanted], k)
    assert {u: [hit.id for hit in told] for u, told in zip(wanted, answers, strict=True)} == wanted
    # Asked alone, and without saying when: so much is known of everybody as of then.
    first = next(iter(wanted))
    assert [hit.id for hit in bundle.recommend(lines[first], k)] == wanted[first]
    assert bundle.recommend(lines[first], k).notes == (f"as of {start:%Y-%m-%d %H:%M} UTC",)


def test_a_graph_that_keeps_first_events_alone_is_refused(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_shop(store)
        with pytest.raises(InputError, match="keeps one BOUGHT of a pair"):
            Run.create(tmp_path / "run", store, task=load_task("basket"))


def again(product: str, every: int, last: int, times: int, now: datetime) -> list[tuple[str, datetime]]:
    """Purchases at a rhythm in days, up to so many days ago."""
    return [(product, now - timedelta(days=last + every * n, hours=1)) for n in range(times)]


def ranks(bundle: Any, lines: list[tuple[str, datetime]], now: datetime) -> dict[str, int]:
    return {hit.id: hit.rank for hit in bundle.recommend(Timed(lines, now), 80)}


def test_what_is_due_comes_first_and_then_what_is_bought_often(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    bundle, now = load(run.folder / "bundle"), run.config.discovery.test_start
    due, fresh = again("p20", 28, 27, 8, now), again("p50", 28, 13, 8, now)
    told = ranks(bundle, due + fresh, now)
    assert told["p20"] == 1 < told["p50"]
    # The other way round it is the other one: the times speak, not the products.
    swapped = again("p20", 28, 13, 8, now) + again("p50", 28, 27, 8, now)
    told = ranks(bundle, swapped, now)
    assert told["p50"] == 1 < told["p20"]
    often, once = again("p20", 28, 27, 8, now), again("p50", 28, 27, 1, now)
    told = ranks(bundle, often + once, now)
    assert told["p20"] == 1 < told["p50"]
    # What is not yet known at the moment of asking says nothing.
    later = [("p50", now + timedelta(days=d)) for d in range(9)]
    assert ranks(bundle, often + later, now) == ranks(bundle, often, now)


def test_the_reasons_say_how_often_and_when(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    bundle, now = load(run.folder / "bundle"), run.config.discovery.test_start
    lines = again("p20", 12, 10, 5, now) + again("p50", 1, 0, 3, now) + again("p60", 7, 1, 1, now)
    # A second line of a day is the same purchase.
    lines += again("p20", 12, 10, 1, now)
    answer = bundle.recommend(Timed(lines, now), 80, reasons=True)
    told = {hit.id: hit.because for hit in answer}
    assert told["p20"] == "viewed 5 times, every 12 days, last 10 days ago"
    assert told["p50"] == "viewed 3 times, every day, last today"
    assert told["p60"] == "viewed once, yesterday"
    others = [why for item, why in told.items() if item not in ("p20", "p50", "p60")]
    assert any(others)
    assert not any("viewed once" in why for why in others)


def test_the_command_asks_by_user_history_and_file(
    fitted: tuple[Run, MemoryStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = fitted
    bundle, now = load(run.folder / "bundle"), run.config.discovery.test_start

    def told(*args: str) -> dict[str, Any]:
        assert main(["recommend", *args, "-k", "5", "--json"]) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    at = now.isoformat()
    lines = lines_before(run, now)["u03"]
    want = [hit._asdict() for hit in bundle.recommend(Timed(lines, now), 5, reasons=True)]
    folder = str(run.folder / "bundle")
    given = ",".join(f"{key}@{time.isoformat()}" for key, time in lines)
    assert told("--bundle", folder, "--history", given, "--at", at)["hits"] == want
    file = tmp_path / "bought.jsonl"
    file.write_text("".join(json.dumps({"product": k, "at": str(t)}) + "\n" for k, t in lines))
    answer = told("--bundle", folder, "--purchases", str(file))
    assert (answer["hits"], answer["notes"]) == (want, [f"as of {now:%Y-%m-%d %H:%M} UTC"])
    assert told("--run", str(run.folder), "--user", "u03", "--at", at)["hits"] == want
    # Left out, the moment is right after the latest event of anybody.
    latest = max(row["at"] for row in run.purchases().to_pylist())
    answer = told("--run", str(run.folder), "--user", "u03")
    whole = lines_before(run, datetime.max)["u03"]
    moment = latest + timedelta(microseconds=1)
    assert answer["hits"] == [
        hit._asdict() for hit in bundle.recommend(Timed(whole, moment), 5, reasons=True)
    ]
    assert f"as of {moment:%Y-%m-%d %H:%M} UTC" in answer["rests_on"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--history", "p01"], "has no time"),
        (["--history", "p01@soon"], "'soon' is not a date"),
        (["--history", "p01@2024-03-01", "--at", "later"], "'later' is not a date"),
        (["--history", "p01@2024-03-01", "--event", "BOUGHT=p02"], "reads no event"),
        (["--history", "p01@2024-03-01", "--text", "thing"], "by a history alone"),
        (["--history", "p01@2024-03-01", "--purchases", "-"], "give one of"),
        (["--purchases", "absent.jsonl"], "cannot be read"),
    ],
)
def test_bad_purchases_are_refused(
    fitted: tuple[Run, MemoryStore], args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(fitted[0].folder / "bundle")
    refused(["recommend", "--bundle", folder, *args], message, capsys)


def test_a_line_that_is_no_purchase_is_named(
    fitted: tuple[Run, MemoryStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = str(fitted[0].folder / "bundle"), tmp_path / "bought.jsonl"
    file.write_text('{"product": "p01", "at": "2024-03-01"}\n\n{"product": "p01"}\n')
    args = ["recommend", "--bundle", folder, "--purchases", str(file)]
    refused(args, "line 3 is no product with its time", capsys)


def test_what_is_written_back_is_the_next_basket_as_of_the_latest_event(
    fitted: tuple[Run, MemoryStore],
) -> None:
    run, store = fitted
    written = Graph(store).write_back(run, k=5)
    assert written.recommendations == 40 * 5
    kept = store.query(
        "MATCH (u:User {user_id: 'u03'})-[r:RECOMMENDED]->(p:Product) "
        "RETURN p.product_id AS id, r.reason AS reason ORDER BY r.rank"
    ).to_pylist()
    whole = lines_before(run, datetime.max)
    moment = max(at for mine in whole.values() for _, at in mine) + timedelta(microseconds=1)
    bundle = load(run.folder / "bundle")
    want = bundle.recommend(Timed(whole["u03"], moment), 5, reasons=True)
    assert [(row["id"], row["reason"] or "") for row in kept] == [(hit.id, hit.because) for hit in want]
    assert any(row["reason"] for row in kept)
    Graph(store).write_back(run, k=5, reasons=False)
    none = store.query("MATCH ()-[r:RECOMMENDED]->() WHERE r.reason IS NOT NULL RETURN count(r) AS n")
    assert none["n"].to_pylist() == [0]


def test_the_report_shows_whose_basket_and_why(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    _, markdown = write_report(run.folder)
    said = markdown.read_text(encoding="utf-8")
    assert "times, every" in said
    assert "student with repeats" in said


def test_the_student_alone_does_not_explain_the_rank(fitted: tuple[Run, MemoryStore]) -> None:
    run, _ = fitted
    with pytest.raises(InputError, match="ranked by habits"):
        why(load_bundle(run.folder / "bundle"), [("p01", "2024-03-01")], "p02")


def test_the_page_of_a_user_shows_the_next_basket(fitted: tuple[Run, MemoryStore]) -> None:
    run, store = fitted
    bundle = load_bundle(run.folder / "bundle")
    shown = _bundle_card(GraphSource(store, bundle=bundle), "User", "u03")
    want = bundle.recommend(lines_before(run, datetime.max)["u03"], 10, reasons=True)
    assert shown == list(want)
    assert _bundle_card(GraphSource(store, bundle=bundle), "User", "u59")  # who did nothing


def test_a_mistyped_year_is_not_the_present(fitted: tuple[Run, MemoryStore], tmp_path: Path) -> None:
    run, _ = fitted
    with MemoryStore() as store:
        fill_views(store, tmp_path)
        rows = [{"source": "u05", "target": "p05", "at": datetime(2199, 1, 1)}]
        schema = store.schema.edge_arrow_schema(VIEWED)
        store.write_relationships(VIEWED, pa.Table.from_pylist(rows, schema=schema))
        told = run.pasts(run.bundle().keys, store, user="u03").of("u03")
    assert isinstance(told, Timed)
    assert isinstance(told.at, datetime)
    assert told.at.year < 2199
