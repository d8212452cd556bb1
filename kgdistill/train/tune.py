"""Domain adaptation of the text encoder: products that are neighbours in the graph come close in text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.device import at_home, taken
from kgdistill.models.text.layers import Unfreeze, unfreeze
from kgdistill.models.text.transformer import TransformerText
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.ragged import Ragged, owners, placed
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, Trained, fit
from kgdistill.train.losses import relational_cosine, sampled_softmax


@dataclass(frozen=True)
class AdaptConfig:
    """How the encoder is adapted.

    Attributes:
        mode: what learns: nothing, the last `top_layers` layers, or all of the encoder.
        top_layers: for mode "top".
        epochs: passes over the texts that have a neighbour.
        batch: pairs at a time; each pair's negatives are the others of its batch.
        lr: AdamW's, rising over a tenth of the steps and then falling to 0.
        temperature: of the cosines.
        keep_weight: of staying near the vectors that the encoder gave before, so that texts without
            neighbours keep their place.
    """

    mode: Unfreeze = "top"
    top_layers: int = 2
    epochs: int = 3
    batch: int = 64
    lr: float = 5e-5
    temperature: float = 0.05
    keep_weight: float = 0.5


@dataclass(frozen=True)
class NeighbourPairs:
    """Which texts are neighbours, from what a view knows.

    Attributes:
        weights: float32 CSR [texts, texts]; a row's weights are how often each neighbour is drawn for it. No
            text is its own neighbour.
        groups: float32 CSR [texts, groups]; texts of one group are never each other's negatives.
    """

    weights: sp.csr_matrix
    groups: sp.csr_matrix

    @property
    def anchors(self) -> IntArray:
        """The texts that have a neighbour."""
        found: IntArray = np.flatnonzero(np.diff(self.weights.indptr)).astype(np.int64)
        return found


class DrawnPairs:
    """Neighbours as they are drawn, on a device."""

    def __init__(self, pairs: NeighbourPairs, device: torch.device) -> None:
        self.anchors = placed(pairs.anchors, device)
        self._near, self._groups = (Ragged.columns(m, device) for m in (pairs.weights, pairs.groups))
        self._ends = placed(np.cumsum(pairs.weights.data, dtype=np.float64), device)

    def draw(self, anchors: Tensor, rng: torch.Generator) -> Tensor:
        """One neighbour for each anchor int64 [B], by weight."""
        ends, first, last = self._ends, self._near.starts[anchors], self._near.starts[anchors + 1] - 1
        low = torch.where(first > 0, ends[(first - 1).clamp(min=0)], 0.0)
        drawn = torch.rand(len(anchors), dtype=torch.float64, generator=rng).to(ends.device)
        at = torch.searchsorted(ends, low + drawn * (ends[last] - low), right=True)
        # Rounding must not step out of the row.
        return self._near.values[torch.minimum(torch.maximum(at, first), last)]

    def known(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Whether two texts are neighbours, share a group or are one: bool [rows, columns]."""
        shape = (len(rows), len(columns))
        near = self._near.holds(rows, columns.expand(shape))
        near |= self._near.holds(columns, rows.expand(shape[::-1])).T
        groups, offsets = self._groups.take(torch.cat([rows, columns]))
        named, column = torch.unique(groups, return_inverse=True)
        held = torch.zeros(sum(shape), len(named), device=near.device)
        held[owners(offsets, len(groups)), column] = 1.0
        near |= held[: len(rows)] @ held[len(rows) :].T > 0
        return near | (rows[:, None] == columns)


@dataclass(frozen=True)
class NeighbourSettings:
    """Which items are neighbours.

    Attributes:
        top: neighbours kept per item and source.
        shrink: added to the cosine's denominator: the evidence of few buyers counts less.
        bought_share: how often a neighbour is drawn from the purchases where a text has both kinds.
        max_group: larger groups say too little to make neighbours of their items.

    Raises:
        InputError: `bought_share` is no share.
    """

    top: int = 20
    shrink: float = 2.0
    bought_share: float = 0.75
    max_group: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.bought_share <= 1:
            raise InputError(f"bought_share is {self.bought_share}; it must be from 0 to 1")


