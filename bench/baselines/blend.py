"""Several peers added up, with weights found on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.progress import step
from kgdistill.tasks.match import Scorer

WEIGHTS: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""What every weight is tried at, beside an anchor's 1."""

_GAIN = 1e-6
_NEAR = (0.03, 0.02, 0.01)
_SPREAD = 0.5
_LEAST = 0.02
_KEEP_BYTES = 3 << 30


def tuned_blend(
    experts: Mapping[str, Scorer],
    validate: Callable[[Scorer], float],
    *,
    weights: tuple[float, ...] = WEIGHTS,
    passes: int = 4,
    draws: int = 60,
) -> tuple[dict[str, float], Scorer]:
    """A weighted sum of standardised scores; the weights by coordinate search on validation.

    Two searches, the better one wins: from the best expert alone and from all alike. Each goes through the
    experts in their order, tries every weight while the others stand, and keeps what `validate` likes better
    by more than 1e-6; it ends with a pass that changes nothing. Then random neighbours of the best are tried,
    the same ones in every run. The top is flat and its highest point an accident: what is returned is the
    mean of all weights tried that came within 3 % of the best, well inside what a few thousand users can tell
    apart; where that mean itself falls short of them, of those within 2 %, 1 %, and at last the best alone.

    The experts' scores for what `validate` asks are kept meanwhile, up to 3 GiB.

    Args:
        experts: by name; fitted without what `validate` judges on.
        validate: the higher the better, for example NDCG on the validation split.
        weights: what is tried for each expert; 0 or above.
        passes: how many times each search goes through the experts at most.
        draws: how many random neighbours are tried.

    Returns:
        The weights by name, the largest 1, and the blend of these experts. Where the experts are fitted again
        on more, `blend(refitted, weights)` makes the blend of those.

    Raises:
        InputError: no experts, or weights below 0.
    """
    if not experts or not weights or min(weights) < 0:
        raise InputError("a blend needs at least one expert and weights of at least 0")
    keep = _Kept(dict(experts))
    tried: dict[tuple[float, ...], float] = {}

    def value(at: tuple[float, ...]) -> float:
        if at not in tried:
            tried[at] = validate(blend(keep.scorers, dict(zip(experts, at, strict=True)), standard=True))
        return tried[at]

    with step("tuning the blend") as work:
        alone = [tuple(float(i == j) for j in range(len(experts))) for i in range(len(experts))]
        starts = [max(alone, key=value), (1.0,) * len(experts)]
        found = [_search(start, value, weights, passes, work.note) for start in dict.fromkeys(starts)]
        best = max(found, key=value)
        generator = np.random.default_rng(0)
        for _ in range(draws if len(experts) > 1 else 0):
            drawn = (np.array(best) + _LEAST) * np.exp(generator.normal(0.0, _SPREAD, len(best)))
            value(_scaled(tuple(drawn.tolist())))
        best = _middle(tried, value)
    chosen = {name: w / max(best) for name, w in zip(experts, best, strict=True)}
    return chosen, blend(experts, chosen)


def blend(experts: Mapping[str, Scorer], weights: Mapping[str, float], *, standard: bool = False) -> Scorer:
    """The sum of weight x score, the scores standardised for every user over the candidates asked for.

    A candidate that an expert of weight above 0 never shows (-inf) is never shown. Experts whose scores for a
    user are all alike say nothing.

    Args:
        experts: by name.
        weights: for each of them, at least 0.
        standard: the scores are standardised already.

    Raises:
        InputError: the names differ, or no weight is above 0.
    """
    if set(experts) != set(weights) or not any(w > 0 for w in weights.values()):
        raise InputError("a blend needs one weight for each expert, one of them above 0")
    used = [(np.float32(w), experts[name]) for name, w in weights.items() if w > 0]

    def score(users: IntArray, candidates: IntArray) -> FloatArray:
        total = np.zeros((len(users), len(candidates)), dtype=np.float32)
        for weight, expert in used:
            scores = expert(users, candidates)
            total += weight * (scores if standard else standardised(scores))
        return total

    return score


def standardised(scores: FloatArray) -> FloatArray:
    """Every row less its mean, by its deviation; -inf takes no part and stays; rows all alike become 0."""
    shown = np.isfinite(scores)
    count = np.maximum(shown.sum(axis=1, keepdims=True), 1)
    centred = np.where(shown, scores, 0).astype(np.float64)
    mean = centred.sum(axis=1, keepdims=True) / count
    centred = np.where(shown, centred - mean, 0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # Rounding leaves a deviation where there is none.
    some = deviation > 1e-6 * np.abs(mean)
    out = np.divide(centred, deviation, out=np.zeros_like(centred), where=some).astype(np.float32)
    return np.where(shown, out, np.float32(-np.inf))


def _middle(
    tried: Mapping[tuple[float, ...], float], value: Callable[[tuple[float, ...]], float]
) -> tuple[float, ...]:
    best = max(tried, key=lambda at: tried[at])
    top = tried[best]
    values = dict(tried)  # `value` adds to what was tried
    for band in _NEAR:
        near = [_scaled(at) for at, got in values.items() if got >= top - band * abs(top)]
        middle = _scaled(tuple(np.mean(near, axis=0).tolist()))
        if value(middle) >= top - max(_NEAR) * abs(top):
            return middle
    return best


def _scaled(at: tuple[float, ...]) -> tuple[float, ...]:
    """The same blend, its largest weight 1."""
    return tuple(w / max(at) for w in at)


class _Kept:
    """Experts that answer what they were asked before from memory, standardised, while there is room."""

    def __init__(self, experts: dict[str, Scorer]) -> None:
        self._answers: dict[tuple[str, bytes, bytes], FloatArray] = {}
        self._bytes = 0
        self.scorers = {name: self._wrap(name, scorer) for name, scorer in experts.items()}

    def _wrap(self, name: str, scorer: Scorer) -> Scorer:
        def score(users: IntArray, candidates: IntArray) -> FloatArray:
            key = (name, users.tobytes(), candidates.tobytes())
            if key not in self._answers:
                scores = standardised(scorer(users, candidates))
                if self._bytes + scores.nbytes > _KEEP_BYTES:
                    return scores
                self._answers[key] = scores
                self._bytes += scores.nbytes
            return self._answers[key]

        return score


def _search(
    start: tuple[float, ...],
    value: Callable[[tuple[float, ...]], float],
    weights: tuple[float, ...],
    passes: int,
    note: Callable[[str], None],
) -> tuple[float, ...]:
    best = start
    for _ in range(passes):
        before = best
        for place in range(len(best)):
            for weight in weights:
                other = (*best[:place], weight, *best[place + 1 :])
                if any(other) and value(other) > value(best) + _GAIN:
                    best = other
                    note(f"{value(best):.4f}")
        if best == before:
            break
    return best
