"""Splitting texts into tokens, word by word: a word that was seen before is not split again."""

from __future__ import annotations

import json

from tokenizers import Tokenizer


class WordTokens:
    """Token ids of texts without marks around them, the same as the tokenizer's own.

    Where a tokenizer splits at every space, whatever stands beside it, as BERT's does, a text's tokens are
    those of its words one after the other, and most words have been seen before. Any other tokenizer is
    asked about whole texts.

    Args:
        tokenizer: what splits; it is copied without its padding and truncation.
        words: how many words are remembered.
    """

    def __init__(self, tokenizer: Tokenizer, *, words: int = 200_000) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._words = words
        self._known: dict[str, list[int]] = {}
        described = json.loads(self.tokenizer.to_str())
        kinds = [(described[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
        # A token that holds or takes in a space would be torn apart.
        self._by_word = kinds in (
            ["BertNormalizer", "BertPreTokenizer"],
            [None, "BertPreTokenizer"],
        ) and not any(" " in t["content"] or t["lstrip"] or t["rstrip"] for t in described["added_tokens"])

    def ids(self, texts: list[str], most: int | None = None) -> list[list[int]]:
        """Token ids of each text, the first `most` of them."""
        if not self._by_word:
            return [e.ids[:most] for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        split = [text.split(" ") for text in texts]
        # Held here, so that another thread that starts anew takes nothing away.
        known = self._known
        new = {word for words in split for word in words if word not in known}
        if new:
            if len(known) + len(new) > self._words:
                known = self._known = {}
                new = {word for words in split for word in words}
            order = list(new)
            found = self.tokenizer.encode_batch(order, add_special_tokens=False)
            known.update(zip(order, (e.ids for e in found), strict=True))
        return [[i for word in words for i in known[word]][:most] for words in split]
