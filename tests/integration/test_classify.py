"""Teacher and student of classes learn what is planted, from where it is planted, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _classes import (
    CONFIG,
    START,
    UNSEEN,
    World,
    context,
    kind_spec,
    make_classes,
    spec,
    users,
    utterances,
    world,
)
from scipy.special import log_softmax

from kgdistill.arrays import FloatArray
from kgdistill.errors import ArtefactError
from kgdistill.evaluate.classify import ClassArm
from kgdistill.models.text.vocabulary import most_words
from kgdistill.ranking.calibration import Calibration, calibrate
from kgdistill.ranking.classes import probabilities, softened
from kgdistill.ranking.confidence import Confidence
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.word_features import MOST
from kgdistill.train import class_text, classify
from kgdistill.train.class_lesson import ClassLesson, label_loss, soft_loss, worth
from kgdistill.train.classify import train_class_teacher
from kgdistill.train.classify_files import (
    load_class_student,
    load_class_teacher,
    save_class_student,
    save_class_teacher,
)
from kgdistill.train.losses import list_distillation
from kgdistill.train.subject_vectors import SubjectVectors


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(make_classes(utterances(unlabelled=60), tmp_path_factory.mktemp("words") / "s", spec()))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(make_classes(users(), tmp_path_factory.mktemp("history") / "s", kind_spec()))


def test_classes_that_the_words_tell_are_learned(words: World) -> None:
    teacher, student = words.teacher, words.student
    assert words.right(teacher.logits(words.task, words.vectors)["intent"], "intent") > 0.95
    assert words.right(student.logits(words.task)["intent"], "intent") > 0.95


def test_classes_that_the_history_alone_tells_are_learned(history: World) -> None:
    teacher, student = history.teacher, history.student
    assert student.tokenizer is None
    assert history.right(teacher.logits(history.task, history.vectors)["kind"], "kind") > 0.9
    assert history.right(student.logits(history.task)["kind"], "kind") > 0.9


def test_facts_of_the_history_tell_what_single_items_do_not(tmp_path: Path) -> None:
    # Every user bought other items: only the brand is shared.
    tables = users(150, items=150 * 18)
    tables["User", "BOUGHT", "Product"] = [
        {"source": f"u{u:03}", "target": f"p{u * 18 + j * 6 + u % 3:04}", "first_at": START}
        for u in range(150)
        for j in range(3)
    ]
    facts = kind_spec(subjects={"label": "User", "by": ["history", "facts"], "history": "BOUGHT"})
    known = world(make_classes(tables, tmp_path / "a", facts))
    longer = CONFIG.model_copy(update={"epochs": 40})
    assert known.right(known.trained(None, config=longer).logits(known.task)["kind"], "kind") > 0.9
    alone = world(make_classes(tables, tmp_path / "b", kind_spec()))
    assert alone.right(alone.trained(None, config=longer).logits(alone.task)["kind"], "kind") < 0.6


def test_swapped_targets_are_told_wrong(words: World) -> None:
    logits = words.student.logits(words.task)["intent"]
    words.task.open_test()
    assert words.right(logits[:, [1, 2, 0]], "intent") < 0.1


def test_what_the_teacher_says_is_learned_where_labels_are_silent(tmp_path: Path) -> None:
    """No label of the third class is left in training; the teacher's logits have it all the same."""
    tables = utterances(unlabelled=60)
    kept = make_classes(tables, tmp_path / "a", spec())
    silent = [i for i in kept.subjects("train") if i % 3 == 2]
    has = tables["Utterance", "HAS_INTENT", "Intent"]
    lost = {kept.keys[i] for i in silent}
    tables["Utterance", "HAS_INTENT", "Intent"] = [row for row in has if row["source"] not in lost]
    for row in tables["Utterance"]:
        if row["utterance_id"] in lost:
            row["split"] = None
    few = world(make_classes(tables, tmp_path / "b", spec()))
    whole = world(kept)
    soft = whole.teacher.logits(whole.task, whole.vectors)
    column = few.task.class_names["intent"].index("hours")
    rows = [i for i in few.task.subjects("test") if i % 3 == 2]
    told = few.trained(soft)
    assert (told.logits(few.task)["intent"][rows].argmax(1) == column).mean() > 0.9
    alone = few.trained(None)
    assert (alone.logits(few.task)["intent"][rows].argmax(1) == column).mean() < 0.1
    # Switched off, the same logits teach nothing.
    deaf = CONFIG.model_copy(update={"list_weight": 0.0, "text_weight": 0.0})
    off = few.trained(soft, config=deaf)
    assert (off.logits(few.task)["intent"][rows].argmax(1) == column).mean() < 0.1


