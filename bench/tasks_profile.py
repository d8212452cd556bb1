"""Measures properties of users by what they bought: Complete Journey, the 801 households that told theirs.

    python -m bench.tasks_profile --seeds 3
    python -m bench.tasks_profile --seeds 3 --folder runs/profile     keeps graph and texts, goes on there

Goes the way of a run: files, mapping, graph, declared task, teacher, student. Five folds: each household is
told once, by models that learned from the other four fifths, an eighth of which validates. Baselines: a
balanced logistic regression of log(1 + lines) of each category, and of each type of product, its strength
chosen by cross-validation within the four fifths. Before anything is tested, the teacher's members tell the
training households that they did not learn from, with and without the counts of groups: by that the counts
were chosen, and in each fold how far rare classes are favoured (`balance`). Seeds are averaged; intervals are
95 % of a bootstrap over households; p by Holm over all differences. Prints tables and writes
bench/results/tasks_profile.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table

import kgdistill as kg
from bench._task_figures import Seeds, class_rows
from bench.comparisons import holm
from kgdistill.arrays import BoolArray, FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.datasets.adapt_journey import journey_sources, package_folder
from kgdistill.datasets.adapters import adapter
from kgdistill.models import beside
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.classes import (
    Classified,
    calibration_error,
    decide,
    macro_f1,
    probabilities,
    rarity,
)
from kgdistill.snapshot import Snapshot, open_snapshot, take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, parse_task
from kgdistill.tasks.splits import TEST, TRAIN, VALIDATION, Parts
from kgdistill.train.classify import train_class_teacher
from kgdistill.train.loop import Context
from kgdistill.train.novelty import fit_class_student, fit_class_teacher
from kgdistill.train.subject_vectors import SubjectVectors, encode_task

RESULTS = Path(__file__).parent / "results" / "tasks_profile.json"
FOLDS, SHARE, SAMPLES = 5, 8, 2000
LEASTS = (0.5, 0.7, 0.9)
COMPARED = [
    ("student", "categories"), ("student", "types"), ("teacher", "categories"),
    ("student", "student_nodistill"), ("student", "teacher"),
]  # fmt: skip
TITLES = {
    "majority": "the commonest class",
    "categories": "log counts of categories, logistic regression",
    "types": "log counts of types of products, logistic regression",
    "teacher": "teacher",
    "student": "student",
    "student_nodistill": "student without distillation",
}
_AGES = {"19-24": "19-34", "25-34": "19-34", "35-44": "35-54", "45-54": "35-54", "55-64": "55+", "65+": "55+"}
_INCOMES = {
    **dict.fromkeys(("Under 15K", "15-24K", "25-34K"), "below 35K"),
    **dict.fromkeys(("35-49K", "50-74K"), "35-74K"),
}  # fmt: skip
CLASSES: dict[str, Callable[[str], str]] = {
    "age": lambda v: _AGES[v],
    "income": lambda v: _INCOMES.get(v, "75K or more"),
    "kids_count": lambda v: "none" if v == "0" else "some",
    "household_size": lambda v: v if v in ("1", "2") else "3 or more",
    "marital_status": lambda v: v,
}
BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
Told = tuple[FloatArray, BoolArray, BoolArray]
"""Probabilities, what is right and what was chosen, of some households."""


def demographics() -> pa.Table:
    """The package's own, with the classes that are told in the place of its finer ones."""
    table = pq.read_table(package_folder() / "demographics.parquet")
    for name, of in CLASSES.items():
        values = [None if v is None else of(str(v)) for v in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table


def snapshot_in(folder: Path) -> Snapshot:
    """The graph's, ingested where it is not there yet."""
    if (folder / "snapshot" / "manifest.json").is_file():
        return open_snapshot(folder / "snapshot")
    with kg.Graph(f"ladybug:{folder / 'graph.db'}") as graph:
        sources = journey_sources(None) | {"demographics": demographics()}
        graph.ingest(adapter("complete-journey").mapping_path, tables=sources)
        return take_snapshot(graph.store, folder / "snapshot", cut=None)


def task_of(snapshot: Snapshot) -> ClassifyTask:
    """Every property at once, by history and facts; its split is set by `folds`."""
    spec = parse_task(
        {
            "kind": "classify", "title": "Profile",
            "subjects": {"label": "User", "by": ["history", "facts"], "history": "BOUGHT"},
            "targets": {name: {"property": name} for name in CLASSES}, "protocol": {"split": "held_out"},
        }, name="profile",
    )  # fmt: skip
    assert isinstance(spec, ClassifySpec)
    return build_classify_task(snapshot, spec)


def vectors_in(folder: Path, task: ClassifyTask) -> SubjectVectors:
    """What the text encoder says of products, encoded where it is not there yet."""
    file = folder / "vectors.npz"
    if not file.is_file():
        np.savez(file, **encode_task(task, TransformerText()).nodes)
    with np.load(file) as held:
        return SubjectVectors(None, {name: held[name] for name in held.files})


def folds(task: ClassifyTask) -> Iterator[ClassifyTask]:
    """The task five times: each labelled household is in the test once."""
    labelled = np.setdiff1d(np.arange(len(task)), task.unlabelled)
    order = np.random.default_rng(0).permutation(labelled)
    for number, test in enumerate(np.array_split(order, FOLDS)):
        rest = np.random.default_rng(1 + number).permutation(np.setdiff1d(order, test))
        parts: Parts = np.full(len(task), -1, np.int8)
        parts[rest], parts[rest[: len(rest) // SHARE]], parts[test] = TRAIN, VALIDATION, TEST
        yield replaced(task, parts)


def replaced(task: ClassifyTask, parts: Parts) -> ClassifyTask:
    """The same task, split otherwise."""
    return ClassifyTask(
        task.spec, keys=task.keys, texts=task.texts, neighbours=task.neighbours,
        targets=list(task._targets.values()), parts=parts,
    )  # fmt: skip


def counts_of(task: ClassifyTask) -> dict[str, FloatArray]:
    """log(1 + lines) of each household, by category and by type of product."""
    lines = pq.read_table(package_folder() / "transactions.parquet", columns=["household_id", "product_id"])
    products = pq.read_table(package_folder() / "products.parquet").to_pandas().set_index("product_id")
    who = {key: i for i, key in enumerate(task.keys)}
    frame = lines.to_pandas()
    rows = frame["household_id"].astype(str).map(who).to_numpy()
    out = {}
    for name, column in (("categories", "product_category"), ("types", "product_type")):
        codes, names = products[column].reindex(frame["product_id"]).factorize()
        known = codes >= 0
        table = np.zeros((len(task), len(names)), np.float32)
        np.add.at(table, (rows[known].astype(np.int64), codes[known]), 1)
        out[name] = np.log1p(table)
    return out


def regressed(task: ClassifyTask, counts: FloatArray) -> dict[str, Told]:
    """The baseline's word of the test: it learns from train and validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    out = {}
    for name in task.class_names:
        learned = np.concatenate([task.subjects("train", name), task.subjects("validation", name)])
        truth = np.concatenate([task.truth(name, "train"), task.truth(name, "validation")]).argmax(axis=1)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced"))
        strengths = {"logisticregression__C": [0.0003, 0.001, 0.003, 0.01]}
        search = GridSearchCV(model, strengths, scoring="f1_macro", cv=4).fit(counts[learned], truth)
        p = search.predict_proba(counts[task.subjects("test", name)]).astype(np.float32)
        out[name] = p, task.truth(name, "test"), decide(p, 0.0, several=False)
    return out


def told_of(
    task: ClassifyTask,
    logits: Mapping[str, FloatArray],
    calibration: Mapping[str, Calibration],
    balance: float,
    part: Literal["train", "test"] = "test",
) -> dict[str, Told]:
    """A model's word of a part. Of train a teacher's is that of the members that did not learn from each."""
    out = {}
    for name, x in logits.items():
        rows = task.subjects(part, name)
        p = probabilities(x[rows], calibration[name].temperature, several=False)
        weights = rarity(task.truth(name, "train").mean(axis=0), balance)
        out[name] = p, task.truth(name, part), decide(p, 0.0, several=False, weights=weights)
    return out


def inner_f1(parts: list[dict[str, Told]]) -> dict[str, float]:
    """Macro-F1 of each target."""
    return {n: macro_f1(given, np.ones(len(given.truth), np.int64)) for n, given in joined(parts).items()}


def chosen_balance(
    task: ClassifyTask, logits: Mapping[str, FloatArray], calibration: Mapping[str, Calibration]
) -> float:
    """The one by which the teacher's inner macro-F1, the mean over the targets, is best."""
    tried = [
        np.mean(list(inner_f1([told_of(task, logits, calibration, b, "train")]).values())) for b in BALANCES
    ]
    return BALANCES[int(np.argmax(tried))]


def joined(parts: list[dict[str, Told]]) -> dict[str, Classified]:
    """What was said in all folds."""
    out = {}
    for name in parts[0]:
        p, truth, chosen = (np.concatenate([part[name][i] for part in parts]) for i in range(3))
        out[name] = Classified(truth.astype(np.bool_), p.astype(np.float32), chosen.astype(np.bool_))
    return out


@contextlib.contextmanager
def without_counts() -> Iterator[None]:
    """A block in which nobody reads how much of a history is of each group."""
    kept = beside._log_counts
    try:
        beside._log_counts = lambda *given: ()
        yield
    finally:
        beside._log_counts = kept


def inner(task: ClassifyTask, vectors: SubjectVectors, config: ClassifyConfig) -> dict[str, Told]:
    """What a teacher's members say of training households that they did not learn from."""
    teacher = train_class_teacher(task, vectors, config, Context(torch.device("cpu"), 0))
    return told_of(task, teacher.logits(task, vectors), teacher.calibration, 0.0, "train")


def coverage(arm: Seeds, least: float) -> dict[str, float | None]:
    """Of how many the class is told from a probability on, how many of these are right; over the seeds."""
    told = [given.probabilities.max(axis=1) >= least for given in arm]
    right = [(given.truth & given.chosen).any(axis=1) for given in arm]
    precise = [float(r[t].mean()) for r, t in zip(right, told, strict=True) if t.any()]
    return {
        "least": least, "coverage": float(np.mean([t.mean() for t in told])),
        "precision": float(np.mean(precise)) if precise else None,
    }  # fmt: skip


def majority(task: ClassifyTask) -> dict[str, Told]:
    """What is common, told of everybody."""
    out = {}
    for name in task.class_names:
        share, truth = task.truth(name, "train").mean(axis=0), task.truth(name, "test")
        p = np.repeat(share[None].astype(np.float32), len(truth), axis=0)
        out[name] = p, truth, decide(p, 0.0, several=False)
    return out


def rows(seeds: int, folder: Path | None = None) -> dict[str, Any]:
    """Every arm's figures and their differences.

    Args:
        seeds: trainings of each arm.
        folder: keeps graph and texts; a temporary one where None.
    """
    if folder is None:
        with TemporaryDirectory() as scratch:
            return rows(seeds, Path(scratch))
    folder.mkdir(parents=True, exist_ok=True)
    task, config = task_of(snapshot_in(folder)), ClassifyConfig()
    vectors, counts = vectors_in(folder, task), counts_of(task)
    read: dict[str, list[dict[str, Told]]] = {"with counts": [], "without counts": []}
    for fold in folds(task):
        read["with counts"].append(inner(fold, vectors, config))
        with without_counts():
            read["without counts"].append(inner(fold, vectors, config))
    balances = []
    said: dict[str, list[list[dict[str, Told]]]] = {}
    for number, fold in enumerate(folds(task)):
        trained: dict[int, dict[str, Any]] = {}
        for seed in range(seeds):
            context = Context(torch.device("cpu"), seed)
            teacher = fit_class_teacher(fold, vectors, config, context)
            soft = teacher.logits(fold, vectors)
            student, plain = (
                fit_class_student(fold, None, vectors, config, context, teacher=told_by)
                for told_by in (teacher, None)
            )
            trained[seed] = {
                "teacher": (soft, teacher.calibration),
                "student": (student.logits(fold), student.calibration),
                "student_nodistill": (plain.logits(fold), plain.calibration),
            }  # fmt: skip
        balances.append(chosen_balance(fold, *trained[0]["teacher"]))
        fold.open_test()
        alone = {"majority": majority(fold)} | {name: regressed(fold, x) for name, x in counts.items()}
        for name, told in alone.items():
            said.setdefault(name, [[]])[0].append(told)
        for seed, arms in trained.items():
            for name, (logits, calibration) in arms.items():
                held = said.setdefault(name, [[] for _ in range(seeds)])
                held[seed].append(told_of(fold, logits, calibration, balances[-1]))
        print(f"fold {number + 1} of {FOLDS}", flush=True)
    by_arm = {name: [joined(parts) for parts in of] for name, of in said.items()}
    figures: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for target in CLASSES:
        arms = {name: (TITLES[name], [one[target] for one in of]) for name, of in by_arm.items()}
        for metric in (macro_f1, calibration_error):
            pairs = COMPARED if metric is macro_f1 else []
            found = class_rows(target, arms, pairs, metric=metric, samples=SAMPLES)
            figures += found["figures"]
            differences += found["compared"]
    for row, p in zip(differences, holm([row["p"] for row in differences]), strict=True):
        row["p_holm"] = p
    return {
        "households": {t: len(by_arm["majority"][0][t].truth) for t in CLASSES},
        "folds": FOLDS, "seeds": seeds, "balances": balances,
        "inner_macro_f1": {name: inner_f1(parts) for name, parts in read.items()},
        "figures": figures, "compared": differences,
        "coverage": [
            {"setting": target, "arm": arm, **coverage([one[target] for one in by_arm[arm]], least)}
            for target in CLASSES for arm in ("teacher", "student") for least in LEASTS
        ],
    }  # fmt: skip


def show(found: dict[str, Any], console: Console) -> None:
    """The figures, and their differences."""
    for name, held in found["inner_macro_f1"].items():
        console.print(f"inner, {name}: {', '.join(f'{t} {v:.3f}' for t, v in held.items())}")
    console.print(f"balance by fold: {found['balances']}")
    for target, count in found["households"].items():
        table = Table(title=f"{target}: {count} households, {found['folds']} folds, {found['seeds']} seeds")
        for column in ("arm", "macro-F1", "calibration error"):
            table.add_column(column)
        mine = [row for row in found["figures"] if row["setting"] == target]
        for arm in dict.fromkeys(row["arm"] for row in mine):
            told = {row["metric"]: row for row in mine if row["arm"] == arm}
            cells = [
                f"{told[m]['mean']:.3f} [{told[m]['low']:.3f}, {told[m]['high']:.3f}]"
                for m in ("macro_f1", "calibration_error")
            ]
            table.add_row(TITLES[arm], *cells)
        console.print(table)
    for row in found["compared"]:
        console.print(
            f"{row['setting']}: {row['arm']} - {row['other']}: {row['mean']:+.3f} [{row['low']:+.3f}, "
            f"{row['high']:+.3f}], p {row['p_holm']:.3f} by Holm"
        )
    for row in found["coverage"]:
        right = "nobody" if row["precision"] is None else f"right {row['precision']:.0%}"
        console.print(
            f"{row['setting']}, {row['arm']}, from {row['least']} on: told of {row['coverage']:.0%}, {right}"
        )


def main() -> None:
    """Measures, shows and writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--out", type=Path, default=RESULTS)
    options = asked.parse_args()
    torch.set_num_threads(1)
    found = rows(options.seeds, options.folder)
    show(found, Console(width=160))
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
