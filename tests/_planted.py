"""Small worlds in which it is known what predicts what, so that a model that misses it is noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from _tables import write_rows

from kgdistill.models.scorer import Scorer
from kgdistill.models.text.tokens import Tokens
from kgdistill.snapshot import Snapshot, take_events, take_snapshot
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema
from kgdistill.tasks.item_groups import ItemGroups, fact_groups, text_groups
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.other_events import other_events
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.training_data import TrainingData, make_training_data
from kgdistill.train.targets import Targets

BOUGHT, VIEWED = ("User", "BOUGHT", "Product"), ("User", "VIEWED", "Product")
RATED = ("User", "RATED", "Product")
START = datetime(2024, 1, 1)
CUT_DAY, TEST_DAY = 200.0, 250.0
Event = tuple[int, int, float]
"""User, item, and the day of the first purchase."""


def protocol(**more: Any) -> DiscoveryProtocol:
    """The cut at day 200, the test from day 250 on."""
    given: dict[str, Any] = {
        "name": "planted",
        "title": "Planted",
        "cut": START + timedelta(days=CUT_DAY),
        "test_start": START + timedelta(days=TEST_DAY),
        "min_item_users": 3,
        "min_user_events": 1,
        "settings": ("warm", "cold", "strictly_cold"),
        "k": 10,
    }
    return DiscoveryProtocol(**(given | more))


@dataclass(frozen=True)
class World:
    """Who buys what when, and what is said of the items.

    Attributes:
        users, items: how many there are.
        bought: every first purchase.
        brand: of each item; the only fact.
        kind: what each item's text says, int64 [items]; None for texts that say nothing.
        named: whether each text names its item as well.
        viewed: every first view.
        viewed_as: the type of what `viewed` tells.
        rated: every rating, with its stars.
        attributes: of each item; none where empty.
    """

    users: int
    items: int
    bought: Sequence[Event]
    brand: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64] | None = None
    named: bool = True
    rules: DiscoveryProtocol = field(default_factory=protocol)
    viewed: Sequence[Event] = ()
    viewed_as: str = "VIEWED"
    rated: Sequence[tuple[int, int, float, float | None]] = ()
    attributes: Sequence[str] = ()

    def fill(self, store: GraphStore, schema: Schema | None = None) -> None:
        """Writes the world into an empty store."""
        schema = schema or load_schema()
        store.apply_schema(schema)
        titles = [f"thing {i}" if self.named else "thing" for i in range(self.items)]
        if self.kind is not None:
            titles = [f"{title} of kind {k}" for title, k in zip(titles, self.kind, strict=True)]
        tables: dict[Any, list[dict[str, Any]]] = {
            "User": [{"user_id": f"u{u:03}"} for u in range(self.users)],
            "Product": [
                {"product_id": f"p{i:03}", "title": t, "attributes": a}
                for i, (t, a) in enumerate(zip(titles, self.attributes or [None] * self.items, strict=True))
            ],
            "Brand": [{"brand_id": f"b{b:02}", "name": f"brand {b}"} for b in np.unique(self.brand)],
            ("Product", "MADE_BY", "Brand"): [
                {"source": f"p{i:03}", "target": f"b{b:02}"} for i, b in enumerate(self.brand)
            ],
            BOUGHT: [
                {
                    "source": f"u{user:03}",
                    "target": f"p{item:03}",
                    "first_at": START + timedelta(days=float(day)),
                    "first_quantity": 1,
                    "last_at": START + timedelta(days=float(day)),
                    "count": 1,
                }
                for user, item, day in self.bought
            ],
            ("User", self.viewed_as, "Product"): [
                {"source": f"u{user:03}", "target": f"p{item:03}", "first_at": moment, "last_at": moment}
                for user, item, day in self.viewed
                for moment in [START + timedelta(days=float(day))]
            ],
            RATED: [
                {
                    "source": f"u{user:03}",
                    "target": f"p{item:03}",
                    "at": START + timedelta(days=float(day)),
                    "rating": stars,
                }
                for user, item, day, stars in self.rated
            ],
        }
        write_rows(store, schema, tables)

    def planted(self, folder: Path) -> Planted:
        """The world at its cut."""
        cut = self.rules.snapshot_cut
        # Fewer tables make a store and its snapshot in less time.
        types = ("BOUGHT", self.viewed_as, "RATED", "MADE_BY")
        narrow = load_schema().restricted(("User", "Product", "Brand"), types)
        with MemoryStore() as store:
            self.fill(store, narrow)
            snapshot = take_snapshot(store, folder, cut=cut)
            later = take_events(store, self.rules.interaction, start=cut, end=None, include_future=True)
        return Planted(self, snapshot, later)


@dataclass(frozen=True)
class Planted:
    """A world's snapshot, the events from its cut on, and its texts as embeddings and tokens."""

    world: World
    snapshot: Snapshot
    later: pa.Table

    @property
    def text(self) -> npt.NDArray[np.float32]:
        """Noise, and the item's kind where its text says so: float32 [items, 16]."""
        draw = np.random.default_rng(1)
        text = draw.normal(size=(self.world.items, 16))
        if self.world.kind is not None:
            text = 0.1 * text + np.eye(16)[self.world.kind]
        return text.astype(np.float32)

    @property
    def tokens(self) -> Tokens:
        """One for the kind, or for all, and one for the item where it is named."""
        world, ids = self.world, []
        for item in range(world.items):
            ids.append([0 if world.kind is None else int(world.kind[item])])
            if world.named:
                ids[-1].append(16 + item)
        return Tokens.of(ids, 16 + world.items)

    @property
    def task(self) -> MatchTask:
        """Who is asked, and what is right."""
        return build_task(self.snapshot, self.later, self.world.rules)

    def catalogue(self, weights: Mapping[str, float] | None = None) -> TrainingData:
        """What training reads; with events of further kinds, by what one weighs."""
        others = other_events(self.snapshot, self.task, weights or {})
        return make_training_data(
            self.snapshot, self.task, self.text, np.arange(self.world.items), others=others
        )

    def facts(self, shuffle: int | None = None) -> list[ItemGroups]:
        """The brands, or with a seed the brands of others."""
        draw = None if shuffle is None else np.random.default_rng(shuffle)
        return fact_groups(self.snapshot, "Product", shuffle=draw)

    def fields(self) -> list[ItemGroups]:
        """The shared text fields."""
        return text_groups(self.snapshot, "Product")


