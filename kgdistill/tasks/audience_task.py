"""A task that finds candidates for an anchor, on one graph: whom it reached, who was a positive, by time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import scipy.sparse as sp

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot import Snapshot
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.audience import NOT_STARTED, AudienceData, MemberGroups, TimedPairs
from kgdistill.tasks.audience_edges import FactStep, audience_edges
from kgdistill.tasks.counted import is_counted
from kgdistill.tasks.item_groups import fact_groups
from kgdistill.tasks.spec import AnchorsByTime, MatchSpec
from kgdistill.tasks.splits import PART_NAMES, TEST, TRAIN, VALIDATION, Parts

_MICRO = "datetime64[us]"
_QUARTER, _HOUR, _DAY = 900_000_000, 3_600_000_000, 86_400_000_000


def audience_data(snapshot: Snapshot, spec: MatchSpec) -> AudienceData:
    """What a snapshot knows of candidates and anchors, without vectors; ids are the snapshot's."""
    edges = audience_edges(spec, snapshot.schema)
    anchor = spec.anchors.label
    history = _timed(snapshot, edges.history)
    reached = None if edges.reached is None else _timed(snapshot, edges.reached, spec.candidates.label)
    if reached is not None and not len(reached):
        reached = None
    starts, ends = anchor_times(snapshot, spec)
    positives = _timed(snapshot, edges.positives)
    if edges.through is not None:
        positives = _led_on(snapshot, edges.through, positives, reached, (starts, ends))
    for told in (reached, positives):
        if snapshot.schema.node(anchor).time is None and told is not None:
            np.minimum.at(starts, told.what, told.at)
    items = snapshot.num_nodes(edges.item)
    members = _members(snapshot, edges.paths, (len(starts), items))
    return AudienceData(
        snapshot.num_nodes(spec.candidates.label), items, history, positives, reached, starts,
        [members.indices[a:b].astype(np.int64) for a, b in itertools.pairwise(members.indptr)],
        shared_groups(snapshot, edges.item),
    )  # fmt: skip


def shared_groups(
    snapshot: Snapshot, label: str, shuffle: np.random.Generator | None = None
) -> tuple[MemberGroups, ...]:
    """The groups of a label's facts, and those above them."""
    out = []
    for family in fact_groups(snapshot, label, shuffle=shuffle):
        if family.kind != "pair" and family.label is not None:
            node, pairs = snapshot.schema.node(family.label), family.incidence.tocoo()
            table = snapshot.node_table(family.label)
            column = table[node.name if node.name in table.column_names else node.key]
            names = tuple(
                str(name or key)
                for name, key in zip(column.to_pylist(), snapshot.keys(family.label), strict=True)
            )
            rows, groups = (np.asarray(part, np.int64) for part in (pairs.row, pairs.col))
            out.append(MemberGroups(family.name, rows, groups, names))
    return tuple(out)


def anchor_times(snapshot: Snapshot, spec: MatchSpec) -> tuple[IntArray, IntArray]:
    """When each anchor starts and ends, microseconds since 1970, int64 [anchors]; far off where untold.

    Where all start and end at one time of day, these are dates: the last day counts to its end.
    """
    node, table = snapshot.schema.node(spec.anchors.label), snapshot.node_table(spec.anchors.label)
    end = spec.protocol.end if isinstance(spec.protocol, AnchorsByTime) else None
    out = []
    for name in (node.time, end):
        told = np.full(table.num_rows, NOT_STARTED, np.int64)
        if name is not None and name in table.column_names:
            column = table[name]
            known = pc.is_valid(column).to_numpy()
            told[known] = column.drop_null().to_numpy().astype(_MICRO).astype(np.int64)
        out.append(told)
    starts, ends = out
    known = ends != NOT_STARTED
    if known.any() and _are_dates(starts[starts != NOT_STARTED], ends[known]):
        ends[known] += _DAY - 1
    return starts, ends


def _are_dates(starts: IntArray, ends: IntArray) -> bool:
    """Whether they can be midnights of one zone, which daylight saving may shift by an hour."""
    hours = np.unique(np.concatenate([starts, ends]) % _DAY)
    apart = len(starts) > 1 and not np.isin(starts % _DAY, ends % _DAY).any()
    if apart or (hours % _QUARTER).any():
        return False
    return len(hours) == 1 or (len(hours) == 2 and bool(np.isin(np.diff(hours), (_HOUR, _DAY - _HOUR)).all()))


