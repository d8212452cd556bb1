"""Splitting texts into tokens, word by word: a word that was seen before is not split again."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import Tokenizer

from kgdistill.models.text.runs import RunTokens

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
"""Characters that BERT's normalizer takes for words of their own."""
HAN = re.compile(f"[{_HAN}]")
_WORDS = re.compile(f"[{_HAN}]|[^ {_HAN}]+")


class WordTokens:
    """Token ids of texts without marks around them, the same as the tokenizer's own.

    Where a tokenizer splits at every space, whatever stands beside it, as BERT's does, a text's tokens are
    those of its words one after the other, and most words have been seen before; a Chinese character is
    such a word. Any other tokenizer is asked about whole texts. Runs of characters that its vocabulary
    holds (`RunTokens`) follow behind.

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
        self._by_word, self._by_character = _splits(described)
        # A token that holds or takes in a space would be torn apart.
        self._by_word &= not any(
            " " in t["content"] or t["lstrip"] or t["rstrip"] for t in described["added_tokens"]
        )
        self._runs = RunTokens(self.tokenizer.get_vocab(with_added_tokens=False))

    def ids(self, texts: list[str], most: int | None = None) -> list[list[int]]:
        """Token ids of each text: the first `most` of the tokenizer, and the runs of what these read."""
        whole = self._of_words(texts)
        if not self._runs:
            return [row[:most] for row in whole]
        read = [
            text if most is None or len(row) <= most else self._head(text, most)
            for text, row in zip(texts, whole, strict=True)
        ]
        return [[*row[:most], *runs] for row, runs in zip(whole, self._runs.ids(read), strict=True)]

    def _head(self, text: str, most: int) -> str:
        offsets = self.tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: offsets[most - 1][1]] if most else ""

    def _of_words(self, texts: list[str]) -> list[list[int]]:
        if not self._by_word:
            return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        by_character = self._by_character
        split = [
            text.split(" ") if not by_character or text.isascii() else _WORDS.findall(text) for text in texts
        ]
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
        return [[i for word in words for i in known[word]] for words in split]


def _splits(described: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a tokenizer splits at every space, and whether around every Chinese character."""
    normalizer, splitter = (described[part] or {} for part in ("normalizer", "pre_tokenizer"))
    if normalizer.get("type") == "Sequence":
        first, *rest = normalizer["normalizers"]
        # Compatibility forms, as `learned_pieces` has them, join nothing over a space.
        normalizer = rest[0] if len(rest) == 1 and first["type"] == "NFKC" else normalizer
    kind = normalizer.get("type")
    by_word = splitter.get("type") == "BertPreTokenizer" and kind in (None, "BertNormalizer")
    return by_word, by_word and bool(normalizer.get("handle_chinese_chars"))
