"""A run made by one call: what it settles, what it keeps, and the whole way to a table of results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import _shop
import pytest
from _shop import BOUGHT, PROTOCOL, fill_shop
from _tiny_encoder import tiny_encoder

from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError
from kgdistill.run.base import RunBase
from kgdistill.run.run import Run
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.tasks.spec import load_task, parse_task

LATEST: dict[str, Any] = {
    "kind": "match",
    "name": "latest",
    "anchors": {"label": "User", "by": "history"},
    "candidates": {"label": "Product", "by": ["history", "text"]},
    "positives": {"event": "BOUGHT"},
    "protocol": {"split": "time", "cut_share": 0.7, "test_share": 0.85, "k": 7, "min_user_events": 1},
}


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_shop(opened)
        yield opened


def test_task_cut_and_split_are_chosen_and_can_be_overridden(store: GraphStore, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "plain", store)
    assert run.config.task == load_task("recommend")
    protocol = run.config.discovery
    assert (protocol.name, protocol.title, protocol.interaction) == ("recommend", "Discovery", BOUGHT)
    times = sorted(store.read_relationships(BOUGHT, ["first_at"])["first_at"].to_pylist())
    before = sum(time < protocol.cut for time in times) / len(times)
    assert before == pytest.approx(0.8, abs=0.02)

    other = Run.create(tmp_path / "other", store, task=parse_task(LATEST), seed=3, protocol={"k": 9})
    assert other.config.seed == 3
    assert (other.config.discovery.k, other.config.discovery.min_user_events) == (9, 1)
    assert sum(t < other.config.discovery.cut for t in times) / len(times) == pytest.approx(0.7, abs=0.02)


def test_what_is_not_given_again_stays_as_it_is(store: GraphStore, tmp_path: Path) -> None:
    told = {"cut": PROTOCOL.cut, "test_start": PROTOCOL.test_start}
    first = Run.create(tmp_path / "run", store, seed=5, teacher={"dim": 8}, protocol=told)
    again = Run.create(tmp_path / "run", store, teacher={"epochs": 2})
    assert again.config.seed == 5
    assert (again.config.teacher.dim, again.config.teacher.epochs) == (8, 2)
    assert again.config.discovery == first.config.discovery
    # Of another task the former's split says nothing.
    moved = Run.create(tmp_path / "run", store, task=parse_task(LATEST))
    assert moved.config.discovery.cut != PROTOCOL.cut
    assert moved.config.teacher.dim == 8
    assert RunBase.open(tmp_path / "run").config == moved.config


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "recomend"}, "there is no task 'recomend'"),
        ({"teacher": {"dims": 8}}, "unknown key 'teacher.dims'"),
        ({"protocol": {"cut": "2024-03-01"}}, "give the cut and the test's start together"),
        ({"protocol": 3}, "'protocol' must be a mapping"),
        ({"task": "search", "protocol": {"k": 3}}, "the task 'search' is not split by time"),
        ({"task": "basket"}, "no repeat can be told"),
        ({"task": {**LATEST, "protocol": {"split": "held_out"}}}, "are split by time"),
        ({"task": {**LATEST, "anchors": {"label": "User", "by": ["history", "facts"]}}}, "by it alone"),
        ({"task": {**LATEST, "candidates": {"label": "Product", "by": "history"}}}, "and its text"),
        (
            {"task": {**LATEST, "anchors": {"label": "User", "by": "history", "history": "VIEWED"}}},
            "VIEWED is not learned from",
        ),
        (
            {
                "task": {
                    **LATEST,
                    "anchors": {"label": "Query", "by": "text"},
                    "protocol": {"split": "held_out"},
                }
            },
            "by people's grades or by later events",
        ),
        ({"task": {**LATEST, "anchors": {"label": "User", "by": "facts"}}}, "by their history or by their"),
        (
            {
                "task": {
                    **LATEST,
                    "anchors": {"label": "Query", "by": "text"},
                    "candidates": {"label": "Product", "by": "facts"},
                }
            },
            "what is ranked for a text is known by its text",
        ),
        ({"task": 5}, "5 is no task"),
        ({"task": {**LATEST, "positives": {"event": "VIEWED"}}}, "nothing to learn from"),
        ({"task": {**LATEST, "positives": {"event": "VIEWD"}}}, "did you mean 'VIEWED'"),
        ({"task": "profile"}, "no class of age"),
        (
            {"protocol": {"cut": "2034-01-01", "test_start": "2034-02-01"}},
            "no user who counts bought anything",
        ),
    ],
)
def test_bad_settings_are_one_message(
    settings: dict[str, Any], words: str, store: GraphStore, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        Run.create(tmp_path / "run", store, **settings)


def test_where_everybody_bought_once_it_is_said_what_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = [
        {**row, "first_at": datetime(2024, 1, 1) + timedelta(days=n)}
        for n, row in enumerate({row["source"]: row for row in _shop.purchases()}.values())
    ]
    monkeypatch.setattr(_shop, "purchases", lambda: once)
    with MemoryStore() as store:
        _shop.fill_shop(store)
        with pytest.raises(InputError, match="no user who counts bought anything new") as raised:
            Run.create(tmp_path / "run", store)
        assert "protocol: {min_user_events: 0}, in --config, counts them" in raised.value.hint
        assert "other moments" not in raised.value.hint
        made = Run.create(tmp_path / "other", store, protocol={"min_user_events": 0})
        assert made.task.validation.nnz
        # Nobody at all bought then.
        with pytest.raises(InputError, match="no user who counts") as raised:
            Run.create(tmp_path / "late", store, protocol={"cut": "2034-01-01", "test_start": "2034-02-01"})
        assert raised.value.hint == "choose other moments: --cut, --test-start"


@pytest.mark.parametrize("task", ["recommend", "search", "profile"])
def test_a_graph_that_holds_nothing_is_told(task: str, tmp_path: Path) -> None:
    with MemoryStore() as empty, pytest.raises(InputError, match="nothing was ingested here yet"):
        Run.create(tmp_path / "run", empty, task=task)
    with pytest.raises(InputError, match="is no graph"):
        Run.create(tmp_path / "run", "ladybug:shop.db", task=task)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(store: GraphStore, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than a run"):
        Run.create(tmp_path, store)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_fit_makes_every_stage_once_and_the_results_print_as_a_table(
    store: GraphStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1}
    run = Run.create(
        tmp_path / "run",
        store,
        task=parse_task({**LATEST, "protocol": {"split": "time", "min_item_users": 3}}),
        text={"encoder": str(tiny_encoder(tmp_path / "tiny", layers=1)), "precision": "float32"},
        teacher={"dim": 8, "layers": 2, "graph_steps": 8, **small},
        student=small,
        device="cpu",
    )
    with pytest.raises(ArtefactError, match="'teacher' is not finished"):
        run.evaluate()
    run.fit()
    marks = {name: run.need(name).made for name in run.fitted}
    Run.open(run.folder).fit()
    assert {name: run.need(name).made for name in run.fitted} == marks
    results = run.evaluate()
    assert [arm["arm"] for arm in results["arms"]] == [
        "popularity", "ease", "teacher", "teacher_noz", "teacher_text", "student", "student_nodistill",
        "student_nolists", "student_norelations", "student_exchanged",
    ]  # fmt: skip
    # Without facts there is nothing to shuffle.
    assert (list(results["void"]), results["left_out"]) == (["teacher_shuffled"], {})
    assert main(["evaluate", "--run", str(run.folder)]) == 0
    said = capsys.readouterr()
    assert (
        "shows nothing: fused teacher, shuffled facts: the shuffled facts are the real" in said.out + said.err
    )
    assert main(["train", "teacher", "--run", str(run.folder), "--json"]) == 0
    made = [row["stage"] for row in json.loads(capsys.readouterr().out)["stages"]]
    assert "teacher_noz" in made
    assert "teacher_shuffled" not in made
    lines = str(results).splitlines()
    assert lines[0].startswith("latest; 95% intervals over users")
    assert sum(line.lstrip().startswith("student without distillation") for line in lines) >= 1
    assert all(line == line.rstrip() for line in lines)
    assert len(run.bundle().recommend(k=3)) == 3
