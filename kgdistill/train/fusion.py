"""Training the graph encoder and the gate end to end, on every known event and across folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import TeacherConfig
from kgdistill.models.blend import rows_of
from kgdistill.models.device import autocast
from kgdistill.models.graph.fused import GATE, Fused, FusedItems, NodeTexts
from kgdistill.models.graph.messages import ANCHOR, CANDIDATE, MessageGraph, text_neighbours
from kgdistill.models.terms.sparse import leading_of
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.match import tail_of
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, fit
from kgdistill.train.losses import shared_softmax

_LABELS = 0.5
"""Share of the interactions that are labels in a fold."""
_USERS, _SPREAD, _SURE = 256, 6.0, 30.0
"""So many users say how wide scores spread at the start; an item with so many buyers starts half as long."""
_MOST_BATCHES = 8
"""A fold has at most so many batches: where there are many labels each step learns from more of them."""


@dataclass(frozen=True)
class FusionGraph:
    """What the vectors of a view's items are made of.

    Attributes:
        view: what is known.
        messages: its edges.
        texts: of the labels that have some.
        use_graph: False for vectors of the texts alone; the edges then only pool histories.
    """

    view: Interactions
    messages: MessageGraph
    texts: dict[str, NodeTexts]
    use_graph: bool

    def untrained(self, text_dim: int, config: TeacherConfig) -> FusedItems:
        """The model that fits it."""
        sizes = {label: n for label, n in self.messages.sizes.items() if label != ANCHOR}
        model = FusedItems(
            text_dim, config.dim, sizes, self.messages.relations if self.use_graph else [],
            encoder=config.encoder, layers=config.layers, min_count=self.view.min_count,
        )  # fmt: skip
        if self.use_graph:
            model.known.copy_(torch.from_numpy(self.view.counts > 0))
        return model

    def fused(self, model: FusedItems) -> Fused:
        """The items' vectors from everything known."""
        with torch.no_grad():
            fused: Fused = model.eval()(self.texts, self.messages.messages())
        return fused

    def gates(self, fused: Fused, items: IntArray) -> dict[str, float]:
        """How much of an item's vector is its text: where the gate began, and means by state."""
        if fused.gate is None:
            return {}
        share, counts = fused.gate.mean(1).cpu().numpy(), self.view.counts[items]
        warm = items[counts >= self.view.min_count]
        states = {
            "warm": warm,
            "tail": tail_of(warm, self.view.counts[warm]),
            "cold": items[counts < self.view.min_count],
        }
        means = {state: float(share[of].mean()) for state, of in states.items() if len(of)}
        return {"start": 1 / (1 + math.exp(-GATE)), **means}


def scaled_texts(vectors: FloatArray, rows: IntArray, device: torch.device) -> NodeTexts:
    """Texts as the encoder reads them: centred, and of a mean length of √E."""
    centred = vectors - vectors.mean(0)
    size = float(np.linalg.norm(centred, axis=1).mean()) or 1.0
    scaled = (centred * (vectors.shape[1] ** 0.5 / size)).astype(np.float32)
    return NodeTexts(torch.from_numpy(scaled).to(device), torch.from_numpy(rows).to(device))


def fusion_graph(
    catalogue: TrainingData,
    view: Interactions,
    relations: list[ItemGroups],
    config: TeacherConfig,
    *,
    use_graph: bool,
    device: torch.device,
) -> FusionGraph:
    """The graph of a view.

    Args:
        catalogue: its items and their texts.
        view: what is known.
        relations: the facts along which messages go.
        config: weights of the edges.
        use_graph: False leaves all but the texts out.
        device: where it is wanted.
    """
    texts = {CANDIDATE: scaled_texts(catalogue.text, catalogue.text_rows, device)}
    near = None
    if use_graph and config.near:
        key = ("near texts", config.near)
        if key not in view.fits:
            view.fits[key] = text_neighbours(
                catalogue.text, catalogue.text_rows, catalogue.items, view.counts, config.near, device
            )
        near = view.fits[key]
    along = relations if use_graph else []
    messages = MessageGraph(
        view, along, near, fact_weight=config.fact_weight, near_weight=config.near_weight, device=device
    )
    for family in along:
        if family.name in catalogue.group_texts:
            texts[f"@{family.name}"] = scaled_texts(*catalogue.group_texts[family.name], device)
    return FusionGraph(view, messages, texts, use_graph)


def fit_fusion(
    catalogue: TrainingData, graph: FusionGraph, config: TeacherConfig, context: Context, *, title: str
) -> FusedItems:
    """Trains the vectors of a view's items as a recommender of their own.

    In every fold half of the interactions are labels, and only those; they carry no messages, and neither do
    any of some items, so that it is learned what new ones are. A user is the pooled history of what is left.
    The loss is a sampled softmax: the label against items drawn half evenly, half by strata of popularity.

    Args:
        catalogue: which items can be recommended.
        graph: of the view.
        config: sizes and training.
        context: where, and the seed.
        title: shown while it runs.
    """
    draws = context.draws()
    model = graph.untrained(catalogue.text.shape[1], config).to(context.device)
    if not graph.view.purchases.nnz:
        return model.eval()
    with torch.autocast(context.device.type, enabled=False):
        _start(model, graph)
    lesson = _Lesson(model, catalogue, graph, config)
    recipe = Recipe(lesson.folds, config.graph_lr, schedule="fall")
    return fit(model, lesson, recipe, draws, title=title, checkpoint=context.checkpoint).model


