"""Chinese shop reviews: their sentiment and what they are about, by their words; see bench/tasks.py.

12,000 of the 62,774 reviews of `shopping_reviews_zh`, drawn by a fixed seed with the shares of categories and
sentiments kept, each distinct text once: 10,000 to learn from, 2,000 to judge.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

import kgdistill as kg
from bench._linear import logistic, macro, texts_to_learn
from bench._task_figures import class_rows
from kgdistill.evaluate.classify import ClassArm
from kgdistill.ranking.calibration import Calibration
from kgdistill.tasks.classify import ClassifyTask

BENCH = Path(__file__).parent
TRAIN, TEST = 10_000, 2_000
TASK = {
    "kind": "classify",
    "title": "Chinese reviews",
    "subjects": {"label": "Review", "by": "text"},
    "targets": {"sentiment": {"property": "sentiment"}, "category": {"property": "category"}},
    "protocol": {"split": "given", "property": "split"},
}
WANTED = {"sentiment": 0.925, "category": 0.860}
COMPARED = [
    ("student", "baseline"), ("teacher", "baseline"), ("student", "student_nodistill"), ("student", "teacher")
]  # fmt: skip


def reviews() -> pd.DataFrame:
    """Every distinct review with its row in the file."""
    root = Path(os.environ.get("KGDISTILL_DATA", BENCH.parents[1] / "shared" / "data"))
    whole = pd.read_csv(root / "shopping_reviews_zh" / "reviews.csv.gz").dropna()
    whole = whole.drop_duplicates("review").reset_index(names="row")
    return whole.assign(sentiment=whole["polarity"].map({0: "bad", 1: "good"}))


def draw(folder: Path) -> None:
    """Writes reviews.csv: the reviews that are drawn, and which part each belongs to."""
    from sklearn.model_selection import train_test_split

    whole = reviews()
    train, test = train_test_split(
        whole, train_size=TRAIN, test_size=TEST, random_state=0, stratify=whole[["category", "polarity"]]
    )
    drawn = pd.concat([train.assign(split="train"), test.assign(split="test")])
    drawn[["row", "review", "category", "sentiment", "split"]].to_csv(folder / "reviews.csv", index=False)


def baseline(task: ClassifyTask) -> ClassArm:
    """Logistic regression over TF-IDF of characters and pairs of them, its strength chosen on validation."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    vectors.fit(texts_to_learn(task))
    x = vectors.transform(task.texts)
    logits = {
        name: logistic(task, name, x, (1.0, 4.0, 16.0), judge=macro, max_iter=500).refitted
        for name in task.class_names
    }
    return ClassArm(
        "characters and logistic regression", logits, dict.fromkeys(logits, Calibration(1.0, 0.0))
    )


def rows(seeds: int, work: Path | None = None) -> dict[str, Any]:
    """See bench/tasks.py; `work` keeps the graph and the run, whose stages stand there the next time."""
    with TemporaryDirectory() as scratch:
        return _measured(seeds, work or Path(scratch))


def _measured(seeds: int, folder: Path) -> dict[str, Any]:
    arms: dict[str, list[ClassArm]] = {}
    seconds: dict[str, float] = {}
    draw(folder)
    with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
        graph.ingest(BENCH / "reviews-zh.yaml", folder)
        for seed in range(seeds):
            # One folder: the encoder's vectors stand there for every seed. Whole reviews, as the baseline's.
            run = kg.Run.create(folder / "run", graph, task=TASK, seed=seed, text={"max_tokens": 512})
            began = time.monotonic()
            run.fit()
            seconds[f"seed {seed}"] = time.monotonic() - began
            task = run.by_classes.task
            task.open_test()
            if not seed:
                arms["baseline"] = [baseline(task)]
            for name, arm in _said(run).items():
                arms.setdefault(name, []).append(arm)
    return _document(task, arms, seconds)


def _said(run: kg.Run) -> dict[str, ClassArm]:
    """What the run's models say."""
    made = run.by_classes
    teacher, titles = made.teacher(), run.pipeline.arms
    logits = teacher.logits(made.task, made.vectors)
    said = {"teacher": ClassArm(titles["teacher"].title, logits, teacher.calibration)}
    for name in ("student", "student_nodistill"):
        student = made.student(name)
        said[name] = ClassArm(titles[name].title, student.logits(made.task), student.calibration)
    return said


def _document(
    task: ClassifyTask, arms: dict[str, list[ClassArm]], seconds: dict[str, float]
) -> dict[str, Any]:
    out: dict[str, Any] = {
        "title": "Chinese reviews", "protocol": task.describe(), "figures": [], "compared": [], "targets": [],
        "seconds": seconds,
    }  # fmt: skip
    for target, wanted in WANTED.items():
        said = {
            name: (held[0].title, [arm.classified(task, target, "test") for arm in held])
            for name, held in arms.items()
        }
        found = class_rows(target, said, COMPARED)
        out["figures"] += found["figures"]
        out["compared"] += found["compared"]
        mean = {row["arm"]: row["mean"] for row in found["figures"]}
        out["targets"] += [
            {"what": f"student, macro-F1 of {target}", "wanted": wanted, "reached": mean["student"]},
            {
                "what": f"student less teacher, macro-F1 of {target}",
                "wanted": -0.02,
                "reached": mean["student"] - mean["teacher"],
            },
        ]
    return out
