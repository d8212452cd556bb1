"""Sentiment by a run as it stands: Financial PhraseBank, and Chinese finance news split by time."""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import kgdistill as kg
from bench._linear import chosen_arm, macro, texts_to_learn
from bench._tuned import tuned
from bench.comparisons import holm
from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig, TextConfig
from kgdistill.evaluate.classify import ClassArm, majority
from kgdistill.models.text.transformer import PooledText
from kgdistill.progress import step
from kgdistill.ranking.bootstrap import bootstrap_statistic
from kgdistill.run.artefacts import text_encoder
from kgdistill.snapshot import Snapshot, take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, load_task, parse_task
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import encode_task

DATA = Path(os.environ.get("KGDISTILL_DATA", Path(__file__).parents[2] / "shared" / "data"))
MAPPING = """\
version: 1
name: statements
sources:
  statements:
    files: statements.csv
    nodes:
      - label: Statement
        key: id
        properties: {text: text, sentiment: sentiment, split: split}
"""
TARGET = "sentiment"
COMPARED = [
    ("student", "encoder_lr"),
    ("student", "chars_lr"),
    ("student", "student_plain"),
    ("student", "teacher"),
    ("student_tuned", "encoder_lr"),
    ("student_tuned", "student"),
    ("student_tuned", "teacher_tuned"),
    ("student_layers", "encoder_lr"),
    ("student_layers", "student_tuned"),
    ("student_layers", "teacher_tuned"),
]
Rows = list[dict[str, str]]


class Told(NamedTuple):
    """What one arm and seed told of the test: the task's own class numbers."""

    arm: str
    seed: int
    classes: IntArray


def phrasebank() -> Rows:
    """Every sentence once, with the label that at least half of the annotators gave."""
    lines = (DATA / "financial_phrasebank" / "Sentences_50Agree.txt").read_text("latin-1").splitlines()
    pairs = dict(line.rsplit("@", 1) for line in lines if "@" in line)
    return [{"id": f"p{i}", "text": t, "sentiment": s} for i, (t, s) in enumerate(pairs.items())]


def day_of(text: str) -> str | None:
    """A Chinese or ISO date in ISO 8601."""
    found = re.match(r"\s*(\d{4})\D(\d{1,2})\D(\d{1,2})", text)
    return f"{int(found[1]):04}-{int(found[2]):02}-{int(found[3]):02}" if found else None


def finance_news() -> Rows:
    """Dated news, the oldest first; the last fifth is the test, the tenth before it validation."""
    with (DATA / "finance_news_zh" / "news.csv").open(encoding="utf-8-sig", newline="") as file:
        read = list(csv.DictReader(file))
    rows = []
    for i, row in enumerate(read):
        day = day_of(row["date"])
        if day is not None and row["sentiment"] in ("0", "1"):
            text = row["title"] if row["body"].startswith(row["title"]) else f"{row['title']} "
            label = "negative" if row["sentiment"] == "0" else "positive"
            rows.append({"id": f"n{i}", "text": text + row["body"], "sentiment": label, "day": day})
    # The same piece twice would be in train and test: the earliest stands.
    rows = list({row["text"]: row for row in sorted(rows, key=lambda r: r["day"], reverse=True)}.values())
    rows.sort(key=lambda r: (r["day"], r["id"]))
    edges = [rows[int(len(rows) * share)]["day"] for share in (0.7, 0.8)]
    for row in rows:
        row["split"] = "train" if row["day"] < edges[0] else "validation" if row["day"] < edges[1] else "test"
    return rows


