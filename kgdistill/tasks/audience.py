"""What is known of candidates and anchors, by time, and what it says of a pair: NumPy alone, to serve too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, FloatArray, IntArray

DAY_US = 86_400_000_000
NOT_STARTED = np.iinfo(np.int64).max
"""The start of an anchor of which none is known."""
CLIP = 5.0
"""A standardised feature beyond it counts as it: nobody is judged by an extreme that was never seen."""
_RECENT_DAYS = (30, 90)
_LATE_DAYS = 60
_NEVER_DAYS = 999.0
_PRIOR = 3.0
"""So many earlier anchors at everybody's rate are added to a candidate's own rate."""


@dataclass(frozen=True)
class TimedPairs:
    """Events between two kinds of nodes, the earliest first.

    Attributes:
        who, what: ids, int64 [N].
        at: microseconds since 1970, int64 [N], ascending.
    """

    who: IntArray
    what: IntArray
    at: IntArray

    @classmethod
    def of(cls, who: IntArray, what: IntArray, at: IntArray) -> TimedPairs:
        """The same events in the order of their times."""
        order = np.lexsort((what, who, at))
        return cls(*(np.asarray(part, np.int64)[order] for part in (who, what, at)))

    def __len__(self) -> int:
        return len(self.at)

    def before(self, moment: int) -> TimedPairs:
        """Those strictly before a moment."""
        end = int(np.searchsorted(self.at, moment, side="left"))
        return TimedPairs(self.who[:end], self.what[:end], self.at[:end])

    def since(self, moment: int) -> TimedPairs:
        """Those from a moment on."""
        start = int(np.searchsorted(self.at, moment, side="left"))
        return TimedPairs(self.who[start:], self.what[start:], self.at[start:])

    def distinct(self) -> TimedPairs:
        """Each pair once, at its first time."""
        _, first = np.unique(np.stack([self.who, self.what]), axis=1, return_index=True)
        first.sort()
        return TimedPairs(self.who[first], self.what[first], self.at[first])


@dataclass(frozen=True)
class MemberGroups:
    """Groups that items share along one fact.

    Attributes:
        name: such as "MADE_BY".
        items, groups: int64 [M], a membership each.
        names: what each group is called.
    """

    name: str
    items: IntArray
    groups: IntArray
    names: tuple[str, ...]

    def over(self, places: IntArray) -> MemberGroups:
        """The same of the items that stand at `places`, ids int64 [n], in their order."""
        at = np.full(int(max(self.items.max(initial=-1), places.max(initial=-1))) + 1, -1, np.int64)
        at[places] = np.arange(len(places))
        rows = at[self.items]
        return replace(self, items=rows[rows >= 0], groups=self.groups[rows >= 0])

    def shares(self, wanted: IntArray, items: int) -> FloatArray:
        """Of each item, the share of its groups' items that are wanted, summed: float32 [items]."""
        mask = np.zeros(items, np.float64)
        mask[wanted] = 1.0
        whole = np.bincount(self.groups, minlength=len(self.names))
        held = np.bincount(self.groups, mask[self.items], minlength=len(self.names))
        share = held / np.maximum(whole, 1)
        return np.bincount(self.items, share[self.groups], minlength=items).astype(np.float32)

    def profile(self, wanted: IntArray, items: int) -> DoubleArray:
        """How the wanted items spread over the groups, its square roots of unit length: float64 [groups]."""
        mask = np.zeros(items, np.float64)
        mask[wanted] = 1.0
        held = np.sqrt(np.bincount(self.groups, mask[self.items], minlength=len(self.names)))
        return np.asarray(held / max(float(np.linalg.norm(held)), 1e-12), np.float64)


@dataclass(frozen=True)
class Wanted:
    """An anchor, as far as it says whom it may please.

    Attributes:
        items: what it is about, ids, int64 [n]; none where only its words are known.
        vectors: by space, its direction, unit float32 [D]; the mean of its items' where left out.
        size: how many items it counts as; `len(items)` where None.
    """

    items: IntArray
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    size: float | None = None