def _timed(snapshot: Snapshot, edge: EdgeType, who: str | None = None) -> TimedPairs:
    source, target = snapshot.edge_index(edge)
    if who is not None and edge[0] != who:
        source, target = target, source
    times = snapshot.times(edge)
    assert times is not None
    keep = is_counted(snapshot.edge_table(edge), {})
    return TimedPairs.of(source[keep], target[keep], times.astype(_MICRO).astype(np.int64)[keep])


def _led_on(
    snapshot: Snapshot,
    through: EdgeType,
    events: TimedPairs,
    reached: TimedPairs | None,
    window: tuple[IntArray, IntArray],
) -> TimedPairs:
    """Events that lead on to anchors: to the latest started of those that reached the candidate and ran."""
    source, target = snapshot.edge_index(through)
    shape = (snapshot.num_nodes(through[0]), snapshot.num_nodes(through[2]))
    leads = sp.csr_matrix((np.ones(len(source), np.bool_), (source, target)), shape=shape)
    counts = np.diff(leads.indptr)[events.what]
    event = np.repeat(np.arange(len(events)), counts)
    within = np.arange(len(event)) - np.repeat(np.cumsum(counts) - counts, counts)
    anchor = leads.indices[leads.indptr[events.what[event]] + within].astype(np.int64)
    who, at = events.who[event], events.at[event]
    starts, ends = window
    keep = (starts[anchor] <= at) & (at <= ends[anchor])
    if reached is not None:
        told = np.unique(reached.who * shape[1] + reached.what)
        keep &= np.isin(who * shape[1] + anchor, told)
    event, anchor = event[keep], anchor[keep]
    order = np.lexsort((anchor, starts[anchor], event))
    last = np.flatnonzero(np.diff(event[order], append=-1))  # of several anchors, the latest started
    chosen = order[last]
    return TimedPairs.of(events.who[event[chosen]], anchor[chosen], events.at[event[chosen]])


def _members(
    snapshot: Snapshot, paths: tuple[tuple[FactStep, ...], ...], shape: tuple[int, int]
) -> sp.csr_matrix:
    """Which items each anchor is about: CSR [anchors, items]."""
    whole = sp.csr_matrix(shape, dtype=np.float32)
    for path in paths:
        way = sp.identity(shape[0], dtype=np.float32, format="csr")
        for edge, forward in path:
            source, target = snapshot.edge_index(edge)
            size = (snapshot.num_nodes(edge[0]), snapshot.num_nodes(edge[2]))
            hop = sp.csr_matrix((np.ones(len(source), np.float32), (source, target)), shape=size)
            way = way @ (hop if forward else hop.T)
        whole = whole + way
    whole = sp.csr_matrix(whole)
    whole.sort_indices()
    return whole


class AnchorPairs(NamedTuple):
    """The candidates of an anchor, and which of them were positives.

    Attributes:
        anchor: its id.
        candidates: ids, int64 [C].
        labels: bool [C].
    """

    anchor: int
    candidates: IntArray
    labels: BoolArray


