"""Other names of one node, and rows of the archive read by the name that counts.

A key is another name whatever its case, width, accents and blanks are; so is each spelling of the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.archive import JobRecord, RowFile
from kgdistill.ingest.model import TypeKey
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.sql import quoted, read
from kgdistill.store.schema import NodeType, Schema
from kgdistill.words import plain

if TYPE_CHECKING:
    import duckdb

Aliases: TypeAlias = Mapping[str, Mapping[str, str]]
"""By label, what its nodes are called as well, and the key that they have."""


def spelled(name: str) -> str:
    """A name without case, width, accents and surplus blanks: what is the same so is one name."""
    return " ".join(plain(name).split())


def resolved(pairs: Sequence[tuple[str, str]], where: str) -> dict[str, str]:
    """By alias the name that its chain ends in.

    Raises:
        InputError: two spellings of an alias have two names, or aliases lead in a circle.
    """
    onward: dict[str, tuple[str, str]] = {}
    for alias, name in pairs:
        other = onward.setdefault(spelled(alias), (alias, name))
        if spelled(other[1]) != spelled(name):
            told = f"{alias!r} is {name!r}, but {other[0]!r} is {other[1]!r}"
            raise InputError(
                told, where=where, hint="case and width tell no aliases apart: leave one of them"
            )
    found: dict[str, str] = {}
    written: dict[str, str] = {}
    for alias, name in pairs:
        way = [alias]
        while (following := onward.get(spelled(name))) is not None and spelled(name) != spelled(following[1]):
            way.append(name)
            name = following[1]
            if spelled(name) in map(spelled, way):
                circle = " -> ".join(map(repr, [*way, name]))
                raise InputError(f"aliases lead in a circle: {circle}", where=where, hint="take one away")
        # Of several spellings of a name the first is its key.
        found[alias] = written.setdefault(spelled(name), name)
    return found


def joined(given: Iterable[Aliases], where: str) -> dict[str, dict[str, str]]:
    """The aliases of several mappings as one.

    Raises:
        InputError: they contradict each other.
    """
    pairs: dict[str, dict[tuple[str, str], None]] = {}
    for aliases in given:
        for label, names in aliases.items():
            pairs.setdefault(label, {}).update(dict.fromkeys(names.items()))
    return {label: resolved(list(some), where) for label, some in pairs.items()}


@dataclass(frozen=True)
class Merged:
    """What aliases make one: how many other spellings, in how many rows, of how many names."""

    spellings: int
    rows: int
    names: int


def in_force(records: Iterable[JobRecord]) -> dict[str, dict[str, str]]:
    """The aliases by which a store is that holds these jobs: of each mapping those of its last job."""
    last = {record.mapping: record.aliases for record in records}
    return joined(last.values(), "the archive")


class Renames:
    """Reads rows of the archive by the names that count.

    Args:
        connection: from `engine`.
        schema: the schema in force.
        files: every file of the archive.
        aliases: those in force.
        former: those by which a store was filled, of which some may have changed.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        schema: Schema,
        files: Sequence[RowFile],
        aliases: Aliases,
        former: Aliases,
    ) -> None:
        self._db, self._schema, self._files = connection, schema, files
        self._given = {(file.key, name) for file in files for name in file.staged.columns}
        self._known: dict[str, dict[str, str]] = {"alias": {}, "former": {}}
        self._moved: dict[str, str] = {}
        for label in dict.fromkeys([*aliases, *former]):
            if label in schema.nodes:
                self._tables(label, aliases.get(label, {}), former.get(label, {}))

    def _tables(self, label: str, aliases: Mapping[str, str], former: Mapping[str, str]) -> None:
        """For a label the keys that are called otherwise, now and before, as tables."""
        keys = [key for (key,) in self._db.execute(self._every_key(label)).fetchall()]
        now, before = _renamed(keys, aliases), _renamed(keys, former)
        self._known["alias"][label] = self._table(f"alias {label}", now)
        if before:
            self._known["former"][label] = self._table(f"former {label}", before)
        moved = [key for key in {**now, **before} if now.get(key) != before.get(key)]
        if moved:
            self._moved[label] = self._table(f"moved {label}", dict.fromkeys(moved, ""))

    def _table(self, name: str, names: Mapping[str, str]) -> str:
        given = pa.table({"k": pa.array(names, pa.string()), "name": pa.array(names.values(), pa.string())})
        self._db.register("names_arrow", given)
        self._db.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS SELECT * FROM names_arrow")
        self._db.unregister("names_arrow")
        return quoted(name)

    def _every_key(self, label: str) -> str:
        """A SELECT of each key of a label that a row names, and of each word for one."""
        parts = ["SELECT NULL::VARCHAR AS k WHERE false"]
        for key in dict.fromkeys(file.key for file in self._files):
            files = [file for file in self._files if file.key == key]
            for column in (name for name, named in self._names(key).items() if named == label):
                rows = read(files, [column], row_schema(self._schema, key))
                parts.append(f"SELECT {quoted(column)} AS k FROM {rows}")
        return f"SELECT DISTINCT k FROM ({' UNION ALL '.join(parts)}) WHERE k IS NOT NULL"

    def _ends(self, key: TypeKey) -> dict[str, str]:
        """The columns of a type that hold keys, and of which label."""
        if isinstance(key, str):
            return {self._schema.node(key).key: key}
        return {"source": key[0], "target": key[2]}

    def _names(self, key: TypeKey) -> dict[str, str]:
        """The columns of a type that hold keys, or words for them (`brand_text`), and of which label."""
        words = {f"{label.lower()}_text": label for label in self._schema.nodes}
        return self._ends(key) | {name: words[name] for name in words if (key, name) in self._given}

    def read(self, key: TypeKey, files: Sequence[RowFile], columns: Sequence[str]) -> str:
        """As `sql.read`, with each key and word for one as it is called; a text, where it was the key."""
        rows = read(files, columns, row_schema(self._schema, key))
        joins, called = self._called(key, "alias", columns)
        if not called:
            return rows
        item = self._schema.node(key) if isinstance(key, str) else None
        texts = () if item is None or item.key not in called else (item.name, *_texts(item))
        for name in dict.fromkeys(text for text in texts if text in columns and text not in called):
            shown = f"r.{quoted(name)}"
            own = f"WHEN lower(trim({shown})) = lower(a0.k) THEN a0.name"
            # What else is written of a node stays; its name is that of the rows under the name that counts.
            other = "" if name == texts[0] else f" ELSE {shown}"
            called[name] = f"CASE WHEN a0.name IS NULL THEN {shown} {own}{other} END"
        instead = ", ".join(f"{value} AS {quoted(column)}" for column, value in called.items())
        return f"(SELECT r.* REPLACE ({instead}) FROM {rows} AS r{joins})"

    def _called(self, key: TypeKey, when: str, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
        """Joins of rows `r` of a type, and what then stands for the names that may be others."""
        joins, called = "", {}
        for number, (column, label) in enumerate(self._names(key).items()):
            if column in columns and label in self._known[when]:
                raw, table = f"r.{quoted(column)}", self._known[when][label]
                joins += f" LEFT JOIN {table} AS a{number} ON a{number}.k = {raw}"
                called[column] = f"coalesce(a{number}.name, {raw})"
        return joins, called

    def changed(self, key: TypeKey) -> bool:
        """Whether rows of a type are called otherwise than before."""
        return any(label in self._moved for label in self._names(key).values())

    def touched(self, key: TypeKey, files: Sequence[RowFile], identity: Sequence[str]) -> str:
        """UNION ALL clauses with the keys, of now and before, of all rows that are called otherwise."""
        if not self.changed(key):
            return ""
        names = ", ".join(quoted(name) for name in identity)
        schema = row_schema(self._schema, key)
        moved = {name: self._moved[label] for name, label in self._names(key).items() if label in self._moved}
        where = " OR ".join(f"r.{quoted(name)} IN (SELECT k FROM {table})" for name, table in moved.items())
        columns = list(dict.fromkeys([*identity, *moved]))
        text = ""
        for when in ("alias", "former"):
            joins, called = self._called(key, when, identity)
            shown = ", ".join(f"{called.get(n, 'r.' + quoted(n))} AS {quoted(n)}" for n in identity)
            rows = f"SELECT {shown} FROM {read(files, columns, schema)} AS r{joins} WHERE {where}"
            text += f" UNION ALL SELECT {names} FROM ({rows})"
        return text

    def merged(self) -> dict[str, Merged]:
        """By label what the aliases in force make one."""
        found = {}
        for label, table in self._known["alias"].items():
            spellings, names = self._db.execute(
                f"SELECT count(*), count(DISTINCT name) FROM {table}"
            ).fetchall()[0]
            rows = 0
            for key in dict.fromkeys(file.key for file in self._files):
                current = [file for file in self._files if file.key == key and not file.superseded]
                columns = [column for column, end in self._ends(key).items() if end == label]
                if columns and current:
                    some = " OR ".join(f"{quoted(c)} IN (SELECT k FROM {table})" for c in columns)
                    given = read(current, columns, row_schema(self._schema, key))
                    rows += self._db.execute(f"SELECT count(*) FROM {given} WHERE {some}").fetchall()[0][0]
            if spellings:
                found[label] = Merged(int(spellings), int(rows), int(names))
        return found


def _texts(item: NodeType) -> list[str]:
    """The properties of a label that may say its key in words, such as the path of a category."""
    return [name for name, property in item.properties.items() if property.type == "string"]


def _renamed(keys: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Of the keys those that are called otherwise, with that name."""
    known = {spelled(name): name for name in aliases.values()}
    known |= {spelled(alias): name for alias, name in aliases.items()}
    return {key: name for key in keys if (name := known.get(spelled(key), key)) != key} if known else {}
