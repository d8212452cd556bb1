"""The part of a bundle that ranks what is bought again beside what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.ranking.habits import ItemHabits, Past
from kgdistill.ranking.repeats import WIDTH, ListSettings, RepeatNetwork, RepeatScorer
from kgdistill.serve.parts import Arrays, HeldPart, check_arrays, check_settings, refuse, whole
from kgdistill.serve.scores import HistoryScorer, Pool

_LISTS = ("popular", "proposed", "pool")


class Repeats(HeldPart):
    """What the repeat model knows.

    Args:
        given: `until` (what everybody bought before it is known), `popular`, `proposed`, `pool` (see
            `ListSettings`), `informed` (whether the student takes part).
        held: the arrays of a `RepeatNetwork`, and of an `ItemHabits` whose last row is an item that nobody
            bought.
        items: how many there are, at least as many as were packed.

    Raises:
        ArtefactError: settings and arrays do not fit together.
    """

    name: ClassVar[str] = "repeats"

    def __init__(self, given: Mapping[str, Any], held: Arrays, items: int) -> None:
        _check(given, held, items)
        super().__init__(given, held, items)
        of_network = {name: held[name] for name in _shapes(0)}
        self.network = RepeatNetwork(**of_network, informed=given["informed"])
        self.settings_of_lists = ListSettings(**{name: given[name] for name in _LISTS})
        self.until_us = _micros(given["until"])

    @classmethod
    def packed(
        cls, network: RepeatNetwork, lists: ListSettings, habits: ItemHabits, until_us: int, items: int
    ) -> Repeats:
        """The part of a fitted network.

        Args:
            network, lists: of the model.
            habits: of the bundle's items, and at the end of one that nobody bought.
            until_us: the moment that they are known up to, microseconds since 1970.
            items: of the bundle.
        """
        arrays = {name: getattr(network, name) for name in _shapes(0)}
        arrays |= {"values": habits.values, "interval": habits.interval, "bought": habits.popular}
        until = str(np.datetime64(until_us, "us"))
        given = {"until": until, "informed": network.informed}
        return cls(given | {name: asdict(lists)[name] for name in _LISTS}, arrays, items)

    @cached_property
    def bought(self) -> IntArray:
        """Positions of the items that anybody bought, the recently most bought first."""
        return self._held["bought"]

    def habits(self, items: int) -> ItemHabits:
        """What is known of so many items; those that came later are as one that nobody bought."""
        row = np.minimum(np.arange(items), len(self._held["values"]) - 1)
        return ItemHabits(self._held["values"][row], self._held["interval"][row], self.bought)

    def scores(
        self, lines: Sequence[tuple[IntArray, IntArray]], scorer: HistoryScorer, among: BoolArray | None
    ) -> FloatArray:
        """Scores of all items for some users, float32 [B, N].

        Args:
            lines: of each user, at least one: positions, and how long before the moment, microseconds
                below 0; int64, by time and position.
            scorer: of the bundle's history, over N items.
            among: bool [N]; the others are as if they were not there. None: all are.
        """
        items = len(scorer.cold)
        users = np.repeat(np.arange(len(lines)), [len(places) for places, _ in lines])
        flat, at = (np.concatenate(part) for part in zip(*lines, strict=True))
        past = Past(users, flat, at, 0, (len(lines), items), self.habits(items))
        student = _Served(scorer, [first_places(places) for places, _ in lines])
        ranking = RepeatScorer(
            self.network, past, student if self.network.informed else None, self.settings_of_lists, among
        )
        return ranking(np.arange(len(lines)), np.arange(items))


def first_places(places: IntArray) -> IntArray:
    """Each once, in the order of the first."""
    return places[np.sort(np.unique(places, return_index=True)[1])]


class _Served:
    """A bundle's student for some histories."""

    def __init__(self, scorer: HistoryScorer, histories: Sequence[IntArray]) -> None:
        self._scorer, self._histories = scorer, histories

    def __call__(self, users: IntArray, candidates: IntArray) -> FloatArray:
        return self._scores(users, self._scorer.pool(candidates))

    def lists(self, users: IntArray, lists: IntArray) -> FloatArray:
        pool = self._scorer.pool(np.unique(lists))
        columns = np.searchsorted(pool.items, lists)
        return np.take_along_axis(self._scores(users, pool), columns, axis=1)

    def _scores(self, users: IntArray, pool: Pool) -> FloatArray:
        return self._scorer.block([self._histories[user] for user in users], pool).scores


def _shapes(hidden: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of the network's arrays."""
    shapes = {
        "mean": (WIDTH,), "scale": (WIDTH,), "inner": (hidden, WIDTH), "inner_bias": (hidden,),
        "outer": (hidden,), "outer_bias": (1,),
    }  # fmt: skip
    return {name: ("float32", shape) for name, shape in shapes.items()}


def _micros(until: str) -> int:
    return int(np.datetime64(datetime.fromisoformat(until), "us").astype(np.int64))


def _is_time(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except (TypeError, ValueError):
        return False


def _check(given: Mapping[str, Any], held: Arrays, items: int) -> None:
    check_settings(
        given,
        {
            "until": _is_time(given.get("until")),
            "informed": isinstance(given.get("informed"), bool),
            **{name: whole(given.get(name)) for name in _LISTS},
        },
    )
    hidden, known = (held[name].size if name in held else 0 for name in ("outer", "interval"))
    if not 1 <= known <= items + 1:
        raise refuse(f"repeats.interval tells of {known - 1:,} items, not of {items:,}")
    tables = {
        "values": ("float32", (known, 5)),
        "interval": ("float64", (known,)),
        "bought": ("int64", (-1,)),
    }
    check_arrays(Repeats.name, held, {**_shapes(hidden), **tables})
    bought, interval = held["bought"], held["interval"]
    if len(bought) and (
        len(np.unique(bought)) < len(bought) or bought.min() < 0 or bought.max() >= known - 1
    ):
        raise refuse("repeats.bought holds no distinct positions of items")
    if not (np.isfinite(interval) & (interval > 0)).all() or not (held["scale"] > 0).all():
        raise refuse("repeats.interval or repeats.scale holds a number that is not above 0")
