"""The part of a bundle that answers a text: what is said to an intent, and what was answered before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.ranking.confidence import Confidence
from kgdistill.ranking.topk import best_entries
from kgdistill.serve.parts import (
    Arrays,
    all_of,
    check_arrays,
    check_settings,
    is_confidence,
    number,
    refuse,
    whole,
)

_FILE = "answers/said.json"
Decision = Literal["intent", "answer", "person"]


@dataclass(frozen=True)
class Saying:
    """What can be said.

    Attributes:
        text: with placeholders such as {order_id}; empty where nothing is written down for it.
        nodes: of the graph that it refers to, each `label`, `id` and `name`.
    """

    text: str
    nodes: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class PastAnswer:
    """A past answer that is near to what was asked.

    Attributes:
        answer: its text.
        confidence: the probability that it is the right one, of the nearest; of the others None.
        question: what was asked then, or the answer's own text where that is nearer.
        score: orders the answers to one text, and says no more.
        nodes: of the graph that it refers to.
    """

    answer: str
    confidence: float | None
    question: str
    score: float
    nodes: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Reply:
    """What is answered, or that a person is to.

    Attributes:
        decision: `intent` (its template is the answer), `answer` (the nearest past one is), `person`.
        because: in words.
        confidence: of what was decided; for a person, the best that was reached.
        text: what is answered, with its placeholders; empty for a person.
        placeholders: the names in it that are still to be filled in.
        intent, intent_confidence: the likeliest intent, empty and None where no intents were asked.
        nearest: past answers, the best first.
        nodes: of the graph that the answer refers to.
    """

    decision: Decision
    because: str
    confidence: float
    text: str = ""
    placeholders: tuple[str, ...] = ()
    intent: str = ""
    intent_confidence: float | None = None
    nearest: tuple[PastAnswer, ...] = ()
    nodes: tuple[dict[str, str], ...] = field(default=())


@dataclass(frozen=True)
class Answers:
    """Templates of classes, or past answers over the entries of a bundle.

    Attributes:
        templates: by target and class; empty where past answers are held.
        sure: by target, the probability from which on its class is believed.
        said: the past answers.
        entry, answer: int64 [pairs]: which item of the bundle leads to which answer.
        confidence: that the best of them is right; None where there are none.
        precision: the share of what is answered that was to be right where `sure` and `confidence` were
            chosen.
    """

    templates: Mapping[str, Mapping[str, Saying]]
    sure: Mapping[str, float]
    said: tuple[Saying, ...] = ()
    entry: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    answer: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    confidence: Confidence | None = None
    precision: float = 0.95

    name: ClassVar[str] = "answers"

    def by_answer(self, scores: FloatArray) -> FloatArray:
        """The best of each answer's entries, float32 [Q, answers], of scores float32 [Q, entries]."""
        return best_entries(scores, self.entry, self.answer, len(self.said))

    def ranked(self, scores: FloatArray, k: int) -> tuple[IntArray, IntArray, FloatArray]:
        """The best answers to one text, the entry that speaks most for each, and their scores.

        Args:
            scores: of the entries, float32 [entries].
            k: how many, at most.
        """
        best = self.by_answer(scores[None])[0]
        first = np.argsort(-best, kind="stable")[:k]
        first = first[np.isfinite(best[first])]
        entries = []
        for at in first:
            mine = self.entry[self.answer == at]
            entries.append(mine[np.argmax(scores[mine])])
        return first, np.array(entries, np.int64), best[first]

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        held = None if self.confidence is None else asdict(self.confidence)
        return {
            "said": len(self.said), "sure": dict(self.sure), "precision": self.precision, "confidence": held
        }  # fmt: skip

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        return {"entry": self.entry, "answer": self.answer}

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        told = {
            "said": [asdict(s) for s in self.said],
            "templates": {t: {c: asdict(s) for c, s in held.items()} for t, held in self.templates.items()},
        }
        return {_FILE: json.dumps(told, ensure_ascii=False).encode()}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> Answers:
        """See `BundlePart`."""
        sure, precision, held = settings.get("sure"), settings.get("precision"), settings.get("confidence")
        check_settings(settings, {
            "said": whole(settings.get("said")),
            "sure": isinstance(sure, dict) and all(number(v) for v in sure.values()),
            "precision": number(precision),
            "confidence": held is None or is_confidence(held, numbers=3),
        })  # fmt: skip
        check_arrays(cls.name, arrays, {"entry": ("int64", (-1,)), "answer": ("int64", (-1,))})
        try:
            told = json.loads(files[_FILE])
            said = tuple(_saying(s) for s in told["said"])
            templates = {
                t: {c: _saying(s) for c, s in by_class.items()} for t, by_class in told["templates"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise refuse("cannot be read", _FILE) from error
        entry, answer = arrays["entry"], arrays["answer"]
        fits = len(entry) == len(answer) and len(said) == settings["said"]
        for ids, most in ((entry, items), (answer, len(said))):
            fits = fits and (not len(ids) or (ids.min() >= 0 and ids.max() < most))
        if not fits:
            raise refuse("the answers do not fit their entries")
        confidence = None if held is None else Confidence.stored(held)
        return cls(templates, dict(sure or {}), said, entry, answer, confidence, float(precision or 0))


def _saying(value: Mapping[str, Any]) -> Saying:
    if not isinstance(value["text"], str) or not all_of(list(value["nodes"]), dict):
        raise ValueError("is no saying")
    return Saying(value["text"], tuple(value["nodes"]))
