"""Store → snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.errors import InputError, LeakError
from kgdistill.moment import naive_utc
from kgdistill.progress import Step, notice, step
from kgdistill.snapshot.content import ContentHash
from kgdistill.snapshot.files import disk_errors, staged_folder, sync_file
from kgdistill.snapshot.leaks import before, check_no_future
from kgdistill.snapshot.snapshot import (
    MANIFEST,
    SCHEMA,
    Manifest,
    Snapshot,
    edge_file,
    edge_key,
    manifest_text,
    node_file,
    node_texts,
)
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import NodeType, RelationshipType, Schema, kept_schema
from kgdistill.store.undated import dating, undated

_OURS = {MANIFEST, SCHEMA, "nodes", "edges"}
_NEEDED = ("User", "Product")


def take_snapshot(
    store: GraphStore,
    folder: Path,
    *,
    cut: datetime | None,
    schema: Schema | None = None,
    needed: Sequence[str] = _NEEDED,
    sensitive: bool = True,
    zone: str = "UTC",
) -> Snapshot:
    """Freezes the graph as it was known before `cut`.

    Facts and events are read, never what is derived or written back. With a cut, events strictly before
    it stay; a node whose time is at or after it, or missing (which is said), goes with its edges;
    properties marked `cumulative` are left out, since later events change them; and other times that are
    at or after it are null, but for those marked `planned`. The folder appears whole or not at all,
    and takes the place of a former snapshot.

    Args:
        store: an open store that holds the schema's types.
        folder: where the snapshot is to lie; new, empty or a former snapshot.
        cut: naive is UTC; None takes everything that is known now.
        schema: the one that the store keeps where None.
        needed: labels that must have nodes; a catalogue to search has no users.
        sensitive: False leaves out what the schema declares sensitive.
        zone: in which a person reads its times, such as `Journal(store).time_zone()`; only kept.

    Raises:
        InputError: `folder` holds something else; a needed label has no nodes; an edge whose end is
            missing; an event without a time.
        DiskError: the disk is full or refuses; nothing is left behind, a former snapshot stays.
        LeakError: `check_no_future` found something; nothing is published.
        StoreError, SchemaError: from the store.
    """
    folder = Path(folder)
    _check_place(folder)
    if schema is None:
        schema = kept_schema(store)
    if not sensitive:
        schema = schema.guarded()
    if cut is not None:
        cut = naive_utc(cut)
    labels = [label for label, node in schema.nodes.items() if not node.output]
    edges = [e for e in schema.edges("fact", "event") if e[0] in labels and e[2] in labels]
    with (
        staged_folder(folder) as part,
        step("taking the snapshot", total=len(labels) + len(edges)) as progress,
    ):
        manifest = _written(
            store, schema, _Wanted(labels, edges, cut, needed, sensitive, zone), part, folder, progress
        )
        # What was really written is read back and checked, before anybody can open it.
        check_no_future(Snapshot(part, manifest, schema))
        with disk_errors(folder):
            (part / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
            sync_file(part / MANIFEST)
    return Snapshot(folder, manifest, schema)


class _Wanted(NamedTuple):
    labels: list[str]
    edges: list[EdgeType]
    cut: datetime | None
    needed: Sequence[str]
    sensitive: bool
    zone: str


def _written(
    store: GraphStore, schema: Schema, wanted: _Wanted, part: Path, folder: Path, progress: Step
) -> Manifest:
    """Writes every type into `part`; `folder` is what errors name."""
    labels, edges, cut, needed, _, zone = wanted
    content = ContentHash(_meaning(schema, labels, edges))
    files: dict[str, str] = {}
    with disk_errors(folder):
        (part / "nodes").mkdir()
        (part / "edges").mkdir()
        (part / SCHEMA).write_text(schema.model_dump_json(indent=1) + "\n", encoding="utf-8")
        files[SCHEMA] = sync_file(part / SCHEMA)
    rows: dict[str, int] = {}

    def keep(name: str, file: str, table: pa.Table) -> None:
        rows[name] = table.num_rows
        content.add(name, table)
        files[file] = _write(table, part, file, folder)
        progress.advance()

    known: dict[str, pa.Array] = {}
    kept: dict[str, pa.Array] = {}
    # By name: a store may list its types in any order, and equal graphs have equal hashes.
    for label in sorted(labels):
        progress.note(label)
        known[label], table = _nodes(store, schema, label, wanted)
        kept[label] = table.column(0)
        keep(label, node_file(label), table)
    _check_whole(store, rows, cut, needed)
    for edge in sorted(edges):
        progress.note(edge_key(edge))
        keep(edge_key(edge), edge_file(edge), _edges(store, schema, edge, wanted, known, kept))
    progress.note("")
    return Manifest(
        format=1,
        cut=cut,
        schema_digest=schema.digest(),
        content_hash=content.hexdigest(),
        nodes={label: rows[label] for label in labels},
        edges={edge_key(edge): rows[edge_key(edge)] for edge in edges},
        files=files,
        zone=zone,
    )


def take_events(
    store: GraphStore,
    edge: EdgeType,
    *,
    start: datetime,
    end: datetime | None,
    schema: Schema | None = None,
    include_future: Literal[True],
) -> pa.Table:
    """Events from `start` on, which may be at or after a cut. Only evaluation may call it.

    This is the one door through which rows at or after a cut are seen; what trains a model reads a
    snapshot.

    Args:
        store: an open store.
        edge: an edge type of the kind event.
        start: the first moment that counts; naive is UTC.
        end: the first moment that no longer counts; None for no end.
        schema: the one that the store keeps where None.
        include_future: True; has no default, so that every such reading is written out.

    Returns:
        source, target (string keys), then the properties that later events do not change, ordered by
        source, target and time.

    Raises:
        LeakError: `include_future` is not True.
        InputError: `edge` is no event, or `end` is before `start`.
    """
    if include_future is not True:
        raise LeakError("events at or after a cut are for evaluation only", hint="read a snapshot instead")
    schema = schema if schema is not None else kept_schema(store)
    rel = schema.relationship(edge)
    if rel.kind != "event" or rel.time is None:
        raise InputError(f"{edge_key(edge)} is of the kind {rel.kind}: it has no time")
    first, last = naive_utc(start), naive_utc(end) if end is not None else None
    if last is not None and last < first:
        raise InputError(f"the end {last.isoformat()} is before the start {first.isoformat()}")
    columns = [name for name, prop in rel.properties.items() if not prop.cumulative]
    table = store.read_relationships(edge, columns)
    times = table[rel.time]
    keep = pc.fill_null(pc.greater_equal(times, pa.scalar(first, pa.timestamp("us"))), False)
    if last is not None:
        keep = pc.and_(keep, before(times, last))
    return _sorted(table.filter(keep), rel)


def take_judgements(
    store: GraphStore,
    edge: EdgeType,
    *,
    schema: Schema | None = None,
    include_judgements: Literal[True],
) -> pa.Table:
    """What people judged, which no snapshot holds. Only evaluation may call it.

    Args:
        store: an open store.
        edge: an edge type of the kind judgement.
        schema: the one that the store keeps where None.
        include_judgements: True; has no default, so that every such reading is written out.

    Returns:
        source, target (string keys), the properties, and text: the source's own words; ordered by source and
        target.

    Raises:
        LeakError: `include_judgements` is not True.
        InputError: `edge` is no judgement.
    """
    if include_judgements is not True:
        raise LeakError("judgements are for evaluation only", hint="read a snapshot instead")
    schema = schema if schema is not None else kept_schema(store)
    rel, node = schema.relationship(edge), schema.node(edge[0])
    if rel.kind != "judgement":
        raise InputError(f"{edge_key(edge)} is of the kind {rel.kind}: it judges nothing")
    table = _sorted(store.read_relationships(edge, list(rel.properties)), rel)
    sources = store.read_nodes(edge[0], [n for n in node.text if n != node.key])
    place = pc.index_in(table["source"], value_set=_flat(sources[node.key]))
    return table.append_column("text", pa.array(node_texts(node, sources)).take(_flat(place)))


def _nodes(store: GraphStore, schema: Schema, label: str, wanted: _Wanted) -> tuple[pa.Array, pa.Table]:
    """Every key of `label`, and the table of the nodes that were known before the cut, by key."""
    node, cut = schema.node(label), wanted.cut
    columns = _kept(node, wanted)
    table = store.read_nodes(label, columns).combine_chunks()
    table = table.take(pc.sort_indices(table, sort_keys=[(node.key, "ascending")]))
    keys = _flat(table[node.key])
    if cut is not None and node.time is not None:
        if missing := table[node.time].null_count:
            notice(f"{undated(label, node, missing, len(table))}; {dating(label, node)}")
        table = table.filter(before(table[node.time], cut))
    table = _as_known(table, node, cut)
    types = pa.schema([schema.node_arrow_schema(label).field(name) for name in [node.key, *columns]])
    return keys, _flat_table(table.select(types.names).cast(types))


def _edges(
    store: GraphStore,
    schema: Schema,
    edge: EdgeType,
    wanted: _Wanted,
    known: dict[str, pa.Array],
    kept: dict[str, pa.Array],
) -> pa.Table:
    """The edges before the cut between kept nodes, with ids for keys."""
    rel, cut = schema.relationship(edge), wanted.cut
    columns = _kept(rel, wanted)
    table = store.read_relationships(edge, columns).combine_chunks()
    if rel.time is not None:
        if table[rel.time].null_count:
            raise InputError(
                f"{table[rel.time].null_count:,} edges have no {rel.time}, so nobody knows whether they "
                "are before the cut",
                where=f"{store.url}: {edge_key(edge)}",
                hint="give them a time, or delete them",
            )
        if cut is not None:
            table = table.filter(before(table[rel.time], cut))
    table = _as_known(table, rel, cut)
    ids = {}
    for side, label in (("source", edge[0]), ("target", edge[2])):
        ids[side] = pc.index_in(table[side], value_set=_flat(kept[label]))
        if ids[side].null_count:
            gone = table[side].filter(pc.invert(pc.is_in(table[side], value_set=known[label])))
            if len(gone):
                raise InputError(
                    f"{len(gone):,} edges have no {label} as their {side}; the first: {gone[0].as_py()!r}",
                    where=f"{store.url}: {edge_key(edge)}",
                    hint="ingest again; if something else is writing to the graph, wait until it is done",
                )
    types = schema.edge_arrow_schema(edge)
    fields = [("source", pa.int64()), ("target", pa.int64()), *(types.field(name) for name in columns)]
    ends = [ids["source"].cast(pa.int64()), ids["target"].cast(pa.int64())]
    result = pa.table([*ends, *(table[name] for name in columns)], schema=pa.schema(fields))
    both = pc.and_(pc.is_valid(result["source"]), pc.is_valid(result["target"]))
    return _flat_table(_sorted(result.filter(both), rel))


def _as_known(table: pa.Table, item: NodeType | RelationshipType, cut: datetime | None) -> pa.Table:
    """Without the times that were not known before the cut: when it was delivered, when they registered."""
    if cut is None:
        return table
    for name, prop in item.properties.items():
        if prop.type == "timestamp" and not prop.planned and name in table.column_names:
            column = table[name]
            known = pc.if_else(before(column, cut), column, pa.scalar(None, column.type))
            table = table.set_column(table.column_names.index(name), name, known)
    return table


def _sorted(table: pa.Table, rel: RelationshipType) -> pa.Table:
    # Whatever order the store gave: by the ends and the time, then by what else tells two edges apart.
    lead = [n for n in (rel.time, *rel.identity) if n is not None]
    rest = [n for n in table.column_names[2:] if not pa.types.is_nested(table.schema.field(n).type)]
    names = dict.fromkeys(["source", "target", *lead, *rest])
    keys = [(n, "ascending") for n in names if n in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def _kept(item: NodeType | RelationshipType, wanted: _Wanted) -> Sequence[str]:
    return [
        name
        for name, prop in item.properties.items()
        if (wanted.cut is None or not prop.cumulative) and (wanted.sensitive or not prop.sensitive)
    ]


def _write(table: pa.Table, part: Path, path: str, folder: Path) -> str:
    with disk_errors(folder):
        # Python opens the file, so that a full disk comes with its error number.
        with (part / path).open("wb") as file:
            pq.write_table(table, file, compression="zstd")
        return sync_file(part / path)


def _check_place(folder: Path) -> None:
    with disk_errors(folder):
        if not folder.exists():
            return
        if folder.is_dir():
            held = {p.name for p in folder.iterdir()}
            if not held or (MANIFEST in held and held <= _OURS):
                return
    raise InputError(
        "holds something else than a snapshot and is not overwritten",
        where=str(folder),
        hint="name a new folder",
    )


def _check_whole(
    store: GraphStore, nodes: dict[str, int], cut: datetime | None, needed: Sequence[str]
) -> None:
    then = f" before {cut.isoformat()}" if cut is not None else ""
    if not any(nodes.values()):
        raise InputError(f"the graph is empty{then}", where=store.url, hint="ingest something first")
    for label in needed:
        if nodes.get(label, 0) == 0:
            raise InputError(
                f"the graph has no {label}{then}", where=store.url, hint=f"ingest {label}s first"
            )


def _meaning(schema: Schema, labels: Sequence[str], edges: Sequence[EdgeType]) -> object:
    # What changes how the same rows are read; descriptions do not.
    return {
        "nodes": {label: [schema.node(label).text, schema.node(label).time] for label in labels},
        "edges": {edge_key(e): schema.relationship(e).time for e in edges},
    }


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def _flat_table(table: pa.Table) -> pa.Table:
    return pa.table([_flat(c) for c in table.columns], schema=table.schema)
