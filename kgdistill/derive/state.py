"""What a derivation leaves for the next one: the choices it saw and the partners it found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.derive.co_occurrence import Choices, Former, Nearest, codes_in
from kgdistill.errors import DiskError
from kgdistill.private import make_private, private_folder

_FORMAT = "1"
# One file, so that it is replaced whole: `support` is null where `left` is a user who chose `right`.
_COLUMNS = pa.schema(
    [("left", pa.string()), ("right", pa.string()), ("support", pa.int64()), ("more", pa.bool_())]
)


@dataclass(frozen=True)
class Left:
    """The contents of a state file: Arrow tables with the columns left, right, support and more."""

    choices: pa.Table
    nearest: pa.Table


def read_state(file: Path, parameters: Mapping[str, str]) -> Left | None:
    """What the last derivation with the same parameters left; None where there is none that can be used."""
    try:
        # Not memory-mapped: the file is replaced while the table is in use.
        table = pq.read_table(file, memory_map=False)
    except (OSError, pa.ArrowException):
        return None
    said = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if said != {**parameters, "format": _FORMAT} or not table.schema.equals(_COLUMNS):
        return None
    chosen = pc.is_null(table["support"])
    return Left(table.filter(chosen), table.filter(pc.invert(chosen)))


def write_state(file: Path, parameters: Mapping[str, str], choices: Choices, nearest: Nearest) -> None:
    """Puts what was seen and found in place of the former.

    Raises:
        DiskError: it cannot be written; the former stays.
    """
    seen = pa.table(
        {
            "left": choices.users.take(pa.array(choices.user)),
            "right": choices.items.take(pa.array(choices.item)),
            "support": pa.nulls(len(choices.user), pa.int64()),
            "more": pa.nulls(len(choices.user), pa.bool_()),
        },
        schema=_COLUMNS,
    )
    found = pa.table(
        {
            "left": choices.items.take(pa.array(nearest.item)),
            "right": choices.items.take(pa.array(nearest.partner)),
            "support": pa.array(nearest.support),
            "more": pa.array(nearest.more),
        },
        schema=_COLUMNS,
    )
    table = pa.concat_tables([seen, found]).replace_schema_metadata({**parameters, "format": _FORMAT})
    partial = file.with_name(file.name + ".partial")
    try:
        private_folder(file.parent)
        pq.write_table(table, partial, compression="zstd")
        make_private(partial)
        os.replace(partial, file)
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(file)) from error


def former_of(left: Left, choices: Choices) -> Former:
    """What was left, in the codes of `choices`, which has a code for every key of it."""
    before = Choices.of(left.choices["left"], left.choices["right"], users=choices.users, items=choices.items)
    nearest = Nearest(
        codes_in(left.nearest["left"], choices.items),
        codes_in(left.nearest["right"], choices.items),
        np.asarray(left.nearest["support"]).astype(np.int64),
        np.asarray(left.nearest["more"]).astype(bool),
    )
    return Former(nearest, choices.changed_items(before))
