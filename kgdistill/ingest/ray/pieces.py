"""A large Parquet file read in several pieces, by its row groups, and what they gave as one source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from kgdistill.errors import KgdistillError
from kgdistill.ingest.archive import StagedSource, StagedType
from kgdistill.ingest.idle import joined_pieces
from kgdistill.ingest.model import TypeKey, joined_notices, type_name
from kgdistill.ingest.readers import suffixes
from kgdistill.ingest.readers.opened import compression_of
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.stage import Unit
from kgdistill.store.schema import Schema

PIECE_BYTES = 32 * 1024 * 1024


def pieces(unit: Unit) -> list[Unit]:
    """The unit, or several with some of its row groups each, in their order."""
    source = unit.source
    if source.path is None or (source.options.format or suffixes(source.path)[0]) != "parquet":
        return [unit]
    count = unit.size // PIECE_BYTES
    try:
        if count < 2 or compression_of(source) is not None:
            return [unit]
        groups = pq.read_metadata(source.path).num_row_groups
    except (OSError, pa.ArrowException, KgdistillError):
        # What is wrong with it, reading will say.
        return [unit]
    count = min(count, groups)
    if count < 2:
        return [unit]
    ends = [groups * i // count for i in range(count + 1)]
    return [
        replace(unit, source=replace(source, groups=(start, end)), size=unit.size // count)
        for start, end in pairwise(ends)
    ]


def joined(unit: Unit, staged: Sequence[StagedSource], schema: Schema) -> StagedSource:
    """What the pieces of a unit gave, in their order, as one source."""
    if len(staged) == 1:
        return staged[0]
    keys: dict[str, TypeKey] = {label: label for label in schema.nodes}
    keys |= {type_name(edge): edge for edge in schema.edges()}
    types: dict[str, StagedType] = {}
    for piece in staged:
        for name, kept in piece.types.items():
            types[name] = kept if name not in types else _both(types[name], kept, schema, keys[name])
    return staged[0].model_copy(
        update={
            "size": unit.size,
            "rows": sum(piece.rows for piece in staged),
            "skipped": sum(piece.skipped for piece in staged),
            "rejected": sum(piece.rejected for piece in staged),
            "eventless": sum(piece.eventless for piece in staged),
            "pieces": joined_pieces(piece.pieces for piece in staged),
            "late": sum(piece.late for piece in staged),
            "types": types,
            "notices": joined_notices(notice for piece in staged for notice in piece.notices),
            "seconds": sum(piece.seconds for piece in staged),
        }
    )


def _both(one: StagedType, other: StagedType, schema: Schema, key: TypeKey) -> StagedType:
    times = [kept.latest for kept in (one, other) if kept.latest is not None]
    return StagedType(
        rows=one.rows + other.rows,
        columns=tuple(n for n in row_schema(schema, key).names if n in one.columns or n in other.columns),
        ids=one.ids or other.ids,
        overlaps=one.overlaps or other.overlaps,
        deletes=one.deletes or other.deletes,
        latest=max(times, default=None),
        files=(*one.files, *other.files),
    )
