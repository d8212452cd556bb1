"""Writes what people say and ask: statements, questions with answers and intents, what a query found."""

from __future__ import annotations

from typing import Any

from kgdistill.ingest.propose.as_value import as_key, as_moment, as_text
from kgdistill.ingest.propose.events import flags_of, kinds_for
from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.headings import has
from kgdistill.ingest.propose.moods import named_moods
from kgdistill.ingest.propose.paths import separator
from kgdistill.ingest.propose.profile import ColumnProfile, Sample
from kgdistill.ingest.propose.words import INTENT
from kgdistill.ingest.propose.write_events import timed
from kgdistill.ingest.propose.yaml_text import Pieces, flow

_CODES = ({"0": "negative", "1": "positive"}, {"-1": "negative", "0": "neutral", "1": "positive"})
_STARS = {"1": "negative", "2": "negative", "3": "neutral", "4": "positive", "5": "positive"}

_NO_CLICK = {"BOUGHT", "RATED", "ADDED", "FAVORITED", "SHARED", "COMMENTED"}


def write_texts(pieces: Pieces, user: Any, product: Any) -> None:
    """Questions with their answers and intents, or statements.

    Args:
        pieces: what is made.
        user, product: their keys; None where there is none.
    """
    found = pieces.found
    if found.statement is not None:
        _statement(pieces, found.statement, user)
    intent = None if found.intent is None else as_key(found.intent)
    answer: Any = None
    if found.question is not None:
        key = found.question.name if found.text_id is None else found.text_id.name
        told = {"text": found.question.name, "split": None if found.part is None else found.part.name}
        if found.answer is not None or intent is None:
            pieces.node("Question", key, told)
        if found.answer is not None:
            answer = as_key(found.answer)
            answer = {**(answer if isinstance(answer, dict) else {"column": answer}), "case": "lower"}
            pieces.node("Answer", answer, {"text": found.answer.name})
            pieces.edge(("Question", "ANSWERED_BY", "Answer"), key, answer, {}, stub=False)
        if intent is not None:
            pieces.node("Utterance", key, told)
            pieces.edge(("Utterance", "HAS_INTENT", "Intent"), key, intent, {}, stub=False)
    if found.intent is not None:
        if answer is not None and not has(found.intent, INTENT):
            found.unsure["intent"] = f"is {found.intent.name} what is wanted? it stands beside the answer"
        template = found.answer.name if found.answer is not None and found.question is None else None
        pieces.node("Intent", intent, {"name": found.intent.name, "template": template})
    about = ("Answer", answer) if answer is not None else ("Intent", intent)
    if about[1] is not None and product is not None:
        pieces.edge((about[0], "ABOUT", "Product"), about[1], product, {})


def _statement(pieces: Pieces, text: ColumnProfile, user: Any) -> None:
    found = pieces.found
    key: Any = text.name
    if found.text_id is not None:
        key = found.text_id.name
    else:
        found.unsure["statement"] = "no column looks like its id, so that two of the same words are one"
        if any(len(value.encode()) > 4_096 for value in text.values):
            found.unsure["statement"] += "; those of more than 4,096 bytes are rejected"
        key = as_key(text)
    mood, doubt = (None, "") if found.sentiment is None else _mood(found.sentiment)
    told = {
        "text": as_text(text),
        "sentiment": mood,
        "topic": _topic(found),
        "at": None if found.time is None else as_moment(found.time),
        "split": None if found.part is None else found.part.name,
    }
    pieces.node("Statement", key, told, {"sentiment": doubt} if doubt else {})
    if mood is None and found.rating is not None and {*found.rating.values} <= _STARS.keys():
        stars = flow({"column": found.rating.name, "values": _STARS})
        pieces.nodes.append(f"          # ? sentiment: {stars}  (where the stars are to tell the mood)")
    if user is not None and found.time is not None:
        there = [] if text.full else [{"column": text.name, "present": True}]
        when = [*there, *timed(found)]
        pieces.edge(("User", "SAID", "Statement"), user, key, {"at": as_moment(found.time)}, when=when)


def _topic(found: Guess) -> str | None:
    if found.topic is not None:
        return found.topic.name
    alone = found.product is None and len(found.categories) == 1
    if alone and not found.categories[0].lists and separator(found.categories[0]) is None:
        return found.categories[0].name
    return None


def _mood(column: ColumnProfile) -> tuple[Any, str]:
    """A column as a sentiment, in the words that alerts count where it tells them, and what is unsure."""
    seen = sorted(set(column.values))
    named = named_moods(column)
    if named:
        plain = all(value == mood for value, mood in named.items())
        return column.name if plain else {"column": column.name, "values": named}, ""
    numbers = {value.removesuffix(".0") for value in seen}
    codes = _CODES["-1" in numbers]
    if numbers <= codes.keys():
        return {"column": column.name, "values": codes}, "is it so? numbers alone tell the mood"
    return column.name, "is it the mood? alerts count negative, which a `values` can say"


def write_clicks(pieces: Pieces, sample: Sample, query: Any, product: Any) -> None:
    """The products that were clicked on of what a query found."""
    found = pieces.found
    acted = {edge[1] for edge in pieces.made}
    if found.time is None or (found.event is None and acted & _NO_CLICK):
        return
    when = timed(found)
    if found.event is not None:
        kinds = kinds_for(found.event, "CLICKED")
        if not kinds:
            return
        when = [{"column": found.event.name, "in": kinds}, *when]
    elif flag := flags_of(sample.columns, ["CLICKED"]).get("CLICKED"):
        when = [{"column": flag[0].name, "in": [flag[1]]}, *when]
    pieces.edge(("Query", "CLICKED", "Product"), query, product, {"at": as_moment(found.time)}, when=when)
