"""What a store says of an answer beside its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

_KEY = b"kgdistill.notes"


def with_notes(table: pa.Table, notes: Sequence[str]) -> pa.Table:
    """The same table; its metadata say these sentences, and nothing where there are none."""
    return table.replace_schema_metadata({_KEY: json.dumps(list(notes))} if notes else None)


def notes_of(table: pa.Table) -> list[str]:
    """What a user should know of an answer, a sentence each."""
    found: list[str] = json.loads((table.schema.metadata or {}).get(_KEY, b"[]"))
    return found
