"""Tells by their values which columns of several files hold the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.ingest.mapping.values import Evaluator
from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.headings import has, is_address
from kgdistill.ingest.propose.ids import SALE, looks_like_ids, some_values
from kgdistill.ingest.propose.lines import is_catalogue, is_each
from kgdistill.ingest.propose.profile import ColumnProfile, Sample, called
from kgdistill.ingest.propose.words import ID, PRODUCT, USER, words
from kgdistill.ingest.readers import Source, read_batches

# Of the values of a column those that another one has: of numbers, which are alike by chance, and of others.
_MOST, _SOME = 0.9, 0.05
# With fewer in common than this it is no sign of what a column is.
SURE = 0.5
# Rows of a kind of file in which is looked, and its columns.
_ROWS, _COLUMNS = 500_000, 40
# What has fewer different values in its rows tells none of them apart.
_OWN = 0.2


@dataclass(frozen=True)
class Tie:
    """A column whose values stand in a column of another group of files.

    Attributes:
        here: the name of the one whose values are looked for.
        to: the place of the other group.
        there: the name of the other.
        share: of the values here that are there.
    """

    here: str
    to: int
    there: str
    share: float


def ties(groups: Sequence[tuple[list[str], Sample]], root: Path) -> list[list[Tie]]:
    """By group of files its ties to others.

    The values of a column that looks like ids are looked for in those columns of other groups that look so
    too, and tell rows apart. Of numbers most must be there, and headings or the file's name tell of the same.

    Args:
        groups: by kind of file the names below `root`, and the first rows.
        root: the folder of the files.
    """
    columns = [[c for c in taken.columns if looks_like_ids(c)][:_COLUMNS] for _, taken in groups]
    asked = [{c.name: set(some_values(c)) for c in own} for own in columns]
    tied: list[list[Tie]] = [[] for _ in groups]
    for to, (files, taken) in enumerate(groups):
        keys = [c for c in columns[to] if c.personal or c.distinct >= _OWN * len(c.values)]
        pairs = [
            (place, here, there)
            for place, own in enumerate(columns)
            for here in (own if place != to else ())
            for there in keys
            if _may_tie(here, there, files[0])
        ]
        wanted = {value for place, here, _ in pairs for value in asked[place][here.name]}
        held = _held(files, taken, {there.name for *_, there in pairs}, wanted, root)
        for place, here, there in pairs:
            values = asked[place][here.name]
            share = len(values & held[there.name]) / len(values)
            codes = here.number is None and there.number is None
            if share >= (_SOME if codes else _MOST):
                tied[place].append(Tie(here.name, to, there.name, share))
    return tied


def _held(
    files: Sequence[str], taken: Sample, names: set[str], wanted: set[str], root: Path
) -> dict[str, set[str]]:
    """By column which of the wanted values stand in it."""
    held: dict[str, set[str]] = {name: set() for name in names}
    some, rows = pa.array(sorted(wanted), pa.string()), 0
    for file in files if names else ():
        for batch in read_batches(Source(file, root / file, None, taken.options), sorted(names)):
            for name in names:
                keys = Evaluator(batch.table, file, None).text(name, is_key=True)
                held[name].update(keys.filter(pc.is_in(keys, value_set=some)).to_pylist())
            rows += batch.table.num_rows
            if rows >= _ROWS:
                return held
    return held


def _may_tie(here: ColumnProfile, there: ColumnProfile, file: str) -> bool:
    """Whether the same values would say that two columns hold the same."""
    if here.number is None and there.number is None:
        return True
    own = set(here.words) - set(ID.split())
    vocabularies = (USER, PRODUCT, SALE)
    if own & set(there.words) or any(has(here, some) and has(there, some) for some in vocabularies):
        return True
    return bool(named_for(file, here)) and not any(has(there, some) for some in vocabularies)


def named_for(file: str, key: ColumnProfile) -> str:
    """The word of a file's name that says what a key is of: orders for order_id."""
    entity = key.words[0] if key.words else ""
    stem = words(called(Path(file)))
    # Categories are of a category.
    near = (word for word in stem if word.startswith(entity[:-1]) and len(word) <= len(entity) + 2)
    return next(near, "") if len(entity) > 2 else ""


def marked(
    groups: Sequence[tuple[list[str], Sample]], guesses: Sequence[Guess], tied: Sequence[Sequence[Tie]]
) -> list[tuple[list[str], Sample]]:
    """The groups of files with what their ties say of columns: how sure they are, and of what.

    Args:
        groups: by kind of file the names, and the first rows.
        guesses: what the columns are taken for without that.
        tied: from `ties`.
    """
    columns = [{c.name: c for c in taken.columns} for _, taken in groups]
    for place, some in enumerate(tied):
        for tie in some:
            if tie.share >= SURE:
                here, there = columns[place][tie.here], columns[tie.to][tie.there]
                columns[place][tie.here] = _marked(here, tie, there, guesses[tie.to])
                columns[tie.to][tie.there] = _marked(there, tie, here, guesses[place])
                if _is_code(there, guesses[tie.to], guesses[place]):
                    for group, name in ((place, tie.here), (tie.to, tie.there)):
                        columns[group][name] = replace(columns[group][name], means="product")
    return [
        (files, replace(taken, columns=list(own.values())))
        for (files, taken), own in zip(groups, columns, strict=True)
    ]


def _is_code(there: ColumnProfile, table: Guess, lines: Guess) -> bool:
    """Whether a column of a table of products, by whatever name, tells them apart in lines that know none."""
    sold = lines.order is not None and (lines.quantity is not None or lines.price is not None)
    free = there not in (table.title, table.about) and not there.personal
    # A name alone is less than a code.
    unknown = lines.product is None or "Product" in lines.unsure
    return free and is_each(there) and is_catalogue(table) and sold and unknown


def _marked(column: ColumnProfile, tie: Tie, other: ColumnProfile, found: Guess) -> ColumnProfile:
    """A column with what one of another file says that has the same values."""
    if column.personal and (found.user is None or found.user.name != other.name):
        # By what the other file knows nobody, this one needs not.
        return column
    means = ""
    if not column.personal and column.number is None and other.number is None:
        key = found.product is not None and "Product" not in found.unsure
        means = "user" if found.user is not None and found.user.name == other.name else ""
        if key and found.product is not None and (found.product.name == other.name or is_address(other)):
            means = "product"
    return replace(column, tied=max(column.tied, round(tie.share, 1)), means=column.means or means)
