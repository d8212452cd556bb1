"""Which events count: what was bought and not only returned, and what was rated above a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.arrays import BoolArray

QUANTITY = "first_quantity"


def floors(above: Mapping[str, float], event: str) -> dict[str, float]:
    """By property the number above which an event of this type counts.

    Args:
        above: by event and property, such as RATED.rating.
        event: the relationship's type.
    """
    return {key.split(".")[1]: least for key, least in above.items() if key.split(".")[0] == event}


def is_above(table: pa.Table, least: Mapping[str, float]) -> BoolArray:
    """Which events have all these numbers above what they must be, bool [rows]; an unknown one counts.

    Args:
        table: of one type of event, with the properties of `least`.
        least: from `floors`.
    """
    kept = np.ones(table.num_rows, np.bool_)
    for name, number in least.items():
        kept &= pc.fill_null(pc.greater(table[name], number), True).to_numpy()
    return kept


def is_counted(table: pa.Table, least: Mapping[str, float]) -> BoolArray:
    """As `is_above`, and neither returned nor given, as far as a quantity is known; bool [rows]."""
    kept = is_above(table, least)
    if QUANTITY in table.column_names:
        kept &= pc.fill_null(pc.greater(table[QUANTITY].cast(pa.int64()), 0), True).to_numpy()
    return kept