def brand_world(seed: int = 0) -> World:
    """Facts alone predict: every user buys the items of one brand, new ones as soon as they come.

    Items 0-59 are old, 60-79 come shortly before the cut and 80-99 after it; item i is of brand i % 10, and
    user u buys those of brand u % 10, and now and then another old one.
    """
    draw = np.random.default_rng(seed)
    bought: list[Event] = []
    for user in range(80):
        mine = user % 10 + 10 * np.arange(10)
        old = draw.choice(mine[:6], 4, replace=False)
        other = draw.choice(np.setdiff1d(np.arange(60), mine), 1)
        bought += [(user, int(i), float(draw.uniform(0, 170))) for i in [*old, *other]]
        bought.append((user, int(draw.choice(mine[6:8])), float(draw.uniform(185, CUT_DAY))))
        bought += [(user, int(i), float(draw.uniform(CUT_DAY, 300))) for i in mine[8:]]
    return World(80, 100, bought, np.arange(100) % 10)


def view_world(seed: int = 0, viewed_as: str = "VIEWED") -> World:
    """Views, or other events, alone predict: who views item i of 0-39 buys item 40 + i soon after."""
    draw = np.random.default_rng(seed)
    bought: list[Event] = []
    viewed: list[Event] = []
    for user in range(150):
        for turn, item in enumerate(draw.choice(40, 8, replace=False)):
            day = float(draw.uniform(0, 180) if turn < 6 else draw.uniform(180, CUT_DAY))
            viewed.append((user, int(item), day))
            bought.append((user, int(40 + item), day + float(draw.uniform(1, 10) if turn < 6 else 20)))
    return World(150, 80, bought, np.zeros(80, np.int64), viewed=viewed, viewed_as=viewed_as)


def star_world(seed: int = 0) -> World:
    """Stars alone predict: who gives item i of 0-39 five stars buys item 40 + i, who gives one does not."""
    draw = np.random.default_rng(seed)
    bought: list[Event] = []
    rated: list[tuple[int, int, float, float | None]] = []
    for user in range(150):
        for turn, item in enumerate(draw.choice(40, 14, replace=False)):
            liked, late = turn % 2 == 0, turn >= 10
            day = float(draw.uniform(180, CUT_DAY) if late else draw.uniform(0, 180))
            rated.append((user, int(item), day, 5.0 if liked else 1.0))
            if liked:
                bought.append((user, int(40 + item), day + (20 if late else float(draw.uniform(1, 10)))))
    return World(150, 80, bought, np.zeros(80, np.int64), rated=rated)