class AudienceTask:
    """An audience task whose later anchors judge: made by `audience_task`.

    Attributes:
        spec: what was declared.
        known: everything before the first anchor of the test starts; ids are its snapshot's.
        keys: of the anchors in `known`.
    """

    def __init__(
        self, spec: MatchSpec, snapshot: Snapshot, later: Snapshot, vectors: Mapping[str, FloatArray]
    ) -> None:
        self.spec, self.snapshot = spec, snapshot
        self.everything = later
        edges = audience_edges(spec, snapshot.schema)
        rows = later.index(edges.item, snapshot.keys(edges.item))
        own = {name: held[rows] for name, held in vectors.items()}
        self.known = replace(audience_data(snapshot, spec), vectors=own)
        self._later = replace(audience_data(later, spec), vectors=dict(vectors))
        self.keys: list[str] = snapshot.keys(spec.anchors.label).tolist()
        self.later_keys: list[str] = later.keys(spec.anchors.label).tolist()
        self._later_parts = anchor_parts(self._later, self.later_keys, spec)
        told = dict(zip(self.later_keys, self._later_parts.tolist(), strict=True))
        self._parts = np.array([told.get(key, -1) for key in self.keys], np.int8)
        self._opened = False

    def open_test(self) -> None:
        """Hands out the test from now on; for the final evaluation alone."""
        self._opened = True

    @property
    def later(self) -> AudienceData:
        """Everything that is known by now; for the evaluation, and for answers.

        Raises:
            LeakError: before `open_test` was called.
        """
        if not self._opened:
            raise LeakError(
                "what came after the cut is closed", where=self.spec.heading,
                hint="choose on the validation; the final evaluation calls open_test() first",
            )  # fmt: skip
        return self._later

    @property
    def later_closed(self) -> AudienceData:
        """Its groups and vectors, as far as nothing of the test was opened: without events."""
        if self._opened:
            return self._later
        none = TimedPairs(*(np.zeros(0, np.int64) for _ in range(3)))
        reached = None if self._later.reached is None else none
        return replace(self._later, history=none, positives=none, reached=reached)

    def anchors(self, *parts: int) -> IntArray:
        """Anchors of some parts in `known`, the earliest first."""
        chosen = np.flatnonzero(np.isin(self._parts, parts))
        return np.asarray(chosen[np.argsort(self.known.starts[chosen], kind="stable")], np.int64)

    @property
    def select_us(self) -> int:
        """When the first anchor of the validation starts: what is chosen on it learns from before."""
        return int(self.known.starts[self.anchors(VALIDATION)].min())

    def pairs(self, *parts: int, until: int | None = None) -> list[AnchorPairs]:
        """The pairs of some parts of `known`; labels are what was positive before `until`."""
        return [_pairs(self.known, int(a), until) for a in self.anchors(*parts)]

    def test_pairs(self) -> list[AnchorPairs]:
        """The pairs of the test in `later`; LeakError before `open_test`."""
        data = self.later
        anchors = np.flatnonzero(self._later_parts == TEST)
        order = np.argsort(data.starts[anchors], kind="stable")
        return [_pairs(data, int(a), None) for a in anchors[order]]

    def describe(self) -> list[str]:
        """The protocol in words, to stand beside every number."""
        label, candidate = self.spec.anchors.label, self.spec.candidates.label
        counts = [int((self._later_parts == i).sum()) for i in range(len(PART_NAMES))]
        whom = (
            f"the {candidate}s that it reached ({self.spec.reached_by})"
            if self.known.reached
            else "everybody"
        )
        return [
            f"{label}s by their start: {counts[TRAIN]} train, {counts[VALIDATION]} validation, the last "
            f"{counts[TEST]} test; models are fitted again on train and validation.",
            f"For each {label}, {whom}; of a {candidate} only what came before the {label}'s start is known.",
            f"Labels and features of what is learned from end at {self.snapshot.cut} (UTC), the start of the "
            "test's first.",
        ]


def _pairs(data: AudienceData, anchor: int, until: int | None) -> AnchorPairs:
    who = data.eligible(anchor)
    return AnchorPairs(anchor, who, data.labels(anchor, until)[who])


def anchor_parts(data: AudienceData, keys: list[str], spec: MatchSpec) -> Parts:
    """The part of each anchor by its start, int8 [anchors]; -1 of one that has not started or reached nobody.

    Raises:
        InputError: too few anchors for the split.
    """
    split = spec.protocol
    assert isinstance(split, AnchorsByTime)
    shown = np.unique(data.positives.what if data.reached is None else data.reached.what)
    some = shown[data.starts[shown] < NOT_STARTED]
    order = some[np.lexsort((np.array(keys, object)[some].astype(str), data.starts[some]))]
    test, validation = (round(n * len(order)) if n < 1 else int(n) for n in (split.test, split.validation))
    if test < 1 or validation < 1 or len(order) - test - validation < 2:
        raise InputError(
            f"{len(order)} {spec.anchors.label}s that reached somebody leave nothing to train on "
            f"beside {validation} for validation and {test} for the test",
            where=f"task {spec.name}: protocol", hint="ingest more of them, or lower test and validation",
        )  # fmt: skip
    parts = np.full(len(keys), -1, np.int8)
    parts[order] = TRAIN
    parts[order[-test - validation :]] = VALIDATION
    parts[order[-test:]] = TEST
    return parts


def audience_cut(everything: Snapshot, spec: MatchSpec) -> datetime:
    """When the first anchor of the test starts, naive UTC."""
    data = audience_data(everything, spec)
    parts = anchor_parts(data, everything.keys(spec.anchors.label).tolist(), spec)
    first = np.datetime64(int(data.starts[parts == TEST].min()), "us")
    moment: datetime = first.astype(datetime)
    return moment
