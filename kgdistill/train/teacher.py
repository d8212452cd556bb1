"""Training the fused teacher on events that its message-passing graph has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import TeacherConfig
from kgdistill.models.blend import rows_of
from kgdistill.models.device import autocast
from kgdistill.models.graph.encoders import Prepared
from kgdistill.models.graph.messages import (
    Svd,
    group_sizes,
    message_adjacency,
    message_relations,
    user_svd,
)
from kgdistill.models.scorer import Scorer, Terms, terms_of
from kgdistill.models.teacher import FusedTeacher, TeacherShape
from kgdistill.tasks.interactions import Interactions, batches
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, item_weights, sides_of
from kgdistill.train.lists import Lists, label_pools, labelled, learners, negatives, set_scales
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe
from kgdistill.train.rounds import (
    Round,
    TrainedRanker,
    Validate,
    choose_and_refit,
    first_round,
    log_decay,
)

_MINE_AGAIN = 3
_SCALED = 200
_RATES = {"blend": 4.0}
"""A blend's few weights may move fast."""


@dataclass(frozen=True)
class TeacherInputs:
    """What a teacher learns from.

    Attributes:
        catalogue: users, items, purchases and texts before the cut.
        families: the item groups among its terms.
        relations: the families that messages are passed along; None: `families`.
        linear: settings of the item-to-item terms; None leaves it out.
        use_graph: False makes the text-only teacher: no messages and no item-to-item terms.
    """

    catalogue: TrainingData
    families: list[ItemGroups]
    relations: list[ItemGroups] | None = None
    linear: LinearChoice | None = None
    use_graph: bool = True

    def terms(self, view: Interactions, device: torch.device) -> Terms:
        """What the teacher asks over a view."""
        return _terms(self.catalogue, view, self.families, self.along, self.choice, device)

    @property
    def along(self) -> list[ItemGroups]:
        """Where messages go."""
        along = self.families if self.relations is None else self.relations
        return along if self.use_graph else []

    @property
    def choice(self) -> LinearChoice | None:
        """Of the item-to-item terms."""
        return self.linear if self.use_graph else None


@dataclass
class TrainedTeacher(TrainedRanker[FusedTeacher]):
    """A teacher with what it needs to score.

    Attributes:
        families: the item groups among its terms.
        relations: the families that messages are passed along; none without a graph.
        basis: the user vectors it learned in.
        linear: settings of its item-to-item terms; None without one.
    """

    families: list[ItemGroups]
    relations: list[ItemGroups]
    basis: Svd
    linear: LinearChoice | None = None


def text_matrix(catalogue: TrainingData, device: torch.device) -> Tensor:
    """Centred text embeddings of every item, float32 [items, E]."""
    text = torch.from_numpy(catalogue.text)
    return (text - text.mean(0))[torch.from_numpy(catalogue.text_rows)].to(device)


def _terms(
    catalogue: TrainingData,
    view: Interactions,
    families: list[ItemGroups],
    relations: list[ItemGroups],
    choice: LinearChoice | None,
    device: torch.device,
) -> Terms:
    sides = sides_of(catalogue, relations)
    weights = () if choice is None else item_weights(view, sides, choice, device=device)
    return terms_of(view, families, weights, text=catalogue.near_text, device=device)


def text_regression(text: Tensor, relational: Tensor, warm: Tensor, ridge: float = 1.0) -> Tensor:
    """Ridge regression of the warm items' relational embeddings on their text, float32 [D, E]."""
    x = text[warm].double()
    y = relational[warm].double()
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight: Tensor = torch.linalg.solve(gram, x.T @ y).T.float()
    return weight


def _paths(
    model: FusedTeacher,
    view: Interactions,
    families: list[ItemGroups],
    spectrum: Svd,
    text: Tensor,
    device: torch.device,
) -> Prepared | None:
    if model.encoder is None:
        return None
    adjacency = message_adjacency(view, families, spectrum.scale, device)
    return model.encoder.prepare(
        adjacency, torch.from_numpy(spectrum.users).to(device), model.project(text).detach()
    )


