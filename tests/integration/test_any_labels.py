"""A task is a file: other events and other labels train, judge, pack and answer without a line of code."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _planted import VIEWED, star_world, view_world
from _shop import fill_shop, purchases
from _tables import write_rows
from _tiny_encoder import tiny_encoder

from kgdistill import Graph
from kgdistill.cli.asking import of_user
from kgdistill.cli.train import _histories
from kgdistill.errors import InputError
from kgdistill.page.source import GraphSource
from kgdistill.page.student import past_of
from kgdistill.page.views import _bundle_card
from kgdistill.run.disagreement import both_ranks
from kgdistill.run.report import write_report
from kgdistill.run.run import Run, Runs
from kgdistill.serve.past import numbers_above
from kgdistill.serve.weigh import PathWeights
from kgdistill.store import GraphStore, MemoryStore, load_schema
from kgdistill.store.schema import Schema
from kgdistill.tasks.histories import stored_past
from kgdistill.tasks.spec import MatchSpec

START = datetime(2024, 1, 1)
SMALL: dict[str, Any] = {
    "teacher": {"dim": 8, "layers": 2, "epochs": 1, "candidates": 20, "random": 5, "graph_steps": 20},
    "student": {"epochs": 1, "candidates": 20, "random": 5},
    "device": "cpu",
}
ON_VIEWS = """\
kind: match
title: Products to look at
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text, facts]}
positives: {event: VIEWED}
protocol: {split: time, min_item_users: 3, k: 10}
"""
WITH_VIEWS = """\
kind: match
title: Products to buy, by what was viewed too
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text, facts]}
positives: {event: BOUGHT, weights: {VIEWED: 0.5}}
protocol: {split: time, cut_share: 0.75, test_share: 0.9, min_item_users: 3, min_user_events: 1, k: 10}
"""
ON_STARS = """\
kind: match
title: Products to like
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text, facts]}
positives: {event: RATED, above: {RATED.rating: middle}}
protocol: {split: time, min_item_users: 3, min_user_events: 1, k: 10}
"""
BOOKS = """\
kind: match
title: Books
anchors: {label: Reader, by: history}
candidates: {label: Book, by: [history, text, facts]}
positives: {event: READ}
protocol: {split: time, min_item_users: 3, min_user_events: 2, k: 5}
output: SUGGESTED
"""
READ_BY = BOOKS.replace("READ}", "READ_BY, reverse: true}")
LIBRARY = {
    "version": 1,
    "nodes": {
        "Reader": {"key": "card", "name": "card"},
        "Book": {
            "key": "isbn",
            "name": "heading",
            "text": ["heading", "blurb"],
            "properties": {"heading": "string", "blurb": "string"},
        },
        "Author": {"key": "author_id", "name": "author_id"},
    },
    "relationships": {
        "WRITTEN_BY": {"kind": "fact", "endpoints": [["Book", "Author"]]},
        "READ": {
            "kind": "event",
            "endpoints": [["Reader", "Book"]],
            "time": "at",
            "identity": ["at"],
            "properties": {"at": {"type": "timestamp", "required": True}},
        },
        "SUGGESTED": {
            "kind": "output",
            "endpoints": [["Reader", "Book"]],
            "identity": ["run"],
            "properties": {
                "run": {"type": "string", "required": True},
                "rank": {"type": "int64", "required": True},
                "score": {"type": "double", "required": True},
            },
        },
        "READ_BY": {
            "kind": "event",
            "endpoints": [["Book", "Reader"]],
            "time": "at",
            "identity": ["at"],
            "properties": {"at": {"type": "timestamp", "required": True}},
        },
    },
}
READERS, BOOKS_HELD = 40, 36


def shop() -> GraphStore:
    """The shop, in which users also view, other products than they buy."""
    store = MemoryStore()
    fill_shop(store)
    schema = load_schema()
    rows = [
        {name: value for name, value in row.items() if name != "first_quantity"} for row in purchases(seed=1)
    ]
    viewed = ("User", "VIEWED", "Product")
    store.write_relationships(viewed, pa.Table.from_pylist(rows, schema=schema.edge_arrow_schema(viewed)))
    return store


def library() -> GraphStore:
    """Readers of two tastes; a book is read twice now and then. Relationships stand both ways round."""
    schema = Schema.model_validate(LIBRARY)
    store = MemoryStore()
    store.apply_schema(schema)
    draw = np.random.default_rng(0)
    events = [
        {"source": f"r{reader}", "target": f"b{book}", "at": START + timedelta(days=float(day))}
        for reader in range(READERS)
        for book in draw.choice([b for b in range(BOOKS_HELD) if b % 2 == reader % 2], 12, replace=False)
        for day in draw.uniform(0, 300, draw.integers(1, 3))
    ]
    tables: dict[Any, list[dict[str, Any]]] = {
        "Reader": [{"card": f"r{n}"} for n in range(READERS)],
        "Book": [
            {"isbn": f"b{n}", "heading": f"book {n}", "blurb": f"of kind {n % 2}"} for n in range(BOOKS_HELD)
        ],
        "Author": [{"author_id": f"a{n}"} for n in range(4)],
        ("Book", "WRITTEN_BY", "Author"): [
            {"source": f"b{n}", "target": f"a{n % 4}"} for n in range(BOOKS_HELD)
        ],
        ("Reader", "READ", "Book"): events,
        ("Book", "READ_BY", "Reader"): [
            {"source": e["target"], "target": e["source"], "at": e["at"]} for e in events
        ],
    }
    write_rows(store, schema, tables)
    return store


def trained(store: GraphStore, text: str, folder: Path) -> Run:
    folder.mkdir()
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    encoder = {"encoder": str(tiny_encoder(folder / "encoder", layers=1)), "precision": "float32"}
    with store:
        run = Run.create(folder / "run", store, task=file, text=encoder, **SMALL)
    run.fit()
    run.evaluate()
    return run


def recall(run: Run, arm: str) -> float:
    """Over all items."""
    results = run.evaluate()
    found = next(a for a in results["arms"] if a["arm"] == arm)["settings"]["all"]
    return next(float(v["mean"]) for name, v in found.items() if name.startswith("recall"))


def test_views_are_recommended_by_a_file_alone(tmp_path: Path) -> None:
    run = trained(shop(), ON_VIEWS, tmp_path / "views")
    assert run.task.protocol.interaction == ("User", "VIEWED", "Product")
    # What was bought is another event: it neither trains nor is left out.
    viewed = {(row["source"], row["target"]) for row in purchases(seed=1)}
    seen = run.task.history("validation")
    users, items = run.task.user_keys.to_pylist(), run.task.item_keys.to_pylist()
    assert {(users[u], items[i]) for u, i in zip(*seen.nonzero(), strict=True)} <= viewed
    assert recall(run, "teacher") > recall(run, "popularity") + 0.1
    assert len(run.recommendations(3)) > 0
    html, markdown = (file.read_text("utf-8") for file in write_report(run.folder))
    for page in (html, markdown):
        assert re.search(r"Viewed \d+ products, lately", page)
        assert "few have viewed it yet" in page or "few have" not in page
        assert "kgdistill fit --run NEW --config config.json" in page
        assert "make demo" not in page
    # What stands beside the written answers, and orders paths, is what was viewed, and not what was bought.
    store, bundle = shop(), run.bundle()
    with Graph(store) as graph:
        history = graph.history("u00", "VIEWED")
        assert history != graph.history("u00")
        told = of_user(run, bundle, "u00", store)
        assert told.rests_on.startswith("what was viewed before: ")
        now = _bundle_card(GraphSource(store, bundle=bundle), "User", "u00")
        assert [hit.id for hit in now] == [hit.id for hit in bundle.recommend(history, k=10)]
        schema, early = load_schema(), START + timedelta(days=60)
        done = stored_past(store, schema, "u00", ["VIEWED", "RATED"])
        assert done == {"VIEWED": history, "RATED": []}
        cut = stored_past(store, schema, "u00", ["VIEWED"], before=early)["VIEWED"]
        assert 0 < len(cut) < len(history)
        assert cut == history[: len(cut)]
        weigh, seen = PathWeights(bundle, {"u00": history}), 0
        for hit in now:
            paths = [path for path in graph.explain("u00", hit.id, limit=30, bundle=bundle) if path.members]
            wanted = weigh("u00", hit.id, [path.members for path in paths])
            assert [path.weight for path in paths] == pytest.approx(wanted)
            seen += sum(weight > 0 for weight in wanted)
        assert seen
        # Another task would lose the bundle.
        with pytest.raises(InputError, match="is a run of the task 'mine'"):
            Run.create(run.folder, store, task="recommend")
        with pytest.raises(InputError, match="takes one run"):
            graph.write_back(Runs(tmp_path, {"views": run}))  # type: ignore[arg-type]
    assert Run.open(run.folder).config.task == run.config.task


def test_what_was_rated_low_is_neither_learned_as_liked_nor_recommended(tmp_path: Path) -> None:
    world, store = star_world(), MemoryStore()
    world.fill(store)
    run = trained(store, ON_STARS, tmp_path / "stars")
    liked = {(f"u{u:03}", f"p{i:03}") for u, i, _, stars in world.rated if stars == 5}
    train = run.task.history("validation")
    users, items = run.task.user_keys.to_pylist(), run.task.item_keys.to_pylist()
    assert {(users[u], items[i]) for u, i in zip(*train.nonzero(), strict=True)} < liked
    # The number that was the middle stands in the bundle, and the task stays as it was written.
    bundle = run.bundle()
    assert numbers_above(bundle.task) == run.config.discovery.above == {"RATED.rating": 3.0}
    assert isinstance(run.config.task, MatchSpec)
    assert run.config.task.positives.above == {"RATED.rating": "middle"}
    assert "RATED.rating counts above 3" in write_report(run.folder)[1].read_text("utf-8")
    given = run.recommendations(5)
    assert given.num_rows
    rated = {(f"u{u:03}", f"p{i:03}") for u, i, *_ in world.rated}
    assert not rated & set(zip(given["user"].to_pylist(), given["product"].to_pylist(), strict=True))
    later = MemoryStore()
    world.fill(later)
    with Graph(later) as graph:
        asked = of_user(run, bundle, "u000", graph.store)
        assert {f"p{i:03}" for u, i, _, stars in world.rated if u == 0 and stars == 1} <= set(asked.exclude)
        assert past_of(GraphSource(graph.store, bundle=bundle), bundle, "u000") == {"RATED": asked.history}


def test_views_that_a_task_weighs_lead_to_what_is_bought_after_them(tmp_path: Path) -> None:
    store = MemoryStore()
    view_world().fill(store)
    run = trained(store, WITH_VIEWS, tmp_path / "weighed")
    for arm in ("teacher", "student"):
        assert recall(run, arm) > recall(run, "ease") + 0.2
    # What is written back, and what one user is told, rests on views that came after training too.
    later = MemoryStore()
    view_world().fill(later)
    viewed = {"source": "u000", "target": "p007", "first_at": START + timedelta(days=400)}
    schema = later.schema.edge_arrow_schema(VIEWED)
    with Graph(later) as graph:
        before = told(run.recommendations(40, store=graph.store), "u000")
        graph.store.write_relationships(VIEWED, pa.Table.from_pylist([viewed], schema=schema))
        after = told(run.recommendations(40, store=graph.store), "u000")
        assert after.index("p047") < before.index("p047") - 5
        asked = of_user(run, run.bundle(), "u000", graph.store)
        assert "what was bought before: 8 products; viewed: 9 products" in asked.rests_on
        answer = run.bundle().recommend(asked.history, 5)
        assert [hit.id for hit in answer] == after[:5]
    # Where student and teacher put an item both know the views before the cut.
    bundle = run.bundle()
    past = run.pasts(bundle.keys, before=run.config.discovery.cut).of("u000")
    for hit in bundle.recommend(past, 10, pool="warm"):
        both = both_ranks(run, bundle, "u000", hit.id)
        assert both is not None
        assert both.student == hit.rank


def test_what_events_weigh_is_learned_once_and_every_place_reads_the_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, store, draw = view_world(), MemoryStore(), np.random.default_rng(0)
    rated = [
        (user, int(i), 5 * n, None) for user in range(150) for n, i in enumerate(draw.permutation(40)[:8])
    ]
    replace(world, rated=rated).fill(store)
    text = WITH_VIEWS.replace("{VIEWED: 0.5}", "{VIEWED: learned, RATED: learned}")
    run = trained(store, text, tmp_path / "learned")
    for arm in ("teacher", "student"):
        assert recall(run, arm) > recall(run, "ease") + 0.2
    # The task says the word still, and everything that reads a number has what was chosen.
    chosen = run.weights
    assert chosen["VIEWED"] > 0.1
    assert chosen["RATED"] == 0
    assert run.declared_weights == {"VIEWED": "learned", "RATED": "learned"}
    bundle = run.bundle()
    assert bundle.events == bundle.task["positives"]["weights"] == chosen
    said, written = capsys.readouterr().err, [file.read_text("utf-8") for file in write_report(run.folder)]
    for place in (said, *written):
        assert (
            f"Histories also hold VIEWED, which weighs {chosen['VIEWED']:g} beside BOUGHT, as lear" in place
        )
        assert "RATED is left out of histories, as learned from the last tenth" in place
    assert _histories(run) == [f"histories hold {n} too, what one weighs is learned" for n in chosen]
    # What is left out may be told, and says nothing.
    history = {"BOUGHT": ["p041"], "VIEWED": ["p007"]}
    assert bundle.recommend({**history, "RATED": ["p011"]}, 5) == bundle.recommend(history, 5)
    assert bundle.recommend({"RATED": ["p011"]}, 5).basis == "popularity"
    assert run.recommendations(3).num_rows
    resting = of_user(run, bundle, "u000", None).rests_on
    assert "viewed: " in resting
    assert "rated: " not in resting
    past = run.pasts(bundle.keys, before=run.config.discovery.cut).of("u000")
    for hit in bundle.recommend(past, 5, pool="warm"):
        both = both_ranks(run, bundle, "u000", hit.id)
        assert both is not None
        assert both.student == hit.rank
    # A run that goes on reads what was chosen.
    monkeypatch.setattr("kgdistill.run.history_match.learn_weights", None)
    again = Run.open(run.folder)
    assert again.weights == chosen
    assert [other.weight for other in again.by_history.catalogue.others] == list(chosen.values())
    (run.folder / "student" / "stage.json").unlink()
    again.fit()


def told(answers: pa.Table, user: str) -> list[str]:
    """The products that a user is recommended, the best first."""
    return [row["product"] for row in answers.to_pylist() if row["user"] == user]


def test_readers_and_books_need_no_line_of_code_whichever_way_the_relationship_leads(tmp_path: Path) -> None:
    run = trained(library(), BOOKS, tmp_path / "books")
    assert recall(run, "teacher") > recall(run, "popularity") + 0.1
    bundle, answers = run.bundle(), run.recommendations(3)
    assert set(answers["product"].to_pylist()) <= set(bundle.keys) <= {f"b{n}" for n in range(BOOKS_HELD)}
    known = run.task.history("test")
    readers, books = run.task.user_keys.to_pylist(), run.task.item_keys.to_pylist()
    had = {(readers[u], books[i]) for u, i in zip(*known.nonzero(), strict=True)}
    assert had.isdisjoint(zip(answers["user"].to_pylist(), answers["product"].to_pylist(), strict=True))
    write_report(run.folder)
    with Graph(library()) as graph:
        assert graph.write_back(run, k=3).recommendations == len(answers)
        told = graph.store.read_relationships(("Reader", "SUGGESTED", "Book"))
        assert set(zip(told["source"].to_pylist(), told["target"].to_pylist(), strict=True)) == set(
            zip(answers["user"].to_pylist(), answers["product"].to_pylist(), strict=True)
        )
        assert set(graph.history("r0", "READ")) >= {book for reader, book in had if reader == "r0"}
    with (
        Graph(shop()) as other,
        pytest.raises(InputError, match="no relationship Reader-SUGGESTED-Book to write to"),
    ):
        other.write_back(run)

    turned = trained(library(), READ_BY, tmp_path / "turned")
    assert turned.task.protocol.interaction == ("Book", "READ_BY", "Reader")
    for arm in ("ease", "teacher", "student"):
        assert recall(turned, arm) == recall(run, arm)
    assert turned.recommendations(3).equals(answers)
    write_report(turned.folder)
