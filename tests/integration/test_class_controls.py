"""A run of classes says what its facts, its labels and what people would use instead are worth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from _classes import SCHEMA, START, kind_spec, spec, users, utterances
from _tables import write_rows
from _tiny_encoder import tiny_encoder

from kgdistill.progress import said_of
from kgdistill.run.report import write_report
from kgdistill.run.run import Results, Run
from kgdistill.store import MemoryStore
from kgdistill.tasks.spec import ClassifySpec

SMALL: dict[str, Any] = {
    "epochs": 40, "batch": 32, "dim": 12, "hidden": 16, "teacher_hidden": 16, "rank": 8, "lr": 0.02,
    "made_up": 0, "folds": 2,
}  # fmt: skip
WITH_FACTS = {"intent": {"relationship": "HAS_INTENT", "by": ["text", "facts"]}}
HISTORY_AND_FACTS = {"label": "User", "by": ["history", "facts"], "history": "BOUGHT"}


def judged(tables: dict[Any, Any], folder: Path, declared: ClassifySpec) -> tuple[Run, Results]:
    """A run of some rows, fitted and judged."""
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        store.apply_schema(SCHEMA)
        write_rows(store, SCHEMA, tables)
        run = Run.create(folder / "run", store, task=declared, text=text, classify=SMALL, device="cpu")
        run.fit()
        return run, run.evaluate()


def told(results: Results, arm: str) -> float:
    return next(float(a["settings"][t]["macro_f1"]["mean"]) for a in results["arms"] if a["arm"] == arm
                for t in a["settings"])  # fmt: skip


def apart(results: Results, a: str, b: str) -> tuple[float, float]:
    found = next(c for c in results["comparisons"] if (c["a"], c["b"]) == (a, b))
    return found["low"], found["high"]


def titles(results: Results) -> dict[str, str]:
    return {arm["arm"]: arm["title"] for arm in results["arms"]}


def asked_by_facts() -> dict[Any, Any]:
    """The test asks for each intent by a word that nothing holds but what the intent is ABOUT."""
    tables, things = utterances(180), ["voucher", "van", "door"]
    for i, row in enumerate(tables["Utterance"]):
        if row["split"] == "test":
            row["text"] = f"{things[i % 3]} please"
    tables["Product"] = [
        {"product_id": f"p{i}{j}", "title": title}
        for i, thing in enumerate(things)
        for j, title in enumerate([thing, f"{thing} {thing} please"])
    ]
    tables["Intent", "ABOUT", "Product"] = [
        {"source": intent["intent_id"], "target": f"p{i}{j}"}
        for i, intent in enumerate(tables["Intent"])
        for j in range(2)
    ]
    return tables


def bought_by_brand() -> dict[Any, Any]:
    """Every user bought other products: only their brands are shared by users of a kind."""
    tables = users(240, items=240 * 18)
    tables["User", "BOUGHT", "Product"] = [
        {"source": f"u{u:03}", "target": f"p{u * 18 + j * 6 + u % 3:04}", "first_at": START}
        for u in range(240)
        for j in range(3)
    ]
    return tables


def test_facts_of_classes_that_alone_tell_them_are_missed_by_the_control(tmp_path: Path) -> None:
    run, results = judged(asked_by_facts(), tmp_path, spec(targets=WITH_FACTS))
    assert run.pipeline.fitted[1:4] == ("teacher", "teacher_nofacts", "teacher_exchanged")
    assert told(results, "teacher") > 0.9 > 0.7 > told(results, "teacher_nofacts")
    assert apart(results, "teacher", "teacher_nofacts")[0] > 0.1
    assert apart(results, "teacher", "teacher_exchanged")[0] > 0.1
    # What facts lead to teaches the regression too.
    assert told(results, "linear") > 0.9
    assert titles(results)["teacher_nofacts"] == "fused teacher without facts of classes"
    assert titles(results)["linear"] == "logistic regression of words"
    assert results["void"] == {}
    html, markdown = write_report(run.folder)
    words = markdown.read_text("utf-8")
    answers = dict(re.findall(r"^### (.*\?)\n\n- (.*)\.", words, re.M))
    assert answers["Did the facts help?"].startswith("Intent: what facts say helped")
    assert answers["Do the labels teach it?"].startswith("Intent: whose label is whose helped")
    assert re.search(r"Intent, by macro-F1: .*the commonest class .* logistic regression of words", words)
    assert "fused teacher without facts of classes" in html.read_text("utf-8")


def test_facts_of_what_was_bought_that_alone_tell_users_apart_are_missed_by_the_control(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with said_of("kinds"):
        _, results = judged(bought_by_brand(), tmp_path, kind_spec(subjects=HISTORY_AND_FACTS))
    progress = capsys.readouterr().err
    for title in ("", "fused teacher without facts: ", "teacher with labels exchanged: "):
        assert f"\nkinds: {title}Training the classes' teacher" in progress
    assert told(results, "teacher") > 0.9 > 0.6 > told(results, "teacher_nofacts")
    assert apart(results, "teacher", "teacher_nofacts")[0] > 0.1
    # With labels exchanged these few kinds, which all part, get names by chance: now and then the right ones.
    assert told(results, "linear") > 0.9
    assert titles(results)["teacher_nofacts"] == "fused teacher without facts of Product"
    assert titles(results)["linear"] == "logistic regression of log counts"


def test_where_the_graph_holds_no_fact_of_a_class_nothing_is_trained_without_them(tmp_path: Path) -> None:
    run, results = judged(utterances(120), tmp_path, spec(targets=WITH_FACTS))
    assert "teacher_nofacts" not in titles(results)
    assert results["void"] == {"teacher_nofacts": "the graph has no facts that intent reads"}
    assert results["left_out"] == {}
    assert not (run.folder / "teacher_nofacts").exists()
    answer = "### Did the facts help?\n\n- Cannot be told: the graph has no facts that intent reads."
    assert answer in write_report(run.folder)[1].read_text("utf-8")


@pytest.mark.parametrize(
    ("declared", "there"),
    [
        (spec(), False),
        (kind_spec(), False),
        (kind_spec(subjects={"label": "User", "by": "facts"}), False),
        (kind_spec(subjects=HISTORY_AND_FACTS), True),
        (spec(subjects={"label": "Utterance", "by": ["text", "facts"]}), True),
        (spec(targets=WITH_FACTS), True),
        (kind_spec(targets=WITH_FACTS), False),
    ],
)
def test_a_control_without_facts_is_there_where_facts_and_something_else_are_declared(
    declared: ClassifySpec, there: bool
) -> None:
    assert declared.can_lose_facts is there
