"""What a kind of file looks up in others, as it grows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kgdistill.ingest.propose.profile import ColumnProfile, Lookup, Sample
from kgdistill.ingest.propose.ties import named_for


@dataclass(frozen=True)
class TableLink:
    """A column of one group of files, the key of another that it names, and how many rows find theirs."""

    here: ColumnProfile
    to: int
    there: str
    files: tuple[str, ...]
    share: float


@dataclass
class Made:
    """A sample that grows."""

    columns: list[ColumnProfile]
    aside: list[ColumnProfile] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)

    def add(self, before: str, column: ColumnProfile | None) -> None:
        """Adds a column of a lookup."""
        if column is not None:
            self.columns.append(replace(column, name=before + column.name, cells=[]))

    def put_aside(self, columns: Sequence[ColumnProfile]) -> None:
        """Takes columns for nothing, as another table tells."""
        self.columns = [c for c in self.columns if c not in columns]
        self.aside += columns

    def sample(self, taken: Sample) -> Sample:
        """What has grown, as a sample."""
        return replace(taken, columns=self.columns, lookups=tuple(self.lookups), aside=tuple(self.aside))


def short_name(link: TableLink, used: set[str]) -> str:
    """A name for a lookup: by the file's name, else by that of the key."""
    name = named_for(link.files[0], link.here) or next(iter(link.here.words), "")
    name = re.sub(r"[^\w-]", "", name).strip("_-") or "other"
    while name in used:
        name += "-2"
    return name
