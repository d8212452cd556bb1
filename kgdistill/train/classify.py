"""Training what tells classes: a teacher over text vectors and the graph, and a static student of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.beside import NodeTable, beside_features, node_tables
from kgdistill.models.heads import Calibration, ClassifyHead, StaticClassifier, calibrate
from kgdistill.models.text.transformer import TextEncoder, TransformerText
from kgdistill.models.text.vocabulary import first_table, principal_axes
from kgdistill.models.text.words import WordTokens
from kgdistill.ranking.classes import Classified, decide, macro_f1, probabilities
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.loop import Context, Draws, Lesson, Recipe, Terms, fit
from kgdistill.train.losses import list_distillation, relational_cosine

Logits = Mapping[str, FloatArray]
"""Of each target, float32 [subjects, classes]."""
_ROWS = 4096


@dataclass(frozen=True)
class SubjectVectors:
    """What the text teacher says of a task's texts.

    Attributes:
        subjects: of the subjects' texts, float32 [subjects, E]; None where they are not known by text.
        nodes: of the nodes beside them, by label, float32 [nodes, E].
    """

    subjects: FloatArray | None
    nodes: Mapping[str, FloatArray]


def encode_task(task: ClassifyTask, encoder: TextEncoder) -> SubjectVectors:
    """Encodes each distinct text once."""

    def encode(texts: Sequence[str]) -> FloatArray:
        distinct, rows = np.unique(np.array(texts, object), return_inverse=True)
        return encoder.encode([str(text) for text in distinct])[rows]

    labels = {beside.label: beside.texts for beside in task.neighbours if any(beside.texts)}
    return SubjectVectors(
        None if task.texts is None else encode(task.texts),
        {label: encode(texts) for label, texts in labels.items()},
    )


@dataclass
class ClassTeacher:
    """The teacher: text vectors as they are and what stands beside the subject, under one head.

    Attributes:
        head: of the features.
        middle, size: of the text vectors that were learned from, float32 [E] and a number; None without text.
        tables: of what stands beside.
        classes: of each target.
        several: the targets of which a subject can have several classes.
        calibration: of each target.
        history: a record per epoch.
        seconds: of training.
    """

    head: ClassifyHead
    middle: FloatArray | None
    size: float
    tables: list[NodeTable]
    classes: dict[str, tuple[str, ...]]
    several: frozenset[str]
    calibration: dict[str, Calibration]
    history: list[dict[str, float]]
    seconds: float

    def logits(self, task: ClassifyTask, vectors: SubjectVectors) -> Logits:
        """Of every subject of a task."""
        return _logits(self.head, self._features(task, vectors))

    def _features(self, task: ClassifyTask, vectors: SubjectVectors) -> Tensor:
        return _teacher_features(task, vectors, self.middle, self.size, self.tables)


@dataclass
class ClassStudent:
    """The student: a token table and what stands beside the subject, under one head; no encoder, no graph.

    Attributes:
        model: the table and the head.
        tokenizer: its ids are the table's rows; None where texts are not read.
        max_tokens: of a text.
        tables, classes, several, calibration, history, seconds: as the teacher's.
    """

    model: StaticClassifier
    tokenizer: Tokenizer | None
    max_tokens: int
    tables: list[NodeTable]
    classes: dict[str, tuple[str, ...]]
    several: frozenset[str]
    calibration: dict[str, Calibration]
    history: list[dict[str, float]]
    seconds: float

    def logits(self, task: ClassifyTask) -> Logits:
        """Of every subject of a task."""
        reader = _Reader(self.model, task, self.tokenizer, self.max_tokens, self.tables)
        parts = []
        with torch.inference_mode():
            self.model.eval()
            for start in range(0, len(task), _ROWS):
                found, _ = reader.logits(np.arange(start, min(start + _ROWS, len(task))))
                parts.append({name: x.cpu().numpy() for name, x in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in self.classes}


def train_class_teacher(
    task: ClassifyTask, vectors: SubjectVectors, config: ClassifyConfig, context: Context
) -> ClassTeacher:
    """Trains a head on the labels of the training subjects; validation chooses the epoch and calibrates.

    Raises:
        InputError: the loss is no longer a number.
    """
    draws = context.draws()
    learned = _learned(task)
    tables = node_tables(task.neighbours, vectors.nodes, learned, rank=config.rank)
    middle, size = None, 1.0
    if vectors.subjects is not None:
        seen = vectors.subjects[learned].astype(np.float64)
        middle = seen.mean(axis=0).astype(np.float32)
        size = max(float(np.sqrt(((seen - middle) ** 2).mean())), 1e-6)
    features = _teacher_features(task, vectors, middle, size, tables).to(context.device)
    counts = {name: len(names) for name, names in task.class_names.items()}
    head = ClassifyHead(features.shape[1], counts, hidden=config.teacher_hidden, dropout=config.dropout)
    head.to(context.device)
    lesson = ClassLesson(task, lambda rows: (head(features[torch.from_numpy(rows)]), None), config)
    recipe = Recipe(config.epochs, config.lr, weight_decay=config.weight_decay, schedule="fall", warm=0.1)
    trained = fit(
        head, lesson, recipe, draws, title="Training the classes' teacher", validate=lesson.validate,
        checkpoint=context.checkpoint,
    )  # fmt: skip
    return ClassTeacher(
        head.cpu(), middle, size, tables, dict(task.class_names), _several(task),
        calibrations(task, _logits(head, features.cpu())), trained.history, trained.seconds,
    )  # fmt: skip


def train_class_student(
    task: ClassifyTask,
    encoder: TransformerText | None,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    context: Context,
    *,
    soft: Logits | None,
) -> ClassStudent:
    """Trains a student on labels and, where `soft` is given, on the teacher's logits and text vectors.

    With them it learns from unlabelled subjects too. Validation chooses the epoch and calibrates.

    Args:
        task: what is told.
        encoder: the text teacher, whose vocabulary the student cuts down; None where texts are not read.
        vectors: of the text teacher.
        config: how.
        context: where, and what it draws from.
        soft: the teacher's logits of every subject; None is the student without distillation.

    Raises:
        InputError: the loss is no longer a number.
    """
    draws = context.draws()
    learned = _learned(task)
    tables = node_tables(task.neighbours, vectors.nodes, learned, rank=config.rank, dim=config.dim)
    tokenizer, table, wanted = None, None, None
    if task.texts is not None:
        assert encoder is not None
        assert vectors.subjects is not None
        axes = principal_axes(vectors.subjects[learned], config.dim)
        texts = [task.texts[i] for i in learned]
        tokenizer, first = first_table(encoder, texts, [], axes, counted=texts)
        table = torch.from_numpy(first)
        if soft is not None:
            wanted = torch.from_numpy(vectors.subjects @ axes).to(context.device)
    counts = {name: len(names) for name, names in task.class_names.items()}
    width = sum(t.width for t in tables)
    model = StaticClassifier(table, width, counts, hidden=config.hidden, dropout=config.dropout)
    model.to(context.device)
    most = 64 if encoder is None else encoder.max_tokens
    reader = _Reader(model, task, tokenizer, most, tables)
    lesson = ClassLesson(task, reader.logits, config, soft=soft, wanted=wanted)
    recipe = Recipe(
        config.epochs, config.lr, rates={"table": config.table_rate}, weight_decay=config.weight_decay,
        schedule="fall", warm=0.1,
    )  # fmt: skip
    title = "Training the classes' student" + ("" if soft is not None else " without distillation")
    trained = fit(
        model, lesson, recipe, draws, title=title, validate=lesson.validate, checkpoint=context.checkpoint
    )
    student = ClassStudent(
        model.cpu(), tokenizer, most, tables, dict(task.class_names), _several(task), {}, trained.history,
        trained.seconds,
    )  # fmt: skip
    student.calibration = calibrations(task, student.logits(task))
    return student


class ClassLesson(Lesson[IntArray]):
    """Labels of the training subjects, and what the teacher says of these and of unlabelled ones.

    Args:
        task: what is told; its test stays closed.
        logits: of some subjects, int64 [B] -> logits by target, and text vectors float32 [B, D] or None.
        config: weights, temperature, batch and patience.
        soft: the teacher's logits of every subject.
        wanted: the teacher's text vectors in the student's space, float32 [subjects, D].
    """

    def __init__(
        self,
        task: ClassifyTask,
        logits: Callable[[IntArray], tuple[dict[str, Tensor], Tensor | None]],
        config: ClassifyConfig,
        *,
        soft: Logits | None = None,
        wanted: Tensor | None = None,
    ) -> None:
        self._task, self._logits, self._config = task, logits, config
        self._soft = None if soft is None else {k: torch.from_numpy(v) for k, v in soft.items()}
        self._wanted = wanted
        train = task.subjects("train")
        self._subjects = train if soft is None else np.concatenate([train, task.unlabelled])
        self._labels: dict[str, tuple[Tensor, Tensor]] = {}
        for name in task.class_names:
            rows, truth = task.subjects("train", name), task.truth(name, "train")
            known = torch.zeros(len(task), dtype=torch.bool)
            labels = torch.zeros(len(task), truth.shape[1])
            known[torch.from_numpy(rows)] = True
            labels[torch.from_numpy(rows)] = torch.from_numpy(truth.astype(np.float32))
            self._labels[name] = known, labels
        self._best, self._since = -np.inf, 0

    def plan(self, epoch: int, draws: Draws) -> Sequence[IntArray]:
        """See `Lesson`."""
        order = draws.numpy.permutation(self._subjects)
        return np.array_split(order, max(len(order) // self._config.batch, 1))

    def loss(self, batch: IntArray, draws: Draws) -> Terms:
        """See `Lesson`."""
        config, at = self._config, torch.from_numpy(batch)
        logits, text = self._logits(batch)
        terms: dict[str, tuple[float, Tensor]] = {}
        for name, x in logits.items():
            known, labels = (part[at].to(x.device) for part in self._labels[name])
            several = self._task.several(name)
            if known.any():
                weight = 1.0 if self._soft is None else config.task_weight
                terms[f"task/{name}"] = weight, label_loss(x[known], labels[known], several=several)
            if self._soft is not None:
                soft = self._soft[name][at].to(x.device)
                terms[f"list/{name}"] = (
                    config.list_weight, soft_loss(x, soft, config.temperature, several=several)
                )  # fmt: skip
        if text is not None and self._wanted is not None:
            terms["text"] = config.text_weight, relational_cosine(text, self._wanted[at.to(text.device)])
        return terms

    def validate(self) -> dict[str, float]:
        """Macro-F1 less the log-loss of the validation subjects, the mean over the targets."""
        reached = []
        for name in self._task.class_names:
            rows, truth = self._task.subjects("validation", name), self._task.truth(name, "validation")
            several = self._task.several(name)
            with torch.inference_mode():
                x = self._logits(rows)[0][name].float().cpu().numpy()
            p = probabilities(x, 1.0, several=several)
            given = Classified(truth, p, decide(p, 0.5 if several else 0.0, several=several), several)
            lost = float(given.lost[given.in_scope].mean()) if given.in_scope.any() else 0.0
            reached.append((macro_f1(given, np.ones(len(rows), np.int64)), -lost))
        f1, likelihood = np.mean(reached, axis=0)
        better = f1 + likelihood > self._best
        self._best, self._since = max(self._best, f1 + likelihood), 0 if better else self._since + 1
        return {"macro_f1": float(f1), "log_likelihood": float(likelihood)}

    def enough(self, epoch: int) -> bool:
        """Whether validation has not become better for as many epochs as the patience lasts."""
        return self._since >= self._config.patience

    def state_dict(self) -> dict[str, Any]:
        """See `Lesson`."""
        return {"best": float(self._best), "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Lesson`."""
        self._best, self._since = state["best"], state["since"]


