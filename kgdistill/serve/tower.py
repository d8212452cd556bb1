"""The text tower of a bundle: what the student makes of a text, by NumPy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.models.text.static_files import check_table, static_files
from kgdistill.models.text.words import WordTokens
from kgdistill.serve.parts import Arrays, check_arrays, check_settings, refuse, whole

TEXT_FOLDER = "text_tower"
_CHARACTERS, _TEXTS = 32, 512
"""How long a token can be thought to be: what a text has beyond that many times its tokens is not read; and
texts at a time, so few that their tokens' vectors stay in the processor's cache."""


class TextTower:
    """A token table: a text's vector is Σ w_t e_t / Σ w_t over its tokens.

    Its files are those of `SentenceTransformer(bundle / "text_tower")`, whose vectors point the same way.

    Args:
        tokenizer: the text of a tokenizer.json whose ids are the table's rows.
        folded: w_t e_t of every token, float32 [V, D].
        weights: w_t, float32 [V], not negative.
        max_tokens: what follows in a text is not read; None reads all.
    """

    name: ClassVar[str] = "text"

    def __init__(
        self, tokenizer: str, folded: FloatArray, weights: FloatArray, max_tokens: int | None
    ) -> None:
        self._tokenizer, self._folded, self._weights = tokenizer, folded, weights
        self.max_tokens = max_tokens

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, table: FloatArray, weights: FloatArray | None, max_tokens: int | None
    ) -> TextTower:
        """A tower of a token table float32 [V, D] and weights float32 [V]; None weighs all tokens alike.

        Raises:
            InputError: they do not fit together.
        """
        check_table(tokenizer, table, weights)
        even = np.ones(len(table), np.float32) if weights is None else weights.astype(np.float32)
        folded = np.ascontiguousarray(table * even[:, None], np.float32)
        return cls(tokenizer.to_str(), folded, even, max_tokens)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._folded.shape[1])

    @cached_property
    def _split(self) -> tuple[WordTokens, int]:
        split = WordTokens(Tokenizer.from_str(self._tokenizer))
        unknown = (json.loads(self._tokenizer).get("model") or {}).get("unk_token")
        number = split.tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
        return split, -1 if number is None else int(number)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Rows of the table that each text is."""
        most = self.max_tokens
        longest = math.inf if most is None else _CHARACTERS * most
        # White space in front says nothing, however much of it there is.
        short = [text if len(text) <= longest else text.lstrip()[: int(longest)] for text in texts]
        # Half a surrogate pair is no character, and no tokenizer takes it.
        whole = [text.encode(errors="replace").decode() for text in short]
        return self._split[0].ids(whole, most)

    @property
    def unknown(self) -> int:
        """The token for what the tokenizer does not know; -1 where it has none."""
        return self._split[1]

    def known_share(self, text: str) -> float:
        """Of the text's tokens, how many the tokenizer knows; 0 where there are none."""
        ids = self.token_ids([text])[0]
        return sum(i != self.unknown for i in ids) / len(ids) if ids else 0.0

    def encode(self, texts: Sequence[str], *, known: bool = False) -> FloatArray:
        """Vectors, float32 [N, D]; a text without tokens is 0.

        Args:
            texts: any.
            known: a text is also 0 where it has no token but the one for what the tokenizer does not know.
        """
        out = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), _TEXTS):
            ids = self.token_ids(texts[start : start + _TEXTS])
            if known:
                ids = [row if any(i != self.unknown for i in row) else [] for row in ids]
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            flat = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
            filled = np.flatnonzero(lengths)
            if not len(filled):
                continue
            starts = (np.cumsum(lengths) - lengths)[filled]
            total = np.add.reduceat(self._folded[flat], starts, axis=0)
            weight = np.add.reduceat(self._weights[flat], starts)
            out[start + filled] = total / np.maximum(weight, 1e-6)[:, None]
        return out

    def share(self, others: Iterable[TextTower]) -> None:
        """Holds the table of another tower that is the same, and its tokenizer, in the place of its own."""
        for other in others:
            if type(other) is TextTower and np.array_equal(self._folded, other._folded):
                self._folded = other._folded
                if self._tokenizer == other._tokenizer:
                    self._tokenizer, self.__dict__["_split"] = other._tokenizer, other._split
                return

    def settings(self) -> dict[str, Any]:
        """See `BundlePart`."""
        return {"max_tokens": self.max_tokens}

    def arrays(self) -> Arrays:
        """See `BundlePart`."""
        return {"weights": self._weights}

    def files(self) -> dict[str, bytes]:
        """See `BundlePart`."""
        files = static_files(Tokenizer.from_str(self._tokenizer), self._folded, max_tokens=self.max_tokens)
        return {f"{TEXT_FOLDER}/{name}": data for name, data in files.items()}

    @classmethod
    def from_arrays(
        cls, settings: Mapping[str, Any], arrays: Arrays, files: Mapping[str, bytes], items: int
    ) -> TextTower:
        """See `BundlePart`."""
        most = settings.get("max_tokens")
        check_settings(settings, {"max_tokens": most is None or whole(most, 1)})
        try:
            table = load(files[f"{TEXT_FOLDER}/model.safetensors"])["embedding.weight"]
            tokenizer = files[f"{TEXT_FOLDER}/tokenizer.json"].decode()
        except (KeyError, ValueError, SafetensorError) as error:
            raise refuse(f"holds no text tower: {error}", TEXT_FOLDER) from error
        check_arrays("text", {**arrays, "table": table}, {
            "table": ("float32", (-1, -1)), "weights": ("float32", (len(table),)),
        })  # fmt: skip
        if (arrays["weights"] < 0).any():
            raise refuse("text.weights holds a negative number")
        return cls(tokenizer, table, arrays["weights"], most)


def unit(vectors: FloatArray) -> FloatArray:
    """The same vectors at unit length; one of length 0 stays."""
    out: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return out
