"""The students of matching by text: a token table, and some of the text teacher's layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kgdistill.arrays import FloatArray
from kgdistill.config import SearchConfig, SearchTransformerConfig, TextLossConfig
from kgdistill.errors import InputError
from kgdistill.models.device import at_home, taken
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.token_table import TokenTable
from kgdistill.models.text.transformer import PooledText, TextModel
from kgdistill.models.text_teacher import TextTargets
from kgdistill.tasks.lexical import TITLE_WEIGHT
from kgdistill.tasks.ragged import Ragged, placed
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.tasks.synthetic import SyntheticQueries
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, Trained, fit
from kgdistill.train.losses import list_distillation, margin_mse, relational_cosine, sampled_softmax

if TYPE_CHECKING:
    from typing_extensions import Self

_B = TypeVar("_B")


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


class _Asked(NamedTuple):
    """Queries, and where the items are drawn that they are held against.

    Attributes:
        rows: of the queries, int64 [B].
        near: places in each one's candidates, int64 [B, N].
        others: items, int64 [O].
    """

    rows: Tensor
    near: Tensor
    others: Tensor


class _Lessons:
    """What of the teacher's is held against a student's, as tensors on a device."""

    def __init__(self, lessons: TextLessons, device: torch.device) -> None:
        self.device, targets = device, lessons.targets
        self.sources = placed(lessons.queries.sources, device)
        self.candidates, self.scores = (placed(a, device) for a in (targets.candidates, targets.scores))
        self._items = len(lessons.catalogue)

    def asked(self, parts: Sequence[Tensor], candidates: int, others: int, draws: Draws) -> list[_Asked]:
        """Batches of queries, each with `candidates` of every query's own and `others` of all items.

        They are drawn on the CPU, so that every device has the same.
        """
        shape = (sum(map(len, parts)), candidates)
        near = torch.randint(self.candidates.shape[1], shape, generator=draws.torch).to(self.device)
        drawn = (len(parts), min(others, self._items))
        more = torch.randint(self._items, drawn, generator=draws.torch).to(self.device)
        nears = torch.split(near, [len(part) for part in parts])
        return [_Asked(*batch) for batch in zip(parts, nears, more, strict=True)]

    def drawn(self, batch: _Asked) -> tuple[Tensor, Tensor]:
        """The items that some queries are held against, ascending, and the place of each query's own."""
        own = self.sources[batch.rows]
        near = self.candidates[batch.rows].gather(1, batch.near)
        items = torch.unique(torch.cat([own, near.ravel(), batch.others]))
        return items, torch.searchsorted(items, own)

    def of_lists(
        self, cosines: Tensor, teacher: Tensor, at: tuple[Tensor, Tensor, Tensor], config: TextLossConfig
    ) -> dict[str, tuple[float, Tensor]]:
        """The losses over lists: cosines of the student and of the text teacher, float32 [B, C].

        `at` says whose: the queries int64 [B], the items int64 [C] and each query's own place in them.
        """
        rows, items, own = at
        held = self.candidates, self.scores
        said = teacher_list(held, rows, items, teacher, config.temperature, config.fused_share)
        return {
            "list": (config.list_weight, list_distillation(cosines / config.temperature, said, 1.0)),
            "margin": (config.margin_weight, margin_mse(cosines, teacher, own)),
        }


