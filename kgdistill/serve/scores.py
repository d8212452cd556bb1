"""A student's scores without torch: many users at once, in blocks that fit the processor's caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.ranking.topk import top_k
from kgdistill.serve.groups import Groups, ranges

# Scores held at a time, some 10 MB in all; of these in one pass, what fits a second-level cache.
_CELLS, _WIDTH, _ROWS = 1 << 20, 1 << 12, 16
# Rows in one product: always so many, as a product of more or fewer rounds otherwise.
_TILE = 4
_STRIDE = 64


@dataclass(frozen=True)
class Pool:
    """Some items, laid out for scoring.

    Attributes:
        items: positions int64 [C], ascending.
        vectors: float32 [D, C].
        weights: of the terms, float32 [T, C].
        fixed, by_length: what a score is made of whatever was bought, and what is added for each unit of the
            history's length, float32 [C].
        lifted: the first with the lift of new items, which nobody without a history gets, float32 [C].
        popularity: log(1 + buyers) and log(1 + recent buyers), float32 [2, C].
        groups: of the items in each family.
        factored: of each table of weights the columns of items that its product knows, and their factors,
            float32 [F, r].
    """

    items: IntArray
    vectors: FloatArray
    weights: FloatArray
    fixed: FloatArray
    by_length: FloatArray
    lifted: FloatArray
    popularity: FloatArray
    groups: list[Groups]
    factored: list[tuple[IntArray, FloatArray]]


@dataclass(frozen=True)
class Lift:
    """log(1 + share of the history in each group / everybody's share), and where it is not 0.

    Attributes:
        values: float32 [B, groups + 1]; the last for items without a group.
        rows, groups: int64, by row.
    """

    values: FloatArray
    rows: IntArray
    groups: IntArray


@dataclass(frozen=True)
class Block:
    """What is known of B users, and the sum of their terms.

    Attributes:
        scores: float32 [B, C].
        near: the vectors' affinity, float32 [B, C].
        tables: what each table of weights between items says, float32 [B, C].
        lifts: of each family.
        lengths: log(1 + items in the history) / 5, float32 [B].
    """

    scores: FloatArray
    near: FloatArray
    tables: list[FloatArray]
    lifts: list[Lift]
    lengths: FloatArray


class Known(NamedTuple):
    """What B histories hold, one after another.

    Attributes:
        flat: positions int64 [H].
        rows: whose, int64 [H].
        ranks: how many of the same history and kind came after it, int64 [H].
        users: B.
    """

    flat: IntArray
    rows: IntArray
    ranks: IntArray
    users: int


class HistoryScorer:
    """Scores items for histories of positions.

    A history is int64 positions of items bought, the latest last. After them may come those of further
    events, kind by kind in the order of `events`, each N further on than that of the kind before.

    Args:
        settings, arrays: of a bundle's `History`, checked.
    """

    def __init__(self, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.settings, self.arrays = settings, arrays
        self.decay = float(np.exp(arrays["log_decay"][0]))
        self.events: dict[str, float] = settings["events"]
        self._event_weights = np.array([1.0, *self.events.values()])
        self._eps: FloatArray = np.exp(arrays["blend.log_eps"])
        self.estimates = 1 + len(self._eps)
        counts = arrays["counts"]
        self.cold = counts < settings["min_count"]
        self.popularity = np.log1p(np.stack([counts, arrays["recent"]]).astype(np.float32))
        state = np.stack([self.popularity[0] / 5.0, self.cold]).astype(np.float32)
        self._weights = arrays["blend.weight"] @ state + arrays["blend.bias"][:, None]
        self.groups = [Groups.of_family(arrays, f"family{m}") for m in range(len(settings["families"]))]

    @cached_property
    def factor_rows(self) -> list[IntArray]:
        """Of each table of weights where every item stands in its product, int64 [N]; -1: nowhere."""
        rows = []
        for a in range(len(self.settings["neighbours"])):
            factored = self.arrays[f"neighbours{a}.factored"]
            row = np.full(len(self.cold), -1, np.int64)
            row[factored] = np.arange(len(factored))
            rows.append(row)
        return rows

    @cached_property
    def silent(self) -> FloatArray:
        """What the vectors and the tables say where they know nothing, float32 [estimates]."""
        none: FloatArray = np.append(0.0, logit(np.zeros(len(self._eps)), self._eps)).astype(np.float32)
        return none

    def pool(self, items: IntArray) -> Pool:
        """Some items, ascending, as if there were no others."""
        weights, popularity = (np.ascontiguousarray(a[:, items]) for a in (self._weights, self.popularity))
        user, estimates = self.arrays["blend.user"], self.estimates
        # An estimate of 0 is no evidence; what is some is added to it.
        constants = self.silent
        plain = np.concatenate([np.broadcast_to(constants[:, None], (estimates, len(items))), popularity])
        vectors = self.arrays["vectors"]
        vectors = vectors if len(items) == len(vectors) else vectors[items]
        fixed = (weights[: estimates + 2] * plain).sum(0)
        return Pool(
            items,
            np.ascontiguousarray(vectors.T),
            weights,
            fixed,
            (user[: estimates + 2, None] * plain).sum(0),
            self.arrays["blend.new_boost"][0] * self.cold[items] + fixed,
            popularity,
            [groups.of(items) for groups in self.groups],
            [self._factored(a, row[items]) for a, row in enumerate(self.factor_rows)],
        )

    def _factored(self, a: int, rows: IntArray) -> tuple[IntArray, FloatArray]:
        """Which columns have a row in a table's product, and their factors."""
        columns = np.flatnonzero(rows >= 0)
        return columns, self.arrays[f"neighbours{a}.right"][rows[columns]]

    # Whole rows -----------------------------------------------------------------------------------

    def scores(self, history: IntArray, pool: Pool) -> FloatArray:
        """Of every item of the pool, float32 [C]."""
        scores: FloatArray = self.block([history], pool).scores[0]
        return scores

    # The best of many -----------------------------------------------------------------------------

    def best(
        self, histories: Sequence[IntArray], exclude: Sequence[IntArray], k: int, pool: Pool
    ) -> tuple[IntArray, FloatArray]:
        """The `k` best items of each history beside those to exclude, ties by position.

        Args:
            histories: positions, the latest last.
            exclude: positions for each history.
            k: at most the pool's size.
            pool: what is ranked.

        Returns:
            Positions int64 [U, k] and scores float32 [U, k]; -1 and -inf where fewer remain.
        """
        items = np.full((len(histories), k), -1, np.int64)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        rows = max(1, _CELLS // max(len(pool.items), 1))
        marked = np.zeros(len(self.arrays["counts"]), np.bool_)
        for start in range(0, len(histories), rows) if len(pool.items) else ():
            part = slice(start, start + rows)
            self._best(histories[part], exclude[part], pool, items[part], scores[part], marked)
        return items, scores

    def _best(
        self,
        histories: Sequence[IntArray],
        exclude: Sequence[IntArray],
        pool: Pool,
        items: IntArray,
        scores: FloatArray,
        marked: npt.NDArray[np.bool_],
    ) -> None:
        """`best` of one block, into `items` and `scores`."""
        block, k, width = self.block(histories, pool), items.shape[1], len(pool.items)
        # So many that `k` are left whatever is excluded.
        most = min(k + max(map(len, exclude)), width)
        columns = np.stack([best_columns(row, most) for row in block.scores])
        best = np.take_along_axis(block.scores, columns, axis=1)
        named = pool.items[columns]
        for row, out in enumerate(exclude):
            marked[out] = True
            best[row, marked[named[row]]] = -np.inf
            marked[out] = False
        # Columns ascend, so that of equals the first stays the first.
        place, scores[:] = top_k(best, np.arange(most), k)
        items[:] = np.where(place >= 0, np.take_along_axis(named, place, axis=1), -1)

    # Terms ------------------------------------------------------------------------------------

    def block(self, histories: Sequence[IntArray], pool: Pool) -> Block:
        """The scores of B users."""
        known = self.known(histories)
        bought = self._bought(known)
        lengths = np.bincount(bought.rows, minlength=len(histories))
        block = Block(
            np.empty((len(histories), len(pool.items)), np.float32),
            np.empty((len(histories), len(pool.items)), np.float32),
            self._tables(known, bought, pool),
            [self.lift(m, bought) for m in range(len(self.groups))],
            (np.log1p(lengths) / 5.0).astype(np.float32),
        )
        self._add_vectors(block, pool, self._users(bought))
        own = self.arrays["blend.user"]
        for a, table in enumerate(block.tables, start=1):
            if self.arrays[f"neighbours{a - 1}.left"].size:
                above = logit(table, self._eps[a - 1]) - self.silent[a]
                above *= pool.weights[a] + own[a] * block.lengths[:, None]
                np.add(block.scores, above, out=block.scores)
                continue
            cells = np.flatnonzero(table)
            row, column = cells // table.shape[1], cells % table.shape[1]
            above = logit(table.ravel()[cells], self._eps[a - 1]) - self.silent[a]
            block.scores.ravel()[cells] += (pool.weights[a, column] + own[a] * block.lengths[row]) * above
        for m, lift in enumerate(block.lifts):
            self._add_family(block, pool, m, lift)
        return block

    def known(self, histories: Sequence[IntArray]) -> Known:
        """What the histories hold."""
        lengths = np.array([len(h) for h in histories], np.int64)
        flat = np.concatenate(histories) if len(histories) else np.zeros(0, np.int64)
        rows = np.repeat(np.arange(len(histories)), lengths)
        kinds = len(self._event_weights)
        parts = rows * kinds + flat // len(self.cold)
        ends = np.cumsum(np.bincount(parts, minlength=len(histories) * kinds))
        return Known(flat, rows, ends[parts] - np.arange(len(flat)) - 1, len(histories))

    def _bought(self, known: Known) -> Known:
        """The purchases alone."""
        if not self.events:
            return known
        own = known.flat < len(self.cold)
        return Known(known.flat[own], known.rows[own], known.ranks[own], known.users)

    def _users(self, bought: Known) -> FloatArray:
        """Vectors of the users, as `HistoryModel.users` pools them: float32 [B, D]."""
        flat, rows, ranks, users = bought
        summed = np.zeros((users, self.arrays["vectors"].shape[1]), np.float32)
        if len(flat):
            attention = self.attention(ranks)
            weights = (attention * self.damped[flat])[:, None]
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            summed[rows[starts]] = np.add.reduceat(weights * self.arrays["vectors"][flat], starts, axis=0)
            summed[rows[starts]] /= np.sqrt(np.add.reduceat(attention, starts))[:, None]
        return summed

    def attention(self, ranks: IntArray) -> FloatArray:
        """What recency leaves to items of a history, 0 for the latest: float32."""
        weights: FloatArray = np.exp(-self.decay * ranks.astype(np.float32))
        return weights

    @cached_property
    def damped(self) -> FloatArray:
        """How much each item counts in a history, float32 [N]."""
        damped: FloatArray = (1 / np.sqrt(np.maximum(self.arrays["counts"], 1))).astype(np.float32)
        return damped

    def _add_vectors(self, block: Block, pool: Pool, users: FloatArray) -> None:
        """Fills `near` and starts `scores` with the terms that every item has."""
        lengths = block.lengths[:, None]
        own = lengths * self.arrays["blend.user"][0]
        for start in range(0, len(pool.items), _WIDTH):
            part = slice(start, start + _WIDTH)
            vectors = pool.vectors[:, part]
            for top in range(0, len(users), _ROWS):
                mine = slice(top, top + _ROWS)
                near, out = block.near[mine, part], block.scores[mine, part]
                products(users[mine], vectors, near)
                x = pool.weights[0, part] + own[mine]
                x *= near
                np.multiply(lengths[mine], pool.by_length[part], out=out)
                bought = lengths[mine] > 0
                fixed = pool.lifted[part]
                out += fixed if bought.all() else np.where(bought, fixed, pool.fixed[part])
                out += x

    def _tables(self, known: Known, bought: Known, pool: Pool) -> list[FloatArray]:
        """What each table of weights between items says, float32 [B, C]."""
        found, size, users = [], len(self.arrays["counts"]), known.users
        for a, mean in enumerate(self.settings["neighbours"]):
            # A walk goes along purchases alone.
            flat, rows, *_ = used = bought if mean else known
            decayed = self.decayed(used)
            data, indices, indptr = (
                self.arrays[f"neighbours{a}.{name}"] for name in ("data", "indices", "indptr")
            )
            places, owner = ranges(indptr[flat], indptr[flat + 1])
            cells = rows[owner] * size + indices[places]
            summed = np.bincount(cells, data[places] * decayed[owner], minlength=users * size)
            table = summed.astype(np.float64, copy=False).reshape(users, size)[:, pool.items]
            left = self.arrays[f"neighbours{a}.left"]
            row_of, (column, right) = self.factor_rows[a], pool.factored[a]
            among = row_of[bought.flat] >= 0
            if left.size and among.any():
                mine = bought.rows[among]
                starts = np.flatnonzero(np.diff(mine, prepend=-1))
                weights = self.decayed(bought)[among, None].astype(np.float32)
                factors = left[row_of[bought.flat[among]]] * weights
                asked = np.add.reduceat(factors, starts, axis=0)
                rest = np.empty((len(asked), len(right)), np.float32)
                products(asked, right.T, rest)
                table[mine[starts][:, None], column] += rest
            if mean:
                table /= np.maximum(np.bincount(rows, decayed, minlength=users), 1e-9)[:, None]
            found.append(np.ascontiguousarray(table, np.float32))
        return found

    def decayed(self, known: Known) -> npt.NDArray[np.float64]:
        """What each event counts to the tables: by how many came after it, and by its kind."""
        out: npt.NDArray[np.float64] = np.exp(-known.ranks * float(self.settings["neighbour_decay"]))
        out *= self._event_weights[known.flat // len(self.cold)]
        return out

    def lift(self, m: int, bought: Known) -> Lift:
        """What purchases say of each group of a family."""
        flat, rows, _, users = bought
        everybody, mine = self.arrays[f"family{m}.everybody"], self.groups[m].of(flat)
        width = len(everybody) + 1
        if mine.starts is None:
            cells, times = np.unique(rows * width + mine.codes, return_counts=True)
        else:
            cells, place = np.unique(rows[mine.owner] * width + mine.codes, return_inverse=True)
            times = np.bincount(place, mine.each[mine.owner])
        row, group = cells // width, cells % width
        known = group < len(everybody)
        row, group, times = row[known], group[known], times[known]
        share = times / np.bincount(row, times, minlength=users)[row]
        lift = np.zeros((users, width), np.float32)
        lift[row, group] = np.log1p(share / np.maximum(everybody[group], 1e-9))
        return Lift(lift, row, group)

    def _add_family(self, block: Block, pool: Pool, m: int, lift: Lift) -> None:
        term, groups = self.estimates + 2 + m, pool.groups[m]
        weights, own = pool.weights[term], self.arrays["blend.user"][term]
        order, starts = groups.members
        row, group = lift.rows, lift.groups
        touched = int((starts[group + 1] - starts[group]).sum())
        # Several groups are always summed up in one way: who else is answered changes no bit.
        if groups.starts is not None or touched > block.scores.size // 4:
            for at in np.unique(row):
                part = groups.means(lift.values[at][groups.codes])
                part *= weights + own * block.lengths[at]
                block.scores[at] += part
            return
        places, owner = ranges(starts[group], starts[group + 1])
        columns, raised = order[places], lift.values[row, group]
        value = weights[columns] + (own * block.lengths[row])[owner]
        value *= raised[owner]
        columns += (row * block.scores.shape[1])[owner]
        # An item has one group at most, so that no cell comes twice.
        block.scores.ravel()[columns] += value

    def terms(self, block: Block, pool: Pool, rows: IntArray, columns: IntArray) -> FloatArray:
        """The terms of some items of each row, columns int64 [R, m] -> float32 [T, R, m]."""
        out = np.empty((self.estimates + 2 + len(self.groups), *columns.shape), np.float32)
        at = rows[:, None]
        cells = at * block.near.shape[1] + columns  # taken flat: several times faster than by two indices
        block.near.ravel().take(cells, out=out[0])
        for a, table in enumerate(block.tables, start=1):
            out[a] = logit(table.ravel().take(cells), self._eps[a - 1])
        pool.popularity.take(columns, axis=1, out=out[self.estimates : self.estimates + 2])
        lines = np.repeat(rows, columns.shape[1])
        for m, lift in enumerate(block.lifts):
            asked = pool.groups[m].of(columns.ravel())
            values = lift.values.ravel().take(lines[asked.owner] * lift.values.shape[1] + asked.codes)
            out[self.estimates + 2 + m] = asked.means(values).reshape(columns.shape)
        return out


def best_columns(row: FloatArray, most: int) -> IntArray:
    """The columns of the `most` largest of a row, ascending; of equals at the end, the first."""
    width = len(row)
    if most >= width:
        return np.arange(width)
    # The more groups beside those wanted, the fewer values reach the bound.
    stride = max(2, min(_STRIDE, width // (4 * most)))
    groups = width // stride
    columns = np.arange(width)
    if groups > most:
        # So many groups reach the bound that no smaller value is wanted.
        highest = row[: groups * stride].reshape(stride, groups).max(0)
        bound = np.partition(highest, groups - most)[groups - most]
        columns = np.flatnonzero(row >= bound)
    values = row[columns]
    last = np.partition(values, len(values) - most)[len(values) - most]
    above = columns[values > last]
    equal = columns[values == last][: most - len(above)]
    return np.sort(np.concatenate([above, equal]))


def products(rows: FloatArray, columns: FloatArray, out: FloatArray) -> None:
    """float32 [B, r] times [r, C] into `out` [B, C]; a row comes out the same whatever stands beside it."""
    for top in range(0, len(rows), _TILE):
        some = rows[top : top + _TILE]
        if len(some) == _TILE:
            np.matmul(some, columns, out=out[top : top + _TILE])
            continue
        filled = np.zeros((_TILE, rows.shape[1]), np.float32)
        filled[: len(some)] = some
        out[top:] = (filled @ columns)[: len(some)]


def logit(estimate: npt.NDArray[Any], eps: npt.NDArray[Any]) -> FloatArray:
    """log(eps + eps·softplus(estimate / eps)), as the student has it."""
    ratio = estimate / eps
    soft = np.log1p(np.exp(-np.abs(ratio))) + np.maximum(ratio, 0)
    out: FloatArray = np.log(eps * soft + eps).astype(np.float32)
    return out