def label_loss(logits: Tensor, labels: Tensor, *, several: bool) -> Tensor:
    """Cross-entropy against labels, a scalar.

    Args:
        logits: float32 [B, C].
        labels: float32 [B, C] of 0 and 1. With one class a subject, a row of none is out of scope: every
            class is to be as likely as any other (Hendrycks et al. 2019).
        several: the mean over the classes of each one's binary cross-entropy.
    """
    if several:
        return F.binary_cross_entropy_with_logits(logits, labels)
    held = labels.sum(dim=1, keepdim=True)
    even = torch.full_like(labels, 1 / labels.shape[1])
    return F.cross_entropy(logits, torch.where(held > 0, labels, even))


def soft_loss(student: Tensor, teacher: Tensor, temperature: float, *, several: bool) -> Tensor:
    """`list_distillation` over the classes; with several, over each class and its absence."""
    if several:
        student, teacher = (
            torch.stack([x, torch.zeros_like(x)], dim=2).flatten(0, 1) for x in (student, teacher)
        )
    return list_distillation(student, teacher, temperature)


def calibrations(task: ClassifyTask, logits: Logits) -> dict[str, Calibration]:
    """What makes the logits of every subject probabilities, chosen on the validation subjects."""
    return {
        name: calibrate(
            logits[name][task.subjects("validation", name)],
            task.truth(name, "validation"),
            several=task.several(name),
            reject=task.spec.targets[name].none_of_them is not None,
        )
        for name in task.class_names
    }


