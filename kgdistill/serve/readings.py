"""What the text tower reads of an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgdistill.arrays import FloatArray
from kgdistill.serve.parts import all_of, check_settings, number
from kgdistill.serve.tower import TextTower, unit

Columns = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Reading:
    """What is read at once, and how much of an item's vector it is.

    Attributes:
        columns: of the items, joined by " [SEP] ", those without text left out.
        weight: beside the other readings.
    """

    columns: tuple[str, ...]
    weight: float = 1.0

    def texts(self, columns: Columns) -> list[str]:
        """What is read of each item."""
        rows = zip(*(columns[name] for name in self.columns), strict=True)
        return [" [SEP] ".join(filter(None, row)) for row in rows]


@dataclass(frozen=True)
class Readings:
    """What a bundle reads of an item.

    Attributes:
        words: columns of the index of words, the title first.
        tower: what makes an item's vector.
    """

    words: tuple[str, ...]
    tower: tuple[Reading, ...]

    @classmethod
    def joined(cls, columns: Sequence[str]) -> Readings:
        """All columns are words, and one text for the tower."""
        return cls(tuple(columns), (Reading(tuple(columns)),))

    @property
    def columns(self) -> list[str]:
        """Every column that is read, once."""
        return list(dict.fromkeys([*self.words, *(c for r in self.tower for c in r.columns)]))

    def texts(self, columns: Columns) -> dict[str, list[str]]:
        """What the index of words is made of."""
        return {name: [value or "" for value in columns[name]] for name in self.words}

    def vectors(self, columns: Columns, tower: TextTower | None) -> FloatArray:
        """Unit vectors of items, float32 [N, D]; of no width without a tower."""
        if tower is None:
            return np.zeros((len(columns[self.words[0]]), 0), np.float32)
        parts = (np.float32(r.weight) * unit(tower.encode(r.texts(columns))) for r in self.tower)
        return unit(np.asarray(sum(parts), np.float32))

    def settings(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "words": list(self.words),
            "tower": [{"columns": list(r.columns), "weight": r.weight} for r in self.tower],
        }

    @classmethod
    def from_settings(cls, settings: Any) -> Readings:
        """What `settings` gave.

        Raises:
            ArtefactError: it is no such thing.
        """
        told = settings if isinstance(settings, dict) else {}
        words, tower = told.get("words"), told.get("tower")
        read = all_of(tower, dict) and all(_is_reading(r) for r in tower or [])
        check_settings({"reads": settings}, {"reads": all_of(words, str) and read})
        readings = [Reading(tuple(r["columns"]), r["weight"]) for r in tower or []]
        return cls(tuple(words or ()), tuple(readings))


def _is_reading(value: Mapping[str, Any]) -> bool:
    return all_of(value.get("columns"), str) and bool(value["columns"]) and number(value.get("weight"))
