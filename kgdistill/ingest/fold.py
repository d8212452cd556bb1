"""Rows of the archive folded into the graph: what each node and relationship is, by DuckDB.

The fold does not depend on the order in which sources were read, but where two rows contradict each other
and neither has a time: then the later job wins.

- Nodes and facts: of several versions of a source the newest that names the node, or the fact's first end,
  counts; what it no longer names stays. Property by property the last value wins: by `_time`, then by job.
- Events: of several versions of a source only the newest counts, whole. Of an event with an id the last
  version counts. Sums are exact decimals (ten places), so that no order of addition shows.
- A row that removes voids the rows of its key from before: by `_time` where both have one, else by job. A
  relationship at a removed node is no more.
- Aliases come first of all: a row under another name of a node is a row of the node. So do words for a node
  that are another name of it: `brand_text` of a product is what the brand is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from kgdistill.ingest.aliases import Aliases, Renames
from kgdistill.ingest.archive import RowFile
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.sql import literal, quoted
from kgdistill.store.schema import RelationshipType, Schema

if TYPE_CHECKING:
    import duckdb

_ORDER = "ROW(_job, _source, _line)"
# Nulls would come last in a comparison of rows.
_WHEN = "coalesce(_time, TIMESTAMP '0001-01-01')"


class Fold:
    """The state of the graph that the archive's files make up.

    Args:
        connection: from `engine`.
        schema: the schema in force.
        files: every file of the archive.
        jobs: with these, only keys that those jobs touch are folded; None for everything.
        aliases: other names of nodes, by label.
        former: those before the jobs; what is called otherwise now is folded too.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        schema: Schema,
        files: Sequence[RowFile],
        jobs: frozenset[int] | None = None,
        aliases: Aliases | None = None,
        former: Aliases | None = None,
    ) -> None:
        self._db = connection
        self._schema = schema
        self._files: dict[TypeKey, list[RowFile]] = {}
        for file in files:
            self._files.setdefault(file.key, []).append(file)
        self._jobs = jobs
        self._aliases = aliases
        self.renames = Renames(connection, schema, files, aliases or {}, (former if jobs else None) or {})
        self._dead: dict[str, bool] = {}
        self._revived: dict[str, bool] = {}
        self._touched: dict[TypeKey, str] = {}
        self._done: set[TypeKey] = set()
        self._names(files)

    def types(self) -> list[TypeKey]:
        """The types that have rows to be folded: labels first, in the order of the schema."""
        ordered: list[TypeKey] = [*self._schema.nodes, *self._schema.edges()]
        return [key for key in ordered if key in self._files and (self._jobs is None or self._concerned(key))]

    def columns(self, key: TypeKey) -> list[str]:
        """The columns that the fold gives: the key or ends, then the properties that any source gives."""
        given = {name for file in self._files.get(key, []) for name in file.staged.columns}
        identity = self.identity(key)
        return [*identity, *(n for n in self._arrow(key).names if n in given and n not in identity)]

    def statement(self, key: TypeKey) -> str:
        """The SELECT that gives the folded rows of a type, each key once."""
        if isinstance(key, str):
            return self._plain(key)
        rel = self._schema.relationship(key)
        inner = self._events(key, rel) if rel.aggregated else self._plain(key)
        for side, label in (("source", key[0]), ("target", key[2])):
            if self._has_dead(label):
                inner = f"SELECT * FROM ({inner}) ANTI JOIN {self._dead_table(label)} AS d ON {side} = d.k"
        return inner

    def can_remove(self, key: TypeKey) -> bool:
        """Whether the jobs can have made anything of this type disappear."""
        files = self._files.get(key, [])
        if any(f.staged.deletes for f in files):
            return True
        if self.renames.changed(key):
            return True
        if isinstance(key, str):
            return False
        # With a node go its relationships.
        ends = self._has_dead(key[0]) or self._has_dead(key[2])
        return ends or any(f.superseded or f.staged.ids for f in files)

    def count(self, key: TypeKey) -> int:
        """How many nodes or relationships of a type there are."""
        return int(self._db.execute(f"SELECT count(*) FROM {self._folded(key)}").fetchall()[0][0])

    def batches(self, key: TypeKey, rows: int) -> Iterator[pa.Table]:
        """The folded rows of a type, `rows` at a time, in the schema's types."""
        yield from self._stream(f"SELECT * FROM {self._folded(key)}", self.columns(key), key, rows)

    def empty(self, key: TypeKey) -> pa.Table:
        """No rows, with the columns of `batches`."""
        return pa.schema([self._arrow(key).field(name) for name in self.columns(key)]).empty_table()

    def removed(self, key: TypeKey, rows: int) -> Iterator[pa.Table]:
        """The keys that the jobs touch and that are no more, `rows` at a time."""
        identity = self.identity(key)
        names = ", ".join(quoted(name) for name in identity)
        select = f"SELECT {names} FROM {self._touch(key)} EXCEPT SELECT {names} FROM {self._folded(key)}"
        yield from self._stream(select, identity, key, rows)

    def write(self, key: TypeKey, path: Path) -> int:
        """Writes the folded rows of a type to a Parquet file, ordered by key; returns how many there are."""
        names = ", ".join(quoted(name) for name in self.columns(key))
        order = ", ".join(quoted(name) for name in self.identity(key)[:1])
        select = f"SELECT {names} FROM ({self.statement(key)}) ORDER BY {order}"
        self._db.execute(f"COPY ({select}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION lz4)")
        return int(
            self._db.execute(f"SELECT count(*) FROM read_parquet({literal(str(path))})").fetchall()[0][0]
        )

    def strangers(self, key: TypeKey, held: pa.Table) -> pa.Table:
        """Those of `held` (keys or ends and identity) that the fold does not have."""
        names = ", ".join(quoted(name) for name in self.identity(key))
        self._db.register("held_arrow", held)
        try:
            select = f"SELECT {names} FROM held_arrow EXCEPT SELECT {names} FROM {self._folded(key)}"
            return self._db.sql(select).to_arrow_table().cast(held.schema)
        finally:
            self._db.unregister("held_arrow")

    def _folded(self, key: TypeKey) -> str:
        """The fold of a type as a table, made once."""
        name = quoted("folded " + type_name(key))
        if key not in self._done:
            self._db.execute(f"CREATE OR REPLACE TABLE {name} AS {self.statement(key)}")
            self._done.add(key)
        return name

    def _stream(self, select: str, names: Sequence[str], key: TypeKey, rows: int) -> Iterator[pa.Table]:
        chosen = ", ".join(quoted(name) for name in names)
        types = pa.schema([self._arrow(key).field(name) for name in names])
        reader = self._db.sql(f"SELECT {chosen} FROM ({select})").to_arrow_reader(rows)
        held: list[pa.RecordBatch] = []
        size = 0
        for batch in reader:
            held.append(batch)
            size += batch.num_rows
            if size >= rows:
                yield pa.Table.from_batches(held).cast(types)
                held, size = [], 0
        if size:
            yield pa.Table.from_batches(held).cast(types)

    def _arrow(self, key: TypeKey) -> pa.Schema:
        if isinstance(key, str):
            return self._schema.node_arrow_schema(key)
        return self._schema.edge_arrow_schema(key)

    def identity(self, key: TypeKey) -> list[str]:
        """The columns that tell one node or relationship of a type from another."""
        if isinstance(key, str):
            return [self._schema.node(key).key]
        return ["source", "target", *self._schema.relationship(key).identity]

    def _concerned(self, key: TypeKey) -> bool:
        assert self._jobs is not None
        files = self._files.get(key, [])
        if self.renames.changed(key):
            return True
        if any(f.job in self._jobs or (f.superseded and f.newest in self._jobs) for f in files):
            return True
        return not isinstance(key, str) and any(self._has_revived(label) for label in (key[0], key[2]))

    def _names(self, files: Sequence[RowFile]) -> None:
        """A table of sources: which versions belong together, as a number, and which is newer."""
        distinct = {(f.job, f.source): f.name for f in files}
        self._numbers = {name: i for i, name in enumerate(sorted(set(distinct.values())))}
        table = pa.table(
            {
                "_job": pa.array([job for job, _ in distinct], pa.int32()),
                "_source": pa.array([source for _, source in distinct], pa.int32()),
                "_name": pa.array([self._numbers[name] for name in distinct.values()], pa.int32()),
            }
        )
        self._db.register("sources_arrow", table)
        self._db.execute("CREATE OR REPLACE TABLE sources AS SELECT * FROM sources_arrow")
        self._db.unregister("sources_arrow")

    def _rows(self, key: TypeKey, columns: Sequence[str]) -> str:
        """The rows of a type that count, with `columns`, before rows that remove have their say."""
        files = self._files.get(key, [])
        subject = self._subject(key)
        wanted = list(dict.fromkeys([*columns, subject, "_job", "_source", "_line", "_time", "_deleted"]))
        if not self._versioned(key):
            return self._read(key, [f for f in files if not f.superseded], wanted)
        if not any(f.superseded for f in files):
            return self._read(key, files, wanted)
        # Rows of an older version count while no newer one names the same subject.
        whole = self._read(key, files, wanted)
        rows = f"(SELECT r.*, _name FROM {whole} AS r JOIN sources USING (_job, _source))"
        return (
            f"(SELECT * EXCLUDE (_name, _newest) FROM (SELECT *, max(_job) OVER "
            f"(PARTITION BY _name, {quoted(subject)}) AS _newest FROM {rows}) "
            "WHERE _job = _newest OR _deleted)"
        )

    def _versioned(self, key: TypeKey) -> bool:
        return isinstance(key, str) or self._schema.relationship(key).kind != "event"

    def _subject(self, key: TypeKey) -> str:
        return self._schema.node(key).key if isinstance(key, str) else "source"

    def _read(self, key: TypeKey, files: Sequence[RowFile], columns: Sequence[str]) -> str:
        """A FROM clause over files of a type, nodes and ends by the names that they go by."""
        return self.renames.read(key, files, columns)

    def _only(self, key: TypeKey, alias: str) -> str:
        """A semi-join that leaves the keys that the jobs touch; empty for everything."""
        if self._jobs is None:
            return ""
        same = " AND ".join(f"{alias}.{quoted(n)} = touched.{quoted(n)}" for n in self.identity(key))
        return f" SEMI JOIN {self._touch(key)} AS touched ON {same}"

    def _plain(self, key: TypeKey) -> str:
        identity = self.identity(key)
        properties = self.columns(key)[len(identity) :]
        rel = None if isinstance(key, str) else self._schema.relationship(key)
        rows = f"SELECT r.* FROM {self._rows(key, [*identity, *properties])} AS r{self._only(key, 'r')}"
        alive = self._alive(key, rows, identity)
        # The first time that it happened: a later row must not move it past a cut.
        folded = {rel.time: f"min({quoted(rel.time)})"} if rel is not None and rel.time is not None else {}
        early = [f"-epoch_us({quoted(name)})" for name in folded]
        return self._grouped(key, rel, alive, folded, early)

    def _grouped(
        self,
        key: TypeKey,
        rel: RelationshipType | None,
        rows: str,
        folded: dict[str, str],
        early: Sequence[str],
    ) -> str:
        """One row a key: `folded` says how, by property; any other keeps the last value that was given.

        Of an event that would be a value from after it happened, which a cut in between must not let through:
        what later rows do not change is as the first row says, that with the greatest `early`.
        """
        identity = self.identity(key)
        parts = [quoted(name) for name in identity]
        for name in self.columns(key)[len(identity) :]:
            if name in folded:
                value = folded[name]
            elif rel is None or rel.time is None or rel.properties[name].cumulative:
                value = _last(name)
            else:
                first = f"ROW({', '.join(early)})"
                value = (
                    f"CASE WHEN max({first}) FILTER ({quoted(name)} IS NOT NULL) = max({first}) "
                    f"THEN {_last(name, early)} END"
                )
            parts.append(f"{value} AS {quoted(name)}")
        names = ", ".join(quoted(name) for name in identity)
        return f"SELECT {', '.join(parts)} FROM ({rows}) GROUP BY {names}"

    def _alive(self, key: TypeKey, rows: str, identity: Sequence[str]) -> str:
        """Without the rows that remove, and without those that these void."""
        if not any(f.staged.deletes for f in self._files.get(key, [])):
            return rows
        names = ", ".join(quoted(name) for name in identity)
        window = f"OVER (PARTITION BY {names})"
        return (
            "SELECT * FROM (SELECT *, "
            f"max(_time) FILTER (_deleted) {window} AS _until, "
            f"max({_ORDER}) FILTER (_deleted) {window} AS _removed, "
            f"max({_ORDER}) FILTER (_deleted AND _time IS NULL) {window} AS _removed_untimed "
            f"FROM ({rows})) WHERE NOT _deleted AND NOT ({_VOID})"
        )

    def _events(self, key: TypeKey, rel: RelationshipType) -> str:
        identity = self.identity(key)
        properties = self.columns(key)[len(identity) :]
        files = self._files.get(key, [])
        ids = any(f.staged.ids for f in files)
        overlaps = any(f.staged.overlaps for f in files)
        extra = ["_id"] * ids + ["_overlap"] * overlaps
        if not ids and any(f.staged.deletes for f in files):
            extra.append("_id")
        rows = f"SELECT r.* FROM {self._rows(key, [*identity, *properties, *extra])} AS r"
        if ids:
            # The last version of an event may stand at another pair: chosen before any pair is left out.
            rows = self._last_versions(key, rows)
        rows = f"SELECT r.* FROM ({rows}) AS r{self._only(key, 'r')}"
        if any(f.staged.deletes for f in files):
            rows = self._alive(
                key, f"SELECT * FROM ({rows}) WHERE NOT (_deleted AND _id IS NOT NULL)", identity
            )
        if overlaps:
            same = [n for n in [*identity, *properties] if n != "last_at"]
            each = ", ".join(quoted(name) for name in same)
            rows = (
                f"SELECT * EXCLUDE (_copy, _again) FROM (SELECT *, row_number() OVER "
                f"(PARTITION BY {each}, _copy ORDER BY _job, _source) AS _again FROM "
                f"(SELECT *, row_number() OVER (PARTITION BY {each}, _job, _source ORDER BY _line) AS _copy "
                f"FROM ({rows}))) WHERE _again = 1 OR NOT coalesce(_overlap, false)"
                + (" OR _id IS NOT NULL" if ids else "")
            )
        bought = (
            "(first_quantity IS NULL OR first_quantity > 0)" if "first_quantity" in properties else "true"
        )
        folded = {
            "first_at": f"coalesce(min(first_at) FILTER ({bought}), min(first_at))",
            "first_quantity": "arg_min(first_quantity, ROW(first_quantity = 0, first_at, -first_quantity))",
            "last_at": "max(last_at)",
            "count": 'sum("count")::BIGINT',
            "spend": "sum(spend::DECIMAL(38, 10))::DOUBLE",
        }
        return self._grouped(key, rel, rows, folded, [f"{bought}::INTEGER", "-epoch_us(first_at)"])

    def _last_versions(self, key: TypeKey, rows: str) -> str:
        concerned = ""
        if self._jobs is not None:
            ids = self._touched_ids(key)
            pairs = self._touch(key)
            concerned = (
                f" WHERE _id IN (SELECT _id FROM {ids}) OR EXISTS "
                f"(SELECT 1 FROM {pairs} AS p WHERE p.source = r.source AND p.target = r.target)"
            )
            # Every version of an event that now or before stood at a touched pair.
            known = f"SELECT _id FROM ({rows}{concerned})"
            rows = f"SELECT r.* FROM ({rows}) AS r WHERE (_id IS NULL) OR _id IN ({known})"
        # A rank, not a number: one line may stand for the same event at several pairs.
        return (
            f"SELECT * FROM ({rows}) AS v QUALIFY _id IS NULL OR (rank() OVER "
            f"(PARTITION BY _id ORDER BY {_WHEN} DESC, _job DESC, _source DESC, _line DESC) = 1 "
            "AND NOT _deleted)"
        )

    def _touched_ids(self, key: TypeKey) -> str:
        self._touch(key)
        return quoted("ids " + type_name(key))

    def _touch(self, key: TypeKey) -> str:
        """The keys that the jobs touch, as a table."""
        if key in self._touched:
            return self._touched[key]
        table = self._touched[key] = quoted("touched " + type_name(key))
        files = self._files.get(key, [])
        jobs = self._jobs
        chosen = [f for f in files if jobs is None or f.job in jobs or (f.superseded and f.newest in jobs)]
        identity = self.identity(key)
        names = ", ".join(quoted(name) for name in identity)
        first = f"SELECT {names} FROM {self._read(key, chosen, identity)}"
        first += self.renames.touched(key, files, identity)
        if not isinstance(key, str) and self._schema.relationship(key).aggregated:
            ids = quoted("ids " + type_name(key))
            with_ids = [f for f in chosen if f.staged.ids]
            self._db.execute(
                f"CREATE OR REPLACE TABLE {ids} AS SELECT DISTINCT _id FROM "
                f"{self._read(key, with_ids, ['_id'])} WHERE _id IS NOT NULL"
            )
            if with_ids:
                everything = self._read(key, files, [*identity, "_id"])
                first += f" UNION ALL SELECT {names} FROM {everything} SEMI JOIN {ids} USING (_id)"
        if not isinstance(key, str):
            for side, label in (("source", key[0]), ("target", key[2])):
                if self._has_revived(label):
                    rows = self._read(key, files, identity)
                    back = quoted("revived " + label)
                    first += f" UNION ALL SELECT {names} FROM {rows} SEMI JOIN {back} AS b ON {side} = b.k"
        self._db.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT DISTINCT {names} FROM ({first}) "
            f"WHERE {' AND '.join(f'{quoted(n)} IS NOT NULL' for n in identity)}"
        )
        return table

    def _has_dead(self, label: str) -> bool:
        return any(f.staged.deletes for f in self._files.get(label, []))

    def _dead_table(self, label: str) -> str:
        """The nodes that rows removed, as a table."""
        name = quoted("dead " + label)
        if not self._dead.get(label):
            key = quoted(self._schema.node(label).key)
            every = self._read(label, self._files[label], [self._schema.node(label).key])
            files = [file for some in self._files.values() for file in some]
            whole = Fold(self._db, self._schema, files, None, self._aliases)
            alive = f"SELECT {key} FROM ({whole._plain(label)})"
            self._db.execute(
                f"CREATE OR REPLACE TABLE {name} AS SELECT DISTINCT {key} AS k FROM {every} "
                f"ANTI JOIN ({alive}) USING ({key})"
            )
            self._dead[label] = True
        return name

    def _has_revived(self, label: str) -> bool:
        """Whether the jobs may bring back removed nodes; their keys are then in the table `revived LABEL`."""
        if label in self._revived:
            return self._revived[label]
        self._revived[label] = False
        if self._jobs is None:
            return False
        files = self._files.get(label, [])
        removed = [f for f in files if f.staged.deletes]
        now = [f for f in files if f.job in self._jobs]
        if removed and now:
            key = self._schema.node(label).key
            self._db.execute(
                f"CREATE OR REPLACE TABLE {quoted('revived ' + label)} AS "
                f"SELECT DISTINCT {quoted(key)} AS k FROM {self._read(label, removed, [key, '_deleted'])} "
                f"WHERE _deleted AND {quoted(key)} IN "
                f"(SELECT {quoted(key)} FROM {self._read(label, now, [key])})"
            )
            self._revived[label] = True
        return self._revived[label]


def _last(name: str, before: Sequence[str] = ()) -> str:
    """The last value of a column that is not null: by `before`, then by time, then by job."""
    order = ", ".join([*before, _WHEN, "_job", "_source", "_line"])
    return f"arg_max({quoted(name)}, ROW({order})) FILTER ({quoted(name)} IS NOT NULL)"


_VOID = (
    f"CASE WHEN _time IS NOT NULL THEN coalesce(_until >= _time, false) OR "
    f"coalesce(_removed_untimed > {_ORDER}, false) ELSE coalesce(_removed > {_ORDER}, false) END"
)
