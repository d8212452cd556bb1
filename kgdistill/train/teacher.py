"""The fused teacher: its vectors are trained on every known event, its blend on the latest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import TeacherConfig
from kgdistill.models.blend import rows_of
from kgdistill.models.device import autocast
from kgdistill.models.graph.fused import Fused, FusedItems
from kgdistill.models.scorer import Scorer, Terms, terms_of
from kgdistill.models.teacher import FusedTeacher, TeacherShape
from kgdistill.models.terms import ItemWeights
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.ragged import placed
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, item_weights, sides_of
from kgdistill.train.fusion import FusionGraph, fit_fusion, fusion_graph
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
        linear: settings of the item-to-item terms; None leaves them out.
        use_graph: whether messages are passed; False makes vectors of the texts alone.
    """

    catalogue: TrainingData
    families: list[ItemGroups]
    relations: list[ItemGroups] | None = None
    linear: LinearChoice | None = None
    use_graph: bool = True

    @property
    def along(self) -> list[ItemGroups]:
        """The facts: messages go along them, and they make items alike in the item-to-item terms."""
        return self.families if self.relations is None else self.relations

    def terms(self, view: Interactions, device: torch.device) -> Terms:
        """What the teacher asks over a view."""
        weights: tuple[ItemWeights, ...] = ()
        if self.linear is not None:
            weights = item_weights(view, sides_of(self.catalogue, self.along), self.linear, device=device)
        return terms_of(view, self.families, weights, device=device)

    def graph(self, view: Interactions, config: TeacherConfig, device: torch.device) -> FusionGraph:
        """What its vectors are made of over a view."""
        return fusion_graph(self.catalogue, view, self.along, config, use_graph=self.use_graph, device=device)


@dataclass
class TrainedTeacher(TrainedRanker[FusedTeacher]):
    """A teacher with what it needs to score.

    Attributes:
        fusion: makes its vectors.
        families: the item groups among its terms.
        relations: the facts.
        linear: settings of its item-to-item terms; None without them.
        config: how it was trained.
        gates: how much of an item's vector is text (`FusionGraph.gates`); empty without a graph.
    """

    fusion: FusedItems
    families: list[ItemGroups]
    relations: list[ItemGroups]
    linear: LinearChoice | None
    config: TeacherConfig
    gates: dict[str, float]

    def inputs(self, catalogue: TrainingData) -> TeacherInputs:
        """What it learned from."""
        return TeacherInputs(
            catalogue, self.families, self.relations, self.linear, use_graph=self.model.shape.use_graph
        )


def teacher_scorer(
    trained: TrainedTeacher, catalogue: TrainingData, view: Interactions, device: torch.device
) -> Scorer:
    """The teacher over a view: messages from its events, and terms fitted on it."""
    terms = trained.inputs(catalogue).terms(view, device)
    vectors = fused_items(trained, catalogue, view, device).vectors
    return Scorer(trained.model.to(device).eval(), terms, vectors)


def fused_items(
    trained: TrainedTeacher, catalogue: TrainingData, view: Interactions, device: torch.device
) -> Fused:
    """What the teacher's text, graph encoder and gate make of every item, from the events of a view."""
    graph = trained.inputs(catalogue).graph(view, trained.config, device)
    return graph.fused(trained.fusion.to(device))


def relational_embeddings(
    trained: TrainedTeacher, catalogue: TrainingData, view: Interactions, device: torch.device
) -> FloatArray:
    """The graph encoder's z of every item, float32 [items, D].

    Raises:
        ValueError: the teacher has no graph.
    """
    z = fused_items(trained, catalogue, view, device).relational
    if z is None:
        raise ValueError("a teacher without a graph has no relational embeddings")
    out: FloatArray = z.cpu().numpy()
    return out


def train_teacher(
    inputs: TeacherInputs,
    config: TeacherConfig,
    context: Context,
    validate: Validate,
    *,
    title: str = "Training the teacher",
) -> TrainedTeacher:
    """Trains a teacher: first its vectors, then how they and the terms make a score.

    The vectors (`fit_fusion`) learn from every event of a view. The blend learns from the latest
    `inner_share` of the known events; the vectors, the counts and the terms that it sees then come from the
    events before them, so that no label reaches the model. Afterwards the same blend weighs what was fitted
    on everything known. Where the protocol fits again, the number of the blend's epochs is chosen on the
    validation events first; then the validation events are the labels.

    Args:
        inputs: what it learns from.
        config: sizes and training.
        context: where to train, and the seed of initial weights, negatives and batches.
        validate: metrics of a scorer on the validation events; the sum of its values chooses the epoch.
        title: shown while it runs.
    """
    first = first_round(inputs.catalogue, config.inner_share, config.epochs, validate, title, context)
    fitted: dict[int, _Vectors] = {}

    def fusion(until_us: int, now: Round, of: str) -> _Vectors:
        # What was everything known in one round lies before the labels in the next.
        if until_us not in fitted:
            graph = inputs.graph(inputs.catalogue.view(until_us), config, context.device)
            title = f"{now.title}: its vectors, from {of}"
            model = fit_fusion(inputs.catalogue, graph, config, context, title=title)
            fused = graph.fused(model)
            fitted[until_us] = _Vectors(model, fused, graph.gates(fused, inputs.catalogue.items))
        return fitted[until_us]

    def fit_once(now: Round) -> TrainedTeacher:
        before = fusion(now.inner_us, now, "before the labels")
        return _fit(inputs, config, now, before, fusion(now.until_us, now, "everything known"))

    return choose_and_refit(first, fit_once)


