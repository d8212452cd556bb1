"""Training of the transformer student: hidden states, attention relations and vectors from the teacher."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kgdistill.distill.losses import (
    combine,
    hint_mse,
    list_distillation,
    relational_cosine,
    rkd_distance,
)
from kgdistill.distill.view import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.text import PooledText, Precision
from kgdistill.models.text_layers import encoder_layers
from kgdistill.models.transformer_student import Cut, cut_student
from kgdistill.progress import step


@dataclass(frozen=True)
class TransformerStudentConfig:
    """The transformer student and its training.

    Attributes:
        layers, width, cut_words: see `cut_student`.
        epochs: passes over the texts.
        batch: texts at a time.
        lr: Adam's, rising over a tenth of the steps and then falling to 0.
        hint_weight: of the hidden states, relative to the teacher's own variance.
        cosine_weight: of the vectors' directions.
        rkd_weight: of the distances between the vectors of a batch.
        list_weight: of each text's nearest others in its batch, in the teacher's order.
        temperature: of the cosines in these lists.
        attention_weight: of the relations among queries, keys and values in the last layer (Wang et al.
            2021, MiniLMv2).
        relation_heads: into how many heads these are split on both sides.
        precision: of the student.
        memory_mb: what the teacher's states may take; where they do not fit, it is asked anew in each epoch.
    """

    layers: int = 2
    width: int | None = 128
    cut_words: bool = True
    epochs: int = 20
    batch: int = 64
    lr: float = 2e-3
    hint_weight: float = 1.0
    cosine_weight: float = 2.0
    rkd_weight: float = 1.0
    list_weight: float = 0.0
    temperature: float = 0.05
    attention_weight: float = 0.0
    relation_heads: int = 12
    precision: Precision = "auto"
    memory_mb: float = 1024


@dataclass
class TrainedTransformerStudent:
    """A student, each epoch's figures, and the seconds that training took."""

    student: PooledText
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Taught:
    """What the teacher says of some texts: flat over their tokens, split at `offsets`."""

    states: Tensor
    relations: Tensor | None
    vectors: Tensor
    offsets: IntArray


def text_targets(
    relational: FloatArray, confidence: FloatArray, text_rows: IntArray, texts: int
) -> tuple[FloatArray, FloatArray]:
    """What each distinct text has to say: the mean of its items' vectors, weighted by confidence.

    Args:
        relational: the fused teacher's item vectors, float32 [items, D].
        confidence: their weights, float32 [items].
        text_rows: the text of each item, int64 [items].
        texts: how many distinct texts there are.

    Returns:
        Targets float32 [texts, D] and their weights float32 [texts]; both 0 for a text without weight.
    """
    total = np.bincount(text_rows, confidence, minlength=texts).astype(np.float32)
    mean = np.zeros((texts, relational.shape[1]), np.float32)
    np.add.at(mean, text_rows, relational * confidence[:, None])
    return (mean / np.maximum(total, 1e-9)[:, None]).astype(np.float32), total


