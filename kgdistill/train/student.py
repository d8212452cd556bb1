"""The student, which learns from a teacher's targets and from labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.config import StudentConfig
from kgdistill.models.blend import rows_of
from kgdistill.models.device import at_home, autocast, taken
from kgdistill.models.scorer import Scorer, Terms, terms_of
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.terms import ItemWeights
from kgdistill.models.terms.neighbours import NeighbourItems
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.ragged import placed
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, neighbour_weights
from kgdistill.train.lists import Lists, label_pools, labelled, learners, negatives, set_scales
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe
from kgdistill.train.losses import list_distillation
from kgdistill.train.relational import fit_tokens
from kgdistill.train.rounds import (
    Round,
    TrainedRanker,
    Validate,
    choose_and_refit,
    first_round,
    log_decay,
)
from kgdistill.train.targets import Targets

_FEW_LABELS = 30_000
"""With so many labels, and a teacher, the task weighs half of what it is set to; with fewer less."""
_TABLES = ("tokens", "ids", "token_weights")
_EPS = {"blend": 1e-5}
"""A weight on which no list depends has a gradient of rounding alone, of which Adam would make whole steps:
what nobody bought would stand anywhere."""
_CHOICE = LinearChoice()


@dataclass(frozen=True)
class StudentInputs:
    """What a student learns from beside its teacher's targets.

    Attributes:
        catalogue: users, items and purchases before the cut.
        families: the shared text fields (`text_groups`).
        tokens: token ids of the distinct texts.
        dim: width of the vectors.
        inner_share: share of the latest events that serve as labels.
        linear: settings of the teacher's item-to-item terms: recency starts at their decay, and a student
            keeps the strongest weights of them.
        sides: what makes items alike, for those terms.
    """

    catalogue: TrainingData
    families: list[ItemGroups]
    tokens: Tokens
    dim: int
    inner_share: float
    linear: LinearChoice = _CHOICE
    sides: Sequence[sp.csr_matrix] = ()


@dataclass
class TrainedStudent(TrainedRanker[Student]):
    """A student, the ids it knows and what it keeps of the item-to-item terms."""

    families: list[ItemGroups]
    rows: IntArray
    neighbours: tuple[NeighbourItems, ...] = ()
    decay: float = 0.0


def student_scorer(
    trained: TrainedStudent,
    catalogue: TrainingData,
    tokens: Tokens,
    view: Interactions,
    device: torch.device,
    *,
    use_ids: bool = True,
) -> Scorer:
    """The student over a view; `use_ids` False answers from text alone (the id-free student)."""
    model = trained.model.to(device).eval()
    with torch.no_grad():
        of_texts = tokens.on(device)
        text = model.text(of_texts.values, of_texts.starts[:-1])[placed(catalogue.text_rows, device)]
        rows = trained.rows if use_ids else np.full_like(trained.rows, -1)
        vectors = model.items(text, placed(rows, device))
    terms = _terms(trained.families, trained.neighbours, trained.decay, view, device)
    return Scorer(model, terms, vectors)


def _terms(
    families: list[ItemGroups],
    tables: tuple[NeighbourItems, ...],
    decay: float,
    view: Interactions,
    device: torch.device,
) -> Terms:
    weights = [
        ItemWeights("walk" if table.mean else "linear", view, table.on(device), decay) for table in tables
    ]
    return terms_of(view, families, weights, device=device)


def train_student(
    inputs: StudentInputs,
    targets: Callable[[int], Targets] | None,
    config: StudentConfig,
    context: Context,
    validate: Validate,
    *,
    title: str = "Training the student",
) -> TrainedStudent:
    """Trains a student from targets and labels, or from labels alone where `targets` is None.

    Where the protocol fits again, the number of epochs is chosen on the validation events first.

    Args:
        inputs: what it learns from.
        targets: gives the teacher's over the view until a time (microseconds since 1970); None trains the
            student without distillation.
        config: losses and training.
        context: where to train, and the seed of initial weights, negatives and batches.
        validate: metrics on the validation events; the sum of its values chooses the epoch.
        title: shown while it runs.
    """
    first = first_round(inputs.catalogue, inputs.inner_share, config.epochs, validate, title, context)
    return choose_and_refit(
        first, lambda now: _fit(inputs, None if targets is None else targets(now.until_us), config, now)
    )


def _fit(inputs: StudentInputs, targets: Targets | None, config: StudentConfig, now: Round) -> TrainedStudent:
    draws = now.context.draws()
    trained = _untrained(inputs, config, now)
    if targets is not None:
        _start_from_teacher(trained, targets, inputs, relational=config.relational)
    lesson = _Lesson(trained, inputs, targets, config, now)
    lesson.measure(draws)
    distilled = targets is not None
    # Labels alone move a blend's few weights fast and tables slowly. What starts at the teacher's is only
    # refined; tables beside such a start that begin at random have all to learn.
    tables = 1.0 if distilled and not config.relational else 0.1
    recipe = Recipe(
        now.epochs,
        config.lr,
        rates={"blend": 1.0 if distilled else 4.0, **dict.fromkeys(_TABLES, tables)},
        eps=_EPS,
        evaluate_every=config.evaluate_every,
        # Labels alone overfit soon; else what follows the teacher more closely is kept in doubt.
        later=distilled,
    )

    def score() -> Scorer:
        return student_scorer(trained, inputs.catalogue, inputs.tokens, now.whole, now.context.device)

    return now.run(trained, lesson, recipe, draws, score)


def _untrained(inputs: StudentInputs, config: StudentConfig, now: Round) -> TrainedStudent:
    whole, catalogue, linear = now.whole, inputs.catalogue, inputs.linear
    device = now.context.device
    keeps = _keeps(inputs, config, whole, device)
    known = np.intersect1d(np.flatnonzero(whole.counts >= config.id_min_count), catalogue.items)
    rows = np.full(len(whole.counts), -1, np.int64)
    rows[known] = np.arange(len(known))
    shape = StudentShape(
        vocabulary=inputs.tokens.vocabulary,
        warm_items=max(len(known), 1),
        dim=inputs.dim,
        units=_terms(inputs.families, keeps, linear.decay, whole, device).units,
        min_count=catalogue.min_count,
    )
    model = Student(shape, log_decay=log_decay(linear)).to(device)
    return TrainedStudent(model, inputs.families, rows, keeps, linear.decay)


def _keeps(
    inputs: StudentInputs, config: StudentConfig, view: Interactions, device: torch.device
) -> tuple[NeighbourItems, ...]:
    """What a student keeps of the item-to-item terms, distilled or not: they are fitted, not taught."""
    sides = list(inputs.sides)
    return neighbour_weights(
        view, sides, inputs.linear, config.neighbours, config.rank,
        rank_items=config.rank_items, device=device,
    )  # fmt: skip


@torch.no_grad()
def _start_from_teacher(
    trained: TrainedStudent, targets: Targets, inputs: StudentInputs, *, relational: bool
) -> None:
    """Takes the teacher's weights, and its vectors: of texts what words tell, of ids what is left over."""
    model, known = trained.model, np.flatnonzero(trained.rows >= 0)
    if targets.head is not None:
        model.follow(targets.head)
    if not relational:
        return
    device, rows = model.ids.weight.device, inputs.catalogue.text_rows
    model.tokens.weight.copy_(fit_tokens(inputs.tokens, rows, targets.relational, device))
    tokens = inputs.tokens.on(device)
    text = model.text(tokens.values, tokens.starts[:-1])[placed(rows[known], device)]
    model.ids.weight[: len(known)].copy_(placed(targets.relational[known], device) - text)


