"""Which encoding of one byte a sign bytes are in: by how often languages use the letters that it reads."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from math import log

import numpy as np

from kgdistill.arrays import FloatArray

LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp437", "cp850", "mac_roman")
SCRIPTS = ("cp1251", "koi8_r", "cp1253", "cp1255", "iso8859_5")
# The letters of languages beyond plain ones, the most frequent first.
_WESTERN = (
    "üäöß", "éèàçêôâîûùëïœ", "óíáéñúü", "ãçõéáíó", "èàùòéì", "ëéïóüö", "äöå", "åøæé", "äåö", "ðíáéóúþöæý",
    "äõüö", "àéèíóçúïòü", "ëç",
)  # fmt: skip
_CENTRAL = (
    "łężąóśćńźż", "íáěéřžčýšůúďťňó", "íáčéýžšúľôťňďóäĺŕ", "áéíöóőüúű", "ăîâşţ", "čšžćđ", "üäöß",
)  # fmt: skip
_CYRILLIC = (
    "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", "оаинвітерслкумпдязьбгчйхжцшюєїщф", "аоиентсрвлдкпмзугбчйхцжшщюьяф",
    "аоиенрсјтувдкпмлгзбчшцхњжљћђфџ",
)  # fmt: skip
_LANGUAGES = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1254": ("ıüşğçöâîû",),
    "cp1257": ("ėšžįųąūčę", "āīēšūžķļņģč", "äõüöšž"),
    "cp437": _WESTERN,
    "cp850": _WESTERN,
    "mac_roman": _WESTERN,
    **dict.fromkeys(("cp1251", "koi8_r", "iso8859_5"), _CYRILLIC),
    "cp1253": ("αοιετνσηρκπυςλμωίόγάδέήθχφύώβξζψϊϋ",),
    "cp1255": ("יוהלארתבשנמםכדעחקפןגצטזסךףץ",),
}
_OTHER_SCRIPTS = frozenset(letters for name in SCRIPTS for letters in _LANGUAGES[name])
# What is as likely by its letters is taken to be in the earlier one.
_BEFORE = dict(zip(LATIN, (0.0, 1.2, 1.9, 1.5, 1.5, 3.0, 3.0, 3.0), strict=True))
_BEFORE |= dict(zip(SCRIPTS, (0.0, 0.5, 0.5, 0.5, 2.0), strict=True))
_STRANGE, _SIGN, _AMISS, _CONTROL = log(0.0005), log(0.05), log(0.0001), log(1e-7)
_EXPECTED, _LONE = log(0.3), log(0.01)
# Letters that are words by themselves, or signs of sizes; a lone one of others is rather a sign: £, ¥.
_ALONE = frozenset("àáâäåæèéêìíîòóôöøőúü")
# French has it in these, where no language has ś and the like.
_LIGATURE = re.compile(r"œ[ui]|\bœ(?:no|d[eèi]|so|st)|(?<=\bf)œt")
# What cp1252 reads as words of one language stays in it, unless others are that much likelier.
_CLEARLY = 5.0
# A text in several languages has to be that much likelier than one in a single one.
_ANOTHER = 8.0
# Others that languages of these are written in.
_LIKE = {
    "iso8859_1": "cp1252", "iso8859_15": "cp1252", "iso8859_9": "cp1254", "iso8859_13": "cp1257",
    "iso8859_4": "cp1257", "cp852": "cp1250", "iso8859_16": "cp1250", "mac_latin2": "cp1250",
}  # fmt: skip
# Real words come to more a letter; with signs within words it is less.
_READS = -4.5
_WORD = re.compile(r"[^\s\x00-\x26\x28-\x2c\x2f-\x40\x5b-\x60\x7b-\x7f]+")
_WORDS = 3_000
# Signs that stand behind words, or between their parts, and quotes.
_BEHIND = frozenset("®™’´`°©ªº·…”“»«„‚‘²†‡%\u00a0\u00ad–—-'./•")
_UNITS = frozenset(("m", "cm", "dm", "mm", "km"))
_BEFORE_WORDS = frozenset("¿¡’‘“„‚«»•–—…°ºµ·\u00a0\u00ad-'./§¶")
_MONEY = frozenset("£¥¢€")
# Python has these for letters; no word is written with one.
_NO_LETTERS = frozenset("ªºµ")
# Where these are as usual as letters are: nº 5, 2ª, 20ºC, µF.
_USUAL = re.compile("[A-Za-z]?[ªº]|º[CF]|µ(?:[AFHJVWglms]|mol)?")


def likeliest(foreign: bytes, names: Sequence[str] = LATIN) -> str:
    """The encoding that reads the lines by the letters of some language, or two."""
    scores = {name: _likelihood(_words(foreign, name), name) - _BEFORE[name] for name in names}
    usual = names[0]
    if usual == "cp1252" and _plausible(_words(foreign, usual)):
        scores[usual] += _CLEARLY
    return max(scores, key=lambda name: scores[name])


def _plausible(words: list[str]) -> bool:
    """Whether one language of Western Europe has all the letters, and signs stand where signs do."""
    return any(all(min(_scores(word, letters)) > _STRANGE for word in words) for letters in _WESTERN)


def reads_as_words(foreign: bytes, name: str) -> bool | None:
    """Whether a Latin encoding reads letters where words have them; None of an encoding that is none."""
    own = codecs.lookup(name).name.replace("-", "_")
    like = _LIKE.get(own, own)
    if like not in LATIN:
        return None
    some = _words(foreign, name)
    signs = sum(sign > "\x7f" for word in some for sign in word)
    return _likelihood(some, like) >= _READS * signs


def _words(foreign: bytes, name: str) -> list[str]:
    """The words with more than plain letters, each once."""
    words = _WORD.findall(foreign.decode(name, "replace"))
    return list(dict.fromkeys(word for word in words if not word.isascii()))[:_WORDS]


def _likelihood(some: list[str], name: str) -> float:
    """How likely the letters beyond plain ones are in the languages that come in an encoding."""
    if not some:
        return 0.0
    table: FloatArray = np.array(
        [[_of_word(word, letters) for letters in _LANGUAGES[name]] for word in some], dtype=float
    )
    single = float(table.sum(axis=0).max())
    pairs = [float(table[:, list(two)].max(axis=1).sum()) for two in combinations(range(table.shape[1]), 2)]
    return max([single, *(pair - _ANOTHER for pair in pairs)])


def _of_word(word: str, letters: str) -> float:
    return sum(_scores(word, letters))


def _scores(word: str, letters: str) -> list[float]:
    """How likely each sign of a word is that is not plain."""
    alone = sum(map(_is_letter, word)) == 1 and letters not in _OTHER_SCRIPTS
    scores = []
    for i, sign in enumerate(word):
        if sign <= "\x7f":
            continue
        if not _is_letter(sign):
            scores.append(_of_sign(word, i))
        elif alone and sign.lower() not in _ALONE:
            scores.append(_LONE)
        elif sign in "œŒ":
            fits = "œ" in letters and _LIGATURE.match(word.lower(), i)
            scores.append(_EXPECTED if fits else _STRANGE)
        else:
            scores.append(_of_letter(sign.lower(), letters) + _of_case(word, i))
    return scores


def _is_letter(sign: str) -> bool:
    return sign.isalpha() and sign not in _NO_LETTERS


@cache
def _of_letter(letter: str, letters: str) -> float:
    if letter not in letters:
        return _STRANGE
    total = sum(1 / place for place in range(1, len(letters) + 1))
    return log(0.98 / (letters.index(letter) + 1) / total)


def _of_case(word: str, i: int) -> float:
    """A capital behind a small letter is none."""
    return _STRANGE if i and word[i].isupper() and word[i - 1].islower() else 0.0


def _of_sign(word: str, i: int) -> float:
    """Whether a sign stands where such signs stand, or within a word, as a letter does."""
    sign, before, behind = word[i], word[:i], word[i + 1 :]
    if unicodedata.category(sign) in ("Cc", "Co", "Cn") or sign == "\ufffd":
        return _CONTROL
    if "\u2500" <= sign <= "\u25ff":
        # What frames were drawn of.
        return _AMISS
    if sign in _NO_LETTERS and _USUAL.fullmatch(word):
        return _EXPECTED
    head, tail = before[-1:].isalpha(), behind[:1].isalpha()
    fits = not head and not tail
    if sign in _MONEY and before[-1:].islower() and not behind[:1].islower():
        # Nor would a capital stand there: Marks£Spencer.
        fits = True
    elif head and tail:
        fits = sign in "’´·®™–—\u00a0\u00ad"
    elif head:
        fits = sign in _BEHIND and (sign != "²" or before.lower() in _UNITS)
        fits |= sign == "³" and before.lower() in _UNITS
    elif tail:
        fits = sign in _BEFORE_WORDS
    return _SIGN if fits else _AMISS
