"""The tokens of a Cypher text: words apart from what stands in texts, comments and backquotes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "name", "string", "parameter", "number", "symbol"]

_TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<comment>//[^\n\r]*|/\*.*?\*/)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<name>(?:`[^`]*`)+)"
    r"|(?P<parameter>\$(?:\w+|`[^`]*`))"
    r"|(?P<number>\d+)"
    # A sign of a currency may stand in a name, but not first.
    r"|(?P<word>[^\W\d][\w$¢£¤¥€₹₽₩₺₿]*)"
    r"|(?P<symbol>.)",
    re.DOTALL,
)
_OPENING = {"'": "a text", '"': "a text", "`": "a name in backquotes"}


class UnclosedError(ValueError):
    """A text, a name in backquotes or a comment that has no end; `str` says which, and where it begins."""


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        kind: what it is; a name is one in backquotes.
        text: as it stands, but a name or a parameter without its quotes and `$`.
    """

    kind: Kind
    text: str

    @property
    def upper(self) -> str:
        """A word in capitals, as keywords are compared; empty for anything else."""
        return self.text.upper() if self.kind == "word" and self.text.isascii() else ""


def tokens(cypher: str) -> tuple[list[Token], str]:
    """Splits a text.

    Returns:
        Its tokens, and the text with blanks for the comments, as long as it was.

    Raises:
        UnclosedError: something in it has no end.
    """
    found: list[Token] = []
    plain: list[str] = []
    for match in _TOKEN.finditer(cypher):
        kind, text = str(match.lastgroup), match[0]
        plain.append(re.sub(r"[^\n\r]", " ", text) if kind == "comment" else text)
        if kind in ("blank", "comment"):
            continue
        opening = "a comment" if cypher.startswith("/*", match.start()) else _OPENING.get(text)
        if kind == "symbol" and opening is not None:
            line = cypher.count("\n", 0, match.start()) + 1
            raise UnclosedError(f"{opening} that begins in line {line} has no end")
        if kind == "name":
            text = text[1:-1].replace("``", "`")
        elif kind == "parameter":
            text = text[1:].strip("`")
        found.append(Token(kind, text))  # type: ignore[arg-type]
    return found, "".join(plain)


def parameters_of(found: Sequence[Token]) -> list[str]:
    """The names of the parameters that stand in it, each once."""
    return list(dict.fromkeys(token.text for token in found if token.kind == "parameter"))