_NEIGHBOURS = NeighbourSettings()


def neighbour_pairs(
    view: Interactions,
    families: Sequence[ItemGroups],
    text_rows: IntArray,
    settings: NeighbourSettings = _NEIGHBOURS,
    *,
    texts: int,
    seed: int = 0,
) -> NeighbourPairs:
    """The neighbours that a view and the facts give, between distinct texts.

    Items are neighbours where the same users bought both (cosine of their buyers, shrunk, a user of many
    purchases counting less), or where they share a brand and a category; where no two facts
    meet, one fact in common is enough. Nothing after the view's time is read: facts hold at all times.

    Args:
        view: the purchases before a time.
        families: typed paths along the facts (`fact_groups`).
        text_rows: the text of each item, int64 [items].
        settings: how many, and how they are weighed.
        texts: how many distinct texts there are.
        seed: of which items of a group become neighbours where it has more than `top`.
    """
    top, share = settings.top, settings.bought_share
    items = view.purchases.shape[1]
    place = sp.csr_matrix((np.ones(items, np.float32), (np.arange(items), text_rows)), shape=(items, texts))
    bought = _bought_together(view, top=top, shrink=settings.shrink)
    chosen = [f for f in families if f.kind == "pair"] or list(families)
    narrow = [_narrow(f.incidence, settings.max_group) for f in chosen]
    groups = sp.csr_matrix(sp.hstack(narrow) if narrow else sp.csr_matrix((items, 1), dtype=np.float32))
    shared = _group_mates(groups, top=top, rng=np.random.default_rng(seed))
    parts = [
        _shares(_between_texts(matrix, place)) * part
        for matrix, part in ((bought, share), (shared, 1 - share))
    ]
    weights = sp.csr_matrix(parts[0] + parts[1], dtype=np.float32)
    weights.eliminate_zeros()
    weights.sort_indices()
    grouped = sp.csr_matrix(place.T @ groups, dtype=np.float32)
    return NeighbourPairs(weights, grouped)


def _bought_together(view: Interactions, *, top: int, shrink: float, chunk: int = 256) -> sp.csr_matrix:
    """The `top` warm items with the most like buyers for each warm item, CSR [items, items]."""
    items = view.purchases.shape[1]
    warm = view.warm
    matrix = sp.csr_matrix(view.purchases[:, warm], dtype=np.float32)
    lengths = np.diff(matrix.indptr)
    scaled = sp.csr_matrix(sp.diags(1 / np.log2(1 + np.maximum(lengths, 1)).astype(np.float32)) @ matrix)
    buyers = np.asarray(matrix.sum(0)).ravel()
    columns = sp.csr_matrix(scaled.T)
    rows, found, weights = [], [], []
    for start in range(0, len(warm), chunk):
        part = sp.csr_matrix(columns[start : start + chunk] @ matrix)
        for i in range(part.shape[0]):
            row = start + i
            ids = part.indices[part.indptr[i] : part.indptr[i + 1]]
            value = part.data[part.indptr[i] : part.indptr[i + 1]]
            value = value / (np.sqrt(buyers[row] * buyers[ids]) + shrink)
            value = np.where(ids == row, 0, value)
            # Ties go to the lower id, so that nothing depends on the order of the product.
            best = np.lexsort((ids, -value))[:top]
            best = best[value[best] > 0]
            rows.append(np.full(len(best), warm[row]))
            found.append(warm[ids[best]])
            weights.append(value[best])
    if not rows:
        return sp.csr_matrix((items, items), dtype=np.float32)
    triple = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(found)))
    return sp.csr_matrix(triple, shape=(items, items), dtype=np.float32)


