"""Measures intents and answers beside what people would use instead.

    python -m bench.tasks_answer                      everything, three seeds
    python -m bench.tasks_answer --seeds 1 --only hint3

Intents: Banking77 and Bitext by macro-F1, HINT3 (real questions to two shops, version 2, many out of scope)
by MCC. Every arm chooses on validation; where "none of them" begins, on left-out classes of the
training questions, by one rule for all arms (`kgdistill.train.novelty`). No data at hand carry answers: for
`answer` the name of an intent of Bitext, in words, stands for the answer to its questions. The data lie in
the folder that KGDISTILL_DATA names. Writes bench/results/tasks_answer.json; what `--only` leaves out stays.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import kgdistill as kg
from bench._linear import accurate, logistic
from bench._tuned import tuned
from bench.classify import words_and_features
from bench.comparisons import holm
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.evaluate.classify import ClassArm, majority
from kgdistill.models.text.transformer import TransformerText
from kgdistill.ranking.classes import Classified, macro_f1, mcc
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.spec import ClassifySpec, load_task, parse_task
from kgdistill.train.calibrations import calibrations
from kgdistill.train.class_lesson import Logits
from kgdistill.train.class_reader import class_centres
from kgdistill.train.loop import Context
from kgdistill.train.novelty import Near, fit_class_student, fit_class_teacher, settled
from kgdistill.train.subject_vectors import SubjectVectors, encode_task

BENCH = Path(__file__).parent
RESULTS = BENCH / "results" / "tasks_answer.json"
SAMPLES, TARGET, NONE = 1000, "intent", "NO_NODES_DETECTED"
FEW = 1_000
"""With fewer questions to learn from a student of layers is trained too: of more it takes hours."""
COMPARED = [
    ("student", "minilm_lr"), ("student", "tfidf_lr"), ("student", "student_plain"), ("student", "teacher"),
    ("teacher", "minilm_lr"), ("student_tuned", "minilm_lr"), ("student_tuned", "student"),
    ("student_layers", "student"),
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One data set: its files by part, its columns, its figure and what is wanted of the student."""

    group: str
    files: Mapping[str, str]
    columns: tuple[str, str]
    metric: str
    wanted: float | None = None
    none: str | None = None

    @property
    def tuned(self) -> bool:
        """Whether a text teacher that learns from the labels is measured too.

        Not where it would be tuned anew without each eighth of the classes.
        """
        return self.none is None


def _hint3(shop: str, wanted: float) -> Source:
    files = {part: f"hint3_support/{shop}_{part}.csv" for part in ("train", "test")}
    return Source("hint3", files, ("sentence", "label"), "mcc", wanted, NONE)


_PARTS = {"train": "Training", "validation": "Validation", "test": "Testing"}
_BITEXT = "bitext_support/Bitext_Sample_Customer_Service_{}_Dataset.csv"
SOURCES = {
    "banking77": Source(
        "banking77", {p: f"banking77/{p}.csv" for p in ("train", "test")}, ("text", "category"), "macro_f1",
        0.935,
    ),
    "curekart": _hint3("curekart", 0.64),
    "sofmattress": _hint3("sofmattress", 0.70),
    "bitext": Source(
        "bitext",
        {p: _BITEXT.format(n) for p, n in _PARTS.items()},
        ("utterance", "intent"), "macro_f1",
    ),
}  # fmt: skip


def lay_out(source: Source, folder: Path) -> None:
    """Writes texts.csv: id, text, intent, answer, split; every line of the source is a text of its own."""
    root = Path(os.environ.get("KGDISTILL_DATA", BENCH.parents[1] / "shared" / "data"))
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "text", "intent", "answer", "split"])
        for part, name in source.files.items():
            with (root / name).open(encoding="utf-8-sig", newline="") as lines:
                for number, row in enumerate(csv.DictReader(lines)):
                    text, intent = (row[column] for column in source.columns)
                    writer.writerow([f"{part}-{number}", text, intent, intent.replace("_", " "), part])


