"""Who should be reached: the likeliest candidates of an anchor, what can be expected of them, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, overload

import numpy as np

from kgdistill.arrays import BoolArray, DoubleArray, IntArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.ranking.audience import GAIN_STEPS, expected_positives
from kgdistill.ranking.bootstrap import Interval
from kgdistill.serve.among import Among
from kgdistill.serve.audience import SPACE, Finder
from kgdistill.serve.facets import Facets
from kgdistill.serve.items import Items
from kgdistill.serve.keys import check_count
from kgdistill.serve.past import day_text
from kgdistill.serve.search import LONGEST
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.audience import NOT_STARTED, MemberGroups, Wanted
from kgdistill.tasks.words import tokens

AudienceBasis = Literal["products", "text", "habits"]
"""On what it rests: what a campaign is about, what is nearest to its words, or what candidates do anyway."""
_STAND_IN = 50
_SHOWN = 2


class Member(NamedTuple):
    """One of an audience.

    Attributes:
        rank: from 1.
        id: the candidate's key.
        probability: calibrated, of being a positive where the anchor reaches it.
        because: why, in words.
        path: the same as steps through the graph; empty where nothing leads there.
    """

    rank: int
    id: str
    probability: float
    because: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class AudienceAnswer(Sequence[Member]):
    """The audience of one anchor, the likeliest first.

    Attributes:
        campaign: the anchor's key; empty of a new one.
        basis: on what it rests.
        members: the chosen.
        expected: how many of them will be positives: mean, and the ends of a 95 % interval.
        candidates: how many were ranked.
        gains: for growing audiences of the best: size, and how many positives are expected of it.
        notes: what has to be known beside: fallbacks, up to when histories are known.
        unknown: products, and users to leave out, that the bundle does not know.
    """

    campaign: str
    basis: AudienceBasis
    members: tuple[Member, ...]
    expected: Interval
    candidates: int
    gains: tuple[tuple[int, float], ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, at: int) -> Member: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, at: int | slice) -> Member | tuple[Member, ...]:
        return self.members[at]


@dataclass
class _Scored:
    """An anchor with the probability of every candidate that may be chosen, the likeliest first."""

    campaign: str
    anchor: int | None
    wanted: Wanted
    basis: AudienceBasis
    who: IntArray
    p: DoubleArray
    notes: list[str]
    unknown: list[str] = field(default_factory=list)


class Audiences:
    """Answers of a finder.

    Args:
        finder: of the bundle.
        items: of the same, what histories are made of.
        tower: of the same; reads words.
        zone: in which dates are told.
    """

    def __init__(self, finder: Finder, items: Items, tower: TextTower | None, zone: str = "UTC") -> None:
        self._finder, self._items, self._tower, self._zone = finder, items, tower, zone

    @property
    def later(self) -> list[str]:
        """The campaigns that start at the cut or later, so that the model learned from none of them."""
        finder = self._finder
        keys = zip(finder.keys.anchors, finder.data.starts.tolist(), strict=True)
        return [key for key, start in keys if start >= finder.cut]

    def of_campaigns(
        self,
        campaigns: Sequence[str],
        size: int,
        exclude: Sequence[str] = (),
        cap: int | None = None,
        chosen: Among | None = None,
    ) -> list[AudienceAnswer]:
        """The audiences of campaigns that the bundle knows.

        A campaign's products say whom it may please, else its words, else what users do in general.

        Args:
            campaigns: keys, each once.
            size: of each; fewer where fewer are left.
            exclude: users that are not to be chosen.
            cap: nobody is in more audiences; the likeliest pairs of all campaigns come first.
            chosen: who may be chosen; None: everybody.

        Raises:
            InputError: a campaign is not known or named twice; size or cap is no whole number from 1 on.
        """
        if len(set(campaigns)) < len(campaigns):
            raise InputError("a campaign is named twice")
        scored = [self._known(key) for key in campaigns]
        return self._answers(scored, size, exclude, cap, chosen)

    def of_new(
        self,
        products: Sequence[str] | None,
        text: str | None,
        size: int,
        exclude: Sequence[str] = (),
        chosen: Among | None = None,
    ) -> AudienceAnswer:
        """The audience of a campaign that the bundle does not know, by its products or its words.

        Raises:
            InputError: size is no whole number from 1 on.
        """
        unknown: list[str] = []
        rows: list[int] = []
        for key in dict.fromkeys(products or ()):
            place = self._items.places.get(key)
            if place is None:
                unknown.append(key)
            else:
                rows.append(place)
        what = f"{len(unknown):,} product{'s' if len(unknown) != 1 else ''}"
        said = [f"none of its {what} is known"] if unknown and not rows else []
        scored = self._scored("", None, np.array(sorted(rows), np.int64), text or "", said)
        scored.unknown += unknown
        return self._answers([scored], size, exclude, None, chosen)[0]

    def _known(self, key: str) -> _Scored:
        places = self._finder.anchor_places
        if key not in places:
            label, known = self._finder.names.anchor, list(places)
            hint = f"{nearest(key, known)}known: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}; "
            raise InputError(
                f"the bundle knows no {label} {key[:40]!r}",
                hint=f"{hint}of a new one give products or a text",
            )
        anchor = places[key]
        items = self._finder.data.anchor_items[anchor]
        said = [] if len(items) else [f"{self._finder.names.anchor} {key} has no {self._finder.names.item}s"]
        return self._scored(key, anchor, items, self._finder.keys.texts[anchor], said)

    def _scored(self, key: str, anchor: int | None, items: IntArray, text: str, notes: list[str]) -> _Scored:
        finder, basis = self._finder, "products"
        wanted = Wanted(items)
        if not len(items):
            wanted, basis = self._by_text(text, notes)
        moment = finder.moment(anchor)
        who, p = finder.probabilities(wanted, anchor)
        began = anchor is not None and finder.data.starts[anchor] != NOT_STARTED
        until = ("its start, " if began else "") + day_text(moment, self._zone)
        notes.append(f"of each {finder.names.candidate} is read what came before {until}")
        if finder.data.reached is not None and len(who) < finder.data.candidates:
            notes.append(f"only the {len(who):,} whom it reached ({finder.names.reached}) are ranked")
        elif finder.data.reached is not None:
            notes.append("a probability holds for whom it reaches")
        order = np.lexsort((who, -p))
        return _Scored(key, anchor, wanted, basis, who[order], p[order], notes)  # type: ignore[arg-type]

    def _by_text(self, text: str, notes: list[str]) -> tuple[Wanted, str]:
        """What stands for an anchor without items: those that its words name, else those nearest to them."""
        vectors, size = self._finder.data.vectors[SPACE], self._finder.usual_size
        told = None if self._tower is None or not text.strip() else self._tower.encode([text], known=True)
        direction = unit(told)[0] if told is not None and told.any() else None
        said = self._facets.of(tokens(text[:LONGEST]), None) if text.strip() else None
        if direction is None and said is None:
            if text.strip():
                notes.append("no word of its text is known")
            notes.append("it is ranked by what they do in general")
            return Wanted(np.zeros(0, np.int64), size=size), "habits"
        near = np.zeros(len(vectors), np.float32) if direction is None else vectors @ direction
        among, named = np.arange(len(near)), ""
        if said is not None:
            # What else a text says, such as that something is cheaper, would lead away from what it names.
            every, named, direction = said.every(), "of what it names ", None
            among = np.flatnonzero(every if every.any() else said.holding.any(axis=0))
            notes += [f"{one.text!r} is read as {one.field} {one.value}" for one in said.facets]
        best = among[np.lexsort((among, -near[among]))[:_STAND_IN]]
        one, label = len(best) == 1, self._finder.names.item
        stand = f"{label} nearest to its text stands" if one else f"{label}s nearest to its text stand"
        notes.append(f"{named}the {len(best)} {stand} for its own")
        return Wanted(np.sort(best), {} if direction is None else {SPACE: direction}, size), "text"

    @cached_property
    def _facets(self) -> Facets:
        return Facets(self._items, self._finder.data.groups)

    def _answers(
        self,
        scored: list[_Scored],
        size: int,
        exclude: Sequence[str],
        cap: int | None,
        only: Among | None,
    ) -> list[AudienceAnswer]:
        check_count(size, "size")
        if cap is not None:
            check_count(cap, "cap")
        places = self._finder.candidate_places
        out = np.zeros(self._finder.data.candidates, np.bool_)
        strangers = []
        for key in dict.fromkeys(exclude):
            if key in places:
                out[places[key]] = True
            else:
                strangers.append(key)
        for one in scored:
            keep = ~out[one.who]
            if left := int((~keep).sum()):
                one.notes.append(f"{left:,} are left out as asked")
            if only is not None:
                keep &= only.mask[one.who]
                one.notes += [*only.notes, f"{int(keep.sum()):,} are left by what was asked of them"]
            one.who, one.p = one.who[keep], one.p[keep]
        chosen = [np.arange(min(size, len(one.who))) for one in scored]
        if cap is not None:
            chosen = _capped(scored, size, cap, self._finder.data.candidates)
        return [self._told(one, rows, strangers) for one, rows in zip(scored, chosen, strict=True)]

    def _told(self, one: _Scored, rows: IntArray, strangers: list[str]) -> AudienceAnswer:
        why = _Reasons(self._finder, self._items, one.wanted, one.anchor)
        members = []
        for rank, row in enumerate(rows.tolist(), start=1):
            because, path = why.of(int(one.who[row]))
            key = self._finder.keys.candidates[one.who[row]]
            members.append(Member(rank, key, float(one.p[row]), because, path))
        steps = sorted({max(1, round(step * len(one.p))) for step in GAIN_STEPS}) if len(one.p) else []
        total = np.cumsum(one.p)
        return AudienceAnswer(
            one.campaign, one.basis, tuple(members),
            expected_positives(one.p[rows], self._finder.spread), len(one.who),
            tuple((n, float(total[n - 1])) for n in steps), tuple(one.notes), (*one.unknown, *strangers),
        )  # fmt: skip


def _capped(scored: list[_Scored], size: int, cap: int, candidates: int) -> list[IntArray]:
    """The rows that each anchor takes, the likeliest pairs of all first, of equals the first anchor's."""
    anchor = np.concatenate([np.full(len(one.who), i) for i, one in enumerate(scored)])
    row = np.concatenate([np.arange(len(one.who)) for one in scored])
    p = np.concatenate([one.p for one in scored])
    taken, left = np.zeros(candidates, np.int64), [size] * len(scored)
    chosen: list[list[int]] = [[] for _ in scored]
    for at in np.lexsort((row, anchor, -p)).tolist():
        i, r = int(anchor[at]), int(row[at])
        who = scored[i].who[r]
        if left[i] and taken[who] < cap:
            chosen[i].append(r)
            taken[who] += 1
            left[i] -= 1
    return [np.array(sorted(rows), np.int64) for rows in chosen]