class _Reader:
    """A student's logits of subjects by id."""

    def __init__(
        self,
        model: StaticClassifier,
        task: ClassifyTask,
        tokenizer: Tokenizer | None,
        max_tokens: int,
        tables: Sequence[NodeTable],
    ) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        members = [beside.members for beside in task.neighbours]
        self._beside = torch.from_numpy(beside_features(tables, members, len(task)))
        self._ids: list[list[int]] | None = None
        if tokenizer is not None and task.texts is not None:
            self._ids = WordTokens(tokenizer).ids(list(task.texts), max_tokens)

    def logits(self, rows: IntArray) -> tuple[dict[str, Tensor], Tensor | None]:
        """Logits by target, and the text vectors."""
        text = None
        if self._ids is not None:
            ids = [self._ids[i] for i in rows]
            flat = torch.tensor([i for row in ids for i in row], dtype=torch.long, device=self._device)
            ends = torch.tensor(np.cumsum([0, *map(len, ids)])[:-1], device=self._device)
            text = self._model.text(flat, ends)
        beside = self._beside[torch.from_numpy(rows)].to(self._device)
        return self._model(text, beside), text


def _learned(task: ClassifyTask) -> IntArray:
    """The subjects whose features may be learned from: those of train, and those without a label."""
    return np.union1d(task.subjects("train"), task.unlabelled).astype(np.int64)


def _several(task: ClassifyTask) -> frozenset[str]:
    return frozenset(name for name in task.class_names if task.several(name))


def _teacher_features(
    task: ClassifyTask,
    vectors: SubjectVectors,
    middle: FloatArray | None,
    size: float,
    tables: Sequence[NodeTable],
) -> Tensor:
    beside = beside_features(tables, [b.members for b in task.neighbours], len(task))
    if middle is None or vectors.subjects is None:
        return torch.from_numpy(beside)
    text = ((vectors.subjects - middle) / size).astype(np.float32)
    return torch.from_numpy(np.concatenate([text, beside], axis=1))


def _logits(head: ClassifyHead, features: Tensor) -> Logits:
    head.eval().cpu()
    with torch.inference_mode():
        return {name: x.numpy() for name, x in head(features).items()}
