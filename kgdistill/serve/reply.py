"""Answering a text: by an intent's template, by what was answered before, or by handing over to a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kgdistill.errors import InputError
from kgdistill.ranking.confidence import evidence
from kgdistill.ranking.fusion import fuse
from kgdistill.serve.answers import PastAnswer, Reply, Saying
from kgdistill.serve.keys import check_count
from kgdistill.serve.search import unread
from kgdistill.serve.tower import unit

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_ ]*)\}")
READ = 0.5
"""A text of which a model knows less than this share of the tokens is not read."""


class _Intent(NamedTuple):
    name: str
    confidence: float
    sure: float
    saying: Saying


def reply(
    text: str,
    *,
    intents: Bundle | None = None,
    answers: Bundle | None = None,
    k: int = 3,
    intent_from: float | None = None,
    answer_from: float | None = None,
) -> Reply:
    """What is answered to a text.

    The template of its intent, where the intent is told with enough confidence and has one; else the nearest
    past answer, where that is right with enough confidence; else nothing: a person is to answer. So it is too
    of a text of more than 2,000 characters, and of one that the models cannot read.

    Args:
        text: what somebody wrote.
        intents: a bundle that tells intents.
        answers: a bundle that holds past answers; one of the two is enough.
        k: how many past answers are told.
        intent_from, answer_from: the confidences, from 0 to 1; None as the bundles say.

    Raises:
        InputError: the text is none or empty; a bundle is of another kind, or no class of it can have a
            template; a confidence is no share.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("there is no text to answer", hint="give what somebody wrote")
    if intents is None and answers is None:
        raise InputError("no bundle is there to answer from")
    for name, share in (("intent_from", intent_from), ("answer_from", answer_from)):
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"{name} is {share}; a confidence is from 0 to 1")
    check_count(k)
    if intents is not None:
        _check_intents(intents, text)
    if told := unread(text):
        return Reply("person", told, 0.0)
    # Halves of surrogate pairs are no characters.
    text = text.encode(errors="replace").decode()
    if not any(_reads(bundle, text) for bundle in (intents, answers) if bundle is not None):
        return Reply("person", "the models know too few of its words or characters to read it", 0.0)
    intent = None if intents is None or not _reads(intents, text) else _intent(intents, text, intent_from)
    past, least = ((), 1.0) if answers is None else _past(answers, text, k, answer_from)
    return _decided(intent, past, least)


def _decided(intent: _Intent | None, past: tuple[PastAnswer, ...], least: float) -> Reply:
    name, sure = ("", None) if intent is None else (intent.name, intent.confidence)
    best = past[0].confidence if past and past[0].confidence is not None else 0.0
    if intent is not None and intent.name and intent.confidence >= intent.sure and intent.saying.text:
        said = intent.saying
        because = f"the intent is told with {intent.confidence:.2f}, at least {intent.sure:.2f}"
        return Reply(
            "intent", because, intent.confidence, said.text, _placeholders(said.text), name, sure, past,
            said.nodes,
        )  # fmt: skip
    if past and best >= least:
        because = f"the nearest past answer is right with {best:.2f}, at least {least:.2f}"
        first = past[0]
        return Reply(
            "answer", because, best, first.answer, _placeholders(first.answer), name, sure, past, first.nodes
        )
    reasons = []
    if intent is not None:
        if not intent.name:
            reasons.append("it is of no known intent")
        elif intent.confidence < intent.sure:
            reasons.append(f"its intent is told with {intent.confidence:.2f} only ({_asked(intent.sure)})")
        else:
            reasons.append(f"nothing is written down for the intent {intent.name}")
    if past:
        reasons.append(f"the nearest past answer is right with {best:.2f} only ({_asked(least)})")
    because = "; ".join(reasons) or "nothing like it was answered before"
    return Reply("person", because, max(best, sure or 0.0), "", (), name, sure, past)


def _asked(threshold: float) -> str:
    return f"{threshold:.2f} is asked for" if threshold <= 1 else "on validation none was precise enough"


def _placeholders(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def _reads(bundle: Bundle, text: str) -> bool:
    return bundle.text is None or bundle.text.known_share(text) >= READ


def _check_intents(bundle: Bundle, text: str) -> None:
    """Refuses a bundle none of whose classes can have a template, such as one of moods."""
    if bundle.classifier is None:
        bundle.classify([text])  # which says what it was made for
        return
    told, part = list(bundle.classifier.targets), bundle.answers
    if part is None or not any(name in part.templates for name in told):
        raise InputError(
            f"the bundle of intents tells {', '.join(told)}, and no class of that can have a template",
            hint="give a run whose classes are nodes with a template: kgdistill fit --task intent",
        )


def _intent(bundle: Bundle, text: str, least: float | None) -> _Intent:
    part = bundle.answers
    assert part is not None  # as `_check_intents` has seen
    told = bundle.classify([text])[0].targets
    name = next(name for name in told if name in part.templates)
    first, confidence = told[name].first, told[name].confidence
    sure = part.sure[name] if least is None else least
    saying = part.templates.get(name, {}).get(first, Saying(""))
    return _Intent("" if told[name].out_of_scope else first, confidence, sure, saying)


def _past(bundle: Bundle, text: str, k: int, least: float | None) -> tuple[tuple[PastAnswer, ...], float]:
    part, index = bundle.answers, bundle.search_index
    if part is None or part.confidence is None or index is None or bundle.text is None:
        raise InputError("the bundle of answers holds none", hint="kgdistill fit --task answer")
    parts = index.parts([text], unit(bundle.text.encode([text], known=True)))
    scores = fuse(parts, index.fusion)
    first, entries, best = part.ranked(scores[0], k)
    threshold = part.confidence.threshold if least is None else least
    if not len(first) or not (parts["words"].any() or parts["near"].any()):
        return (), threshold
    near, coverage, whole = (part.by_answer(x) for x in (parts["near"], parts["coverage"], scores))
    sure = float(part.confidence.of(evidence(near, coverage, whole, first[:1].tolist()))[0])
    titles = bundle.items.titles
    return tuple(
        PastAnswer(part.said[a].text, sure if i == 0 else None, titles[e], float(s), part.said[a].nodes)
        for i, (a, e, s) in enumerate(zip(first.tolist(), entries.tolist(), best, strict=True))
    ), threshold