@torch.no_grad()
def _start(model: FusedItems, graph: FusionGraph) -> None:
    """The candidates' ids start at the leading singular vectors of the normalised interactions.

    From a random start thousands of items take thousands of steps to find each other; long ids of items with
    few buyers would learn these by heart. The text starts at its regression on z, or without a graph on the
    vectors.
    """
    messages = graph.messages.messages()
    pool, dim = messages.pool, model.text.out_features
    vectors = leading_of(pool.back, pool.matrix, dim)[1]
    vectors = torch.nn.functional.pad(vectors, (0, dim - vectors.shape[1]))
    scores = (pool @ vectors)[:: max(1, pool.matrix.shape[0] // _USERS)] @ vectors.T
    spread = scores.std(correction=0).clamp(min=1e-6)
    vectors *= (_SPREAD / spread).sqrt()
    vectors *= (messages.counts / (messages.counts + _SURE))[:, None]
    if graph.use_graph:
        model.ids_of(CANDIDATE).copy_(vectors)
        z = model(graph.texts, messages).relational
        assert z is not None  # there is a graph
        vectors = z
    texts, known = graph.texts[CANDIDATE], messages.counts > 0
    x, y = texts.vectors[texts.rows[known]].double(), vectors[known].double()
    gram = x.T @ x
    gram.diagonal().add_(gram.diagonal().mean().clamp(min=1.0))
    model.text.weight.copy_(torch.linalg.solve(gram, x.T @ y).T.float())


class _Batch(NamedTuple):
    """Interactions of one fold, int64 [B], and the items that they are compared with, int64 [negatives]."""

    labels: Tensor
    others: Tensor


class _Lesson(Lesson[_Batch]):
    """Folds of the interactions as labels."""

    def __init__(
        self, model: FusedItems, catalogue: TrainingData, graph: FusionGraph, config: TeacherConfig
    ) -> None:
        self.model, self.graph, self.config = model, graph, config
        self.device = graph.messages.device
        self.users, self.items = graph.messages.interactions
        self.count = graph.view.purchases.shape[1]
        self.pool = torch.from_numpy(catalogue.items).to(self.device)
        strata = np.log2(1 + graph.view.counts[catalogue.items]).astype(np.int64)
        even = 1 / np.bincount(strata)[strata] / len(np.unique(strata))
        chance = np.zeros(self.count, np.float32)
        chance[catalogue.items] = 0.5 / len(catalogue.items) + 0.5 * even
        self.log_chance = torch.from_numpy(chance).log().to(self.device)
        self.reach = torch.from_numpy(chance[catalogue.items].cumsum(dtype=np.float64)).to(self.device)
        labels = max(1, len(self.items) // 2)
        self.batches = math.ceil(labels / min(labels, max(config.graph_batch, labels // _MOST_BATCHES)))
        most = math.ceil(2 * config.graph_labels / max(len(self.items), 1))
        self.folds = min(math.ceil(config.graph_steps / self.batches), most)

    def plan(self, epoch: int, draws: Draws) -> Sequence[_Batch]:
        """Draws the fold, and its labels in batches; a user of whom nothing is left teaches nothing."""
        # Drawn on the CPU, so that every device has the same.
        keep = (torch.rand(len(self.items), generator=draws.torch) >= _LABELS).to(self.device)
        new = (torch.rand(self.count, generator=draws.torch) < self.config.node_dropout).to(self.device)
        self.load_state_dict({"keep": keep & ~new[self.items], "new": new})
        labels = torch.nonzero(~self.keep & (self.messages.pool.lengths > 0)[self.users]).ravel()
        # As many in every fold, so that the rate does not fall below 0.
        parts = torch.tensor_split(draws.shuffled(labels), self.batches)
        count = self.config.graph_negatives
        drawn = torch.rand(self.batches, count, dtype=torch.float64, generator=draws.torch).to(self.device)
        others = self.pool[torch.searchsorted(self.reach, drawn * self.reach[-1])]
        return [_Batch(*both) for both in zip(parts, others, strict=True)]

    def loss(self, batch: _Batch, draws: Draws) -> LossTerms:
        """The sampled softmax of the batch's labels."""
        keep = torch.rand(self.count, device=self.device) >= self.config.z_dropout
        with autocast(self.device):
            vectors = self.model(self.graph.texts, self.messages, keep, self.new).vectors
        labels, others = batch
        right = self.items[labels]
        # A user's labels share the scores of what they are compared with.
        users, row = torch.unique(self.users[labels], return_inverse=True)
        pooled = rows_of(self.messages.pool @ vectors, users)
        scores = pooled @ rows_of(vectors, others).T
        own = (rows_of(pooled, row) * rows_of(vectors, right)).sum(1)
        again = torch.bincount(others, minlength=self.count)[right]
        loss = shared_softmax(own - self.log_chance[right], scores - self.log_chance[others], row, again)
        return {"interactions": (1.0, loss)}

    def state_dict(self) -> dict[str, Any]:
        """Which interactions carry messages in this fold, and which items are as if they were new."""
        return {"keep": self.keep, "new": self.new}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Passes the messages of that fold."""
        self.keep, self.new = (state[name].to(self.device) for name in ("keep", "new"))
        self.messages = self.graph.messages.messages(self.keep)
