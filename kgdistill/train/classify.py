"""Training what tells classes: a teacher over text vectors and the graph, and a static student of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.beside import NodeTable, beside_features, node_tables
from kgdistill.models.device import at_home, taken
from kgdistill.models.heads import ClassifyHead, FusedHead, Words
from kgdistill.models.layered import LayeredClassifier
from kgdistill.models.text.transformer import PooledText
from kgdistill.models.text.vocabulary import TokenSource
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.centres import Centres, centre_arrays
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.calibrations import calibrations
from kgdistill.train.class_lesson import ClassLesson, Logits, read_order
from kgdistill.train.class_reader import ClassReader, class_centres, words_of
from kgdistill.train.class_text import (
    WORD_RATE,
    StudentText,
    TextClassifier,
    first_text,
    split_of,
    student_rates,
)
from kgdistill.train.loop import Context, Draws, Recipe, Trained, fit
from kgdistill.train.subject_vectors import SubjectVectors, middle_and_size, with_classes
from kgdistill.train.tower import SharedTower, TowerTexts

_CPU = torch.device("cpu")
_LEARNED = 0.5
_ROWS, _PART = 4096, 20
"""Subjects at a time, and the fewest of a part."""


@dataclass
class ClassTeacher:
    """The teacher: text vectors as they are, what stands beside the subject and exact words, in one head.

    Cross-fitted: each of its members learned from all parts of the training subjects but one. Of a training
    subject it says what the member says that did not learn from it, of any other the mean of all. A student
    is told of a training subject halfway between that and the mean: what can be told, and what was seen.

    Attributes:
        members: over the same features.
        folds: the member that did not learn from a subject, int64 [subjects]; -1: none.
        middle, size: of the text vectors that were learned from, float32 [E] and a number; None without text.
        words: the exact words that are read; None without text.
        tables: of what stands beside.
        classes: of each target.
        several: the targets of which a subject can have several classes.
        calibration: of each target.
        epochs: after which its members were kept, in the median.
        history: a record per epoch, of one member after the other.
        seconds: of training.
        chosen: where it was trained again on everything, the one that knew nothing of validation.
        centres: of the classes, for each target that can be none of them.
    """

    members: list[FusedHead]
    folds: IntArray
    middle: FloatArray | None
    size: float
    words: WordFeatures | None
    tables: list[NodeTable]
    classes: dict[str, tuple[str, ...]]
    several: frozenset[str]
    calibration: dict[str, Calibration]
    epochs: int
    history: list[dict[str, float]]
    seconds: float
    chosen: ClassTeacher | None = None
    centres: dict[str, Centres] = field(default_factory=dict)

    @property
    def parameters_count(self) -> int:
        """How many numbers its members are."""
        return sum(p.numel() for member in self.members for p in member.parameters())

    def logits(self, task: ClassifyTask, vectors: SubjectVectors) -> Logits:
        """Of every subject of the task."""
        features = _Features(task, vectors, self.middle, self.size, self.words, self.tables)
        return self.logits_of(features)

    def told(self, task: ClassifyTask, vectors: SubjectVectors) -> Logits:
        """What a student is told of every subject: halfway from `logits` to what all members say."""
        features = _Features(task, vectors, self.middle, self.size, self.words, self.tables)
        return self.logits_of(features, learned=_LEARNED)

    def near(self, task: ClassifyTask, vectors: SubjectVectors) -> dict[str, FloatArray]:
        """Of each target that can be none of its classes, `Centres.near` of every subject."""
        features = _Features(task, vectors, self.middle, self.size, self.words, self.tables)
        return {name: centres.near(features.dense.cpu().numpy()) for name, centres in self.centres.items()}

    def logits_of(self, features: _Features, *, learned: float = 0.0) -> Logits:
        """Of every subject, by what is read of it.

        Args:
            features: what is read.
            learned: of a training subject, how much those say that learned from it too.
        """
        said = [_said(member, features) for member in self.members]
        out: dict[str, FloatArray] = {}
        for name in self.classes:
            stacked = np.stack([logits[name] for logits in said])
            out[name] = stacked.mean(axis=0)
            if len(self.folds) == len(features.dense):
                rows = np.flatnonzero(self.folds >= 0)
                unlearned = stacked[self.folds[rows], rows]
                out[name][rows] = learned * out[name][rows] + (1 - learned) * unlearned
        return out


class _Features:
    """What a teacher reads of every subject: dense features, and its words."""

    def __init__(
        self,
        task: ClassifyTask,
        vectors: SubjectVectors,
        middle: FloatArray | None,
        size: float,
        words: WordFeatures | None,
        tables: Sequence[NodeTable],
        device: torch.device = _CPU,
    ) -> None:
        dense = beside_features(tables, [b.members for b in task.neighbours], len(task))
        if middle is not None and vectors.subjects is not None:
            text = ((vectors.subjects - middle) / size).astype(np.float32)
            dense = np.concatenate([text, dense], axis=1)
        self.device, self.dense = device, at_home(torch.from_numpy(dense), device)
        self.words = words_of(words, task, device)
        self.columns = 0 if words is None else len(words.words)

    def of(self, rows: Tensor) -> tuple[Tensor, Words | None]:
        """What `FusedHead` takes of some subjects, int64 [B] on the device."""
        return taken(self.dense, rows, self.device), None if self.words is None else self.words.of(rows)


def _said(member: FusedHead, features: _Features) -> Logits:
    member.eval().to(features.device)
    parts = []
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(features.dense), device=features.device), _ROWS):
            parts.append({k: x.cpu().numpy() for k, x in member(*features.of(rows)).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass
class ClassStudent:
    """The student: a token table or a few layers, exact words and what stands beside the subject; no graph.

    Attributes:
        model: what reads the texts, and the head.
        tokenizer: its ids are the table's rows; None where layers read, or nothing does.
        max_tokens: of a text.
        words: the exact words that are read, each with weights of its own; None where texts are not read.
        tables, classes, several, calibration, epochs, history, seconds, centres: as the teacher's.
    """

    model: TextClassifier
    tokenizer: Tokenizer | None
    max_tokens: int
    words: WordFeatures | None
    tables: list[NodeTable]
    classes: dict[str, tuple[str, ...]]
    several: frozenset[str]
    calibration: dict[str, Calibration]
    epochs: int
    history: list[dict[str, float]]
    seconds: float
    centres: dict[str, Centres] = field(default_factory=dict)

    def weights(self) -> dict[str, FloatArray]:
        """The table, the words, the shared layer and each target's layer, as a bundle names them."""
        names = {
            "table.weight": "table", "head.words.weight": "words", "head.head.hidden.": "hidden.",
            "head.head.outputs.of ": "target.",
        }  # fmt: skip
        out: dict[str, FloatArray] = {}
        for name, held in self.model.state_dict().items():
            for ours, theirs in names.items():
                if name.startswith(ours):
                    out[theirs + name.removeprefix(ours)] = held.detach().cpu().numpy()
        unsure = {name for name, known in self.calibration.items() if known.familiar is not None}
        return out | centre_arrays({name: self.centres[name] for name in sorted(unsure)})

    @property
    def layers(self) -> PooledText | None:
        """What reads its texts where layers do."""
        return self.model.tower if isinstance(self.model, LayeredClassifier) else None

    def said(self, task: ClassifyTask) -> tuple[Logits, dict[str, FloatArray]]:
        """Its logits of every subject, and `near`; texts are read once for both."""
        logits, dense = self._read(task, dense=bool(self.centres))
        return logits, {name: centres.near(dense) for name, centres in self.centres.items()}

    def logits(self, task: ClassifyTask) -> Logits:
        """Of every subject of a task."""
        return self.said(task)[0]

    def near(self, task: ClassifyTask) -> dict[str, FloatArray]:
        """Of each target that can be none of its classes, `Centres.near` of every subject."""
        return self.said(task)[1]

    def dense(self, task: ClassifyTask) -> FloatArray:
        """What its head reads of every subject beside words, float32 [subjects, F]."""
        return self._read(task, dense=True)[1]

    def _read(self, task: ClassifyTask, *, dense: bool) -> tuple[Logits, FloatArray]:
        """Logits of every subject and, where asked, `dense`; texts of like length are read together."""
        split = split_of(self.model, self.tokenizer, self.max_tokens)
        reader = ClassReader(self.model, task, split, self.tables, self.words)
        order, size = read_order(torch.arange(len(task), device=reader.device), reader.lengths, _ROWS)
        told: list[dict[str, FloatArray]] = []
        features: list[FloatArray] = []
        with torch.inference_mode():
            self.model.eval()
            for rows in torch.split(order, size):
                logits, text = reader.logits(rows)
                told.append({name: x.cpu().numpy() for name, x in logits.items()})
                if dense:
                    features.append(reader.dense(rows, text).cpu().numpy())
        back = order.argsort().cpu().numpy()
        whole = {name: np.concatenate([part[name] for part in told])[back] for name in self.classes}
        return whole, np.concatenate(features)[back] if dense else np.zeros((0, 0), np.float32)