def test_logits_are_the_same_however_many_are_read_at_once(
    words: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = words.student.logits(words.task)["intent"]
    monkeypatch.setattr(classify, "_ROWS", 77)
    assert words.student.logits(words.task)["intent"] == pytest.approx(whole, abs=1e-5)


def test_a_seed_decides_everything(words: World) -> None:
    soft = words.teacher.logits(words.task, words.vectors)
    one, other = (words.trained(soft, seed=s).logits(words.task)["intent"] for s in (0, 1))
    again = words.student.logits(words.task)["intent"]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("kind", ["words", "history"])
def test_teacher_and_student_come_back_from_disk(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here: World = request.getfixturevalue(kind)
    teacher, student = here.teacher, here.student
    save_class_teacher(tmp_path / "teacher", teacher)
    save_class_student(tmp_path / "student", student)
    name = next(iter(here.task.class_names))
    old = load_class_teacher(tmp_path / "teacher")
    assert np.array_equal(
        old.logits(here.task, here.vectors)[name], teacher.logits(here.task, here.vectors)[name]
    )
    back = load_class_student(tmp_path / "student")
    assert np.array_equal(back.logits(here.task)[name], student.logits(here.task)[name])
    assert back.calibration == student.calibration
    assert back.classes == dict(here.task.class_names)
    (tmp_path / "student" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="no student"):
        load_class_student(tmp_path / "student")
    with pytest.raises(ArtefactError, match="no teacher"):
        load_class_teacher(tmp_path)


def test_a_temperature_makes_probabilities_of_logits_that_are_too_sure() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 1.5, (4000, 5)).astype(np.float32)
    p = probabilities(logits, 1.0, several=False)
    drawn = (p.cumsum(1) > draw.random((4000, 1))).argmax(1)
    truth = np.eye(5, dtype=bool)[drawn]
    found = calibrate(logits * 3, truth, several=False, reject=False)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.threshold == 0.0
    # Of what is out of scope no class is right.
    beside = np.concatenate([logits * 3, logits * 30])
    none = np.concatenate([truth, np.zeros_like(truth)])
    assert calibrate(beside, none, several=False, reject=True).temperature == pytest.approx(found.temperature)
    both = draw.random((4000, 5)) < 1 / (1 + np.exp(-logits))
    found = calibrate(logits * 3, both, several=True, reject=False)
    assert found == Calibration(pytest.approx(3, rel=0.1), 0.5)


@pytest.mark.parametrize("several", [False, True])
def test_few_subjects_that_are_all_right_do_not_make_the_next_one_certain(several: bool) -> None:
    truth = np.eye(3, dtype=bool)[np.arange(30) % 3]
    logits = np.where(truth, 4.0, -4.0).astype(np.float32)
    temperature = calibrate(logits, truth, several=several, reject=False).temperature
    p = probabilities(logits, temperature, several=several)
    # 30 of 30: by Laplace's rule the next one is right with 31 of 32.
    assert p[truth] == pytest.approx(31 / 32, abs=1e-3)
    few = calibrate(logits[:6], truth[:6], several=several, reject=False).temperature
    assert probabilities(logits, few, several=several)[truth] == pytest.approx(7 / 8, abs=1e-3)


def test_what_is_softened_is_what_a_higher_temperature_says() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (50, 5)).astype(np.float32)
    p = probabilities(logits, 1.5, several=False)
    assert softened(p, 3.0) == pytest.approx(probabilities(logits, 4.5, several=False), abs=1e-6)
    assert softened(p, 1.0) == pytest.approx(p)