@dataclass(frozen=True)
class AudienceData:
    """Candidates with their histories, and anchors with their items, all with times.

    `features` reads only what came before the moment that it is asked for: this is where no future holds.

    Attributes:
        candidates, items: how many there are.
        history: candidates and items.
        positives: candidates and anchors: redeemed, clicked.
        reached: candidates and anchors: received, seen; None where nobody knows, and everybody may be.
        starts: of the anchors, microseconds since 1970, int64 [anchors].
        anchor_items: of each anchor, ids.
        groups: that items share.
        vectors: by space, unit vectors of the items, float32 [items, D].
    """

    candidates: int
    items: int
    history: TimedPairs
    positives: TimedPairs
    reached: TimedPairs | None
    starts: IntArray
    anchor_items: Sequence[IntArray]
    groups: tuple[MemberGroups, ...] = ()
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """What each feature is; those of the anchor alone, the last, are not put beside other candidates'."""
        own = (
            "events", *(f"events {d} d" for d in _RECENT_DAYS), "days since", "items had", "items had 90 d",
            "share had", *(f"{kind} {g.name}" for g in self.groups for kind in ("shared", "share of")),
            *(f"{kind} {space}" for space in self.vectors for kind in ("near", "nearest")),
            "positives", "positive anchors", "rate", "days since positive", f"positives {_LATE_DAYS} d",
            "reached", "surprise", "alike taken", "alike left",
        )  # fmt: skip
        return (*own, *(f"{name}, among all" for name in own), "anchor's items")

    def wanted(self, anchor: int) -> Wanted:
        """What an anchor is about."""
        return Wanted(self.anchor_items[anchor])

    def eligible(self, anchor: int | None) -> IntArray:
        """Candidates of an anchor, ascending: those whom it reached; all where nobody knows."""
        if anchor is not None and self.reached is not None:
            mine = np.unique(self.reached.who[self.reached.what == anchor])
            if len(mine):
                return np.asarray(mine, np.int64)
        return np.arange(self.candidates)

    def labels(self, anchor: int, until: int | None = None) -> BoolArray:
        """Whether each candidate was a positive of an anchor, before `until` if given: bool [candidates]."""
        told = self.positives if until is None else self.positives.before(until)
        out = np.zeros(self.candidates, np.bool_)
        out[told.who[told.what == anchor]] = True
        return out

    def without(self, *, groups: bool = False, vectors: Sequence[str] = ()) -> AudienceData:
        """The same without the groups, or without some spaces."""
        kept = {name: v for name, v in self.vectors.items() if name not in vectors}
        return replace(self, groups=() if groups else self.groups, vectors=kept)

    def features(self, wanted: Wanted, moment: int, among: IntArray) -> FloatArray:
        """What is known of each candidate for an anchor before a moment.

        Args:
            wanted: the anchor.
            moment: microseconds since 1970; nothing at or after it is read.
            among: candidates, ids [C].

        Returns:
            float32 [C, F], as `names` says.
        """
        own = np.stack([*self._activity(wanted, moment), *self._taken(wanted, moment)], axis=1)[among]
        middle, spread = own.mean(axis=0), own.std(axis=0)
        beside = (own - middle) / np.where(spread > 1e-6, spread, 1.0)
        size = float(len(wanted.items)) if wanted.size is None else wanted.size
        level = np.full((len(own), 1), np.log1p(size))
        return np.concatenate([own, beside, level], axis=1).astype(np.float32)

    def _activity(self, wanted: Wanted, moment: int) -> list[DoubleArray]:
        """Of the history: how much, how lately, and how much of it is what the anchor is about."""
        known = self.history.before(moment)

        def count(weights: DoubleArray | None = None, days: int | None = None) -> DoubleArray:
            start = 0 if days is None else len(known.before(moment - days * DAY_US))
            told = None if weights is None else weights[known.what[start:]]
            return np.bincount(known.who[start:], told, minlength=self.candidates).astype(np.float64)

        total = count()
        mean = np.maximum(total, 1)
        mask = np.zeros(self.items)
        mask[wanted.items] = 1.0
        had = count(mask)
        out = [np.log1p(total), *(np.log1p(count(days=d)) for d in _RECENT_DAYS)]
        out += [self._days(known, moment), np.log1p(had), np.log1p(count(mask, 90)), had / mean]
        for family in self.groups:
            shared = count(family.shares(wanted.items, self.items).astype(np.float64))
            out += [np.log1p(shared), shared / mean]
        for space, vectors in self.vectors.items():
            direction = wanted.vectors.get(space)
            if direction is None:
                direction = direction_of(vectors, wanted.items)
            near = (vectors @ direction).astype(np.float64)
            out += [count(near) / mean, np.log1p(count(np.maximum(near, 0.0) ** 4))]
        return out

    def _taken(self, wanted: Wanted, moment: int) -> list[DoubleArray]:
        """Of earlier anchors: how many reached a candidate and were taken, and how alike they are."""
        events = self.positives.before(moment)
        pairs = events.distinct()
        earlier = np.flatnonzero(self.starts < moment)
        mass = np.bincount(pairs.what, minlength=len(self.starts)).astype(np.float64)
        alike = self._alike(wanted)
        n = self.candidates
        took = np.bincount(pairs.who, minlength=n).astype(np.float64)
        taken_alike = np.bincount(pairs.who, alike[pairs.what], minlength=n)
        if self.reached is None:
            rates = (mass + 1) / (n + 10)
            reached = np.full(n, float(len(earlier)))
            usual = np.full(n, float(rates[earlier].sum()))
            all_alike = np.full(n, float(alike[earlier].sum()))
        else:
            told = self.reached.before(moment).distinct()
            rates = (mass + 1) / (np.bincount(told.what, minlength=len(mass)) + 10)
            reached = np.bincount(told.who, minlength=n).astype(np.float64)
            usual = np.bincount(told.who, rates[told.what], minlength=n)
            all_alike = np.bincount(told.who, alike[told.what], minlength=n)
        overall = (took.sum() + 1) / (reached.sum() + 10)
        late = events.since(moment - _LATE_DAYS * DAY_US)
        return [
            np.log1p(np.bincount(events.who, minlength=n)), np.log1p(took),
            (took + _PRIOR * overall) / (reached + _PRIOR), self._days(events, moment),
            np.log1p(np.bincount(late.who, minlength=n)), np.log1p(reached),
            (took - usual) / np.sqrt(1 + reached), np.log1p(taken_alike),
            np.log1p(np.maximum(all_alike - taken_alike, 0.0)),
        ]  # fmt: skip

    def _alike(self, wanted: Wanted) -> DoubleArray:
        """The cosine of each anchor with this one over the groups of their items: float64 [anchors]."""
        if not self.groups:
            return np.ones(len(self.starts))
        out = np.zeros(len(self.starts))
        for family, profiles in zip(self.groups, self._profiles, strict=True):
            mine = family.profile(wanted.items, self.items)
            out += [float(values @ mine[groups]) for groups, values in profiles]
        return out / len(self.groups)

    @cached_property
    def _profiles(self) -> list[list[tuple[IntArray, DoubleArray]]]:
        """Of each fact the profile of every anchor: the groups that it has something of, and the values."""
        whole = ([family.profile(mine, self.items) for mine in self.anchor_items] for family in self.groups)
        return [[(at := np.flatnonzero(p), p[at]) for p in profiles] for profiles in whole]

    def _days(self, known: TimedPairs, moment: int) -> DoubleArray:
        """log(1 + days since the last event)."""
        days = np.full(self.candidates, _NEVER_DAYS)
        days[known.who] = (moment - known.at) / DAY_US  # of several, the last one stays
        return np.asarray(np.log1p(days), np.float64)


def last_moment(data: AudienceData) -> int:
    """When the last event that is known happened, microseconds since 1970; 0 without any."""
    known = (data.history, data.positives, data.reached)
    return max((int(told.at[-1]) for told in known if told is not None and len(told)), default=0)


def direction_of(vectors: FloatArray, items: IntArray) -> FloatArray:
    """The unit mean of some items' vectors, float32 [D]; 0 without any."""
    if not len(items):
        return np.zeros(vectors.shape[1], np.float32)
    mean = vectors[items].mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)