def train_class_teacher(
    task: ClassifyTask,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    context: Context,
    *,
    chosen: ClassTeacher | None = None,
) -> ClassTeacher:
    """Trains its members on the labels of the training subjects; validation chooses the epoch and calibrates.

    Args:
        task: what is told.
        vectors: of the text teacher.
        config: how.
        context: where, and what it draws from.
        chosen: has the epochs and the calibration, for a task without validation.

    Raises:
        InputError: the loss is no longer a number.
    """
    draws, own = context.draws(), len(task)
    task, vectors = with_classes(task, vectors)
    learned = _learned(task)
    tables = node_tables(task.neighbours, vectors.nodes, learned, rank=config.rank)
    middle, size, words = None, 1.0, None
    if vectors.subjects is not None and task.texts is not None:
        middle, size = middle_and_size(vectors.subjects[learned])
        words = WordFeatures.of([task.texts[i] for i in learned])
    features = _Features(task, vectors, middle, size, words, tables, context.device)
    folds = _folds(task, own, config, draws)
    teacher = ClassTeacher(
        [], folds, middle, size, words, tables, dict(task.class_names), _several(task), {}, 0, [], 0.0,
        chosen, class_centres(task, lambda: features.dense.cpu().numpy()),
    )  # fmt: skip
    kept: list[int] = []
    for fold in range(max(int(folds.max()) + 1, 1)):
        without = (fold, np.flatnonzero(folds == fold))
        member, trained = _member(task, features, config, context, without, chosen)
        teacher.members.append(member)
        kept.append(trained.best_epoch)
        teacher.history += [{**r, "epoch": r["epoch"] + len(teacher.history)} for r in trained.history]
        teacher.seconds += trained.seconds
    teacher.epochs = int(np.median(kept))
    _chosen_by_validation(teacher, task, lambda: teacher.logits_of(features), config, chosen)
    teacher.folds = folds[:own]
    return teacher