def linear(task: ClassifyTask, x: Any, title: str, config: ClassifyConfig) -> ClassArm:
    """Logistic regression, its strength chosen on validation, its thresholds as every arm's."""

    def near(fold: ClassifyTask) -> Near:
        return {name: centres.near(x) for name, centres in class_centres(fold, lambda: x).items()}

    def refit(fold: ClassifyTask) -> tuple[Logits, Near]:
        again = logistic(fold, TARGET, x, (chosen.strength,), judge=accurate, max_iter=300).logits
        return {TARGET: again}, near(fold)

    chosen = logistic(task, TARGET, x, (1.0, 10.0), judge=accurate, max_iter=300)
    said = {TARGET: chosen.logits}
    known = settled(task, (said, near(task)), calibrations(task, said, config.balance), refit, config, 0)
    return ClassArm(title, {TARGET: chosen.refitted}, known, near(task.on_everything()))


def trained(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, config: ClassifyConfig, seed: int
) -> dict[str, ClassArm]:
    """Teacher, student and undistilled student of a seed."""
    context = Context(torch.device("cpu"), seed)
    teacher = fit_class_teacher(task, vectors, config, context)
    soft = teacher.told(task, vectors)
    arms = {"teacher": ClassArm("fused teacher", soft, teacher.calibration, teacher.near(task, vectors))}
    few = len(task.subjects("train")) < FEW
    layers = [("student_layers", "student by three layers", teacher, "layers")] if few else []
    for name, title, told_by, tower in (
        ("student", "student", teacher, "table"),
        ("student_plain", "student without distillation", None, "table"),
        *layers,
    ):
        own = config.model_copy(update={"tower": tower})
        student = fit_class_student(task, encoder, vectors, own, context, teacher=told_by)
        arms[name] = ClassArm(title, student.logits(task), student.calibration, student.near(task))
    return arms


def of_tuned(
    task: ClassifyTask, encoder: TransformerText, config: ClassifyConfig, seed: int
) -> dict[str, ClassArm]:
    """Teacher and student of a seed, where the text teacher learns from the labels."""
    made = tuned(task, encoder, config, Context(torch.device("cpu"), seed))
    teacher, student, vectors = made.teacher, made.students["table"], made.vectors
    title, logits = "fused teacher, its text encoder tuned", teacher.told(task, vectors)
    return {
        "teacher_tuned": ClassArm(title, logits, teacher.calibration, teacher.near(task, vectors)),
        "student_tuned": ClassArm(
            "student of it", student.logits(task), student.calibration, student.near(task)
        ),
    }


def intents(name: str, seeds: int, folder: Path) -> dict[str, Any]:
    """Every arm of one data set."""
    source, config = SOURCES[name], ClassifyConfig()
    declared = load_task("intent").declared()
    if source.none is not None:
        declared["targets"][TARGET]["none_of_them"] = source.none
    spec = parse_task(declared, name=name)
    assert isinstance(spec, ClassifySpec)
    with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
        graph.ingest(BENCH / "intents.yaml", folder)
        snapshot = take_snapshot(graph.store, folder / "snapshot", cut=None, needed=())
    task, encoder = build_classify_task(snapshot, spec), TransformerText()
    vectors = encode_task(task, encoder)
    assert vectors.subjects is not None
    arms = {
        "majority": [majority(task)],
        "tfidf_lr": [linear(task, words_and_features(task), "TF-IDF and logistic regression", config)],
        "minilm_lr": [linear(task, vectors.subjects, "MiniLM and logistic regression", config)],
    }
    for seed in range(seeds):
        for arm, made in trained(task, encoder, vectors, config, seed).items():
            arms.setdefault(arm, []).append(made)
        if source.tuned:
            for arm, made in of_tuned(task, encoder, config, seed).items():
                arms.setdefault(arm, []).append(made)
    task.open_test()
    return judged(task, arms, source)


def judged(task: ClassifyTask, arms: Mapping[str, list[ClassArm]], source: Source) -> dict[str, Any]:
    """The figures of the test, which is read once: the mean over seeds with its interval over subjects."""
    said = {name: [arm.classified(task, TARGET, "test") for arm in held] for name, held in arms.items()}
    metric = {"macro_f1": macro_f1, "mcc": mcc}[source.metric]
    count = len(task.subjects("test"))
    rng = np.random.default_rng(0)
    draws = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(SAMPLES)]
    drawn = {name: _drawn(held, metric, draws) for name, held in said.items()}
    whole = {name: _drawn(held, metric, [np.ones(count, np.int64)])[0] for name, held in said.items()}
    figures = [
        {
            "arm": name, "title": arms[name][0].title, "metric": source.metric, "mean": whole[name],
            "low": float(np.quantile(drawn[name], 0.025)), "high": float(np.quantile(drawn[name], 0.975)),
            "seeds": [metric(given, np.ones(count, np.int64)) for given in held],
            **_sure(task, arms[name], held),
        }
        for name, held in said.items()
    ]  # fmt: skip
    compared = []
    for a, b in [pair for pair in COMPARED if whole.keys() >= {*pair}]:
        found, apart = whole[a] - whole[b], drawn[a] - drawn[b]
        p = (1 + int((np.abs(apart - found) >= abs(found)).sum())) / (1 + SAMPLES)
        low, high = np.quantile(apart, [0.025, 0.975])
        compared.append({"a": a, "b": b, "difference": found, "low": float(low), "high": float(high), "p": p})
    return {
        "protocol": task.describe(), "wanted": source.wanted, "figures": figures, "compared": compared
    }  # fmt: skip


