"""One text tower for the students of several tasks: a token table that follows what their teachers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.device import at_home, taken
from kgdistill.models.heads import ClassifyHead
from kgdistill.models.text.vocabulary import Splitting, first_table, principal_axes
from kgdistill.models.text.words import WordTokens
from kgdistill.tasks.ragged import Ragged, placed, thinned
from kgdistill.train.class_lesson import soft_loss
from kgdistill.train.loop import Context, Draws, Lesson, LossTerms, Recipe, fit
from kgdistill.train.losses import relational_cosine

_BATCH, _UNSEEN = 256, 0.1
_HIDDEN, _DROPOUT, _TEMPERATURE = 256, 0.2, 2.0
_EPOCHS, _STEPS, _MOST = 10, 1000, 200
"""Passes over the texts: ten, of few texts as many as make a thousand steps, but no more than 200."""


@dataclass(frozen=True)
class TowerTexts:
    """What a task reads before its cut, and what the text teacher says of it.

    Attributes:
        texts: what students learn from.
        vectors: of the texts, float32 [texts, E].
        phrases: what may become a token.
        phrase_vectors: of the phrases, float32 [phrases, E].
        told: the teacher's logits of each target over the texts, float32 [texts, classes].
        several: the targets of which a text can have several classes.
    """

    texts: Sequence[str]
    vectors: FloatArray
    phrases: Sequence[str] = ()
    phrase_vectors: FloatArray | None = None
    told: Mapping[str, FloatArray] = field(default_factory=dict)
    several: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SharedTower:
    """A token table that no task changes; a text is the mean of its tokens' rows.

    Attributes:
        tokenizer: its ids are the table's rows.
        table: float32 [V, D].
        axes: the way from the text teacher's space into its own, float32 [E, D].
    """

    tokenizer: Tokenizer
    table: FloatArray
    axes: FloatArray


def train_shared_tower(
    parts: Sequence[TowerTexts], encoder: Splitting, dim: int, max_tokens: int, context: Context
) -> SharedTower:
    """Trains a token table on the texts of all tasks.

    Its vectors point where the text teacher's do; a head over them, which is left behind, says what the
    teachers of classes say. Vectors of the text teacher alone lack what single words tell.

    Args:
        parts: of each task.
        encoder: the text teacher.
        dim: width of the vectors; at most the encoder's.
        max_tokens: of a text.
        context: where, and what it draws from.
    """
    draws = context.draws()
    # What several tasks read is learned once.
    place = {text: row for row, text in enumerate(t for part in parts for t in part.texts)}
    vectors = np.concatenate([part.vectors for part in parts])[list(place.values())]
    named = {phrase: row for row, phrase in enumerate(p for part in parts for p in part.phrases)}
    held = [part.phrase_vectors for part in parts if part.phrase_vectors is not None]
    axes = principal_axes(vectors, min(dim, vectors.shape[1]))
    tokenizer, table = first_table(
        encoder, list(place), list(named), axes, counted=list(place), spare=True,
        phrase_vectors=np.concatenate(held)[list(named.values())] if named else None,
    )  # fmt: skip
    at = {text: i for i, text in enumerate(place)}
    told = [
        _Told(np.array([at[text] for text in part.texts]), logits, name in part.several)
        for part in parts
        for name, logits in part.told.items()
    ]
    bag = nn.EmbeddingBag.from_pretrained(torch.from_numpy(table), mode="sum", freeze=False)
    counts = {str(i): target.logits.shape[1] for i, target in enumerate(told)}
    head = ClassifyHead(table.shape[1], counts, hidden=_HIDDEN, dropout=_DROPOUT)
    model = nn.ModuleDict({"bag": bag, "head": head}).to(context.device)
    lesson = _Follow(bag, head, WordTokens(tokenizer).ids(list(place), max_tokens), vectors @ axes, told)
    epochs = max(_EPOCHS, min(_STEPS * _BATCH // len(place), _MOST))
    recipe = Recipe(epochs, lr=3e-3, schedule="fall")
    fit(model, lesson, recipe, draws, title="Training the tasks' text tower", checkpoint=context.checkpoint)
    return SharedTower(tokenizer, bag.weight.detach().cpu().numpy(), axes)


@dataclass(frozen=True)
class _Told:
    """What a teacher says of some texts, by row int64 [N]: logits float32 [N, classes]."""

    rows: IntArray
    logits: FloatArray
    several: bool


class _Follow(Lesson[Tensor]):
    """Sums of tokens' rows point where the teacher's vectors do, whichever tokens are not seen.

    A head over them says what the teachers of the tasks say; it is left behind.
    """

    def __init__(
        self,
        bag: nn.EmbeddingBag,
        head: ClassifyHead,
        ids: Sequence[Sequence[int]],
        wanted: FloatArray,
        told: Sequence[_Told],
    ) -> None:
        self._bag, self._head = bag, head
        self._device = device = bag.weight.device
        self._ids, self._texts = Ragged.of(ids, device), torch.arange(len(ids), device=device)
        self._wanted = at_home(F.normalize(torch.from_numpy(wanted), dim=-1), device)
        self._told = [
            (
                at_home(torch.from_numpy(target.logits), device),
                placed(_places(target.rows, len(ids)), device),
                target.several,
            )
            for target in told
        ]

    def plan(self, epoch: int, draws: Draws) -> Sequence[Tensor]:
        """See `Lesson`."""
        return draws.batches(self._texts, _BATCH)

    def loss(self, batch: Tensor, draws: Draws) -> LossTerms:
        """See `Lesson`."""
        said: Tensor = self._bag(*thinned(*self._ids.take(batch), _UNSEEN))
        terms = {"text": (1.0, relational_cosine(said, taken(self._wanted, batch, self._device)))}
        logits = self._head(F.normalize(said, dim=-1) * float(said.shape[1]) ** 0.5)
        for i, (told, places, several) in enumerate(self._told):
            at = places[batch]
            if len(there := torch.nonzero(at >= 0).ravel()):
                soft = taken(told, at[there], self._device)
                terms[f"told/{i}"] = (
                    1.0, soft_loss(logits[str(i)][there], soft, _TEMPERATURE, several=several)
                )  # fmt: skip
        return terms


def _places(rows: IntArray, count: int) -> IntArray:
    """The place of each text among some rows, int64 [count]; -1 where it is not among them."""
    out = np.full(count, -1, np.int64)
    out[rows] = np.arange(len(rows))
    return out
