"""A first token table: the vocabulary cut to what occurs, each token at the text teacher's vector of it."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from tokenizers import AddedToken, Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.models.text.transformer import TransformerText

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def principal_axes(vectors: FloatArray, dim: int) -> FloatArray:
    """The first axes of some unit vectors, as columns: float32 [E, min(dim, E, N)]."""
    sample = vectors[:: max(len(vectors) // 20_000, 1)]
    axes = np.linalg.svd(sample, full_matrices=False)[2][:dim].T
    return np.ascontiguousarray(axes, np.float32)


def word_pairs(texts: Sequence[str], least: int) -> list[str]:
    """Two neighbouring words that at least so many texts hold, sorted; none where `least` is 0."""
    if not least:
        return []
    held: Counter[str] = Counter()
    for text in texts:
        found = _WORD.findall(text.lower())
        held.update({f"{a} {b}" for a, b in itertools.pairwise(found)})
    return sorted(pair for pair, count in held.items() if count >= least)


def common_words(encoder: TransformerText, count: int) -> list[str]:
    """The first `count` whole words of the encoder's vocabulary, which begins with the commonest."""
    vocabulary = encoder.tokenizer.get_vocab()
    ordered = sorted(vocabulary, key=lambda token: vocabulary[token])
    return [word for word in ordered if word.isalpha() and len(word) > 1][:count]


def first_table(
    encoder: TransformerText,
    texts: Sequence[str],
    phrases: Sequence[str],
    axes: FloatArray,
    *,
    counted: Sequence[str],
    phrase_vectors: FloatArray | None = None,
) -> tuple[Tokenizer, FloatArray]:
    """The tokenizer and the table of a student before training.

    Its vocabulary is that of the encoder, cut to what occurs in the texts, with single ASCII characters for
    the rest; phrases of several words are tokens too, since a mean of words does not know that a "case fan"
    is no case. A token starts as the encoder's vector of it, weighted against its frequency (Arora et al.
    2017) and projected on the axes.

    Args:
        encoder: the text teacher.
        texts: what is to be read.
        phrases: what may become a token.
        axes: `principal_axes`.
        counted: the texts whose tokens are counted.
        phrase_vectors: the encoder's of the phrases, where they are known already.

    Returns:
        The tokenizer, and float32 [vocabulary, D].

    Raises:
        InputError: the encoder's tokenizer has no word pieces.
    """
    tokenizer, kept, several = _vocabulary(encoder, texts, phrases)
    start = encoder.encode([word[2:] if word.startswith("##") else word for word in kept])
    if several:
        known = (
            encoder.encode([phrases[i] for i in several])
            if phrase_vectors is None
            else phrase_vectors[several]
        )
        start = np.concatenate([start, known])
    counts = np.zeros(len(start))
    for row in tokenizer.encode_batch(list(counted), add_special_tokens=False):
        counts[row.ids] += 1
    share = (counts + 1) / counts.sum()
    weight = 1e-3 / (1e-3 + share)
    table = ((start - start.mean(0)) * weight[:, None] * 5) @ axes
    return tokenizer, np.ascontiguousarray(table, np.float32)


def _vocabulary(
    encoder: TransformerText, texts: Sequence[str], phrases: Sequence[str]
) -> tuple[Tokenizer, list[str], list[int]]:
    """The cut tokenizer, its words in the order of their ids, and which phrases follow them."""
    backend = encoder.tokenizer.backend_tokenizer
    described = json.loads(backend.to_str())
    if described["model"].get("type") not in ("WordPiece", "WordLevel"):
        raise InputError(
            f"splits texts by {described['model'].get('type')}, whose vocabulary cannot be cut for a student",
            where=encoder.name,
            hint="name an encoder of word pieces, such as a BERT, as text.encoder",
        )
    described.update(truncation=None, padding=None, post_processor=None)
    whole = Tokenizer.from_str(json.dumps(described))
    used = {t for e in whole.encode_batch(list(texts), add_special_tokens=False) for t in e.tokens}
    vocabulary = described["model"]["vocab"]
    special = {t["content"] for t in described["added_tokens"]}
    kept = [
        word
        for word, _ in sorted(vocabulary.items(), key=lambda item: item[1])
        if word in used or word in special or (len(word.removeprefix("##")) == 1 and word.isascii())
    ]
    described["model"]["vocab"] = {word: i for i, word in enumerate(kept)}
    for token in described["added_tokens"]:
        token["id"] = described["model"]["vocab"][token["content"]]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    several = [i for i, phrase in enumerate(phrases) if " " in phrase]
    tokenizer.add_tokens([AddedToken(phrases[i], single_word=True, normalized=True) for i in several])
    return tokenizer, kept, several
