"""The journal of jobs in a store: nodes that Cypher can ask for, and that no model reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from kgdistill.errors import SchemaError
from kgdistill.ingest.archive import Archive, JobRecord, utc_now
from kgdistill.store.protocol import GraphStore
from kgdistill.store.schema import NodeType, Property, Schema

JOB = "IngestJob"
SOURCE = "IngestSource"


def _label(key: str, **properties: str) -> NodeType:
    kinds = {name: Property(type=kind) for name, kind in properties.items()}  # type: ignore[arg-type]
    return NodeType(key=key, name=key, output=True, properties=kinds)


_JOURNAL = {
    JOB: _label(
        "ingest_job_id",
        archive_id="string",
        archive="string",
        job_number="int64",
        mapping="string",
        time_zone="string",
        state="string",
        started_at="timestamp",
        finished_at="timestamp",
        rows_read="int64",
        rows_accepted="int64",
        rows_skipped="int64",
        rows_rejected="int64",
    ),
    SOURCE: _label(
        "ingest_source_id",
        archive_id="string",
        job_number="int64",
        source_name="string",
        sha256="string",
        bytes="int64",
        rows_read="int64",
        rows_rejected="int64",
    ),
}


def without_journal(schema: Schema) -> Schema:
    """`schema` without the labels of the journal, which are no part of anybody's graph."""
    return schema.restricted(schema.nodes.keys() - _JOURNAL.keys(), schema.relationships)


def with_journal(schema: Schema) -> Schema:
    """`schema` with the labels of the journal.

    Raises:
        SchemaError: it has a type or property of such a name that is something else.
    """
    nodes = dict(schema.nodes)
    for label, node in _JOURNAL.items():
        if label in nodes and set(nodes[label].properties) != set(node.properties):
            raise SchemaError(
                f"{label} is the name of the journal's own label", hint="rename it in the schema"
            )
        nodes[label] = node
    try:
        return Schema(version=1, nodes=nodes, relationships=schema.relationships)
    except ValueError as error:
        raise SchemaError(f"the schema contradicts the journal's labels: {error}") from error


class Journal:
    """What a store says of the jobs whose rows it holds.

    Args:
        store: its schema need not be applied yet.
    """

    def __init__(self, store: GraphStore) -> None:
        self._store = store

    def entries(self) -> list[dict[str, Any]]:
        """The jobs, by archive and number; none where the store has no journal."""
        try:
            found: list[dict[str, Any]] = self._store.read_nodes(JOB).to_pylist()
        except SchemaError:
            return []
        return sorted(found, key=lambda e: (str(e["archive_id"]), int(e["job_number"] or 0)))

    def done(self, archive: Archive) -> set[int]:
        """The jobs of an archive whose rows the store holds."""
        mine = (e for e in self.entries() if e["archive_id"] == archive.id and e["state"] == "done")
        return {int(entry["job_number"]) for entry in mine}

    def time_zone(self) -> str:
        """The zone that the last job's files mean, in which a person reads times; UTC where none is known."""
        finished = [e for e in self.entries() if e["finished_at"] is not None]
        last = max(finished, key=lambda e: e["finished_at"], default={})
        return last.get("time_zone") or "UTC"

    def write(self, archive: Archive, records: Sequence[JobRecord], state: str) -> None:
        """Says of jobs that they are in `state`; the journal's labels are in the store's schema already."""
        if not records:
            return
        finished: datetime | None = utc_now() if state == "done" else None
        schema = with_journal(Schema(version=1, nodes={}, relationships={}))
        jobs = [
            {
                "ingest_job_id": f"{archive.id}-{record.number:06d}",
                "archive_id": archive.id,
                "archive": str(archive.folder),
                "job_number": record.number,
                "mapping": record.mapping,
                "time_zone": record.time_zone,
                "state": state,
                "started_at": record.started_at,
                "finished_at": finished,
                "rows_read": record.rows,
                "rows_accepted": record.accepted,
                "rows_skipped": record.skipped,
                "rows_rejected": record.rejected,
            }
            for record in records
        ]
        sources = [
            {
                "ingest_source_id": f"{archive.id}-{record.number:06d}-{place:05d}",
                "archive_id": archive.id,
                "job_number": record.number,
                "source_name": source.name,
                "sha256": source.sha256,
                "bytes": source.size,
                "rows_read": source.rows,
                "rows_rejected": source.rejected,
            }
            for record in records
            for place, source in enumerate(record.sources)
        ]
        for label, rows in ((JOB, jobs), (SOURCE, sources)):
            table = pa.Table.from_pylist(rows, schema=schema.node_arrow_schema(label))
            self._store.write_nodes(label, table)
