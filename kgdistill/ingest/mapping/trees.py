"""Paths of names become nodes, the PART_OF between them, and what hangs on their ends."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.ingest.idle import PieceRows
from kgdistill.ingest.mapping.cast import is_list
from kgdistill.ingest.mapping.plan import TreePlan
from kgdistill.ingest.mapping.rows import Rows, explode, take

SEPARATOR = " > "
"""Joins names into ids; inside a name it becomes ' / '."""


class TreeMaker:
    """Makes a tree: first the faults, then, once all are known, the rows."""

    def __init__(self, plan: TreePlan, rows: Rows, every_line: bool) -> None:
        self._plan, self._rows, self._every_line = plan, rows, every_line
        needed = [plan.path, plan.member[1] if plan.member else None]
        self._held = mask = rows.active(plan.when, needed)
        values = rows.check(plan.path, mask).values
        self._of = np.arange(len(values))
        if plan.several is not None:
            values, self._of = _each(values, *plan.several)
        if not is_list(values.type):
            has = np.asarray(pc.is_valid(values))
            offsets = pa.array(np.r_[0, np.cumsum(has)].astype(np.int32))
            values = pa.ListArray.from_arrays(offsets, values.drop_null())
        lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0)).astype(np.int64)
        names = pc.replace_substring(pc.list_flatten(values), SEPARATOR, " / ")
        offsets = pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32))
        self._names = pa.ListArray.from_arrays(offsets, names)
        self._lengths = lengths
        self._mask: BoolArray = mask & (np.bincount(self._of, lengths, len(mask)) > 0)
        self._ids = pc.binary_join(self._names, SEPARATOR)
        starts = np.searchsorted(self._of, np.arange(len(mask) + 1)).astype(np.int32)
        by_row = pa.ListArray.from_arrays(pa.array(starts), self._ids)
        rows.flag_long(by_row, plan.path.plan.columns, self._mask)
        self._member = None if plan.member is None else rows.check_key(plan.member[1], self._mask)

    def make(self) -> PieceRows:
        """Adds the rows without a fault, and tells how many."""
        good = (self._mask & ~self._rows.book.bad)[self._of] & (self._lengths > 0)
        paths = np.flatnonzero(good).astype(np.int64)
        ids = self._ids
        self._tree(paths[~self._rows.deleted[self._of[paths]]], ids)
        made = self._mask & ~self._rows.book.bad
        ends = {self._plan.path.plan.columns: pa.array(self._mask, mask=~self._mask)}
        counted = self._rows.book.counted(self._plan.label, self._held, made, ends)
        if self._plan.member is None or self._member is None:
            return counted
        owner, label, root = self._plan.member[0], self._plan.label, self._plan.root
        loose = (self._lengths[paths] == 1) & (root is not None)
        for chosen, edge in (
            (paths[~loose], (owner, "IN_CATEGORY", label)),
            (paths[loose], (owner, "PART_OF", str(root))),
        ):
            if len(chosen):
                repeated, (keys,) = explode(chosen, take(self._member.values, self._of))
                pair = {"source": keys, "target": take(ids, repeated)}
                self._rows.add(edge, self._of[repeated], pair)
        return counted

    def _tree(self, paths: IntArray, ids: pa.Array) -> None:
        if len(paths) == 0:
            return
        self._rows.made[self._of[paths]] = True
        plan, has_root = self._plan, self._plan.root is not None
        # By key, and by row too where each row has to make its own.
        nodes: dict[tuple[str, int], tuple[str, int, int]] = {}
        roots: dict[tuple[str, int], int] = {}
        parents: dict[tuple[str, str, bool, int], int] = {}
        for at in paths.tolist() if self._every_line else self._one_per_leaf(paths, ids):
            row = int(self._of[at])
            mark = row if self._every_line else -1
            parent = ""
            for depth, name in enumerate(self._names[at].as_py()):
                path = f"{parent}{SEPARATOR}{name}" if depth else name
                if depth == 0 and has_root:
                    roots.setdefault((name, mark), row)
                else:
                    nodes.setdefault((path, mark), (name, depth + (0 if has_root else 1), row))
                if depth:
                    parents.setdefault((path, parent, depth == 1 and has_root, mark), row)
                parent = path
        label = plan.label
        self._nodes(
            label,
            [path for path, _ in nodes],
            [n for n, _, _ in nodes.values()],
            [v for _, v, _ in nodes.values()],
            [r for _, _, r in nodes.values()],
        )
        if plan.root is not None:
            names = [name for name, _ in roots]
            self._nodes(plan.root, names, names, None, list(roots.values()))
        for to_root, target in ((False, label), (True, plan.root)):
            chosen = [(pair, row) for pair, row in parents.items() if pair[2] == to_root]
            if chosen and target is not None:
                columns: dict[str, Any] = {
                    "source": pa.array([pair[0] for pair, _ in chosen], pa.string()),
                    "target": pa.array([pair[1] for pair, _ in chosen], pa.string()),
                }
                self._rows.add((label, "PART_OF", target), _lines(row for _, row in chosen), columns)

    def _one_per_leaf(self, paths: IntArray, ids: pa.Array) -> list[int]:
        """The first of each distinct path, or the last by time: what it makes is the same."""
        if self._rows.times is not None:
            some = take(self._rows.times, self._of[paths])
            times = np.asarray(pc.fill_null(pc.cast(some, pa.int64()), -(2**62)))
            paths = paths[np.argsort(-times, kind="stable")]
        codes = np.asarray(pc.dictionary_encode(take(ids, paths)).indices).astype(np.int64)
        first = np.full(int(codes.max()) + 1, -1, np.int64)
        first[codes[::-1]] = np.arange(len(paths) - 1, -1, -1)
        return [int(at) for at in paths[np.sort(first)]]

    def _nodes(
        self, label: str, ids: list[str], names: list[str], levels: list[int] | None, rows: Any
    ) -> None:
        item = self._rows.schema.nodes[label]
        columns: dict[str, Any] = {item.key: pa.array(ids, pa.string())}
        given: dict[str, Any] = {"name": names, "path": ids, "level": levels}
        for name, values in given.items():
            if name in item.properties and values is not None:
                columns[name] = pa.array(values, self._rows.schema.arrow_type(name))
        self._rows.add(label, _lines(rows), columns)


def _each(texts: pa.Array, between: str, mark: str) -> tuple[pa.Array, IntArray]:
    """The paths of each text, lists of names, and the row of each; a head of another path is none.

    A sign behind a backslash belongs to a name.
    """
    cut = re.compile(rf"(?<!\\){re.escape(between)}")
    encoded = texts.dictionary_encode()
    known: list[list[list[str]]] = []
    for text in encoded.dictionary.to_pylist():
        parts = (part.replace(f"\\{between}", between).split(mark) for part in cut.split(text))
        named = dict.fromkeys(tuple(name for part in some if (name := part.strip())) for some in parts)
        known.append([[*one] for one in named if not any(o[: len(one)] == one != o for o in named)])
    rows = [[] if code is None else known[code] for code in encoded.indices.to_pylist()]
    of = np.repeat(np.arange(len(rows)), [len(some) for some in rows]).astype(np.int64)
    return pa.array([path for some in rows for path in some], pa.list_(pa.string())), of


def _lines(rows: Any) -> IntArray:
    return np.fromiter(rows, np.int64)
