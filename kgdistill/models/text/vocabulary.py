"""A first token table: the vocabulary cut to what occurs, each token at the text teacher's vector of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFKC, BertNormalizer, Normalizer
from tokenizers.normalizers import Sequence as InTurn
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from kgdistill.arrays import FloatArray
from kgdistill.models.text.runs import MARK, frequent_runs
from kgdistill.models.text.transformer import TextEncoder
from kgdistill.models.text.words import HAN, WordTokens
from kgdistill.tasks.word_features import MOST

TABLE_BYTES = 8 << 20
"""What a table of float32 may hold with the runs that join it."""
_SPARE = re.compile(r"(##)?[^\W_]{2,}")
_WORD, _WORDS = re.compile(r"[^\W\d_]{3,}"), 12_000
_PIECES, _LEAST = 8000, 3
"""Word pieces that are learned from a catalogue, at most; texts that a run must stand in, at least."""


class Splitting(TextEncoder, Protocol):
    """A text teacher, as far as a student takes its tokens from it."""

    @property
    def tokenizer(self) -> Any:
        """Its fast Hugging Face tokenizer; None where it shows none."""
        ...


class TokenSource(Splitting, Protocol):
    """A text teacher, as far as a student of classes needs it."""

    @property
    def max_tokens(self) -> int:
        """Of a text."""
        ...


def most_words(counts: Iterable[int]) -> int:
    """How many words have weights: of many classes each holds as many, and they stay as small as the table.

    Args:
        counts: of the classes of each target.
    """
    return min(MOST, TABLE_BYTES // (4 * sum(counts)))


def principal_axes(vectors: FloatArray, dim: int) -> FloatArray:
    """The first axes of some unit vectors, as columns: float32 [E, min(dim, E, N)]."""
    sample = vectors[:: max(len(vectors) // 20_000, 1)]
    axes = np.linalg.svd(sample, full_matrices=False)[2][:dim].T
    return np.ascontiguousarray(axes, np.float32)


def first_table(
    encoder: Splitting,
    texts: Sequence[str],
    phrases: Sequence[str],
    axes: FloatArray,
    *,
    counted: Sequence[str],
    phrase_vectors: FloatArray | None = None,
    spare: bool = False,
) -> tuple[Tokenizer, FloatArray]:
    """The tokenizer and the table of a student before training.

    Its vocabulary is that of the encoder, cut to what occurs in the texts, with single ASCII characters for
    the rest; phrases of several words are tokens too, since a mean of words does not know that a "case fan"
    is no case. Of scripts without blanks so are the frequent runs of two and three characters, see
    `student_tokenizer`. A token starts as the encoder's vector of it, weighted against its frequency (Arora
    et al. 2017) and projected on the axes.

    Args:
        encoder: the text teacher.
        texts: what is to be read.
        phrases: what may become a token.
        axes: `principal_axes`.
        counted: the texts whose tokens are counted.
        phrase_vectors: the encoder's of the phrases, where they are known already.
        spare: see `student_tokenizer`.

    Returns:
        The tokenizer, and float32 [vocabulary, D].
    """
    tokenizer = student_tokenizer(encoder, texts, axes.shape[1], spare=spare)
    words = _in_order(tokenizer.get_vocab())
    several = [i for i, phrase in enumerate(phrases) if " " in phrase]
    tokenizer.add_tokens([AddedToken(phrases[i], single_word=True, normalized=True) for i in several])
    start = encoder.encode([word.removeprefix(MARK).removeprefix("##") or word for word in words])
    if several:
        known = (
            encoder.encode([phrases[i] for i in several])
            if phrase_vectors is None
            else phrase_vectors[several]
        )
        start = np.concatenate([start, known])
    counts = np.zeros(len(start))
    for row in WordTokens(tokenizer).ids(list(counted)):
        counts[row] += 1
    share = (counts + 1) / counts.sum()
    weight = 1e-3 / (1e-3 + share)
    table = ((start - start.mean(0)) * weight[:, None] * 5) @ axes
    return tokenizer, np.ascontiguousarray(table, np.float32)


def student_tokenizer(
    encoder: Splitting, texts: Sequence[str], dim: int, *, spare: bool = False
) -> Tokenizer:
    """A tokenizer for a student that reads some texts.

    The word pieces are the encoder's that occur, where it has some; else they are learned from the texts.
    What the texts hold of scripts without blanks joins them: Chinese characters that these lack, and the runs
    of characters that most texts hold, as many as `TABLE_BYTES` leaves room for; `WordTokens` finds them.

    Args:
        encoder: the text teacher.
        texts: what is to be read.
        dim: width of the table.
        spare: the room that is left then goes to the encoder's further pieces, in its own order, which begins
            with the commonest: a few texts do not hold the words that later ones will.
    """
    described = _pieces(encoder, texts)
    whole = Tokenizer.from_str(json.dumps(described))
    used = {t for e in whole.encode_batch(list(texts), add_special_tokens=False) for t in e.tokens}
    vocabulary = described["model"]["vocab"]
    special, known = {t["content"] for t in described["added_tokens"]}, _in_order(vocabulary)
    kept = [
        word
        for word in known
        if word in used or word in special or (len(word.removeprefix("##")) == 1 and word.isascii())
    ]
    kept += _characters(texts, vocabulary)
    most = TABLE_BYTES // (4 * dim)
    kept += [MARK + run for run in frequent_runs(texts, least=_LEAST, most=most - len(kept))]
    if spare:
        there = set(kept)
        further = (word for word in known if word not in there and _SPARE.fullmatch(word))
        kept += islice(further, max(most - len(kept), 0))
    described["model"]["vocab"] = {word: i for i, word in enumerate(kept)}
    for token in described["added_tokens"]:
        token["id"] = described["model"]["vocab"][token["content"]]
    return Tokenizer.from_str(json.dumps(described))


def whole_tokenizer(encoder: Splitting, texts: Sequence[str], dim: int) -> Tokenizer:
    """The encoder's own tokenizer, as it is, where it shows one and the texts have blanks between words.

    Else see `student_tokenizer`, whose arguments these are.
    """
    if encoder.tokenizer is not None and not frequent_runs(texts, least=_LEAST, most=1):
        own: Tokenizer = encoder.tokenizer.backend_tokenizer
        return own
    return student_tokenizer(encoder, texts, dim)


def common_words(encoder: Splitting) -> list[str]:
    """The whole words of the encoder's vocabulary, its first 12,000: the commonest; none without pieces."""
    if not has_pieces(encoder):
        return []
    known = _in_order(_described(encoder)["model"]["vocab"])
    return list(islice((word for word in known if _WORD.fullmatch(word)), _WORDS))


