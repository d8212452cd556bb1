"""How a text becomes words, the same for titles and for what is asked, in whatever script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

# Written without blanks, or with words that endings are glued to: their words are pairs of characters.
PAIRED = (
    ("h", ((0x3005, 0x3007), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))),
    ("h", ((0xF900, 0xFAFF), (0x20000, 0x3FFFF))),
    ("k", ((0x3031, 0x3035), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x1AFF0, 0x1B16F))),
    ("g", ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xAC00, 0xD7FF))),
    ("t", ((0x0E00, 0x0E7F),)),
    ("l", ((0x0E80, 0x0EFF),)),
    ("x", ((0x1780, 0x17FF),)),
    ("y", ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F))),
)
"""A letter for each such script, and its ranges of code points."""
PAIRED_RANGES = "".join(f"{chr(low)}-{chr(high)}" for _, ranges in PAIRED for low, high in ranges)
"""Their characters, for between the brackets of a pattern."""
_SIGNS = str.maketrans({"™": " ", "℠": " ", "⁄": " "})
# Marks over a Latin or Greek letter: "creme" finds "Crème".
_ACCENTS = re.compile("(?<=[a-z\u00df-\u024f\u0370-\u03ff\u1e00-\u1fff])[\u0300-\u036f]+")
_PLAIN = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
_BESIDE = re.compile(r"(.+?)\s*[(（](.+)[)）]")
_RUN = re.compile(r"([hkgtlxy])(?:\1|m)*|[wdm]+(?:\.d+)?")


class _Kinds(dict[int, str]):
    """What a character is, learned as it comes: one letter for each, so that runs can be found by a pattern.

    h, k, g, t, l, x, y: a script whose words are pairs; d: a digit; m: a mark; w: any other letter or number;
    a point is itself; a blank stands for all else.
    """

    def __missing__(self, code: int) -> str:
        self[code] = found = self._kind(code)
        return found

    @staticmethod
    def _kind(code: int) -> str:
        category = unicodedata.category(chr(code))
        if category[0] not in "LMN":
            return "." if code == 0x2E else " "
        for kind, ranges in PAIRED:
            if any(low <= code <= high for low, high in ranges):
                return kind
        return "m" if category[0] == "M" else "d" if category == "Nd" else "w"


class _Visible(dict[int, str | None]):
    """What a character is replaced by: nothing where it has no shape, a digit of any script by ours."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        shapeless = unicodedata.category(char) == "Cf" or code == 0x034F or 0xFE00 <= code <= 0xFE0F
        found = None if shapeless or 0xE0100 <= code <= 0xE01EF else char
        if unicodedata.category(char) == "Nd":
            found = str(unicodedata.decimal(char))
        elif unicodedata.decomposition(char).startswith("<fraction>"):
            found = f" {char} "  # 5½ is no 51/2
        self[code] = found
        return found


_KINDS, _VISIBLE = _Kinds(), _Visible()


def plain(text: str) -> str:
    """The text without what does not tell words apart.

    That is compatibility forms, case, accents of Latin and Greek letters and characters without a shape
    (Unicode's toNFKC_Casefold, for the most part).
    """
    if text.isascii():
        return text.lower()
    text = text.translate(_SIGNS).translate(_VISIBLE)
    for _ in range(2):  # what folding leaves may have a compatibility form of its own
        text = unicodedata.normalize("NFKD", text).casefold()
    text = unicodedata.normalize("NFKD", text.translate(_SIGNS)).translate(_VISIBLE)
    return unicodedata.normalize("NFC", _ACCENTS.sub("", text))


def one_line(text: str) -> str:
    """`plain` text in which every run of white space is one blank: what tells no texts apart is gone."""
    return " ".join(plain(text).split())


def words(text: str, *, singles: bool = False) -> list[str]:
    """The words of a text, in order, with repeats.

    Letters, digits and the marks on them make words; a decimal point between digits stays. In scripts
    written without blanks (Chinese, Japanese, Thai, Lao, Khmer, Burmese), and in Korean, each pair of
    neighbouring characters is one, as is a character that stands alone; another script ends the run.

    Args:
        text: any.
        singles: also every character of these scripts by itself, so that it can be found alone: for an index.
    """
    text = plain(text)
    if text.isascii():
        return _PLAIN.findall(text)
    found: list[str] = []
    for run in _RUN.finditer(text.translate(_KINDS)):
        word = text[run.start() : run.end()]
        if run[1] is None:
            found.append(word)
            continue
        if len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        if singles or len(word) == 1:
            found += word
    return found


def stem(word: str) -> str:
    """Cuts an English plural (Harman 1991, the S-stemmer): -ies to -y, -es after a hiss, and any other -s.

    Words of three letters or with anything but letters stay, as do those in -ss, -us and -is. Cut twice is
    cut once.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def other_numbers(word: str) -> list[str]:
    """What the plural or singular of a French or Spanish word may be, stemmed, where `stem` leaves it apart.

    That is -eau and -eaux, -al and -aux, and -es behind a consonant that Spanish words end in. Whether there
    is such a word it does not know: only what is known otherwise is to be believed.
    """
    cut = stem(word)
    if cut.endswith("eaux"):
        return [cut[:-1]]
    if cut.endswith("aux"):
        return [cut[:-2] + "l", cut[:-1]]
    if cut.endswith("eau"):
        return [cut + "x"]
    found = [cut[:-1] + "ux"] if cut.endswith("al") else []
    if len(word) >= 7 and word.endswith(("des", "les", "nes", "res")):
        found.append(word[:-2])
    elif len(word) >= 5 and word.endswith(("d", "l", "n", "r")):
        found.append(word + "e")
    return found


class NamesInWords(Generic[T]):
    """What is called by names that stand in texts.

    Args:
        named: by the words of a name.
    """

    def __init__(self, named: Mapping[tuple[str, ...], T]) -> None:
        self._named, self._longest = named, max(map(len, named), default=0)

    def spans(self, said: Sequence[str]) -> Iterator[tuple[range, T]]:
        """Each name among some words, the longest first, and where it stands."""
        for size in range(min(self._longest, len(said)), 0, -1):
            for start in range(len(said) - size + 1):
                found = self._named.get(tuple(said[start : start + size]))
                if found is not None:
                    yield range(start, start + size), found


def spelled(name: str) -> list[str]:
    """A name, and where another stands behind it in brackets, each by itself."""
    beside = _BESIDE.fullmatch(name)
    return list(dict.fromkeys([name, *(beside.groups() if beside else ())]))


def scripts(text: str) -> set[str]:
    """The letters of the scripts in `PAIRED` that a text has something of."""
    return set(text.translate(_KINDS)).intersection(letter for letter, _ in PAIRED)


def paired(word: str) -> bool:
    """Whether a word is of a script whose words are pairs of characters."""
    return _KINDS[ord(word[0])] in "hkgtlxy"


def unspaced(word: str) -> bool:
    """Whether a word is of a script that is written without blanks; Korean is not."""
    return _KINDS[ord(word[0])] in "hktlxy"


def shortened(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis: at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
