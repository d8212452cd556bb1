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
from kgdistill.models.text.pooled_layers import encode_layers
from kgdistill.models.text.transformer import PooledText, TextEncoder, TransformerText
from kgdistill.models.text.vocabulary import common_words, first_table, principal_axes, word_pairs
from kgdistill.models.text.words import WordTokens
from kgdistill.ranking.calibration import Calibration, calibrate
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_lesson import ClassLesson, Logits
from kgdistill.train.loop import Context, Draws, Recipe, fit

_ROWS = 4096


@dataclass(frozen=True)
class SubjectVectors:
    """What the text teacher says of a task's texts.

    Attributes:
        subjects: of the subjects' texts, float32 [subjects, E]; None where they are not known by text.
        nodes: of the nodes beside them, by label, float32 [nodes, E].
        layers: of the subjects' texts, what the teacher reads in place of the vectors where the encoder shows
            its layers, float32 [subjects, F]; see `encode_layers`.
    """

    subjects: FloatArray | None
    nodes: Mapping[str, FloatArray]
    layers: FloatArray | None = None


def encode_task(
    task: ClassifyTask, encoder: TextEncoder, config: ClassifyConfig | None = None
) -> SubjectVectors:
    """Encodes each distinct text once.

    Args:
        task: whose texts.
        encoder: of which the subjects' texts are read by their layers too, where it shows them.
        config: how many layers, and from how many training subjects on; None: none.
    """
    layers = 0
    if config is not None and len(task.subjects("train")) >= config.layers_from:
        layers = config.layers

    def encode(texts: Sequence[str]) -> FloatArray:
        distinct, rows = np.unique(np.array(texts, object), return_inverse=True)
        return encoder.encode([str(text) for text in distinct])[rows]

    labels = {beside.label: beside.texts for beside in task.neighbours if any(beside.texts)}
    nodes = {label: encode(texts) for label, texts in labels.items()}
    if task.texts is None or not layers or not isinstance(encoder, PooledText):
        return SubjectVectors(None if task.texts is None else encode(task.texts), nodes)
    distinct, rows = np.unique(np.array(task.texts, object), return_inverse=True)
    vectors, pooled = encode_layers(encoder, [str(text) for text in distinct], layers)
    return SubjectVectors(vectors[rows], nodes, pooled[rows])


@dataclass
class ClassTeacher:
    """The teacher: text vectors as they are and what stands beside the subject, under one head.

    Attributes:
        head: of the features.
        middle, spread: of what is read of the texts that were learned from, float32 [F]; None without text.
        tables: of what stands beside.
        classes: of each target.
        several: the targets of which a subject can have several classes.
        calibration: of each target.
        history: a record per epoch.
        seconds: of training.
    """

    head: ClassifyHead
    middle: FloatArray | None
    spread: FloatArray | None
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
        return _teacher_features(task, vectors, self.middle, self.spread, self.tables)


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
    middle, spread = None, None
    if (read := _read(vectors)) is not None:
        seen = read[learned]
        middle, each = seen.mean(axis=0, dtype=np.float64), seen.var(axis=0, dtype=np.float64)
        # A vector of unit length has no axis that is drawn out: that would be noise. Layers have some.
        each = each if vectors.layers is not None else np.full_like(each, each.mean())
        middle, spread = (x.astype(np.float32) for x in (middle, np.sqrt(each).clip(1e-6)))
    features = _teacher_features(task, vectors, middle, spread, tables).to(context.device)
    counts = {name: len(names) for name, names in task.class_names.items()}
    head = ClassifyHead(
        features.shape[1], counts, hidden=config.teacher_hidden, dropout=config.teacher_dropout
    )
    head.to(context.device)
    batches = max(len(task.subjects("train")) // config.batch, 1)
    epochs = max(config.teacher_epochs, -(-config.teacher_steps // batches))
    lesson = ClassLesson(task, lambda rows: (head(features[torch.from_numpy(rows)]), None), config)
    recipe = Recipe(epochs, config.teacher_lr, weight_decay=config.weight_decay, schedule="fall", warm=0.1)
    trained = fit(
        head, lesson, recipe, draws, title="Training the classes' teacher", validate=lesson.validate,
        checkpoint=context.checkpoint,
    )  # fmt: skip
    return ClassTeacher(
        head.cpu(), middle, spread, tables, dict(task.class_names), _several(task),
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
        known = common_words(encoder, config.common_words)
        pairs = word_pairs(texts, config.pair_count)
        tokenizer, first = first_table(encoder, [*texts, *known], pairs, axes, counted=texts)
        table = torch.from_numpy(first)
        if soft is not None:
            wanted = torch.from_numpy(vectors.subjects @ axes).to(context.device)
    counts = {name: len(names) for name, names in task.class_names.items()}
    width = sum(t.width for t in tables)
    model = StaticClassifier(table, width, counts, hidden=config.hidden, dropout=config.dropout)
    model.to(context.device)
    most = 64 if encoder is None else encoder.max_tokens
    reader = _Reader(model, task, tokenizer, most, tables, dropped=config.token_dropout, draws=draws)
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
        *,
        dropped: float = 0.0,
        draws: Draws | None = None,
    ) -> None:
        self._model, self._dropped, self._draws = model, dropped, draws
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
            ids = [self._kept(self._ids[i]) for i in rows]
            flat = torch.tensor([i for row in ids for i in row], dtype=torch.long, device=self._device)
            ends = torch.tensor(np.cumsum([0, *map(len, ids)])[:-1], device=self._device)
            text = self._model.text(flat, ends)
        beside = self._beside[torch.from_numpy(rows)].to(self._device)
        return self._model(text, beside), text

    def _kept(self, ids: list[int]) -> list[int]:
        """The tokens of a text; in training some of them are left out."""
        if not self._model.training or not self._dropped or self._draws is None:
            return ids
        kept = self._draws.numpy.random(len(ids)) >= self._dropped
        return [token for token, keep in zip(ids, kept, strict=True) if keep] or ids


def _read(vectors: SubjectVectors) -> FloatArray | None:
    """What the teacher reads of texts."""
    return vectors.subjects if vectors.layers is None else vectors.layers


def _learned(task: ClassifyTask) -> IntArray:
    """The subjects whose features may be learned from: those of train, and those without a label."""
    return np.union1d(task.subjects("train"), task.unlabelled).astype(np.int64)


def _several(task: ClassifyTask) -> frozenset[str]:
    return frozenset(name for name in task.class_names if task.several(name))


def _teacher_features(
    task: ClassifyTask,
    vectors: SubjectVectors,
    middle: FloatArray | None,
    spread: FloatArray | None,
    tables: Sequence[NodeTable],
) -> Tensor:
    beside = beside_features(tables, [b.members for b in task.neighbours], len(task))
    if (read := _read(vectors)) is None or middle is None or spread is None:
        return torch.from_numpy(beside)
    text = ((read - middle) / spread).astype(np.float32)
    return torch.from_numpy(np.concatenate([text, beside], axis=1))


def _logits(head: ClassifyHead, features: Tensor) -> Logits:
    head.eval().cpu()
    with torch.inference_mode():
        return {name: x.numpy() for name, x in head(features).items()}