def has_pieces(encoder: Splitting) -> bool:
    """Whether the encoder shows a tokenizer of word pieces, which can be cut and added to."""
    return encoder.tokenizer is not None and _described(encoder)["model"].get("type") in (
        "WordPiece",
        "WordLevel",
    )


def _in_order(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _described(encoder: Splitting) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(encoder.tokenizer.backend_tokenizer.to_str())
    return described


def _pieces(encoder: Splitting, texts: Sequence[str]) -> dict[str, Any]:
    """The encoder's tokenizer without what stands around texts, or one that is learned from them."""
    if has_pieces(encoder):
        described = _described(encoder)
    else:
        learned = Tokenizer(WordPiece(unk_token="[UNK]"))
        # Full-width letters and digits stand among Chinese characters as often as plain ones.
        learned.normalizer = InTurn([NFKC(), BertNormalizer(strip_accents=False)])
        learned.pre_tokenizer = BertPreTokenizer()
        # The trainer numbers these as it meets them, in an order of chance, and of equals takes the lower.
        numbered = ["[UNK]", *(f"##{char}" for char in _continuing(texts, learned.normalizer))]
        trainer = WordPieceTrainer(
            vocab_size=_PIECES, min_frequency=2, limit_alphabet=_PIECES, special_tokens=numbered,
            initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789"), show_progress=False,
        )  # fmt: skip
        learned.train_from_iterator(iter(texts), trainer)
        described = json.loads(learned.to_str())
        described["added_tokens"] = [t for t in described["added_tokens"] if t["content"] == "[UNK]"]
    described.update(truncation=None, padding=None, post_processor=None)
    return described


def _continuing(texts: Sequence[str], normalizer: Normalizer) -> list[str]:
    """The characters that may stand within a word, in their order: Chinese ones and signs stand alone."""
    held: set[str] = set()
    for text in texts:
        held.update(normalizer.normalize_str(text))
    return sorted(c for c in held if (c.isalnum() or not c.isascii()) and not HAN.match(c))


def _characters(texts: Sequence[str], vocabulary: dict[str, int]) -> list[str]:
    """Chinese characters that several texts hold and a vocabulary lacks, the commonest first."""
    held: Counter[str] = Counter()
    for text in texts:
        if not text.isascii():
            held.update(set(HAN.findall(text)))
    new = [(-count, char) for char, count in held.items() if count >= _LEAST and char not in vocabulary]
    return [char for _, char in sorted(new)]