class _Lesson(Lesson[Tensor]):
    """Lists with labels over what lies before them, and the teacher's over everything known.

    Hard negatives are those of the student's own first scores.
    """

    def __init__(
        self,
        trained: TrainedStudent,
        inputs: StudentInputs,
        targets: Targets | None,
        config: StudentConfig,
        now: Round,
    ) -> None:
        self.trained, self.model, self.inputs = trained, trained.model, inputs
        self.targets, self.config, self.now = targets, config, now
        self.device = now.context.device
        self.tokens = inputs.tokens.on(self.device)
        self.users, self.text_rows, self.id_rows = (
            placed(ids, self.device)
            for ids in (inputs.catalogue.users, inputs.catalogue.text_rows, trained.rows)
        )
        keeps = _keeps(inputs, config, now.inner, self.device)
        self.before = _terms(inputs.families, keeps, trained.decay, now.inner, self.device)
        self.task: list[Lists] = []
        # Few labels would overfit the weights.
        share = now.labels.nnz / (now.labels.nnz + _FEW_LABELS)
        self.task_weight = config.task_weight * share if targets is not None else 1.0
        if targets is not None:
            self.then = _terms(inputs.families, trained.neighbours, trained.decay, now.whole, self.device)
            now.whole.on(self.device)  # before the first step
            # Of each user the items, the teacher's scores of them, and what the terms say.
            self.listed = (
                *(at_home(torch.from_numpy(a), self.device) for a in (targets.items, targets.scores)),
                self.then.values(targets.users, targets.items),
            )
            place = np.full(int(targets.users.max()) + 1, -1, np.int64)
            place[targets.users] = np.arange(len(targets.users))
            self.place = placed(place, self.device)

    def measure(self, draws: Draws) -> None:
        """Draws the lists with labels, and learns the units of the terms from them."""
        now, catalogue, config = self.now, self.inputs.catalogue, self.config
        start = student_scorer(self.trained, catalogue, self.inputs.tokens, now.inner, self.device)
        start, users = replace(start, terms=self.before), learners(catalogue.users, now.labels)
        for pool in label_pools(catalogue, now.inner, now.labels).values():
            items = negatives(
                start, now.inner, users, pool, top=config.candidates, random=config.random, rng=draws.torch
            )
            lists = labelled(users, items, now.labels, self.before)
            self.task += [] if lists is None else [lists]
        set_scales(self.model.blend, self.task)

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """Users in batches."""
        return draws.batches(self.users, self.config.batch)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """The task, and with a teacher its lists."""
        if not self.task_weight and not self.config.list_weight:  # its start is all of it
            return {}
        with autocast(self.device):
            keep = torch.rand(len(self.id_rows), device=self.device) >= self.config.id_dropout
            vectors = self._items(keep)
            if self.targets is None:
                return self._task(batch, vectors)
            # Labels are few: they weigh the terms; the tables learn from the teacher.
            return {**self._task(batch, vectors.detach()), **self._follow(self.targets, batch, vectors)}

    def _task(self, users: Tensor, vectors: Tensor) -> LossTerms:
        parts = [part for part in (lists.of(users) for lists in self.task) if part is not None]
        if not parts or not self.task_weight:
            return {}
        values = []
        for part in parts:
            scores = self._scores(self.before, part.users, part.items, part.values, vectors)
            values.append(part.loss(scores))
        return {"task": (self.task_weight, torch.stack(values).sum())}

    def _follow(self, targets: Targets, users: Tensor, vectors: Tensor) -> LossTerms:
        config, at = self.config, self.place[users]
        if not config.list_weight:
            return {}
        items, want, values = (taken(held, at, self.device) for held in self.listed)
        scores = self._scores(self.then, users, items, values, vectors)
        bounds = [0, *targets.groups]
        soft = [
            list_distillation(scores[:, a:b], want[:, a:b], config.temperature)
            for a, b in itertools.pairwise(bounds)
        ]
        return {"list": (config.list_weight, torch.stack(soft).sum())}

    def _items(self, keep: Tensor) -> Tensor:
        text = rows_of(self.model.text(self.tokens.values, self.tokens.starts[:-1]), self.text_rows)
        return self.model.items(text, self.id_rows, keep)

    def _scores(self, terms: Terms, users: Tensor, items: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        view, device = terms.view, self.device
        u = self.model.users(vectors, view.on(device).counts, *view.history(users, device))
        evidence = terms.evidence(users, items, values.unbind(-1))
        return self.model.score(u, rows_of(vectors, items), evidence)
