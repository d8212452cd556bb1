"""Bundles of random numbers, and the same with something changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from _load_script import load_script

from kgdistill.serve.bundle import Bundle
from kgdistill.serve.history import History
from kgdistill.serve.items import Items
from kgdistill.serve.search import search_index

random_bundle: Callable[..., Bundle] = load_script("bench/serving.py").random_bundle
Numbers = np.ndarray[Any, Any]


def history_of(bundle: Bundle) -> History:
    """The part that a random bundle always has."""
    assert bundle.history is not None
    return bundle.history


def arrays(bundle: Bundle) -> dict[str, Numbers]:
    """Its arrays, to look at or to change in place."""
    return history_of(bundle).arrays()


def remade(
    bundle: Bundle,
    *,
    titles: list[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    held: dict[str, Numbers] | None = None,
) -> Bundle:
    """The bundle made anew of its arrays as they are now, with other titles or settings."""
    table = bundle.items.table
    if titles is not None:
        names = pa.array(titles + bundle.items.titles[len(titles) :])
        table = table.set_column(table.column_names.index("title"), "title", names)
    part = History(
        {**history_of(bundle).settings(), **(settings or {})}, held or arrays(bundle), table.num_rows
    )
    items, reads = Items(table), bundle.reads
    columns = items.columns(reads.columns)
    search = search_index(reads.texts(columns), reads.vectors(columns, bundle.text))
    return Bundle(bundle.config, items, history=part, text=bundle.text, search=search)
