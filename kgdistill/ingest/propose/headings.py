"""What the name of a column says, by the words that are known."""

from __future__ import annotations

from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import ID, word_set, words

_BARE = word_set("id key code nr nummer")
_ADDRESS = word_set("handle slug permalink urlkey urlhandle urlslug urlschluessel")


def has(column: ColumnProfile, vocabulary: str) -> bool:
    """Whether a word of the name, or the whole of it, is in the vocabulary; longer ones also inside words."""
    known = vocabulary.split()
    if column.flat in known or any(word in known for word in column.words):
        return True
    return any(len(word) >= 6 and word in column.flat for word in known)


def has_word(column: ColumnProfile, vocabulary: str) -> bool:
    """Whether one of the words of the name is in the vocabulary."""
    return any(word in vocabulary.split() for word in column.words)


def is_id(column: ColumnProfile) -> bool:
    """Whether the name says that the column tells things apart."""
    known = ID.split()
    last = column.words[-1] if column.words else ""
    return any(w in known for w in column.words) or last.endswith(("id", "nummer", "nr", "code"))


def inner(column: ColumnProfile) -> tuple[str, ...]:
    """Of what a name in JSON leads to, the words of the innermost part that is not just called id."""
    parts = [words(part) for part in column.name.split(".")]
    return next((part for part in reversed(parts) if "".join(part) not in _BARE), ()) if parts[1:] else ()


def bare(column: ColumnProfile) -> bool:
    """Whether it is just called id."""
    return column.flat in _BARE


def is_address(column: ColumnProfile) -> bool:
    """Whether it is called as the part of an address that names a page of a shop."""
    return column.flat in _ADDRESS and not column.lists