def test_a_threshold_keeps_most_of_what_is_in_scope() -> None:
    mixed = np.random.default_rng(0).normal(0, 1, (200, 3)).astype(np.float32)
    truth = np.eye(3, dtype=bool)[mixed.argmax(1)]
    # Of what is out of scope the threshold is not chosen.
    beside = np.concatenate([mixed, np.zeros((50, 3), np.float32)])
    none = np.concatenate([truth, np.zeros((50, 3), bool)])
    found = calibrate(beside, none, several=False, reject=True, keep=0.9)
    p, kept = found.told(mixed, None, several=False)
    assert kept.any(axis=1).mean() == pytest.approx(0.9, abs=0.01)
    assert p == pytest.approx(probabilities(mixed, found.temperature, several=False))
    assert calibrate(beside, none, several=False, reject=False).threshold == 0


def test_what_is_familiar_decides_in_place_of_the_probability() -> None:
    logits = np.array([[4.0, 0], [0, 4.0], [0.4, 0]], np.float32)
    near = np.array([0.9, -0.5, 0.9], np.float32)
    # Nearness alone, and then the probability alone, at twice the temperature.
    for weights, told in (((0.0, 1.0), [1, 0, 1]), ((1.0, 0.0), [1, 1, 0])):
        familiar = Confidence(weights, -0.8, (0.0, 0.0), (1.0, 1.0), 0.5)
        known = Calibration(1.0, 0.0, familiar=familiar)
        p, chosen = known.told(logits, near, several=False)
        assert chosen.any(axis=1).tolist() == [bool(t) for t in told]
        best = p.max(axis=1) ** 0.5 / (p**0.5).sum(axis=1)
        worth = weights[0] * np.log(best / (1 - best)) + weights[1] * near - 0.8
        assert (worth >= 0).tolist() == [bool(t) for t in told]
    # The class that is favoured is the one that must be familiar.
    favoured = Calibration(1.0, 0.0, weights=(1.0, 100.0), familiar=familiar)
    assert favoured.told(logits, near, several=False)[1].any(axis=1).tolist() == [False, True, False]


def test_out_of_scope_is_learned_as_no_class(tmp_path: Path) -> None:
    declared = spec(targets={"intent": {"relationship": "HAS_INTENT", "none_of_them": "hours"}})
    here = world(make_classes(utterances(), tmp_path / "s", declared))
    student = here.settle()
    known = student.calibration["intent"]
    # Validation has some, so that nothing is left out to learn from.
    assert known.familiar is not None
    here.task.open_test()
    arm = ClassArm("student", student.logits(here.task), student.calibration, student.near(here.task))
    given = arm.classified(here.task, "intent", "test")
    assert (given.chosen == given.truth).all(axis=1).mean() > 0.9


def test_several_classes_at_once_are_learned(tmp_path: Path) -> None:
    tables = utterances()
    has = tables["Utterance", "HAS_INTENT", "Intent"]
    has += [{**row, "target": "parcel"} for row in has if row["target"] == "refund"]
    declared = spec(targets={"intent": {"relationship": "HAS_INTENT", "several": True}})
    here = world(make_classes(tables, tmp_path / "s", declared))
    student = here.student
    here.task.open_test()
    rows, truth = here.task.subjects("test"), here.task.truth("intent", "test")
    p = probabilities(student.logits(here.task)["intent"][rows], 1.0, several=True)
    assert ((p >= 0.5) == truth).all(axis=1).mean() >= 0.95


