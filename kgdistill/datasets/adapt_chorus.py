"""Chorus publishes its products as one JSON array; jobs read one object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.readers import SourceOptions, find_sources
from kgdistill.ingest.readers.opened import open_bytes

_COLUMNS = (
    "id",
    "title",
    "short_description",
    "supplier",
    "price",
    "attr_t_product_type",
    "attr_t_product_colour",
    "attr_t_form_factor",
    "attr_t_type",
)


def chorus_sources(folder: Path | None) -> dict[str, pa.Table | Path]:
    """The products as a table where they are a JSON array; nothing where they are JSON lines.

    Raises:
        InputError: no folder is given, it has no products, or a file is not JSON.
    """
    if folder is None:
        raise InputError("needs the folder of the data", where="chorus")
    rows: list[dict[str, Any]] = []
    lines = 0
    for source in find_sources("products", ["*products*.json*"], folder, SourceOptions(format="jsonl")):
        with open_bytes(source) as (stream, _):
            head = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head.startswith(b"["):
                lines += 1
                continue
            try:
                items = json.loads((head + stream.read()).decode("utf-8"))
            except ValueError as error:
                raise source.fail(f"is not JSON: {error}") from error
        for item in items:
            if not isinstance(item, dict):
                raise source.fail("holds something else than objects")
            rows.append({name: _text(item.get(name)) for name in _COLUMNS})
    if rows and lines:
        raise InputError("has products both as an array and as lines", where=str(folder), hint="keep one")
    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    return {"products": pa.Table.from_pylist(rows, schema=schema)} if rows else {}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