def kind_world(seed: int = 0) -> World:
    """Texts alone tell of new items: every user buys one kind, and the brands say nothing.

    Items 0-59 are old, 60-89 come shortly before the cut, 90-99 are never bought; item i is of kind i % 5.
    """
    draw = np.random.default_rng(seed)
    bought: list[Event] = []
    for user in range(80):
        mine = user % 5 + 5 * np.arange(20)
        bought += [(user, int(i), float(draw.uniform(0, 170))) for i in draw.choice(mine[:12], 6, False)]
        bought += [
            (user, int(i), float(draw.uniform(185, CUT_DAY))) for i in draw.choice(mine[12:18], 2, False)
        ]
    return World(80, 100, bought, draw.permutation(100) % 10, np.arange(100) % 5)


COLOURS = ("red", "blue", "green", "black", "white")


def colour_world(seed: int = 0) -> World:
    """One part of a list alone tells of new items: as `kind_world`, where the kind is a colour."""
    draw, kinds = np.random.default_rng(seed), kind_world(seed)
    others = ("S", "M", "L", "XL", "XXL"), ("wool", "silk", "jute", "hemp")
    said = []
    for item in range(kinds.items):
        parts = [COLOURS[item % 5], *(str(draw.choice(some)) for some in others)]
        said.append(", ".join(draw.permutation(parts)))
    return World(kinds.users, kinds.items, kinds.bought, kinds.brand, named=False, attributes=said)


def random_world(seed: int = 0, *, named: bool = True) -> World:
    """Nothing predicts anything: everybody buys seven items of 36 at random."""
    draw = np.random.default_rng(seed)
    bought = [
        (user, int(item), float(draw.uniform(0, CUT_DAY)))
        for user in range(120)
        for item in draw.choice(36, 7, replace=False)
    ]
    return World(120, 36, bought, draw.permutation(36) % 6, named=named)


def late_world(variant: int = 0, *, early: int = 0) -> World:
    """What differs from one variant to the next happens late: each user's last purchase, of another item.

    Every item has had enough buyers by then; a tenth of the events is late. Another `early` differs before.
    """
    draw = np.random.default_rng(early)
    bought: list[Event] = []
    for user in range(60):
        order = draw.permutation(30)
        bought += [(user, int(i), float(day)) for i, day in zip(order, draw.uniform(0, 170, 9), strict=False)]
        bought.append((user, int(order[9 + variant]), float(draw.uniform(185, CUT_DAY))))
    return World(60, 30, bought, np.arange(30) % 5, np.arange(30) % 4)


def cluster_targets(catalogue: TrainingData, until_us: int, *, seed: int = 0, dim: int = 8) -> Targets:
    """A teacher that knows hidden clusters of a random world: item i is of cluster i % 3.

    It scores an item by how much of the history is of its cluster, the latest item most; its vectors are
    those of the clusters. Lists hold every unseen item in an order of their own.
    """
    view = catalogue.view(until_us)
    draw = np.random.default_rng(seed)
    count = view.purchases.shape[1]
    cluster = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    taste = view.purchases @ cluster
    width = count - int(np.diff(view.purchases.indptr).max())
    items = np.empty((len(catalogue.users), width), np.int64)
    for row, user in enumerate(catalogue.users):
        unseen = np.setdiff1d(catalogue.items, view.purchases[[user]].indices)
        items[row] = draw.permutation(unseen)[:width]
    scores = np.take_along_axis(2.0 * taste[catalogue.users] @ cluster.T, items, axis=1)
    vectors = np.concatenate([cluster, np.zeros((count, dim - 3), np.float32)], axis=1)
    vectors += 0.05 * draw.normal(size=vectors.shape).astype(np.float32)
    return Targets(catalogue.users, items, scores, (width,), vectors)


def top_shared(scorer: Scorer, targets: Targets, k: int = 8) -> float:
    """The share of the teacher's `k` best of every list that are the scorer's as well."""
    width = targets.items.shape[1]
    # Equal scores of the teacher are told apart in a way of their own.
    noise = 1e-3 * np.random.default_rng(0).normal(size=targets.scores.shape)
    best = np.zeros((2, len(targets.users), width), np.bool_)
    for side, scores in enumerate((scorer.lists(targets.users, targets.items), targets.scores + noise)):
        np.put_along_axis(best[side], np.argsort(-scores, axis=1)[:, :k], True, axis=1)
    return float((best[0] & best[1]).sum(1).mean() / k)