def _member(
    task: ClassifyTask,
    features: _Features,
    config: ClassifyConfig,
    context: Context,
    without: tuple[int, IntArray],
    chosen: ClassTeacher | None,
) -> tuple[FusedHead, Trained[FusedHead]]:
    """One that does not learn from some subjects: the number of their part, and which they are."""
    counts = {name: len(names) for name, names in task.class_names.items()}
    # A seed of its own, which also draws the first weights.
    draws = replace(context, seed=context.seed * config.folds + without[0]).draws()
    dense = ClassifyHead(
        features.dense.shape[1], counts, hidden=config.teacher_hidden, dropout=config.dropout
    )
    head = FusedHead(dense, features.columns)
    head.to(context.device)
    lesson = ClassLesson(
        task, lambda rows: (head(*features.of(rows)), None), context.device, config, without=without[1]
    )
    recipe = class_recipe(config, chosen, {"words": WORD_RATE})
    part = f", without part {without[0] + 1}" if len(without[1]) else ""
    trained = fit(
        head, lesson, recipe, draws, title=f"Training the classes' teacher{part}{_again(chosen)}",
        validate=lesson.validate if chosen is None else None, checkpoint=context.checkpoint,
    )  # fmt: skip
    return head.cpu(), trained


def _folds(task: ClassifyTask, own: int, config: ClassifyConfig, draws: Draws) -> IntArray:
    """The part of each training subject of the first `own`, int64 [subjects]; -1: it teaches every member.

    Those of one text lie together.
    """
    train, out = task.subjects("train"), np.full(len(task), -1, np.int64)
    train = train[train < own]
    firsts, texts = task.copies(train)
    if config.folds > 1 and len(firsts) >= _PART * config.folds:
        parts = np.empty(len(firsts), np.int64)
        parts[draws.shuffled(torch.arange(len(firsts))).numpy()] = np.arange(len(firsts)) % config.folds
        out[train] = parts[texts]
    return out