class TableLesson(Lesson[_Asked]):
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
        self.student, self.config, self.distil = student, config, distil
        self.device = device = student.table.weight.device
        self.lessons = _Lessons(lessons, device)
        self.asked = Ragged.of(student.token_ids(lessons.queries.texts), device)
        self.shown = [
            Ragged.of(student.token_ids(lessons.catalogue.fields[name]), device) for name in student.fields
        ]
        self.wanted, self.items = (
            at_home(F.normalize(torch.from_numpy(vectors @ axes), dim=-1), device)
            for vectors in (lessons.targets.queries, lessons.vectors)
        )

    def plan(self, epoch: int, draws: Draws) -> Sequence[_Asked]:
        """Queries in random order."""
        config, rows = self.config, torch.arange(len(self.lessons.sources), device=self.device)
        parts = draws.batches(rows, config.batch, even=True)
        return self.lessons.asked(parts, config.negatives, config.batch, draws)

    def loss(self, batch: _Asked, draws: Draws) -> LossTerms:
        """Of some queries."""
        config, student, rows = self.config, self.student, batch.rows
        items, own = self.lessons.drawn(batch)
        q = student.vectors(*self.asked.take(rows))
        d = _mixed([student.vectors(*ids.take(items)) for ids in self.shown])
        if not self.distil:
            positive = F.one_hot(own, len(items)).bool()
            return {"task": (1.0, sampled_softmax(q @ d.T / config.temperature, positive))}
        mine, theirs = (taken(*of, self.device) for of in ((self.wanted, rows), (self.items, items)))
        return {
            "query": (config.vector_weight, relational_cosine(q, mine)),
            "product": (config.vector_weight, relational_cosine(d, theirs)),
            **self.lessons.of_lists(q @ d.T, mine @ theirs.T, (rows, items, own), config),
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


class LayersLesson(Lesson[tuple[Tensor | None, _Asked | None]]):
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
        self.student, self.config = student, config
        self.device = device = student.device
        self.lessons = _Lessons(lessons, device)
        self.at = torch.tensor(list(titles.values()), device=device)
        self.shown = Ragged.of(student.token_ids(list(titles)), device)
        self.asked = Ragged.of(student.token_ids(lessons.queries.texts), device)
        self.items, self.wanted = (
            at_home(torch.from_numpy(a), device) for a in (lessons.vectors, lessons.targets.queries)
        )

    def plan(self, epoch: int, draws: Draws) -> Sequence[tuple[Tensor | None, _Asked | None]]:
        """Titles and queries evenly beside one another, each batch of texts of like length."""
        config = self.config
        titles = _alike(self.shown, config.titles, draws)
        queries = self.lessons.asked(
            _alike(self.asked, config.queries, draws), config.candidates, config.others, draws
        )
        count = max(len(titles), len(queries))
        return list(zip(_spread(titles, count), _spread(queries, count), strict=True))

    def loss(self, batch: tuple[Tensor | None, _Asked | None], draws: Draws) -> LossTerms:
        """Of some titles and some queries, either of which may be none."""
        titles, asked = batch
        config, student, parts = self.config, self.student, {}
        if titles is not None:
            said = student.vectors(self.shown, titles)
            theirs = taken(self.items, self.at[titles], self.device)
            parts["product"] = (config.vector_weight, relational_cosine(said, theirs))
        if asked is not None:
            rows, (items, own) = asked.rows, self.lessons.drawn(asked)
            q = student.vectors(self.asked, rows)
            mine, theirs = (taken(*of, self.device) for of in ((self.wanted, rows), (self.items, items)))
            parts["query"] = (config.vector_weight, relational_cosine(q, mine))
            parts |= self.lessons.of_lists(q @ theirs.T, mine @ theirs.T, (rows, items, own), config)
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


def _mixed(fields: list[Tensor]) -> Tensor:
    return F.normalize(fields[0] * TITLE_WEIGHT + sum(fields[1:], torch.zeros_like(fields[0])), dim=-1)


def teacher_list(
    held: tuple[Tensor, Tensor],
    rows: Tensor,
    items: Tensor,
    cosines: Tensor,
    temperature: float,
    share: float,
) -> Tensor:
    """What the teacher says of some queries over the same items, as logarithms, float32 [B, C].

    A mixture of the softmax of its cosines and that of its fused scores.

    Args:
        held: of all queries the candidates int64 [Q, K], and their fused scores float32 [Q, K].
        rows: the queries, int64 [B].
        items: int64 [C], ascending.
        cosines: the text teacher's, float32 [B, C].
        temperature: of both.
        share: of the fused scores, from 0 to 1.
    """
    candidates, scores = (of[rows] for of in held)
    fused = _fused(candidates, scores, items)
    return torch.logaddexp(
        F.log_softmax(cosines / temperature, 1) + math.log(max(1 - share, 1e-9)),
        F.log_softmax(fused / temperature, 1) + math.log(max(share, 1e-9)),
    )


def _fused(candidates: Tensor, scores: Tensor, items: Tensor) -> Tensor:
    """The teacher's fused scores of a batch's items, float32 [B, C]; below its last where it gave none."""
    at = torch.searchsorted(items, candidates).clamp_(max=len(items) - 1)
    at = torch.where(items[at] == candidates, at, len(items))  # beside the items
    low = scores.min(dim=1, keepdim=True).values - 0.1
    return low.repeat(1, len(items) + 1).scatter_(1, at, scores)[:, :-1]


def _alike(ids: Ragged, size: int, draws: Draws) -> list[Tensor]:
    """Batches of all texts, by length."""
    lengths = ids.starts.diff()
    return draws.alike(torch.arange(len(lengths), device=lengths.device), lengths, size)


def _spread(batches: Sequence[_B], count: int) -> Iterator[_B | None]:
    """The batches evenly over `count` places, at least as many; None where there is none."""
    last = -1
    for i in range(count):
        at = i * len(batches) // count
        yield batches[at] if at != last else None
        last = at
