"""Matching by text as declared: judgements from the graph, closed until they judge; clicks to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _tables import write_rows

from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot import Snapshot, take_judgements, take_snapshot
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.tasks.judgements import JudgedTask, stored_judgements
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.spec import MatchSpec, load_task, parse_task

JUDGED = ("Query", "JUDGED", "Product")
CLICKED = ("Query", "CLICKED", "Product")
AT = datetime(2024, 1, 1)
TITLES = ["red lamp", "blue lamp", "oak desk", "pine desk"]
QUERIES = {"q1": "lamp", "q2": " oak  desk ", "q3": "lamp", "q4": None}
GRADES: list[tuple[str, str, float]] = [
    ("q1", "p0", 3.0), ("q1", "p1", 1.0), ("q2", "p2", 2.0), ("q2", "p3", 0.0), ("q3", "p0", 2.0),
    ("q4", "p3", 1.0),
]  # fmt: skip
CLICKS = [("q1", "p0"), ("q3", "p0"), ("q1", "p1")]


def search() -> MatchSpec:
    spec = load_task("search")
    assert isinstance(spec, MatchSpec)
    return spec


def fill(store: GraphStore, grades: list[tuple[str, str, float]] = GRADES) -> None:
    schema = load_schema()
    store.apply_schema(schema)
    tables: dict[Any, list[dict[str, Any]]] = {
        "Product": [{"product_id": f"p{i}", "title": title} for i, title in enumerate(TITLES)],
        "Query": [{"query_id": key, "text": text} for key, text in QUERIES.items()],
        JUDGED: [{"source": q, "target": p, "grade": grade} for q, p, grade in grades],
        CLICKED: [{"source": q, "target": p, "first_at": AT} for q, p in CLICKS],
    }  # fmt: skip
    write_rows(store, schema, {key: rows for key, rows in tables.items() if rows})


@pytest.fixture
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill(opened)
        yield opened


def snapshot_of(store: GraphStore, folder: Path) -> Snapshot:
    return take_snapshot(store, folder, cut=None, needed=("Product",))


def test_the_graphs_grades_judge_once_the_test_is_open(store: GraphStore, tmp_path: Path) -> None:
    task = JudgedTask(snapshot_of(store, tmp_path / "s"), search(), stored_judgements(store, search()))
    assert JUDGED not in task.snapshot.edge_types
    with pytest.raises(LeakError, match="not opened"):
        _ = task.judgements
    task.open_test()
    judgements = task.judgements
    # Two nodes with one text are one query; one without a text is its key.
    assert judgements.queries == ["lamp", "oak desk", "q4"]
    assert [items.tolist() for items in judgements.items] == [[0, 1], [2, 3], [3]]
    assert [grades.tolist() for grades in judgements.grades] == [[3, 1], [2, 0], [1]]


def test_only_who_says_so_reads_judgements(store: GraphStore) -> None:
    with pytest.raises(LeakError, match="evaluation only"):
        take_judgements(store, JUDGED, include_judgements=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="it judges nothing"):
        take_judgements(store, CLICKED, include_judgements=True)


@pytest.mark.parametrize(
    ("grades", "message"),
    [
        ([], "the graph held no Query-JUDGED-Product"),
        ([("q1", "p0", 0.0)], "no judged grade is above 0"),
        ([("q1", "p0", -1.0), ("q1", "p1", 1.0)], "'lamp' has a grade that is negative"),
        (
            [("q1", "p0", float("nan")), ("q1", "p1", 1.0)],
            "'lamp' has a grade that is negative, above 30 or no",
        ),
        ([("q1", "p0", 99.0)], "above 30"),
    ],
)
def test_judgements_that_cannot_judge_are_refused(
    grades: list[tuple[str, str, float]], message: str, tmp_path: Path
) -> None:
    def read(store: GraphStore) -> None:
        task = JudgedTask(snapshot_of(store, tmp_path / "s"), search(), stored_judgements(store, search()))
        task.open_test()
        _ = task.judgements

    with MemoryStore() as store:
        fill(store, grades)
        with pytest.raises(InputError, match=message):
            read(store)


def test_a_judged_item_that_the_snapshot_lacks_is_named(store: GraphStore, tmp_path: Path) -> None:
    table = stored_judgements(store, search())
    store.delete_nodes("Product", pa.array(["p3"]))
    task = JudgedTask(snapshot_of(store, tmp_path / "s"), search(), table)
    task.open_test()
    with pytest.raises(InputError, match="judged Product 'p3' is not in the snapshot"):
        _ = task.judgements


def test_what_was_clicked_is_learned_from_each_pair_once(store: GraphStore, tmp_path: Path) -> None:
    task = JudgedTask(snapshot_of(store, tmp_path / "s"), search(), pa.table({}))
    clicked = task.clicked()
    assert clicked is not None
    assert clicked.texts == ["lamp", "lamp"]
    assert clicked.sources.tolist() == [0, 1]
    made_up = {
        **search().model_dump(by_alias=True, exclude_none=True),
        "positives": {"synthetic": "catalogue"},
    }
    spec = parse_task(made_up)
    assert isinstance(spec, MatchSpec)
    assert JudgedTask(task.snapshot, spec, pa.table({})).clicked() is None


def test_a_task_without_facts_reads_none(store: GraphStore, tmp_path: Path) -> None:
    schema = load_schema()
    store.write_nodes(
        "Brand",
        pa.Table.from_pylist([{"brand_id": "b", "name": "acorn"}], schema=schema.node_arrow_schema("Brand")),
    )
    made = [{"source": f"p{i}", "target": "b"} for i in range(2)]
    edge = ("Product", "MADE_BY", "Brand")
    store.write_relationships(edge, pa.Table.from_pylist(made, schema=schema.edge_arrow_schema(edge)))
    snapshot = snapshot_of(store, tmp_path / "s")
    catalogue = JudgedTask(snapshot, search(), pa.table({})).catalogue
    assert [(fact.label, fact.names) for fact in catalogue.facts] == [("Brand", ["acorn"])]
    assert catalogue.titles == TITLES
    plain = search().model_copy(
        update={"candidates": search().candidates.model_copy(update={"by": ("text",)})}
    )
    assert JudgedTask(snapshot, plain, pa.table({})).catalogue.facts == []
    assert np.array_equal(catalogue.facts[0].members.toarray().ravel(), [1, 1, 0, 0])


def test_later_events_judge_where_the_task_is_split_by_time(store: GraphStore, tmp_path: Path) -> None:
    schema, day = load_schema(), timedelta(days=1)
    rows = [("q1", "p1", 5), ("q2", "p2", 12), ("q1", "p0", 14), ("q2", "p3", 30)]
    later = pa.Table.from_pylist(
        [{"source": q, "target": p, "first_at": AT + n * day} for q, p, n in rows],
        schema=schema.edge_arrow_schema(CLICKED),
    )
    spec = parse_task({
        "kind": "match", "anchors": {"label": "Query", "by": "text"},
        "candidates": {"label": "Product", "by": "text"}, "positives": {"event": "CLICKED"},
    })  # fmt: skip
    assert isinstance(spec, MatchSpec)
    protocol = DiscoveryProtocol(
        name="clicks", title="Clicks", interaction=CLICKED, cut=AT + 4 * day, test_start=AT + 10 * day,
        test_end=AT + 20 * day,
    )  # fmt: skip
    task = JudgedTask(snapshot_of(store, tmp_path / "s"), spec, later, protocol)
    with pytest.raises(LeakError):
        _ = task.judgements
    task.open_test()
    # Neither what came between the cut and the test nor what came after its end.
    assert task.judgements.queries == ["oak desk", "lamp"]
    assert [items.tolist() for items in task.judgements.items] == [[2], [0]]
    nothing = JudgedTask(task.snapshot, spec, later.slice(0, 1), protocol)
    nothing.open_test()
    with pytest.raises(InputError, match="no CLICKED in the test period"):
        _ = nothing.judgements
    unjudged = JudgedTask(task.snapshot, spec, pa.table({}))
    unjudged.open_test()
    with pytest.raises(InputError, match="nothing judges"):
        _ = unjudged.judgements
