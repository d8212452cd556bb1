"""Training the fused teacher on events that its message-passing graph has not seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.config import TeacherConfig
from kgdistill.models.blend import Blend, rows_of
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
from kgdistill.models.student import Student
from kgdistill.models.teacher import FusedTeacher
from kgdistill.progress import step
from kgdistill.tasks.interactions import Interactions, batches
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, item_weights, sides_of
from kgdistill.train.loop import Epochs
from kgdistill.train.losses import sampled_softmax

_MINE_AGAIN = 3
_SCALED = 200
_BOOSTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
_BOOST_KEEPS = 0.98

Validate = Callable[[Scorer], dict[str, float]]
"""Gives the validation metrics of a scorer; it sees events between the cut and the test period only."""


@dataclass(frozen=True)
class Lists:
    """Candidate lists with labels for the users of a view.

    Attributes:
        users: int64 [U].
        items: int64 [U, C].
        labels: bool [U, C].
        left_out: bool [U, C]: what the user bought before, and repeats; it counts neither way.
        values: what the terms say, float32 [U, C, terms].
    """

    users: IntArray
    items: IntArray
    labels: BoolArray
    left_out: BoolArray
    values: FloatArray


@dataclass
class TrainedTeacher:
    """A teacher with what it needs to score.

    Attributes:
        model: the weights.
        families: the typed affinities of its scorer.
        relations: the families that messages are passed along; none without a graph.
        basis: the user vectors it learned in.
        linear: settings of its linear expert; None without one.
        chosen: where the protocol fits again, the teacher that knew nothing of the validation events.
    """

    model: FusedTeacher
    families: list[ItemGroups]
    relations: list[ItemGroups]
    basis: Svd
    linear: LinearChoice | None = None
    chosen: TrainedTeacher | None = None
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


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


def negatives(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: Interactions,
    users: IntArray,
    pool: IntArray,
    *,
    top: int,
    random: int,
    rng: np.random.Generator,
    chunk: int = 256,
) -> IntArray:
    """Each user's hardest unseen items of `pool` and some random ones, int64 [U, top + random]."""
    top, random = min(top, len(pool)), random if len(pool) > top else 0
    out = np.empty((len(users), top + random), np.int64)
    for start in range(0, len(users), chunk):
        part = users[start : start + chunk]
        scores = scorer(part, pool)
        scores[view.purchases[part][:, pool].toarray() > 0] = -np.inf
        best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
        out[start : start + chunk, :top] = pool[best]
        out[start : start + chunk, top:] = pool[rng.integers(0, len(pool), (len(part), random))]
    return out


