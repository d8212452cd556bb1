"""What makes logits of classes probabilities, and probabilities a decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray
from kgdistill.ranking.classes import Classified, decide, mcc, probabilities, softened
from kgdistill.ranking.confidence import NEVER

SOFTNESS = 2.0
"""Where "none of them" is an answer: chosen on left-out classes of training texts; see bench/README.md."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities, and these into a decision.

    Attributes:
        temperature: logits are divided by it (Guo et al. 2017).
        threshold: with one class a subject, "none of them" where the likeliest is below it, `softened`; with
            several, a class holds from it on.
        sure: with one class a subject, the probability from which on it is believed without a person.
        weights, softness: where one class is chosen; see `decide`.
    """

    temperature: float
    threshold: float
    sure: float = NEVER
    weights: tuple[float, ...] = ()
    softness: float = 1.0


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
    best = softened(p, SOFTNESS).max(axis=1)
    if held.all():
        return Calibration(temperature, float(np.quantile(best, 1 - keep)), softness=SOFTNESS)
    every = np.ones(len(p), np.int64)
    # Midpoints, so that a subject of the validation never stands on the threshold itself.
    steps = np.unique(np.quantile(best, np.linspace(0, 1, 201)))
    tried = [0.0, *((steps[1:] + steps[:-1]) / 2).tolist()]
    reached = [
        mcc(Classified(truth, p, decide(p, t, several=False, softness=SOFTNESS)), every) for t in tried
    ]
    return Calibration(temperature, float(tried[int(np.argmax(reached))]), softness=SOFTNESS)


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
