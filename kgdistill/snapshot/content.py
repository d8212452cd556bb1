"""A hash of what tables hold, whatever wrote them and however their buffers lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class ContentHash:
    """Collects tables, one after the other, into one SHA-256.

    Chunks, offsets, encodings and what lies behind a null make no difference; nor does the sign of
    zero or the payload of a NaN. Names, types, nulls, values and the order of rows do.
    """

    def __init__(self, header: object) -> None:
        self._hash = hashlib.sha256()
        self._frame(json.dumps(header, sort_keys=True, ensure_ascii=False).encode())

    def add(self, name: str, table: pa.Table) -> None:
        """Adds `table` under `name`."""
        fields = [(f.name, str(f.type)) for f in table.schema]
        self._frame(json.dumps([name, table.num_rows, fields], ensure_ascii=False).encode())
        for column in table.columns:
            for part in _parts(pa.concat_arrays(column.chunks) if column.num_chunks else _empty(column)):
                self._frame(part)

    def hexdigest(self) -> str:
        """The hash of what was added so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def _frame(self, data: Any) -> None:
        # Every piece is led by its length, so that two different sequences never read the same.
        view = memoryview(data)
        self._hash.update(view.nbytes.to_bytes(8, "little"))
        self._hash.update(view)


def _empty(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([], type=column.type)


def _parts(array: pa.Array) -> Iterable[Any]:
    """Validity, then lengths where there are any, then values; nulls as zeros."""
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False).astype(bool)
    yield np.packbits(valid)
    kind = array.type
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
        yield _little(lengths.to_numpy(zero_copy_only=False), "<i8")
        yield from _parts(array.flatten())
    elif pa.types.is_string(kind):
        large = pc.fill_null(array.cast(pa.large_string()), "")
        _, offsets, data = large.buffers()
        edges = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
        yield _little(np.diff(edges), "<i8")
        yield memoryview(data)[edges[0] : edges[-1]] if data is not None and len(large) else b""
    elif pa.types.is_boolean(kind):
        yield np.packbits(pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(bool))
    elif pa.types.is_floating(kind):
        values = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False)
        # Adding zero turns -0.0 into 0.0.
        values = np.where(np.isnan(values), np.asarray(np.nan, values.dtype), values + 0)
        yield _little(values, f"<f{values.dtype.itemsize}")
    else:
        # Integers, and timestamps as microseconds.
        numbers = pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        yield _little(numbers, "<i8")


def _little(values: Any, dtype: str) -> Any:
    return np.ascontiguousarray(values, dtype=dtype)
