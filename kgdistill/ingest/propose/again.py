"""Tells how rows of files of one kind come again: those of an order, and those of exports that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgdistill.ingest.propose.profile import Again, Sample
from kgdistill.ingest.readers import Source, read_batches

# Rows that are compared.
_ROWS = 500_000


def again(
    files: Sequence[str], taken: Sample, root: Path, line: Sequence[str], rest: Sequence[str] = ()
) -> Again:
    """How many lines come again in the first rows of files of one kind.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        line: the columns that tell a line from others.
        rest: columns in which it is the same wherever it stands.
    """
    seen: dict[int, tuple[int, int]] = {}
    same = other = within = rows = 0
    for number, file in enumerate(files):
        for batch in read_batches(Source(file, root / file, None, taken.options), [*line, *rest]):
            columns = [batch.table[name].to_pylist() for name in (*line, *rest)]
            for row in zip(*columns, strict=True):
                if None in row[: len(line)]:
                    continue
                key, told = hash(row[: len(line)]), hash(row[len(line) :])
                before = seen.get(key)
                if before is None:
                    seen[key] = (number, told)
                elif before[0] == number:
                    within += 1
                elif before[1] == told:
                    same += 1
                else:
                    other += 1
            rows += batch.table.num_rows
            if rows >= _ROWS:
                return Again(same, other, within)
    return Again(same, other, within)


def is_of_one(files: Sequence[str], taken: Sample, root: Path, name: str, beside: Sequence[str]) -> bool:
    """Whether rows with the same value of a column hold the same beside it, as those of an order do.

    Args:
        files: their names below `root`.
        taken: how they are read.
        root: the folder of the files.
        name: the column; its values come again.
        beside: the columns beside it; where they have nothing they tell nothing.
    """
    seen: dict[tuple[int, object], object] = {}
    rows = 0
    for file in files:
        for batch in read_batches(Source(file, root / file, None, taken.options), [name, *beside]):
            keys = batch.table[name].to_pylist()
            for number, other in enumerate(beside):
                for key, value in zip(keys, batch.table[other].to_pylist(), strict=True):
                    told = key is not None and value is not None
                    if told and seen.setdefault((number, key), value) != value:
                        return False
            rows += batch.table.num_rows
            if rows >= _ROWS:
                return True
    return True
