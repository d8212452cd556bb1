"""Where "none of them" begins, for a task that was shown nothing out of scope."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from _classes import CONFIG, WordEncoder, World, context, make_classes, spec, world

from kgdistill.evaluate.classify import ClassArm
from kgdistill.ranking.classes import Classified, decide, mcc
from kgdistill.train.classify import ClassTeacher
from kgdistill.train.novelty import LeftOut, best_threshold, fit_class_student, left_out_folds, settled

FILLER = ["please", "today", "my", "order", "again", "hello"]
MARKS = ["coin", "truck", "clock", "the", "thanks"]


def tables() -> dict[Any, list[dict[str, Any]]]:
    """Five intents that one word tells; some texts of the test hold none and are out of scope."""
    draw = np.random.default_rng(0)
    nodes, has = [], []
    for i in range(300):
        strange = i % 6 == 5
        part = "test" if strange or i // 6 % 4 == 3 else "train"
        words = [*draw.choice(FILLER, 3), *([] if strange else [MARKS[i % 6]])]
        nodes.append({"utterance_id": f"t{i:03}", "text": " ".join(draw.permutation(words)), "split": part})
        has.append({"source": f"t{i:03}", "target": "none" if strange else f"intent{i % 6}"})
    return {
        "Utterance": nodes,
        "Intent": [{"intent_id": name} for name in ("none", *(f"intent{m}" for m in range(5)))],
        ("Utterance", "HAS_INTENT", "Intent"): has,
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    target = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "none"}}
    return world(make_classes(tables(), tmp_path_factory.mktemp("novel"), spec(targets=target)))


def refit(made: World) -> Any:
    def again(fold: Any) -> Any:
        teacher = World(fold, made.vectors).teacher
        return teacher.logits(fold, made.vectors), teacher.calibration

    return again


def test_left_out_classes_choose_a_threshold_that_finds_what_is_strange(made: World) -> None:
    logits = made.teacher.logits(made.task, made.vectors)
    found = settled(made.task, logits, made.teacher.calibration, refit(made), CONFIG, 0)["intent"]
    assert 0.2 < found.threshold < 1
    folds = left_out_folds(made.task, "intent", refit(made), share=CONFIG.out_of_scope, seed=0)
    assert found.threshold == best_threshold(folds, found.softness) != best_threshold(folds, 1.0)
    assert found.sure >= 0.5
    made.task.open_test()
    said = {
        name: ClassArm(name, logits, {"intent": calibration}).classified(made.task, "intent", "test")
        for name, calibration in {
            "settled": found,
            "everything": type(found)(found.temperature, 0.0),
        }.items()
    }
    every = np.ones(len(said["settled"].truth), np.int64)
    assert mcc(said["settled"], every) > mcc(said["everything"], every) + 0.1
    strange = ~said["settled"].truth.any(axis=1)
    assert (~said["settled"].chosen.any(axis=1))[strange].mean() > 0.7


def test_a_class_that_is_left_out_is_not_learned_and_the_test_stays_closed(made: World) -> None:
    seen, gone = [], []

    def look(fold: Any) -> Any:
        learned = fold.truth("intent", "train").any(axis=0)
        gone.append(np.flatnonzero(~learned).tolist())
        seen.append((learned.sum(), len(fold.unlabelled)))
        assert not set(fold.subjects("train")) & set(made.task.subjects("validation"))
        return refit(made)(fold)

    folds = left_out_folds(made.task, "intent", look, share=0.3, seed=1)
    # Each class is left out once, of eight or fewer beside nearly all others.
    assert sorted(itertools.chain(*gone)) == [*range(5)]
    assert len(folds) == 5
    assert all(learned < 5 and not unlabelled for learned, unlabelled in seen)
    for fold in folds:
        strange = ~fold.said.truth.any(axis=1)
        assert fold.weights[strange].sum() / fold.weights.sum() == pytest.approx(0.3, abs=0.01)


def test_the_students_that_choose_a_threshold_are_told_what_the_student_is_told(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    say = ClassTeacher.told

    def listen(self: ClassTeacher, task: Any, vectors: Any) -> Any:
        told.append(task)
        return say(self, task, vectors)

    monkeypatch.setattr(ClassTeacher, "told", listen)
    config = CONFIG.model_copy(update={"epochs": 2, "refit": False})
    encoder: Any = WordEncoder()
    fit_class_student(made.task, encoder, made.vectors, config, context(), teacher=made.teacher)
    assert len(told) == 1 + 5


def test_the_best_threshold_stands_between_what_is_known_and_what_is_not() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.4, 0.6]], np.float32)
    truth = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.bool_)
    fold = LeftOut(Classified(truth, p, decide(p, 0.0, several=False)), np.ones(4, np.int64))
    assert 0.6 < best_threshold([fold], 1.0) <= 0.8
    # Of 0.6 and 0.4, and of 0.8 and 0.2, by their roots.
    assert 0.55 < best_threshold([fold], 2.0) <= 0.667
    assert best_threshold([], 2.0) == 0.0
