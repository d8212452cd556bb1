"""Targets of the teacher, and the student that learns from them and from labels."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import StudentConfig
from kgdistill.models.blend import rows_of
from kgdistill.models.device import autocast
from kgdistill.models.scorer import Scorer, Terms, terms_of
from kgdistill.models.student import Student
from kgdistill.models.terms import ItemWeights
from kgdistill.models.terms.neighbours import NeighbourItems
from kgdistill.progress import step
from kgdistill.tasks.interactions import Interactions, batches
from kgdistill.tasks.item_groups import ItemGroups
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import LinearChoice, neighbour_weights
from kgdistill.train.loop import Epochs
from kgdistill.train.losses import (
    combine,
    list_distillation,
    relational_cosine,
    rkd_distance,
    sampled_softmax,
)
from kgdistill.train.teacher import (
    Lists,
    Validate,
    batch_of,
    labelled_lists,
    negatives,
    parameter_groups,
    raise_new,
    set_scales,
)

_SLACK = 0.01
"""A later epoch that validates worse by at most this share is preferred: it follows the teacher better."""
_FEW_LABELS = 30_000
"""With so many labels, and a teacher, the task weighs half of what it is set to; with fewer less."""


@dataclass(frozen=True)
class Targets:
    """What the teacher hands down.

    Attributes:
        users: int64 [U].
        items: candidate lists, int64 [U, C].
        scores: the teacher's scores of them (soft logits), float32 [U, C].
        groups: how many lists stand side by side in a row (warm, cold), and where each ends.
        relational: fused item vectors, float32 [items, D].
        confidence: weight of each item's vector, float32 [items].
    """

    users: IntArray
    items: IntArray
    scores: FloatArray
    groups: tuple[int, ...]
    relational: FloatArray
    confidence: FloatArray


def make_targets(teacher: Scorer, catalogue: TrainingData, *, top: int, random: int, seed: int) -> Targets:
    """Runs the teacher over the view that its scorer knows.

    Lists hold its best unseen items of every pool of the catalogue, each with random ones beside them.
    """
    rng = np.random.default_rng(seed)
    view = teacher.view
    pools = [p for p in (catalogue.pool(name, view) for name in catalogue.pools) if len(p) > 1]
    users = catalogue.users
    with step("Writing down the teacher's targets", total=len(users)) as work:
        parts, ends = [], []
        for chunk in batches(users, 256):
            rows = [negatives(teacher, view, chunk, pool, top=top, random=random, rng=rng) for pool in pools]
            parts.append(np.concatenate(rows, axis=1))
            ends = list(np.cumsum([r.shape[1] for r in rows]))
            work.advance(len(chunk))
        items = np.concatenate(parts)
        scores = np.concatenate(
            [teacher.lists(users[s : s + 256], items[s : s + 256]) for s in range(0, len(users), 256)]
        )
    confidence = np.log1p(view.counts).astype(np.float32) + 0.1
    vectors: FloatArray = teacher.vectors.float().cpu().numpy()
    return Targets(users, items, scores, tuple(int(e) for e in ends), vectors, confidence)


@dataclass(frozen=True)
class Tokens:
    """Token ids of the distinct texts: `ids` int64 [L] split at `offsets` int64 [T]."""

    ids: IntArray
    offsets: IntArray
    vocabulary: int

    @classmethod
    def of(cls, token_ids: list[list[int]], vocabulary: int) -> Tokens:
        """From one list of ids per text."""
        lengths = np.array([len(t) for t in token_ids], np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return cls(np.concatenate([np.asarray(t, np.int64) for t in token_ids]), offsets, vocabulary)

    def weighted(self, rows: IntArray) -> sp.csr_matrix:
        """The words of every item by TF-IDF (each word once), rows of unit length: float32 CSR [items, V].

        Args:
            rows: row of each item among the texts, int64 [items].
        """
        lengths = np.diff(np.append(self.offsets, len(self.ids)))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        once = sp.csr_matrix(
            (np.ones(len(owner), np.float32), (owner, self.ids)), shape=(len(lengths), self.vocabulary)
        )
        once.data[:] = 1.0
        items = sp.csr_matrix(once[rows])
        seen = np.bincount(items.indices, minlength=self.vocabulary)
        items.data *= np.log(items.shape[0] / np.maximum(seen, 1)).astype(np.float32)[items.indices]
        norm = np.sqrt(np.asarray(items.multiply(items).sum(1)).ravel())
        return sp.csr_matrix(sp.diags((1 / np.maximum(norm, 1e-9)).astype(np.float32)) @ items)


@dataclass
class TrainedStudent:
    """A student, the ids it knows, what it keeps of the linear experts, and its history."""

    model: Student
    families: list[ItemGroups]
    rows: IntArray
    neighbours: tuple[NeighbourItems, ...] = ()
    decay: float = 0.0
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def _text_vectors(model: Student, tokens: Tokens, device: torch.device) -> Tensor:
    return model.text(torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.offsets).to(device))


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
        text = _text_vectors(model, tokens, device)[torch.from_numpy(catalogue.text_rows).to(device)]
        rows = trained.rows if use_ids else np.full_like(trained.rows, -1)
        counts = torch.from_numpy(view.counts).to(device)
        vectors = model.items(text, torch.from_numpy(rows).to(device), counts)
        fold = model.fold(vectors, torch.from_numpy(view.warm).to(device))
    terms = _terms(trained.families, trained.neighbours, trained.decay, view, device)
    return Scorer(model, terms, vectors, fold)


def _terms(
    families: list[ItemGroups],
    tables: tuple[NeighbourItems, ...],
    decay: float,
    view: Interactions,
    device: torch.device,
) -> Terms:
    weights = [
        ItemWeights("walk" if table.mean else "linear", view, replace(table, device=device), decay)
        for table in tables
    ]
    return terms_of(view, families, weights, device=device)


def _start_from_teacher(
    model: Student, targets: Targets, catalogue: TrainingData, tokens: Tokens, known: IntArray, seed: int
) -> None:
    """Copies relational embeddings into the id table, and fits the token table to them."""
    device = model.ids.weight.device
    relational = torch.from_numpy(targets.relational).to(device)
    with torch.no_grad():
        model.ids.weight[: len(known)].copy_(relational[torch.from_numpy(known).to(device)])
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(catalogue.text_rows)
    confidence = torch.from_numpy(targets.confidence)
    # One target per distinct text: the mean over its items, weighted by confidence.
    total = torch.zeros(len(tokens.offsets)).index_add_(0, rows, confidence)
    mean = torch.zeros(len(tokens.offsets), relational.shape[1])
    mean.index_add_(0, rows, relational.cpu() * confidence[:, None])
    mean = (mean / total.clamp(min=1e-6)[:, None]).to(device)
    lengths = np.diff(np.append(tokens.offsets, len(tokens.ids)))
    optimizer = torch.optim.Adam([model.tokens.weight, model.token_weights], lr=5e-3)
    scale = mean.pow(2).mean().sqrt().clamp(min=1e-8)
    for _ in range(6):
        for part in batches(np.arange(len(lengths)), 2048, rng):
            flat = np.repeat(tokens.offsets[part], lengths[part])
            inside = np.arange(lengths[part].sum()) - np.repeat(
                np.cumsum(lengths[part]) - lengths[part], lengths[part]
            )
            offsets = np.concatenate([[0], np.cumsum(lengths[part])[:-1]])
            got = model.text(
                torch.from_numpy(tokens.ids[flat + inside]).to(device), torch.from_numpy(offsets).to(device)
            )
            index = torch.from_numpy(part).to(device)
            weight = total.to(device)[index]
            near = relational_cosine(got, mean[index], weight)
            loss = near + ((got - mean[index]) / scale).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def train_student(
    catalogue: TrainingData,
    families: list[ItemGroups],
    tokens: Tokens,
    targets: Callable[[int], Targets] | None,
    config: StudentConfig,
    *,
    dim: int,
    inner_share: float,
    device: torch.device,
    seed: int,
    validate: Validate,
    linear: LinearChoice | None = None,
    sides: list[sp.csr_matrix] | None = None,
    title: str = "Training the student",
) -> TrainedStudent:
    """Trains a student from targets and labels, or from labels alone where `targets` is None.

    Where the protocol fits again, the number of epochs is chosen on the validation events first.

    Args:
        catalogue: users, items and purchases before the cut.
        families: the shared text fields (`text_groups`).
        tokens: token ids of the distinct texts.
        targets: gives the teacher's over the view until a time (microseconds since 1970); None trains the
            student without distillation.
        config: losses and training.
        dim: width of the vectors.
        inner_share: share of the latest events before the cut that serve as labels.
        device: where to train.
        seed: of initial weights, negatives and batches.
        validate: metrics on the validation events; the sum of its values chooses the epoch.
        linear: settings of the teacher's linear experts: recency starts at their decay, and with `targets`
            the student keeps the strongest weights of them.
        sides: what makes items alike, for those experts.
        title: shown while it runs.
    """
    begin = time.monotonic()
    choice = linear or LinearChoice()

    def fit(until_us: int, epochs: int, judge: Validate | None, title: str) -> TrainedStudent:
        whole = catalogue.view(until_us)
        return _fit(
            catalogue, families, tokens, None if targets is None else targets(until_us), config, whole,
            dim=dim, inner_share=inner_share, device=device, seed=seed, validate=judge, epochs=epochs,
            linear=choice, sides=sides or [], title=title,
        )  # fmt: skip

    trained = fit(catalogue.select_us, config.epochs, validate, title)
    if catalogue.refits:
        best, chosen = max(1, trained.best_epoch), trained
        trained = fit(catalogue.cut_us, best, None, f"{title}, on everything")
        trained.best_epoch, trained.history = best, chosen.history
        trained.model.blend.new_boost.copy_(chosen.model.blend.new_boost)
    trained.seconds = time.monotonic() - begin
    return trained


def _fit(
    catalogue: TrainingData,
    families: list[ItemGroups],
    tokens: Tokens,
    targets: Targets | None,
    config: StudentConfig,
    whole: Interactions,
    *,
    dim: int,
    inner_share: float,
    device: torch.device,
    seed: int,
    validate: Validate | None,
    epochs: int,
    linear: LinearChoice,
    sides: list[sp.csr_matrix],
    title: str,
) -> TrainedStudent:
    begin = time.monotonic()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    refit = validate is None
    inner = catalogue.view(
        catalogue.select_us if refit else catalogue.inner_cut(inner_share, catalogue.select_us)
    )
    labels = sp.csr_matrix(whole.purchases - inner.purchases)
    labels.eliminate_zeros()

    # They are the teacher's: without distillation there are none.
    most = 0 if targets is None else config.neighbours

    def keep_of(view: Interactions) -> tuple[NeighbourItems, ...]:
        return neighbour_weights(view, sides, linear, most, device=device)

    keeps = keep_of(whole)
    known_then = _terms(families, keeps, linear.decay, whole, device)
    known_before = _terms(families, keep_of(inner), linear.decay, inner, device)
    known = np.intersect1d(np.flatnonzero(whole.counts >= config.id_min_count), catalogue.items)
    rows = np.full(len(whole.counts), -1, np.int64)
    rows[known] = np.arange(len(known))
    model = Student(
        vocabulary=tokens.vocabulary,
        warm_items=max(len(known), 1),
        dim=dim,
        units=known_then.units,
        hidden=config.hidden,
        min_count=catalogue.min_count,
        log_decay=math.log(max(linear.decay, 2.5e-3)),
    ).to(device)
    trained = TrainedStudent(model, families, rows, keeps, linear.decay)
    text_rows = torch.from_numpy(catalogue.text_rows).to(device)
    id_rows = torch.from_numpy(rows).to(device)

    def metrics() -> dict[str, float]:
        if validate is None:
            return {}
        return validate(student_scorer(trained, catalogue, tokens, whole, device))

    records = Epochs(
        model, metrics, trained.history, begin=begin, last=epochs, every=config.evaluate_every,
        # What follows the teacher more closely is kept where validation cannot tell.
        slack=_SLACK if targets is not None else 0.0,
    )  # fmt: skip

    def forward(
        terms: Terms, users: IntArray, items: IntArray, values: FloatArray, vectors: Tensor
    ) -> Tensor:
        view = terms.view
        fold = model.fold(vectors, torch.from_numpy(view.warm).to(device))
        history, offsets, ranks = (t.to(device) for t in view.history(users))
        u = model.users(vectors, fold, history, offsets, ranks)
        own = rows_of(vectors, torch.from_numpy(items).to(device))
        return model.score(u, own, terms.lists(users, items, values))

    def item_vectors(view: Interactions, keep: Tensor | None) -> Tensor:
        text = rows_of(_text_vectors(model, tokens, device), text_rows)
        return model.items(text, id_rows, torch.from_numpy(view.counts).to(device), keep)

    with step(title, total=epochs + 1) as work:
        if targets is not None:
            _start_from_teacher(model, targets, catalogue, tokens, known, seed)
        task = _task_lists(trained, catalogue, tokens, known_before, labels, config, rng, device)
        set_scales(model.blend, task)
        said = None
        if targets is not None:
            said = known_then.values(targets.users, targets.items)
            relational = torch.from_numpy(targets.relational).to(device)
            confidence = torch.from_numpy(targets.confidence).to(device)
            place = np.full(int(targets.users.max()) + 1, -1, np.int64)
            place[targets.users] = np.arange(len(targets.users))
        # Tables that start at the teacher's vectors are only refined.
        optimizer = torch.optim.Adam(
            parameter_groups(model, config.lr, tables=0.1 if targets is not None else 1.0)
        )
        # Few labels would overfit the weights.
        share = labels.nnz / (labels.nnz + _FEW_LABELS)
        records.end(0, {}, work)
        for epoch in range(1, epochs + 1):
            sums: dict[str, list[float]] = {}
            for users in batches(catalogue.users, config.batch, rng):
                with autocast(device):
                    keep = torch.rand(len(id_rows), device=device) >= config.id_dropout
                    vectors = item_vectors(whole, keep)
                    terms: dict[str, tuple[float, Tensor]] = {}
                    parts = [p for p in (batch_of(x, users) for x in task) if p is not None]
                    if parts and (config.task_weight or targets is None):
                        inside = item_vectors(inner, keep)
                        if targets is not None:
                            # Labels are few: they weigh the terms; the tables learn from the teacher.
                            inside = inside.detach()
                        values = [
                            sampled_softmax(
                                forward(known_before, p.users, p.items, p.values, inside),
                                torch.from_numpy(p.labels).to(device),
                                mask=torch.from_numpy(p.left_out).to(device),
                            )
                            for p in parts
                        ]
                        terms["task"] = (
                            config.task_weight * share if targets is not None else 1.0,
                            torch.stack(values).sum(),
                        )
                    if targets is not None and said is not None:
                        at = place[users]
                        scores = forward(known_then, users, targets.items[at], said[at], vectors)
                        want = torch.from_numpy(targets.scores[at]).to(device)
                        bounds = [0, *targets.groups]
                        soft = [
                            list_distillation(scores[:, a:b], want[:, a:b], config.temperature)
                            for a, b in itertools.pairwise(bounds)
                        ]
                        terms["list"] = (config.list_weight, torch.stack(soft).sum())
                        terms["relational"] = (
                            config.relational_weight,
                            relational_cosine(vectors, relational, confidence),
                        )
                        some = rng.choice(known, min(256, len(known)), replace=False)
                        sample = torch.from_numpy(some).to(device)
                        distance = rkd_distance(rows_of(vectors, sample), relational[sample])
                        terms["rkd"] = (config.rkd_weight, distance)
                    if not terms:
                        continue
                    loss, logged = combine(terms)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                sums.setdefault("loss", []).append(float(loss.detach()))
                for name, part in logged.items():
                    sums.setdefault(f"loss/{name}", []).append(float(part))
            records.end(epoch, sums, work)
    if validate is not None:
        trained.best_epoch = records.restore_best()
        if "all" in catalogue.pools:
            raise_new(model.blend, metrics)
    return trained


def _task_lists(
    trained: TrainedStudent,
    catalogue: TrainingData,
    tokens: Tokens,
    terms: Terms,
    labels: sp.csr_matrix,
    config: StudentConfig,
    rng: np.random.Generator,
    device: torch.device,
) -> list[Lists | None]:
    """Labelled lists over warm and cold items, hard negatives by the student's own first scores."""
    inner = terms.view
    start = replace(student_scorer(trained, catalogue, tokens, inner, device), terms=terms)
    sold = np.asarray(labels.sum(0)).ravel() > 0
    lists = []
    for name in catalogue.pools:
        pool = catalogue.pool(name, inner)
        lists.append(
            labelled_lists(
                start, inner, labels, catalogue.users, pool[sold[pool]] if name == "cold" else pool,
                terms, top=config.candidates, random=config.random, rng=rng,
            )
        )  # fmt: skip
    return lists
