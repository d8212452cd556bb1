"""A snapshot is what was known at its cut: rows from then on change nothing in it, whatever they hold."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _tables import write_tables
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kgdistill.errors import LeakError
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.snapshot import Snapshot, check_no_future, take_snapshot
from kgdistill.snapshot.files import file_hash
from kgdistill.snapshot.snapshot import MANIFEST, edge_file, manifest_text
from kgdistill.store import EdgeType, MemoryStore, Schema, load_schema

CUT = datetime(2024, 1, 10)
OWN = {
    "GIFTED": {
        "kind": "event",
        "endpoints": [["User", "Product"]],
        "time": "at",
        "properties": {
            "at": {"type": "timestamp", "required": True},
            "channel": "string",
            "weight": "double",
            "delivered_at": "timestamp",
            "newest": {"type": "string", "cumulative": True},
        },
    },
    "FOLLOWED": {
        "kind": "event",
        "endpoints": [["User", "Brand"]],
        "time": "first_at",
        "properties": {
            "first_at": {"type": "timestamp", "required": True},
            "first_quantity": "int64",
            "channel": "string",
            "count": {"type": "int64", "cumulative": True},
        },
    },
}


def schema() -> Schema:
    """The project's own, with two event types of somebody's own."""
    raw = load_schema().model_dump(mode="json")
    raw["relationships"] |= OWN
    return Schema.model_validate(raw)


SCHEMA = schema()
EVENTS = SCHEMA.edges("event")


def value(kind: str, number: int) -> Any:
    return {
        "string": f"v{number}",
        "int64": number,
        "double": float(number),
        "bool": bool(number % 2),
        "timestamp": CUT + timedelta(days=number),
    }[kind]


def nodes() -> tuple[list[str], dict[str, pa.Table]]:
    """Two nodes of every label, known from the first day."""
    pieces, tables = [], {}
    for label, node in SCHEMA.nodes.items():
        if node.output:
            continue
        columns: dict[str, Any] = {"key": [f"{label}0", f"{label}1"]}
        properties = ""
        if node.time is not None:
            columns["known"] = [datetime(2024, 1, 1)] * 2
            properties = f", properties: {{{node.time}: known}}"
        tables[label.lower()] = pa.table(columns)
        pieces.append(
            f"  {label.lower()}:\n    files: none.csv\n    nodes:\n"
            f"      - {{label: {label}, key: key{properties}}}\n"
        )
    return pieces, tables


def graph(events: dict[EdgeType, pa.Table], folder: Path) -> Snapshot:
    """The snapshot at the cut of what ingestion makes of these rows."""
    pieces, tables = nodes()
    for edge, table in events.items():
        if not table.num_rows:
            continue
        name = "_".join(edge).lower()
        tables[name] = table
        rel = SCHEMA.relationship(edge)
        lines = "".join(f"          {p}: {p}\n" for p in rel.properties)
        pieces.append(
            f"  {name}:\n    files: none.csv\n    relationships:\n      - type: {edge[1]}\n"
            f"        from: {{{edge[0]}: source}}\n        to: {{{edge[2]}: target}}\n"
            f"        properties:\n{lines}"
        )
    mapping = parse_mapping("version: 1\nname: all\nsources:\n" + "".join(pieces))
    made = graph_tables(mapping, folder, schema=SCHEMA, tables=tables)
    assert made.rejects.num_rows == 0, made.rejects.to_pylist()
    with MemoryStore() as store:
        write_tables(store, SCHEMA, made)
        return take_snapshot(store, folder / "snapshot", cut=CUT, schema=SCHEMA)


def rows(edge: EdgeType, drawn: list[tuple[int, int, int, int | None]]) -> pa.Table:
    """Event rows: a source, a target, days from the cut, what the other properties say (None: nothing)."""
    rel = SCHEMA.relationship(edge)
    made = []
    for source, target, days, number in drawn:
        row: dict[str, Any] = {"source": f"{edge[0]}{source}", "target": f"{edge[2]}{target}"}
        for name, prop in rel.properties.items():
            if name in (rel.time, "last_at"):
                row[name] = CUT + timedelta(days=days)
            else:
                row[name] = None if number is None and not prop.required else value(prop.type, number or 0)
        made.append(row)
    return pa.Table.from_pylist(made, schema=SCHEMA.edge_arrow_schema(edge))


drawn = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 1),
        st.sampled_from([-3, -2, -1, 0, 1, 2]),
        st.none() | st.integers(1, 3),
    ),
    max_size=8,
)


# Without shrinking: every try folds every event type twice.
@settings(max_examples=3, phases=[Phase.reuse, Phase.generate])
@given(every=st.fixed_dictionaries(dict.fromkeys(EVENTS, drawn)))
def test_rows_at_or_after_the_cut_change_no_property_of_any_event(
    every: dict[EdgeType, list[tuple[int, int, int, int | None]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("as-of")
    # A pair known before the cut and told of again after it, for every type whatever was drawn.
    every = {edge: [*lines, (0, 0, -4, 3), (0, 0, 5, 1)] for edge, lines in every.items()}
    whole = graph({edge: rows(edge, lines) for edge, lines in every.items()}, folder / "whole")
    early = {edge: [line for line in lines if line[2] < 0] for edge, lines in every.items()}
    known = graph({edge: rows(edge, lines) for edge, lines in early.items()}, folder / "known")
    for edge in EVENTS:
        assert whole.edge_table(edge).equals(known.edge_table(edge)), edge
        assert whole.num_edges(edge) > 0
    assert whole.content_hash == known.content_hash


def test_the_first_row_says_it_even_where_it_says_nothing(tmp_path: Path) -> None:
    shared, followed = ("User", "GIFTED", "Product"), ("User", "FOLLOWED", "Brand")
    lines = [(0, 0, -2, None), (0, 0, -1, 2), (1, 0, -1, 1), (1, 0, -3, 3)]
    taken = graph({edge: rows(edge, lines) for edge in (shared, followed)}, tmp_path)
    for edge in (shared, followed):
        table = taken.edge_table(edge)
        assert table["channel"].to_pylist() == [None, "v3"], edge
        assert table[SCHEMA.relationship(edge).time].to_pylist() == [
            CUT - timedelta(days=2),
            CUT - timedelta(days=3),
        ]
    assert "newest" not in taken.edge_table(shared).column_names
    # Delivered after the cut: not known at it.
    assert taken.edge_table(shared)["delivered_at"].to_pylist() == [None, None]


@pytest.mark.parametrize("days", [0, 1])
def test_a_later_time_planted_in_a_snapshot_is_found(tmp_path: Path, days: int) -> None:
    shared = ("User", "GIFTED", "Product")
    taken = graph({shared: rows(shared, [(0, 0, -2, 1)])}, tmp_path)
    file = taken.folder / edge_file(shared)
    table = taken.edge_table(shared)
    late = pa.array([CUT + timedelta(days=days)], pa.timestamp("us"))
    planted = table.set_column(table.column_names.index("delivered_at"), "delivered_at", late)
    pq.write_table(planted, file)
    manifest = taken._manifest.model_copy(
        update={"files": {**taken._manifest.files, edge_file(shared): file_hash(file)}}
    )
    (taken.folder / MANIFEST).write_text(manifest_text(manifest))
    with pytest.raises(LeakError, match=r"GIFTED.*delivered_at"):
        check_no_future(Snapshot(taken.folder, manifest, SCHEMA))


def test_a_time_known_beforehand_stays(tmp_path: Path) -> None:
    later = datetime(2024, 6, 1)
    with MemoryStore() as store:
        store.apply_schema(SCHEMA)
        campaign = {"campaign_id": "c", "start_at": datetime(2024, 1, 1), "end_at": later}
        for label, row in (
            ("Campaign", campaign),
            ("User", {"user_id": "u"}),
            ("Product", {"product_id": "p"}),
        ):
            shape = SCHEMA.node_arrow_schema(label)
            store.write_nodes(label, pa.Table.from_pylist([row], schema=shape))
        taken = take_snapshot(store, tmp_path / "snapshot", cut=CUT, schema=SCHEMA)
    assert taken.node_table("Campaign")["end_at"].to_pylist() == [later]


def test_every_property_of_every_event_is_of_its_time_or_left_out() -> None:
    for edge, name in itertools.product(load_schema().edges("event"), ("last_at", "count", "spend")):
        prop = load_schema().relationship(edge).properties.get(name)
        assert prop is None or prop.cumulative, (edge, name)
