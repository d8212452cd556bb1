"""A text teacher that reads each text once, however often it is asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.models.text.vocabulary import TokenSource


class RememberedText:
    """What a text teacher says, kept by text: students that are trained anew ask for the same tokens.

    Args:
        encoder: asked for what is not known yet.
    """

    def __init__(self, encoder: TokenSource) -> None:
        self.encoder = encoder
        self._known: dict[str, FloatArray] = {}

    @classmethod
    def of(cls, encoder: TokenSource) -> RememberedText:
        """The encoder itself, where it remembers already."""
        return encoder if isinstance(encoder, RememberedText) else cls(encoder)

    @property
    def name(self) -> str:
        """The encoder's."""
        return self.encoder.name

    @property
    def tokenizer(self) -> Any:
        """The encoder's."""
        return self.encoder.tokenizer

    @property
    def max_tokens(self) -> int:
        """The encoder's."""
        return self.encoder.max_tokens

    def encode(self, texts: list[str]) -> FloatArray:
        """The encoder's vectors, float32 [N, E]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])
