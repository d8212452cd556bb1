"""Heads that tell classes, one output per target, and what makes their logits probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import BoolArray, FloatArray
from kgdistill.ranking.classes import Classified, decide, mcc, probabilities


class ClassifyHead(nn.Module):
    """Logits of every target from the same features.

    Args:
        width: of the features.
        classes: how many each target has, by name.
        hidden: width of the shared layer; 0 leaves it out.
        dropout: of features and of the shared layer.
    """

    def __init__(self, width: int, classes: Mapping[str, int], *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden) if hidden else None
        self.outputs = nn.ModuleDict({name: nn.Linear(hidden or width, n) for name, n in classes.items()})
        self.dropout = dropout

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """float32 [B, width] -> logits by target, float32 [B, classes]."""
        x = F.dropout(features, self.dropout, self.training)
        if self.hidden is not None:
            x = F.dropout(F.relu(self.hidden(x)), self.dropout, self.training)
        return {name: output(x) for name, output in self.outputs.items()}


class StaticClassifier(nn.Module):
    """The student: the mean of a text's token vectors, what stands beside the subject, and a head.

    Args:
        table: of the tokens, float32 [V, D]; None where texts are not read.
        beside: width of the other features.
        classes, hidden, dropout: of the head.
    """

    def __init__(
        self, table: Tensor | None, beside: int, classes: Mapping[str, int], *, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.table = (
            None
            if table is None
            else nn.EmbeddingBag.from_pretrained(table.clone(), mode="mean", freeze=False)
        )
        width = (0 if table is None else table.shape[1]) + beside
        self.head = ClassifyHead(width, classes, hidden=hidden, dropout=dropout)

    def text(self, flat: Tensor, offsets: Tensor) -> Tensor:
        """Vectors of length √D, float32 [B, D]; 0 without tokens.

        Args:
            flat: token ids of all texts, int64 [T].
            offsets: where each text's begin, int64 [B].
        """
        assert self.table is not None
        vectors: Tensor = self.table(flat, offsets)
        unit: Tensor = F.normalize(vectors, dim=-1) * float(vectors.shape[1]) ** 0.5
        return unit

    def forward(self, text: Tensor | None, beside: Tensor) -> dict[str, Tensor]:
        """Logits by target; `text` as `text()` gave it, `beside` float32 [B, beside]."""
        logits: dict[str, Tensor] = self.head(beside if text is None else torch.cat([text, beside], dim=1))
        return logits


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities, and these into a decision.

    Attributes:
        temperature: logits are divided by it (Guo et al. 2017).
        threshold: with one class a subject, "none of them" below it; with several, a class holds from it on.
    """

    temperature: float
    threshold: float


def calibrate(
    logits: FloatArray, truth: BoolArray, *, several: bool, reject: bool, keep: float = 0.95
) -> Calibration:
    """Temperature and threshold, both chosen on subjects that were not trained on.

    The temperature minimises the log-loss of the subjects in scope. With `reject`, the threshold maximises
    MCC with "none of them" where some subjects are out of scope, and else keeps the share `keep` of them.

    Args:
        logits: float32 [subjects, classes].
        truth: bool [subjects, classes]; a row without any is out of scope.
        several: whether a subject can have several classes.
        reject: whether "none of them" is an answer.
        keep: see above.
    """
    held = truth.any(axis=1) | several
    temperature = _temperature(logits[held], truth[held], several) if held.any() else 1.0
    p = probabilities(logits, temperature, several=several)
    if several:
        return Calibration(temperature, 0.5)
    if not reject:
        return Calibration(temperature, 0.0)
    best = p.max(axis=1)
    if held.all():
        return Calibration(temperature, float(np.quantile(best, 1 - keep)))
    every = np.ones(len(p), np.int64)
    # Midpoints, so that a subject of the validation never stands on the threshold itself.
    steps = np.unique(np.quantile(best, np.linspace(0, 1, 201)))
    tried = [0.0, *((steps[1:] + steps[:-1]) / 2).tolist()]
    reached = [mcc(Classified(truth, p, decide(p, t, several=False)), every) for t in tried]
    return Calibration(temperature, float(tried[int(np.argmax(reached))]))


def _temperature(logits: FloatArray, truth: BoolArray, several: bool) -> float:
    """By golden section over log T from 1/20 to 20; the log-loss is convex in 1/T."""
    low, high = -3.0, 3.0
    ratio = (5**0.5 - 1) / 2

    def loss(at: float) -> float:
        p = probabilities(logits, float(np.exp(at)), several=several)
        return float(Classified(truth, p, np.zeros_like(truth), several).lost.mean())

    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = loss(a), loss(b)
    for _ in range(40):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = loss(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = loss(b)
    return float(np.exp((low + high) / 2))
