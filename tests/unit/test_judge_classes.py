"""The document of a comparison of classes says what was judged, and the majority looks at nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from _classes import make_classes, spec, utterances

from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate.classify import ClassArm, judge_classes, majority
from kgdistill.ranking.calibration import Calibration
from kgdistill.tasks.classify import ClassifyTask


@pytest.fixture
def task(tmp_path: Path) -> ClassifyTask:
    tables = utterances()
    for row in tables["Utterance", "HAS_INTENT", "Intent"][:120]:
        row["target"] = "refund"
    return make_classes(tables, tmp_path / "s", spec())


def oracle(task: ClassifyTask) -> ClassArm:
    """It knows the truth of every part."""
    logits = np.zeros((len(task), len(task.class_names["intent"])), np.float32)
    for part in ("train", "validation", "test"):
        logits[task.subjects(part, "intent")] = np.where(task.truth("intent", part), 5.0, 0.0)
    return ClassArm("oracle", {"intent": logits}, {"intent": Calibration(1.0, 0.0)})


def test_the_document_has_every_figure_and_the_protocol(task: ClassifyTask) -> None:
    with pytest.raises(LeakError, match="closed"):
        judge_classes(task, {"majority": majority(task)}, part="test")
    task.open_test()
    arms = {"oracle": oracle(task), "majority": majority(task)}
    found = judge_classes(task, arms, part="test", compared=[("oracle", "majority")], samples=100)
    assert json.loads(json.dumps(found)) == found
    intent = found["targets"]["intent"]
    assert (intent["classes"], intent["subjects"]) == (3, len(task.subjects("test")))
    assert intent["arms"]["oracle"]["accuracy"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    shares = task.truth("intent", "test").mean(axis=0)
    assert intent["arms"]["majority"]["accuracy"]["mean"] == pytest.approx(shares.max())
    (pair,) = intent["compared"]
    assert (pair["arm"], pair["other"]) == ("oracle", "majority")
    assert pair["accuracy"]["mean"] == pytest.approx(1 - shares.max())
    assert found["protocol"] == task.describe()
    with pytest.raises(InputError, match="no arm 'teacher'"):
        judge_classes(task, arms, part="test", compared=[("teacher", "majority")])


def test_the_majority_is_counted_on_the_training_subjects_alone(task: ClassifyTask) -> None:
    counts = task.truth("intent", "train").sum(axis=0)
    p = np.exp(majority(task).logits["intent"][0])
    assert p == pytest.approx((counts + 0.5) / (counts.sum() + 1), rel=1e-5)