def _drawn(
    held: Sequence[Classified], metric: Callable[[Classified, IntArray], float], draws: Sequence[IntArray]
) -> DoubleArray:
    """The mean over seeds for each draw of subjects, float64 [draws]."""
    return np.array([np.mean([metric(given, weights) for given in held]) for weights in draws])


def _sure(task: ClassifyTask, arms: Sequence[ClassArm], held: Sequence[Classified]) -> dict[str, float]:
    """Of all subjects: what is told without a person and what of it is right; out of scope found."""
    rows: list[tuple[float, float, float]] = []
    for arm, given in zip(arms, held, strict=True):
        p = given.probabilities
        best = p.argmax(axis=1)
        told = arm.believed(task, TARGET, "test") >= arm.calibration[TARGET].sure
        right = given.truth[np.arange(len(p)), best]
        strange = ~given.truth.any(axis=1)
        found = float((~given.chosen.any(axis=1))[strange].mean()) if strange.any() else float("nan")
        rows.append((float(told.mean()), float(right[told].mean()) if told.any() else float("nan"), found))
    coverage, precision, found = np.mean(rows, axis=0)
    values = {"coverage": coverage, "precision_of_it": precision, "out_of_scope_recall": found}
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def answers(seeds: int, folder: Path) -> dict[str, Any]:
    """Past answers on Bitext, as a run; the names of its intents are the answers."""
    runs = []
    with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
        for seed in range(seeds):
            run = kg.Run.create(folder / "answer", graph, task="answer", seed=seed, search={"queries": 4000})
            run.fit()
            runs.append(run.evaluate())
    return {"runs": [{k: run[k] for k in ("protocol", "arms", "comparisons")} for run in runs]}


def rows(seeds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Every figure asked for; p-values by Holm over all comparisons of intents."""
    out: dict[str, Any] = {"seeds": seeds, "intents": {}}
    for name, source in SOURCES.items():
        if only and source.group not in only:
            continue
        with TemporaryDirectory() as scratch:
            lay_out(source, Path(scratch))
            out["intents"][name] = intents(name, seeds, Path(scratch))
            if name == "bitext":
                out["answers"] = answers(seeds, Path(scratch))
    return out


def adjusted(found: dict[str, Any]) -> dict[str, Any]:
    """The same with Holm's p over every comparison of intents."""
    pairs = [pair for told in found["intents"].values() for pair in told["compared"]]
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["holm"] = p
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """A table a data set."""
    for name, told in found["intents"].items():
        table = Table(title=f"{name}: wanted {told['wanted']}")
        for column in ("arm", "figure", "interval", "coverage", "precision of it", "out-of-scope recall"):
            table.add_column(column)
        for row in told["figures"]:
            more = [f"{row[c]:.3f}" if c in row else "" for c in _MORE]
            table.add_row(row["title"], f"{row['mean']:.4f}", f"[{row['low']:.4f}, {row['high']:.4f}]", *more)
        console.print(table)
        for pair in told["compared"]:
            ends = f"[{pair['low']:+.4f}, {pair['high']:+.4f}]"
            console.print(
                f"{pair['a']} - {pair['b']}: {pair['difference']:+.4f} {ends}, p {pair['holm']:.3f}"
            )


_MORE = ("coverage", "precision_of_it", "out_of_scope_recall")


def main() -> None:
    """Measures what is asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--only", choices=sorted({s.group for s in SOURCES.values()}), action="append")
    options = asked.parse_args()
    torch.set_num_threads(1)
    found = rows(options.seeds, options.only or ())
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() and options.only else {"intents": {}}
    found = adjusted({**kept, **found, "intents": {**kept["intents"], **found["intents"]}})
    show(found, Console(width=160))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