def _narrow(incidence: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """The groups of 2 to `most` items, with ones for entries."""
    matrix = sp.csc_matrix(incidence, dtype=np.float32, copy=True)
    matrix.data[:] = 1
    sizes = np.diff(matrix.indptr)
    return sp.csr_matrix(matrix[:, (sizes >= 2) & (sizes <= most)])


def _group_mates(groups: sp.csr_matrix, *, top: int, rng: np.random.Generator) -> sp.csr_matrix:
    """For each item up to `top` others of each of its groups, CSR [items, items]."""
    items = groups.shape[0]
    columns = sp.csc_matrix(groups)
    sizes = np.diff(columns.indptr)
    group = np.repeat(np.arange(len(sizes)), sizes)
    # Members in random order; the next ones round the circle are an item's mates.
    order = np.lexsort((rng.random(len(group)), group))
    members = columns.indices[order].astype(np.int64)
    start, size = columns.indptr[:-1][group].astype(np.int64), sizes[group].astype(np.int64)
    inside = np.arange(len(group)) - start
    total = sp.csr_matrix((items, items), dtype=np.float32)
    for offset in range(1, min(top, int(sizes.max(initial=0)) - 1) + 1):
        has = size > offset
        mate = members[(start + (inside + offset) % size)[has]]
        triple = (np.ones(int(has.sum()), np.float32), (members[has], mate))
        total = total + sp.csr_matrix(triple, shape=(items, items))
    return sp.csr_matrix(total)


def _between_texts(matrix: sp.csr_matrix, place: sp.csr_matrix) -> sp.csr_matrix:
    """Pairs of items as pairs of their texts, none with itself."""
    out = sp.csr_matrix(place.T @ matrix @ place, dtype=np.float32).tocoo()
    off = out.row != out.col
    return sp.csr_matrix((out.data[off], (out.row[off], out.col[off])), shape=out.shape)


def _shares(matrix: sp.csr_matrix) -> sp.csr_matrix:
    total = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    return sp.csr_matrix(sp.diags(scale.astype(np.float32)) @ matrix)


def ranking_loss(anchors: Tensor, neighbours: Tensor, known: Tensor, temperature: float) -> Tensor:
    """Multiple-negatives ranking, both ways, with known positives left out of the negatives.

    For each anchor a softmax over the batch's neighbours (Henderson et al. 2017), and for each neighbour one
    over the anchors.

    Args:
        anchors, neighbours: unit vectors, [B, D]; row b of one belongs to row b of the other.
        known: bool [B, B]; pairs that are positives, the diagonal's included.
        temperature: of the cosines.
    """
    scores = anchors.float() @ neighbours.float().T / temperature
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    left_out = known & ~own
    there = sampled_softmax(scores, own, mask=left_out)
    back = sampled_softmax(scores.T, own, mask=left_out.T)
    return (there + back) / 2


class _Lesson(Lesson[tuple[Tensor, Tensor]]):
    """Pairs of neighbours in batches; each pair's negatives are the others of its batch."""

    def __init__(
        self, encoder: TransformerText, texts: Sequence[str], pairs: NeighbourPairs, config: AdaptConfig
    ) -> None:
        device = encoder.device
        self.encoder, self.pairs, self.config = encoder, DrawnPairs(pairs, device), config
        self.before = at_home(torch.from_numpy(encoder.encode(list(texts))), device)
        self.ids = Ragged.of(encoder.token_ids(list(texts)), device)

    def plan(self, epoch: int, draws: Draws) -> Sequence[tuple[Tensor, Tensor]]:
        """The texts that have a neighbour, shuffled, and one neighbour drawn for each."""
        anchors = draws.shuffled(self.pairs.anchors)
        near, count = self.pairs.draw(anchors, draws.torch), -(-len(anchors) // self.config.batch)
        parts = (torch.tensor_split(ids, count) for ids in (anchors, near))
        return list(zip(*parts, strict=True))

    def loss(self, batch: tuple[Tensor, Tensor], draws: Draws) -> LossTerms:
        """Nearness to the neighbours, and to what the encoder said before."""
        known, both = self.pairs.known(*batch), torch.cat(batch)
        with self.encoder.low_precision_training():
            vectors = self.encoder.vectors(self.ids, both)
        left, right = torch.split(vectors, len(batch[0]))
        before = taken(self.before, both, both.device)
        return {
            "rank": (1.0, ranking_loss(left, right, known, self.config.temperature)),
            "keep": (self.config.keep_weight, relational_cosine(vectors, before)),
        }


def adapt_encoder(
    encoder: TransformerText,
    texts: Sequence[str],
    pairs: NeighbourPairs,
    config: AdaptConfig,
    context: Context,
    *,
    validate: Callable[[TransformerText], Mapping[str, float]] | None = None,
) -> Trained[TransformerText]:
    """Adapts an encoder in place, so that neighbours come close.

    It sees the texts and the pairs, nothing else. With bfloat16 where the encoder's precision allows it.

    Args:
        encoder: what is adapted.
        texts: the distinct texts.
        pairs: `neighbour_pairs` of a view before the cut.
        config: how.
        context: its seed is that of the neighbours drawn, the batches and dropout.
        validate: metrics of the encoder as it is; with it the epoch of the greatest sum is kept, the encoder
            before adaptation (epoch 0) included. Without it the last one is.

    Raises:
        InputError: no text has a neighbour, or pairs and texts do not fit together.
    """
    if pairs.weights.shape[0] != len(texts):
        raise InputError(f"there are {len(texts)} texts, but the pairs are between {pairs.weights.shape[0]}")
    if config.mode == "frozen":
        return Trained(encoder)
    if len(pairs.anchors) < 2:
        raise InputError(
            "no two texts are neighbours, so that the encoder has nothing to adapt to",
            hint="set text.tune to frozen",
        )
    draws = context.draws()
    lesson = _Lesson(encoder, texts, pairs, config)
    unfreeze(encoder.model, config.mode, config.top_layers)
    recipe = Recipe(
        config.epochs, config.lr, weight_decay=0.01, schedule="fall", warm=0.1, clip=1.0, evaluate_first=True
    )
    done = fit(
        encoder.model, lesson, recipe, draws, title="Adapting the text encoder",
        validate=None if validate is None else (lambda: validate(encoder)), checkpoint=context.checkpoint,
    )  # fmt: skip
    encoder.model.requires_grad_(False)
    return Trained(encoder, history=done.history, best_epoch=done.best_epoch, seconds=done.seconds)


def later_purchases(
    vectors: FloatArray,
    text_rows: IntArray,
    before: Interactions,
    later: sp.csr_matrix,
    items: IntArray,
    *,
    k: int = 20,
    most: int = 1000,
) -> dict[str, float]:
    """How well text alone finds what users bought later: NDCG@k over `items`, and over those without a buyer.

    A user is the mean of the vectors of what they bought before; every item not bought before is ranked.

    Args:
        vectors: unit vectors of the distinct texts, float32 [texts, E].
        text_rows: the text of each item, int64 [items of the snapshot].
        before: what was bought before a time.
        later: CSR [users, items], what was bought from then on and before the cut.
        items: candidates, ids.
        k: depth.
        most: users, the first ones with both.

    Returns:
        `all_ndcg@k`, and `cold_ndcg@k` where such purchases were made.
    """
    out = {}
    has = (np.diff(before.purchases.indptr) > 0) & (np.diff(later.indptr) > 0)
    users = np.flatnonzero(has)[:most]
    profile = before.purchases[users] @ vectors[text_rows]
    discount = 1 / np.log2(np.arange(2, k + 2))
    for name, pool in (("all", items), ("cold", items[before.counts[items] == 0])):
        wanted = later[users][:, pool].toarray() > 0
        seen = before.purchases[users][:, pool].toarray() > 0
        wanted &= ~seen
        judged = wanted.any(1)
        if not judged.any():
            continue
        scores = np.where(seen[judged], -np.inf, profile[judged] @ vectors[text_rows[pool]].T)
        first = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        hits = np.take_along_axis(wanted[judged], first, axis=1)
        gain = (hits * discount[: hits.shape[1]]).sum(1)
        ideal = np.cumsum(discount)[np.minimum(wanted[judged].sum(1), k) - 1]
        out[f"{name}_ndcg@{k}"] = float((gain / ideal).mean())
    return out
