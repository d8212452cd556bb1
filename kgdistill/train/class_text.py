"""How a student of classes reads texts: by a table of tokens, or by layers of the text teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor

from kgdistill.arrays import FloatArray
from kgdistill.config import ClassifyConfig
from kgdistill.errors import InputError
from kgdistill.models.heads import ClassifyHead, FusedHead, StaticClassifier
from kgdistill.models.layered import LayeredClassifier
from kgdistill.models.text.cut import cut_student
from kgdistill.models.text.layers import encoder_layers
from kgdistill.models.text.remembered import RememberedText
from kgdistill.models.text.transformer import PooledText
from kgdistill.models.text.vocabulary import TokenSource, first_table, most_words, principal_axes
from kgdistill.models.text.words import WordTokens
from kgdistill.tasks.word_features import WordFeatures
from kgdistill.train.tower import SharedTower, TowerTexts

TextClassifier: TypeAlias = StaticClassifier | LayeredClassifier
Split: TypeAlias = Callable[[list[str]], list[list[int]]]
"""Token ids of texts, as a model reads them."""
WORD_RATE = 10.0
"""Of the weights of words, which stand at few subjects each."""
_BATCH, _HEAD_RATE, _CLIP = 32, 10.0, 1.0
"""Where layers learn: texts at a time, the rate of what stands over them as a multiple of theirs, and the
longest gradient."""


@dataclass(frozen=True)
class StudentText:
    """How a student reads texts, before it learns; as it is made without anything, it reads none.

    Attributes:
        words: the exact words that have weights of their own.
        tokenizer, table: of the token table, float32 [V, D]; None where layers read.
        axes: of the teacher's vectors, float32 [E, D], that the student's follow; None: as they are.
        layers: cut from the text teacher; None where a table reads.
        moves: whether the table learns.
    """

    words: WordFeatures | None = None
    tokenizer: Tokenizer | None = None
    table: Tensor | None = None
    axes: FloatArray | None = None
    layers: PooledText | None = None
    moves: bool = True

    @property
    def width(self) -> int:
        """Of the text vectors."""
        if self.layers is not None:
            return self.layers.dim
        return 0 if self.table is None else self.table.shape[1]

    def model(self, beside: int, counts: Mapping[str, int], config: ClassifyConfig) -> TextClassifier:
        """The student, over so many features beside the text, for so many classes of each target."""
        dense = ClassifyHead(self.width + beside, counts, hidden=config.hidden, dropout=config.dropout)
        head = FusedHead(dense, 0 if self.words is None else len(self.words.words))
        if self.layers is not None:
            return LayeredClassifier(self.layers, head)
        model = StaticClassifier(self.table, head)
        if model.table is not None:
            model.table.requires_grad_(self.moves)
        return model

    def wanted(self, vectors: FloatArray | None) -> Tensor | None:
        """What its vectors are to be of texts by the text teacher's, float32 [N, width]; None without any."""
        if vectors is None or not self.width:
            return None
        return torch.from_numpy(vectors if self.axes is None else vectors @ self.axes)


def first_text(
    texts: TowerTexts,
    encoder: TokenSource | None,
    config: ClassifyConfig,
    counts: Mapping[str, int],
    shared: SharedTower | None,
) -> StudentText:
    """What reads a student's texts, as it starts.

    Args:
        texts: what may be learned from, and the text teacher's vectors of it.
        encoder: the text teacher; a shared tower needs none.
        config: which kind, and how wide.
        counts: of the classes, by target.
        shared: reads the texts as it is, in the place of a table of the student's own.

    Raises:
        InputError: as `layers_of`.
    """
    words = WordFeatures.of(texts.texts, most=most_words(counts.values()))
    if shared is not None:
        table = torch.from_numpy(shared.table)
        return StudentText(words, shared.tokenizer, table, shared.axes, moves=False)
    assert encoder is not None
    if config.tower == "layers":
        # Words that training does not show are asked for as well: the whole vocabulary stays.
        own = layers_of(encoder, config.tower_layers)
        cut = cut_student(
            own, texts.texts, layers=config.tower_layers, cut_words=False, precision=own.precision
        )
        return StudentText(words, layers=cut.student)
    axes = principal_axes(texts.vectors, config.dim)
    tokenizer, first = first_table(encoder, texts.texts, [], axes, counted=texts.texts, spare=True)
    return StudentText(words, tokenizer, torch.from_numpy(first), axes)


def layers_of(encoder: object, count: int) -> PooledText:
    """The text teacher, of whose layers a student can be cut from so many, and a bundle can serve them.

    Raises:
        InputError: it gives vectors alone, is no BERT, or has fewer layers.
    """
    own = encoder.encoder if isinstance(encoder, RememberedText) else encoder
    where, hint = "classify.tower", "set it to table, or name a folder of the kind BERT as text.encoder"
    if not isinstance(own, PooledText):
        name = getattr(own, "name", "the text encoder")
        raise InputError(
            f"is 'layers', but {name} gives vectors alone and cannot be cut", where=where, hint=hint
        )
    described = own.model.config
    kind = described.model_type, getattr(described, "hidden_act", "")
    placed = getattr(described, "position_embedding_type", "absolute")
    over = " under a layer of its own" if own.head is not None else ""
    if placed != "absolute":
        over = f" with positions of the kind {placed}"
    if kind != ("bert", "gelu") or over:
        raise InputError(
            f"is 'layers', but {own.name} is of the kind {' with '.join(kind)}{over}", where=where, hint=hint
        )
    if count > (there := len(encoder_layers(own.model))):
        told = f"is {count}, but the encoder has {there} layers"
        raise InputError(told, where=f"{where}_layers", hint=f"name at most {there}")
    return own


def split_of(model: TextClassifier, tokenizer: Tokenizer | None, max_tokens: int) -> Split | None:
    """How a student splits texts; None where it reads none."""
    if isinstance(model, LayeredClassifier):
        return model.tower.token_ids
    if tokenizer is None:
        return None
    words = WordTokens(tokenizer)
    return lambda texts: words.ids(texts, max_tokens)


def student_rates(
    model: TextClassifier, config: ClassifyConfig
) -> tuple[ClassifyConfig, dict[str, float], float]:
    """The settings that a student learns by, its parts' rates as multiples of the model's, and the clip."""
    if isinstance(model, StaticClassifier):
        return config, {"table": config.table_rate, "head.words": WORD_RATE}, math.inf
    own = {"lr": config.tower_lr, "epochs": config.tower_epochs, "batch": min(config.batch, _BATCH)}
    rates = {"head.words": WORD_RATE * _HEAD_RATE, "head": _HEAD_RATE}
    return config.model_copy(update=own), rates, _CLIP
