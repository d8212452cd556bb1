"""Public data sets and log formats: for each a mapping, and as little code as possible beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from kgdistill.datasets.adapt_chorus import chorus_sources
from kgdistill.datasets.adapt_journey import journey_sources
from kgdistill.datasets.adapt_recbole import recbole_sources
from kgdistill.errors import InputError
from kgdistill.nearest import nearest

Prepare: TypeAlias = Callable[["Path | None"], "dict[str, pa.Table | Path]"]


@dataclass(frozen=True)
class Adapter:
    """How a data set becomes the graph.

    Attributes:
        name: by which it is asked for.
        title: for people.
        mapping_path: the mapping.
        card: the data card, relative to the repository: origin, licence, columns, traps.
        prepare: given the data's folder (None: where a package carries them), the sources that are not
            simply files matched by the mapping: tables of the joins, or other places of files.
    """

    name: str
    title: str
    mapping_path: Path
    card: str
    prepare: Prepare | None = None


_MAPPINGS = Path(__file__).with_name("mappings")
_TITLES: dict[str, str] = {
    "complete-journey": "Complete Journey (84.51°)",
    "amazon-2018": "Amazon Reviews 2018",
    "amazon-2023": "Amazon Reviews 2023",
    "amazon-office": "Amazon Office Products, a subset",
    "esci": "Amazon Shopping Queries (ESCI)",
    "wands": "WANDS (Wayfair)",
    "recbole": "RecBole atomic files",
    "hm": "H&M Personalized Fashion Recommendations",
    "chorus": "Chorus / Icecat electronics",
    "online-retail": "UCI Online Retail",
    "search-log": "Search log",
    "ad-log": "Ad log",
    "chinese-shop": "A shop in Chinese, invented",
}
_PREPARE: dict[str, Prepare] = {
    "complete-journey": journey_sources,
    "recbole": recbole_sources,
    "chorus": chorus_sources,
}


def adapters() -> list[Adapter]:
    """All of them."""
    return [
        Adapter(
            name=name,
            title=title,
            mapping_path=_MAPPINGS / f"{name}.yaml",
            card=f"data/{name.replace('-', '_')}.md",
            prepare=_PREPARE.get(name),
        )
        for name, title in _TITLES.items()
    ]


def adapter(name: str) -> Adapter:
    """The adapter of that name.

    Raises:
        InputError: there is none.
    """
    for item in adapters():
        if item.name == name:
            return item
    names = list(_TITLES)
    raise InputError(
        f"no data set is called {name!r}", hint=f"{nearest(name, names)}there are: {', '.join(names)}"
    )
