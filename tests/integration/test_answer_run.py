"""Answering questions as a run: declared in a file, judged on held-out questions, served without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _dialogues import FRAMES, TOPICS, fill_dialogues
from _tables import write_rows
from _tiny_encoder import tiny_encoder

from kgdistill import load
from kgdistill.config import resolve_config
from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate.answers import Ranked, commonest, fitted_confidence, measures, ranked
from kgdistill.ranking.fusion import Fusion
from kgdistill.run.by_answers import AnswerMatch
from kgdistill.run.chain import pipeline_of
from kgdistill.run.run import Run
from kgdistill.run.text_match import query_parts
from kgdistill.serve.bundle import Bundle
from kgdistill.snapshot import Snapshot, take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.answers import AnswerTask, Questions, build_answer_task, unclosed
from kgdistill.tasks.spec import MatchSpec, load_task, parse_task

SMALL: dict[str, Any] = {"queries": 100, "epochs": 4, "batch": 32, "dim": 12, "candidates": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("answers")
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    with MemoryStore() as store:
        fill_dialogues(store)
        made = Run.create(folder / "run", store, task="answer", text=text, search=SMALL, device="cpu")
        made.fit()
        yield made


@pytest.fixture(scope="module")
def bundle(run: Run) -> Bundle:
    return run.bundle()


def answer_task(snapshot: Snapshot) -> AnswerTask:
    spec = load_task("answer")
    assert isinstance(spec, MatchSpec)
    return build_answer_task(snapshot, spec)


def test_answers_that_say_the_same_are_one_and_the_test_stays_closed(run: Run) -> None:
    task = answer_task(run.snapshot)
    assert len(task.answers) == len(TOPICS)
    assert task.merged == 1
    assert len(task.entries) == 6 * len(TOPICS) + len(TOPICS)
    # Both spellings of the first answer are right, and the questions of both lead to it.
    assert sorted(map(len, task.nodes)) == [1, 1, 1, 1, 1, 2]
    with pytest.raises(LeakError, match="not opened"):
        task.asked("test")
    task.open_test()
    assert len(task.asked("test").texts) == 2 * len(TOPICS)
    assert not set(task.asked("test").texts) & set(task.entries)


def test_answers_that_differ_in_how_they_close_are_one_in_their_commonest_spelling(tmp_path: Path) -> None:
    """As people write them: a wave, a smile, a mark more; what is in braces or a number is no close."""
    schema = load_schema()
    said = {
        "a": "We pay back within a week~",
        "b": "we pay back within a week! 😊",
        "c": "We pay back within a week.",
        "d": "请放心 [微笑]",
        "e": "请放心。",
        "f": "Parcel {order_id}",
        "g": "Parcel",
        "h": "[微笑]",
    }
    asked = [*"abccc", *"deefgh"]
    questions = [{"question_id": f"q{n}", "text": f"question {n}"} for n in range(4 * len(asked))]
    rows = [{"source": f"q{n}", "target": asked[n % len(asked)]} for n in range(len(questions))]
    tables: dict[Any, list[dict[str, Any]]] = {
        "Question": questions,
        "Answer": [{"answer_id": key, "text": text} for key, text in said.items()],
        ("Question", "ANSWERED_BY", "Answer"): rows,
    }
    with MemoryStore() as store:
        store.apply_schema(schema)
        write_rows(store, schema, tables)
        task = answer_task(take_snapshot(store, tmp_path / "snapshot", cut=None, needed=()))
    assert sorted(task.answers) == sorted([said[key] for key in "cefgh"])
    assert task.merged == 3
    assert unclosed("costs 50 %") == "costs 50 %"
    assert unclosed("fine /:^_^") == "fine"
    assert unclosed("size [XL]") == "size [XL]"
    assert unclosed("model [a7]") == "model [a7]"


def test_a_question_of_the_test_that_train_asks_too_is_not_learned_from(tmp_path: Path) -> None:
    def number(repeat: bool) -> int:
        with MemoryStore() as store:
            fill_dialogues(store)
            if repeat:
                schema = store.schema.node_arrow_schema("Question")
                store.write_nodes(
                    "Question",
                    pa.Table.from_pylist(
                        [{"question_id": "q0-0", "text": "No  PARCEL yet", "split": "train"}], schema=schema
                    ),
                )
            return len(answer_task(take_snapshot(store, tmp_path / str(repeat), cut=None, needed=())).entries)

    assert number(True) == number(False) - 1


def test_a_question_that_is_asked_often_loses_none_of_its_answers_to_a_split_that_is_drawn(
    tmp_path: Path,
) -> None:
    spec = parse_task({**load_task("answer").declared(), "protocol": {"split": "held_out", "share": 0.3}})
    assert isinstance(spec, MatchSpec)
    with MemoryStore() as store:
        fill_dialogues(store)
        schema = store.schema.node_arrow_schema("Question")
        rows = [{"question_id": f"q{n % 6}-{n // 6}", "text": f"QUESTION {n // 4}"} for n in range(60)]
        store.write_nodes("Question", pa.Table.from_pylist(rows, schema=schema))
        task = build_answer_task(take_snapshot(store, tmp_path / "s", cut=None, needed=()), spec)
    task.open_test()
    asked = [*task.asked("validation").texts, *task.asked("test").texts]
    learned = len(task.entries) - len(task.answers)
    # What a former version made of another split is made anew.
    config = resolve_config({"task": spec.declared()})
    assert pipeline_of(config).stages["queries"].further(config)["copies"] == "together"
    # Where copies lay on both sides, those of train would be left out.
    assert learned + len(asked) == 60
    assert all(asked.count(text) == 4 for text in asked)


def test_the_student_finds_the_answer_and_the_results_have_the_shape_of_every_run(run: Run) -> None:
    results = run.evaluate()
    names = ["majority", "words", "encoder", "teacher", "student", "student_nodistill"]
    assert [arm["arm"] for arm in results["arms"]] == names
    assert results["protocol"]["settings"]["all"] == {"users": 12, "candidates": 6}
    held = {arm["arm"]: arm["settings"]["all"] for arm in results["arms"]}
    assert held["student"]["recall@1"]["mean"] > 0.9
    # All six answers were given as often, and stand in their order.
    assert held["majority"]["recall@1"]["mean"] == pytest.approx(1 / 6)
    assert held["majority"]["mrr"]["mean"] == pytest.approx(np.mean([1 / r for r in range(1, 7)]))
    assert {(c["a"], c["b"]) for c in results["comparisons"]} >= {("student", "majority")}
    assert held["student"]["mrr"]["mean"] > 0.9
    assert held["student"]["coverage"]["mean"] > 0.8
    assert "95% intervals over questions" in str(results)


def test_the_commonest_answer_is_that_which_was_given_most_often(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_dialogues(store)
        schema = store.schema.node_arrow_schema("Question")
        rows = [{"question_id": f"more-{n}", "text": f"invoice {n}", "split": "train"} for n in range(3)]
        store.write_nodes("Question", pa.Table.from_pylist(rows, schema=schema))
        edge = ("Question", "ANSWERED_BY", "Answer")
        given = [{"source": row["question_id"], "target": "a2"} for row in rows]
        store.write_relationships(
            edge, pa.Table.from_pylist(given, schema=store.schema.edge_arrow_schema(edge))
        )
        task = answer_task(take_snapshot(store, tmp_path / "s", cut=None, needed=()))
    said = commonest(task, 2)
    assert [task.answers[a] for a in said.first] == [TOPICS["invoice"]] * 2
    assert said.scores.shape == (2, len(TOPICS))


def test_a_planted_question_is_answered_with_its_nodes_and_placeholders(bundle: Bundle) -> None:
    told = bundle.answer("lamp?")
    assert told.decision == "answer"
    assert told.text == TOPICS["lamp"]
    assert [(n["label"], n["id"], n["relationship"]) for n in told.nodes] == [("Product", "p1", "ABOUT")]
    assert told.confidence == told.nearest[0].confidence
    assert "lamp" in told.nearest[0].question
    assert bundle.answer("parcel?").placeholders == ("order_id",)
    assert len(bundle.answer("the chair", k=2).nearest) == 2


def test_a_question_whose_answer_is_not_there_is_left_to_a_person(run: Run) -> None:
    """Every validation question finds its answer: they alone would not show what one without looks like."""
    maker = run.by_text
    assert isinstance(maker, AnswerMatch)
    asked = maker.task.asked("validation")
    said = dict(maker._scored(asked.texts))["student"]
    assert said.right(asked).all()
    confidence = fitted_confidence(maker.task, said, 0.95)
    sure = [(confidence.of(s.evidence) >= confidence.threshold).mean() for s in (said, said.without(asked))]
    assert sure[0] > 0.8
    assert sure[1] < 0.1


def test_of_two_answers_the_one_that_is_left_teaches_no_margin() -> None:
    """With no third one the margin of what is left would be its whole score."""
    asked = Questions([""] * 40, [frozenset([n % 2]) for n in range(40)], [""] * 40)
    right = np.linspace(1.2, 2.0, 40, dtype=np.float32)
    scores = np.stack([np.where(np.arange(40) % 2 == n, right, 1.0) for n in (0, 1)], 1, dtype=np.float32)
    task: Any = SimpleNamespace(asked=lambda part: asked)
    confidence = fitted_confidence(task, Ranked(scores, scores, scores), 0.95)
    clear = Ranked(*[np.array([[2.0, 0.5]], np.float32)] * 3).evidence
    torn = Ranked(*[np.array([[2.0, 1.99]], np.float32)] * 3).evidence
    assert confidence.of(clear)[0] >= confidence.of(torn)[0]


def test_thresholds_decide_and_are_kept_in_the_bundle(run: Run, bundle: Bundle) -> None:
    assert bundle.answers is not None
    confidence = bundle.answers.confidence
    assert confidence is not None
    task = answer_task(run.snapshot)
    said = [bundle.answer(text) for text in task.asked("validation").texts]
    right = [
        task.answers.index(s.nearest[0].answer) in r
        for s, r in zip(said, task.asked("validation").right, strict=True)
    ]
    given = [s.decision == "answer" for s in said]
    assert given == [s.nearest[0].confidence >= confidence.threshold for s in said]  # type: ignore[operator]
    assert np.mean([r for r, g in zip(right, given, strict=True) if g]) >= 0.95
    told = bundle.answer("what of the lamp?", answer_from=1.0)
    assert told.decision == "person"
    assert "1.00 is asked for" in told.because
    assert told.text == ""
    assert told.nearest[0].answer == TOPICS["lamp"]
    assert bundle.answer("nothing", answer_from=0.0).decision in ("answer", "person")
    for share in (-0.1, 1.1):
        with pytest.raises(InputError, match="from 0 to 1"):
            bundle.answer("lamp", answer_from=share)


@pytest.mark.parametrize(("text", "why"), [("台灯在哪里", "too few"), ("a " * 50_000, "100,000 characters")])
def test_what_cannot_be_read_is_handed_over_and_said(bundle: Bundle, text: str, why: str) -> None:
    told = bundle.answer(text)
    assert (told.decision, told.confidence, told.text) == ("person", 0.0, "")
    assert why in told.because


def test_an_empty_text_and_a_bundle_without_answers_are_refused(bundle: Bundle) -> None:
    for text in ("", "  \n"):
        with pytest.raises(InputError, match="no text to answer"):
            bundle.answer(text)
    with pytest.raises(InputError, match="cannot recommend"):
        bundle.recommend(["x"])


def test_a_bundle_is_the_same_after_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "again")
    again = load(tmp_path / "again")
    for topic in TOPICS:
        assert again.answer(f"where is the {topic}") == bundle.answer(f"where is the {topic}")


def test_scores_of_the_wrong_questions_are_worth_nothing(run: Run) -> None:
    task, maker = answer_task(run.snapshot), run.by_text

    def reached(shift: int) -> float:
        asked = task.asked("validation")
        parts = query_parts(maker.teacher, asked.texts, ("words", "coverage"))(np.arange(len(asked.texts)))
        rolled = {name: np.roll(x, shift, axis=0) for name, x in parts.items()}
        said = ranked(task, rolled, Fusion(meaning=0))
        return float(measures(said, asked, fitted_confidence(task, said, 0.95))["mrr"].mean())

    assert reached(0) > 0.95
    assert reached(2) < 0.6


def test_a_task_whose_split_is_not_there_is_refused(run: Run) -> None:
    declared = load_task("answer").declared()
    odd = parse_task({**declared, "protocol": {"split": "given", "property": "part"}}, name="odd")
    assert isinstance(odd, MatchSpec)
    with pytest.raises(InputError, match="no property 'part'"):
        build_answer_task(run.snapshot, odd)
    held = parse_task({**declared, "protocol": {"split": "held_out"}}, name="held")
    assert isinstance(held, MatchSpec)
    task = build_answer_task(run.snapshot, held)
    assert len(task.asked("validation").texts) + len(task.entries) < len(FRAMES) * len(TOPICS) + len(TOPICS)


def test_questions_of_no_given_part_are_held_out_and_that_is_said(tmp_path: Path) -> None:
    edge = ("Question", "ANSWERED_BY", "Answer")
    with MemoryStore() as full, MemoryStore() as store:
        fill_dialogues(full)
        store.apply_schema(full.schema)
        store.write_nodes("Question", full.read_nodes("Question").drop_columns(["split"]))
        store.write_nodes("Answer", full.read_nodes("Answer"))
        store.write_relationships(edge, full.read_relationships(edge))
        task = answer_task(take_snapshot(store, tmp_path / "s", cut=None, needed=()))
    assert task.describe()[1].startswith("No Question has the property split: 20% of the answered Questions")
    assert len(task.asked("validation").texts) > 0