class _Vectors(NamedTuple):
    """What makes vectors over a view, what it makes there, and where its gate stands."""

    fusion: FusedItems
    fused: Fused
    gates: dict[str, float]


def _fit(
    inputs: TeacherInputs, config: TeacherConfig, now: Round, before: _Vectors, whole: _Vectors
) -> TrainedTeacher:
    device, catalogue = now.context.device, inputs.catalogue
    draws = now.context.draws()
    terms = inputs.terms(now.inner, device)
    shape = TeacherShape(
        text_dim=catalogue.text.shape[1],
        dim=config.dim,
        layers=config.layers,
        units=terms.units,
        min_count=catalogue.min_count,
        use_graph=inputs.use_graph,
        encoder=config.encoder,
    )
    model = FusedTeacher(shape, log_decay=log_decay(inputs.linear)).to(device)
    trained = TrainedTeacher(
        model, whole.fusion, inputs.families, inputs.along, inputs.linear, config, whole.gates
    )
    lesson = _Lesson(Scorer(model, terms, before.fused.vectors), now, config)
    lesson.measure(draws)
    judged = (
        None if now.validate is None else Scorer(model, inputs.terms(now.whole, device), whole.fused.vectors)
    )

    def score() -> Scorer:
        assert judged is not None
        return judged

    recipe = Recipe(now.epochs, config.lr, rates=_RATES, evaluate_every=config.evaluate_every, later=True)
    return now.run(trained, lesson, recipe, draws, score)


class _Lesson(Lesson[Tensor]):
    """Lists of every pool for users in batches; all that the scorer knows is from before the labels."""

    def __init__(self, scorer: Scorer, now: Round, config: TeacherConfig) -> None:
        self.scorer, self.now, self.config = scorer, now, config
        self.device = now.context.device
        self.pools = label_pools(now.catalogue, now.inner, now.labels)
        self.users = learners(now.catalogue.users, now.labels)
        self.asked = placed(self.users, self.device)
        self.mined: dict[str, Tensor] = {}
        self.lists: dict[str, Lists | None] = {}

    def measure(self, draws: Draws) -> None:
        """Learns the units of the terms from the lists of some users."""
        sample = self.users[:: max(1, len(self.users) // _SCALED)]
        set_scales(self.scorer.model.blend, self._labelled(sample, self._mine(sample, draws)).values())

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """Users in batches; what the untrained blend found hard no longer is in the third epoch."""
        if epoch in (1, _MINE_AGAIN):
            self.load_state_dict(self._mine(self.users, draws))
        return draws.batches(self.asked, self.config.batch)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """The sampled softmax of each pool's lists."""
        terms = {}
        with autocast(self.device):
            for name, lists in self.lists.items():
                part = None if lists is None else lists.of(batch)
                weight = self.config.cold_weight if name == "cold" else 1.0
                if part is None or weight == 0:
                    continue
                users = self.scorer.user_vectors(part.users)
                items = rows_of(self.scorer.vectors, part.items)
                evidence = self.scorer.terms.evidence(part.users, part.items, part.values.unbind(-1))
                terms[name] = (weight, part.loss(self.scorer.model.score(users, items, evidence)))
        return terms

    def state_dict(self) -> dict[str, Any]:
        """The items of the lists; all else follows from them."""
        return dict(self.mined)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Labels the items again."""
        self.mined = dict(state)
        self.lists = self._labelled(self.users, self.mined)

    def _mine(self, users: IntArray, draws: Draws) -> dict[str, Tensor]:
        top, random = self.config.candidates, self.config.random
        return {
            name: negatives(self.scorer, self.now.inner, users, pool, top=top, random=random, rng=draws.torch)
            for name, pool in self.pools.items()
        }

    def _labelled(self, users: IntArray, mined: Mapping[str, Tensor]) -> dict[str, Lists | None]:
        terms = self.scorer.terms
        return {name: labelled(users, items, self.now.labels, terms) for name, items in mined.items()}
