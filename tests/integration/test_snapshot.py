"""Snapshots: what stands in them, what must not, and what happens when writing one goes wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from _tables import write_rows
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kgdistill.errors import ArtefactError, DiskError, InputError, LeakError
from kgdistill.snapshot import (
    Snapshot,
    check_disjoint,
    check_no_future,
    open_snapshot,
    take,
    take_events,
    take_snapshot,
)
from kgdistill.snapshot.files import disk_errors, file_hash
from kgdistill.store import EdgeType, GraphStore, MemoryStore, Schema, load_schema

BOUGHT = ("User", "BOUGHT", "Product")
REDEEMED = ("User", "REDEEMED", "Coupon")
FOR = ("Coupon", "FOR", "Product")
MADE_BY = ("Product", "MADE_BY", "Brand")
EDGES = (BOUGHT, REDEEMED, FOR, MADE_BY)
START = datetime(2024, 1, 1)
CUT = START + timedelta(days=3)
USERS = ["ann", "bob", "cy"]
PRODUCTS = ["p2", "p1", "p10", "é"]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def narrow() -> Schema:
    """The types that the cut is tried on: fewer tables make a store in less time."""
    return load_schema().restricted(("User", "Product", "Coupon"), ("BOUGHT", "REDEEMED", "FOR"))


def fill(store: GraphStore, rows: dict[Any, list[dict[str, Any]]], schema: Schema | None = None) -> None:
    schema = schema if schema is not None else load_schema()
    store.apply_schema(schema)
    write_rows(store, schema, rows)


def graph() -> dict[Any, list[dict[str, Any]]]:
    """Two purchases before the cut, one at it, one after; c2 starts at the cut."""
    bought = [("ann", "p1", 0.0), ("ann", "p2", 2.5), ("bob", "p1", 3.0), ("bob", "p10", 4.0)]
    return {
        "User": [{"user_id": u, "age": None} for u in USERS],
        "Product": [
            {"product_id": "p1", "title": "Rye", "brand_text": "Mill", "category_text": "F > BREAD"},
            {"product_id": "p2", "title": "Milk", "brand_text": "", "attributes": "1 l"},
            {"product_id": "p10", "price": 2.5},
        ],
        "Brand": [{"brand_id": "b1", "name": "Mill"}],
        "Coupon": [{"coupon_id": f"c{i}", "start_at": day(i + 1)} for i in (0, 2)] + [{"coupon_id": "c9"}],
        BOUGHT: [
            {"source": u, "target": p, "first_at": day(d), "first_quantity": 1, "last_at": day(9), "count": 2}
            for u, p, d in bought
        ],
        REDEEMED: [{"source": "ann", "target": "c0", "at": day(d)} for d in (2.0, 1.5, 8.0)],
        FOR: [{"source": c, "target": "p1"} for c in ("c0", "c2", "c9")],
        MADE_BY: [{"source": "p1", "target": "b1"}],
        ("Product", "ALSO_BOUGHT", "Product"): [
            {"source": "p1", "target": "p2", "support": 1, "lift": 1.0, "cut": day(9)}
        ],
        ("User", "RECOMMENDED", "Product"): [
            {"source": "ann", "target": "p10", "run": "r", "rank": 1, "score": 1.0}
        ],
    }


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill(opened, graph())
        yield opened


@pytest.fixture
def snapshot(store: GraphStore, tmp_path: Path) -> Snapshot:
    return take_snapshot(store, tmp_path / "snap", cut=CUT)


def by_keys(snapshot: Snapshot, edge: EdgeType) -> list[dict[str, Any]]:
    """The edges with keys for ids, as a store would list them."""
    rows = snapshot.edge_table(edge).to_pylist()
    source, target = snapshot.keys(edge[0]), snapshot.keys(edge[2])
    return [r | {"source": source[r["source"]], "target": target[r["target"]]} for r in rows]


# Half days around the cut, so that events fall before, on and after it.
moments = st.integers(0, 8).map(lambda half: day(half / 2)) | st.sampled_from(
    [CUT - timedelta(microseconds=1), CUT + timedelta(microseconds=1)]
)
purchases = st.dictionaries(
    st.tuples(st.sampled_from(USERS), st.sampled_from(PRODUCTS)),
    st.tuples(moments, st.none() | st.integers(0, 9), st.none() | st.floats(-5, 5)),
    min_size=1,
    max_size=10,
)
coupons = st.lists(st.none() | moments, max_size=3)
redemptions = st.sets(st.tuples(st.sampled_from(USERS), st.integers(0, 2), moments), max_size=6)


# Without shrinking: every try fills real stores, and a failure should be told within seconds.
@settings(max_examples=20, phases=[Phase.reuse, Phase.generate])
@given(
    purchases, coupons, redemptions, st.none() | st.just(CUT), st.randoms(use_true_random=False), st.data()
)
def test_a_snapshot_is_the_graph_filtered_at_the_cut_and_its_hash_the_graphs_own(
    tmp_path_factory: pytest.TempPathFactory,
    bought: dict[tuple[str, str], tuple[datetime, int | None, float | None]],
    starts: list[datetime | None],
    redeemed: set[tuple[str, int, datetime]],
    cut: datetime | None,
    order: Any,
    data: st.DataObject,
) -> None:
    rows: dict[Any, list[dict[str, Any]]] = {
        "User": [{"user_id": u} for u in USERS],
        "Product": [{"product_id": p} for p in PRODUCTS],
        "Coupon": [{"coupon_id": f"c{i}", "start_at": t} for i, t in enumerate(starts)],
        BOUGHT: [
            {
                "source": u,
                "target": p,
                "first_at": t,
                "first_quantity": q,
                "last_at": t,
                "count": 1,
                "spend": s,
            }
            for (u, p), (t, q, s) in bought.items()
        ],
        REDEEMED: [
            {"source": u, "target": f"c{c}", "at": t} for u, c, t in sorted(redeemed) if c < len(starts)
        ],
        FOR: [{"source": f"c{i}", "target": p} for i in range(len(starts)) for p in PRODUCTS[:2]],
    }
    root, schema = tmp_path_factory.mktemp("cut"), narrow()
    with MemoryStore() as store:
        fill(store, rows, schema)
        taken = take_snapshot(store, root / "one", cut=cut, schema=schema)
        later = take_events(
            store, BOUGHT, start=CUT, end=None, include_future=True, schema=schema
        ).to_pylist()

    def early(moment: datetime | None) -> bool:
        return cut is None or (moment is not None and moment < cut)

    known = {f"c{i}" for i, t in enumerate(starts) if early(t)}
    assert list(taken.keys("Coupon")) == sorted(known)
    assert list(taken.keys("Product")) == sorted(PRODUCTS)
    changing = {"last_at", "count", "spend"} if cut is not None else set()
    purchase = [{k: v for k, v in r.items() if k not in changing} for r in rows[BOUGHT]]
    assert by_keys(taken, BOUGHT) == sorted(
        (r for r in purchase if early(r["first_at"])), key=lambda r: (r["source"], r["target"])
    )
    assert by_keys(taken, REDEEMED) == [r for r in rows[REDEEMED] if early(r["at"]) and r["target"] in known]
    assert by_keys(taken, FOR) == sorted(
        (r for r in rows[FOR] if r["source"] in known), key=lambda r: (r["source"], r["target"])
    )
    if cut is not None:
        # What evaluation sees and what training sees: no row twice, none lost.
        seen = sorted([*by_keys(taken, BOUGHT), *later], key=lambda r: (str(r["source"]), str(r["target"])))
        assert seen == sorted(purchase, key=lambda r: (r["source"], r["target"]))

    with MemoryStore() as store:
        fill(store, {key: order.sample(items, len(items)) for key, items in rows.items()}, schema)
        assert take_snapshot(store, root / "two", cut=cut, schema=schema).content_hash == taken.content_hash
        # One row that stands in the snapshot, changed in one value.
        inside = [r for r in rows[BOUGHT] if early(r["first_at"])]
        if inside:
            row = data.draw(st.sampled_from(inside))
            # A null is not a zero.
            other = 0 if row["first_quantity"] is None else row["first_quantity"] + 1
            fill(store, {BOUGHT: [row | {"first_quantity": other}]}, schema)
            assert (
                take_snapshot(store, root / "three", cut=cut, schema=schema).content_hash
                != taken.content_hash
            )


def test_an_opened_snapshot_is_the_one_that_was_taken(snapshot: Snapshot) -> None:
    opened = open_snapshot(snapshot.folder)
    assert (opened.cut, opened.content_hash, opened.schema) == (CUT, snapshot.content_hash, load_schema())
    manifest = json.loads((snapshot.folder / "manifest.json").read_text())
    assert manifest["cut"] == "2024-01-04T00:00:00"
    assert manifest["edges"]["User-BOUGHT-Product"] == 2 == opened.num_edges(BOUGHT)
    assert "Embedding" not in opened.labels
    assert {e[1] for e in opened.edge_types}.isdisjoint({"ALSO_BOUGHT", "RECOMMENDED"})
    for edge in EDGES:
        assert opened.edge_table(edge).equals(snapshot.edge_table(edge))
    # Written as day 2, then day 1.5.
    assert opened.times(REDEEMED).tolist() == [day(1.5), day(2)]
    assert opened.times(FOR) is None
    assert opened.index("Product", ["p2", "nothing", "p1"]).tolist() == [2, -1, 0]
    assert opened.index("Query", ["p1"]).tolist() == [-1]


def test_an_aware_cut_is_the_same_moment(store: GraphStore, snapshot: Snapshot, tmp_path: Path) -> None:
    aware = CUT.replace(tzinfo=timezone.utc).astimezone(timezone(timedelta(hours=-7)))
    assert take_snapshot(store, tmp_path / "aware", cut=aware).cut == CUT
    events = take_events(store, BOUGHT, start=aware, end=day(4), include_future=True)
    assert events.select(["source", "target"]).to_pylist() == [{"source": "bob", "target": "p1"}]


def test_texts_join_what_is_there(snapshot: Snapshot) -> None:
    assert snapshot.texts("Product") == ["Rye [SEP] Mill [SEP] F > BREAD", "", "Milk [SEP] 1 l"]
    assert snapshot.texts("User") == ["", "", ""]


def test_hetero_data_has_every_edge_and_its_reverse_with_times_in_seconds(snapshot: Snapshot) -> None:
    data = snapshot.to_hetero_data()
    assert {label: data[label].num_nodes for label in snapshot.labels} == {
        label: snapshot.num_nodes(label) for label in snapshot.labels
    }
    assert data.validate()
    # ann, bob, cy and p1, p10, p2 in this order.
    assert data[BOUGHT].edge_index.tolist() == [[0, 0], [0, 2]]
    back = data["Product", "rev_BOUGHT", "User"]
    assert back.edge_index.tolist() == [[0, 2], [0, 0]]
    seconds = [int(day(d).replace(tzinfo=timezone.utc).timestamp()) for d in (0.0, 2.5)]
    assert data[BOUGHT].edge_time.tolist() == back.edge_time.tolist() == seconds
    assert data["Category", "rev_PART_OF", "Category"].edge_index.shape == (2, 0)
    assert "edge_time" not in data[MADE_BY]


def rewrite(snapshot: Snapshot, path: str, change: Callable[[pa.Table], pa.Table]) -> Snapshot:
    """Plants a change and makes the manifest agree, so that only the leak check can see it."""
    file, place = snapshot.folder / path, snapshot.folder / "manifest.json"
    table = change(pq.read_table(file))
    pq.write_table(table, file)
    manifest = json.loads(place.read_text())
    manifest["files"][path] = file_hash(file)
    kind, name = path.removesuffix(".parquet").split("/")
    manifest[kind][name] = table.num_rows
    place.write_text(json.dumps(manifest))
    return open_snapshot(snapshot.folder)


def plus(row: dict[str, Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)])


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (
            "edges/User-BOUGHT-Product.parquet",
            plus({"source": 0, "target": 1, "first_at": CUT}),
            r"1 rows of User-BOUGHT-Product .* the first: 2024-01-04T00:00:00",
        ),
        (
            "edges/User-REDEEMED-Coupon.parquet",
            plus({"source": 0, "target": 0, "at": None}),
            r"1 rows of User-REDEEMED-Coupon .* without any time",
        ),
        ("nodes/Coupon.parquet", plus({"coupon_id": "x", "start_at": day(7)}), r"of Coupon .* 2024-01-08"),
        (
            "edges/User-BOUGHT-Product.parquet",
            lambda table: table.append_column("count", pa.array([1, 2])),
            r"User-BOUGHT-Product\.count is changed by later events",
        ),
        (
            "edges/User-BOUGHT-Product.parquet",
            lambda table: table.drop_columns(["first_at"]),
            "lost its time",
        ),
    ],
)
def test_the_future_planted_in_a_snapshot_is_found(
    snapshot: Snapshot, path: str, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    check_no_future(snapshot)
    with pytest.raises(LeakError, match=said):
        check_no_future(rewrite(snapshot, path, change))


def test_a_snapshot_with_the_future_in_it_is_never_published(
    store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A defect in the filter: everything counts as before the cut.
    monkeypatch.setattr(take, "before", lambda times, cut: pc.is_valid(times))
    with pytest.raises(LeakError, match="not before the cut"):
        take_snapshot(store, tmp_path / "snap", cut=CUT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [("edges", "User-RECOMMENDED-Product", "kind output"), ("nodes", "Embedding", "written back by runs")],
)
def test_what_a_run_wrote_back_is_found_in_a_snapshot(
    snapshot: Snapshot, kind: str, name: str, said: str
) -> None:
    path = f"{kind}/{name}.parquet"
    pq.write_table(pa.table({"source": pa.array([0])}), snapshot.folder / path)
    with pytest.raises(LeakError, match=said):
        check_no_future(rewrite(snapshot, path, lambda table: table))


edge_sets = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=8)


def as_index(edges: set[tuple[int, int]]) -> np.ndarray[Any, Any]:
    return np.array(sorted(edges), np.int64).reshape(-1, 2).T


@given(edge_sets, edge_sets, edge_sets)
def test_supervised_edges_are_found_among_the_messages_and_their_reverse(
    messages: set[tuple[int, int]], back: set[tuple[int, int]], labels: set[tuple[int, int]]
) -> None:
    reverse = as_index(back)[::-1]
    if labels & (messages | back):
        with pytest.raises(LeakError, match=f"{len(labels & messages or labels & back)} supervised edges"):
            check_disjoint(as_index(messages), as_index(labels), 4, reverse)
    else:
        check_disjoint(as_index(messages), as_index(labels), 4, reverse)


@pytest.mark.parametrize(
    "labels", [np.zeros((3, 2), np.int64), np.zeros((2, 1)), np.array([[0], [4]]), np.array([[-1], [0]])]
)
def test_edges_that_cannot_be_compared_are_refused(labels: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match="label_edges"):
        check_disjoint(np.zeros((2, 0), np.int64), labels, 4)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "nodes/User.parquet").unlink(), r"User\.parquet: the file is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "no finished snapshot"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json: is no manifest"),
        (lambda folder: (folder / "schema.json").write_text("{}"), r"schema\.json: was altered"),
        (
            lambda folder: (folder / "edges/User-BOUGHT-Product.parquet").write_bytes(b"PAR1"),
            r"User-BOUGHT-Product\.parquet: was altered",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"User": 3', '"../User": 3')
            ),
            "contradicts itself",
        ),
    ],
)
def test_a_damaged_snapshot_is_refused_and_the_file_named(
    snapshot: Snapshot, damage: Callable[[Path], object], said: str
) -> None:
    damage(snapshot.folder)
    with pytest.raises(ArtefactError, match=said):
        open_snapshot(snapshot.folder)


class Watched(MemoryStore):
    """A store in which something happens when a table is read."""

    def __init__(self, edge: EdgeType, then: Callable[[], object]) -> None:
        super().__init__()
        self._watched = edge, then

    def read_relationships(self, edge: EdgeType, columns: Sequence[str] | None = None) -> pa.Table:
        if edge == self._watched[0]:
            self._watched[1]()
        return super().read_relationships(edge, columns)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_snapshot_leaves_the_former_one_and_nothing_else(snapshot: Snapshot) -> None:
    with Watched(FOR, interrupt) as store:
        fill(store, graph())
        with pytest.raises(KeyboardInterrupt):
            take_snapshot(store, snapshot.folder, cut=None)
    assert open_snapshot(snapshot.folder).content_hash == snapshot.content_hash
    assert os.listdir(snapshot.folder.parent) == ["snap"]


def test_a_killed_snapshot_never_looks_finished(tmp_path: Path) -> None:
    program = f"""
        import os, signal, sys
        sys.path[:0] = {sys.path!r}
        from test_snapshot import FOR, Path, Watched, fill, graph, take_snapshot
        store = Watched(FOR, lambda: os.kill(os.getpid(), signal.SIGKILL))
        fill(store, graph())
        take_snapshot(store, Path({str(tmp_path / "snap")!r}), cut=None)
    """
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=folder, check=False)
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".snap.part-")
    for folder in (tmp_path / "snap", tmp_path / left[0]):
        with pytest.raises(ArtefactError, match="no finished snapshot"):
            open_snapshot(folder)


def test_a_full_disk_leaves_no_half_snapshot(store: GraphStore, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of a file stops the writer in the middle of one, as a full disk would.
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(DiskError, match=r"snap: .*too large"):
            take_snapshot(store, tmp_path / "snap", cut=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_is_said_so(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match=r"(?s)snap: the disk is full.*free some space"),
        disk_errors(tmp_path / "snap"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_former_snapshot_is_replaced_and_anything_else_is_kept(
    store: GraphStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    again = take_snapshot(store, snapshot.folder, cut=None)
    assert open_snapshot(snapshot.folder).content_hash == again.content_hash != snapshot.content_hash
    assert os.listdir(tmp_path) == ["snap"]
    (snapshot.folder / "notes.txt").write_text("mine")
    for place in (snapshot.folder, snapshot.folder / "notes.txt"):
        with pytest.raises(InputError, match="not overwritten"):
            take_snapshot(store, place, cut=None)
    assert (snapshot.folder / "notes.txt").read_text() == "mine"


class Losing(MemoryStore):
    """A store from which a product goes while it is being read."""

    def read_nodes(self, label: str, columns: Sequence[str] | None = None) -> pa.Table:
        table = super().read_nodes(label, columns)
        return table.filter(pc.field(table.column_names[0]) != "p2")


@pytest.mark.parametrize(
    ("kind", "without", "said"),
    [
        (MemoryStore, {"User", "Product", "Brand", "Coupon"}, "the graph is empty"),
        (MemoryStore, {"Product"}, "the graph has no Product"),
        (MemoryStore, {"User"}, "the graph has no User"),
        (Losing, set(), "User-BOUGHT-Product: 1 edges have no Product as their target; the first: 'p2'"),
    ],
)
def test_a_graph_that_cannot_be_learnt_from_is_refused(
    tmp_path: Path, kind: type[MemoryStore], without: set[str], said: str
) -> None:
    rows = {k: v for k, v in graph().items() if not without or (isinstance(k, str) and k not in without)}
    with kind() as store:
        fill(store, rows)
        with pytest.raises(InputError, match=said):
            take_snapshot(store, tmp_path / "snap", cut=None)
    assert list(tmp_path.iterdir()) == []


def test_later_events_are_given_only_to_whom_asks_for_the_future(store: GraphStore) -> None:
    with pytest.raises(LeakError, match="evaluation only"):
        take_events(store, BOUGHT, start=CUT, end=None, include_future=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Product-MADE_BY-Brand is of the kind fact"):
        take_events(store, MADE_BY, start=CUT, end=None, include_future=True)
    with pytest.raises(InputError, match="is before the start"):
        take_events(store, BOUGHT, start=CUT, end=START, include_future=True)
