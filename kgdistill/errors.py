"""The errors a user can meet, each with what is wrong, where, and what to do next.

The command line prints them as one message and exits with `exit_code`; from Python they are
ordinary exceptions. Anything that is not a `KgdistillError` is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Sequence


class KgdistillError(Exception):
    """A clear refusal.

    Args:
        message: what is wrong, in one sentence.
        where: the file, line, column, key or URL it concerns; empty where there is none.
        hint: what to do next; empty where nothing can be done.
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class InputError(KgdistillError):
    """A file, column, row, option or id that cannot be used."""


class UnknownNameError(InputError, KeyError):
    """A mapping holds nothing under that name; to `get` and `in` it is a KeyError."""


class SchemaError(KgdistillError):
    """The graph schema is wrong, or data does not fit it."""


class StoreError(KgdistillError):
    """The graph store refused, or cannot be used."""


class StoreUnreachableError(StoreError):
    """Nothing answers at the store's address."""


class StoreAuthError(StoreError):
    """The store refused the user name or password."""


class StoreLockedError(StoreError):
    """Another process holds the embedded store."""


class StoreDamagedError(StoreError):
    """An embedded store's file cannot be opened: it is damaged, or of another version."""


class StoreSchemaMismatchError(StoreError):
    """The store was made with another schema than the one in force."""


class QueryError(StoreError):
    """A Cypher query was refused: syntax, a write on the read path, timeout or row limit."""


class ArtefactError(KgdistillError):
    """A snapshot, run or bundle on disk is missing, unfinished or altered."""


class LeakError(KgdistillError):
    """Something at or after the cut, or a label, would have reached a model."""


class DiskError(KgdistillError):
    """The disk is full or refuses to be written."""


class MemoryShortError(KgdistillError):
    """The machine has not as much memory as was asked for."""


class RunLockedError(ArtefactError):
    """Another process is training in the run folder."""


class ToolMissingError(KgdistillError):
    """A program (Java, Maven, …) or a library that the command needs is not there."""


def sensitive_error(named: Sequence[str], where: str, why: str, hint: str) -> InputError:
    """The one way in which something sensitive is refused."""
    return InputError(
        f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} sensitive: {why}", where=where, hint=hint
    )
