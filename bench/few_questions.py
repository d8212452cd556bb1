"""What the names of intents bring where few questions are known: Banking77 with 2, 5 and 10 of each intent.

    python -m bench.few_questions               three draws
    python -m bench.few_questions --seeds 1

Teacher and student, as they are and without what is written on the intents. 1,500 other questions of
Banking77's training file judge; its test stays closed. Prints a table and writes
bench/results/few_questions.json: macro-F1, and paired differences with 95 % intervals over the questions, the
mean over the draws, p by Holm. Banking77 lies in `banking77` of the folder that KGDISTILL_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import kgdistill as kg
from bench._task_figures import class_rows
from bench.comparisons import holm
from bench.tasks_answer import BENCH, SOURCES, TARGET, lay_out
from kgdistill.arrays import IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.classes import Classified, decide, probabilities
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, load_task
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import SubjectVectors, encode_task

RESULTS = BENCH / "results" / "few_questions.json"
KNOWN, JUDGED = (2, 5, 10), 1_500


def few(task: ClassifyTask, known: int, seed: int) -> tuple[ClassifyTask, IntArray]:
    """The task with so many questions an intent, a third as many to validate; and others that judge."""
    draw = np.random.default_rng(seed)
    gone: list[IntArray] = []
    for part, count in (("train", known), ("validation", max(known // 3, 1))):
        rows, intents = task.subjects(part), task.truth(TARGET, part).argmax(axis=1)
        order = draw.permutation(len(rows))
        place = np.concatenate([np.arange(n) for n in np.bincount(intents)])
        sorted_by_intent = order[np.argsort(intents[order], kind="stable")]
        gone.append(rows[sorted_by_intent[place >= count]])
    return task.without(np.concatenate(gone)), np.sort(draw.choice(gone[0], JUDGED, replace=False))


def measured(task: ClassifyTask, vectors: SubjectVectors, known: int, seeds: int) -> dict[str, Any]:
    """Every arm's figures, of so many questions an intent."""
    encoder, config = RememberedText(TransformerText()), ClassifyConfig()
    said: dict[str, list[Classified]] = {}
    for seed in range(seeds):
        fold, judges = few(task, known, seed)
        row_of = {int(row): i for i, row in enumerate(task.subjects("train"))}
        truth = task.truth(TARGET, "train")[[row_of[int(row)] for row in judges]]
        context = Context(torch.device("cpu"), seed)
        for how, read in (("", vectors), ("_nameless", SubjectVectors(vectors.subjects, {}))):
            teacher = fit_class_teacher(fold, read, config, context)
            student = fit_class_student(fold, encoder, read, config, context, teacher=teacher)
            for arm, logits in (("teacher", teacher.logits(fold, read)), ("student", student.logits(fold))):
                p = probabilities(logits[TARGET][judges], 1.0, several=False)
                told = Classified(truth, p, decide(p, 0.0, several=False))
                said.setdefault(arm + how, []).append(told)
    titles = {arm: arm.replace("_nameless", ", intents without names") for arm in said}
    pairs = [("teacher", "teacher_nameless"), ("student", "student_nameless")]
    return class_rows(f"{known} questions", {n: (titles[n], s) for n, s in said.items()}, pairs)


def main() -> None:
    """Measures, prints and writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3)
    seeds = asked.parse_args().seeds
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lay_out(SOURCES["banking77"], folder)
        spec = load_task("intent")
        assert isinstance(spec, ClassifySpec)
        with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
            graph.ingest(BENCH / "intents.yaml", folder)
            snapshot = take_snapshot(graph.store, folder / "snapshot", cut=None, needed=())
        task = build_classify_task(snapshot, spec)
    vectors = encode_task(task, TransformerText())
    rows: dict[str, list[Any]] = {"figures": [], "compared": []}
    for known in KNOWN:
        for part, more in measured(task, vectors, known, seeds).items():
            rows[part] += more
    for row, p in zip(rows["compared"], holm([row["p"] for row in rows["compared"]]), strict=True):
        row["p_holm"] = p
    RESULTS.write_text(json.dumps({"seeds": seeds, "judged": JUDGED, **rows}, indent=1) + "\n", "utf-8")
    for row in rows["figures"]:
        print(f"{row['setting']:14}{row['title']:34}{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
    for row in rows["compared"]:
        print(
            f"{row['setting']}: {row['arm']} with names less without {row['mean']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}], p {row['p_holm']:.3f}"
        )


if __name__ == "__main__":
    main()