def labelled_lists(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: Interactions,
    labels: sp.csr_matrix,
    users: IntArray,
    pool: IntArray,
    terms: Terms,
    *,
    top: int,
    random: int,
    rng: np.random.Generator,
) -> Lists | None:
    """Candidate lists over `pool` with the labels among them; users without one are left out.

    Args:
        scorer: whose top items are the hard negatives.
        view: what is known; its purchases are left out.
        labels: CSR [users, items], the events after the view.
        users: ids.
        pool: item ids to choose from.
        terms: what they say of the lists is attached.
        top: hardest items per user.
        random: random items per user.
        rng: draws the random ones.
    """
    if len(pool) < 2:
        return None
    items = negatives(scorer, view, users, pool, top=top, random=random, rng=rng)
    rows = np.repeat(users, items.shape[1])
    hit = np.asarray(labels[rows, items.ravel()]).reshape(items.shape) > 0
    # A random item may repeat one of the list; the first place counts.
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, 1)
    repeat = np.zeros_like(hit)
    np.put_along_axis(repeat, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], 1)
    # Where a user has few unseen items, bought ones fill the list.
    left_out = repeat | (np.asarray(view.purchases[rows, items.ravel()]).reshape(items.shape) > 0)
    hit &= ~left_out
    keep = hit.any(1)
    if not keep.any():
        return None
    users, items = users[keep], items[keep]
    return Lists(users, items, hit[keep], left_out[keep], terms.values(users, items))


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
    catalogue: TrainingData,
    families: list[ItemGroups],
    config: TeacherConfig,
    *,
    device: torch.device,
    seed: int,
    validate: Validate,
    relations: list[ItemGroups] | None = None,
    linear: LinearChoice | None = None,
    use_graph: bool = True,
    title: str = "Training the teacher",
) -> TrainedTeacher:
    """Trains a teacher and keeps the epoch that validates best.

    The latest `inner_share` of the known events are labels; the message-passing graph, the counts, the
    spectrum and the typed affinities come from the events before them, so that no label edge reaches the
    model. Afterwards the same weights run on everything known. Where the protocol fits again, the number
    of epochs is chosen on the validation events first; then the validation events are the labels.

    Args:
        catalogue: users, items, purchases and texts before the cut.
        families: the typed affinities of the scorer.
        config: sizes and training.
        device: where to train.
        seed: of initial weights, negatives and batches.
        validate: metrics of a scorer on the validation events; the sum of its values chooses the epoch.
        relations: the families that messages are passed along; None: `families`.
        linear: settings of the linear expert; None leaves it out.
        use_graph: False trains the text-only teacher: no messages and no linear expert.
        title: shown while it runs.
    """
    begin = time.monotonic()
    along = (families if relations is None else relations) if use_graph else []
    choice = linear if use_graph else None
    trained = _fit(
        catalogue, families, along, choice, use_graph, config, device, seed,
        until_us=catalogue.select_us, epochs=config.epochs, validate=validate, title=title,
    )  # fmt: skip
    if catalogue.refits:
        best, chosen = max(1, trained.best_epoch), trained
        trained = _fit(
            catalogue, families, along, choice, use_graph, config, device, seed,
            until_us=catalogue.cut_us, epochs=best, validate=None, title=f"{title}, on everything",
        )  # fmt: skip
        trained.best_epoch, trained.history, trained.chosen = best, chosen.history, chosen
        trained.model.blend.new_boost.copy_(chosen.model.blend.new_boost)
    trained.seconds = time.monotonic() - begin
    return trained


