"""Reads what a run folder holds for its report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from kgdistill.arrays import DoubleArray
from kgdistill.errors import ArtefactError
from kgdistill.run.artefacts import load_validated
from kgdistill.run.base import RunBase
from kgdistill.run.stages import read_mark
from kgdistill.tasks.judgements import no_judgement
from kgdistill.tasks.spec import MatchSpec

T = TypeVar("T")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReportedInterval(_Model):
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Setting(_Model):
    """How many were asked and how many items were ranked."""

    users: int
    candidates: int


class Bootstrap(_Model):
    """How the intervals were drawn."""

    samples: int
    level: float


class Protocol(_Model):
    """How every arm was judged: `units` are asked, and what is `ranked` is put in order for each."""

    name: str
    description: list[str] = Field(default_factory=list)
    cut: str | None = None
    test_start: str | None = None
    k: int
    settings: dict[str, Setting]
    bootstrap: Bootstrap
    units: str = "users"
    ranked: str = "items"
    metric: str = ""

    @property
    def headline(self) -> str:
        """The metric that decides."""
        return self.metric or f"ndcg@{self.k}"


class ReportedArm(_Model):
    """One model of the comparison and its metrics by setting."""

    arm: str
    title: str
    fit_seconds: float | None = None
    parameters: int | None = None
    settings: dict[str, dict[str, ReportedInterval]]


class Comparison(_Model):
    """The paired difference `a` minus `b`."""

    a: str
    b: str
    setting: str
    metric: str
    difference: float
    low: float
    high: float

    def flipped(self) -> Comparison:
        """The same comparison seen from `b`."""
        return Comparison(
            a=self.b,
            b=self.a,
            setting=self.setting,
            metric=self.metric,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
        )


class Expected(_Model):
    """Of one anchor of the test: how many candidates it had, came and were expected; whether it ended."""

    anchor: str
    candidates: int
    came: int
    expected: float
    low: float
    high: float
    ended: bool


class Metrics(_Model):
    """`evaluate/metrics.json`; only a run that finds audiences has gains and what was expected."""

    protocol: Protocol
    arms: list[ReportedArm] = Field(min_length=1)
    comparisons: list[Comparison] = Field(default_factory=list)
    beyond_accuracy: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    void: dict[str, str] = Field(default_factory=dict)
    sensitive: list[str] = Field(default_factory=list)
    gains: dict[str, list[tuple[float, float]]] = Field(default_factory=dict)
    expected: list[Expected] = Field(default_factory=list)

    def title(self, arm: str) -> str:
        """What a reader calls `arm`."""
        return next((a.title for a in self.arms if a.arm == arm), arm.replace("_", " "))

    def compare(self, a: str, b: str) -> list[Comparison]:
        """The comparisons between two arms, each as `a` minus `b`."""
        pairs = ((c if (c.a, c.b) == (a, b) else c.flipped(), {c.a, c.b}) for c in self.comparisons)
        return [c for c, ends in pairs if ends == {a, b}]

    def metric_names(self, setting: str) -> list[str]:
        """The metrics that any arm has in `setting`, in the order they first appear."""
        return list(dict.fromkeys(m for a in self.arms for m in a.settings.get(setting, {})))


class ReportedManifest(_Model):
    """What the report shows of `snapshot/manifest.json`."""

    cut: str | None = None
    content_hash: str = ""
    nodes: dict[str, int]
    edges: dict[str, int]


class ReportedRecommendation(_Model):
    """One recommended product and why."""

    product: str
    title: str = ""
    rank: int
    score: float | None = None
    because: str = ""
    explained: bool = False
    otherwise: str = ""


class Explained(_Model):
    """One user: how much was bought, the latest of it by name, what is recommended, and new products."""

    user: str
    done: str = "bought"
    purchases: int = 0
    bought: list[str] = Field(default_factory=list)
    recommendations: list[ReportedRecommendation]
    new: list[ReportedRecommendation] = Field(default_factory=list)


class Explanations(_Model):
    """`explanations.json`: which making of the student recommended it, and to whom what."""

    student: str
    users: list[Explained]


class TrainedConfig(_Model):
    """What the report shows of a model's `config.json`."""

    best_epoch: int | None = None
    gates: dict[str, float] = {}
    lifted: dict[str, float] = {}


