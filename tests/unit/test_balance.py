"""Rare classes are favoured as far as a setting says; probabilities stay what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _classes import CONFIG, context, kind_spec, snapshot_of, users, world

from kgdistill.evaluate.classify import ClassArm
from kgdistill.ranking.classes import decide, macro_f1, rarity
from kgdistill.serve.attributions import KnownSubject, attributions
from kgdistill.serve.pack_classes import pack_classes
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.train.classify import ClassStudent, train_class_student
from kgdistill.train.classify_files import load_class_student, save_class_student


def test_weights_are_shares_to_the_power_of_less_than_nothing() -> None:
    shares = np.array([0.64, 0.16, 0.04])
    assert rarity(shares, 0) == ()
    assert rarity(shares, 0.5) == pytest.approx((1, 2, 4))
    assert rarity(shares, 1) == pytest.approx((1, 4, 16))
    assert np.isfinite(rarity(np.array([1.0, 0.0]), 1)).all()


def test_the_one_most_above_its_share_is_chosen_and_the_threshold_is_on_its_probability() -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.9, 0.06, 0.04]], np.float32)
    assert decide(p, 0.0, several=False).argmax(axis=1).tolist() == [0, 0]
    assert decide(p, 0.0, several=False, weights=(1, 3, 4)).argmax(axis=1).tolist() == [1, 0]
    assert decide(p, 0.5, several=False, weights=(1, 3, 4)).any(axis=1).tolist() == [False, True]
    assert (decide(p, 0.5, several=True, weights=(1, 3, 4)) == (p >= 0.5)).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClassifyTask, ClassStudent, ClassStudent]:
    """A third of one kind of buyers is rare, and nobody more than they: without and with balance."""
    tables = users(420, 60)
    draw = np.random.default_rng(5)
    for i, node in enumerate(tables["User"]):
        rare = i % 3 == 0 and draw.random() < 0.35
        node["kind"] = "rare" if rare else "usual"
    task = build_classify_task(snapshot_of(tables, tmp_path_factory.mktemp("s") / "s"), kind_spec())
    here = world(task)
    plain, fair = (
        train_class_student(
            task, None, here.vectors, CONFIG.model_copy(update={"balance": b}), context(), soft=None
        )
        for b in (0.0, 1.0)
    )
    return task, plain, fair


def arm(task: ClassifyTask, student: ClassStudent) -> ClassArm:
    return ClassArm("student", student.logits(task), student.calibration)


def test_macro_f1_rises_and_no_probability_moves(
    trained: tuple[ClassifyTask, ClassStudent, ClassStudent],
) -> None:
    task, plain, fair = trained
    task.open_test()
    without, with_it = (arm(task, s).classified(task, "kind", "test") for s in (plain, fair))
    assert np.array_equal(without.probabilities, with_it.probabilities)
    every = np.ones(len(without.truth), np.int64)
    assert macro_f1(with_it, every) > macro_f1(without, every) + 0.03
    share = task.truth("kind", "train").mean(axis=0)
    assert fair.calibration["kind"].weights == pytest.approx(rarity(share, 1))
    assert plain.calibration["kind"].weights == ()


def test_a_bundle_tells_what_was_judged(
    trained: tuple[ClassifyTask, ClassStudent, ClassStudent], tmp_path: Path
) -> None:
    task, _, fair = trained
    save_class_student(tmp_path / "student", fair)
    back = load_class_student(tmp_path / "student")
    assert back.calibration == fair.calibration
    keys = {"Product": [f"p{i:04}" for i in range(60)]}
    snapshot = snapshot_of(users(420, 60), tmp_path / "s")
    pack_classes(back, keys, snapshot, task.spec).save(tmp_path / "bundle")
    from kgdistill.serve.bundle import load_bundle

    bundle = load_bundle(tmp_path / "bundle")
    rows = task.subjects("test")
    members = task.neighbours[0].members
    histories = [[keys["Product"][j] for j in members[i].indices] for i in rows]
    told = [one.told for one in bundle.classify(histories=histories)]
    task.open_test()
    judged = arm(task, fair).classified(task, "kind", "test")
    names = task.class_names["kind"]
    assert [one.classes[0] for one in told] == [names[c] for c in judged.chosen.argmax(axis=1)]
    # Somebody is told a class that is not the likeliest, and the evidence is of the class that is told.
    odd = [i for i, one in enumerate(told) if one.classes[0] != next(iter(one.probabilities))]
    assert odd
    assert {told[i].first for i in odd} == {"rare"}
    found = {i: attributions(bundle, KnownSubject({"BOUGHT": histories[i]}))["kind"] for i in odd}
    at, speaks = next((i, some) for i, some in found.items() if some)
    without = bundle.classify(histories=[[key for key in histories[at] if key != speaks[0].key]])[0].told
    less = told[at].probabilities["rare"] - without.probabilities["rare"]
    assert speaks[0].less == pytest.approx(less, abs=1e-5)


def test_weights_of_another_number_are_refused(
    trained: tuple[ClassifyTask, ClassStudent, ClassStudent],
) -> None:
    from kgdistill.errors import ArtefactError
    from kgdistill.serve.classifier import Classifier
    from kgdistill.serve.pack_classes import pack_classifier

    _, _, fair = trained
    _, classifier = pack_classifier(fair, {"Product": [f"p{i:04}" for i in range(60)]})
    targets = {
        n: replace(t, calibration=replace(t.calibration, weights=(1.0, 2.0, 3.0)))
        for n, t in classifier.targets.items()
    }
    wrong = Classifier(targets, {}, [], 0).settings() | {"nodes": classifier.settings()["nodes"]}
    with pytest.raises(ArtefactError, match="targets"):
        Classifier.from_arrays(wrong, classifier.arrays(), classifier.files(), 0)
