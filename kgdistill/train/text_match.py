"""The students of matching by text: a token table, and some of the text teacher's layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import SearchConfig, SearchTransformerConfig, TextLossConfig
from kgdistill.errors import InputError
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import PooledText
from kgdistill.models.text_teacher import TextTargets
from kgdistill.progress import step
from kgdistill.tasks.lexical import TITLE_WEIGHT
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.losses import combine, list_distillation, margin_mse, relational_cosine, sampled_softmax

LossParts = dict[str, tuple[float, Tensor]]
StudentT = TypeVar("StudentT", TokenTable, PooledText)


@dataclass(frozen=True)
class TextLessons:
    """What a student learns from; no judgement is among it.

    Attributes:
        catalogue: the items.
        queries: with the item that each was made from, or that was clicked.
        targets: the teacher's, of these queries.
        vectors: the text teacher's of the items, float32 [items, E].
    """

    catalogue: SearchCatalogue
    queries: SyntheticQueries
    targets: TextTargets
    vectors: FloatArray


@dataclass
class TrainedText(Generic[StudentT]):
    """A student with each epoch's mean losses, and the seconds that training took."""

    student: StudentT
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train_token_table(
    student: TokenTable,
    projection: FloatArray,
    lessons: TextLessons,
    config: SearchConfig,
    *,
    seed: int,
    distil: bool = True,
) -> TrainedText[TokenTable]:
    """Trains a token table in place.

    Each batch holds queries, the item that each was made from, items drawn from the teacher's first
    ones, and random ones. The student's vectors follow the text teacher's (relational cosine), its list
    over the batch's items follows the teacher's (list distillation), and its margins follow the
    teacher's between the query's own item and the others (margin-MSE). The teacher's list is a mixture
    of the softmax of its cosines and that of its fused scores.

    Args:
        student, projection: from `first_table`.
        lessons: what it learns from.
        config: how.
        seed: of the batches.
        distil: False learns from the queries' own items alone (sampled softmax), the ablation.
    """
    rng = _seeded(seed)
    queries, catalogue, device = lessons.queries, lessons.catalogue, student.table.weight.device
    asked = student.token_ids(queries.texts)
    shown = [student.token_ids(catalogue.fields[name]) for name in student.fields]
    wanted, items = (
        F.normalize(torch.from_numpy(v @ projection), dim=-1).to(device)
        for v in (lessons.targets.queries, lessons.vectors)
    )
    optimizer = torch.optim.Adam(student.parameters(), lr=config.lr)
    count = max(len(queries) // config.batch, 1)
    steps = config.epochs * count
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(1 - s / steps, 0.0))

    def batches() -> Iterator[LossParts]:
        for rows in np.array_split(rng.permutation(len(queries)), count):
            batch, own = _drawn(lessons, rows, config.negatives, config.batch, rng)
            q = student.vectors([asked[i] for i in rows])
            d = _mixed([student.vectors([ids[i] for i in batch]) for ids in shown])
            own = own.to(device)
            if not distil:
                positive = F.one_hot(own, len(batch)).bool()
                yield {"task": (1.0, sampled_softmax(q @ d.T / config.temperature, positive))}
                continue
            mine, theirs = wanted[torch.from_numpy(rows)], items[torch.from_numpy(batch)]
            parts = _of_lists(q @ d.T, mine @ theirs.T, (rows, batch, own), lessons.targets, config)
            yield {
                "query": (config.vector_weight, relational_cosine(q, mine)),
                "product": (config.vector_weight, relational_cosine(d, theirs)),
                **parts,
            }

    return _epochs(student, optimizer, schedule, batches, config.epochs)


