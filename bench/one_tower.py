"""Measures what it costs or brings that several tasks read with one text tower (`one_tower`).

    python -m bench.one_tower                          both scenes, three seeds
    python -m bench.one_tower --only reviews_zh --seeds 1 --work FOLDER

shop: products of Chorus that somebody judged are searched and intents of Banking77 told, each with a token
table of its own or both with one. reviews_zh: sentiment and category of
2,100 Chinese shop reviews, as two tasks. One teacher a task, students by seed; the test is read once. Prints
tables and writes bench/results/one_tower.json. `--work` keeps graphs, teachers and vectors. The data lie in
the folder that KGDISTILL_DATA names; times are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

import kgdistill as kg
from bench import tasks_reviews_zh as reviews
from bench._task_figures import resampled
from bench.comparisons import holm
from bench.suites.search import search_task
from bench.suites.search_teaching import teach
from bench.suites.spec import SearchSuite, load_suite
from bench.tasks_answer import SOURCES, lay_out
from kgdistill.arrays import DoubleArray, FloatArray
from kgdistill.config import ClassifyConfig, SearchConfig
from kgdistill.evaluate.classify import ClassArm
from kgdistill.evaluate.graded import judge_parts
from kgdistill.models.text.packaged import MultilingualText
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import TextModel, TransformerText
from kgdistill.ranking.classes import macro_f1
from kgdistill.ranking.fusion import SERVING
from kgdistill.run.run import Runs
from kgdistill.run.text_match import CatalogueVectors, start_student, student_parts
from kgdistill.serve.tower import TextTower
from kgdistill.snapshot import take_snapshot
from kgdistill.tasks.classify import ClassifyTask, build_classify_task
from kgdistill.tasks.judgements import JudgedTask
from kgdistill.tasks.lexical import LexicalIndex
from kgdistill.tasks.spec import ClassifySpec, parse_task
from kgdistill.train.class_lesson import Logits
from kgdistill.train.classify import (
    ClassStudent,
    tower_texts,
    train_class_student,
    train_class_teacher,
)
from kgdistill.train.loop import Context
from kgdistill.train.subject_vectors import SubjectVectors, encode_task
from kgdistill.train.text_match import TextLessons, train_token_table
from kgdistill.train.tower import SharedTower, TowerTexts, train_shared_tower

RESULTS = Path(__file__).parent / "results" / "one_tower.json"
CPU, SAMPLES, DIM = torch.device("cpu"), 1000, 240
REVIEWS, TEST_REVIEWS, TOKENS = 1800, 300, 48
S = TypeVar("S")


class Asked(ABC, Generic[S]):
    """One task: its students, with a tower of their own and with the shared one."""

    name: str
    metric: str

    @abstractmethod
    def texts(self) -> TowerTexts:
        """What a shared tower learns from."""

    @abstractmethod
    def student(self, encoder: TextModel, seed: int, tower: SharedTower | None) -> S:
        """A student; None trains a table of its own."""

    @abstractmethod
    def tower(self, student: S) -> tuple[Tokenizer, FloatArray]:
        """What the student reads with."""

    @abstractmethod
    def drawn(self, students: Sequence[S]) -> DoubleArray:
        """The figure of the test, the mean over the seeds: of all units, then of each resample."""


class ByUnits(Asked[TokenTable]):
    """A task whose figure is a mean over queries."""

    lessons: TextLessons
    vectors: CatalogueVectors
    config: SearchConfig

    @abstractmethod
    def units(self, student: TokenTable) -> DoubleArray:
        """The figure of each query."""

    def texts(self) -> TowerTexts:
        """The fields of what is searched, the queries and the phrases."""
        catalogue, said = self.lessons.catalogue, self.vectors
        texts = [text for name in catalogue.prose for text in catalogue.fields[name]]
        vectors = np.concatenate([*said.fields, self.lessons.targets.queries])
        return TowerTexts([*texts, *self.lessons.queries.texts], vectors, said.phrases, said.phrase_vectors)

    def student(self, encoder: TextModel, seed: int, tower: SharedTower | None) -> TokenTable:
        """As `Run` makes it."""
        if tower is not None:
            return TokenTable(tower.tokenizer, torch.from_numpy(tower.table), self.lessons.catalogue.prose)
        student, axes = start_student(self.lessons, self.vectors, encoder, DIM)
        return train_token_table(student, axes, self.lessons, self.config, Context(CPU, seed)).model

    def tower(self, student: TokenTable) -> tuple[Tokenizer, FloatArray]:
        """Its table."""
        return student.tokenizer, student.table.weight.detach().numpy()

    def drawn(self, students: Sequence[TokenTable]) -> DoubleArray:
        """Over queries."""
        mean = np.mean([self.units(student) for student in students], axis=0)
        draw = np.random.default_rng(0)
        rows = [draw.integers(len(mean), size=len(mean)) for _ in range(SAMPLES)]
        return np.array([mean.mean(), *(mean[r].mean() for r in rows)])


@dataclass
class Search(ByUnits):
    """Products by text."""

    task: JudgedTask
    lessons: TextLessons
    vectors: CatalogueVectors
    index: LexicalIndex
    config: SearchConfig
    name = "search"
    metric = "ndcg@10"

    def units(self, student: TokenTable) -> DoubleArray:
        """Of all products ranked, words beside meaning."""
        judged, items = self.task.judgements, student.items(self.lessons.catalogue)
        parts = student_parts(student, items, judged.queries, self.index)
        return judge_parts(parts, judged, SERVING, items=len(items), ks=[10])["full"]["ndcg@10"]


@dataclass
class Classes(Asked[ClassStudent]):
    """The classes of texts."""

    name: str
    task: ClassifyTask
    vectors: SubjectVectors
    soft: Logits
    config: ClassifyConfig
    metric = "macro_f1"

    def texts(self) -> TowerTexts:
        """Of the subjects that may be learned from."""
        return tower_texts(self.task, self.vectors, self.soft)

    def student(self, encoder: TextModel, seed: int, tower: SharedTower | None) -> ClassStudent:
        """As `Run` makes it."""
        return train_class_student(
            self.task, encoder, self.vectors, self.config, Context(CPU, seed), soft=self.soft, tower=tower
        )

    def tower(self, student: ClassStudent) -> tuple[Tokenizer, FloatArray]:
        """Its table."""
        assert student.tokenizer is not None
        return student.tokenizer, student.weights()["table"]

    def drawn(self, students: Sequence[ClassStudent]) -> DoubleArray:
        """Over subjects."""
        self.task.open_test()
        (target,) = self.task.class_names
        arms = [ClassArm("", student.logits(self.task), student.calibration) for student in students]
        return resampled([arm.classified(self.task, target, "test") for arm in arms], macro_f1, SAMPLES)


class Remembered:
    """An encoder that keeps what it has encoded, in a file too."""

    def __init__(self, encoder: TextModel, file: Path) -> None:
        self._encoder, self._file, self._known = encoder, file, dict[str, FloatArray]()
        if file.exists():
            texts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            self._known = dict(zip(texts, np.load(file), strict=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See `TextEncoder`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._encoder.encode(new), strict=True))
            np.save(self._file, np.stack(list(self._known.values())))
            self._file.with_suffix(".json").write_text(json.dumps(list(self._known)), encoding="utf-8")
        return np.stack([self._known[text] for text in texts])


def data_at(name: str) -> Path:
    """A folder of the data."""
    root = os.environ.get("KGDISTILL_DATA", Path(__file__).parents[2] / "shared" / "data")
    return Path(root) / name


def shop(work: Path) -> tuple[list[Asked[Any]], TextModel, int]:
    """Search and intents in English."""
    encoder = TransformerText(precision="float32")
    found = searched(work, encoder)
    folder = work / "bank"
    folder.mkdir(exist_ok=True)
    if not (folder / "runs").exists():
        lay_out(SOURCES["banking77"], folder)
        with kg.Graph(f"ladybug:{folder / 'graph'}") as graph:
            graph.ingest(Path(__file__).parent / "intents.yaml", folder)
            kg.Run.create(folder / "runs", graph, tasks=["intent"], seed=0)
    runs = Runs.open(folder / "runs")
    for stage in ("text", "teacher"):
        runs["intent"].make(stage)
    made = runs["intent"].by_classes
    soft = made.teacher().told(made.task, made.vectors)
    intents = Classes("intent", made.task, made.vectors, soft, ClassifyConfig())
    return [found, intents], encoder, 64


def searched(work: Path, encoder: TextModel) -> Search:
    """The judged products of Chorus."""
    folder, data = work / "chorus", data_at("chorus_icecat")
    folder.mkdir(exist_ok=True)
    judged = set(pd.read_csv(data / "judgements.csv", dtype=str).iloc[:, 1])
    shutil.copy(data / "judgements.csv", folder)
    with (
        gzip.open(data / "products.jsonl.gz", "rt") as whole,
        gzip.open(folder / "products.jsonl.gz", "wt") as kept,
    ):
        kept.writelines(line for line in whole if str(json.loads(line)["id"]) in judged)
    suite = load_suite("chorus")
    assert isinstance(suite, SearchSuite)
    with TemporaryDirectory() as place:
        task = search_task(suite, folder, Path(place) / "snapshot")
        task.open_test()
        _ = task.judgements, task.catalogue
    teaching = teach(task.catalogue, encoder, count=4000)
    config = SearchConfig(queries=4000)
    return Search(task, teaching.lessons, teaching.vectors, teaching.teacher.index, config)


def reviews_zh(work: Path) -> tuple[list[Asked[Any]], TextModel, int]:
    """Sentiment and category of Chinese reviews, as two tasks."""
    encoder: Any = Remembered(MultilingualText(max_tokens=TOKENS), work / "reviews.npy")
    reviews.TRAIN, reviews.TEST = REVIEWS, TEST_REVIEWS
    reviews.draw(work)
    with TemporaryDirectory() as place, kg.Graph(f"ladybug:{place}/graph") as graph:
        graph.ingest(Path(__file__).parent / "reviews-zh.yaml", work)
        snapshot = take_snapshot(graph.store, work / "snapshot", cut=None, needed=())
    asked: list[Asked[Any]] = []
    for target, where in reviews.TASK["targets"].items():  # type: ignore[attr-defined]
        spec = parse_task({**reviews.TASK, "targets": {target: where}}, name=target)
        assert isinstance(spec, ClassifySpec)
        task, config = build_classify_task(snapshot, spec), ClassifyConfig(dim=DIM)
        vectors = encode_task(task, encoder)
        soft = train_class_teacher(task, vectors, config, Context(CPU, 0)).told(task, vectors)
        asked.append(Classes(target, task, vectors, soft, config))
    return asked, encoder, TOKENS


SCENES: dict[str, Callable[[Path], tuple[list[Asked[Any]], TextModel, int]]] = {
    "shop": shop,
    "reviews_zh": reviews_zh,
}


def served(
    towers: Sequence[tuple[Tokenizer, FloatArray]], texts: Sequence[Sequence[str]]
) -> dict[str, float]:
    """What towers take: bytes of their files, milliseconds to load, texts a second of each task in turn."""
    packed = [TextTower.of(*tower, None, None) for tower in towers]
    files = [tower.files() for tower in packed]
    began = time.process_time()
    loaded = [
        TextTower.from_arrays(tower.settings(), tower.arrays(), held, 0)
        for tower, held in zip(packed, files, strict=True)
    ]
    for tower in loaded:
        tower.encode(["first"])
    seconds = time.process_time() - began
    began = time.process_time()
    for i, some in enumerate(texts):
        loaded[min(i, len(loaded) - 1)].encode(some)
    spent = time.process_time() - began
    size = sum(len(data) for held in files for data in held.values())
    return {"bytes": size, "load_ms": 1000 * seconds, "texts_per_second": sum(map(len, texts)) / spent}


def measure(asked: Sequence[Asked[Any]], encoder: TextModel, most: int, seeds: int) -> dict[str, Any]:
    """Every task with both kinds of tower."""
    trained: dict[str, list[dict[str, Any]]] = {"own": [], "one": []}
    seconds: dict[str, list[float]] = {"own": [], "one": []}
    parts = [task.texts() for task in asked]
    for seed in range(seeds):
        for arm, held in trained.items():
            began, tower = time.process_time(), None
            if arm == "one":
                tower = train_shared_tower(parts, encoder, DIM, most, Context(CPU, seed))  # type: ignore[arg-type]
            held.append({task.name: task.student(encoder, seed, tower) for task in asked})
            seconds[arm].append(time.process_time() - began)
    rows = []
    for task in asked:
        own, one = (task.drawn([students[task.name] for students in trained[arm]]) for arm in trained)
        apart = one - own
        p = (1 + int((np.abs(apart[1:] - apart[0]) >= abs(apart[0]) - 1e-12).sum())) / (1 + SAMPLES)
        told = {"own": _ends(own), "one": _ends(one), "difference": _ends(apart), "p": p}
        rows.append({"task": task.name, "metric": task.metric, **told})
    texts = [list(part.texts)[:2000] for part in parts]
    own_towers = [task.tower(trained["own"][0][task.name]) for task in asked]
    shared = [asked[0].tower(trained["one"][0][asked[0].name])]
    cost = {"own": served(own_towers, texts), "one": served(shared, texts)}
    return {"rows": rows, "served": cost, "training_seconds": seconds}


def _ends(values: DoubleArray) -> dict[str, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return {"mean": float(values[0]), "low": float(low), "high": float(high)}


def show(found: dict[str, Any], console: Console) -> None:
    """A table a scene."""
    for scene, told in found.items():
        table = Table(title=scene)
        for column in ("task", "figure", "a tower each", "one tower", "difference", "p by Holm"):
            table.add_column(column)
        for row in told["rows"]:
            apart = row["difference"]
            ends = f"{apart['mean']:+.4f} [{apart['low']:+.4f}, {apart['high']:+.4f}]"
            figures = (f"{row[arm]['mean']:.4f}" for arm in ("own", "one"))
            table.add_row(row["task"], row["metric"], *figures, ends, f"{row['p_holm']:.3f}")
        console.print(table)
        for arm, cost in told["served"].items():
            spent = float(np.mean(told["training_seconds"][arm]))
            console.print(
                f"{arm}: {cost['bytes'] / 1e6:.1f} MB, loaded in {cost['load_ms']:.0f} ms, "
                f"{cost['texts_per_second']:,.0f} texts/s, trained in {spent:.0f} s"
            )


def main() -> None:
    """Measures what is asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=sorted(SCENES), action="append")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--work", type=Path)
    options = asked.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for name in options.only or SCENES:
            told = measure(*SCENES[name](work), options.seeds)
            found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            found[name] = told
            pairs = [row for held in found.values() for row in held["rows"]]
            for row, p in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
                row["p_holm"] = p
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            show({name: found[name]}, Console(width=160))


if __name__ == "__main__":
    main()
