"""What users viewed, searched for and wrote tells classes that what they bought does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import MARKS, START, Row, World, kind_spec, world
from _tables import write_rows
from typer.testing import CliRunner

from kgdistill.cli.app import app
from kgdistill.errors import InputError
from kgdistill.run.known import known_subjects
from kgdistill.run.profile import properties
from kgdistill.serve.attributions import KnownSubject, attributions, told_of
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.pack_classes import pack_classes
from kgdistill.snapshot import take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.store.schema import Schema
from kgdistill.tasks.check import check_task
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.sensitive import learned_from
from kgdistill.tasks.spec import ClassifySpec
from kgdistill.tasks.written import WrittenText

USERS, ITEMS = 240, 60
FILLER = ["please", "today", "my", "the", "order", "again", "hello", "thanks"]
AGES = ["old", "young", "middle"]
LATE = START + timedelta(days=100)


def with_reviews() -> Schema:
    """The project's schema, in which users write statements."""
    raw = load_schema().model_dump(by_alias=True, exclude_none=True)
    raw["relationships"]["WROTE"] = {
        "kind": "event", "endpoints": [["User", "Statement"]], "time": "written_at",
        "properties": {"written_at": {"type": "timestamp", "required": True}},
    }  # fmt: skip
    return Schema.model_validate(raw)


SCHEMA = with_reviews()


@cache
def shop() -> dict[Any, list[Row]]:
    """Everybody buys anything; each age views a brand of its own, and uses a word of its own in text.

    After a hundred days everybody views and types what is another age's.
    """
    draw = np.random.default_rng(0)
    rows: dict[Any, list[Row]] = {
        "User": [{"user_id": f"u{u:03}", "age": AGES[u % 3] if u < 200 else None} for u in range(USERS)],
        "Product": [{"product_id": f"p{i:02}", "title": "a thing"} for i in range(ITEMS)],
        "Brand": [{"brand_id": f"b{b}", "name": "a brand"} for b in range(6)],
        ("Product", "MADE_BY", "Brand"): [
            {"source": f"p{i:02}", "target": f"b{i % 6}"} for i in range(ITEMS)
        ],
    }
    edges: dict[str, list[Row]] = {"BOUGHT": [], "VIEWED": [], "SEARCHED": [], "WROTE": []}
    nodes: dict[str, list[Row]] = {"Query": [], "Statement": []}

    def texts(name: str, user: int, key: str, text: str, at: datetime) -> None:
        label, time = ("Query", "first_at") if name == "SEARCHED" else ("Statement", "written_at")
        node = {"query_id": key} if label == "Query" else {"statement_id": key, "at": at}
        nodes[label].append({**node, "text": text})
        edges[name].append({"source": f"u{user:03}", "target": key, time: at})

    for user in range(USERS):
        own = [i for i in range(ITEMS) if i % 3 == user % 3]
        for name, items in (("BOUGHT", range(ITEMS)), ("VIEWED", own)):
            edges[name] += [
                {"source": f"u{user:03}", "target": f"p{i:02}", "first_at": START}
                for i in draw.choice(items, 5, replace=False)
            ]
        other = (user + 1) % 3
        edges["VIEWED"] += [
            {"source": f"u{user:03}", "target": f"p{i:02}", "first_at": LATE}
            for i in range(ITEMS)
            if i % 3 == other
        ]
        for n in range(3):
            words = [*draw.choice(FILLER, 3), *([MARKS[user % 3]] if n == 1 else [])]
            for name in ("SEARCHED", "WROTE"):
                at = START + timedelta(hours=n)
                texts(name, user, f"{name[0]}{user:03}-{n}", " ".join(draw.permutation(words)), at)
        for name in ("SEARCHED", "WROTE"):
            texts(name, user, f"{name[0]}{user:03}-late", MARKS[other], LATE)
    ends = {"SEARCHED": "Query", "WROTE": "Statement"}
    events = {("User", name, ends.get(name, "Product")): some for name, some in edges.items()}
    return rows | nodes | events


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as opened:
        opened.apply_schema(SCHEMA)
        write_rows(opened, SCHEMA, shop())
        yield opened


def declared_with(*events: str) -> ClassifySpec:
    return kind_spec(
        subjects={"label": "User", "by": ["history", "facts"], "history": list(events)},
        targets={"age": {"property": "age"}},
    )


