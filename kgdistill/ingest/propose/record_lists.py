"""Finds the lists of records in a file, and what JSON in its text columns holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kgdistill.ingest.propose.words import word_set, words
from kgdistill.ingest.readers import Source, read_batches
from kgdistill.ingest.readers.json_lines import json_rows
from kgdistill.ingest.readers.nested import KEYS, VALUE, decode, first_filled, inside, key_field

_BARE = word_set("id key code nr nummer")
# Beside these a field that is just called id is that of a line.
_OTHER_IDS = word_set("product sku article artikel ean gtin asin")
# More keys are ids or words, and no names.
_MOST_KEYS = 60
# A record of a list of keys and values has these and little else.
_MOST_FIELDS = 3


@dataclass
class RecordList:
    """A list of records in the first rows.

    Attributes:
        name: the column, dotted.
        fields: the names in its records, dotted, and whether any has a text there.
        keys: of a list of keys and values the keys, and whether any has a text beside it.
        rows: how many rows have a record.
        keyed: it is one of keys and values.
        filled: by field, in how many records it has a value.
    """

    name: str
    fields: dict[str, bool] = field(default_factory=dict)
    keys: dict[str, bool] = field(default_factory=dict)
    rows: int = 0
    keyed: bool = True
    filled: Counter[str] = field(default_factory=Counter)

    @property
    def columns(self) -> dict[str, bool]:
        """The columns of its fields, and whether any has a text."""
        return {f"{self.name}.{name}": text for name, text in self.fields.items()}

    @property
    def probe(self) -> str:
        """The column that most surely tells that there is a record."""
        return f"{self.name}.{max(self.fields, key=lambda name: self.filled[name])}"

    def words_of(self, column: str) -> tuple[str, ...]:
        """The words of what a field is called in its record; of one just called id, of what it is, too."""
        name = inside(column, self.name)
        if not name:
            return ()
        told = words(name)
        if "".join(told) in _BARE and not any(set(words(other)) & _OTHER_IDS for other in self.fields):
            return (*(_singular(word) for word in words(self.name.rpartition(".")[2])), *told)
        return told


@dataclass
class Nested:
    """What is nested in a file's columns.

    Attributes:
        lists: of records, by their names.
        texts: columns that hold JSON as text.
        fields: the names in the objects of those, dotted, and whether any has a text there.
    """

    lists: dict[str, RecordList] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    fields: dict[str, bool] = field(default_factory=dict)

    def hides(self, column: str) -> bool:
        """Whether a column of the file is no column here, as what it holds has columns of its own."""
        return column in self.texts or column in self.lists

    @property
    def by_key(self) -> dict[str, bool]:
        """The columns that lists of keys and values give, and whether any holds a text."""
        some = (one for one in self.lists.values() if one.keyed)
        return {f"{one.name}.{key}": text for one in some for key, text in one.keys.items()}

    @property
    def records(self) -> list[RecordList]:
        """The lists of other records."""
        return [one for one in self.lists.values() if not one.keyed]


def nested_in(source: Source, names: Sequence[str], rows: int) -> Nested:
    """What is nested in the first rows of a file.

    Args:
        source: the file, with its format.
        names: its columns, each once.
        rows: how many are looked at.

    Raises:
        InputError: it cannot be read.
    """
    nested = Nested()
    if source.options.format == "jsonl":
        for row in islice(json_rows(source), rows):
            _look(row, "", nested, nested_only=True)
    elif names:
        _look_at(source, names, rows, nested)
    for name in [n for n, one in nested.lists.items() if not one.fields]:
        del nested.lists[name]
    return nested


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _look_at(source: Source, names: Sequence[str], rows: int, nested: Nested) -> None:
    for batch in read_batches(source, names, batch_rows=rows, block_bytes=1 << 20):
        for name, column in zip(batch.table.column_names, batch.table.columns, strict=True):
            values = column.to_pylist()
            told = [value for value in values if value not in (None, "")]
            if all(isinstance(value, str) for value in told):
                decoded = list(_decoded(told))
                if not told or len(decoded) < 0.9 * len(told):
                    continue
                nested.texts.add(name)
                told = decoded
            for value in told:
                _look({name: value}, "", nested, nested_only=name not in nested.texts)
        return


def _decoded(texts: Iterable[str]) -> Iterator[Any]:
    for text in texts:
        if text.lstrip()[:1] in ("[", "{"):
            try:
                yield decode(text)
            except (json.JSONDecodeError, RecursionError):
                continue


def _look(value: dict[str, Any], prefix: str, nested: Nested, *, nested_only: bool) -> None:
    """Adds what an object holds; `nested_only`: its plain fields are columns already."""
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, list) and inner:
            pairs = [dict(zip((KEYS[0], VALUE), v, strict=True)) if type(v) is tuple else v for v in inner]
            records = [record for record in pairs if isinstance(record, dict)]
            if records:
                _add(nested.lists.setdefault(name, RecordList(name)), records)
        elif isinstance(inner, dict):
            _look(inner, f"{name}.", nested, nested_only=nested_only)
        elif prefix and not nested_only and not isinstance(inner, list):
            nested.fields[name] = nested.fields.get(name, False) or type(inner) is str


def _add(one: RecordList, records: list[dict[str, Any]]) -> None:
    one.rows += 1
    for record in records:
        _fields(record, "", one.fields)
        one.filled.update(name for name, inner in record.items() if inner not in (None, ""))
    fields = [key_field(record) if VALUE in record else "" for record in records]
    keys = [record[name] if name else None for name, record in zip(fields, records, strict=True)]
    plain = all(len(record) <= _MOST_FIELDS for record in records)
    one.keyed &= plain and None not in keys and len(set(keys)) == len(keys)
    for key, record in zip(keys, records, strict=True):
        if one.keyed and key and key not in record:
            value = first_filled(record[VALUE])
            one.keys[key] = one.keys.get(key, False) or type(value) is str
    one.keyed &= len(one.keys) <= _MOST_KEYS


def _fields(record: dict[str, Any], prefix: str, fields: dict[str, bool]) -> None:
    for key, inner in record.items():
        if isinstance(inner, dict) and inner:
            _fields(inner, f"{prefix}{key}.", fields)
        elif not isinstance(inner, list):
            fields[prefix + key] = fields.get(prefix + key, False) or type(inner) is str