class _Reasons:
    """Why a candidate may be a positive of an anchor: paths of the graph, as far as the bundle knows them."""

    def __init__(self, finder: Finder, items: Items, wanted: Wanted, anchor: int | None) -> None:
        self._finder, self._items, self._wanted = finder, items, wanted
        moment = finder.moment(anchor)
        had, positive = finder.data.history.before(moment), finder.data.positives.before(moment)
        self._history = _ByNode(had.who, had.what, finder.data.candidates)
        self._positives = _ByNode(positive.who, positive.what, finder.data.candidates)
        self._mine = np.zeros(finder.data.items, np.bool_)
        self._mine[wanted.items] = True
        self._target = (
            f"{finder.names.anchor} {finder.keys.anchors[anchor]}"
            if anchor is not None
            else f"a new {finder.names.anchor}"
        )

    def of(self, who: int) -> tuple[str, tuple[str, ...]]:
        """In words, and as steps."""
        names = self._finder.names
        had = self._history.of(who)
        told: list[str] = []
        start = f"{names.candidate} {self._finder.keys.candidates[who]}"
        path: tuple[str, ...] = ()
        mine = had[self._mine[had]]
        if len(mine):
            titles = list(dict.fromkeys(self._title(item) for item in mine[::-1]))
            what = f"{names.history} {len(mine):,} of its {names.item}s"
            such = ", such as" if len(titles) > _SHOWN else ":"
            told.append(f"{what}{such} {', '.join(titles[:_SHOWN])}")
            back = self._finder.names.paths[0] if self._finder.names.paths else "belongs to"
            path = (start, names.history, f"{names.item} {self._items.keys[mine[-1]]}", back, self._target)
        elif len(had) and (shared := self._shared(had)) is not None:
            family, group, count, item = shared
            plural = "s" if count > 1 else ""
            told.append(
                f"{names.history} {count:,} {names.item}{plural} of {group} ({family}), as some of its are"
            )
            node = f"{names.item} {self._items.keys[item]}"
            path = (start, names.history, node, family, group, family, f"{names.item}s of", self._target)
        positives = self._positives.of(who)
        if len(positives):
            anchors = np.unique(positives)
            last = self._finder.keys.anchors[positives[-1]]
            plural = "s" if len(anchors) > 1 else ""
            told.append(f"{names.positive} for {len(anchors):,} earlier {names.anchor}{plural}")
            path = path or (start, names.positive, f"{names.anchor} {last}")
        if not told:
            told.append(
                f"{len(had):,} {names.history} before, nothing in common with it" if len(had)
                else "nothing is known of it before: told is what is usual"
            )  # fmt: skip
        return "; ".join(told), path

    def _title(self, item: int) -> str:
        return self._items.titles[item] or self._items.keys[item]

    def _shared(self, had: IntArray) -> tuple[str, str, int, int] | None:
        """The group of the anchor with the most of a history: fact, name, how many, the latest item."""
        best: tuple[str, str, int, int] | None = None
        for family, wanted, members in self._families:
            spans = [members.of(int(item)) for item in had]
            groups = np.concatenate(spans)
            owners = np.repeat(had, [len(span) for span in spans])
            keep = wanted[groups]
            if not keep.any():
                continue
            counts = np.bincount(groups[keep])
            group = int(counts.argmax())
            if best is None or counts[group] > best[2]:
                item = int(owners[keep & (groups == group)][-1])
                best = family.name, family.names[group], int(counts[group]), item
        return best

    @cached_property
    def _families(self) -> list[tuple[MemberGroups, BoolArray, _ByNode]]:
        """Of each fact, which groups hold an item of the anchor, and the groups of each item."""
        out = []
        for family in self._finder.data.groups:
            wanted = np.zeros(len(family.names), np.bool_)
            wanted[family.groups[self._mine[family.items]]] = True
            out.append((family, wanted, _ByNode(family.items, family.groups, self._finder.data.items)))
        return out


class _ByNode:
    """What each node is tied to, in the order given."""

    def __init__(self, nodes: IntArray, tied: IntArray, count: int) -> None:
        self._tied = tied[np.argsort(nodes, kind="stable")]
        self._offsets = np.concatenate([[0], np.cumsum(np.bincount(nodes, minlength=count))])

    def of(self, node: int) -> IntArray:
        """What it is tied to."""
        return self._tied[self._offsets[node] : self._offsets[node + 1]]
