"""Tells what a proposal overlooks: rows that make no event, or keys alone, and sums that are none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from kgdistill.ingest.propose.headings import has, has_word, is_id
from kgdistill.ingest.propose.lines import told_apart
from kgdistill.ingest.propose.moods import is_mood
from kgdistill.ingest.propose.numbers import signs_around
from kgdistill.ingest.propose.profile import ColumnProfile, Sample
from kgdistill.ingest.propose.words import AMOUNT, NO_NUMBER, PRICE, TEXT
from kgdistill.ingest.propose.yaml_text import Pieces, comment, flow

KEYS_ALONE = "rows make keys alone"
# Where more of the first rows have no key, they are rows of another kind.
_FEW = 0.1
_TALK = "conversation dialogue dialog chat thread session ticket"
# So many speak by turns, in so many talks at least.
_SPEAKERS, _TALKS = 5, 5


def absent(column: ColumnProfile, pieces: Pieces) -> list[str]:
    """That rows have no key: a few, or any of which all events of the source need one."""
    labels = {"User": pieces.found.user, "Product": pieces.found.product}
    label = next((label for label, key in labels.items() if key is column), "")
    if not label or column.lists or column.full:
        return []
    events = [edge for edge in pieces.made if pieces.schema.relationship(edge).kind == "event"]
    needed = bool(events) and all(label in (edge[0], edge[2]) for edge in events)
    if not needed and column.rows - len(column.values) > _FEW * column.rows:
        return []
    none = "make no event" if needed else "make nothing of it"
    return [f"{column.lacking} have none and {none}; without required: false they are rejected and listed"]


def dated_keys(pieces: Pieces, sample: Sample) -> list[str]:
    """A doubt of rows with a time that make nothing but keys, as orders do whose customer is not known."""
    found = pieces.found
    told = {line.split(":")[0].strip() for line in pieces.nodes if line.startswith("          ")}
    if pieces.edges or pieces.trees or told - {"price"} or "event" in found.unsure:
        return []
    # Of customers, or products, each is in a row of its own.
    if not any(key is not None and key.distinct < len(key.values) for key in (found.user, found.product)):
        return []
    hidden = {c.name for c in found.personal}
    times = (c.name for c in sample.columns if c.time is not None and c.time.unit is None)
    dated = next((name for name in times if name not in hidden and name not in pieces.named), None)
    how = "names such as customer_id and product_id tell of whom and what they are"
    if found.user is None and (found.order is not None or found.quantity is not None):
        how = "no column tells who bought"
    return [comment(f"    # ? {KEYS_ALONE}, though they have a time ({dated}); {how}")] if dated else []


def bought_by_nobody(pieces: Pieces) -> list[str]:
    """A doubt of rows that are as those of orders are, and make no event, as nothing tells who or what."""
    found = pieces.found
    sold = [c for c in (found.order, found.quantity) if c is not None]
    events = any(pieces.schema.relationship(edge).kind == "event" for edge in pieces.made)
    if events or not sold or found.time is None or "event" in found.unsure or found.ad or found.campaign:
        return []
    if (
        (found.user is None) == (found.product is None)
        or found.rating is not None
        or found.statement is not None
    ):
        return []
    # Of what is described, how many there are is in store.
    if found.order is None and any((found.title, found.about, found.brand, *found.categories)):
        return []
    told = "who bought" if found.user is None else "what was bought"
    names = ", ".join(c.name for c in (*sold, found.time))
    how = f"rows look like those of orders ({names}), and make no event: no column tells {told}"
    return [comment(f"    # ? {how}")]


def described_again(pieces: Pieces, sample: Sample) -> list[str]:
    """A doubt of a table that describes products several times, as in several languages or for stores."""
    found = pieces.found
    key = found.product
    if key is None or found.user is not None or found.order is not None:
        return []
    texts = [column for column in (found.title, found.about) if column is not None]
    apart = told_apart(sample.columns, key, texts)
    if apart is None:
        return []
    column, value = apart
    again = len(key.values) - key.distinct
    where = flow([{"column": column.name, **({"in": [value]} if value else {"present": False})}])
    told = (
        f"{column.name}: {again:,} of the first {len(key.values):,} rows describe a product again, and differ"
    )
    return [comment(f"    # ? {told} in this; the last counts, and for one of each alone: where: {where}")]


def unread_sums(pieces: Pieces, sample: Sample) -> list[str]:
    """Doubts of columns that are called as sums of money, and are written in no way that is read."""
    lines = []
    for column in sample.columns:
        sums = has(column, f"{PRICE} {AMOUNT}") and not has_word(column, NO_NUMBER) and not is_id(column)
        untold = column.number is None and column.time is None and column.name not in pieces.named
        digits = sum(re.search(r"\d", value) is not None for value in column.values)
        if not (sums and untold and digits > 0.5 * len(column.values) and not column.lists):
            continue
        signs = signs_around(column.values)
        told = "is written in several ways, of which no one reads them all"
        if len(signs) > 1:
            told = f"stands in several currencies or units, that make no sum ({', '.join(sorted(signs)[:5])})"
        some = ", ".join(dict.fromkeys(value[:20] for value in column.values[:200]))[:60]
        lines.append(comment(f"    # ? {column.name}: {told}, and is left out: {some}"))
    return lines


def by_turns(pieces: Pieces, sample: Sample) -> list[str]:
    """A doubt of logs of one message a row: a question stands in one row, and its answer in the next."""
    found = pieces.found
    if found.quantity is not None:
        return []
    keys = (found.user, found.product, found.question, found.statement)
    texts = [c for c in sample.columns if has_word(c, TEXT) and c.number is None and c.time is None]
    talks = [c for c in sample.columns if c.cells and c not in keys and (is_id(c) or has_word(c, _TALK))]
    speakers = [c for c in sample.columns if c.cells and c.full and 1 < c.distinct <= _SPEAKERS]
    for talk in talks if any(text.distinct > _SPEAKERS for text in texts) else ():
        for one in speakers:
            if one is not talk and not is_mood(one) and _takes_turns(talk.cells, one.cells):
                who = ", ".join(dict.fromkeys(one.values))[:60]
                told = f"rows are messages by turns of {one.name} ({who}) in each {talk.name}"
                todo = "for answers, pair a question with the next reply in one row first"
                return [comment(f"    # ? {told}; {todo}")]
    return []


def _takes_turns(talks: Sequence[str], speakers: Sequence[str]) -> bool:
    """Whether most talks are of rows that follow one another, most of them another's than the last."""
    rows = list(zip(talks, speakers, strict=True))
    pairs = [(one, other) for one, other in pairwise(rows) if one[0] == other[0] != ""]
    turns = sum(one[1] != other[1] for one, other in pairs)
    several = len({one[0] for one, _ in pairs})
    return several >= _TALKS and 2 * several > len({*talks}) and 2 * turns > len(pairs)
