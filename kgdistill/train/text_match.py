"""The students of matching by text: a token table, and some of the text teacher's layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import SearchConfig, SearchTransformerConfig, TextLossConfig
from kgdistill.errors import InputError
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import PooledText, TextModel
from kgdistill.models.text_teacher import TextTargets
from kgdistill.tasks.lexical import TITLE_WEIGHT
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, Trained, fit
from kgdistill.train.losses import list_distillation, margin_mse, relational_cosine, sampled_softmax

if TYPE_CHECKING:
    from typing_extensions import Self


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


class TableLesson(Lesson[IntArray]):
    """What a token table learns: batches of queries, and the items that they are held against.

    Each batch holds queries, the item that each was made from, items drawn from the teacher's first
    ones, and random ones. The student's vectors follow the text teacher's (relational cosine), its list
    over the batch's items follows the teacher's (list distillation), and its margins follow the
    teacher's between the query's own item and the others (margin-MSE). The teacher's list is a mixture
    of the softmax of its cosines and that of its fused scores.

    Args:
        student, axes: a token table before training, and the way into its space.
        lessons: what it learns from.
        config: how.
        distil: False learns from the queries' own items alone (sampled softmax), the ablation.
    """

    def __init__(
        self, student: TokenTable, axes: FloatArray, lessons: TextLessons, config: SearchConfig, distil: bool
    ) -> None:
        self.student, self.lessons, self.config, self.distil = student, lessons, config, distil
        self.asked = student.token_ids(lessons.queries.texts)
        self.shown = [student.token_ids(lessons.catalogue.fields[name]) for name in student.fields]
        self.device = student.table.weight.device
        self.wanted, self.items = (
            F.normalize(torch.from_numpy(vectors @ axes), dim=-1).to(self.device)
            for vectors in (lessons.targets.queries, lessons.vectors)
        )

    def plan(self, epoch: int, draws: Draws) -> Sequence[IntArray]:
        """Queries in random order."""
        count = len(self.asked)
        return np.array_split(draws.numpy.permutation(count), max(count // self.config.batch, 1))

    def loss(self, batch: IntArray, draws: Draws) -> LossTerms:
        """Of some queries."""
        config, student = self.config, self.student
        items, own = _drawn(self.lessons, batch, config.negatives, config.batch, draws.numpy)
        q = student.vectors([self.asked[i] for i in batch])
        d = _mixed([student.vectors([ids[i] for i in items]) for ids in self.shown])
        own = own.to(self.device)
        if not self.distil:
            positive = F.one_hot(own, len(items)).bool()
            return {"task": (1.0, sampled_softmax(q @ d.T / config.temperature, positive))}
        mine, theirs = self.wanted[torch.from_numpy(batch)], self.items[torch.from_numpy(items)]
        return {
            "query": (config.vector_weight, relational_cosine(q, mine)),
            "product": (config.vector_weight, relational_cosine(d, theirs)),
            **_of_lists(q @ d.T, mine @ theirs.T, (batch, items, own), self.lessons.targets, config),
        }


def train_token_table(
    student: TokenTable,
    axes: FloatArray,
    lessons: TextLessons,
    config: SearchConfig,
    context: Context,
    *,
    distil: bool = True,
) -> Trained[TokenTable]:
    """Trains a token table in place; see `TableLesson`."""
    draws = context.draws()
    lesson = TableLesson(student.to(context.device), axes, lessons, config, distil)
    recipe = Recipe(epochs=config.epochs, lr=config.lr, schedule="fall")
    title = "Training the student" if distil else "Training the student without distillation"
    return fit(student, lesson, recipe, draws, title=title, checkpoint=context.checkpoint)


class _Moving(nn.Module):
    """What of an encoder learns, without dropout: as it encodes."""

    def __init__(self, encoder: PooledText) -> None:
        super().__init__()
        self.model, self.head = encoder.model, encoder.head

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


class LayersLesson(Lesson[tuple[IntArray | None, IntArray | None]]):
    """What a transformer student learns: titles, and queries beside them.

    A title is to say what the teacher says of all the item's running text. A query follows the
    teacher's vector (relational cosine), its list over items (list distillation) and its margins between
    the query's own item and the others (margin-MSE). Items stand there with the teacher's vectors, so
    that only short queries are encoded for a list.

    Args:
        student: cut from the teacher.
        titles: distinct, with the item of each.
        lessons: what it learns from.
        config: how.
    """

    def __init__(
        self,
        student: PooledText,
        titles: Mapping[str, int],
        lessons: TextLessons,
        config: SearchTransformerConfig,
    ) -> None:
        self.student, self.lessons, self.config = student, lessons, config
        self.at: IntArray = np.array(list(titles.values()), np.int64)
        self.shown = student.token_ids(list(titles))
        self.asked = student.token_ids(lessons.queries.texts)
        self.items = torch.from_numpy(lessons.vectors).to(student.device)
        self.wanted = torch.from_numpy(lessons.targets.queries).to(student.device)

    def plan(self, epoch: int, draws: Draws) -> Sequence[tuple[IntArray | None, IntArray | None]]:
        """Titles and queries evenly beside one another, each batch of texts of like length."""
        titles = _alike(self.shown, self.config.titles, draws.numpy)
        queries = _alike(self.asked, self.config.queries, draws.numpy)
        count = max(len(titles), len(queries))
        return list(zip(_spread(titles, count), _spread(queries, count), strict=True))

    def loss(self, batch: tuple[IntArray | None, IntArray | None], draws: Draws) -> LossTerms:
        """Of some titles and some queries, either of which may be none."""
        titles, rows = batch
        config, student, parts = self.config, self.student, {}
        if titles is not None:
            said = student.vectors([self.shown[i] for i in titles])
            theirs = self.items[torch.from_numpy(self.at[titles])]
            parts["product"] = (config.vector_weight, relational_cosine(said, theirs))
        if rows is not None:
            q, mine = student.vectors([self.asked[i] for i in rows]), self.wanted[torch.from_numpy(rows)]
            items, own = _drawn(self.lessons, rows, config.candidates, config.others, draws.numpy)
            theirs = self.items[torch.from_numpy(items)]
            at = rows, items, own.to(q.device)
            parts["query"] = (config.vector_weight, relational_cosine(q, mine))
            parts |= _of_lists(q @ theirs.T, mine @ theirs.T, at, self.lessons.targets, config)
        return parts


def train_transformer(
    encoder: TextModel, lessons: TextLessons, config: SearchTransformerConfig, context: Context
) -> Trained[PooledText]:
    """Cuts a student from the text teacher and trains it; see `LayersLesson`.

    Raises:
        InputError: the encoder cannot be cut so, or its vectors have another width than its layers.
    """
    if not isinstance(encoder, PooledText):
        raise InputError(
            f"{encoder.name} gives vectors alone: no transformer student can be cut from it",
            hint="take the token table, or name a Hugging Face folder as text.encoder",
        )
    if encoder.dim != lessons.vectors.shape[1] or encoder.head is not None:
        raise InputError(
            "a transformer student is cut from an encoder without a head, whose vectors it follows"
        )
    draws = context.draws()
    named = enumerate(lessons.catalogue.titles)
    place = {title: row for row, title in reversed(list(named)) if title}
    titles = dict(sorted(place.items(), key=lambda held: held[1]))
    student = cut_student(
        encoder, [*titles, *lessons.queries.texts],
        layers=config.layers, width=config.width, precision=config.precision, seed=context.seed,
    ).student  # fmt: skip
    lesson = LayersLesson(student, titles, lessons, config)
    recipe = Recipe(
        epochs=config.epochs, lr=config.lr, weight_decay=0.01, schedule="fall", warm=0.05, clip=1.0
    )
    moving = _Moving(student)
    trained = fit(
        moving, lesson, recipe, draws, title="Training the transformer", checkpoint=context.checkpoint
    )
    moving.requires_grad_(False)
    return Trained(student, history=trained.history, best_epoch=trained.best_epoch, seconds=trained.seconds)


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
) -> dict[str, tuple[float, Tensor]]:
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