def teacher_scorer(
    trained: TrainedTeacher, catalogue: TrainingData, view: Interactions, device: torch.device
) -> Scorer:
    """The teacher over a view: message passing from its events, in the basis that the weights know."""
    terms = _terms(catalogue, view, trained.families, trained.relations, trained.linear, device)
    return _scorer(trained, catalogue, terms, device)


def _scorer(trained: TrainedTeacher, catalogue: TrainingData, terms: Terms, device: torch.device) -> Scorer:
    model, view = trained.model.to(device).eval(), terms.view
    spectrum = user_svd(view, trained.basis.users.shape[1], like=trained.basis)
    with torch.no_grad():
        text = text_matrix(catalogue, device)
        paths = _paths(model, view, trained.relations, spectrum, text, device)
        counts = torch.from_numpy(view.counts).to(device)
        vectors = model.items(model.project(text), paths, counts)
        fold = model.fold(vectors, torch.from_numpy(view.warm).to(device))
    return Scorer(model, terms, vectors, fold)


def relational_embeddings(
    trained: TrainedTeacher, catalogue: TrainingData, view: Interactions, device: torch.device
) -> FloatArray:
    """The graph encoder's z of every item, float32 [items, D]."""
    spectrum = user_svd(view, trained.basis.users.shape[1], like=trained.basis)
    with torch.no_grad():
        text = text_matrix(catalogue, device)
        paths = _paths(trained.model.to(device), view, trained.relations, spectrum, text, device)
        if paths is None:
            raise ValueError("a teacher without a graph has no relational embeddings")
        out: FloatArray = trained.model.relational(paths).float().cpu().numpy()
    return out


def train_teacher(
    inputs: TeacherInputs,
    config: TeacherConfig,
    context: Context,
    validate: Validate,
    *,
    title: str = "Training the teacher",
) -> TrainedTeacher:
    """Trains a teacher and keeps the epoch that validates best.

    The latest `inner_share` of the known events are labels; the message-passing graph, the counts, the
    spectrum and the terms come from the events before them, so that no label edge reaches the
    model. Afterwards the same weights run on everything known. Where the protocol fits again, the number
    of epochs is chosen on the validation events first; then the validation events are the labels.

    Args:
        inputs: what it learns from.
        config: sizes and training.
        context: where to train, and the seed of initial weights, negatives and batches.
        validate: metrics of a scorer on the validation events; the sum of its values chooses the epoch.
        title: shown while it runs.
    """
    first = first_round(inputs.catalogue, config.inner_share, config.epochs, validate, title, context)
    return choose_and_refit(first, lambda now: _fit(inputs, config, now))


def _fit(inputs: TeacherInputs, config: TeacherConfig, now: Round) -> TrainedTeacher:
    device, catalogue = now.context.device, inputs.catalogue
    draws = now.context.draws()
    basis, terms = user_svd(now.inner, config.dim), inputs.terms(now.inner, device)
    shape = TeacherShape(
        text_dim=catalogue.text.shape[1],
        dim=config.dim,
        layers=config.layers,
        units=terms.units,
        hidden=config.hidden,
        min_count=catalogue.min_count,
        use_graph=inputs.use_graph,
        encoder=config.encoder,
    )
    along = inputs.along
    model = FusedTeacher(
        shape, message_relations(along), group_sizes(along), log_decay=log_decay(inputs.choice)
    ).to(device)
    trained = TrainedTeacher(model, inputs.families, along, basis, inputs.choice)
    lesson = _Lesson(trained, now, terms, config)
    lesson.measure(draws)
    judged = None if now.validate is None else inputs.terms(now.whole, device)

    def score() -> Scorer:
        assert judged is not None
        return _scorer(trained, catalogue, judged, device)

    recipe = Recipe(now.epochs, config.lr, rates=_RATES, evaluate_every=config.evaluate_every)
    return now.run(trained, lesson, recipe, draws, score)