def task_of(store: MemoryStore, folder: Path, *events: str, cut: datetime | None = LATE) -> ClassifyTask:
    return build_classify_task(take_snapshot(store, folder, cut=cut, schema=SCHEMA), declared_with(*events))


def right(here: World) -> float:
    return here.right(here.student.logits(here.task)["age"], "age")


def test_what_was_bought_alone_tells_nothing(store: MemoryStore, tmp_path: Path) -> None:
    assert right(world(task_of(store, tmp_path / "s", "BOUGHT"))) < 0.5


@pytest.mark.parametrize("event", ["VIEWED", "SEARCHED", "WROTE"])
def test_what_else_was_done_tells_it(event: str, store: MemoryStore, tmp_path: Path) -> None:
    assert right(world(task_of(store, tmp_path / "s", "BOUGHT", event))) > 0.9


def test_nothing_from_the_cut_on_is_read(store: MemoryStore, tmp_path: Path) -> None:
    events = ("VIEWED", "SEARCHED", "WROTE")
    early = task_of(store, tmp_path / "early", *events)
    late = task_of(store, tmp_path / "late", *events, cut=None)
    assert early.texts is not None
    assert late.texts is not None
    for user in range(USERS):
        assert MARKS[user % 3] in early.texts[user]
        assert MARKS[(user + 1) % 3] not in early.texts[user]
        # The latest come first.
        assert late.texts[user].startswith(MARKS[(user + 1) % 3])
    (viewed,), (all_viewed,) = early.neighbours, late.neighbours
    assert np.diff(viewed.members.indptr).tolist() == [5] * USERS
    assert np.diff(all_viewed.members.indptr).tolist() == [25] * USERS
    assert early.describe()[0].startswith("Subjects: Users by history (VIEWED, SEARCHED, WROTE) and facts;")


