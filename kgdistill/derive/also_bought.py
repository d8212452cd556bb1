"""Relationships computed from events: what the same users bought or viewed."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.derive.co_occurrence import Choices, first_of, nearest_items, pair_table
from kgdistill.derive.state import former_of, read_state, write_state
from kgdistill.errors import InputError, SchemaError
from kgdistill.ingest.archive import Archive
from kgdistill.ingest.model import GraphTables, type_name
from kgdistill.ingest.outputs import Outputs
from kgdistill.ingest.projection import kept_by
from kgdistill.moment import naive_utc
from kgdistill.store.protocol import EdgeType, GraphStore

ALSO_BOUGHT: EdgeType = ("Product", "ALSO_BOUGHT", "Product")
VIEWED_TOGETHER: EdgeType = ("Product", "VIEWED_TOGETHER", "Product")
BRAND_SIMILAR: EdgeType = ("Brand", "BRAND_SIMILAR", "Brand")
BOUGHT: EdgeType = ("User", "BOUGHT", "Product")
_VIEWED: EdgeType = ("User", "VIEWED", "Product")
_MADE_BY: EdgeType = ("Product", "MADE_BY", "Brand")
# Further partners in a state for each one that is wanted; changes use these up before an item is counted.
_SPARE = 2
_MEASURES = ["support", "lift", "jaccard", "cut"]


@dataclass(frozen=True)
class Derivation:
    """What is derived from what.

    Attributes:
        edge: the relationships that are made.
        event: those that they are made of; at or after the cut, these do not count.
        quantity: the event's property that says how many; 0 is none. Empty where it has none.
        through: a fact that leads from the event's target to what is compared; None for the target itself.
    """

    edge: EdgeType
    event: EdgeType
    quantity: str = ""
    through: EdgeType | None = None


DERIVATIONS: dict[EdgeType, Derivation] = {
    d.edge: d
    for d in (
        Derivation(ALSO_BOUGHT, BOUGHT, "first_quantity"),
        Derivation(VIEWED_TOGETHER, _VIEWED),
        Derivation(BRAND_SIMILAR, BOUGHT, "first_quantity", _MADE_BY),
    )
}


@dataclass(frozen=True)
class DeriveReport:
    """What a derivation did.

    Attributes:
        type: the relationships' type.
        rows: how many there are now.
        written: how many of them are new or have other values than before.
        deleted: how many former ones are gone.
        items: how many products or brands were chosen by anybody.
        counted: for how many of them the partners were counted, rather than kept.
        cut: UTC.
        seconds: the time it took.
        archive: the folder of the archive that keeps the relationships too; None: none does.
    """

    type: str
    rows: int
    written: int
    deleted: int
    items: int
    counted: int
    cut: datetime
    seconds: float
    archive: Path | None = None


def derived_table(
    source: GraphTables | GraphStore,
    edge: EdgeType,
    *,
    cut: datetime,
    top_k: int = 20,
    min_support: int = 5,
) -> pa.Table:
    """ALSO_BOUGHT, VIEWED_TOGETHER or BRAND_SIMILAR from events strictly before `cut`.

    An event counts when first_at < cut and, for purchases, first_quantity is above 0 or null. `support` is
    how many users chose both, `lift` is support * users / (users of one * users of the other) with the
    users who chose anything, `jaccard` is support / users of either. A pair stays when one is among the
    other's `top_k` by the cosine support / sqrt(users * users), which lets neither the popular nor the
    rare win; equal ones by the order of their ids. Needs about 300 MB on a hundred thousand products,
    whatever their pairs.

    Args:
        source: tables or a store.
        edge: one of `DERIVATIONS`.
        cut: naive is UTC.
        top_k: partners for each, at least 1.
        min_support: least number of common users, at least 1.

    Returns:
        source, target (string, source < target), support (int64), lift, jaccard (float64),
        cut (timestamp us), ordered by source, then target.

    Raises:
        InputError: top_k or min_support below 1.
        SchemaError: the store does not know a type that is needed.
    """
    moment = _checked(cut, top_k, min_support)
    choices = _choices(source, DERIVATIONS[edge], moment)
    nearest, _ = nearest_items(choices, top_k, min_support)
    return pair_table(choices, nearest, np.datetime64(moment, "us"))


def also_bought(
    source: GraphTables | GraphStore | pa.Table, *, cut: datetime, top_k: int = 20, min_support: int = 5
) -> pa.Table:
    """Which products were bought by the same users: `derived_table` of ALSO_BOUGHT.

    Args:
        source: tables, a store, or the BOUGHT table alone.
        cut, top_k, min_support: as for `derived_table`.
    """
    tables = GraphTables({}, {BOUGHT: source}) if isinstance(source, pa.Table) else source
    return derived_table(tables, ALSO_BOUGHT, cut=cut, top_k=top_k, min_support=min_support)


def derive(
    store: GraphStore,
    edge: EdgeType,
    *,
    cut: datetime,
    top_k: int = 20,
    min_support: int = 5,
    state: Path | None = None,
    archive: str | Path | None = None,
    wait_s: float = 0.0,
) -> DeriveReport:
    """Brings the store's relationships of `edge` to what `derived_table` makes of its events.

    Only what differs from the stored ones is written. With a `state` folder, the next derivation with the
    same cut and limits counts only what changed events can have altered, to the same result. A state that
    is missing, damaged or of another cut only costs the full computation.

    Args:
        store: where the events are.
        edge: one of `DERIVATIONS`.
        cut, top_k, min_support: as for `derived_table`.
        state: a folder for what was seen and found, or None; it holds user keys, as private as the store.
        archive: the store's archive, which keeps the relationships too, so that `kgdistill store rebuild`
            brings them back. None: the one that the store was filled from, if it is still there.
        wait_s: how long to wait for another writer.

    Raises:
        InputError: as `derived_table`.
        SchemaError: the store does not know a type that is needed.
        StoreError: from the store.
        DiskError: the state cannot be written; the relationships are.
    """
    begin = time.monotonic()
    moment = _checked(cut, top_k, min_support)
    # Before the work, since a store that lacks the type refuses here.
    held = _held(store, edge)
    parameters = {"type": type_name(edge), "cut": moment.isoformat()}
    parameters |= {"top_k": str(top_k), "min_support": str(min_support)}
    file = state / f"{type_name(edge)}.parquet" if state is not None else None
    left = read_state(file, parameters) if file is not None else None
    choices = _choices(store, DERIVATIONS[edge], moment, left.choices if left else None)
    former = former_of(left, choices) if left is not None else None
    spare = 0 if file is None else _SPARE * top_k
    nearest, counted = nearest_items(choices, top_k, min_support, spare=spare, former=former)
    table = pair_table(choices, first_of(nearest, top_k), np.datetime64(moment, "us"))
    kept = kept_by(store, archive)
    gone, changed = _bring(store, edge, held, table, kept, wait_s)
    if file is not None and (former is None or former.changed.any()):
        write_state(file, parameters, choices, nearest)
    return DeriveReport(
        type=edge[1],
        rows=table.num_rows,
        written=changed,
        deleted=gone,
        items=int(np.count_nonzero(np.bincount(choices.item, minlength=1))),
        counted=counted,
        cut=moment,
        seconds=time.monotonic() - begin,
        archive=kept.folder if kept is not None else None,
    )


def write_also_bought(store: GraphStore, *, cut: datetime, top_k: int = 20, min_support: int = 5) -> int:
    """Brings ALSO_BOUGHT to the store's purchases before `cut`: `derive` without a state.

    Returns:
        How many relationships there are now.
    """
    return derive(store, ALSO_BOUGHT, cut=cut, top_k=top_k, min_support=min_support).rows


def _held(store: GraphStore, edge: EdgeType) -> pa.Table:
    try:
        return store.read_relationships(edge, _MEASURES)
    except SchemaError as error:
        raise SchemaError(
            f"the store cannot hold {type_name(edge)}: {error.message}",
            where=store.url,
            hint="apply a schema that has it, such as the project's graph/schema.yaml: --schema FILE",
        ) from error


def _bring(
    store: GraphStore, edge: EdgeType, held: pa.Table, wanted: pa.Table, kept: Archive | None, wait_s: float
) -> tuple[int, int]:
    """Writes what differs, into the archive too; returns how many were deleted and written."""
    gone, changed = _difference(held, wanted)
    with contextlib.ExitStack() as stack:
        if kept is not None:
            stack.enter_context(Outputs(kept).keep("derived", type_name(edge), {edge: wanted}, wait_s=wait_s))
        if gone.num_rows or changed.num_rows:
            stack.enter_context(store.changes(wait_s=wait_s))
            if gone.num_rows:
                store.delete_relationships(edge, gone)
            if changed.num_rows:
                store.write_relationships(edge, changed)
    return gone.num_rows, changed.num_rows


def _checked(cut: datetime, top_k: int, min_support: int) -> datetime:
    for name, value in (("top_k", top_k), ("min_support", min_support)):
        if value < 1:
            raise InputError(f"{name} is {value}; it is at least 1")
    return naive_utc(cut)


def _choices(
    source: GraphTables | GraphStore, derivation: Derivation, cut: datetime, known: pa.Table | None = None
) -> Choices:
    """Who chose what before the cut, with codes for the keys of `known` (left, right) as well."""
    quantity = derivation.quantity
    columns = ["first_at", *([quantity] if quantity else [])]
    events = _rows(source, derivation.event, columns)
    keep = pc.less(events["first_at"], pa.scalar(cut, pa.timestamp("us")))
    if quantity in events.column_names:
        keep = pc.and_(keep, pc.fill_null(pc.greater(events[quantity], 0), True))
    chosen = events.filter(keep).select(["source", "target"])
    if derivation.through is not None:
        facts = _rows(source, derivation.through, []).rename_columns(["target", "thing"])
        chosen = chosen.join(facts, "target", join_type="inner").select(["source", "thing"])
    return Choices.of(
        chosen.column(0),
        chosen.column(1),
        users=known["left"] if known is not None else None,
        items=known["right"] if known is not None else None,
    )


def _rows(source: GraphTables | GraphStore, edge: EdgeType, columns: list[str]) -> pa.Table:
    if not isinstance(source, GraphTables):
        return source.read_relationships(edge, columns)
    table = source.edges[edge]
    return table.select(["source", "target", *(c for c in columns if c in table.column_names)])


def _difference(held: pa.Table, wanted: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The ends of stored relationships that are not wanted, and the wanted ones that are not stored so."""
    ends = ["source", "target"]
    stored = held.append_column("stored", pa.array(np.ones(held.num_rows, dtype=bool)))
    gone = held.select(ends).join(wanted.select(ends), ends, join_type="left anti")
    both = wanted.join(stored, ends, right_suffix="_stored", join_type="left outer")
    same = pc.is_valid(both["stored"])
    for name in _MEASURES:
        same = pc.and_(same, pc.fill_null(pc.equal(both[name], both[f"{name}_stored"]), False))
    return gone, both.filter(pc.invert(same)).select(wanted.column_names)
