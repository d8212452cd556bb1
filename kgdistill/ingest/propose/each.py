"""Tells whether the rows of a file are to be read record by record of a list that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kgdistill.ingest.propose.guess import Guess, guess
from kgdistill.ingest.propose.profile import Sample, sample
from kgdistill.ingest.propose.record_lists import RecordList
from kgdistill.ingest.propose.yaml_text import listed
from kgdistill.ingest.readers.nested import inside

# With fewer of its own rows, a product beside a list is of other rows.
_SELDOM = 0.1


def samples(path: Path, encoding: str | None = None) -> list[Sample]:
    """The kinds of rows of a file: one, or two where products stand in a list of records and beside it.

    Raises:
        InputError: as `sample`.
    """
    flat = sample(path, encoding, closely=False)
    nested, lists = flat.nested, flat.nested.records
    fitting: list[tuple[RecordList, Sample, Guess]] = []
    for one in lists:
        alone = sample(path, encoding, nested=nested, each=one, only=(one.probe, True), closely=False)
        if _holds_products(one, made := guess(alone)):
            fitting.append((one, alone, made))
    if not fitting:
        return [_with_doubts(sample(path, encoding, nested=nested), lists)]
    # That of which most is known.
    one, alone, _ = max(fitting, key=lambda item: _known(item[0], item[2]))
    others = [other for other in lists if other is not one]
    product = guess(flat).product
    if product is None or "Product" in guess(flat).unsure:
        return [_with_doubts(sample(path, encoding, nested=nested, each=one), others)]
    own = next(column for column in alone.columns if column.name == product.name)
    if len(own.values) >= _SELDOM * own.rows:
        # The records are of that product, as its variants are.
        return [_with_doubts(sample(path, encoding, nested=nested), lists)]
    beside = sample(path, encoding, nested=nested, only=(one.probe, False))
    return [
        _with_doubts(beside, others),
        sample(path, encoding, nested=nested, each=one, only=(one.probe, True)),
    ]


def _holds_products(one: RecordList, made: Guess) -> bool:
    """Whether records are of products, of which their row says who or when, or which order."""
    if made.product is None or inside(made.product.name, one.name) is None:
        return False
    outer = (made.user, made.time, made.order)
    return any(column is not None and inside(column.name, one.name) is None for column in outer)


def _known(one: RecordList, made: Guess) -> tuple[int, int]:
    told = (made.quantity, made.price, made.amount, made.title)
    return sum(c is not None and inside(c.name, one.name) is not None for c in told), one.rows


def _with_doubts(taken: Sample, lists: Sequence[RecordList]) -> Sample:
    """A sample that says which lists of records are not read."""
    doubts = tuple(
        f"{one.name} holds records with {listed(list(one.fields), 12)}, which make nothing here; with "
        f"each: {one.name} each is a row, and has them as {one.name}.{next(iter(one.fields))} and so on"
        for one in lists
    )
    return replace(taken, doubts=(*taken.doubts, *doubts))