@dataclass(frozen=True)
class ReportedRun:
    """Everything a report is made of; the last four may be empty.

    `titles` are what a reader calls the trained arms. `kept` has, for each training of `histories`, the
    numbers of the epoch whose model was kept; of the last epoch where a training was stopped before it could
    say, and `validated` each user's part in the sum of its validation metrics, float64 [users]. `gates` has,
    for each arm with a gate, how much of an item's vector is its text; `lifted` what was chosen for new ones.
    """

    folder: Path
    config: dict[str, Any]
    metrics: Metrics
    manifest: ReportedManifest
    titles: dict[str, str]
    histories: dict[str, list[dict[str, float]]]
    kept: dict[str, dict[str, float]]
    validated: dict[str, DoubleArray]
    gates: dict[str, dict[str, float]]
    lifted: dict[str, dict[str, float]]
    explained: list[Explained]
    picture: Path | None


def _check_judged(run: RunBase) -> None:
    """Refuses a run that `evaluate` would refuse, whose graph held nothing to judge it by."""
    task = run.config.task
    if isinstance(task, MatchSpec) and read_mark(run.folder / "graph") is not None and not run.judges:
        raise no_judgement(task)


def read_run(folder: Path) -> ReportedRun:
    """Reads a run folder whose models were judged.

    Raises:
        ArtefactError: there is no run; what was judged no longer fits the snapshot, settings or models
            that stand there, or a file is damaged.
        InputError: nothing can judge the run.
    """
    if not folder.is_dir():
        raise ArtefactError("there is no run here", where=str(folder), hint="name the folder of a run")
    run = RunBase.open(folder)
    if read_mark(folder / "evaluate") is None:
        _check_judged(run)
    metrics = _read(run.read("evaluate") / "metrics.json", Metrics)
    titles = {name: run.pipeline.arms[name].title for name in run.pipeline.trained}
    judged = [name for name in titles if any(arm.arm == name for arm in metrics.arms)]
    histories = {name: h for name in judged if (h := _history(run.read(name) / "history.jsonl"))}
    explained = _explained(folder / "explanations.json", run.need("student").made)
    picture = folder / "explanation.png"
    trained = {name: _trained(folder / name / "config.json") for name in judged}
    return ReportedRun(
        folder=folder,
        config=run.config.model_dump(mode="json"),
        metrics=metrics,
        manifest=_read(run.read("graph") / "snapshot" / "manifest.json", ReportedManifest),
        titles=titles,
        histories=histories,
        kept={name: _kept(trained[name], rows) for name, rows in histories.items()},
        validated={name: parts for name in histories if (parts := load_validated(folder / name)) is not None},
        gates={name: told.gates for name, told in trained.items() if told.gates},
        lifted={name: told.lifted for name, told in trained.items() if told.lifted},
        explained=explained,
        picture=picture if explained and picture.is_file() else None,
    )


def _explained(file: Path, student: str) -> list[Explained]:
    """What the demo wrote for its report; nothing where another student recommended it."""
    if not file.is_file():
        return []
    found = _read(file, Explanations)
    return found.users if found.student == student else []


def _read(file: Path, kind: type[T]) -> T:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtefactError(
            "is missing, and a report needs it",
            where=str(file),
            hint="run the stage that writes it; a run that was stopped goes on where it was",
        ) from error
    return _parse(TypeAdapter(kind), text, str(file))


def _parse(adapter: TypeAdapter[T], text: str, where: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise ArtefactError(
            f"is not what a run leaves behind: {place + ': ' if place else ''}{first['msg']}",
            where=where,
            hint="delete it, and start the command again that writes it",
        ) from error


def _kept(trained: TrainedConfig, rows: list[dict[str, float]]) -> dict[str, float]:
    return next((row for row in rows if row["epoch"] == trained.best_epoch), rows[-1])


def _trained(file: Path) -> TrainedConfig:
    return _read(file, TrainedConfig) if file.is_file() else TrainedConfig()


def _history(file: Path) -> list[dict[str, float]]:
    """Numbers by epoch."""
    if not file.is_file():
        return []
    rows: list[dict[str, float]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ArtefactError("is not JSON", where=f"{file}, line {number}") from error
        rows.append({k: float(v) for k, v in row.items() if isinstance(v, int | float)})
    return [row for row in rows if "epoch" in row]
