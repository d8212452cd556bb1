"""One protocol applied to one graph: who is asked, what is ranked, what would be right."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from kgdistill.arrays import BoolArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.progress import notice
from kgdistill.snapshot import Snapshot, check_no_future
from kgdistill.tasks.counted import floors, is_above, is_counted
from kgdistill.tasks.protocol import HEAD_SHARE, SETTINGS, DiscoveryProtocol, Setting

Scorer: TypeAlias = Callable[[IntArray, IntArray], npt.NDArray[np.float32]]
"""(users int64 [B], candidates int64 [C]) -> scores float32 [B, C]; higher is better, -inf is never shown."""

Split = Literal["validation", "test"]
__all__ = ["SETTINGS", "MatchTask", "Scorer", "Setting", "Split", "SplitPairs", "build_task"]

_LEVELS = " > "


@dataclass(frozen=True)
class SplitPairs:
    """The pairs of each part: CSR float32 [all users, all items], 1 where a pair interacted.

    Attributes:
        train, validation, test: a pair stands in the first part that it happens in and in no other.
        times: int64 CSR of the pairs of train and validation: when each first happened, in microseconds
            since 1970, UTC; None for pairs that were made without.
        refused: float32 CSR of the pairs known before validation, and of those known before the test, that
            are no positives for a number that is not above the protocol's; None where it asks for none.
    """

    train: csr_array
    validation: csr_array
    test: csr_array
    times: csr_array | None = None
    refused: tuple[csr_array, csr_array] | None = None


class MatchTask:
    """Made by `build_task`: the pairs of eligible users and items, by the snapshot's ids.

    What concerns the test split is refused until
    `open_test` was called, so that nothing is chosen on it by accident.

    Attributes:
        protocol: what was applied.
        train: pairs before the cut.
        users: int64 [eligible users], ascending.
        items: int64 [eligible items], ascending: not left out by category, and with a title.
        item_counts: int64 [all items]; train users of each among the eligible.
        user_keys, item_keys: the business keys by id; int64 where all of them are integers, else string.
        unknown_events: how many later events name a user or an item that is not in the snapshot.
    """

    def __init__(
        self,
        protocol: DiscoveryProtocol,
        pairs: SplitPairs,
        *,
        users: IntArray,
        items: IntArray,
        user_keys: pa.Array,
        item_keys: pa.Array,
        unknown_events: int = 0,
    ) -> None:
        self.protocol = protocol
        self.train = pairs.train
        self._later = {"validation": pairs.validation, "test": pairs.test}
        self._times = pairs.times
        self._refused = pairs.refused
        self.users = users
        self.items = items
        self.item_counts: IntArray = np.bincount(self.train.indices, minlength=self.train.shape[1])
        self.user_keys = user_keys
        self.item_keys = item_keys
        self.unknown_events = unknown_events
        self._opened = False

    @property
    def validation(self) -> csr_array:
        """Pairs from the cut and before the test's start."""
        return self.positives("validation")

    @property
    def test(self) -> csr_array:
        """Pairs from the test's start on; LeakError until `open_test` was called."""
        return self.positives("test")

    def open_test(self) -> None:
        """Hands out the test split from now on; for the final evaluation alone."""
        self._opened = True

    def thinned(self, most: int) -> MatchTask:
        """The same task, asked for every second, third, … user, so that there are at most `most`."""
        part = copy.copy(self)
        part.users = self.users[:: max(1, -(-len(self.users) // most))]
        return part

    def positives(self, split: Split) -> csr_array:
        """The pairs that are right answers in `split`; LeakError for the test before `open_test`."""
        self._check(split)
        return self._later[split]

    def history(self, split: Split) -> csr_array:
        """The pairs that a model may know when it is judged on `split`; the test stays closed.

        Train; for the test with the protocol's `refit`, train and validation.
        """
        self._known(split)
        if split == "test" and self.protocol.refit:
            return csr_array(self.train + self._later["validation"])
        return self.train

    def history_until_us(self, split: Split) -> int:
        """The moment before which everything in `history(split)` happened: microseconds since 1970, UTC."""
        self._known(split)
        moment = self.protocol.snapshot_cut if split == "test" else self.protocol.cut
        return int(np.datetime64(moment, "us").astype(np.int64))

    def history_times_us(self, split: Split) -> IntArray:
        """When each pair of `history(split)` first happened: int64 [nnz], in the order of its `data`.

        Raises:
            InputError: the task was made without times.
        """
        if self._times is None:
            raise InputError("the task was made without the times of its pairs", where=self.protocol.title)
        pairs = self.history(split)
        pairs.sort_indices()
        codes = _pair_codes(pairs)
        found = np.searchsorted(_pair_codes(self._times), codes)
        return np.asarray(self._times.data[found], dtype=np.int64)

    def counts(self, split: Split) -> IntArray:
        """int64 [all items]: how many eligible users each has in `history(split)`."""
        return np.bincount(self.history(split).indices, minlength=self.train.shape[1]).astype(np.int64)

    def seen(self, split: Split) -> csr_array:
        """The pairs not to recommend in `split`: train for validation, train and validation for test.

        With them what was refused by then, such as a low rating.

        Raises:
            LeakError: the test, before `open_test` was called.
        """
        self._check(split)
        had = self.train if split == "validation" else self.train + self._later["validation"]
        return had if self._refused is None else had + self._refused[split == "test"]

    def candidates(self, setting: Setting, split: Split) -> IntArray:
        """The items to rank, ascending.

        Args:
            setting: "warm": at least `min_item_users` users in `history(split)`. "cold": fewer, and an
                interaction in the split. "strictly_cold": those of the cold ones without any such user.
                "all", "cold_in_all": every eligible item. "tail": what is left of "warm" when the most
                bought ones, equals by id, are taken away until these have `HEAD_SHARE` of the purchases.
            split: "validation" or "test".

        Raises:
            InputError: an unknown setting or split.
            LeakError: the test, before `open_test` was called.
        """
        self._check(split)
        if setting not in SETTINGS:
            raise InputError(f"unknown setting {setting!r}", hint=f"known: {', '.join(SETTINGS)}")
        if setting in ("all", "cold_in_all"):
            return self.items
        counts = self.counts(split)[self.items]
        warm = self.items[counts >= self.protocol.min_item_users]
        if setting == "warm":
            return warm
        if setting == "tail":
            return tail_of(warm, counts[counts >= self.protocol.min_item_users])
        asked = np.zeros(self.train.shape[1], dtype=np.bool_)
        asked[self._later[split].indices] = True
        most = 1 if setting == "strictly_cold" else self.protocol.min_item_users
        return self.items[(counts < most) & asked[self.items]]

    def judged(self, setting: Setting, split: Split) -> IntArray:
        """Those of the candidates that count as found, ascending: all, but in "cold_in_all" the cold ones.

        Raises:
            As `candidates`.
        """
        candidates = self.candidates(setting, split)
        if setting != "cold_in_all":
            return candidates
        return candidates[self.counts(split)[candidates] < self.protocol.min_item_users]

    def _known(self, split: str) -> None:
        if split not in self._later:
            raise InputError(f"unknown split {split!r}", hint="known: validation, test")

    def _check(self, split: str) -> None:
        self._known(split)
        if split == "test" and not self._opened:
            raise LeakError(
                "the test split is closed",
                where=self.protocol.title,
                hint="choose on the validation split; the final evaluation calls open_test() first",
            )


def build_task(snapshot: Snapshot, events: pa.Table, protocol: DiscoveryProtocol) -> MatchTask:
    """Applies a protocol.

    Args:
        snapshot: the graph before `protocol.snapshot_cut`, which must be its own cut.
        events: the interaction's rows at or after that cut, from `take_events`: `source` and `target`
            (string keys), the time, and `first_quantity` where there is one.
        protocol: what counts, where it is split and who is eligible. A quantity of 0 or less is no
            interaction; a null one is.

    Raises:
        LeakError: the snapshot has no cut or a later one than the protocol, or `check_no_future` found
            something in it.
        InputError: the snapshot's cut is earlier, an event comes before the cut, a column is missing,
            the interaction has no time, or no user is eligible.
    """
    time = snapshot.schema.relationship(protocol.interaction).time
    if time is None:
        raise InputError(f"{protocol.interaction[1]} has no time, so that it cannot be split by time")
    _check_cut(snapshot, protocol)
    check_no_future(snapshot)
    known, later = _known_rows(snapshot, protocol, time), _later_rows(snapshot, events, protocol, time)
    eligible = _eligible_items(snapshot, protocol)
    shape = (snapshot.num_nodes(protocol.anchors), len(eligible))
    pairs, first = _first_times(known, later, eligible)
    moments = (None, protocol.cut, protocol.test_start, protocol.test_end)
    # With a refit, validation lies before the snapshot's cut; else it is among the later events.
    train, validation, test = (_between(first, start, end) for start, end in itertools.pairwise(moments))
    counts = np.bincount(pairs[train] // shape[1], minlength=shape[0])
    users = np.flatnonzero(counts >= protocol.min_user_events).astype(np.int64)
    if len(users) == 0:
        raise InputError(
            f"no {protocol.anchors} has {protocol.min_user_events} {protocol.interaction[1]} before the cut "
            f"{protocol.cut}",
            where=protocol.title,
            hint="move the cut or lower min_user_events",
        )
    _say_left_out(len(counts) - len(users), len(counts), protocol)
    mine = (counts >= protocol.min_user_events)[pairs // shape[1]]
    dated = mine & (train | validation)
    return MatchTask(
        protocol,
        SplitPairs(
            _matrix(pairs[mine & train], np.float32(1), shape),
            _matrix(pairs[mine & validation], np.float32(1), shape),
            _matrix(pairs[mine & test], np.float32(1), shape),
            times=_matrix(pairs[dated], first[dated], shape),
            refused=_refused(_first_times(known, later, eligible, "refused"), pairs, shape, protocol)
            if protocol.above
            else None,
        ),
        users=users,
        items=np.flatnonzero(eligible).astype(np.int64),
        user_keys=_keys(snapshot.keys(protocol.anchors)),
        item_keys=_keys(snapshot.keys(protocol.candidates)),
        unknown_events=int((~later.known).sum()),
    )


def _say_left_out(left_out: int, everybody: int, protocol: DiscoveryProtocol) -> None:
    """A notice of how many have too few events to be learned from; who has none is no news."""
    if left_out and protocol.min_user_events > 1:
        notice(
            f"of {everybody:,} {protocol.anchors} nodes {left_out:,} have fewer than "
            f"{protocol.min_user_events} {protocol.interaction[1]} before the cut: nothing is learned from "
            "them (min_user_events of the task's protocol)"
        )


@dataclass(frozen=True)
class _Rows:
    """Interactions by the snapshot's ids, -1 where it lacks them: int64 [N] each.

    Counted is what is right, refused what is not for a number that is not above what it must be: bool [N].
    """

    anchors: IntArray
    candidates: IntArray
    at: IntArray
    counted: BoolArray
    refused: BoolArray

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        return (self.anchors >= 0) & (self.candidates >= 0)


def _known_rows(snapshot: Snapshot, protocol: DiscoveryProtocol, time: str) -> _Rows:
    table = snapshot.edge_table(protocol.interaction)
    anchors, candidates = (table[end].to_numpy() for end in _ends(protocol))
    return _Rows(anchors, candidates, _micros(table[time]), *_counted(table, protocol))


def _later_rows(snapshot: Snapshot, events: pa.Table, protocol: DiscoveryProtocol, time: str) -> _Rows:
    missing = [c for c in ("source", "target", time) if c not in events.column_names]
    if missing:
        raise InputError(f"lack the column {missing[0]!r}", where="later events")
    at = _micros(events[time])
    early = at < np.datetime64(protocol.snapshot_cut, "us").astype(np.int64)
    if early.any():
        raise InputError(
            f"{int(early.sum()):,} of them come before the cut {protocol.snapshot_cut}",
            where="later events",
            hint="take_events(…, cut) gives those at or after it",
        )
    anchors, candidates = (
        snapshot.index(label, events[end].combine_chunks())
        for label, end in zip((protocol.anchors, protocol.candidates), _ends(protocol), strict=True)
    )
    return _Rows(anchors, candidates, at, *_counted(events, protocol))


def _ends(protocol: DiscoveryProtocol) -> tuple[str, str]:
    """The columns of a relationship's table that hold the anchors and the candidates."""
    return ("target", "source") if protocol.reverse else ("source", "target")


def _check_cut(snapshot: Snapshot, protocol: DiscoveryProtocol) -> None:
    cut = protocol.snapshot_cut
    if snapshot.cut == cut:
        return
    if snapshot.cut is None or snapshot.cut > cut:
        then = "has no cut" if snapshot.cut is None else f"was cut at {snapshot.cut}"
        raise LeakError(
            f"{then}, so that it may hold what the protocol keeps for testing, from {cut} on",
            where=str(snapshot.folder),
            hint="take a snapshot at the protocol's cut",
        )
    raise InputError(
        f"was cut at {snapshot.cut}, before the protocol's cut {cut}: what lies between is missing",
        where=str(snapshot.folder),
        hint="take a snapshot at the protocol's cut",
    )


def _eligible_items(snapshot: Snapshot, protocol: DiscoveryProtocol) -> npt.NDArray[np.bool_]:
    """bool [all items]: with a name to show, and in no category that the protocol leaves out."""
    label = protocol.candidates
    table, name = snapshot.node_table(label), snapshot.schema.node(label).name
    keep = np.ones(table.num_rows, dtype=np.bool_)
    if name in table.column_names:
        keep &= pc.is_valid(table[name]).to_numpy()
    if any(protocol.exclude_category_levels):
        if "category_text" not in table.column_names:
            raise InputError("has no category_text, by which the protocol leaves items out", where=label)
        paths = table["category_text"].combine_chunks().dictionary_encode()
        dropped = [
            path is not None
            and any(
                name in names
                for name, names in zip(path.split(_LEVELS), protocol.exclude_category_levels, strict=False)
            )
            for path in paths.dictionary.to_pylist()
        ]
        codes = pc.fill_null(paths.indices, len(dropped)).to_numpy(zero_copy_only=False)
        keep &= ~np.array([*dropped, False])[codes]
    return keep


def _micros(column: pa.ChunkedArray) -> IntArray:
    if column.null_count:
        raise InputError("have rows without a time", where="later events")
    return np.asarray(column.to_numpy(), dtype="datetime64[us]").astype(np.int64)


def _first_times(
    known: _Rows, later: _Rows, eligible: BoolArray, kind: Literal["counted", "refused"] = "counted"
) -> tuple[IntArray, IntArray]:
    """Every pair that is so, as `anchor * candidates + candidate`, ascending, and when it first was.

    Tables may have several events of a pair: the first one counts.
    """
    codes, at = [], []
    for rows in (known, later):
        keep = rows.known & getattr(rows, kind)
        keep[keep] = eligible[rows.candidates[keep]]
        codes.append(rows.anchors[keep] * np.int64(len(eligible)) + rows.candidates[keep])
        at.append(rows.at[keep])
    pairs, micros = np.concatenate(codes), np.concatenate(at)
    order = np.lexsort((micros, pairs))
    pairs, first = np.unique(pairs[order], return_index=True)
    return pairs, micros[order][first]


def _refused(
    found: tuple[IntArray, IntArray], counted: IntArray, shape: tuple[int, int], protocol: DiscoveryProtocol
) -> tuple[csr_array, csr_array]:
    """Of the refused pairs with their times those before the cut, and before the test, that never count."""
    pairs, first = found
    never = ~np.isin(pairs, counted)
    before = (never & _between(first, None, moment) for moment in (protocol.cut, protocol.test_start))
    one, other = (_matrix(pairs[kept], np.float32(1), shape) for kept in before)
    return one, other


def _between(at: IntArray, start: datetime | None, end: datetime | None) -> npt.NDArray[np.bool_]:
    """bool [N]: from `start` on and before `end`; None has no bound."""
    inside = np.ones(len(at), dtype=np.bool_)
    if start is not None:
        inside &= at >= np.datetime64(start, "us").astype(np.int64)
    if end is not None:
        inside &= at < np.datetime64(end, "us").astype(np.int64)
    return inside


def counted_events(snapshot: Snapshot, protocol: DiscoveryProtocol) -> tuple[IntArray, IntArray, IntArray]:
    """Every event of a snapshot that counts, of a pair maybe several: anchor, candidate, microseconds, int64.

    Raises:
        InputError: the interaction has no time.
    """
    time = snapshot.schema.relationship(protocol.interaction).time
    if time is None:
        raise InputError(f"{protocol.interaction[1]} has no time")
    rows = _known_rows(snapshot, protocol, time)
    return rows.anchors[rows.counted], rows.candidates[rows.counted], rows.at[rows.counted]


def tail_of(items: IntArray, counts: IntArray) -> IntArray:
    """What is left, ascending, when the most bought are taken away until these have `HEAD_SHARE` of all.

    Args:
        items: ids.
        counts: their buyers, aligned.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    return np.sort(items[order[before >= HEAD_SHARE * counts.sum()]])


def _counted(table: pa.Table, protocol: DiscoveryProtocol) -> tuple[BoolArray, BoolArray]:
    """bool [rows]: what counts, and what does not for a number that the protocol asks for."""
    least = floors(protocol.above, protocol.interaction[1])
    return is_counted(table, least), ~is_above(table, least)


def _pair_codes(matrix: csr_array) -> IntArray:
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return np.asarray(rows * np.int64(matrix.shape[1]) + matrix.indices, dtype=np.int64)


def _matrix(codes: IntArray, values: Any, shape: tuple[int, int]) -> csr_array:
    rows, columns = np.divmod(codes, shape[1])
    return csr_array((np.broadcast_to(values, codes.shape), (rows, columns)), shape=shape)


def _keys(keys: Any) -> pa.Array:
    """int64 where every key is an integer written plainly, so that nothing is lost; else strings."""
    strings = pa.array(keys, type=pa.string())
    if len(strings) and pc.all(pc.match_substring_regex(strings, r"^(0|-?[1-9][0-9]{0,17})$")).as_py():
        return strings.cast(pa.int64())
    return strings
