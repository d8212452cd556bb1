"""Columns inside structs, lists of structs and maps of Parquet, Arrow and tables in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import IntArray
from kgdistill.ingest.readers.nested import KEYS, VALUE, dots

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def is_list(kind: Any) -> bool:
    """Whether it is any type of list."""
    return any(test(kind) for test in _LISTS)


def is_text(kind: Any) -> bool:
    """Whether it is any type of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def leads(kind: Any, path: str) -> bool:
    """Whether a dotted path leads to something in a struct (or schema), a list of structs, or a map."""
    if is_list(kind):
        return leads(kind.value_type, path) or key_field(kind) != ""
    if pa.types.is_map(kind):
        return is_text(kind.key_type)
    if isinstance(kind, pa.DataType) and not pa.types.is_struct(kind):
        return False
    return any(
        not rest or leads(kind.field(index).type, rest)
        for name, rest in cuts(path)
        if (index := kind.get_field_index(name)) >= 0
    )


def cuts(path: str) -> list[tuple[str, str]]:
    """A path as a name and the rest: as one name first, for a name that holds the dots itself."""
    return [(path, ""), *((path[:i], path[i + 1 :]) for i in dots(path))]


def key_field(kind: Any) -> str:
    """Of a list of structs with a value the field that tells the key, as in JSON; empty: there is none."""
    item = kind.value_type
    if not pa.types.is_struct(item) or item.get_field_index(VALUE) < 0:
        return ""
    texts = [f.name for f in item if f.name != VALUE and is_text(_stored(f.type))]
    return next((name for name in KEYS if name in texts), texts[0] if len(texts) == 1 else "")


def _stored(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def pick(values: Any, path: str) -> Any:
    """What a path leads to in an array of structs, lists or maps; what `leads` says is there."""
    kind = values.type
    if pa.types.is_map(kind):
        pair = pa.struct([pa.field(KEYS[0], kind.key_type), pa.field(VALUE, kind.item_type)])
        return pick(values.cast(pa.list_(pair)), path)
    if not is_list(kind):
        for name, rest in cuts(path):
            index = kind.get_field_index(name)
            if index >= 0 and (not rest or leads(kind.field(index).type, rest)):
                inner = plain(pc.struct_field(values, [index]))
                return pick(inner, rest) if rest else inner
    elements = plain(pc.list_flatten(values))
    if leads(kind.value_type, path):
        inner = pick(elements, path)
        if is_list(inner.type):
            # A list in a list is one list.
            rows = parents_of(values)[parents_of(inner)]
            return _lists(plain(pc.list_flatten(inner)), rows, values)
        return _lists(inner, parents_of(values), values)
    keys = pc.struct_field(elements, [elements.type.get_field_index(key_field(kind))])
    beside = pc.struct_field(elements, [elements.type.get_field_index(VALUE)])
    return _by_key(values, keys, beside, path)


def _lists(elements: pa.Array, rows: IntArray, like: pa.Array) -> pa.Array:
    """Lists with these elements, each of which stands in a row."""
    offsets = np.r_[0, np.cumsum(np.bincount(rows, minlength=len(like)))].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), elements)


def parents_of(lists: pa.Array) -> IntArray:
    """For each element that `list_flatten` gives the row it stands in."""
    counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    return np.repeat(np.arange(len(lists), dtype=np.int64), counts)


def _by_key(lists: Any, keys: Any, values: Any, key: str) -> Any:
    """For each row the value whose key it is, the last of several."""
    same = pc.fill_null(pc.equal(pc.cast(plain(keys), pa.string()), key), False)
    here = np.flatnonzero(np.asarray(same).astype(bool))
    chosen = _first_filled(plain(values).take(pa.array(here)))
    place = np.full(len(lists), -1, np.int64)
    place[parents_of(lists)[here]] = np.arange(len(here))
    return chosen.take(pa.array(place, mask=place < 0))


def _first_filled(values: Any) -> Any:
    """Of structs the first field that is filled, as text where they differ in type."""
    if not pa.types.is_struct(values.type):
        return values
    fields = [plain(pc.struct_field(values, [i])) for i in range(values.type.num_fields)]
    simple = [field for field in fields if not pa.types.is_nested(field.type)]
    kinds = {field.type for field in simple}
    if not simple:
        return pa.nulls(len(values), pa.string())
    return pc.coalesce(*(simple if len(kinds) == 1 else [_as_text(field) for field in simple]))


def _as_text(values: Any) -> Any:
    texts = pc.cast(values, pa.string())
    if not pa.types.is_floating(values.type):
        return texts
    # As whole numbers are read elsewhere: 12.0 is 12.
    integral = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(pc.abs(values), 2.0**53))
    return pc.coalesce(pc.cast(pc.cast(pc.if_else(integral, values, None), pa.int64()), pa.string()), texts)


def plain(values: Any) -> Any:
    """One array without dictionary, run-end, view or extension types."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.array([], values.type) if not values.num_chunks else values.chunk(0)
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.cast(values.type.storage_type)
    if pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values


def records(lists: Any) -> tuple[Any, IntArray]:
    """The elements of lists, or one null where there are none, and for each the row it stands in.

    Lists in lists are one list; anything but lists stands for a list of one.
    """
    lists = plain(lists)
    rows = np.arange(len(lists), dtype=np.int64)
    while is_list(lists.type):
        elements, parents = plain(pc.list_flatten(lists)), parents_of(lists)
        counts = np.bincount(parents, minlength=len(lists))
        repeated = np.maximum(counts, 1)
        owner = np.repeat(np.arange(len(lists)), repeated)
        # Elements stand in order, so that those before tell the place of the next.
        place = np.cumsum(counts[owner] > 0) - 1
        lists = elements.take(pa.array(place, mask=counts[owner] == 0))
        rows = rows[owner]
    return lists, rows


def lengths(lists: Any) -> IntArray:
    """How many rows each list makes."""
    _, rows = records(lists)
    return np.bincount(rows, minlength=len(lists)).astype(np.int64)
