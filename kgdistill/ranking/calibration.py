"""What makes logits of classes probabilities, and probabilities a decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.ranking.classes import decide, likeliest, probabilities, softened
from kgdistill.ranking.confidence import NEVER, Confidence, class_evidence

_SOFTNESS = 2.0


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities, and these into a decision.

    Attributes:
        temperature: logits are divided by it (Guo et al. 2017).
        threshold: with one class a subject, "none of them" where the likeliest is below it; with several, a
            class holds from it on.
        sure: with one class a subject, what it must be `believed` at least to be told without a person.
        weights: where one class is chosen; see `decide`.
        familiar: where "none of them" is an answer that was learned: how probably the class that is chosen is
            right, by its probability and by how near the subject is to what was learned. Below its own
            threshold, which stands in place of `threshold`, it is none of them.
    """

    temperature: float
    threshold: float
    sure: float = NEVER
    weights: tuple[float, ...] = ()
    familiar: Confidence | None = None

    def told(
        self, logits: FloatArray, near: FloatArray | None, *, several: bool
    ) -> tuple[FloatArray, BoolArray]:
        """Probabilities, and which classes are said to hold: float32 and bool [subjects, classes].

        Args:
            logits: float32 [subjects, classes].
            near: `Centres.near` of the subjects; not read where `familiar` is None.
            several: whether a subject can have several classes.
        """
        p = probabilities(logits, self.temperature, several=several)
        if several:
            return p, decide(p, self.threshold, several=True)
        least = self.threshold if self.familiar is None else self.familiar.threshold
        worth = self.believed(p, near)
        return p, decide(p, least, several=False, weights=self.weights, worth=worth)

    def believed(self, p: FloatArray, near: FloatArray | None) -> FloatArray:
        """How probably the class that is chosen of each subject is right, float32 [subjects]; as `told`."""
        best = likeliest(p, self.weights)
        if self.familiar is None:
            return np.asarray(p[np.arange(len(p)), best], np.float32)
        if near is None:
            raise ValueError("it is not said how near the subjects are")
        return self.familiar.of(chosen_evidence(p, near, best))


def chosen_evidence(p: FloatArray, near: FloatArray, best: IntArray) -> FloatArray:
    """`class_evidence` of the class that is chosen of each subject, int64 [subjects]; p as of `decide`."""
    return class_evidence(softened(p, _SOFTNESS)[np.arange(len(p)), best], near)


def calibrate(
    logits: FloatArray, truth: BoolArray, *, several: bool, reject: bool, keep: float = 0.95
) -> Calibration:
    """Temperature and threshold, both chosen on subjects that were not trained on.

    The temperature minimises the log-loss of the subjects in scope. With `reject`, the threshold keeps the
    share `keep` of them; `kgdistill.train.novelty.settled` then finds a better one where something says what
    is out of scope.

    Args:
        logits: float32 [subjects, classes].
        truth: bool [subjects, classes]; a row without any is out of scope.
        several: whether a subject can have several classes.
        reject: whether "none of them" is an answer.
        keep: see above.
    """
    held = truth.any(axis=1) | several
    found = temperature(logits[held], truth[held], several=several) if held.any() else 1.0
    if several:
        return Calibration(found, 0.5)
    if not reject or not held.any():
        return Calibration(found, 0.0)
    best = probabilities(logits[held], found, several=False).max(axis=1)
    return Calibration(found, float(np.quantile(best, 1 - keep)))


def temperature(logits: FloatArray, truth: BoolArray, *, several: bool) -> float:
    """That of the least log-loss, by golden section over log T from 1/20 to 20: it is convex in 1/T.

    That n were told right does not make the next one sure: of each, 1 / (n + 2) is left to what is wrong,
    by Laplace's rule of succession, as Platt (1999) does. Else few that are all right make it as small as it
    gets.
    """
    low, high = -3.0, 3.0
    ratio = (5**0.5 - 1) / 2
    left = 1 / (len(truth) + 2)
    wrong = left if several else left / max(truth.shape[1] - 1, 1)
    wanted = np.where(truth, 1 - left, wrong)
    x = logits.astype(np.float64)

    def loss(at: float) -> float:
        scaled = x / np.exp(at)
        if several:
            return float((np.logaddexp(0, scaled) - wanted * scaled).mean())
        top = scaled.max(axis=1, keepdims=True)
        scaled = scaled - top - np.log(np.exp(scaled - top).sum(axis=1, keepdims=True))
        return float(-(wanted * scaled).sum(axis=1).mean())

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