def test_an_event_that_nobody_did_is_left_out_and_said(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(store, tmp_path / "s", "BOUGHT", "RATED", "SEARCHED")
    assert "subjects.history: no User has any RATED: it is left out" in capsys.readouterr().err
    assert task.spec.subjects.events == ("BOUGHT", "SEARCHED")
    task = task_of(store, tmp_path / "s", "BOUGHT", "RATED")
    assert task.spec.subjects.history == "BOUGHT"
    assert task.texts is None
    with pytest.raises(InputError, match="no User has a history of RATED or RECEIVED"):
        task_of(store, tmp_path / "s", "RATED", "RECEIVED")
    with pytest.raises(InputError, match="no event 'SEARCHD' leads from User"):
        task_of(store, tmp_path / "s", "BOUGHT", "SEARCHD")


def test_a_store_of_an_earlier_version_lacks_events_that_nobody_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = SCHEMA.model_dump(by_alias=True, exclude_none=True)
    for name in ("SAID", "RATED"):
        del raw["relationships"][name]
    earlier = Schema.model_validate(raw)
    declared = declared_with("BOUGHT", "SAID")
    with MemoryStore() as store:
        store.apply_schema(earlier)
        write_rows(store, earlier, shop())
        check_task(declared, earlier)
        task = build_classify_task(take_snapshot(store, tmp_path / "s", cut=LATE, schema=earlier), declared)
    assert "subjects.history: no User has any SAID: it is left out" in capsys.readouterr().err
    assert task.spec.subjects.history == "BOUGHT"
    with pytest.raises(InputError, match="the schema has no event 'SAID'"):
        check_task(declared_with("SAID", "RATED"), earlier)
    with pytest.raises(InputError, match="the schema has no event 'SEARCHD'"):
        check_task(declared_with("BOUGHT", "SEARCHD"), earlier)


@pytest.fixture(scope="module")
def packed(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassifyTask, Bundle]:
    """By what was bought, viewed and searched for, with its bundle as it comes from disk."""
    folder = tmp_path_factory.mktemp("signals")
    snapshot = take_snapshot(store, folder / "s", cut=LATE, schema=SCHEMA)
    task = task_of(store, folder / "t", "BOUGHT", "VIEWED", "SEARCHED")
    bundle = pack_classes(
        world(task).student, {"Product": snapshot.keys("Product").tolist()}, snapshot, task.spec
    )
    bundle.save(folder / "bundle")
    return task, load_bundle(folder / "bundle")


def test_what_is_served_is_what_was_learned(packed: tuple[ClassifyTask, Bundle], store: MemoryStore) -> None:
    task, bundle = packed
    assert task.texts is not None
    known = known_subjects(bundle, store, SCHEMA, before=LATE)
    for i, key in enumerate(task.keys):
        assert known[key].text == task.texts[i]
        for beside in task.neighbours:
            held = {f"p{j:02}" for j in beside.members[i].indices}
            assert set(known[key].done[beside.relationship]) == held
        assert known_subjects(bundle, store, SCHEMA, user=key, before=LATE)[key] == known[key]


def test_new_searches_count_by_their_words(packed: tuple[ClassifyTask, Bundle]) -> None:
    _, bundle = packed
    assert bundle.classifier is not None
    assert bundle.classifier.events == ["BOUGHT", "VIEWED"]
    told = told_of(
        bundle,
        [
            KnownSubject({}, {"SEARCHED": [WrittenText(START, f"new{n}", f"buy {mark} now")]})
            for n, mark in enumerate(MARKS)
        ],
    )
    assert [one.told.first for one in told] == AGES


def test_histories_are_told_apart_by_event(packed: tuple[ClassifyTask, Bundle]) -> None:
    _, bundle = packed
    young = [f"p{i:02}" for i in range(1, ITEMS, 3)][:5]
    bought, named, viewed = (
        bundle.classify(histories=[given])[0] for given in (young, {"BOUGHT": young}, {"VIEWED": young})
    )
    assert viewed.told.probabilities["young"] > 0.5
    assert bought == named
    assert bought.told.probabilities["young"] < viewed.told.probabilities["young"] - 0.2
    assert bundle.classify(histories=[{"VIEWED": ["p00", "new"]}])[0].unknown == ("new",)
    with pytest.raises(InputError, match=r"no event 'VIEWD' is known to these classes\n.*'VIEWED'"):
        bundle.classify(histories=[{"VIEWD": young}])


def test_evidence_says_what_was_done_and_later_events_are_none(
    packed: tuple[ClassifyTask, Bundle], store: MemoryStore
) -> None:
    _, bundle = packed
    (age,) = properties(bundle, store, "u004", before=LATE)
    assert (age["class"], age["told"]) == ("young", True)
    found = {(e["event"], e["title"]) for e in age["evidence"]}
    assert any(event == "SEARCHED" and "truck" in title for event, title in found)
    (every,) = properties(bundle, store, "u004")
    assert every["class"] == "middle"
    assert every["evidence"][0]["title"] == "clock"
    known = KnownSubject({"BOUGHT": ["p00"], "VIEWED": ["p00", "p01", "p04", "p07", "p10"]})
    viewed = attributions(bundle, known)["age"]
    assert {e.event for e in viewed} == {"VIEWED"}
    assert {e.key for e in viewed} <= {"p01", "p04", "p07", "p10"}


def test_what_is_sensitive_of_any_event_is_known() -> None:
    raw = SCHEMA.model_dump(by_alias=True, exclude_none=True)
    raw["relationships"]["WROTE"]["sensitive"] = True
    schema = Schema.model_validate(raw)
    for events, read in ((["BOUGHT", "VIEWED"], []), (["BOUGHT", "WROTE"], ["WROTE"])):
        subjects = {"label": "User", "by": "history", "history": events}
        assert (
            learned_from(kind_spec(subjects=subjects, targets={"age": {"property": "age"}}), schema) == read
        )


def test_the_command_takes_histories_by_event_and_texts(
    packed: tuple[ClassifyTask, Bundle], tmp_path: Path
) -> None:
    packed[1].save(tmp_path / "bundle")

    def told(*words: str) -> str:
        asked = ["classify", *words, "--bundle", str(tmp_path / "bundle"), "--json"]
        (one,) = json.loads(CliRunner().invoke(app, asked).stdout)
        # Where "none of them" is no answer, one is as sure of a class as it is likely.
        assert one["targets"]["age"]["confidence"] == max(one["targets"]["age"]["probabilities"].values())
        return str(one["targets"]["age"]["classes"][0])

    assert told("--event", "VIEWED=p01,p04,p07") == "young"
    assert told("buy truck now") == "young"
    refused = CliRunner().invoke(
        app, ["classify", "--event", "VIEWD=p01", "--bundle", str(tmp_path / "bundle")]
    )
    assert isinstance(refused.exception, InputError)
    assert "did you mean 'VIEWED'" in str(refused.exception)
