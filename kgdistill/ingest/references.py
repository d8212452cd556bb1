"""The ends of staged relationships: there, made as stubs, or a reason to reject the row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kgdistill.ingest.archive import RowFile, StagedSource, StagedType, disk_errors
from kgdistill.ingest.model import REJECT_SCHEMA, TypeKey, type_name
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.sql import literal, quoted, read
from kgdistill.store.protocol import EdgeType
from kgdistill.store.schema import Schema

Stubs: TypeAlias = "set[tuple[EdgeType, Literal['source', 'target']]]"


def check_references(
    connection: duckdb.DuckDBPyConnection,
    schema: Schema,
    part: Path,
    job: int,
    staged: list[StagedSource],
    archived: Iterable[RowFile],
    stubs: dict[int, Stubs],
    stored_keys: Callable[[str], pa.Array],
) -> list[StagedSource]:
    """Takes back rows whose relationships end nowhere, or makes the ends where the mapping says so.

    A row is taken back as a whole: its nodes too, which may leave other relationships without an end, and so
    on until nothing changes.

    Args:
        connection: from `engine`.
        schema: the schema in force.
        part: the job's folder.
        job: its number.
        staged: what was read.
        archived: the files of the archive.
        stubs: by source, the ends that are made.
        stored_keys: keys of a label that the store holds, whoever wrote them; asked where others fail.

    Returns:
        `staged`, as it is now.
    """
    checker = _Checker(connection, schema, part, job, staged, list(archived), stubs, stored_keys)
    with disk_errors(part):
        while checker.round():
            pass
    return checker.result()


class _Checker:
    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        schema: Schema,
        part: Path,
        job: int,
        staged: list[StagedSource],
        archived: list[RowFile],
        stubs: dict[int, Stubs],
        stored_keys: Callable[[str], pa.Array],
    ) -> None:
        self._db, self._schema, self._part, self._job = connection, schema, part, job
        self._staged, self._stubs, self._stored_keys = staged, stubs, stored_keys
        self._archived = archived
        self._known: set[str] = set()
        self._rejected: dict[int, int] = {}
        self._found = 0
        self._added: dict[int, dict[str, int]] = {}
        self._db.execute("CREATE OR REPLACE TABLE bad (_source INTEGER, _line BIGINT)")

    def round(self) -> bool:
        """One look at every relationship; whether rows were taken back, so that another look is due."""
        again = False
        for edge in self._schema.edges():
            again |= self._side(edge, "source", edge[0])
            again |= self._side(edge, "target", edge[2])
        if again:
            self._take_back()
        return again

    def result(self) -> list[StagedSource]:
        """The sources without what was taken back and with what was made."""
        changed: list[StagedSource] = []
        for place, source in enumerate(self._staged):
            types = dict(source.types)
            for label, count in self._added.get(place, {}).items():
                old = types.get(label, StagedType(rows=0))
                update = {"rows": old.rows + count, "files": (*old.files, _stub_file(place))}
                types[label] = old.model_copy(update=update)
            if place in self._rejected:
                types = {n: self._recounted(n, place, kept) for n, kept in types.items()}
            rejected = source.rejected + self._rejected.get(place, 0)
            changed.append(source.model_copy(update={"types": types, "rejected": rejected}))
        return changed

    def _files(self, key: TypeKey) -> list[RowFile]:
        name = type_name(key)
        found = []
        for place, source in enumerate(self._staged):
            kept = source.types.get(name)
            files = list(kept.files) if kept is not None else []
            if name in self._added.get(place, {}):
                files.append(_stub_file(place))
            for file in files:
                path = self._part / "rows" / name / file
                staged = kept if kept is not None else StagedType(rows=0)
                found.append(RowFile(path, key, self._job, place, source.name, self._job, staged))
        return found

    def _side(self, edge: EdgeType, side: Literal["source", "target"], label: str) -> bool:
        files = self._files(edge)
        if not files:
            return False
        missing = f"missing_{side}"
        staged_keys = self._keys(label)
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE {missing} AS SELECT DISTINCT {side} AS k FROM "
            f"{read(files, [side, '_deleted'], row_schema(self._schema, edge))} "
            f"WHERE NOT _deleted AND {side} NOT IN (SELECT k FROM {staged_keys})"
        )
        if not self._count(missing):
            return False
        stored = pa.table({"k": self._stored_keys(label)})
        self._db.register("stored_arrow", stored)
        self._db.execute(f"DELETE FROM {missing} WHERE k IN (SELECT k FROM stored_arrow)")
        self._db.unregister("stored_arrow")
        if not self._count(missing):
            return False
        again = False
        for file in files:
            rows = read([file], [side, "_line", "_deleted"], row_schema(self._schema, edge))
            if (edge, side) in self._stubs.get(file.source, set()):
                self._make(file, rows, side, label, missing)
            else:
                again |= self._reject(file, rows, side, label, edge, missing)
        return again

    def _keys(self, label: str) -> str:
        """Keys of nodes that are staged or archived, as a table; made anew after rows were taken back."""
        name = quoted("known " + label)
        key = self._schema.node(label).key
        files = [*self._files(label), *(f for f in self._archived if f.key == label)]
        if label in self._known:
            return name
        self._db.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT DISTINCT {quoted(key)} AS k FROM "
            f"{read(files, [key, '_deleted'], row_schema(self._schema, label))} WHERE NOT _deleted"
        )
        self._known.add(label)
        return name

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def _make(self, file: RowFile, rows: str, side: str, label: str, missing: str) -> None:
        found = self._db.sql(
            f"SELECT {side} AS k, min(_line) AS _line FROM {rows} WHERE NOT _deleted AND {side} IN "
            f"(SELECT k FROM {missing}) GROUP BY {side} ORDER BY _line"
        ).to_arrow_table()
        if not found.num_rows:
            return
        types = pa.schema([*row_schema(self._schema, label), ("_job", pa.int32()), ("_source", pa.int32())])
        count = found.num_rows
        given = {
            self._schema.node(label).key: found["k"],
            "_line": found["_line"],
            "_deleted": pa.array([False] * count),
            "_job": pa.array([self._job] * count, pa.int32()),
            "_source": pa.array([file.source] * count, pa.int32()),
        }
        columns = [given.get(field.name, pa.nulls(count, field.type)) for field in types]
        table = pa.table([c.cast(f.type) for c, f in zip(columns, types, strict=True)], schema=types)
        path = self._part / "rows" / label / _stub_file(file.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            # Where rows were taken back, DuckDB has written it, with types of its own.
            table = pa.concat_tables([pq.read_table(path).select(types.names).cast(types), table])
        pq.write_table(table, path, compression="lz4")
        made = self._added.setdefault(file.source, {})
        made[label] = made.get(label, 0) + count
        known = quoted("known " + label)
        self._db.register("made_arrow", found.select(["k"]))
        self._db.execute(f"INSERT INTO {known} SELECT k FROM made_arrow")
        self._db.execute(f"DELETE FROM {missing} WHERE k IN (SELECT k FROM made_arrow)")
        self._db.unregister("made_arrow")

    def _reject(self, file: RowFile, rows: str, side: str, label: str, edge: EdgeType, missing: str) -> bool:
        found = self._db.sql(
            f"SELECT _line, min({side}) AS k FROM {rows} WHERE NOT _deleted AND {side} IN "
            f"(SELECT k FROM {missing}) AND _line NOT IN "
            f"(SELECT _line FROM bad WHERE _source = {file.source}) "
            "GROUP BY _line ORDER BY _line"
        ).to_arrow_table()
        count = found.num_rows
        if not count:
            return False
        self._db.register("found_arrow", found)
        self._db.execute(f"INSERT INTO bad SELECT {file.source}, _line FROM found_arrow")
        self._db.unregister("found_arrow")
        self._rejected[file.source] = self._rejected.get(file.source, 0) + count
        columns = {
            "source": pa.array([file.name] * count),
            "line": found["_line"],
            "row_group": pa.nulls(count, pa.int64()),
            "column": pa.array([f"{edge[1]}.{side}"] * count),
            "value": found["k"],
            "reason": pa.array([f"there is no such {label}"] * count),
        }
        folder = self._part / "rejects"
        folder.mkdir(exist_ok=True)
        self._found += 1
        path = folder / f"{file.source:05d}-ends-{self._found:05d}.parquet"
        pq.write_table(pa.table(columns).cast(REJECT_SCHEMA), path)
        return True

    def _take_back(self) -> None:
        """Removes every piece of the rejected rows from the staged files."""
        keys: list[TypeKey] = [*self._schema.nodes, *self._schema.edges()]
        for key in keys:
            for file in self._files(key):
                if not self._rejected.get(file.source):
                    continue
                new = file.path.with_name(file.path.name + ".new")
                self._db.execute(
                    f"COPY (SELECT * FROM read_parquet({literal(str(file.path))}) WHERE _line NOT IN "
                    f"(SELECT _line FROM bad WHERE _source = {file.source})) TO {literal(str(new))} "
                    "(FORMAT parquet, COMPRESSION lz4)"
                )
                os.replace(new, file.path)
        self._known.clear()

    def _recounted(self, name: str, place: int, kept: StagedType) -> StagedType:
        rows = sum(pq.ParquetFile(self._part / "rows" / name / file).metadata.num_rows for file in kept.files)
        return kept.model_copy(update={"rows": rows})


def _stub_file(place: int) -> str:
    return f"{place:05d}-stubs.parquet"
