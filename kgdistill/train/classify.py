"""Training what tells classes: a teacher over text vectors and the graph, and a static student of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import ClassifyConfig
from kgdistill.models.beside import NodeTable, beside_features, node_tables
from kgdistill.models.device import at_home, taken
from kgdistill.models.heads import ClassifyHead, FusedHead, StaticClassifier, Words
from kgdistill.models.text.transformer import TextEncoder
from kgdistill.models.text.vocabulary import TokenSource, first_table, most_words, principal_axes
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.centres import Centres, centre_arrays
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.calibrations import calibrations
from kgdistill.train.class_lesson import ClassLesson, Logits
from kgdistill.train.class_reader import ClassReader, class_centres, words_of
from kgdistill.train.loop import Context, Draws, Recipe, Trained, fit
from kgdistill.train.tower import SharedTower, TowerTexts

_CPU = torch.device("cpu")
_LEARNED = 0.5
_ROWS = 4096
_WORD_RATE, _PART = 10.0, 20
"""Of the weights of words, which stand at few subjects each; and the fewest subjects of a part."""


@dataclass(frozen=True)
class SubjectVectors:
    """What the text teacher says of a task's texts.

    Attributes:
        subjects: of the subjects' texts, float32 [subjects, E]; None where they are not known by text.
        nodes: of the nodes beside them, by label, float32 [nodes, E].
        classes: of what is written on the classes, by target, float32 [texts, E].
    """

    subjects: FloatArray | None
    nodes: Mapping[str, FloatArray]
    classes: Mapping[str, FloatArray] = field(default_factory=dict)


def encode_each(encoder: TextEncoder, texts: Sequence[str]) -> FloatArray:
    """Unit vectors, float32 [texts, E]; each distinct text is encoded once."""
    distinct, rows = np.unique(np.array(texts, object), return_inverse=True)
    return encoder.encode([str(text) for text in distinct])[rows]


def encode_task(
    task: ClassifyTask, encoder: TextEncoder, *, subjects: FloatArray | None = None
) -> SubjectVectors:
    """Encodes a task's texts; those of its subjects where they are not given, float32 [subjects, E]."""
    if subjects is None and task.texts is not None:
        subjects = encode_each(encoder, task.texts)

    def placed_at(rows: IntArray, vectors: FloatArray) -> FloatArray:
        # Where those of some classes are left out, the others keep their places.
        out = np.zeros((int(rows.max()) + 1, vectors.shape[1]), np.float32)
        out[rows] = vectors
        return out

    labels = {beside.label: beside.texts for beside in task.neighbours if any(beside.texts)}
    written = {name: held for name, held in task.class_texts.items() if held.texts}
    return SubjectVectors(
        subjects,
        {label: encode_each(encoder, texts) for label, texts in labels.items()},
        {name: placed_at(held.rows, encode_each(encoder, held.texts)) for name, held in written.items()},
    )


def middle_and_size(vectors: FloatArray) -> tuple[FloatArray, float]:
    """The mean of some vectors, float32 [E], and the root of the mean square of what they differ by."""
    seen = vectors.astype(np.float64)
    middle = seen.mean(axis=0).astype(np.float32)
    return middle, max(float(np.sqrt(((seen - middle) ** 2).mean())), 1e-6)


