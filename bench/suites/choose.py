"""Peers: hyper-parameters by grid on validation, then fitted on what the test's models may know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from bench.baselines import Grid, popularity, with_fallback
from bench.suites.judge import Judge
from bench.suites.result import ArmScores, Kind
from kgdistill.arrays import DoubleArray, IntArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.progress import step
from kgdistill.tasks.match import MatchTask, Scorer, Setting, Split

Choose: TypeAlias = Mapping[Setting, tuple[Setting, str]]
"""Judged setting -> by which setting and metric of the validation split its hyper-parameters are chosen."""


@dataclass(frozen=True)
class Known:
    """What a peer may learn from when it is judged on `split`; the test split stays closed.

    Attributes:
        history: float32 CSR [all users, all items], canonical.
        times_us: int64 [nnz], in the order of its data.
        until_us: the moment of asking.
        items: int64: the eligible items with at least `min_item_users` users in it.
    """

    split: Split
    history: csr_array
    times_us: IntArray
    until_us: int
    items: IntArray


def known(task: MatchTask, split: Split) -> Known:
    """What may be known of a task."""
    history = task.history(split)
    history.sort_indices()
    often = task.counts(split)[task.items] >= task.protocol.min_item_users
    return Known(
        split, history, task.history_times_us(split), task.history_until_us(split), task.items[often]
    )


Fit: TypeAlias = Callable[[Known, Mapping[str, Any]], Scorer]
"""Fits a peer with these keyword arguments."""


@dataclass(frozen=True)
class Peer:
    """One peer.

    Attributes:
        arm, title: its short name and what a reader calls it.
        fit: fits it.
        grid: what is tried on validation; of one set nothing is chosen.
        settings: where it can be judged; None: everywhere.
        seeds: each is passed to `fit` as `seed` where there are several.
        finish: chooses more on validation, such as epochs, and returns the whole set of arguments.
        kind: "peer", or "control".
    """

    arm: str
    title: str
    fit: Fit
    grid: Grid = ({},)
    settings: tuple[Setting, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    finish: Callable[[Known, Mapping[str, Any]], dict[str, Any]] | None = None
    kind: Kind = "peer"


@dataclass
class Chooser:
    """Chooses on the validation split of a task that is never opened.

    Attributes:
        task: the closed task.
        choose: by what.
        chosen: arm -> setting of the validation split -> the arguments that were best there.
    """

    task: MatchTask
    choose: Choose
    chosen: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def validate(self, scorer: Scorer, setting: Setting, metric: str) -> float:
        """The mean of a metric such as "ndcg@20" on validation."""
        name, _, k = metric.partition("@")
        result = evaluate_arm(
            scorer, self.task, arm="peer", title="peer", split="validation", k=int(k),
            settings=[setting], progress=False,
        )  # fmt: skip
        return result.mean(setting, name)

    def best(self, peer: Peer) -> dict[str, dict[str, Any]]:
        """The best arguments by validation setting; the earlier of equals."""
        if peer.arm in self.chosen:
            return self.chosen[peer.arm]
        wanted = dict.fromkeys(
            by for setting, by in self.choose.items() if peer.settings is None or setting in peer.settings
        )
        first = known(self.task, "validation")
        found: dict[str, tuple[float, dict[str, Any]]] = {}
        if len(peer.grid) == 1 and peer.finish is None:
            self.chosen[peer.arm] = {setting: dict(peer.grid[0]) for setting, _ in wanted}
            return self.chosen[peer.arm]
        with step(f"choosing for {peer.title}", len(peer.grid)) as work:
            for given in peer.grid:
                values = peer.finish(first, given) if peer.finish is not None else dict(given)
                scorer = self._whole(peer.fit(first, values), first)
                for setting, metric in wanted:
                    value = self.validate(scorer, setting, metric)
                    if setting not in found or value > found[setting][0]:
                        found[setting] = (value, values)
                work.advance()
        self.chosen[peer.arm] = {setting: values for setting, (_, values) in found.items()}
        return self.chosen[peer.arm]

    def fitted(self, peer: Peer, split: Split, setting: str, **more: Any) -> tuple[Scorer, Scorer]:
        """The peer with what was best in that validation setting, fitted for `split`.

        A peer that cannot be judged there takes what was best where it can.

        Returns:
            The scorer for everybody, and the peer's own.
        """
        best = self.best(peer)
        values = best[setting] if setting in best else next(iter(best.values()))
        now = known(self.task, split)
        own = peer.fit(now, {**values, **more})
        return self._whole(own, now), own

    def _whole(self, scorer: Scorer, now: Known) -> Scorer:
        """Users without history get popularity, where there are such."""
        if self.task.protocol.min_user_events > 0:
            return scorer
        return with_fallback(scorer, now.history, popularity(now.history))


def judged_peer(peer: Peer, chooser: Chooser, judge: Judge, seed: int) -> ArmScores:
    """Chooses, fits for the test, and judges once per setting; settings that chose alike share a fit."""
    settings = [s for s in chooser.task.protocol.settings if peer.settings is None or s in peer.settings]
    groups: list[tuple[dict[str, Any], str, list[Setting]]] = []
    best = chooser.best(peer)
    for setting in settings:
        by: str = chooser.choose[setting][0]
        same = next((members for values, _, members in groups if values == best[by]), None)
        if same is None:
            groups.append((best[by], by, [setting]))
        else:
            same.append(setting)
    scores: dict[str, dict[str, DoubleArray]] = {}
    extra: dict[str, float] = {}
    seconds, parameters = 0.0, None
    for _, by, members in groups:
        started = time.monotonic()
        scorer, own = chooser.fitted(peer, "test", by, **({"seed": seed} if len(peer.seeds) > 1 else {}))
        seconds = max(seconds, getattr(own, "seconds", time.monotonic() - started))
        parameters = getattr(own, "parameters", parameters)
        found, more = judge.measure(scorer, peer.arm, peer.title, members)
        scores |= found
        extra |= more
    for place, values in best.items():
        extra |= {f"{place}:{name}": float(v) for name, v in values.items() if _is_number(v)}
    order = dict.fromkeys([*(s for s in chooser.task.protocol.settings if s in scores), *scores])
    return ArmScores(
        peer.arm, peer.title, peer.kind, seed, seconds, parameters, None, {s: scores[s] for s in order}, extra
    )


def among(items: IntArray, fit: Callable[[csr_array], Scorer], history: csr_array) -> Scorer:
    """Fits on the columns of `items` alone; every other item scores 0.

    Args:
        items: int64, ascending.
        fit: gets those columns and returns a scorer over their positions.
        history: float32 CSR [users, all items].
    """
    inner = fit(csr_array(history[:, items]))

    def score(users: IntArray, candidates: IntArray) -> Any:
        at = np.minimum(np.searchsorted(items, candidates), max(len(items) - 1, 0))
        held = items[at] == candidates if len(items) else np.zeros(len(candidates), np.bool_)
        if held.all():
            return inner(users, at)
        scores = np.zeros((len(users), len(candidates)), np.float32)
        if held.any():
            scores[:, held] = inner(users, at[held])
        return scores

    return score


def times_among(items: IntArray, now: Known) -> IntArray:
    """The times of the pairs of `items`, in the order of those columns' data."""
    stamped = csr_array((now.times_us, now.history.indices, now.history.indptr), shape=now.history.shape)
    return np.asarray(csr_array(stamped[:, items]).data, dtype=np.int64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