def task_of(rows: Rows, folder: Path) -> tuple[Snapshot, ClassifyTask]:
    """The declared task on these rows, the whole way: file, mapping, graph, snapshot; without a topic."""
    (folder / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    with (folder / "statements.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, ["id", "text", "sentiment", "split"], extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)
    given = any("split" in row for row in rows)
    declared = load_task("sentiment").declared()
    declared["targets"].pop("topic")
    declared["alerts"].pop("topic")
    if not given:
        declared["protocol"] = {"split": "held_out", "share": 0.2, "validation_share": 0.1}
    spec = parse_task(declared)
    assert isinstance(spec, ClassifySpec)
    with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
        graph.ingest(folder / "mapping.yaml", folder)
        snapshot = take_snapshot(graph.store, folder / "snapshot", cut=None, needed=())
    return snapshot, build_classify_task(snapshot, spec)


def linear(task: ClassifyTask, x: Any, title: str) -> ClassArm:
    """Logistic regression, its strength chosen on validation by macro-F1."""
    return chosen_arm(task, TARGET, x, title, judge=macro, max_iter=2000)


def tfidf(task: ClassifyTask, **how: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, **how)
    vectors.fit(texts_to_learn(task))
    return vectors.transform(task.texts)


def baselines(task: ClassifyTask, vectors: FloatArray) -> dict[str, ClassArm]:
    """What is told without a run."""
    return {
        "majority": majority(task),
        "words_lr": linear(task, tfidf(task, ngram_range=(1, 2)), "TF-IDF of words and logistic regression"),
        "chars_lr": linear(
            task, tfidf(task, analyzer="char", ngram_range=(1, 3), min_df=2),
            "TF-IDF of one to three characters and logistic regression",
        ),
        "encoder_lr": linear(task, vectors, "text encoder and logistic regression"),
    }  # fmt: skip


def macro_f1(told: IntArray, right: IntArray, weights: IntArray, classes: int) -> float:
    """The mean over classes of F1, rows weighted."""
    table = np.bincount(right * classes + told, weights=weights, minlength=classes**2).reshape(
        classes, classes
    )
    return float(np.mean(2 * np.diag(table) / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1e-9)))


def judged(
    told: Iterable[Told], titles: dict[str, str], right: IntArray, classes: int, samples: int
) -> dict[str, Any]:
    """Macro-F1 of every arm, a mean over its seeds, and paired differences; Holm over these."""
    by_arm: dict[str, list[IntArray]] = {}
    for one in told:
        by_arm.setdefault(one.arm, []).append(one.classes)

    def figure(arm: str) -> Callable[[IntArray], float]:
        return lambda weights: float(np.mean([macro_f1(t, right, weights, classes) for t in by_arm[arm]]))

    arms = {
        arm: {
            "title": titles[arm],
            "macro_f1": bootstrap_statistic(figure(arm), len(right), samples=samples)._asdict(),
            "by_seed": [macro_f1(t, right, np.ones(len(right), np.int64), classes) for t in runs],
            "accuracy": float(np.mean([(t == right).mean() for t in runs])),
        }
        for arm, runs in by_arm.items()
    }
    compared, draw = [], np.random.default_rng(0)
    for a, b in [pair for pair in COMPARED if by_arm.keys() >= {*pair}]:
        one, other = figure(a), figure(b)
        found = bootstrap_statistic(lambda w, f=one, g=other: f(w) - g(w), len(right), samples=samples)
        drawn = [
            np.bincount(draw.integers(len(right), size=len(right)), minlength=len(right))
            for _ in range(samples)
        ]
        apart = np.array([one(w) - other(w) for w in drawn])
        p = (1 + int((np.abs(apart - found.mean) >= abs(found.mean)).sum())) / (1 + samples)
        compared.append({"arm": a, "other": b, **found._asdict(), "p": p})
    for pair, p in zip(compared, holm([c["p"] for c in compared]), strict=True):
        pair["p_holm"] = p
    return {"subjects": len(right), "arms": arms, "compared": compared}


def measure(rows: Rows, seeds: int, samples: int = 1000) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of one data set; and the truth of its test with what each arm's first seed told."""
    began = time.monotonic()
    with TemporaryDirectory() as scratch:
        _, task = task_of(rows, Path(scratch))
        assert task.texts is not None
        # That which a run takes: MiniLM reads no Chinese.
        encoder = text_encoder(TextConfig(), torch.device("cpu"), task.texts)
    arms_of = 6 if isinstance(encoder, PooledText) else 3
    with step("sentiment", arms_of * seeds) as progress:
        config = ClassifyConfig()
        vectors = encode_task(task, encoder)
        arms = baselines(task, np.asarray(vectors.subjects, np.float32))
        task.open_test()
        test = task.subjects("test")
        right = task.truth(TARGET, "test").argmax(axis=1)
        told = [Told(n, 0, a.logits[TARGET][test].argmax(axis=1)) for n, a in arms.items()]
        titles = {name: arm.title for name, arm in arms.items()}
        titles |= {
            "teacher": "teacher",
            "student": "student",
            "student_plain": "student without distillation",
            "teacher_tuned": "teacher, its text encoder tuned",
            "student_tuned": "student of it",
            "student_layers": "student of it, by three layers",
        }
        for seed in range(seeds):
            context = Context(torch.device("cpu"), seed)
            teacher = fit_class_teacher(task, vectors, config, context)
            soft = teacher.told(task, vectors)
            told.append(Told("teacher", seed, soft[TARGET][test].argmax(axis=1)))
            progress.advance()
            for name, told_by in (("student", teacher), ("student_plain", None)):
                student = fit_class_student(task, encoder, vectors, config, context, teacher=told_by)
                told.append(Told(name, seed, student.logits(task)[TARGET][test].argmax(axis=1)))
                progress.advance()
            if isinstance(encoder, PooledText):
                made = tuned(task, encoder, config, context, towers=("table", "layers"))
                said = {
                    "teacher_tuned": made.teacher.told(task, made.vectors),
                    "student_tuned": made.students["table"].logits(task),
                    "student_layers": made.students["layers"].logits(task),
                }
                told += [Told(n, seed, x[TARGET][test].argmax(axis=1)) for n, x in said.items()]
                progress.advance(3)
        names = task.class_names[TARGET]
        found = judged(told, titles, right, len(names), samples)
        found |= {"protocol": task.describe(), "classes": list(names), "seconds": time.monotonic() - began}
        test_rows = {
            "names": list(names), "ids": [task.keys[i] for i in test], "right": right.tolist(),
            "told": {t.arm: t.classes.tolist() for t in told if not t.seed},
        }  # fmt: skip
        return found, test_rows
