"""How texts become words for search: plurals are cut, neighbours joined, and amounts told alike."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from kgdistill import words as shared
from kgdistill.tasks.quantities import amounts
from kgdistill.words import stem

RULE = "amounts-1"
"""How `terms` cuts a text, by name: an index keeps it, so that no query is cut otherwise than the texts were.
It changes with what `terms` gives, be it by this module or by `kgdistill.words`."""

_INCH = re.compile(r"(?<=\d)\s?[\"”″]")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\d.]+")
# Of what is written apart and may be a model's number: so long are two parts of it, and each of three.
_JOINED, _SHORT = 20, 5


class TextWord(NamedTuple):
    """One word of a text.

    Attributes:
        word: stemmed; of an amount or a model number what all ways of writing it have in common.
        typed: as it stands in the folded text.
        pieces: what an amount or a model number is written with, stemmed.
        amount: whether it is an amount: who asks for one does not mean its pieces.
    """

    word: str
    typed: str
    pieces: tuple[str, ...] = ()
    amount: bool = False


def fold(text: str) -> str:
    """The text as words compare it (`kgdistill.words.plain`); the sign for inches becomes the word."""
    return shared.plain(_INCH.sub(" inch", text))


def tokens(text: str, *, singles: bool = False) -> list[TextWord]:
    """The words of a text, in order; `singles` as in `kgdistill.words.words`."""
    folded, found, begin = fold(text), list[TextWord](), 0
    for amount in amounts(folded):
        found += _plain(folded[begin : amount.start], singles)
        typed, begin = folded[amount.start : amount.end].strip(), amount.end
        pieces = tuple(stem(word) for word in shared.words(typed))
        found += [
            TextWord(word, typed, () if n else pieces, not amount.model)
            for n, word in enumerate(amount.words)
        ]
    return found + _plain(folded[begin:], singles)


def _plain(text: str, singles: bool) -> list[TextWord]:
    return [TextWord(stem(word), word) for word in shared.words(text, singles=singles)]


def words(text: str, *, singles: bool = False) -> list[str]:
    """The stemmed words of a text, in order; `singles` as in `kgdistill.words.words`."""
    return [token.word for token in tokens(text, singles=singles)]


def terms(text: str, *, singles: bool = False) -> list[str]:
    """What an index holds of a text.

    Words; the parts of a word that mixes letters and digits ("32gb" is also "32" and "gb"); what an amount
    or a model number is written with ("0.5 kg" is "500g", "0.5" and "kg"); and each pair of alphabetic
    neighbours written together, so that "power bank" and "powerbank" meet.

    Args:
        text: any.
        singles: for a text that is to be found: see `kgdistill.words.words`.
    """
    return terms_of(tokens(text, singles=singles))


def terms_of(held: list[TextWord]) -> list[str]:
    """`terms` of what is cut into words already."""
    out = [token.word for token in held]
    for token in held:
        out += parts(token)
    alone = [token.word.isalpha() and not shared.paired(token.word) for token in held]
    out += [
        a.word + b.word
        for (a, first), (b, second) in itertools.pairwise(zip(held, alone, strict=True))
        if first and second
    ]
    return out


def parts(token: TextWord) -> list[str]:
    """What an amount or a model number is written with; of another word of letters and digits, its parts."""
    if not token.pieces:
        return [] if token.amount else _runs(token.word)
    written = [*token.pieces, *(run for piece in token.pieces for run in _runs(piece))]
    return [piece for piece in dict.fromkeys(written) if piece != token.word]


def _runs(word: str) -> list[str]:
    runs = _PART.findall(word)
    return [stem(run) for run in runs] if len(runs) > 1 else []


def models(held: list[TextWord]) -> list[tuple[str, int, int]]:
    """Model numbers that neighbours may be, as "WH 1000 XM4": joined, the first, and the one behind."""
    found = []
    turns = [_turns(a, b) for a, b in itertools.pairwise(held)]
    for at, turn in enumerate(turns):
        if not turn:
            continue
        two = held[at].word + held[at + 1].word
        if len(two) <= _JOINED:
            found.append((two, at, at + 2))
        three = held[at : at + 3]
        if at + 1 < len(turns) and turns[at + 1] and all(len(token.word) <= _SHORT for token in three):
            found.append(("".join(token.word for token in three), at, at + 3))
    return found


def _turns(a: TextWord, b: TextWord) -> bool:
    """Whether a letter of a word without pairs and a digit meet between two words that are no amounts."""
    if a.amount or b.amount or a.pieces or b.pieces:
        return False
    last, first = a.word[-1], b.word[0]
    if last.isdigit() == first.isdigit():
        return False
    return not shared.paired(last) and not shared.paired(first) and last.isalnum() and first.isalnum()
