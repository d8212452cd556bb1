"""The items that a bundle answers with: what is shown of them, and what they can be filtered by."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import ArtefactError, InputError
from kgdistill.listed import lists_values, parts_of
from kgdistill.moment import moment, naive_utc
from kgdistill.nearest import nearest
from kgdistill.serve.answer import Hit
from kgdistill.serve.parts import refuse
from kgdistill.words import plain

Mask = npt.NDArray[np.bool_]
Where = Mapping[str, Any]
"""Property → a value, a list of which one must hold, or a pair (least, most), either of which may be None."""
_FILE = "items.arrow"
_LISTS = "lists"
SHOWN = ("title", "brand", "category")
_TYPES = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64(), "truth": pa.bool_()}
_TYPES["time"] = pa.timestamp("us")
_SAID = {
    "text": "a text",
    "number": "a number",
    "whole": "a number",
    "truth": "true or false",
    "time": "a time",
}
_KINDS = {kind: name for name, kind in _TYPES.items()}
_CACHED = 64
_TOLD = 8
_ITEM = "give a title, or {'title': …, 'brand': …}"


class Items:
    """A catalogue in columns.

    Args:
        table: `id` (texts, each once), `title`, `brand`, `category` and any further properties: texts,
            numbers, truths or times; all but `id` may be null.

    Raises:
        ArtefactError: a column is missing or of another type, or an id is null or stands there twice.
    """

    def __init__(self, table: pa.Table) -> None:
        for name in ("id", *SHOWN):
            if name not in table.column_names:
                raise refuse(f"the column {name!r} is missing", _FILE)
            if table.schema.field(name).type != pa.string():
                raise refuse(f"the column {name!r} holds no texts", _FILE)
        if len(set(table.column_names)) < table.num_columns:
            raise refuse("a column stands there twice", _FILE)
        for field in table.schema:
            if field.type not in _KINDS:
                raise refuse(f"the column {field.name!r} is of type {field.type}", _FILE)
        self.table = table.combine_chunks()
        self.keys: list[str] = table["id"].to_pylist()
        if None in (places := {key: place for place, key in enumerate(self.keys)}):
            raise refuse("an id is empty", _FILE)
        if len(places) < len(self.keys):
            raise refuse("an id stands there twice", _FILE)
        self.places = places
        self._masks: dict[tuple[str, str], Mask] = {}

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def properties(self) -> list[str]:
        """What items can be filtered by."""
        return list(self.table.column_names[1:])

    @cached_property
    def shown(self) -> tuple[list[str], list[str], list[str]]:
        """Titles, brands and categories, empty where unknown."""
        title, brand, category = ([v or "" for v in self.table[name].to_pylist()] for name in SHOWN)
        return title, brand, category

    @property
    def titles(self) -> list[str]:
        """What each item is called."""
        return self.shown[0]

    @cached_property
    def names(self) -> list[str]:
        """Titles, of items without one the key."""
        return [title or key for key, title in zip(self.keys, self.titles, strict=True)]

    def index(self, keys: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
        """Positions of the known keys, and the unknown keys; each once."""
        distinct = list(dict.fromkeys(keys))
        known = [self.places[key] for key in distinct if key in self.places]
        return np.array(known, np.int64), tuple(key for key in distinct if key not in self.places)

    def columns(self, names: Sequence[str]) -> dict[str, list[str | None]]:
        """Texts by column."""
        return {name: self.table[name].to_pylist() for name in names}

    def to_bytes(self) -> bytes:
        """The table as an Arrow file."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return bytes(sink.getvalue().to_pybytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Items:
        """What `to_bytes` wrote.

        Raises:
            ArtefactError: it is no such table.
        """
        try:
            table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=_FILE) from error
        return cls(table)

    def with_rows(self, rows: Sequence[Mapping[str, Any]]) -> Items:
        """The items and further ones behind them, each a value by column; what is left out is null.

        Raises:
            InputError: a column is unknown, a value of the wrong kind or no finite number, an id is there.
        """
        taken = dict(self.places)
        for number, row in enumerate(rows, start=1):
            where = f"item {number}"
            for name, value in row.items():
                if name not in self.table.column_names:
                    hint = (
                        f"{nearest(name, self.table.column_names)}known: {', '.join(self.table.column_names)}"
                    )
                    raise InputError(f"the bundle keeps no property {name!r}", where=where, hint=hint)
                if value is not None:
                    self._value(name, value, where)
            key = row.get("id")
            if not key:
                raise InputError("has no id", where=where, hint="give ids=[…], one for each item")
            if taken.setdefault(key, -1) != -1 or key in self.places:
                raise InputError(
                    f"the id {key!r} is there already", where=where, hint="each item needs its own"
                )
            taken[key] = len(taken)
        # What lists values was told by the items that the bundle was made with.
        told = {_LISTS: json.dumps([name for name in self.properties if self.lists(name)])}
        table = self.table.replace_schema_metadata(told)
        return Items(
            pa.concat_tables([table, pa.Table.from_pylist([dict(r) for r in rows], schema=table.schema)])
        )

    def hits(self, items: IntArray, scores: FloatArray) -> tuple[Hit, ...]:
        """Some items with their scores, the best first, up to one of position -1."""
        titles, brands, categories = self.shown
        return tuple(
            Hit(rank, self.keys[i], titles[i], brands[i], categories[i], score)
            for rank, (i, score) in enumerate(zip(items.tolist(), scores.tolist(), strict=True), start=1)
            if i >= 0
        )

    # Filters ------------------------------------------------------------------------------------

    def kind(self, name: str) -> str:
        """What a property is: a text, a number, …

        Raises:
            InputError: the bundle does not hold it.
        """
        if name not in self.properties:
            raise InputError(
                f"the bundle keeps no property {str(name)[:40]!r} to filter by",
                where="where",
                hint=f"{nearest(str(name), self.properties)}known: {', '.join(self.properties)}",
            )
        return _KINDS[self.table.schema.field(name).type]

    def values(self, name: str) -> list[str]:
        """What a text property is, each once; of lists their parts."""
        whole = [value for value in self.table[name].unique().to_pylist() if value is not None]
        return (
            list(dict.fromkeys(part for text in whole for part in parts_of(text)))
            if self.lists(name)
            else whole
        )

    def lists(self, name: str) -> bool:
        """Whether a property lists values (`lists_values`); further items do not change it."""
        if name not in self._lists:
            told = (self.table.schema.metadata or {}).get(_LISTS.encode())
            column = self.table[name]
            self._lists[name] = (
                name in json.loads(told)
                if told is not None
                else column.type == pa.string() and lists_values(column.to_pylist())
            )
        return self._lists[name]

    def parsed(self, name: str, text: str) -> Any:
        """A condition that is written down, as `mask` takes it: "5", "true", "2024-01-31", "3..20", "".

        Raises:
            InputError: as `mask`, or a range that begins above its end.
        """
        kind = self.kind(name)
        if not text:
            return None
        if kind == "text":
            return text
        if ".." in text and kind != "truth":
            least, _, most = text.partition("..")
            low, high = (self._read(name, end.strip()) if end.strip() else None for end in (least, most))
            if low is not None and high is not None and low > high:
                told = f"{text!r} begins above its end, so that nothing lies within"
                raise InputError(told, where=f"where.{name}", hint=f"write {most.strip()}..{least.strip()}")
            return low, high
        return self._read(name, text)

    def _read(self, name: str, text: str) -> Any:
        kind, value = self.kind(name), text
        if kind == "truth":
            return {"true": True, "false": False}.get(text.lower(), text)
        if kind in ("number", "whole"):
            try:
                return float(value)
            except ValueError:
                return self._value(name, value, "where")
        return self._value(name, value, "where")

    def mask(self, where: Where) -> Mask:
        """Which items every condition holds for, bool [N].

        Texts are compared without case; one that is a path also by its first levels, or by others where only
        one path has them; one that lists values (`lists_values`) also by each. An item without a value meets
        no condition but None, which asks for those.

        Raises:
            InputError: a property that the bundle does not hold, a value of another kind, or levels that
                several paths have.
        """
        if not isinstance(where, Mapping):
            raise InputError(f"{where!r:.40} is no filter", hint="give a dict: {'brand': 'Acme'}")
        out = np.ones(len(self), np.bool_)
        for name, wanted in where.items():
            self.kind(name)
            asked = sorted(wanted, key=str) if isinstance(wanted, set | frozenset) else wanted
            cached = (name, repr(asked))
            if cached not in self._masks:
                mask = self._mask(name, asked)
                if len(self._masks) >= _CACHED:
                    self._masks.pop(next(iter(self._masks)))
                self._masks[cached] = mask
            out &= self._masks[cached]
        return out

    def _mask(self, name: str, wanted: Any) -> Mask:
        if isinstance(wanted, list):
            any_of = [self._mask(name, one) for one in wanted]
            return np.asarray(np.logical_or.reduce([np.zeros(len(self), np.bool_), *any_of]))
        kind, values, known = self._column(name)
        if wanted is None:
            return np.asarray(~known)
        if isinstance(wanted, tuple):
            return known & self._within(name, kind, values, wanted)
        value = self._value(name, wanted, "where")
        if kind == "text":
            texts, low = self._texts[name], plain(value)
            hit = np.array([any(_within_path(t, low) for t in some) for some in texts], np.bool_)
            if not hit.any() and (path := self._path(name, value)):
                hit = np.array([any(_within_path(t, path) for t in some) for some in texts], np.bool_)
            return np.asarray(known & np.append(hit, False)[values], np.bool_)
        return np.asarray(known & (values == value), np.bool_)

    def _path(self, name: str, value: str) -> str:
        """The one path that ends in these levels, folded; empty where none does.

        Raises:
            InputError: several do.
        """
        low, paths = f" > {plain(value)}", dict[str, str]()
        for text in self.values(name):
            levels = text.split(" > ")
            ends = [" > ".join(levels[:n]) for n in range(2, len(levels) + 1)]
            if outermost := next((end for end in ends if plain(end).endswith(low)), None):
                paths.setdefault(plain(outermost), outermost)
        if len(paths) > 1:
            few = sorted(paths.values())
            more = f" and {len(few) - _TOLD:,} more" if len(few) > _TOLD else ""
            raise InputError(
                f"several {name} paths have {value[:40]!r}: {'; '.join(few[:_TOLD])}{more}",
                where=f"where.{name}",
                hint=f"write one as it stands there: {name}={few[0]}",
            )
        return next(iter(paths), "")

    def _within(self, name: str, kind: str, values: npt.NDArray[Any], wanted: tuple[Any, ...]) -> Mask:
        if len(wanted) != 2 or kind in ("text", "truth"):
            told = f"{name} is {_SAID[kind]}" if kind in ("text", "truth") else f"{wanted!r:.60} is no pair"
            raise InputError(
                f"{told}, so that it has no range", where="where",
                hint="give (least, most) for a number or a time, a list for one of several values",
            )  # fmt: skip
        least, most = (None if end is None else self._value(name, end, "where") for end in wanted)
        inside = np.ones(len(self), np.bool_)
        if least is not None:
            inside &= values >= least
        if most is not None:
            inside &= values <= most
        return inside

    def _value(self, name: str, value: Any, where: str) -> Any:
        """A value as the column has it."""
        kind = _KINDS[self.table.schema.field(name).type]
        if kind == "text" and isinstance(value, str):
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise InputError(f"{name} holds half a character: {value[:40]!a}", where=where)
            return value
        if kind == "truth" and isinstance(value, bool | np.bool_):
            return bool(value)
        is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if kind in ("number", "whole") and is_number and np.isfinite(value):
            return value
        if kind == "time" and isinstance(value, str | datetime | np.datetime64):
            with contextlib.suppress(ValueError, InputError):
                # NumPy reads dates and months, but no zone: those are made UTC, as everything in a store is.
                if isinstance(value, str) and len(value) > len("2024-01-31"):
                    value = moment(value, where)
                if isinstance(value, datetime):
                    value = naive_utc(value)
                time = np.datetime64(value, "us")
                if not np.isnat(time):
                    return time
        raise InputError(f"{name} is {_SAID[kind]}; {str(value)[:40]!r} is none", where=where)

    def _column(self, name: str) -> tuple[str, npt.NDArray[Any], Mask]:
        """Kind, values and which are known; a text's values are places in `_texts`."""
        if name not in self._columns:
            column = self.table[name].combine_chunks()
            kind = _KINDS[column.type]
            known = ~np.asarray(column.is_null().to_numpy(zero_copy_only=False), np.bool_)
            if kind == "text":
                encoded = column.dictionary_encode()
                if isinstance(encoded, pa.ChunkedArray):
                    encoded = encoded.combine_chunks()
                lists = self.lists(name)
                self._texts[name] = [
                    [plain(t) for t in ((whole, *parts_of(whole)) if lists else (whole,))]
                    for whole in encoded.dictionary.to_pylist()
                ]
                values = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            else:
                values = column.to_numpy(zero_copy_only=False)
                if kind == "truth":
                    values = np.array([bool(v) for v in values], np.bool_)
            self._columns[name] = kind, values, known
        return self._columns[name]

    @cached_property
    def _lists(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _columns(self) -> dict[str, tuple[str, npt.NDArray[Any], Mask]]:
        return {}

    @cached_property
    def _texts(self) -> dict[str, list[list[str]]]:
        return {}


def _within_path(text: str, path: str) -> bool:
    """Whether a folded text is a path, or begins with its levels."""
    return text == path or text.startswith(f"{path} > ")


def new_rows(
    known: Items,
    reads: Sequence[str],
    items: Sequence[str | Mapping[str, Any]],
    ids: Sequence[str | int] | None,
    groups: Sequence[Mapping[str, str]] | None,
) -> tuple[list[dict[str, Any]], dict[str, list[str | None]]]:
    """What is to be kept of new items, and their texts by column.

    Args:
        known: the items so far.
        reads: columns that are read, whether they are kept or not.
        items, ids, groups: see `Bundle.add_items`.

    Raises:
        InputError: see `Bundle.add_items`.
    """
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Sequence):
        raise InputError(f"{items!r:.40} is no list of items", hint='give a list: ["Green tea, 20 bags"]')
    for name, given in (("ids", ids), ("groups", groups)):
        if given is not None and (isinstance(given, str | Mapping) or len(given) != len(items)):
            raise InputError(f"there are {len(items):,} items and not as many {name}")
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        if not isinstance(item, str | Mapping):
            raise InputError(f"is a {type(item).__name__}", where=f"item {number + 1}", hint=_ITEM)
        row = {"title": item} if isinstance(item, str) else dict(item)
        row |= dict(groups[number]) if groups is not None else {}
        row |= {"id": ids[number]} if ids is not None else {}
        if isinstance(row.get("id"), int | np.integer) and not isinstance(row.get("id"), bool):
            row["id"] = str(row["id"])
        for name in reads:
            if not isinstance(row.get(name), str | None):
                raise InputError(f"{name} is no text: {str(row[name])[:40]!r}", where=f"item {number + 1}")
        if not any((row.get(name) or "").strip() for name in reads):
            raise InputError("has no text", where=f"item {number + 1}", hint=_ITEM)
        rows.append(row)
    texts: dict[str, list[str | None]] = {name: [row.get(name) or None for row in rows] for name in reads}
    beside = set(reads) - set(known.table.column_names)
    return [{name: row[name] for name in row if name not in beside} for row in rows], texts
