"""Small worlds to classify: utterances whose intent the words tell, users whose kind the history tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _tables import write_rows
from _tiny_encoder import tiny_tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.ranking.classes import Classified, accuracy, decide, probabilities
from kgdistill.snapshot import Snapshot, take_snapshot
from kgdistill.store import MemoryStore
from kgdistill.store.schema import Schema
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, parse_task
from kgdistill.train.class_lesson import Logits
from kgdistill.train.classify import (
    ClassStudent,
    ClassTeacher,
    train_class_student,
    train_class_teacher,
)
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student
from kgdistill.train.subject_vectors import SubjectVectors, encode_task

Row = dict[str, Any]
START = datetime(2024, 1, 1)
SCHEMA = Schema.model_validate(
    {
        "version": 1,
        "nodes": {
            "Utterance": {
                "key": "utterance_id", "name": "text", "text": ["text", "hint"],
                "properties": {"text": "string", "hint": "string", "split": "string", "mood": "string",
                               "length": "double", "polite": "bool"},
            },
            "Intent": {"key": "intent_id", "name": "intent_id"},
            "Channel": {"key": "channel_id", "name": "title", "text": ["title", "note"],
                        "properties": {"title": "string", "note": "string"}},
            "User": {"key": "user_id", "name": "user_id", "properties": {"kind": "string"}},
            "Product": {"key": "product_id", "name": "title", "text": ["title"],
                        "properties": {"title": "string"}},
            "Brand": {"key": "brand_id", "name": "brand_id"},
        },
        "relationships": {
            "HAS_INTENT": {"kind": "fact", "endpoints": [["Utterance", "Intent"]],
                           "properties": {"part": "string"}},
            "ABOUT": {"kind": "fact", "endpoints": [["Intent", "Product"], ["Utterance", "Product"]]},
            "SENT_BY": {"kind": "fact", "endpoints": [["Utterance", "Channel"]]},
            "MADE_BY": {"kind": "fact", "endpoints": [["Product", "Brand"]]},
            "BOUGHT": {"kind": "event", "endpoints": [["User", "Product"]], "time": "first_at",
                       "properties": {"first_at": "timestamp"}},
            "VIEWED": {"kind": "event", "endpoints": [["User", "Product"]], "time": "at",
                       "properties": {"at": "timestamp"}},
        },
    }
)  # fmt: skip
INTENTS = {"refund": "money back please", "parcel": "where is it now", "hours": "when do you open"}
MARKS = ["coin", "truck", "clock"]
"""The one word that tells each intent, among words that tell nothing."""


def snapshot_of(tables: dict[Any, list[Row]], folder: Path, *, cut: datetime | None = None) -> Snapshot:
    """A snapshot of these rows."""
    with MemoryStore() as store:
        store.apply_schema(SCHEMA)
        write_rows(store, SCHEMA, tables)
        return take_snapshot(store, folder, cut=cut, needed=())


def utterances(count: int = 240, seed: int = 0, *, unlabelled: int = 0) -> dict[Any, list[Row]]:
    """Utterances with filler words and the one that tells; the channel tells nothing."""
    draw = np.random.default_rng(seed)
    filler = ["please", "today", "my", "the", "order", "again", "hello", "thanks"]
    intents = list(INTENTS)
    nodes, has, sent = [], [], []
    for i in range(count + unlabelled):
        words = [*draw.choice(filler, 4), MARKS[i % 3]]
        nodes.append(
            {
                "utterance_id": f"t{i:04}", "text": " ".join(draw.permutation(words)),
                "split": ["train", "train", "train", "test"][i // 3 % 4], "mood": ["calm", "cross"][i % 2],
                "length": float(i), "polite": bool(i % 2),
            }
        )  # fmt: skip
        if i < count:
            has.append({"source": f"t{i:04}", "target": intents[i % 3], "part": "train" if i % 5 else "test"})
        sent.append({"source": f"t{i:04}", "target": f"c{i % 4}"})
    return {
        "Utterance": nodes,
        "Intent": [{"intent_id": name} for name in intents],
        "Channel": [{"channel_id": f"c{c}", "title": f"channel {c}"} for c in range(4)],
        ("Utterance", "HAS_INTENT", "Intent"): has,
        ("Utterance", "SENT_BY", "Channel"): sent,
    }


def users(count: int = 150, items: int = 60, seed: int = 0, *, later: bool = False) -> dict[Any, list[Row]]:
    """Users of three kinds who buy from their kind's brands; titles say nothing, half the users are labelled.

    Args:
        count, items: how many.
        seed: draws the purchases.
        later: whether everybody bought from everywhere after the first hundred days.
    """
    draw = np.random.default_rng(seed)
    kinds = [f"kind{k}" for k in range(3)]
    bought = []
    for user in range(count):
        liked = [i for i in range(items) if i % 3 == user % 3]
        chosen = [(int(i), 1.0) for i in draw.choice(liked, 6, replace=False)]
        chosen.append((int(draw.integers(items)), 2.0))
        if later:
            chosen += [(int(i), 200.0) for i in draw.choice(items, 20, replace=False)]
        for item, day in dict(reversed(chosen)).items():
            bought.append(
                {"source": f"u{user:03}", "target": f"p{item:04}", "first_at": START + timedelta(days=day)}
            )
    return {
        "User": [
            {"user_id": f"u{u:03}", "kind": kinds[u % 3] if u < count * 2 // 3 else None}
            for u in range(count)
        ],
        "Product": [{"product_id": f"p{i:04}", "title": "a thing"} for i in range(items)],
        "Brand": [{"brand_id": f"b{b}"} for b in range(6)],
        ("Product", "MADE_BY", "Brand"): [
            {"source": f"p{i:04}", "target": f"b{i % 6}"} for i in range(items)
        ],
        ("User", "BOUGHT", "Product"): bought,
    }


def spec(**more: Any) -> ClassifySpec:
    """The intent of an utterance by its words, unless told otherwise."""
    raw: dict[str, Any] = {
        "kind": "classify", "subjects": {"label": "Utterance", "by": "text"},
        "targets": {"intent": {"relationship": "HAS_INTENT"}},
        "protocol": {"split": "given", "property": "split"},
    }  # fmt: skip
    found = parse_task(raw | more, name="intent")
    assert isinstance(found, ClassifySpec)
    return found


def kind_spec(**more: Any) -> ClassifySpec:
    """The kind of a user by history."""
    return spec(
        **{
            "subjects": {"label": "User", "by": "history", "history": "BOUGHT"},
            "targets": {"kind": {"property": "kind"}},
            "protocol": {"split": "held_out", "share": 0.25, "validation_share": 0.2},
        }
        | more
    )


def make_classes(tables: dict[Any, list[Row]], folder: Path, declared: ClassifySpec) -> ClassifyTask:
    """The task of some rows."""
    return build_classify_task(snapshot_of(tables, folder), declared)


def word_vectors(texts: Sequence[str], dim: int = 16) -> FloatArray:
    """Unit vectors, the mean of a vector drawn for each word: what a text encoder says in tests."""
    known: dict[str, FloatArray] = {}
    out = np.zeros((len(texts), dim), np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            if word not in known:
                draw = np.random.default_rng(sum(ord(c) * 31**i for i, c in enumerate(word)))
                known[word] = draw.standard_normal(dim).astype(np.float32)
            out[row] += known[word]
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9), np.float32)


CONFIG = ClassifyConfig(dim=8, hidden=16, teacher_hidden=16, rank=8, epochs=16, batch=32, lr=0.02, made_up=0)
WORDS = ["coin", "truck", "clock", "please", "today", "my", "the", "order", "again", "hello", "thanks"]
UNSEEN = "chair"


class WordEncoder:
    """A text teacher in which each word has a vector of its own."""

    name = "words"
    max_tokens = 16

    def __init__(self) -> None:
        self.tokenizer = tiny_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, UNSEEN])

    def encode(self, texts: list[str]) -> FloatArray:
        return word_vectors(texts)


@dataclass
class World:
    """A task with its text vectors."""

    task: ClassifyTask
    vectors: SubjectVectors

    @cached_property
    def teacher(self) -> ClassTeacher:
        return train_class_teacher(self.task, self.vectors, CONFIG, context())

    @cached_property
    def student(self) -> ClassStudent:
        return self.trained(self.teacher.logits(self.task, self.vectors))

    def trained(self, soft: Logits | None, *, seed: int = 0, config: ClassifyConfig = CONFIG) -> ClassStudent:
        encoder: Any = WordEncoder() if self.task.texts is not None else None
        return train_class_student(self.task, encoder, self.vectors, config, context(seed), soft=soft)

    def settle(self) -> ClassStudent:
        """The student, which is then told where "none of them" begins."""
        encoder: Any = WordEncoder()
        once = CONFIG.model_copy(update={"refit": False})
        self.student = fit_class_student(
            self.task, encoder, self.vectors, once, context(), teacher=self.teacher
        )
        return self.student

    def right(self, logits: FloatArray, target: str) -> float:
        """The accuracy on the test."""
        self.task.open_test()
        truth, rows = self.task.truth(target, "test"), self.task.subjects("test", target)
        p = probabilities(logits[rows], 1.0, several=False)
        given = Classified(truth, p, decide(p, 0.0, several=False))
        return accuracy(given, np.ones(len(rows), np.int64))


def context(seed: int = 0) -> Context:
    return Context(torch.device("cpu"), seed)


def world(task: ClassifyTask) -> World:
    return World(task, encode_task(task, WordEncoder()))
