"""The runs that a graph holds, and how one goes again, from its archive too."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kgdistill.errors import InputError
from kgdistill.explore.run_nodes import RUN
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.outputs import Outputs, of_run
from kgdistill.ingest.projection import kept_by
from kgdistill.nearest import nearest
from kgdistill.progress import step
from kgdistill.store.protocol import GraphStore, Write
from kgdistill.store.schema import Schema

_ROWS = 100_000
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class RunEntry:
    """A run that a graph or its archive knows of.

    Attributes:
        run: its name.
        task, written_at, cut, metric, value: as the graph keeps them; None where an earlier version wrote it.
        rows: by type, how many nodes and relationships of it the graph holds.
        archived: whether the archive keeps it.
    """

    run: str
    task: str | None
    written_at: datetime | None
    cut: datetime | None
    metric: str | None
    value: float | None
    rows: Mapping[str, int]
    archived: bool


@dataclass(frozen=True)
class PruneReport:
    """What was removed, or would be.

    Attributes:
        removed: the runs that went, the oldest first.
        kept: the names of those that stay.
        archive: the archive that they went from too; None: none keeps them.
        dry_run: whether nothing was changed.
    """

    removed: Sequence[RunEntry]
    kept: Sequence[str]
    archive: Path | None
    dry_run: bool


def list_runs(store: GraphStore, *, archive: str | Path | None = None) -> list[RunEntry]:
    """Every run that wrote to a graph, the last written last; those of earlier versions come first.

    Args:
        store: an open store.
        archive: as in `write_back`.

    Raises:
        InputError: there is no archive in `archive`, or one of its records is damaged.
        StoreError: from the store; also an archive that is not this store's.
    """
    schema = store.schema
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for key in _written_by_runs(schema):
        match, run = _matched(schema, key)
        table = store.query(
            f"{match} WITH {run} AS run, count(*) AS n WHERE run IS NOT NULL RETURN run, n",
            limit=_ROWS,
            timeout_s=_TIMEOUT_S,
        )
        for row in table.to_pylist():
            rows[row["run"]][type_name(key)] = row["n"]
    told = {}
    if RUN in schema.nodes and schema.nodes[RUN].key == "run_id":
        told = {row["run_id"]: row for row in store.read_nodes(RUN).to_pylist()}
    kept = kept_by(store, archive)
    archived = {r.name: r for r in Outputs(kept).records() if r.kind == "run"} if kept is not None else {}
    entries = []
    for run in {*rows, *archived}:
        node = told.get(run, {})
        written = node.get("written_at")
        if written is None and run in archived:
            written = archived[run].written_at.replace(tzinfo=None)
        entries.append(
            RunEntry(
                run,
                node.get("task"),
                written,
                node.get("cut"),
                node.get("metric"),
                node.get("value"),
                dict(rows[run]),
                run in archived,
            )
        )
    return sorted(entries, key=lambda e: (e.written_at or datetime.min, e.run))


def prune_runs(
    store: GraphStore,
    names: Sequence[str] = (),
    *,
    keep: int | None = None,
    dry_run: bool = False,
    archive: str | Path | None = None,
    wait_s: float = 0.0,
) -> PruneReport:
    """Removes runs with all that they wrote, from the graph and its archive; again after a kill: the same.

    Args:
        store: an open store.
        names: the runs that go.
        keep: instead: all go but the last written `keep` of each task; a run of which no task is known stays.
        dry_run: only say what would go.
        archive: as in `write_back`.
        wait_s: how long to wait for a job that holds the archive.

    Raises:
        InputError: neither names nor a number, or both; a run that nothing knows of.
        StoreError, DiskError: from the store and the archive; what went before it stays gone.
    """
    names = [names] if isinstance(names, str) else names
    if (keep is None) == (not names):
        raise InputError(
            "takes the names of runs, or how many to keep", hint="name runs, or --keep N (keep=)"
        )
    if keep is not None and keep < 0:
        raise InputError(f"cannot keep {keep} runs")
    entries = list_runs(store, archive=archive)
    known = {entry.run: entry for entry in entries}
    for name in names:
        if name not in known:
            hint = f"{nearest(name, known)}there are: {', '.join(known) or 'none'}"
            raise InputError(f"there is no run {name[:60]!r}", where=store.url, hint=hint)
    gone = [entry for entry in entries if entry.run in names]
    if keep is not None:
        gone = _stale(entries, keep)
    kept = kept_by(store, archive)
    stay = [entry.run for entry in entries if entry not in gone]
    report = PruneReport(gone, stay, kept.folder if kept is not None else None, dry_run)
    if dry_run or not gone:
        return report
    schema = store.schema
    with contextlib.ExitStack() as stack:
        if kept is not None:
            stack.enter_context(kept.lock(wait_s))
        work = stack.enter_context(step("removing runs", total=len(gone)))
        for entry in gone:
            _remove(store, schema, entry)
            if kept is not None:
                Outputs(kept).drop("run", entry.run)
            work.advance()
    return report


def _written_by_runs(schema: Schema) -> Iterator[TypeKey]:
    """Every type that runs write, relationships first."""
    for edge in schema.edges("output"):
        if "run" in schema.relationship(edge).properties:
            yield edge
    for label, node in schema.nodes.items():
        if node.output and ("run" in node.properties or node.key == "run_id"):
            yield label


def _matched(schema: Schema, key: TypeKey) -> tuple[str, str]:
    """A MATCH of a type as x, and what tells its run; names come from the schema, as plain identifiers."""
    if isinstance(key, str):
        return f"MATCH (x:`{key}`)", f"x.`{next(iter(of_run(schema, key, '')))}`"
    return f"MATCH (:`{key[0]}`)-[x:`{key[1]}`]->(:`{key[2]}`)", "x.run"


def _remove(store: GraphStore, schema: Schema, entry: RunEntry) -> None:
    writes = []
    for key in _written_by_runs(schema):
        if entry.rows.get(type_name(key)):
            types = schema.node_arrow_schema(key) if isinstance(key, str) else schema.edge_arrow_schema(key)
            writes.append(Write(key, types.empty_table(), of_run(schema, key, entry.run)))
    with store.reindexed("Embedding", {"run": entry.run}):
        store.write_together(writes)


def _stale(entries: Sequence[RunEntry], keep: int) -> list[RunEntry]:
    """All but the last `keep` of each task; of an earlier version's runs nobody knows the task: they stay."""
    by_task: dict[str, list[RunEntry]] = defaultdict(list)
    for entry in entries:
        if entry.task is not None:
            by_task[entry.task].append(entry)
    stale = {e.run for some in by_task.values() for e in some[: max(len(some) - keep, 0)]}
    return [entry for entry in entries if entry.run in stale]