def test_the_losses_are_what_they_say() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 3, generator=draw) for _ in range(2))
    assert torch.equal(
        soft_loss(student, teacher, 2.0, several=False), list_distillation(student, teacher, 2.0)
    )
    # Of several: the mean over all classes of T² KL of two Bernoulli distributions.
    p, q = torch.sigmoid(teacher / 2), torch.sigmoid(student / 2)
    by_hand = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert soft_loss(student, teacher, 2.0, several=True) == pytest.approx(float(by_hand), rel=1e-4)
    labels = torch.eye(3)[[0, 1, 2]]
    nobody = torch.cat([labels, torch.zeros(1, 3)])
    log_p = torch.log_softmax(student, 1)
    wanted = -(log_p[0, 0] + log_p[1, 1] + log_p[2, 2] + log_p[3].mean()) / 4
    assert label_loss(student, nobody, several=False) == pytest.approx(float(wanted), rel=1e-5)


def test_validation_asks_a_student_for_its_teachers_word_and_a_teacher_for_labels(words: World) -> None:
    task, draw = words.task, np.random.default_rng(0)
    soft, wrong = draw.standard_normal((2, len(task), 3)).astype(np.float32)
    rows = task.subjects("validation", "intent")

    def reached(said: FloatArray, taught: bool) -> dict[str, float]:
        held = {"intent": soft} if taught else None
        x = torch.from_numpy(said)
        lesson = ClassLesson(
            task, lambda rows: ({"intent": x[rows]}, None), torch.device("cpu"), CONFIG, soft=held
        )
        return lesson.validate()

    assert reached(soft, True) == {"imitation": pytest.approx(0, abs=1e-6)}
    t = CONFIG.temperature
    p, q = (np.exp(log_softmax(x[rows].astype(np.float64) / t, axis=1)) for x in (soft, wrong))
    assert reached(wrong, True)["imitation"] == pytest.approx(-t * t * (p * np.log(p / q)).sum(1).mean())
    f1, likelihood = worth(soft[rows], task.truth("intent", "validation"), several=False)
    assert reached(soft, False) == {"macro_f1": f1, "log_likelihood": likelihood}


def test_nothing_is_learned_from_validation_or_test(words: World) -> None:
    """Other texts of the held-out subjects change no weight but by the epoch that is chosen."""
    task = words.task
    held = {*task.subjects("test").tolist()}
    texts = [("thanks" if i in held else text) for i, text in enumerate(task.texts or [])]
    other = ClassifyTask(
        task.spec, keys=task.keys, texts=texts, neighbours=(), targets=list(task._targets.values()),
        parts=task._parts, class_texts=task.class_texts,
    )  # fmt: skip
    a, b = words.student, world(other).student
    for (name, one), two in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    assert a.calibration["intent"] == b.calibration["intent"]


def test_a_teacher_says_of_a_subject_what_it_did_not_learn_of_it(tmp_path: Path) -> None:
    """Drawn labels: what is told of training subjects is no better than chance, unless learned by heart."""
    tables, draw = utterances(300), np.random.default_rng(0)
    for i, row in enumerate(tables["Utterance"]):
        row["text"] = f"only{i} here{i}"
    has = tables["Utterance", "HAS_INTENT", "Intent"]
    for row, intent in zip(has, draw.permutation([row["target"] for row in has]), strict=True):
        row["target"] = str(intent)
    here = world(make_classes(tables, tmp_path / "s", spec()))
    # Vectors of their own let a head learn every subject by heart.
    vectors = SubjectVectors(draw.standard_normal((300, 64)).astype(np.float32), {})
    config = CONFIG.model_copy(update={"teacher_hidden": 128, "epochs": 40, "patience": 40, "dropout": 0.0})
    train = here.task.subjects("train")
    truth = here.task.truth("intent", "train").argmax(1)

    def right(folds: int) -> float:
        told = config.model_copy(update={"folds": folds})
        teacher = train_class_teacher(here.task, vectors, told, context())
        assert len(teacher.members) == folds
        return float((teacher.logits(here.task, vectors)["intent"][train].argmax(1) == truth).mean())

    assert right(5) < 0.45 < 0.5 < right(1)


