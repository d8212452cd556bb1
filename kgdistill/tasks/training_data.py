"""What every stage of training shares: who, what, when, and the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.interactions import Interactions, OtherEvents, interactions_before
from kgdistill.tasks.match import MatchTask
from kgdistill.tasks.protocol import Setting
from kgdistill.tasks.recency import half_life

_LATEST = 0.1
"""The share of the events that tell what is of the shop itself (`TrainingData.latest`)."""


@dataclass(frozen=True)
class TrainingData:
    """What every stage of training shares: who, what, when, and the texts.

    Attributes:
        purchases: float32 CSR [users, items], before the cut.
        times: same sparsity, microseconds since 1970.
        cut_us: the cut.
        users: the users to train on, ids.
        items: the items that can be recommended, ids.
        text_rows: row of each item in `text`, int64 [items of the snapshot].
        text: embeddings of the distinct texts, float32 [T, E].
        min_count: an item with fewer buyers is cold.
        select_us: until when a model may see while it is chosen on the validation events, which lie after;
            the cut, unless the protocol fits again on them.
        label: of the items in the graph.
        pools: which candidates are ranked: "warm" and "cold" apart, or "all" and "cold".
        words: each item's words, weighted, CSR [items, words]; None without.
        group_texts: by fact, embeddings of its nodes' distinct texts, float32 [T, E], and each node's row.
        others: events of further kinds, before the cut.
    """

    purchases: sp.csr_matrix
    times: sp.csr_matrix
    cut_us: int
    users: IntArray
    items: IntArray
    text_rows: IntArray
    text: FloatArray
    min_count: int
    select_us: int
    label: str
    pools: tuple[Setting, ...] = ("warm", "cold")
    words: sp.csr_matrix | None = None
    group_texts: Mapping[str, tuple[FloatArray, IntArray]] = field(default_factory=dict)
    others: tuple[OtherEvents, ...] = ()
    _views: dict[int, Interactions] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def refits(self) -> bool:
        """Whether models are fitted again after they were chosen."""
        return self.select_us < self.cut_us

    def pool(self, name: str, view: Interactions) -> IntArray:
        """Ids of the items of a pool, ascending."""
        cold = view.counts[self.items] < self.min_count
        return self.items if name == "all" else self.items[cold if name == "cold" else ~cold]

    @cached_property
    def recent_days(self) -> float:
        """The half-life of recent popularity, by the latest events before models are chosen (`half_life`)."""
        return half_life(*self.latest(), self.users, self.items)

    def latest(self) -> tuple[Interactions, sp.csr_matrix]:
        """What was known before the last tenth of the events until `select_us`, and what was bought in it.

        Settings that are of the shop, and of no model, are told by it: what models are chosen by lies after.
        """
        some = (self.times.data < self.select_us).any()
        start = self.inner_cut(_LATEST, self.select_us) if some else self.select_us
        known = interactions_before(
            self.purchases, self.times, until_us=start, min_count=self.min_count, others=self.others
        )
        whole = interactions_before(
            self.purchases, self.times, until_us=self.select_us, min_count=self.min_count
        )
        later = sp.csr_matrix(whole.purchases - known.purchases)
        later.eliminate_zeros()
        return known, later

    def view(self, until_us: int | None = None) -> Interactions:
        """The view of events before `until_us`, by default the cut; the same one whenever it is asked for."""
        until = self.cut_us if until_us is None else until_us
        if until > self.cut_us:
            raise LeakError("a view may not reach past the cut")
        if until not in self._views:
            self._views[until] = interactions_before(
                self.purchases, self.times, until_us=until, min_count=self.min_count, others=self.others,
                recent_days=self.recent_days,
            )  # fmt: skip
        return self._views[until]

    def inner_cut(self, share: float, until_us: int | None = None) -> int:
        """The time after which `share` of the events before `until_us` lie: they are labels in training."""
        until = self.cut_us if until_us is None else until_us
        times = self.times.data[self.times.data < until]
        if not len(times):
            raise InputError("no purchase lies before the cut", hint="choose a later cut")
        return int(np.quantile(times, 1 - share))


def make_training_data(
    snapshot: Snapshot,
    task: MatchTask,
    text: FloatArray,
    text_rows: IntArray,
    *,
    words: sp.csr_matrix | None = None,
    group_texts: Mapping[str, tuple[FloatArray, IntArray]] | None = None,
    others: Sequence[OtherEvents] = (),
) -> TrainingData:
    """The catalogue of a snapshot: the eligible pairs before the cut, with their times.

    Args:
        snapshot: the graph at the cut.
        task: says which users, items and pairs are eligible; only its training part is read.
        text: embeddings of the distinct texts, float32 [T, E].
        text_rows: row of each product in `text`, int64 [products].
        words: each product's words, weighted, CSR [products, words].
        group_texts: as `TrainingData.group_texts`.
        others: events of further kinds (`other_events`).

    Raises:
        LeakError: an event at or after the cut is among the pairs.
        InputError: the snapshot has no cut, or every item is cold.
    """
    known = snapshot.times(task.protocol.interaction)
    if known is None or snapshot.cut is None:
        raise InputError("training needs a snapshot with a cut and interactions with a time")
    if len(known) and known.max() >= np.datetime64(snapshot.cut, "us"):
        raise LeakError("an event at or after the cut is in the snapshot", where=str(snapshot.folder))
    pairs = sp.csr_matrix(task.history("test"))
    pairs.sort_indices()
    times = sp.csr_matrix((task.history_times_us("test"), pairs.indices, pairs.indptr), shape=pairs.shape)
    least = task.protocol.min_item_users
    if not (task.counts("test")[task.items] >= least).any():
        raise InputError(
            f"no item has {least} buyers before the cut {snapshot.cut}, so that nothing can be learned",
            where=str(snapshot.folder),
            hint="lower min_item_users or choose a later cut",
        )
    return TrainingData(
        purchases=pairs,
        times=times,
        cut_us=task.history_until_us("test"),
        users=task.users,
        items=task.items,
        text_rows=text_rows,
        text=text,
        min_count=least,
        select_us=task.history_until_us("validation"),
        pools=("all", "cold") if "all" in task.protocol.settings else ("warm", "cold"),
        words=words,
        group_texts={} if group_texts is None else group_texts,
        label=task.protocol.candidates,
        others=tuple(others),
    )
