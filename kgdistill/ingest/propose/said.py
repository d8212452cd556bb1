"""Takes the columns of what people say and ask for what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kgdistill.ingest.propose.goods import is_kind_of_questions
from kgdistill.ingest.propose.headings import has, has_word, is_id
from kgdistill.ingest.propose.moods import is_mood
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import (
    ANSWER,
    ID,
    INTENT,
    PART,
    PRODUCT,
    QUESTION,
    SENTIMENT,
    STATEMENT,
    TEXT,
    TIME,
    TOPIC,
    word_set,
)

if TYPE_CHECKING:
    from kgdistill.ingest.propose.guess import Guess

# Files that are called so hold texts, and an id in them is that of a text.
_REVIEWS = word_set(" ".join(f"{word} {word}s" for word in STATEMENT.split()))
_REVIEWS |= word_set("kommentare rezensionen bewertungen")
SAID_IN = word_set(" ".join(f"{word} {word}s" for word in f"{QUESTION} {TEXT} faq".split())) | _REVIEWS
SAID_IN |= word_set("enquiries inquiries fragen utterances")
_NO_TEXT = "type status title count date category class name url link language lang by author score"
_NO_TEXT += " helpful vote votes verified image images summary"


def take_texts(
    found: Guess, take: Callable[..., ColumnProfile | None], left: list[ColumnProfile], stem: tuple[str, ...]
) -> None:
    """Takes questions with their answers and intents, and what people say of the shop and its goods."""

    def classes(vocabulary: str) -> Callable[[ColumnProfile], bool]:
        return lambda c: has_word(c, vocabulary) and c.time is None and not c.lists and bool(c.values)

    def said(vocabulary: str) -> Callable[[ColumnProfile], bool]:
        # Its number may have letters in it, too.
        other = f"{_NO_TEXT} {TIME} {ID}"
        return lambda c: classes(vocabulary)(c) and c.number is None and not has_word(c, other)

    def alone(column: ColumnProfile) -> bool:
        return len(column.words) == 1

    found.intent = take(classes(INTENT))
    found.answer = take(said(ANSWER), alone)
    found.question = take(said(QUESTION), alone)
    asked = found.intent is not None and found.question is None and found.product is None
    if asked and found.query is not None:
        found.question, found.query = found.query, None
    replied = _replied(found, left, stem)
    if found.question is None and (found.intent is not None or found.answer is not None):
        found.question = take(said(TEXT))
    if found.question is not None and found.answer is not None and found.intent is None:
        found.intent = take(lambda c: is_kind_of_questions(c, found.product))
    found.sentiment = take(lambda c: classes(SENTIMENT)(c) and c.distinct <= 20)
    if found.price is None and any(said(f"{STATEMENT} {TEXT}")(c) for c in left):
        found.sentiment = found.sentiment or take(is_mood)
    other = (found.question, found.order, found.quantity, found.amount, found.query, found.ad, found.campaign)
    if all(column is None for column in (*other, found.coupon)):
        rated = found.user is not None and found.rating is not None
        ids = any(is_id(c) and has_word(c, STATEMENT) for c in left)
        tells = replied or rated or ids or found.sentiment is not None or bool(SAID_IN & set(stem))
        if tells or (found.product is None) == (found.user is None):
            found.statement = take(said(STATEMENT), lambda c: c.length())
        if tells and found.statement is None:
            found.statement = take(said(TEXT), lambda c: c.length())
        labels = [c for c in left if c.flat in ("label", "class", "category") and c.distinct > 1 and c.full]
        if labels and found.statement is None and found.user is None and found.product is None:
            found.question = take(said(TEXT))
            if found.question is not None:
                found.intent = labels[0]
                left.remove(labels[0])
                found.unsure["intent"] = (
                    f"is {labels[0].name} what is wanted? as a mood, of a Statement, it is sentiment"
                )
    if found.statement is not None:
        if found.sentiment is None:
            found.sentiment = take(lambda c: c.flat in ("label", "class") and 1 < c.distinct <= 10)
        found.topic = take(lambda c: classes(TOPIC)(c) and not is_id(c))
    if found.statement is not None or found.question is not None:
        found.part = take(lambda c: has_word(c, PART) and any(v in ("train", "test") for v in c.values))
        # The codes of products among the ids are no texts'.
        own = f"{STATEMENT} {QUESTION} {TEXT} ticket dialogue conversation {ID}".split()
        own = [word for word in own if word not in PRODUCT.split()]
        found.text_id = take(
            lambda c: is_id(c) and c.full and c.distinct == len(c.values) and all(w in own for w in c.words)
        )


def _replied(found: Guess, left: list[ColumnProfile], stem: tuple[str, ...]) -> bool:
    """Whether an answer is what the shop replies to a review; it is none then."""
    answer = found.answer
    if answer is None or found.question is not None or found.intent is not None:
        return False
    called = bool(_REVIEWS & set(stem)) and not (SAID_IN - _REVIEWS) & set(stem)
    beside = found.product is not None or any(has(c, f"{PRODUCT} {STATEMENT}") for c in left)
    if not called and (found.rating is None or not beside):
        return False
    if not called:
        found.unsure[answer.name] = "taken for the reply to a review, as there are ratings, and left out"
    found.answer = None
    return True
