"""How much of a history is of each group, on a logarithmic scale: as it is learned, so it is served."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from _classes import CONFIG, context, kind_spec, snapshot_of, users, world
from _tables import write_rows

from kgdistill.errors import ArtefactError
from kgdistill.models import beside as module
from kgdistill.models.beside import NodeTable, node_table
from kgdistill.serve.classifier import Classifier
from kgdistill.serve.pack_classes import pack_classifier
from kgdistill.snapshot import take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.classify import build_classify_task
from kgdistill.tasks.log_counts import LogCounts
from kgdistill.tasks.neighbours import Neighbours, history_of, neighbours_of
from kgdistill.tasks.side import Side
from kgdistill.train.classify import train_class_student
from kgdistill.train.classify_files import load_class_student, save_class_student

# Of four nodes: one of the first group, two of both, one of none.
BLOCK = LogCounts(
    np.array([0, 1, 3, 5, 5]), np.array([0, 0, 1, 0, 1]), np.array([[1, 0], [0, 2]], np.float32),
    np.array([0.5, 0], np.float32),
)  # fmt: skip


def rows(*nodes: int) -> np.ndarray:
    return np.array(nodes, np.int64)


def test_it_is_the_logarithm_of_one_more_than_how_many() -> None:
    found = BLOCK.of([rows(0, 1, 2), rows(3), rows(), rows(2)])
    want = [[np.log(4) - 0.5, 2 * np.log(3)], [-0.5, 0], [-0.5, 0], [np.log(2) - 0.5, 2 * np.log(2)]]
    assert found == pytest.approx(np.array(want), abs=1e-6)
    scaled = BLOCK.scaled([rows(0, 1, 2), rows(3), rows(2)]).of([rows(0, 1, 2), rows(3), rows(2)])
    assert scaled.mean(axis=0) == pytest.approx(np.zeros(2), abs=1e-6)
    assert (scaled**2).mean() == pytest.approx(1, rel=1e-5)


def history(counts: np.ndarray, *, event: bool = True) -> Neighbours:
    """Subjects with so many items of each of some groups, of 20 items each."""
    groups = counts.shape[1]
    draw = np.random.default_rng(0)
    members = np.zeros((len(counts), 20 * groups), np.float32)
    for i, mine in enumerate(counts):
        for g, count in enumerate(mine):
            members[i, 20 * g + draw.choice(20, count, replace=False)] = 1
    of = sp.csr_matrix(
        (np.ones(20 * groups, np.float32), (np.arange(20 * groups), np.repeat(np.arange(groups), 20)))
    )
    return Neighbours(
        "BOUGHT", "Product", event, sp.csr_matrix(members), [""] * 20 * groups, {"MADE_BY Brand": of}
    )


def test_the_second_tells_less_than_the_first_and_a_rare_group_nothing() -> None:
    draw = np.random.default_rng(1)
    counts = draw.integers(0, 15, (60, 3))
    counts[:, 2] = 0
    counts[:3, 2] = 5  # too few have it
    table = node_table(history(counts), None, np.arange(60), rank=8)
    (block,) = table.counts
    assert not block.axes[2].any()
    x = block.of([np.arange(k) for k in (0, 1, 2, 19)])
    apart = np.linalg.norm(np.diff(x, axis=0), axis=1)
    assert apart[0] > 1.3 * apart[1]
    assert table.width == table.rows.shape[1] + 1 + block.width
    assert not node_table(history(counts, event=False), None, np.arange(60), rank=8).counts


def test_only_the_learned_subjects_say_what_the_axes_are() -> None:
    draw = np.random.default_rng(2)
    first, second = draw.integers(0, 10, (40, 4)), draw.integers(0, 10, (40, 4))
    second[:30] = first[:30]
    one, two = (node_table(history(c), None, np.arange(30), rank=3).counts[0] for c in (first, second))
    assert np.array_equal(one.axes, two.axes)
    assert np.array_equal(one.middle, two.middle)
    assert not np.array_equal(
        one.axes, node_table(history(second), None, np.arange(40), rank=3).counts[0].axes
    )


def test_a_student_comes_back_from_disk_and_a_bundle_says_the_same(tmp_path: Path) -> None:
    task = build_classify_task(
        snapshot_of(users(), tmp_path / "s"),
        kind_spec(subjects={"label": "User", "by": ["history", "facts"]} | {"history": "BOUGHT"}),
    )
    here = world(task)
    student = here.student
    assert [len(table.counts) for table in student.tables] == [1]
    save_class_student(tmp_path / "student", student)
    back = load_class_student(tmp_path / "student")
    assert np.array_equal(back.logits(task)["kind"], student.logits(task)["kind"])
    keys = {"Product": [f"p{i:04}" for i in range(60)]}
    _, classifier = pack_classifier(back, keys)
    members = task.neighbours[0].members
    asked = [[keys["Product"][j] for j in members[i].indices] for i in range(20)]
    told = classifier.logits(classifier.dense(None, [classifier.nodes[0].of(asked)]))["kind"]
    assert told == pytest.approx(student.logits(task)["kind"][:20], abs=1e-4)
    settings, arrays, files = (
        json.loads(json.dumps(classifier.settings())),
        classifier.arrays(),
        classifier.files(),
    )
    again = Classifier.from_arrays(settings, arrays, files, 0)
    assert np.array_equal(again.nodes[0].of(asked), classifier.nodes[0].of(asked))
    for name, changed, says in (
        ("nodes.0.0.groups", arrays["nodes.0.0.groups"] + 100, "names what is not there"),
        ("nodes.0.0.starts", arrays["nodes.0.0.starts"][::-1].copy(), "do not fit the groups"),
        ("nodes.0.0.middle", arrays["nodes.0.0.middle"][:-1], "middle"),
    ):
        with pytest.raises(ArtefactError, match=says):
            Classifier.from_arrays(settings, {**arrays, name: changed}, files, 0)


def test_how_much_is_learned_where_shares_say_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who bought three or more of a brand is one kind, however much else was bought."""
    draw = np.random.default_rng(3)
    tables = users(240, 90, later=False)
    bought, nodes = [], []
    for user in range(240):
        kind = user % 2
        own = draw.choice(range(0, 90, 6), 3 + draw.integers(4) if kind else draw.integers(3), replace=False)
        rest = [i for i in range(90) if i % 6]
        other = draw.choice(rest, 3 * int(draw.integers(1, 24)), replace=False)
        bought += [
            {
                "source": f"u{user:03}",
                "target": f"p{int(i):04}",
                "first_at": tables["User", "BOUGHT", "Product"][0]["first_at"],
            }
            for i in (*own, *other)
        ]
        nodes.append({"user_id": f"u{user:03}", "kind": f"kind{kind}"})
    tables |= {"User": nodes, ("User", "BOUGHT", "Product"): bought}
    declared = kind_spec(subjects={"label": "User", "by": ["history", "facts"], "history": "BOUGHT"})
    here = world(build_classify_task(snapshot_of(tables, tmp_path / "s"), declared))

    def right() -> float:
        learned = [
            train_class_student(here.task, None, here.vectors, CONFIG, context(seed), soft=None)
            for seed in range(3)
        ]
        return float(np.mean([here.right(student.logits(here.task)["kind"], "kind") for student in learned]))

    counted = right()
    monkeypatch.setattr(module, "_log_counts", lambda *given: ())
    assert counted > 0.9
    assert counted > right() + 0.03


