"""A Chinese catalogue as a run of classes: its student learns what its characters say, and is served so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import make_classes, snapshot_of, spec, utterances
from _tiny_encoder import tiny_encoder, tiny_tokenizer

from kgdistill.config import ClassifyConfig
from kgdistill.models.text.transformer import TransformerText
from kgdistill.serve.pack_classes import pack_classes
from kgdistill.train.classify import ClassStudent, train_class_student, train_class_teacher
from kgdistill.train.loop import Context
from kgdistill.train.subject_vectors import encode_task

TELLING = ["退款", "包裹", "营业"]
"""Of each intent: pairs of characters, of which each character also stands in every other text."""
MIXED = "退包营裹业款"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ClassStudent, Any]:
    folder = tmp_path_factory.mktemp("chinese")
    tables, draw = utterances(240), np.random.default_rng(0)
    for i, row in enumerate(tables["Utterance"]):
        # All characters stand in every text: only which of them stand together tells.
        rest = [c for c in MIXED if c not in TELLING[i % 3]]
        filler = "，".join(draw.permutation(rest))
        row["text"], row["hint"] = f"{filler}，{TELLING[i % 3]}", None
    snapshot = snapshot_of(tables, folder / "snapshot")
    task = make_classes(tables, folder / "task", spec())
    bert = tiny_encoder(folder / "bert", layers=1)
    words = tiny_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "，", *MIXED])
    words.save_pretrained(bert)
    encoder = TransformerText(str(bert), precision="float32")
    config = ClassifyConfig(dim=16, hidden=16, teacher_hidden=16, epochs=30, batch=32, lr=0.02)
    vectors = encode_task(task, encoder)
    context = Context(encoder.device, 0)
    teacher = train_class_teacher(task, vectors, config, context)
    soft = teacher.logits(task, vectors)
    student = train_class_student(task, encoder, vectors, config, context, soft=soft)
    bundle = pack_classes(student, {}, snapshot, task.spec)
    return task, student, bundle


def test_pairs_of_characters_tell_what_characters_do_not(made: tuple[Any, ClassStudent, Any]) -> None:
    task, student, _ = made
    task.open_test()
    rows, truth = task.subjects("test"), task.truth("intent", "test").argmax(1)
    told = student.logits(task)["intent"][rows].argmax(1)
    assert (told == truth).mean() > 0.95
    # Whoever reads another text tells another class.
    assert (np.roll(told, 1) == truth).mean() < 0.5


def test_a_chinese_bundle_is_served_without_torch(
    made: tuple[Any, ClassStudent, Any], tmp_path: Path
) -> None:
    task, student, bundle = made
    bundle.save(tmp_path / "bundle")
    texts = [task.texts[i] for i in task.subjects("test")[:12]]
    names = student.classes["intent"]
    wanted = [names[i] for i in student.logits(task)["intent"][task.subjects("test")[:12]].argmax(1)]
    script = (
        "import sys, kgdistill as kg\n"
        f"told = kg.load({str(tmp_path / 'bundle')!r}).classify({texts!r})\n"
        "print([t.told.classes[0] for t in told], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{wanted} False\n"
