"""Training what finds an audience: a teacher over all that is known of a pair, and a small student of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import svds
from torch import Tensor, nn

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from kgdistill.config import AudienceConfig
from kgdistill.errors import InputError
from kgdistill.ranking.audience import Judged, auc, auc_within
from kgdistill.ranking.calibration import Calibration, calibrate
from kgdistill.ranking.classes import probabilities
from kgdistill.ranking.logistic import fit_logistic
from kgdistill.ranking.units import units_of
from kgdistill.tasks.audience import CLIP, AudienceData
from kgdistill.tasks.audience_task import AnchorPairs
from kgdistill.train.class_lesson import soft_loss
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, Trained, fit

COUNTS = ("positives", "events", "items had", "days since")
"""What the baseline reads."""
_SOFT_SHARES = (0.3, 0.6, 0.9)
"""Shares of the teacher in the loss, of which validation chooses."""
_RIDGE = 1.0


@dataclass(frozen=True)
class PairTable:
    """Pairs of anchors and candidates with what is known of them.

    Attributes:
        features: float32 [N, F].
        labels: bool [N].
        anchors, candidates: ids, int64 [N].
        reached: whether the anchor reached the candidate: only then the label is known; bool [N].
    """

    features: FloatArray
    labels: BoolArray
    anchors: IntArray
    candidates: IntArray
    reached: BoolArray

    def take(self, rows: IntArray | BoolArray) -> PairTable:
        """Some of them."""
        return PairTable(
            self.features[rows], self.labels[rows], self.anchors[rows], self.candidates[rows],
            self.reached[rows],
        )  # fmt: skip

    @property
    def judged(self) -> Judged:
        """What a ranking of them is judged by."""
        return Judged(self.labels, self.anchors, self.candidates)


def pair_table(data: AudienceData, pairs: Sequence[AnchorPairs], *, everybody: bool = False) -> PairTable:
    """The pairs of some anchors, each as known before its anchor started.

    Args:
        data: everything, with times.
        pairs: anchors with their candidates and labels.
        everybody: also candidates that an anchor did not reach, whose label nobody knows.
    """
    parts = []
    for pair in pairs:
        who = np.arange(data.candidates) if everybody else pair.candidates
        x = data.features(data.wanted(pair.anchor), int(data.starts[pair.anchor]), pair.candidates)
        if everybody and len(who) > len(pair.candidates):
            # Beside whom a candidate is put must not change with who else is described.
            whole = data.features(data.wanted(pair.anchor), int(data.starts[pair.anchor]), who)
            whole[pair.candidates] = x
            x = whole
        labels, reached = np.zeros(data.candidates, np.bool_), np.zeros(data.candidates, np.bool_)
        labels[pair.candidates], reached[pair.candidates] = pair.labels, True
        parts.append(PairTable(x, labels[who], np.full(len(who), pair.anchor), who, reached[who]))
    return PairTable(
        np.concatenate([p.features for p in parts]), np.concatenate([p.labels for p in parts]),
        np.concatenate([p.anchors for p in parts]), np.concatenate([p.candidates for p in parts]),
        np.concatenate([p.reached for p in parts]),
    )  # fmt: skip


def relational_vectors(data: AudienceData, until: int, dim: int) -> FloatArray:
    """Relational embeddings z of the items: unit float32 [items, dim], from the history before a moment.

    The leading right singular vectors of the history, normalised by the degrees of both ends, and once
    propagated along the groups: half of an item's vector is the mean of those that share a group with it.
    """
    known = data.history.before(until)
    shape = (data.candidates, data.items)
    had = sp.csr_matrix((np.ones(len(known)), (known.who, known.what)), shape=shape)
    had.data[:] = 1.0
    rows, columns = (np.maximum(np.asarray(had.sum(axis)).ravel(), 1.0) for axis in (1, 0))
    normal = sp.diags(rows**-0.5) @ had @ sp.diags(columns**-0.5)
    most = min(dim, min(shape) - 1)
    if not len(known) or most < 1:
        return np.zeros((data.items, dim), np.float32)
    vectors = svds(normal, k=most, v0=np.ones(min(shape)), return_singular_vectors="vh")[2].T
    vectors = vectors * columns[:, None] ** -0.5
    beside = [_group_means(vectors, f.items, f.groups, len(f.names)) for f in data.groups]
    if beside:
        vectors = _unit(vectors) + _unit(np.mean(beside, axis=0))
    out = np.zeros((data.items, dim), np.float32)
    out[:, :most] = _unit(vectors)
    return out


def _group_means(vectors: DoubleArray, items: IntArray, groups: IntArray, count: int) -> DoubleArray:
    ties = sp.csr_matrix((np.ones(len(items)), (items, groups)), shape=(len(vectors), count))
    sizes = np.maximum(np.asarray(ties.sum(0)).ravel(), 1.0)
    return np.asarray(ties @ (sp.diags(1 / sizes) @ (ties.T @ vectors)), np.float64)


def _unit(vectors: DoubleArray) -> DoubleArray:
    norm: DoubleArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return norm


# The baseline ------------------------------------------------------------------------------------


def counts_baseline(table: PairTable, names: Sequence[str]) -> Callable[[FloatArray], FloatArray]:
    """Logistic regression of `COUNTS`: what scores features [N, F] of the same names."""
    columns = [list(names).index(name) for name in COUNTS]
    x = table.features[:, columns].astype(np.float64)
    middle, spread = units_of(x)
    w, bias = fit_logistic((x - middle) / spread, table.labels.astype(np.float64), ridge=_RIDGE)
    return lambda features: np.asarray((features[:, columns] - middle) / spread @ w + bias, np.float32)


# Heads -------------------------------------------------------------------------------------------


class PairHead(nn.Module):
    """Two layers, and one beside them, over standardised features of a pair.

    Args:
        features: that are learned from, float32 [N, F]: their mean and spread are kept.
        labels: bool [N]; their share is what it says before training.
        hidden: width of the first layer.
        dropout: share of it that is left out at each step.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, features: FloatArray, labels: BoolArray, hidden: int, dropout: float) -> None:
        super().__init__()
        middle, spread = units_of(features)
        self.register_buffer("middle", torch.from_numpy(middle.astype(np.float32)))
        self.register_buffer("spread", torch.from_numpy(spread.astype(np.float32)))
        width = features.shape[1]
        self.hidden, self.dropout = nn.Linear(width, hidden), nn.Dropout(dropout)
        self.top, self.beside = nn.Linear(hidden, 1), nn.Linear(width, 1)
        nn.init.zeros_(self.top.weight)
        nn.init.constant_(self.top.bias, 0.0)
        share = (float(labels.sum()) + 0.5) / (len(labels) + 1)
        nn.init.constant_(self.beside.bias, float(np.log(share / (1 - share))))

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, F] -> logits [N]."""
        x = ((features - self.middle) / self.spread).clamp(-CLIP, CLIP)
        deep = self.top(self.dropout(torch.relu(self.hidden(x))))
        out: Tensor = (deep + self.beside(x)).squeeze(1)
        return out

    def logits(self, features: FloatArray) -> FloatArray:
        """float32 [N], on the CPU."""
        self.eval().cpu()
        with torch.inference_mode():
            return np.asarray(self(torch.from_numpy(features)).numpy(), np.float32)


class _PairLesson(Lesson[Tensor]):
    """Labels of the pairs that an anchor reached, and what the teacher says of them and of others."""

    def __init__(
        self, head: PairHead, table: PairTable, soft: FloatArray | None, share: float, place: _Place
    ) -> None:
        device = place.context.device
        self._head, self._config, self._share = head, place.config, share
        self._x = torch.from_numpy(table.features).to(device)
        self._y = torch.from_numpy(table.labels.astype(np.float32)).to(device)
        self._known = torch.from_numpy(table.reached).to(device)
        self._soft = None if soft is None else torch.from_numpy(soft).to(device)

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """See `Lesson`."""
        rows = torch.arange(len(self._y), device=self._y.device)
        return draws.batches(rows, self._config.batch, even=True)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """See `Lesson`."""
        logits, known = self._head(self._x[batch]), self._known[batch]
        terms: dict[str, tuple[float, Tensor]] = {}
        if known.any():
            told = F.binary_cross_entropy_with_logits(logits[known], self._y[batch][known])
            terms["task"] = (1 - self._share, told)
        if self._soft is not None:
            teacher, temperature = self._soft[batch][:, None], self._config.temperature
            terms["list"] = (self._share, soft_loss(logits[:, None], teacher, temperature, several=True))
        return terms


@dataclass(frozen=True)
class _Place:
    """How and where heads are trained, and what is shown of it."""

    config: AudienceConfig
    context: Context
    draws: Draws
    title: str

    def train(
        self, table: PairTable, hidden: int, name: str, soft: FloatArray | None = None, share: float = 0.0
    ) -> Trained[PairHead]:
        """One head."""
        told = table.labels[table.reached]
        head = PairHead(table.features, told, hidden, self.config.dropout).to(self.context.device)
        lesson = _PairLesson(head, table, soft, share, self)
        recipe = Recipe(
            self.config.epochs, self.config.lr, weight_decay=self.config.weight_decay, schedule="fall",
            warm=0.1,
        )  # fmt: skip
        title = f"Training the {self.title}, {name}"
        return fit(head, lesson, recipe, self.draws, title=title, checkpoint=self.context.checkpoint)


def folds_of(anchors: IntArray, count: int) -> IntArray:
    """The fold of each pair, by its anchor: int64 [N]; neighbours in the table lie in different folds."""
    _, first, place = np.unique(anchors, return_index=True, return_inverse=True)
    fold = np.empty(len(first), np.int64)
    fold[np.argsort(first)] = np.arange(len(first)) % max(min(count, len(first)), 1)
    return np.asarray(fold[place], np.int64)


def _others(table: PairTable, folds: IntArray, fold: int) -> BoolArray:
    """The pairs of the other folds; all where these have no positive."""
    rows: BoolArray = folds != fold
    return rows if table.labels[rows].any() else np.ones(len(rows), np.bool_)


@dataclass
class AudienceTeacher:
    """Heads that each learned from all anchors but those of one fold.

    Attributes:
        heads: of every fold.
        calibration: what makes its logits probabilities, by the heads that did not see the anchor.
        history: a record per epoch of the first head.
        seconds: of training.
    """

    heads: list[PairHead]
    calibration: Calibration
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def logits(self, features: FloatArray) -> FloatArray:
        """The mean of all heads, float32 [N]."""
        return np.asarray(np.mean([head.logits(features) for head in self.heads], axis=0), np.float32)


def train_audience_teacher(
    table: PairTable, config: AudienceConfig, context: Context, *, title: str = "teacher"
) -> AudienceTeacher:
    """Trains heads over pairs whose labels are known, cross-fitted by anchor.

    Args:
        table: the earliest anchor first.
        config: how.
        context: where, and what it draws from.
        title: shown while it runs.

    Raises:
        InputError: no pair is positive, or all are; the loss is no longer a number.
    """
    _check(table)
    place = _Place(config, context, context.draws(), title)
    folds, held_out = folds_of(table.anchors, config.folds), np.zeros(len(table.labels), np.float32)
    trained: list[Trained[PairHead]] = []
    for fold in np.unique(folds):
        seen = table.take(_others(table, folds, fold))
        names = [f"{fold + 1}.{member + 1}" for member in range(config.members)]
        members = [place.train(seen, config.teacher_hidden, name) for name in names]
        mine = folds == fold
        held_out[mine] = np.mean([m.model.logits(table.features[mine]) for m in members], axis=0)
        trained += members
    told = calibrate(held_out[:, None], table.labels[:, None], several=True, reject=False)
    seconds = sum(one.seconds for one in trained)
    return AudienceTeacher([one.model for one in trained], told, trained[0].history, seconds)


def _check(table: PairTable) -> None:
    if not table.labels.any() or table.labels.all():
        raise InputError(
            "the anchors of the training have no positive to learn from, or nothing else",
            hint="ingest who redeemed or clicked, or give the test fewer anchors",
        )


# The student -------------------------------------------------------------------------------------


@dataclass
class AudienceStudent:
    """One small head, with what makes its logits probabilities and their sum an interval.

    Attributes:
        head: over the student's features.
        temperature: logits are divided by it.
        spread: τ, the standard deviation of an anchor's true level around 1 time what is expected.
        soft: the teacher's share in the loss, chosen on validation; 0 without distillation.
        history, seconds: as the teacher's.
    """

    head: PairHead
    temperature: float
    spread: float
    soft: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train_audience_student(
    table: PairTable,
    soft: FloatArray | None,
    validation: IntArray,
    config: AudienceConfig,
    context: Context,
    *,
    title: str = "student",
) -> AudienceStudent:
    """Trains a head on labels and, where given, on what the teacher says, also of pairs without a label.

    The teacher's share is chosen on the validation's anchors; then all are learned from. Calibration and
    spread are those of heads that did not see the anchor.

    Args:
        table: the earliest anchor first; pairs that were not reached have no label.
        soft: the teacher's logits of them, float32 [N]; None is the student without distillation.
        validation: anchors of the validation.
        config, context, title: as `train_audience_teacher`.

    Raises:
        InputError: as `train_audience_teacher`.
    """
    if soft is None:
        table = table.take(table.reached)
    _check(table.take(table.reached))
    place = _Place(config, context, context.draws(), title)

    def learned(rows: BoolArray, share: float, name: str) -> Trained[PairHead]:
        said = None if soft is None else soft[rows]
        return place.train(table.take(rows), config.hidden, name, said, share)

    share, spent = 0.0, 0.0
    if soft is not None:
        later = np.isin(table.anchors, validation)
        judged = table.take(later & table.reached)
        earlier = ~later if (table.labels & ~later).any() else np.ones(len(later), np.bool_)
        heads = [learned(earlier, tried, f"the teacher's share {tried}") for tried in _SOFT_SHARES]
        spent = sum(head.seconds for head in heads)
        share = _SOFT_SHARES[int(np.argmax([_reached(judged, head.model) for head in heads]))]
    folds, held_out = folds_of(table.anchors, config.folds), np.zeros(len(table.labels), np.float32)
    for fold in np.unique(folds):
        part = learned(_others(table, folds, fold), share, f"fold {fold + 1}")
        held_out[folds == fold] = part.model.logits(table.features[folds == fold])
        spent += part.seconds
    whole = learned(np.ones(len(folds), np.bool_), share, "whole")
    known = table.take(table.reached)
    said = held_out[table.reached]
    told = calibrate(said[:, None], known.labels[:, None], several=True, reject=False)
    p = probabilities(said, told.temperature, several=True).astype(np.float64)
    spread = level_spread(p, known.labels, known.anchors)
    return AudienceStudent(whole.model, told.temperature, spread, share, whole.history, spent + whole.seconds)


def _reached(judged: PairTable, head: PairHead) -> float:
    """AUC over all and within the anchors, summed."""
    scores, ones = head.logits(judged.features), np.ones(len(judged.labels), np.int64)
    return auc(judged.judged, scores, ones) + auc_within(judged.judged, scores, ones)


def level_spread(p: DoubleArray, labels: BoolArray, anchors: IntArray) -> float:
    """How far an anchor's positives stray from what is expected of it, as a share, beyond chance: τ.

    By moments: Σ((o − e)² − Σp(1 − p)) / Σe² over the anchors, not below 0 (DerSimonian and Laird 1986).
    """
    over, under = 0.0, 0.0
    for anchor in np.unique(anchors):
        mine = anchors == anchor
        expected = float(p[mine].sum())
        over += (float(labels[mine].sum()) - expected) ** 2 - float((p[mine] * (1 - p[mine])).sum())
        under += expected**2
    return float(np.sqrt(max(over, 0.0) / max(under, 1e-12)))