def test_the_tree_above_what_a_fact_leads_to_is_a_group_too(tmp_path: Path) -> None:
    schema = load_schema()
    rows_of: dict[Any, list[dict[str, Any]]] = {
        "User": [{"user_id": "u"}],
        "Product": [{"product_id": f"p{i}", "title": "x"} for i in range(3)],
        "Category": [{"category_id": c, "name": c, "path": c} for c in ("tea", "jam", "food")],
        ("User", "BOUGHT", "Product"): [{"source": "u", "target": "p0", "first_at": datetime(2024, 1, 1)}],
        ("Product", "IN_CATEGORY", "Category"): [
            {"source": f"p{i}", "target": c} for i, c in enumerate(("tea", "jam", "food"))
        ],
        ("Category", "PART_OF", "Category"): [{"source": c, "target": "food"} for c in ("tea", "jam")],
    }
    with MemoryStore() as store:
        store.apply_schema(schema)
        write_rows(store, schema, rows_of)
        snapshot = take_snapshot(store, tmp_path / "s", cut=None)
    side = Side(label="User", by=("history", "facts"), history="BOUGHT")
    events = history_of(snapshot, side, hidden=(), place="")
    (found,) = neighbours_of(snapshot, side, events, hidden=(), place="")
    assert list(found.groups) == ["IN_CATEGORY Category", "IN_CATEGORY Category > parent"]
    food = snapshot.keys("Category").tolist().index("food")
    assert found.groups["IN_CATEGORY Category > parent"][:, food].toarray().ravel().tolist() == [1, 1, 0]
    (guarded,) = neighbours_of(snapshot, side, events, hidden=("PART_OF",), place="")
    assert list(guarded.groups) == ["IN_CATEGORY Category"]


def test_a_table_without_counts_reads_as_before() -> None:
    table = NodeTable("BOUGHT", "Product", True, np.eye(3, dtype=np.float32), 0.0, 1.0)
    members = sp.csr_matrix(np.array([[1, 1, 0]], np.float32))
    assert table.of(members) == pytest.approx(np.array([[0.5, 0.5, 0, np.log(3)]]))
    assert replace(table, counts=(replace(BLOCK, starts=np.array([0, 1, 3, 5])),)).of(members).shape == (1, 6)
