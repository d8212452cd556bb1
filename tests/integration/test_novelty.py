"""Where "none of them" begins, for a task that was shown nothing out of scope."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import CONFIG, WordEncoder, World, context, make_classes, spec, world

from kgdistill.evaluate.classify import ClassArm
from kgdistill.ranking.calibration import Calibration, temperature
from kgdistill.ranking.classes import mcc
from kgdistill.ranking.confidence import precise_from
from kgdistill.train.class_baseline import fit_class_baseline
from kgdistill.train.classify import ClassTeacher, train_class_teacher
from kgdistill.train.novelty import LeftOut, familiarity, fit_class_student, left_out_folds, settled

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
        return teacher.logits(fold, made.vectors), teacher.near(fold, made.vectors)

    return again


def test_left_out_classes_choose_a_threshold_that_finds_what_is_strange(made: World) -> None:
    said = made.teacher.logits(made.task, made.vectors), made.teacher.near(made.task, made.vectors)
    found = settled(made.task, said, made.teacher.calibration, refit(made), CONFIG, 0)["intent"]
    assert found.familiar is not None
    folds = left_out_folds(made.task, "intent", refit(made), share=CONFIG.out_of_scope, seed=0)
    assert found.familiar == familiarity(folds, found, CONFIG.precision)
    # Of what is believed from there on, 95 in 100 are right, and fewer from a little below.
    every = [(found.told(f.logits, f.near, several=False)[0], f) for f in folds]
    believed = np.concatenate([found.believed(p, f.near) for p, f in every])
    right = np.concatenate([f.truth[np.arange(len(p)), p.argmax(axis=1)] for p, f in every])
    weights = np.concatenate([f.weights for f in folds])
    assert found.sure == precise_from(believed, right, CONFIG.precision, weights) >= 0.5
    made.task.open_test()
    told = {
        name: ClassArm(name, said[0], {"intent": calibration}, said[1]).classified(
            made.task, "intent", "test"
        )
        for name, calibration in {"settled": found, "everything": Calibration(found.temperature, 0.0)}.items()
    }
    every = np.ones(len(told["settled"].truth), np.int64)
    assert mcc(told["settled"], every) > mcc(told["everything"], every) + 0.1
    strange = ~told["settled"].truth.any(axis=1)
    assert (~told["settled"].chosen.any(axis=1))[strange].mean() > 0.7


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
        strange = ~fold.truth.any(axis=1)
        assert fold.weights[strange].sum() / fold.weights.sum() == pytest.approx(0.3, abs=0.01)


def test_copies_of_a_text_are_learned_from_together_or_not_at_all(tmp_path: Path) -> None:
    """Else a model would be asked of what it has learned, and be too sure of it."""
    rows = tables()
    for i, row in enumerate(rows["Utterance"]):
        row["text"] = rows["Utterance"][i % 60]["text"]
    target = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "none"}}
    made = world(make_classes(rows, tmp_path / "s", spec(targets=target)))
    texts = made.task.texts or ()
    two = CONFIG.model_copy(update={"folds": 2, "epochs": 1})
    folds = train_class_teacher(made.task, made.vectors, two, context()).folds
    train = made.task.subjects("train")
    parts = {(texts[row], int(folds[row])) for row in train}
    assert len(parts) == len({text for text, _ in parts}) < len(train) / 2
    assert {part for _, part in parts} == {0, 1}

    def look(fold: Any) -> Any:
        learned = fold.subjects("train")
        assert not {texts[row] for row in learned} & {texts[row] for row in np.setdiff1d(train, learned)}
        return {"intent": np.zeros((len(texts), 5), np.float32)}, {"intent": np.zeros(len(texts), np.float32)}

    assert left_out_folds(made.task, "intent", look, share=0.3, seed=0)


def test_a_text_of_two_classes_is_left_out_with_either(tmp_path: Path) -> None:
    """Else it would be learned, and judged as none of what is known."""
    rows = tables()
    for i, row in enumerate(rows["Utterance"]):
        row["text"] = f"text {i // 2}"
    target = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "none"}}
    task = make_classes(rows, tmp_path / "s", spec(targets=target))
    assert task.texts is not None
    texts, train = task.texts, task.subjects("train")

    def look(fold: Any) -> Any:
        learned = fold.subjects("train")
        assert not {texts[row] for row in learned} & {texts[row] for row in np.setdiff1d(train, learned)}
        return {"intent": np.zeros((len(texts), 5), np.float32)}, {"intent": np.zeros(len(texts), np.float32)}

    assert left_out_folds(task, "intent", look, share=0.3, seed=0)


def test_where_nothing_is_left_to_tell_apart_no_model_is_asked(tmp_path: Path) -> None:
    rows = tables()
    for i, row in enumerate(rows["Utterance"]):
        row["text"], row["split"] = f"text {i // 30}", ["train", "dev", "test"][max(i // 30 - 7, 0)]
    target = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "none"}}
    task = make_classes(rows, tmp_path / "s", spec(targets=target))

    def never(fold: Any) -> Any:
        raise AssertionError

    assert left_out_folds(task, "intent", never, share=0.3, seed=0) == []


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


def test_what_was_left_out_makes_logits_probabilities_where_validation_is_few_and_right(made: World) -> None:
    said = made.teacher.logits(made.task, made.vectors), made.teacher.near(made.task, made.vectors)
    sure = {"intent": Calibration(0.05, 0.0)}
    found = settled(made.task, said, sure, refit(made), CONFIG, 0)["intent"]
    folds = left_out_folds(made.task, "intent", refit(made), share=CONFIG.out_of_scope, seed=0)
    held = [(fold.logits[fold.truth.any(axis=1)], fold.truth[fold.truth.any(axis=1)]) for fold in folds]
    logits, truth = (np.concatenate(parts) for parts in zip(*held, strict=True))
    assert found.temperature == temperature(logits, truth, several=False) > 0.1


def fold(p: list[list[float]], near: list[float], truth: list[list[int]]) -> LeftOut:
    logits = np.log(np.array(p, np.float32))
    held = np.array(truth, np.bool_)
    every = np.ones(len(held), np.int64)
    return LeftOut(logits, np.array(near, np.float32), held, every, np.ones_like(held))


KNOWN, STRANGE = [[1, 0], [0, 1]] * 20, [[0, 0]] * 40


def test_the_threshold_stands_between_what_is_known_and_what_is_not() -> None:
    clear = fold([[0.9, 0.1], [0.2, 0.8]] * 20 + [[0.55, 0.45], [0.4, 0.6]] * 20, [0.0] * 80, KNOWN + STRANGE)
    familiar = familiarity([clear], Calibration(1.0, 0.0), 0.95)
    chosen = Calibration(1.0, 0.0, familiar=familiar).told(clear.logits, clear.near, several=False)[1]
    assert np.array_equal(chosen, clear.truth)
    # Midway between 0.8, the least of what is known, and 0.6.
    told = [familiar.of(np.array([[np.log(x**0.5 / (1 - x) ** 0.5), 0.0]])).item() for x in (0.6, 0.8)]
    assert familiar.threshold == pytest.approx(np.mean(told), abs=1e-3)


def test_nearness_tells_what_probabilities_do_not() -> None:
    far = fold([[0.9, 0.1], [0.1, 0.9]] * 40, [0.8] * 40 + [-0.1] * 40, KNOWN + STRANGE)
    known = Calibration(1.0, 0.0, familiar=familiarity([far], Calibration(1.0, 0.0), 0.95))
    assert np.array_equal(known.told(far.logits, far.near, several=False)[1], far.truth)
    # Alike they would be right with 0.75 where they are near.
    kinds = fold(
        [[0.9, 0.1], [0.1, 0.9]] * 40, [0.8] * 30 + [0.1] * 10 + [0.1] * 30 + [0.8] * 10, KNOWN + STRANGE
    )
    weights = np.repeat([100, 1, 100, 1], [30, 10, 30, 10]).astype(np.int64)
    kinds = replace(kinds, weights=weights)
    familiar = familiarity([kinds], Calibration(1.0, 0.0), 0.95)
    sure, unsure = familiar.of(np.array([[np.log(3), 0.8], [np.log(3), 0.1]], np.float32))
    assert sure > 0.85 > 0.15 > unsure


def test_a_model_that_lacks_classes_is_read_as_one_that_has_them_all() -> None:
    # Of each other class a model of three says half of what one of two says of its only one.
    odds = [9.0, 4.0] * 20 + [1.3, 1.5] * 20
    two = fold([[x, 1.0, 0.8] for x in odds], [0.0] * 80, [[*row, 0] for row in KNOWN[::2] * 2 + STRANGE])
    two = replace(two, knew=two.knew & [True, True, False])
    logits = np.log(np.array([[x, 1.0, 1.0] for x in odds], np.float32))
    three = replace(two, logits=logits, knew=np.ones_like(two.knew))
    known = Calibration(1.0, 0.0)
    (_, best, rests), (_, _, whole) = two.told(known), three.told(known)
    assert not best.any()
    np.testing.assert_allclose(rests, whole, atol=1e-5)


def test_each_fold_says_which_classes_its_model_knew(made: World) -> None:
    folds = left_out_folds(made.task, "intent", refit(made), share=0.3, seed=0)
    assert len(folds) == 5
    lost = [np.flatnonzero(~fold.knew[0]) for fold in folds]
    assert sorted(np.concatenate(lost)) == list(range(5))
    for fold in folds:
        assert (fold.knew == fold.knew[0]).all()
        assert not (fold.truth & ~fold.knew).any()


@pytest.mark.parametrize("classes", [3, 4])
def test_with_few_classes_what_is_known_is_still_told(classes: int, tmp_path: Path) -> None:
    rows = tables()
    kept = {f"intent{i}" for i in range(classes)} | {"none"}
    edges = ("Utterance", "HAS_INTENT", "Intent")
    rows[edges] = [edge for edge in rows[edges] if edge["target"] in kept]
    held = {edge["source"] for edge in rows[edges]}
    rows["Utterance"] = [node for node in rows["Utterance"] if node["utterance_id"] in held]
    rows["Intent"] = [node for node in rows["Intent"] if node["intent_id"] in kept]
    target = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "none"}}
    task = make_classes(rows, tmp_path, spec(targets=target))
    told = fit_class_baseline(task, CONFIG, seed=0)
    task.open_test()
    said = ClassArm("regression", told.logits, told.calibration, told.near).classified(task, "intent", "test")
    known = said.truth.any(axis=1)
    assert said.chosen[known].any(axis=1).mean() > 0.9
    assert said.chosen[~known].any(axis=1).mean() < 0.3