def _fit(
    catalogue: TrainingData,
    families: list[ItemGroups],
    relations: list[ItemGroups],
    linear: LinearChoice | None,
    use_graph: bool,
    config: TeacherConfig,
    device: torch.device,
    seed: int,
    *,
    until_us: int,
    epochs: int,
    validate: Validate | None,
    title: str,
) -> TrainedTeacher:
    begin = time.monotonic()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    whole = catalogue.view(until_us)
    # Fitting again, what chose the epoch is what there is to learn from.
    inner_us = catalogue.select_us if validate is None else catalogue.inner_cut(config.inner_share, until_us)
    inner = catalogue.view(inner_us)
    labels = sp.csr_matrix(whole.purchases - inner.purchases)
    labels.eliminate_zeros()
    basis = user_svd(inner, config.dim)
    terms = _terms(catalogue, inner, families, relations, linear, device)
    model = FusedTeacher(
        text_dim=catalogue.text.shape[1],
        dim=config.dim,
        relations=message_relations(relations),
        layers=config.layers,
        units=terms.units,
        hidden=config.hidden,
        log_decay=log_decay(linear),
        min_count=catalogue.min_count,
        use_graph=use_graph,
        encoder=config.encoder,
        groups=group_sizes(relations),
    ).to(device)
    trained = TrainedTeacher(model, families, relations, basis, linear)

    text = text_matrix(catalogue, device)
    counts = torch.from_numpy(inner.counts).to(device)
    warm = torch.from_numpy(inner.warm).to(device)
    signal = inner.purchases.T @ basis.users / basis.scale
    with torch.no_grad():
        target = torch.from_numpy(signal.astype(np.float32)).to(device)
        model.text.weight.copy_(text_regression(text, target, warm))
        paths = _paths(model, inner, relations, basis, text, device)
        text = model.project(text)
    sold = np.asarray(labels.sum(0)).ravel() > 0
    pools = {}
    for name in catalogue.pools:
        pool = catalogue.pool(name, inner)
        # Judged among themselves, cold items that nobody bought afterwards teach nothing.
        pools[name] = (pool[sold[pool]], config.cold_weight) if name == "cold" else (pool, 1.0)
    judged = None
    if validate is not None:
        judged = _terms(catalogue, whole, families, relations, linear, device)

    def metrics() -> dict[str, float]:
        if judged is None or validate is None:
            return {}
        return validate(_scorer(trained, catalogue, judged, device))

    records = Epochs(model, metrics, trained.history, begin=begin, last=epochs, every=config.evaluate_every)
    optimizer = torch.optim.Adam(parameter_groups(model, config.lr))
    with step(title, total=epochs + 1) as work:

        def mine(users: IntArray) -> dict[str, Lists | None]:
            with torch.no_grad():
                vectors = model.items(text, paths, counts)
                start = Scorer(model, terms, vectors, model.fold(vectors, warm))
            return {
                name: labelled_lists(
                    start, inner, labels, users, pool, terms,
                    top=config.candidates, random=config.random, rng=rng,
                )
                for name, (pool, _) in pools.items()
            }  # fmt: skip

        sample = catalogue.users[:: max(1, len(catalogue.users) // _SCALED)]
        set_scales(model.blend, mine(sample).values())
        lists = mine(catalogue.users)
        records.end(0, {}, work)
        for epoch in range(1, epochs + 1):
            if epoch == _MINE_AGAIN:
                lists = mine(catalogue.users)  # what the untrained blend found hard no longer is
            sums: dict[str, list[float]] = {}
            for users in batches(catalogue.users, config.batch, rng):
                with autocast(device):
                    keep = torch.rand(len(counts), device=device) >= config.z_dropout
                    vectors = model.items(text, paths, counts, keep)
                    fold = model.fold(vectors, warm)
                    loss = vectors.new_zeros(())
                    for name, (_, weight) in pools.items():
                        part = batch_of(lists[name], users)
                        if part is None or weight == 0:
                            continue
                        history = [t.to(device) for t in inner.history(part.users)]
                        u = model.users(vectors, fold, *history)
                        index = torch.from_numpy(part.items).to(device)
                        evidence = terms.lists(part.users, part.items, part.values)
                        value = sampled_softmax(
                            model.score(u, rows_of(vectors, index), evidence),
                            torch.from_numpy(part.labels).to(device),
                            mask=torch.from_numpy(part.left_out).to(device),
                        )
                        loss = loss + weight * value
                        sums.setdefault(f"loss/{name}", []).append(float(value.detach()))
                if not loss.requires_grad:
                    continue
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                sums.setdefault("loss", []).append(float(loss.detach()))
            records.end(epoch, sums, work)
    if validate is not None:
        trained.best_epoch = records.restore_best()
        if "all" in catalogue.pools:
            raise_new(model.blend, metrics)
    return trained


def raise_new(blend: Blend, metrics: Callable[[], dict[str, float]]) -> None:
    """Lifts new items among all others as far as validation allows (`Blend.new_boost`).

    Purchases teach that new items are seldom bought, so that a ranking of the whole catalogue buries them
    and nobody ever buys them. The largest lift is kept that costs at most 2 % of the metric over all items.
    """

    def overall() -> float:
        return next(value for name, value in metrics().items() if name.startswith("all_"))

    before, kept = overall(), 0.0
    for boost in _BOOSTS:
        blend.new_boost.fill_(boost)
        if overall() < _BOOST_KEEPS * before:
            break
        kept = boost
    blend.new_boost.fill_(kept)


def parameter_groups(model: FusedTeacher | Student, lr: float, tables: float = 1.0) -> list[dict[str, Any]]:
    """Parameters with their rates: a blend's few may move fast; `tables` scales the rate of the tables."""
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            head = name.split(".")[0]
            scale = 4.0 if head == "blend" else tables if head in ("tokens", "ids", "token_weights") else 1.0
            groups.setdefault(lr * scale, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def set_scales(blend: Blend, lists: Iterable[Lists | None]) -> None:
    """Measures the terms' units on the lists (`Blend.set_scales`)."""
    given = [part for part in lists if part is not None]
    if given:
        values = np.concatenate([p.values.reshape(p.items.size, p.values.shape[-1]) for p in given])
        blend.set_scales(torch.from_numpy(values))


def log_decay(choice: LinearChoice | None) -> float:
    """Where the recency decay of a model's history starts."""
    return math.log(max(choice.decay, 2.5e-3)) if choice is not None else -6.0


def batch_of(lists: Lists | None, users: IntArray) -> Lists | None:
    """The part of the lists that belongs to these users."""
    if lists is None:
        return None
    rows = np.flatnonzero(np.isin(lists.users, users))
    if not len(rows):
        return None
    return Lists(
        lists.users[rows], lists.items[rows], lists.labels[rows], lists.left_out[rows], lists.values[rows],
    )  # fmt: skip