def train_class_student(
    task: ClassifyTask,
    encoder: TokenSource | None,
    vectors: SubjectVectors,
    config: ClassifyConfig,
    context: Context,
    *,
    soft: Logits | None,
    tower: SharedTower | None = None,
    chosen: ClassStudent | None = None,
) -> ClassStudent:
    """Trains a student on labels and, where `soft` is given, on the teacher's logits and text vectors.

    With them it learns from unlabelled subjects too. Validation chooses the epoch and calibrates.

    Args:
        task: what is told.
        encoder: the text teacher, whose vocabulary or layers the student cuts down; None where texts are
            not read.
        vectors: of the text teacher.
        config: how.
        context: where, and what it draws from.
        soft: the teacher's logits of every subject; None is the student without distillation.
        tower: reads the texts as it is, in the place of a table of the student's own.
        chosen: has the epochs and the calibration, for a task without validation.

    Raises:
        InputError: the loss is no longer a number, or `layers_of`.
    """
    draws = context.draws()
    learned = _learned(task)
    tables = node_tables(task.neighbours, vectors.nodes, learned, rank=config.rank, dim=config.dim)
    counts = {name: len(names) for name, names in task.class_names.items()}
    text = StudentText()
    if task.texts is not None:
        text = first_text(tower_texts(task, vectors), encoder, config, counts, tower)
    model = text.model(sum(table.width for table in tables), counts, config)
    model.to(context.device)
    most = 64 if encoder is None else encoder.max_tokens
    reader = ClassReader(
        model, task, split_of(model, text.tokenizer, most), tables, text.words, unseen=config.word_dropout
    )
    wanted = None if soft is None else text.wanted(vectors.subjects)
    how, rates, clip = student_rates(model, config)
    lesson = ClassLesson(
        task, reader.logits, context.device, how, soft=soft, wanted=wanted, lengths=reader.lengths
    )
    title = "Training the classes' student" + ("" if soft is not None else " without distillation")
    trained = fit(
        model, lesson, class_recipe(how, chosen, rates, clip), draws, title=title + _again(chosen),
        validate=lesson.validate if chosen is None else None, checkpoint=context.checkpoint,
    )  # fmt: skip
    student = ClassStudent(
        model.cpu(), text.tokenizer, most, text.words, tables, dict(task.class_names), _several(task), {},
        trained.best_epoch, trained.history, trained.seconds,
    )  # fmt: skip
    student.centres = class_centres(task, lambda: student.dense(task))
    _chosen_by_validation(student, task, lambda: student.logits(task), config, chosen)
    return student


def _chosen_by_validation(
    trained: ClassTeacher | ClassStudent,
    task: ClassifyTask,
    logits: Callable[[], Logits],
    config: ClassifyConfig,
    chosen: ClassTeacher | ClassStudent | None,
) -> None:
    """Its calibration; that of the chosen one, with what was validated of it, where it is trained again."""
    if chosen is None:
        trained.calibration = calibrations(task, logits(), config.balance)
    else:
        trained.calibration, trained.history = chosen.calibration, chosen.history
        trained.seconds += chosen.seconds


def class_recipe(
    config: ClassifyConfig,
    chosen: ClassTeacher | ClassStudent | None,
    rates: Mapping[str, float],
    clip: float = math.inf,
) -> Recipe:
    """How a model of classes is trained, for as long as the chosen one was where there is one."""
    # Without a validation that keeps the best of many weights, the rate falls to 0 within what it chose.
    epochs = config.epochs if chosen is None else max(chosen.epochs, 1)
    return Recipe(
        epochs, config.lr, weight_decay=config.weight_decay, schedule="fall", warm=0.1, clip=clip, rates=rates
    )


def _again(chosen: ClassTeacher | ClassStudent | None) -> str:
    return "" if chosen is None else ", on everything"


def tower_texts(task: ClassifyTask, vectors: SubjectVectors, soft: Logits | None = None) -> TowerTexts:
    """What a shared tower learns from of a task whose subjects are known by text.

    Args:
        task: what is told.
        vectors: of the text teacher.
        soft: the teacher's logits of every subject; None: of its vectors alone.
    """
    assert task.texts is not None
    assert vectors.subjects is not None
    rows = _learned(task)
    told = {} if soft is None else {name: logits[rows] for name, logits in soft.items()}
    texts = [task.texts[i] for i in rows]
    return TowerTexts(texts, vectors.subjects[rows], told=told, several=_several(task))


def _learned(task: ClassifyTask) -> IntArray:
    """The subjects whose features may be learned from: those of train, and those without a label."""
    return np.union1d(task.subjects("train"), task.unlabelled).astype(np.int64)


def _several(task: ClassifyTask) -> frozenset[str]:
    return frozenset(name for name in task.class_names if task.several(name))