def distil_transformer(
    teacher: PooledText,
    texts: Sequence[str],
    config: TransformerStudentConfig,
    *,
    seed: int,
    targets: FloatArray | None = None,
    confidence: FloatArray | None = None,
    validate: Callable[[PooledText], Mapping[str, float]] | None = None,
) -> TrainedTransformerStudent:
    """Cuts a student from a text teacher and trains it on texts; no label is read.

    It trains without dropout: a teacher that answers everywhere leaves nothing to overfit to.

    Args:
        teacher: the text encoder, adapted or not.
        texts: distinct; what the student knows words of.
        config: how.
        seed: of the cut and the batches.
        targets: what the student's vectors follow, float32 [texts, D], such as the fused teacher's
            relational embeddings; None for the text teacher's own vectors.
        confidence: weight of each text's target, float32 [texts].
        validate: metrics of the student as it is, after every epoch; with it the epoch of the greatest sum is
            kept, else the last.

    Raises:
        InputError: there are fewer than two texts, targets do not match them, or the cut is impossible.
    """
    begin = time.monotonic()
    if len(texts) < 2:
        raise InputError("a transformer student needs two texts at least")
    for given in (targets, confidence):
        if given is not None and len(given) != len(texts):
            raise InputError(f"{len(given)} targets do not fit {len(texts)} texts")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    cut = cut_student(
        teacher, texts, layers=config.layers, width=config.width, cut_words=config.cut_words,
        dim=None if targets is None else targets.shape[1], precision=config.precision, seed=seed,
    )  # fmt: skip
    student = cut.student
    device = student.device
    trained = TrainedTransformerStudent(student)
    own, theirs = student.token_ids(list(texts)), teacher.token_ids(list(texts))
    wanted = None if targets is None else torch.from_numpy(targets).to(device)
    if wanted is not None:
        _fit_head(teacher, cut, theirs, wanted, rng)
    sure = torch.ones(len(texts)) if confidence is None else torch.from_numpy(confidence).float()
    sure = sure.to(device)
    chunks = _chunks(theirs, cut, config, rng)
    batches_of_all = sum(-(-len(c) // config.batch) for c in chunks)
    moving = [*student.model.parameters(), *(student.head.parameters() if student.head is not None else ())]
    optimizer = torch.optim.AdamW(moving, lr=config.lr, weight_decay=0.01)
    steps = max(batches_of_all * config.epochs, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(s / steps / 0.1 + 1e-3, (1 - s / steps) / 0.9, 1.0)
    )
    best, state = -np.inf, None
    taught: _Taught | None = None
    with step("Training the transformer student", total=config.epochs * len(texts)) as work:
        for epoch in range(1, config.epochs + 1):
            sums: dict[str, float] = {}
            for chunk in chunks:
                if taught is None or len(chunks) > 1:
                    taught = _teach(teacher, cut, [theirs[i] for i in chunk], config)
                for part in _alike([len(own[i]) for i in chunk], config.batch, rng):
                    rows = torch.from_numpy(chunk[part]).to(device)
                    loss, logged = _loss(
                        cut, [own[i] for i in chunk[part]], taught, part, config,
                        wanted=None if wanted is None else wanted[rows], sure=sure[rows],
                    )  # fmt: skip
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(moving, 1.0)
                    optimizer.step()
                    schedule.step()
                    for name, value in (
                        ("loss", loss.detach()),
                        *((f"loss/{k}", v) for k, v in logged.items()),
                    ):
                        sums[name] = sums.get(name, 0.0) + float(value)
                    work.advance(len(part))
            record = {"epoch": float(epoch), **{k: v / batches_of_all for k, v in sums.items()}}
            if validate is not None:
                metrics = validate(student)
                record |= {f"valid/{k}": v for k, v in metrics.items()}
                if sum(metrics.values()) > best:
                    best, state = sum(metrics.values()), copy.deepcopy([p.detach() for p in moving])
            trained.history.append({**record, "seconds": time.monotonic() - begin})
            work.note(f"loss {record['loss']:.4f}")
    if state is not None:
        with torch.no_grad():
            for parameter, value in zip(moving, state, strict=True):
                parameter.copy_(value)
    for parameter in moving:
        parameter.requires_grad_(False)
    trained.seconds = time.monotonic() - begin
    return trained


def _loss(
    cut: Cut,
    ids: list[list[int]],
    taught: _Taught,
    part: IntArray,
    config: TransformerStudentConfig,
    *,
    wanted: Tensor | None,
    sure: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    student = cut.student
    padded = student.pad(ids)
    there = padded["attention_mask"].bool()
    with student.low_precision_training(), _relations(student.model, config.attention_weight > 0) as found:
        out = student.model(**padded, output_hidden_states=True)
        vectors = student.pool(out.last_hidden_state, padded["attention_mask"])
    # Where in the flat states each token is; padding repeats the first one and is masked.
    first = torch.from_numpy(taught.offsets[part]).to(there.device)
    at = torch.where(
        there, first[:, None] + torch.arange(there.shape[1], device=there.device), first[:, None]
    )
    at = at.to(taught.states.device)
    want = taught.vectors[torch.from_numpy(part)].to(vectors) if wanted is None else wanted
    terms: dict[str, tuple[float, Tensor]] = {}
    if config.hint_weight:
        states = taught.states[at].to(vectors)
        hints = []
        for i, hidden in enumerate(out.hidden_states):
            size = states[:, :, i][there].pow(2).mean().clamp(min=1e-12)
            hints.append(hint_mse(hidden.float(), states[:, :, i], ~there) / size)
        terms["hint"] = (config.hint_weight, torch.stack(hints).mean())
    if config.attention_weight and taught.relations is not None:
        theirs = taught.relations[at].to(vectors)
        values = [
            _relation_loss(mine.float(), theirs[:, :, i], there, config.relation_heads)
            for i, mine in enumerate(found)
        ]
        terms["attention"] = (config.attention_weight, torch.stack(values).mean())
    terms["cosine"] = (config.cosine_weight, relational_cosine(vectors, want, sure))
    unit = nn.functional.normalize(want, dim=-1)
    terms["rkd"] = (config.rkd_weight, rkd_distance(vectors, unit))
    if config.list_weight:
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        lists = [(v @ v.T) / config.temperature for v in (vectors, unit)]
        terms["list"] = (config.list_weight, list_distillation(lists[0], lists[1], 1.0, itself))
    return combine(terms)


def _relation_loss(mine: Tensor, theirs: Tensor, there: Tensor, heads: int) -> Tensor:
    """KL between the softmaxed products among queries (or keys, or values), [B, L, E] and [B, L, F]."""
    left_out = ~there[:, None, None, :].expand(-1, heads, there.shape[1], -1)
    scores = []
    for states in (mine, theirs):
        split = states.reshape(*states.shape[:2], heads, -1).transpose(1, 2)
        scores.append(split @ split.transpose(2, 3) / split.shape[-1] ** 0.5)
    # Only rows of real tokens count.
    rows = there[:, None].expand(-1, heads, -1)
    return list_distillation(scores[0][rows], scores[1][rows], 1.0, left_out[rows])


@contextmanager
def _relations(model: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Catches the last layer's queries, keys and values, each [B, L, E], while the model runs."""
    found: list[Tensor] = []
    hooks: list[Any] = []
    if wanted:
        for name in ("query", "key", "value"):
            modules = [m for n, m in encoder_layers(model)[-1].named_modules() if n.split(".")[-1] == name]
            if len(modules) != 1:
                raise InputError(
                    f"{type(model).__name__} has no {name} of its own in a layer",
                    hint="set attention_weight to 0",
                )
            hooks.append(modules[0].register_forward_hook(lambda _m, _i, out: found.append(out)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _chunks(
    ids: list[list[int]], cut: Cut, config: TransformerStudentConfig, rng: np.random.Generator
) -> list[IntArray]:
    """Texts in random parts of which the teacher's states fit into memory."""
    width = int(cut.student.model.config.hidden_size)
    token = 2 * width * (config.layers + 1)
    if config.attention_weight:
        token += 2 * 3 * (width if cut.basis is None else len(cut.basis))
    size = sum(map(len, ids)) * token
    parts = min(max(math.ceil(size / (config.memory_mb * 2**20)), 1), len(ids))
    if parts == 1:
        return [np.arange(len(ids))]
    return [p.astype(np.int64) for p in np.array_split(rng.permutation(len(ids)), parts)]


@torch.no_grad()
def _teach(teacher: PooledText, cut: Cut, ids: list[list[int]], config: TransformerStudentConfig) -> _Taught:
    """Asks the teacher about texts, those of like length together."""
    lengths = np.array([len(row) for row in ids])
    offsets = (np.cumsum(lengths) - lengths).astype(np.int64)
    total = int(lengths.sum())
    width = int(cut.student.model.config.hidden_size)
    states = torch.empty(total, config.layers + 1, width, dtype=torch.float16)
    wide = int(teacher.model.config.hidden_size)
    relations = torch.empty(total, 3, wide, dtype=torch.float16) if config.attention_weight else None
    vectors = torch.empty(len(ids), teacher.dim)
    model = teacher.serving()
    order = np.argsort(lengths, kind="stable")
    with step("Asking the text teacher", total=len(ids)) as work:
        for start in range(0, len(order), config.batch):
            part = order[start : start + config.batch]
            padded = teacher.pad([ids[i] for i in part])
            there = padded["attention_mask"].bool()
            with _relations(model, relations is not None) as found:
                out = model(**padded, output_hidden_states=True)
            flat = np.concatenate([np.arange(offsets[i], offsets[i] + lengths[i]) for i in part])
            at = torch.from_numpy(flat)
            for slot, i in enumerate((0, *(i + 1 for i in cut.layers))):
                states[at, slot] = cut.seen(out.hidden_states[i][there].float()).half().cpu()
            for slot, values in enumerate(found):
                assert relations is not None
                relations[at, slot] = values[there].half().cpu()
            pooled = teacher.pool(out.last_hidden_state, padded["attention_mask"])
            vectors[torch.from_numpy(part)] = pooled.cpu()
            work.advance(len(part))
    return _Taught(states, relations, vectors, offsets)


@torch.no_grad()
def _fit_head(
    teacher: PooledText, cut: Cut, ids: list[list[int]], wanted: Tensor, rng: np.random.Generator
) -> None:
    """Starts the head at the ridge regression of the targets on what the student sees of the teacher."""
    head = cut.student.head
    assert head is not None
    rows = rng.permutation(len(ids))[:2048]
    model = teacher.serving()
    pooled = []
    for start in range(0, len(rows), 64):
        padded = teacher.pad([ids[i] for i in rows[start : start + 64]])
        mask = padded["attention_mask"][..., None].float()
        hidden = model(**padded).last_hidden_state.float()
        pooled.append(cut.seen((hidden * mask).sum(1) / mask.sum(1)).cpu().double())
    x = torch.cat(pooled)
    y = nn.functional.normalize(wanted[torch.from_numpy(rows).to(wanted.device)].cpu().double(), dim=-1)
    gram = x.T @ x
    ridge = 1e-2 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    head.weight.copy_(torch.linalg.solve(gram + ridge, x.T @ y).T.to(head.weight))


def _alike(lengths: list[int], size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Batches in random order, of texts of like length."""
    order = rng.permutation(len(lengths))
    held = np.array(lengths)
    found = []
    for start in range(0, len(order), 16 * size):
        pool = order[start : start + 16 * size]
        pool = pool[np.argsort(held[pool], kind="stable")]
        found += [pool[s : s + size] for s in range(0, len(pool), size)]
    for i in rng.permutation(len(found)):
        yield found[i]
