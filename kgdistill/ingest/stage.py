"""Sources read, mapped and written as rows of the archive: what a job does source by source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.ingest.archive import StagedSource, StagedType, disk_errors
from kgdistill.ingest.garbled import TextCheck
from kgdistill.ingest.idle import PieceRows, joined_pieces
from kgdistill.ingest.joins import Joins
from kgdistill.ingest.mapping.mapper import Mapped, map_batch
from kgdistill.ingest.mapping.plan import Cell, CompiledSource
from kgdistill.ingest.model import REJECT_SCHEMA, Notice, TypeKey, joined_notices, type_name
from kgdistill.ingest.readers import Source, read_batches
from kgdistill.ingest.rows import row_schema
from kgdistill.store.schema import Schema

ROW_GROUP = 131_072
_PLACE = [("_job", pa.int32()), ("_source", pa.int32())]


@dataclass(frozen=True)
class Unit:
    """One source to be staged.

    Attributes:
        place: its number in the job.
        source: what is read.
        compiled: how it is mapped.
        sha256, size: of its bytes.
        after: by type, the latest event known before; earlier ones are counted as late.
        since: rows with an event before it are skipped.
        plain_sha256: of the bytes of a compressed file without compression; else empty.
        former: the version that an earlier job read; None where there is none.
        joins: where its rows look up others.
        joined: what they find there, as `Joins.mark` has it.
    """

    place: int
    source: Source
    compiled: CompiledSource
    sha256: str
    size: int
    after: Mapping[str, datetime]
    since: datetime | None = None
    plain_sha256: str = ""
    former: StagedSource | None = None
    joins: Joins = field(default=Joins(), repr=False)
    joined: str = ""


def stage(
    unit: Unit, part: Path, job: int, schema: Schema, advance: Callable[[int], None] = lambda _: None
) -> StagedSource:
    """Reads one source and writes its accepted rows and its rejects below `part`.

    Args:
        unit: the source.
        part, job: the job's folder and number.
        schema: the schema in force.
        advance: told the bytes read since the last call.

    Raises:
        InputError: the source as a whole cannot be read.
        DiskError: the rows cannot be written.
    """
    start = time.monotonic()
    writers: dict[TypeKey, _Writer] = {}
    rejects = _Rejects(part / "rejects" / f"{unit.place:05d}.parquet")
    rows = skipped = rejected = eventless = 0
    notices, pieces = tuple[Notice, ...](), tuple[PieceRows, ...]()
    text = TextCheck(unit.source)
    every_line = unit.since is not None or _may_be_taken_back(unit.compiled)
    try:
        unit.joins.check(unit.source, unit.compiled.columns)
        for batch in read_batches(unit.source, unit.compiled.columns):
            text.see(batch.table, batch.lines)
            batch = unit.joins.added(batch, unit.source.name)
            mapped = map_batch(unit.compiled, batch, unit.source.name, every_line=every_line)
            if unit.since is not None:
                mapped = _without_earlier(mapped, unit.since, schema)
            rows, skipped = rows + mapped.rows, skipped + mapped.skipped
            rejected, eventless = rejected + mapped.rejected, eventless + mapped.eventless
            notices = joined_notices([*notices, *mapped.notices])
            pieces = joined_pieces([pieces, mapped.pieces])
            with disk_errors(part):
                _write(mapped, writers, rejects, unit, part, job, schema)
            advance(batch.size)
        notices = (*notices, *text.notices())
    finally:
        with disk_errors(part):
            for writer in writers.values():
                writer.close()
            rejects.close()
    return StagedSource(
        name=unit.source.name,
        sha256=unit.sha256,
        size=unit.size,
        digest=unit.compiled.digest,
        rows=rows,
        skipped=skipped,
        rejected=rejected,
        eventless=eventless,
        pieces=pieces,
        late=sum(writer.late for writer in writers.values()),
        types={type_name(key): writer.summary() for key, writer in writers.items()},
        notices=notices,
        plain_sha256=unit.plain_sha256,
        joined=unit.joined,
        seconds=time.monotonic() - start,
    )


def _may_be_taken_back(compiled: CompiledSource) -> bool:
    """Whether a relationship may end at a node that neither its own row makes nor anybody has to."""
    for plan in compiled.edges:
        ends: list[tuple[Literal["source", "target"], str, Cell]] = [
            ("source", plan.edge[0], plan.source),
            ("target", plan.edge[2], plan.target),
        ]
        for side, label, end in ends:
            made = any(
                node.label == label
                and node.key.plan.slot == end.plan.slot
                and all(condition in plan.when for condition in node.when)
                for node in compiled.nodes
            )
            if not made and (plan.edge, side) not in compiled.stubs:
                return True
    return False


def _without_earlier(mapped: Mapped, since: datetime, schema: Schema) -> Mapped:
    """Without the input rows that give an event before `since`."""
    moment = pa.scalar(since, pa.timestamp("us"))
    early: list[pa.ChunkedArray] = []
    for key, table in mapped.tables.items():
        time = None if isinstance(key, str) else schema.relationship(key).time
        if time is not None:
            early.append(table["_line"].filter(pc.fill_null(pc.less(table[time], moment), False)))
    lines = pc.unique(pa.chunked_array([c for e in early for c in e.chunks], pa.int64()))
    if not len(lines):
        return mapped
    tables = {k: t.filter(pc.invert(pc.is_in(t["_line"], value_set=lines))) for k, t in mapped.tables.items()}
    return replace(mapped, tables=tables, skipped=mapped.skipped + len(lines))


def _write(
    mapped: Mapped,
    writers: dict[TypeKey, _Writer],
    rejects: _Rejects,
    unit: Unit,
    part: Path,
    job: int,
    schema: Schema,
) -> None:
    for key, table in mapped.tables.items():
        if not table.num_rows:
            continue
        if key not in writers:
            path = part / "rows" / type_name(key) / f"{unit.place:05d}.parquet"
            after = unit.after.get(type_name(key))
            writers[key] = _Writer(path, key, schema, job, unit.place, after)
        writers[key].write(table)
    rejects.write(mapped.rejects)


@dataclass
class _Rejects:
    path: Path
    writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        if self.writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(self.path, REJECT_SCHEMA, compression="zstd")
        self.writer.write_table(table.cast(REJECT_SCHEMA))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


@dataclass
class _Writer:
    """The rows of one type from one source."""

    path: Path
    key: TypeKey
    schema: Schema
    job: int
    place: int
    after: datetime | None
    rows: int = 0
    late: int = 0
    ids: bool = False
    overlaps: bool = False
    deletes: bool = False
    latest: datetime | None = None
    columns: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        types = row_schema(self.schema, self.key)
        self._types = pa.schema([*types, *_PLACE])
        rel = None if isinstance(self.key, str) else self.schema.relationship(self.key)
        self._time = rel.time if rel is not None else None
        self._aggregated = rel is not None and rel.aggregated
        identity = 1 if isinstance(self.key, str) else 2
        self._properties = [n for n in types.names[identity:] if not n.startswith("_")]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Ids repeat and compress well by a dictionary; free text does not, and costs time.
        self._writer = pq.ParquetWriter(self.path, self._types, compression="lz4")

    def write(self, table: pa.Table) -> None:
        count = table.num_rows
        where = [pa.array([self.job], pa.int32()), pa.array([self.place], pa.int32())]
        constant = [pc.take(value, pa.nulls(count, pa.int32()).fill_null(0)) for value in where]
        whole = pa.table([*table.columns, *constant], names=[*table.column_names, "_job", "_source"])
        self._writer.write_table(whole.select(self._types.names), row_group_size=ROW_GROUP)
        self.rows += count
        for name in self._properties:
            if name not in self.columns and table[name].null_count < count:
                self.columns.add(name)
        if not self.deletes and pc.any(table["_deleted"]).as_py():
            self.deletes = True
        if self._aggregated:
            self.ids = self.ids or table["_id"].null_count < count
            self.overlaps = self.overlaps or bool(pc.any(table["_overlap"]).as_py())
        if self._time is not None:
            latest = pc.max(table[self._time]).as_py()
            if latest is not None:
                self.latest = latest if self.latest is None else max(latest, self.latest)
            if self.after is not None:
                late = pc.less_equal(table[self._time], pa.scalar(self.after, pa.timestamp("us")))
                self.late += int(pc.sum(late).as_py() or 0)

    def close(self) -> None:
        self._writer.close()

    def summary(self) -> StagedType:
        """What the job's record says of it."""
        return StagedType(
            rows=self.rows,
            columns=tuple(n for n in self._properties if n in self.columns),
            ids=self.ids,
            overlaps=self.overlaps,
            deletes=self.deletes,
            latest=self.latest,
            files=(self.path.name,),
        )