def train_transformer(
    encoder: PooledText, lessons: TextLessons, config: SearchTransformerConfig, *, seed: int
) -> TrainedText[PooledText]:
    """Cuts a student from the text teacher and trains it.

    A title is to say what the teacher says of all the item's running text. A query follows the
    teacher's vector (relational cosine), its list over items (list distillation) and its margins between
    the query's own item and the others (margin-MSE). Items stand there with the teacher's vectors, so
    that only short queries are encoded for a list.

    Args:
        encoder: the text teacher.
        lessons: what it learns from.
        config: how.
        seed: of the cut and the batches.

    Raises:
        InputError: the encoder cannot be cut so, or its vectors have another width than its layers.
    """
    if encoder.dim != lessons.vectors.shape[1] or encoder.head is not None:
        raise InputError(
            "a transformer student is cut from an encoder without a head, whose vectors it follows"
        )
    rng = _seeded(seed)
    place = {title: row for row, title in reversed(list(enumerate(lessons.catalogue.titles))) if title}
    at: IntArray = np.array(sorted(place.values()), np.int64)
    titles = [lessons.catalogue.titles[row] for row in at]
    student = cut_student(
        encoder, [*titles, *lessons.queries.texts],
        layers=config.layers, width=config.width, precision=config.precision, seed=seed,
    ).student  # fmt: skip
    shown, asked = student.token_ids(titles), student.token_ids(lessons.queries.texts)
    items = torch.from_numpy(lessons.vectors).to(student.device)
    wanted = torch.from_numpy(lessons.targets.queries).to(student.device)
    moving = [*student.model.parameters(), *(student.head.parameters() if student.head is not None else ())]
    optimizer = torch.optim.AdamW(moving, lr=config.lr, weight_decay=0.01)
    count = max(-(-len(asked) // config.queries), -(-len(shown) // config.titles))
    steps = config.epochs * count
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(s / steps / 0.05 + 1e-3, (1 - s / steps) / 0.95, 1.0)
    )

    def batches() -> Iterator[LossParts]:
        of_titles, of_queries = _alike(shown, config.titles, rng), _alike(asked, config.queries, rng)
        for some, rows in zip(_spread(of_titles, count), _spread(of_queries, count), strict=True):
            parts: LossParts = {}
            if some is not None:
                said = student.vectors([shown[i] for i in some])
                theirs = items[torch.from_numpy(at[some])]
                parts["product"] = (config.vector_weight, relational_cosine(said, theirs))
            if rows is not None:
                q, mine = student.vectors([asked[i] for i in rows]), wanted[torch.from_numpy(rows)]
                batch, own = _drawn(lessons, rows, config.candidates, config.others, rng)
                theirs = items[torch.from_numpy(batch)]
                parts["query"] = (config.vector_weight, relational_cosine(q, mine))
                at_batch = rows, batch, own.to(q.device)
                parts |= _of_lists(q @ theirs.T, mine @ theirs.T, at_batch, lessons.targets, config)
            yield parts

    trained = _epochs(student, optimizer, schedule, batches, config.epochs, clip=1.0)
    student.model.requires_grad_(False).eval()
    return trained


def _seeded(seed: int) -> np.random.Generator:
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def _epochs(
    student: StudentT,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batches: Callable[[], Iterable[LossParts]],
    epochs: int,
    *,
    clip: float | None = None,
) -> TrainedText[StudentT]:
    began, trained = time.monotonic(), TrainedText(student)
    moving = [p for group in optimizer.param_groups for p in group["params"]]
    with step("Training the student", total=epochs) as work:
        for epoch in range(epochs):
            logged: dict[str, list[float]] = {}
            loss: Tensor
            told: dict[str, Tensor]
            for parts in batches():
                loss, told = combine(parts)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if clip is not None:
                    nn.utils.clip_grad_norm_(moving, clip)
                optimizer.step()
                schedule.step()
                for name, value in (("loss", loss.detach()), *told.items()):
                    logged.setdefault(name, []).append(float(value))
            means = {name: float(np.mean(each)) for name, each in logged.items()}
            trained.history.append({"epoch": float(epoch), **means})
            work.advance()
            work.note(f"loss {means['loss']:.4f}")
    trained.seconds = time.monotonic() - began
    return trained


def _drawn(
    lessons: TextLessons, rows: IntArray, candidates: int, others: int, rng: np.random.Generator
) -> tuple[IntArray, Tensor]:
    """The items that some queries are held against, ascending, and the place of each query's own."""
    targets, sources = lessons.targets, lessons.queries.sources
    pick = rng.integers(targets.candidates.shape[1], size=(len(rows), candidates))
    near = np.take_along_axis(targets.candidates[rows], pick, axis=1)
    other = rng.integers(len(lessons.catalogue), size=min(others, len(lessons.catalogue)))
    batch = np.unique(np.concatenate([sources[rows], near.ravel(), other]))
    return batch, torch.from_numpy(np.searchsorted(batch, sources[rows]))


def _of_lists(
    cosines: Tensor,
    teacher: Tensor,
    at: tuple[IntArray, IntArray, Tensor],
    targets: TextTargets,
    config: TextLossConfig,
) -> LossParts:
    """The losses over lists: cosines of the student and of the text teacher, float32 [B, C].

    `at` says whose: the queries int64 [B], the items int64 [C] and each query's own place in them.
    """
    rows, batch, own = at
    said = teacher_list(targets, rows, batch, teacher, config.temperature, config.fused_share)
    return {
        "list": (config.list_weight, list_distillation(cosines / config.temperature, said, 1.0)),
        "margin": (config.margin_weight, margin_mse(cosines, teacher, own)),
    }


def _mixed(fields: list[Tensor]) -> Tensor:
    return F.normalize(fields[0] * TITLE_WEIGHT + sum(fields[1:], torch.zeros_like(fields[0])), dim=-1)


def teacher_list(
    targets: TextTargets, rows: IntArray, batch: IntArray, cosines: Tensor, temperature: float, share: float
) -> Tensor:
    """What the teacher says of some queries over the same items, as logarithms, float32 [B, C].

    A mixture of the softmax of its cosines and that of its fused scores.

    Args:
        targets: of all queries.
        rows: the queries, int64 [B].
        batch: the items, int64 [C], ascending.
        cosines: the text teacher's, float32 [B, C].
        temperature: of both.
        share: of the fused scores, from 0 to 1.
    """
    fused = _fused(targets, rows, batch).to(cosines.device)
    return torch.logaddexp(
        F.log_softmax(cosines / temperature, 1) + np.log(max(1 - share, 1e-9)),
        F.log_softmax(fused / temperature, 1) + np.log(max(share, 1e-9)),
    )


def _fused(targets: TextTargets, rows: IntArray, batch: IntArray) -> Tensor:
    """The teacher's fused scores of a batch's items, float32 [B, C]; below its last where it gave none."""
    low = targets.scores[rows].min(axis=1)
    out = np.repeat(low[:, None] - 0.1, len(batch), axis=1).astype(np.float32)
    at = np.searchsorted(batch, targets.candidates[rows]).clip(max=len(batch) - 1)
    line, column = np.nonzero(batch[at] == targets.candidates[rows])
    out[line, at[line, column]] = targets.scores[rows][line, column]
    return torch.from_numpy(out)


def _alike(ids: Sequence[Sequence[int]], size: int, rng: np.random.Generator) -> list[IntArray]:
    """Batches in random order, of texts of like length."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    order = rng.permutation(len(ids))
    batches = []
    for start in range(0, len(order), 16 * size):
        pool = order[start : start + 16 * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[s : s + size] for s in range(0, len(pool), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _spread(batches: Sequence[IntArray], count: int) -> Iterator[IntArray | None]:
    """The batches evenly over `count` places, at least as many; None where there is none."""
    last = -1
    for i in range(count):
        at = i * len(batches) // count
        yield batches[at] if at != last else None
        last = at
