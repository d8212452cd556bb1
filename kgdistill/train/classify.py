"""Training what tells classes: a teacher over text vectors and the graph, and a static student of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.beside import NodeTable, beside_features, node_tables
from kgdistill.models.heads import ClassifyHead, StaticClassifier
from kgdistill.models.text.transformer import TextEncoder, TransformerText
from kgdistill.models.text.vocabulary import first_table, principal_axes
from kgdistill.models.text.words import WordTokens
from kgdistill.ranking.calibration import Calibration, calibrate
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import ClassLesson, Logits
from kgdistill.train.loop import Context, Recipe, fit

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

    def weights(self) -> dict[str, FloatArray]:
        """The table, the shared layer and each target's layer, as a bundle names them."""
        names = {"table.weight": "table", "head.hidden.": "hidden.", "head.outputs.of ": "target."}
        out: dict[str, FloatArray] = {}
        for name, held in self.model.state_dict().items():
            for ours, theirs in names.items():
                if name.startswith(ours):
                    out[theirs + name.removeprefix(ours)] = held.detach().cpu().numpy()
        return out

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
