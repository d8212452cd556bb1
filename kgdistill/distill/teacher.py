"""Training the fused teacher on events that its message-passing graph has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.config import TeacherConfig
from kgdistill.distill._epochs import Epochs
from kgdistill.distill.catalogue import BoolArray, Catalogue
from kgdistill.distill.losses import sampled_softmax
from kgdistill.distill.scoring import Scorer
from kgdistill.distill.view import (
    Family,
    FloatArray,
    IntArray,
    Spectrum,
    View,
    batches,
    message_adjacency,
    message_relations,
    user_spectrum,
)
from kgdistill.models.device import autocast
from kgdistill.models.teacher import FusedTeacher
from kgdistill.progress import step

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
        typed: float32 [U, C, families].
    """

    users: IntArray
    items: IntArray
    labels: BoolArray
    left_out: BoolArray
    typed: FloatArray


@dataclass
class TrainedTeacher:
    """A teacher with what it needs to score: its families, the basis it learned in, and its history."""

    model: FusedTeacher
    families: list[Family]
    basis: Spectrum
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def text_matrix(catalogue: Catalogue, device: torch.device) -> Tensor:
    """Centred text embeddings of every item, float32 [items, E]."""
    text = torch.from_numpy(catalogue.text)
    return (text - text.mean(0))[torch.from_numpy(catalogue.text_rows)].to(device)


def text_regression(text: Tensor, relational: Tensor, warm: Tensor, ridge: float = 1.0) -> Tensor:
    """Ridge regression of the warm items' relational embeddings on their text, float32 [D, E]."""
    x = text[warm].double()
    y = relational[warm].double()
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight: Tensor = torch.linalg.solve(gram, x.T @ y).T.float()
    return weight


def negatives(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: View,
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
    view: View,
    labels: sp.csr_matrix,
    users: IntArray,
    pool: IntArray,
    families: list[Family],
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
        families: typed affinities to attach.
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
    return Lists(users, items, hit[keep], left_out[keep], view.typed_lists(families, users, items))


def _paths(
    model: FusedTeacher, view: View, families: list[Family], spectrum: Spectrum, device: torch.device
) -> Tensor | None:
    if model.encoder is None:
        return None
    adjacency = message_adjacency(view, families, spectrum.scale, device)
    return model.encoder.paths(adjacency, torch.from_numpy(spectrum.users).to(device))


def teacher_scorer(trained: TrainedTeacher, catalogue: Catalogue, view: View, device: torch.device) -> Scorer:
    """The teacher over a view: message passing from its events, in the basis that the weights know."""
    model = trained.model.to(device).eval()
    spectrum = user_spectrum(view, trained.basis.users.shape[1], like=trained.basis)
    with torch.no_grad():
        paths = _paths(model, view, trained.families, spectrum, device)
        counts = torch.from_numpy(view.counts).to(device)
        vectors = model.items(model.project(text_matrix(catalogue, device)), paths, counts)
        fold = model.fold(vectors, torch.from_numpy(view.warm).to(device))
    return Scorer(model, view, trained.families if model.use_graph else [], vectors, fold)


def relational_embeddings(trained: TrainedTeacher, view: View, device: torch.device) -> FloatArray:
    """The graph encoder's z of every item, float32 [items, D]."""
    spectrum = user_spectrum(view, trained.basis.users.shape[1], like=trained.basis)
    with torch.no_grad():
        paths = _paths(trained.model.to(device), view, trained.families, spectrum, device)
        if paths is None:
            raise ValueError("a teacher without a graph has no relational embeddings")
        out: FloatArray = trained.model.relational(paths).float().cpu().numpy()
    return out


def train_teacher(
    catalogue: Catalogue,
    families: list[Family],
    config: TeacherConfig,
    *,
    device: torch.device,
    seed: int,
    validate: Validate,
    use_graph: bool = True,
    title: str = "Training the teacher",
) -> TrainedTeacher:
    """Trains a teacher and keeps the epoch that validates best.

    The latest `inner_share` of the events before the cut are labels; the message-passing graph, the
    counts, the spectrum and the typed affinities come from the events before them, so that no label
    edge reaches the model. Afterwards the same weights run on everything before the cut.

    Args:
        catalogue: users, items, purchases and texts before the cut.
        families: the typed paths (ignored without a graph).
        config: sizes and training.
        device: where to train.
        seed: of initial weights, negatives and batches.
        validate: metrics between cut and test; the sum of its values chooses the epoch.
        use_graph: False trains the text-only teacher.
        title: shown while it runs.
    """
    begin = time.monotonic()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    inner_us = catalogue.inner_cut(config.inner_share)
    inner, whole = catalogue.view(inner_us), catalogue.view()
    labels = sp.csr_matrix(whole.purchases - inner.purchases)
    labels.eliminate_zeros()
    typed = families if use_graph else []
    basis = user_spectrum(inner, config.dim)
    model = FusedTeacher(
        text_dim=catalogue.text.shape[1],
        dim=config.dim,
        relations=message_relations(families),
        layers=config.layers,
        experts=len(typed),
        min_count=catalogue.min_count,
        use_graph=use_graph,
    ).to(device)
    trained = TrainedTeacher(model, families, basis)

    text = text_matrix(catalogue, device)
    counts = torch.from_numpy(inner.counts).to(device)
    warm = torch.from_numpy(inner.warm).to(device)
    paths = _paths(model, inner, families, basis, device)
    signal = inner.purchases.T @ basis.users / basis.scale
    with torch.no_grad():
        target = torch.from_numpy(signal.astype(np.float32)).to(device)
        model.text.weight.copy_(text_regression(text, target, warm))
        text = model.project(text)
    allowed = np.zeros(len(inner.counts), bool)
    allowed[catalogue.items] = True
    sold = np.asarray(labels.sum(0)).ravel() > 0
    is_cold = inner.counts < catalogue.min_count
    pools = {
        "warm": (np.flatnonzero(allowed & ~is_cold), 1.0),
        "cold": (np.flatnonzero(allowed & is_cold & sold), config.cold_weight),
    }

    epochs = Epochs(
        model,
        lambda: validate(teacher_scorer(trained, catalogue, whole, device)),
        trained.history,
        begin=begin,
        last=config.epochs,
        every=config.evaluate_every,
    )

    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.lr)
    with step(title, total=config.epochs + 1) as work:
        with torch.no_grad():
            vectors = model.items(text, paths, counts)
            start = Scorer(model, inner, typed, vectors, model.fold(vectors, warm))
        lists = {
            name: labelled_lists(
                start, inner, labels, catalogue.users, pool, typed,
                top=config.candidates, random=config.random, rng=rng,
            )
            for name, (pool, _) in pools.items()
        }  # fmt: skip
        epochs.end(0, {}, work)
        for epoch in range(1, config.epochs + 1):
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
                        scores = model.score(
                            u, vectors[index], counts[index], torch.from_numpy(part.typed).to(device)
                        )
                        value = sampled_softmax(
                            scores,
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
            epochs.end(epoch, sums, work)
    epochs.restore_best()
    trained.seconds = time.monotonic() - begin
    return trained


def batch_of(lists: Lists | None, users: IntArray) -> Lists | None:
    """The part of the lists that belongs to these users."""
    if lists is None:
        return None
    rows = np.flatnonzero(np.isin(lists.users, users))
    if not len(rows):
        return None
    return Lists(
        lists.users[rows], lists.items[rows], lists.labels[rows], lists.left_out[rows], lists.typed[rows]
    )
