"""What a run tells of nodes that it did not learn from, written into the graph: classes and past answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _dialogues import FRAMES, TOPICS, fill_dialogues
from _tables import write_rows
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.cli import main, several
from kgdistill.errors import InputError
from kgdistill.run import told as told_module
from kgdistill.run.run import Run
from kgdistill.store import GraphStore, load_schema, open_store
from kgdistill.tasks.spec import parse_task

KINDS = ["low", "middle", "high"]
USERS, ITEMS = 120, 30
CLASSIFY: dict[str, Any] = {
    "epochs": 40, "batch": 16, "dim": 12, "hidden": 16, "teacher_hidden": 16, "rank": 8, "lr": 0.02,
    "folds": 2,
}  # fmt: skip
PROFILE: dict[str, Any] = {
    "kind": "classify", "name": "profile", "output": "PROFILED",
    "subjects": {"label": "User", "by": "history", "history": "BOUGHT"},
    "targets": {"income": {"property": "income"}, "age": {"property": "age"}},
    "protocol": {"split": "held_out", "share": 0.2, "validation_share": 0.2},
}  # fmt: skip


def kind_of(user: str) -> str:
    return KINDS[int(user[1:]) % 3]


def fill_users(store: GraphStore) -> None:
    """Users of three kinds who buy their kind's products; a third never said it, and one bought nothing."""
    draw, schema = np.random.default_rng(0), store.schema
    keys = [f"u{u:03}" for u in range(USERS)]
    bought = [
        {
            "source": key, "target": f"t{3 * int(item) + KINDS.index(kind_of(key)):03}", "first_quantity": 1,
            "first_at": datetime(2024, 1, 1) + timedelta(days=int(item)),
        }
        for key in keys[:-1] for item in draw.choice(ITEMS // 3, 6, replace=False)
    ]  # fmt: skip
    known = keys[: USERS * 2 // 3]
    tables: dict[Any, list[dict[str, Any]]] = {
        "User": [{"user_id": key, "income": kind_of(key) if key in known else None} for key in keys],
        "Product": [{"product_id": f"t{i:03}", "title": "a thing"} for i in range(ITEMS)],
        ("User", "BOUGHT", "Product"): bought,
    }
    write_rows(store, schema, tables)


@pytest.fixture(scope="module", params=["memory:", "ladybug"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphStore]:
    at = request.param if request.param == "memory:" else f"ladybug:{tmp_path_factory.mktemp('store') / 'db'}"
    with open_store(at) as opened:
        opened.apply_schema(load_schema())
        fill_dialogues(opened)
        fill_users(opened)
        yield opened


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "encoder": str(tiny_encoder(tmp_path_factory.mktemp("tiny") / "tiny", layers=1)),
        "precision": "float32",
    }


def fitted(folder: Path, store: GraphStore, task: Any, **settings: Any) -> Run:
    run = Run.create(folder / "run", store, task=task, device="cpu", **settings)
    run.fit()
    return run


@pytest.fixture(scope="module")
def profile(store: GraphStore, text: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fitted(
        tmp_path_factory.mktemp("profile"), store, parse_task(PROFILE), text=text, classify=CLASSIFY
    )


TOLD = (
    "MATCH (u:User)-[p:PROFILED]->(c:Class) RETURN u.user_id AS user, p.run AS run, p.property AS property, "
    "c.name AS name, p.probability AS probability, c.sensitive AS sensitive ORDER BY user"
)


def test_a_sensitive_class_is_written_only_where_it_was_allowed(store: GraphStore, profile: Run) -> None:
    graph = kg.Graph(store)
    with pytest.raises(InputError) as caught:
        graph.write_back(profile)
    assert "income is sensitive: it is not written back" in str(caught.value)
    assert "allow_sensitive=True" in str(caught.value)
    assert not graph.query(TOLD).num_rows
    for _ in range(2):
        report = graph.write_back(profile, allow_sensitive=True)
    rows = graph.query(TOLD).to_pylist()
    assert report.classes == {"income": len(rows)}
    # Those who never said it, and those of the test; not who bought nothing, nor who was learned from.
    task = profile.by_classes.task
    test = {task.keys[i] for i in task.subjects("test")}
    silent = {f"u{u:03}" for u in range(USERS * 2 // 3, USERS - 1)}
    assert len(test) > 5
    assert {row["user"] for row in rows} == test | silent
    assert all((r["run"], r["property"], r["sensitive"]) == ("run", "income", True) for r in rows)
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    assert np.mean([row["name"] == kind_of(row["user"]) for row in rows]) > 0.9
    told = profile.bundle().classify(histories=[graph.history(rows[0]["user"])])[0].told
    assert rows[0]["probability"] == pytest.approx(told.probabilities[rows[0]["name"]], abs=1e-5)


def test_what_is_not_sure_enough_is_left_out_and_the_former_goes(store: GraphStore, profile: Run) -> None:
    graph = kg.Graph(store)
    graph.write_back(profile, allow_sensitive=True)
    whole = graph.query(TOLD).to_pylist()
    middle = float(np.median([row["probability"] for row in whole]))
    graph.write_back(profile, allow_sensitive=True, least=middle)
    rows = graph.query(TOLD).to_pylist()
    assert rows == [row for row in whole if row["probability"] >= middle]
    assert len(rows) < len(whole)


def test_of_several_targets_only_the_sensitive_ones_are_left_out_and_that_is_said(
    store: GraphStore, text: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = json.loads(load_schema().model_dump_json())
    schema["nodes"]["User"]["properties"]["likes"] = {"type": "string"}
    from kgdistill.store import Schema

    store.apply_schema(Schema.model_validate(schema))
    keys = [f"u{u:03}" for u in range(USERS)]
    rows = [{"user_id": key, "likes": f"{kind_of(key)} ones"} for key in keys if int(key[1:]) % 2]
    store.write_nodes("User", pa.Table.from_pylist(rows))
    task = PROFILE | {"targets": {**PROFILE["targets"], "taste": {"property": "likes"}}}
    run = fitted(tmp_path, store, parse_task(task), text=text, classify=CLASSIFY)
    graph = kg.Graph(store)
    report = graph.write_back(run)
    assert set(report.classes) == {"taste"}
    assert report.left_out == ("income",)
    several.say_left_out(report)
    assert "income is sensitive and not written back: --allow-sensitive" in capsys.readouterr().err
    assert {r["property"] for r in graph.query(TOLD).to_pylist()} == {"taste"}
    report = graph.write_back(run, allow_sensitive=True)
    assert set(report.classes) == {"taste", "income"}
    assert report.left_out == ()


def test_an_intent_is_written_to_its_own_node(
    store: GraphStore,
    text: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = fitted(tmp_path, store, "intent", text=text, classify=CLASSIFY)
    graph = kg.Graph(store)
    # Some of what is told is in a later part.
    monkeypatch.setattr(told_module, "_AT_ONCE", 7)
    count = graph.write_back(run, least=0.0).classes["intent"]
    rows = graph.query(
        "MATCH (u:Utterance)-[c:CLASSIFIED]->(i:Intent) RETURN u.utterance_id AS key, i.intent_id AS intent"
    ).to_pylist()
    tested = {f"q{t}-{f}" for t in range(len(TOPICS)) for f in range(len(FRAMES) - 2, len(FRAMES))}
    assert {row["key"] for row in rows} == tested
    assert len(rows) == count == len(tested)
    names = list(TOPICS)
    assert np.mean([row["intent"] == names[int(row["key"][1])] for row in rows]) > 0.8
    if store.url != "memory:":
        store.close()
        assert main(["writeback", "--run", str(run.folder), "--store", store.url]) == 0
        assert "classes of intent" in capsys.readouterr().out


def test_answers_are_written_where_the_run_is_sure_enough(text: dict[str, str], tmp_path: Path) -> None:
    with open_store("memory:") as store:
        fill_dialogues(store)
        new = {
            "question_id": ["new", "odd"],
            "text": ["parcel please please", ""],
            "split": [None, None],
        }
        store.write_nodes("Question", pa.table(new, schema=store.schema.node_arrow_schema("Question")))
        small = {"queries": 100, "epochs": 4, "batch": 32, "dim": 12, "candidates": 8}
        run = fitted(tmp_path, store, "answer", text=text, search=small)
        graph = kg.Graph(store)
        query = (
            "MATCH (q:Question)-[a:ANSWERED]->(p:Answer) RETURN q.question_id AS key, p.answer_id AS answer, "
            "a.rank AS rank, a.score AS score, a.run AS run ORDER BY key"
        )
        for _ in range(2):
            report = graph.write_back(run, least=0.0)
        rows = graph.query(query).to_pylist()
        assert report.recommendations == len(rows)
        tested = {f"q{t}-{f}" for t in range(len(TOPICS)) for f in range(len(FRAMES) - 2, len(FRAMES))}
        assert {row["key"] for row in rows} == tested | {"new"}
        assert {(row["rank"], row["run"]) for row in rows} == {(1, "run")}
        right = [row["answer"] == ("a0" if row["key"] == "new" else f"a{row['key'][1]}") for row in rows]
        assert np.mean(right) > 0.8
        told = run.bundle().answer("parcel please please", answer_from=0.0)
        assert rows[0]["score"] == pytest.approx(told.confidence)
        # Nobody is sure enough: a person answers, and the former answers go.
        assert graph.write_back(run, least=1.0).recommendations == 0
        assert not graph.query(query).num_rows
