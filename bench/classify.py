"""Measures a task that tells classes, intents on Banking77, by words.

    python -m bench.classify               three seeds
    python -m bench.classify --seeds 1

It goes the whole way: files, mapping, graph, snapshot, declared task, teacher, student, the bundle's parts.
Prints tables and writes bench/results/classify.json. Banking77 lies in `banking77` of the folder that
KGDISTILL_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import kgdistill as kg
from bench._linear import accurate, chosen_arm, texts_to_learn
from kgdistill.config import ClassifyConfig
from kgdistill.evaluate.classify import ClassArm, judge_classes, majority
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.classes import METRICS
from kgdistill.serve.pack_classes import pack_classifier
from kgdistill.snapshot import Snapshot, take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, load_task
from kgdistill.train.classify import ClassStudent
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import encode_task

BENCH = Path(__file__).parent
RESULTS = BENCH / "results" / "classify.json"
COMPARED = [("student", "student_plain"), ("student", "tfidf"), ("teacher", "student")]


def banking77(folder: Path) -> Snapshot:
    """The snapshot of Banking77, ingested by its mapping."""
    root = Path(os.environ.get("KGDISTILL_DATA", BENCH.parents[1] / "shared" / "data")) / "banking77"
    with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
        graph.ingest(BENCH / "banking77.yaml", root)
        return take_snapshot(graph.store, folder / "snapshot", cut=None, needed=())


def words_and_features(task: ClassifyTask) -> Any:
    """What the linear baseline reads: TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    vectors.fit(texts_to_learn(task))
    return vectors.transform(task.texts)


def linear(task: ClassifyTask) -> ClassArm:
    """Logistic regression over TF-IDF, its strength chosen on validation."""
    (name,) = task.class_names
    title = "TF-IDF and logistic regression"
    return chosen_arm(task, name, words_and_features(task), title, judge=accurate)


def milliseconds(work: Callable[[int], object], count: int = 200) -> float:
    """The median processor time of one answer, one subject at a time."""
    spent = []
    for i in range(count):
        begin = time.process_time()
        work(i)
        spent.append(time.process_time() - begin)
    return 1000 * float(np.median(spent))


def answer_times(task: ClassifyTask, student: ClassStudent, encoder: TransformerText) -> dict[str, float]:
    """Of one text by the bundle's parts, of one among many, and by the text encoder alone."""
    tower, classifier = pack_classifier(student, {})
    assert task.texts is not None
    texts = [task.texts[i] for i in task.subjects("test")]
    count = len(texts)
    one = milliseconds(lambda i: classifier.classify(texts=[texts[i % count]], tower=tower))
    begin = time.process_time()
    classifier.classify(texts=texts, tower=tower)
    batch = 1000 * (time.process_time() - begin) / count
    encoded = milliseconds(lambda i: encoder.encode([texts[i % count]]), 50)
    return {"one": one, "batch": batch, "encoder": encoded}


def measure(task: ClassifyTask, config: ClassifyConfig, seeds: int, samples: int) -> dict[str, Any]:
    """Every arm and seed of one task."""
    encoder = TransformerText()
    began = time.monotonic()
    vectors = encode_task(task, encoder)
    encoded = time.monotonic() - began
    task.open_test()
    runs = []
    for seed in range(seeds):
        context = Context(torch.device("cpu"), seed)
        teacher = fit_class_teacher(task, vectors, config, context)
        soft = teacher.told(task, vectors)
        student = fit_class_student(task, encoder, vectors, config, context, teacher=teacher)
        plain = fit_class_student(task, encoder, vectors, config, context, teacher=None)
        arms = {
            "teacher": ClassArm("teacher", soft, teacher.calibration),
            "student": ClassArm("student", student.logits(task), student.calibration),
            "student_plain": ClassArm("student without distillation", plain.logits(task), plain.calibration),
        }
        if not seed:
            arms |= {"majority": majority(task), "tfidf": linear(task)}
            first = arms
        found = judge_classes(
            task, {**first, **arms}, part="test", compared=COMPARED, samples=samples if not seed else 1
        )
        seconds = {"teacher": teacher.seconds, "student": student.seconds, "student_plain": plain.seconds}
        runs.append({"seed": seed, "seconds": seconds, **found})
        if not seed:
            times = answer_times(task, student, encoder)
    return {"encode_seconds": encoded, "milliseconds": times, "runs": runs}


def show(name: str, found: dict[str, Any], console: Console) -> None:
    """One table a target."""
    first = found["runs"][0]
    for sentence in first["protocol"]:
        console.print(sentence)
    for target, judged in first["targets"].items():
        table = Table(title=f"{name}: {target}, {judged['subjects']:,} test subjects, 95 % intervals")
        for column in ("model", *METRICS, "accuracy by seed"):
            table.add_column(column)
        for arm, said in judged["arms"].items():
            cells = [f"{said[m]['mean']:.3f} [{said[m]['low']:.3f}, {said[m]['high']:.3f}]" for m in METRICS]
            by_seed = [run["targets"][target]["arms"].get(arm) for run in found["runs"]]
            seeds = " ".join(f"{s['accuracy']['mean']:.3f}" for s in by_seed if s is not None)
            table.add_row(said["title"], *cells, seeds)
        console.print(table)
        for pair in judged["compared"]:
            shown = ", ".join(
                f"{m} {pair[m]['mean']:+.3f} [{pair[m]['low']:+.3f}, {pair[m]['high']:+.3f}]" for m in METRICS
            )
            console.print(f"{pair['arm']} - {pair['other']}: {shown}")
    console.print(
        f"milliseconds of one core: {found['milliseconds']}; encoding {found['encode_seconds']:.0f} s"
    )


def main() -> None:
    """Measures, shows, writes."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--samples", type=int, default=1000)
    options = asked.parse_args()
    torch.set_num_threads(1)
    console = Console(width=200)
    spec = load_task("intent")
    assert isinstance(spec, ClassifySpec)
    with TemporaryDirectory() as scratch:
        task = build_classify_task(banking77(Path(scratch)), spec)
    found = {"intent": measure(task, ClassifyConfig(), options.seeds, options.samples)}
    show("intent", found["intent"], console)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