def test_a_student_is_told_halfway_between_what_was_learned_and_what_was_not(tmp_path: Path) -> None:
    here = world(make_classes(utterances(), tmp_path / "s", spec()))
    task, vectors = here.task, here.vectors
    teacher = train_class_teacher(task, vectors, CONFIG.model_copy(update={"folds": 3}), context())
    told, unlearned = (
        found["intent"] for found in (teacher.told(task, vectors), teacher.logits(task, vectors))
    )
    # By a teacher that forgot which member learned from what, everybody speaks of everything.
    teacher.folds = np.zeros(0, np.int64)
    everybody = teacher.logits(task, vectors)["intent"]
    train = task.subjects("train")
    np.testing.assert_allclose(told, (unlearned + everybody) / 2, rtol=1e-4, atol=1e-4)
    assert np.abs(told[train] - unlearned[train]).max() > 0.01
    rest = np.setdiff1d(np.arange(len(task)), train)
    np.testing.assert_array_equal(told[rest], everybody[rest])


def test_exact_words_tell_what_the_vectors_do_not(tmp_path: Path) -> None:
    here = world(make_classes(utterances(), tmp_path / "s", spec()))
    blind = SubjectVectors(np.zeros((len(here.task), 4), np.float32), {})
    teacher = train_class_teacher(here.task, blind, CONFIG, context())
    assert here.right(teacher.logits(here.task, blind)["intent"], "intent") > 0.85


def test_a_student_tells_pairs_of_words_that_a_mean_of_tokens_does_not(tmp_path: Path) -> None:
    tables = utterances()
    orders = {"refund": "red blue green", "parcel": "blue green red", "hours": "green red blue"}
    intents = {row["source"]: row["target"] for row in tables["Utterance", "HAS_INTENT", "Intent"]}
    for row in tables["Utterance"]:
        row["text"] = orders[intents[row["utterance_id"]]]
    here = world(make_classes(tables, tmp_path / "s", spec()))
    alike = SubjectVectors(np.ones((len(here.task), 4), np.float32), {})
    student = here.trained(None)
    assert student.words is not None
    assert "blue green" in student.words.words
    assert here.right(student.logits(here.task)["intent"], "intent") > 0.95
    # What a teacher reads of words alone comes to the student too.
    soft = train_class_teacher(here.task, alike, CONFIG, context()).told(here.task, alike)
    taught = here.trained(soft, config=CONFIG.model_copy(update={"task_weight": 0.0}))
    assert here.right(taught.logits(here.task)["intent"], "intent") > 0.95


def test_the_words_of_many_classes_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(make_classes(utterances(), tmp_path / "s", spec()))
    assert most_words([3]) == MOST > most_words([2_000, 500]) == (8 << 20) // 10_000
    monkeypatch.setattr(class_text, "most_words", lambda counts: 5 if [*counts] == [3] else MOST)
    student = here.trained(None, config=CONFIG.model_copy(update={"epochs": 1}))
    assert student.words is not None
    assert len(student.words.words) == 5


def test_a_student_knows_words_of_its_encoder_that_no_training_text_holds(words: World) -> None:
    assert words.student.tokenizer is not None
    assert UNSEEN not in " ".join(words.task.texts or [])
    assert words.student.tokenizer.encode(UNSEEN, add_special_tokens=False).tokens == [UNSEEN]


def test_words_learn_faster_than_the_head_beside_them(words: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[float] = []
    train = classify.fit

    def watched(model: torch.nn.Module, lesson: Any, recipe: Any, *args: Any, **named: Any) -> Any:
        before = {name: held.detach().clone() for name, held in model.named_parameters()}
        done = train(model, lesson, recipe, *args, **named)
        far = {n: float((p.detach() - before[n]).abs().max()) for n, p in model.named_parameters()}
        moved.append(far["head.words.weight"] / far["head.head.outputs.of intent.weight"])
        return done

    monkeypatch.setattr(classify, "fit", watched)
    words.trained(None, config=CONFIG.model_copy(update={"epochs": 1}))
    assert moved[0] > 4