def with_classes(task: ClassifyTask, vectors: SubjectVectors) -> tuple[ClassifyTask, SubjectVectors]:
    """A task with what is written on its classes as training subjects behind its own, and their vectors."""
    if vectors.subjects is None or not vectors.classes:
        return task, vectors
    longer = task.with_class_texts()
    read = [vectors.classes[name][w.rows] for name, w in task.class_texts.items() if name in vectors.classes]
    return longer, replace(vectors, subjects=np.concatenate([vectors.subjects, *read]), classes={})


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
    """The student: a token table, exact words and what stands beside the subject; no encoder, no graph.

    Attributes:
        model: the table and the head.
        tokenizer: its ids are the table's rows; None where texts are not read.
        max_tokens: of a text.
        words: the exact words that are read, each with weights of its own; None where texts are not read.
        tables, classes, several, calibration, epochs, history, seconds, centres: as the teacher's.
    """

    model: StaticClassifier
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

    def logits(self, task: ClassifyTask) -> Logits:
        """Of every subject of a task."""
        parts = [{name: x.cpu().numpy() for name, x in logits.items()} for logits, _ in self._read(task)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.classes}

    def near(self, task: ClassifyTask) -> dict[str, FloatArray]:
        """Of each target that can be none of its classes, `Centres.near` of every subject."""
        dense = self.dense(task) if self.centres else None
        return {name: centres.near(dense) for name, centres in self.centres.items()}

    def dense(self, task: ClassifyTask) -> FloatArray:
        """What its head reads of every subject beside words, float32 [subjects, F]."""
        return np.concatenate([features.cpu().numpy() for _, features in self._read(task)])

    def _read(self, task: ClassifyTask) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Logits and dense features of its subjects, some thousands at a time."""
        reader = ClassReader(self.model, task, self.tokenizer, self.max_tokens, self.tables, self.words)
        with torch.inference_mode():
            self.model.eval()
            for rows in torch.split(torch.arange(len(task), device=reader.device), _ROWS):
                logits, text = reader.logits(rows)
                yield logits, reader.dense(rows, text)


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
    recipe = class_recipe(config, chosen, {"words": _WORD_RATE})
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
        encoder: the text teacher, whose vocabulary the student cuts down; None where texts are not read.
        vectors: of the text teacher.
        config: how.
        context: where, and what it draws from.
        soft: the teacher's logits of every subject; None is the student without distillation.
        tower: reads the texts as it is, in the place of a table of the student's own.
        chosen: has the epochs and the calibration, for a task without validation.

    Raises:
        InputError: the loss is no longer a number.
    """
    draws = context.draws()
    learned = _learned(task)
    tables = node_tables(task.neighbours, vectors.nodes, learned, rank=config.rank, dim=config.dim)
    counts = {name: len(names) for name, names in task.class_names.items()}
    text = None if task.texts is None else _first_text(task, encoder, vectors, config.dim, counts, tower)
    tokenizer, table, words, axes = (None, None, None, None) if text is None else text
    wanted = None
    if soft is not None and vectors.subjects is not None and axes is not None:
        wanted = torch.from_numpy(vectors.subjects @ axes)
    width = sum(t.width for t in tables) + (0 if table is None else table.shape[1])
    dense = ClassifyHead(width, counts, hidden=config.hidden, dropout=config.dropout)
    model = StaticClassifier(table, FusedHead(dense, 0 if words is None else len(words.words)))
    if model.table is not None:
        model.table.requires_grad_(tower is None)
    model.to(context.device)
    most = 64 if encoder is None else encoder.max_tokens
    reader = ClassReader(model, task, tokenizer, most, tables, words, unseen=config.word_dropout)
    lesson = ClassLesson(task, reader.logits, context.device, config, soft=soft, wanted=wanted)
    rates = {"table": config.table_rate, "head.words": _WORD_RATE}
    title = "Training the classes' student" + ("" if soft is not None else " without distillation")
    trained = fit(
        model, lesson, class_recipe(config, chosen, rates), draws, title=title + _again(chosen),
        validate=lesson.validate if chosen is None else None, checkpoint=context.checkpoint,
    )  # fmt: skip
    student = ClassStudent(
        model.cpu(), tokenizer, most, words, tables, dict(task.class_names), _several(task), {},
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
    config: ClassifyConfig, chosen: ClassTeacher | ClassStudent | None, rates: Mapping[str, float]
) -> Recipe:
    """How a model of classes is trained, for as long as the chosen one was where there is one."""
    # Without a validation that keeps the best of many weights, the rate falls to 0 within what it chose.
    epochs = config.epochs if chosen is None else max(chosen.epochs, 1)
    return Recipe(epochs, config.lr, weight_decay=config.weight_decay, schedule="fall", warm=0.1, rates=rates)


def _again(chosen: ClassTeacher | ClassStudent | None) -> str:
    return "" if chosen is None else ", on everything"


def _first_text(
    task: ClassifyTask,
    encoder: TokenSource | None,
    vectors: SubjectVectors,
    dim: int,
    counts: Mapping[str, int],
    tower: SharedTower | None,
) -> tuple[Tokenizer, Tensor, WordFeatures, FloatArray]:
    """How a student reads texts: tokens and their first vectors, exact words, and axes of the teacher's."""
    own = tower_texts(task, vectors)
    words = WordFeatures.of(own.texts, most=most_words(counts.values()))
    if tower is not None:
        return tower.tokenizer, torch.from_numpy(tower.table), words, tower.axes
    assert encoder is not None
    axes = principal_axes(own.vectors, dim)
    tokenizer, first = first_table(encoder, own.texts, [], axes, counted=own.texts, spare=True)
    return tokenizer, torch.from_numpy(first), words, axes


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
