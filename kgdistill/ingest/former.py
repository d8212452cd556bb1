"""What a job's sources were before: the same under another name, and events that a new version lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.archive import RowFile, StagedSource
from kgdistill.ingest.model import Notice, TypeKey, types_by_name
from kgdistill.ingest.rows import row_schema
from kgdistill.ingest.sql import read
from kgdistill.ingest.stage import Unit
from kgdistill.store.schema import Schema

# So few rows may go whatever their share is, as long as some are left.
FEW_ROWS = 3


@dataclass(frozen=True)
class Removal:
    """Events that a source gave before and that its new version lacks; they leave the graph.

    Attributes:
        source: the source's name.
        type: the events' type, such as `User-BOUGHT-Product`.
        rows: how many its former version gave.
        gone: how many of them the new one lacks.
        left: how many the new one gives.
    """

    source: str
    type: str
    rows: int
    gone: int
    left: int

    def above(self, share: float) -> bool:
        """Whether more rows go than may."""
        return self.gone > share * self.rows and (self.gone > FEW_ROWS or self.left == 0)

    def refusal(self, share: float) -> InputError:
        """The refusal of a job with too many of them."""
        return InputError(
            f"the new version lacks {self.gone:,} of the {self.rows:,} {self.type} rows that the former one "
            f"gave, more than the allowed {share:.2%}; they would leave the graph",
            where=self.source,
            hint="nothing was changed; export it again as a whole, and give new events a file of their own; "
            "if they are to go, allow a larger share with --max-removed-share",
        )


def removals(
    db: duckdb.DuckDBPyConnection,
    schema: Schema,
    units: Sequence[Unit],
    staged: Sequence[StagedSource],
    new: Sequence[RowFile],
    archived: Iterable[RowFile],
) -> list[Removal]:
    """What the new versions of sources lack, by source and type of event; only where there is something.

    Rows are told apart by their ends: one with another amount or time is still there, and so is one that
    another source of this job now gives. Where the mapping has changed, and with it perhaps every key, only
    numbers of rows are compared.

    Args:
        db: from `engine`.
        schema: the schema in force.
        units: the sources; those without a former version lack nothing.
        staged: what they gave, in the same order.
        new: the files of `staged`.
        archived: the files of the archive.
    """
    places = {unit.source.name: unit.place for unit in units if unit.former is not None}
    former = [file for file in archived if file.name in places and not file.superseded]
    found: list[Removal] = []
    for name, key in types_by_name(schema).items():
        if isinstance(key, str) or schema.relationship(key).kind != "event":
            continue
        old = [file for file in former if file.key == key]
        if not old:
            continue
        kept = [file for file in new if file.key == key]
        rows = {
            place: _number(file for file in old if places[file.name] == place) for place in places.values()
        }
        left = {place: _number(file for file in kept if file.source == place) for place in places.values()}
        gone = _gone(db, schema, key, old, kept, places)
        for unit in units:
            if unit.former is None or not rows[unit.place]:
                continue
            lacking = gone.get(unit.place, 0)
            if unit.former.digest != staged[unit.place].digest:
                lacking = max(0, rows[unit.place] - left[unit.place])
            if lacking:
                found.append(Removal(unit.source.name, name, rows[unit.place], lacking, left[unit.place]))
    return found


def _number(files: Iterable[RowFile]) -> int:
    # A type's files of one source share its record.
    return sum({(file.job, file.source): file.staged.rows for file in files}.values())


def _gone(
    db: duckdb.DuckDBPyConnection,
    schema: Schema,
    key: TypeKey,
    old: Sequence[RowFile],
    new: Sequence[RowFile],
    places: Mapping[str, int],
) -> dict[int, int]:
    """By place of the source, how many of its rows have gone."""
    versions = {(file.job, file.source): places[file.name] for file in old}
    table = pa.table(
        {
            "_job": pa.array([job for job, _ in versions], pa.int32()),
            "_source": pa.array([source for _, source in versions], pa.int32()),
            "place": pa.array(versions.values(), pa.int32()),
        }
    )
    columns = ["source", "target", "_job", "_source", "_deleted"]
    types = row_schema(schema, key)
    db.register("versions_arrow", table)
    try:
        found = db.execute(
            "WITH before AS (SELECT place, source, target, count(*) AS n FROM "
            f"{read(old, columns, types)} JOIN versions_arrow USING (_job, _source) WHERE NOT _deleted "
            "GROUP BY ALL), now AS (SELECT _source AS place, source, target, count(*) AS n FROM "
            f"{read(new, columns, types)} WHERE NOT _deleted GROUP BY ALL), "
            "each AS (SELECT place, source, target, coalesce(before.n, 0) - coalesce(now.n, 0) AS less "
            "FROM before FULL JOIN now USING (place, source, target)), "
            "moved AS (SELECT *, sum(greatest(-less, 0)) OVER (PARTITION BY source, target) AS more "
            "FROM each) "
            "SELECT place, sum(greatest(less - more, 0))::BIGINT FROM moved WHERE less > 0 GROUP BY place"
        ).fetchall()
    finally:
        db.unregister("versions_arrow")
    return {int(place): int(gone) for place, gone in found}


def twins(staged: Sequence[StagedSource], known: Iterable[StagedSource], schema: Schema) -> list[Notice]:
    """The sources of a job that hold what another holds too, in this job or one before.

    Args:
        staged: what the sources of the job gave.
        known: the versions of sources that the archive holds.
        schema: the schema in force.
    """
    keys = types_by_name(schema)
    events = {n for n, k in keys.items() if not isinstance(k, str) and schema.relationship(k).kind == "event"}
    first: dict[str, list[StagedSource]] = {}
    now = {source.name for source in staged}
    for source in known:
        if source.rows and source.name not in now:
            first.setdefault(source.content, []).append(source)
    found: list[Notice] = []
    for source in staged:
        # Two exports of nothing but a header are no accident.
        if not source.rows:
            continue
        others = first.setdefault(source.content, [])
        other = next((other for other in others if _is_twin(source, other, events)), None)
        if other is not None:
            reason = f"holds the same as {other.name}"
            if _both_count(source, other, events):
                reason += ": every event in it counts twice; take one away, or use event_id or overlap"
            found.append(Notice(source.name, 0, "", "", reason, source.rows))
        others.append(source)
    return found


def _is_twin(source: StagedSource, other: StagedSource, events: set[str]) -> bool:
    # Two sources of a mapping may read one file on purpose, each for types of its own.
    same_file = source.name.partition(":")[2] == other.name.partition(":")[2]
    return not same_file or _both_count(source, other, events)


def _both_count(source: StagedSource, other: StagedSource, events: set[str]) -> bool:
    """Whether they give events of one type that nothing tells apart."""
    return any(
        name in events and not kept.ids and not kept.overlaps
        for name, kept in source.types.items()
        if name in other.types
    )


def files_of(part: Path, number: int, staged: Sequence[StagedSource], schema: Schema) -> list[RowFile]:
    """The files of a job that is being read."""
    keys = types_by_name(schema)
    return [
        RowFile(part / "rows" / name / file, keys[name], number, place, source.name, number, kept)
        for place, source in enumerate(staged)
        for name, kept in source.types.items()
        for file in kept.files
    ]