class _Lesson(Lesson[IntArray]):
    """Lists of every pool for users in batches; all it reads is from before the labels."""

    def __init__(self, trained: TrainedTeacher, now: Round, terms: Terms, config: TeacherConfig) -> None:
        inner, basis = now.inner, trained.basis
        self.model, self.now, self.config, self.terms = trained.model, now, config, terms
        self.device = now.context.device
        self.counts = torch.from_numpy(inner.counts).to(self.device)
        self.warm = torch.from_numpy(inner.warm).to(self.device)
        signal = inner.purchases.T @ basis.users / basis.scale
        text = text_matrix(now.catalogue, self.device)
        with torch.no_grad():
            target = torch.from_numpy(signal.astype(np.float32)).to(self.device)
            self.model.text.weight.copy_(text_regression(text, target, self.warm))
            self.paths = _paths(self.model, inner, trained.relations, basis, text, self.device)
            self.text = self.model.project(text)
        self.pools = label_pools(now.catalogue, inner, now.labels)
        self.users = learners(now.catalogue.users, now.labels)
        self.mined: dict[str, IntArray] = {}
        self.lists: dict[str, Lists | None] = {}

    def measure(self, draws: Draws) -> None:
        """Learns the units of the terms from the lists of some users."""
        sample = self.users[:: max(1, len(self.users) // _SCALED)]
        set_scales(self.model.blend, self._labelled(sample, self._mine(sample, draws)).values())

    def plan(self, epoch: int, draws: Draws) -> Sequence[IntArray]:
        """Users in batches; what the untrained blend found hard no longer is in the third epoch."""
        if epoch in (1, _MINE_AGAIN):
            self.load_state_dict(self._mine(self.users, draws))
        return list(batches(self.users, self.config.batch, draws.numpy))

    def loss(self, batch: IntArray, draws: Draws) -> LossTerms:
        """The sampled softmax of each pool's lists."""
        inner, terms = self.now.inner, {}
        with autocast(self.device):
            keep = torch.rand(len(self.counts), device=self.device) >= self.config.z_dropout
            vectors = self.model.items(self.text, self.paths, self.counts, keep)
            fold = self.model.fold(vectors, self.warm)
            for name, lists in self.lists.items():
                part = None if lists is None else lists.of(batch)
                weight = self.config.cold_weight if name == "cold" else 1.0
                if part is None or weight == 0:
                    continue
                history = [t.to(self.device) for t in inner.history(part.users)]
                u = self.model.users(vectors, fold, *history)
                items = rows_of(vectors, torch.from_numpy(part.items).to(self.device))
                evidence = self.terms.lists(part.users, part.items, part.values)
                terms[name] = (weight, part.loss(self.model.score(u, items, evidence)))
        return terms

    def state_dict(self) -> dict[str, Any]:
        """The items of the lists; all else follows from them."""
        return dict(self.mined)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Labels the items again."""
        self.mined = dict(state)
        self.lists = self._labelled(self.users, self.mined)

    def _mine(self, users: IntArray, draws: Draws) -> dict[str, IntArray]:
        with torch.no_grad():
            vectors = self.model.items(self.text, self.paths, self.counts)
            start = Scorer(self.model, self.terms, vectors, self.model.fold(vectors, self.warm))
        top, random = self.config.candidates, self.config.random
        return {
            name: negatives(start, self.now.inner, users, pool, top=top, random=random, rng=draws.numpy)
            for name, pool in self.pools.items()
        }

    def _labelled(self, users: IntArray, mined: Mapping[str, IntArray]) -> dict[str, Lists | None]:
        return {name: labelled(users, items, self.now.labels, self.terms) for name, items in mined.items()}
