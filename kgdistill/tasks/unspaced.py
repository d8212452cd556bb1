"""Words of titles written without blanks: which of their characters stand together in a catalogue."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from kgdistill.tasks.words import fold
from kgdistill.words import unspaced

_TOKEN = re.compile(r"[^\W_]+(?:[-./][^\W_]+)*")
_LONGEST = 6
_STICKS = 2 / 3


def unspaced_words(texts: Iterable[str], names: Iterable[str], *, least: int = 4) -> frozenset[str]:
    """What counts as a word in scripts without blanks.

    Two to six neighbouring characters that `least` texts hold, and that stick together: wherever they are cut
    in two, two thirds of the texts with the rarer part or more have the whole. 连衣裙 is one, 红色连衣裙 none
    unless most dresses are red. Beside these the names of the graph's nodes.

    Args:
        texts: a catalogue's.
        names: of nodes; those of other scripts do not matter.
        least: how many texts.

    Returns:
        Folded words; none of a catalogue that is written with blanks.
    """
    held: Counter[str] = Counter()
    for text in texts:
        held.update({
            run[at : at + size]
            for run in _runs(text)
            for size in range(1, _LONGEST + 1)
            for at in range(len(run) - size + 1)
        })  # fmt: skip
    found = {word for word, count in held.items() if count >= least and len(word) > 1 and _sticks(word, held)}
    return frozenset(found | {run for name in names for run in _runs(name) if len(run) > 1})


def _sticks(word: str, held: Counter[str]) -> bool:
    return all(held[word] >= _STICKS * min(held[word[:at]], held[word[at:]]) for at in range(1, len(word)))


def _runs(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(fold(text)):
        for without, letters in groupby(token, unspaced):
            if without:
                yield "".join(letters)


def cut(text: str, known: frozenset[str]) -> list[str]:
    """The words of a text, folded, with hyphens and points inside; runs without blanks by the known words.

    Each longest known word from the left on is one, and what lies between such words.
    """
    found: list[str] = []
    for token in _TOKEN.findall(fold(text)):
        if not known or not any(map(unspaced, token)):
            found.append(token)
            continue
        for without, letters in groupby(token, unspaced):
            run = "".join(letters)
            found += _cut(run, known) if without else [run]
    return found


def _cut(run: str, known: frozenset[str]) -> Iterator[str]:
    longest, begin, at = max(map(len, known)), 0, 0
    while at < len(run):
        word = next(
            (run[at:end] for end in range(min(len(run), at + longest), at + 1, -1) if run[at:end] in known),
            "",
        )
        if word:
            yield from filter(None, (run[begin:at], word))
            begin = at + len(word)
        at += len(word) or 1
    if begin < len(run):
        yield run[begin:]


def written(words: Iterable[str]) -> str:
    """Words as one writes them: with blanks, but none in scripts without, nor before a unit in them."""
    out = ""
    for word in words:
        together = bool(out) and unspaced(word) and (unspaced(out[-1]) or out[-1].isdigit())
        out += word if together or not out else f" {word}"
    return out
