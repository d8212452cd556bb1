"""What is bought together before the cut, as the part of a bundle that tells what goes with an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.config import GoesWithConfig
from kgdistill.derive.together import Baskets, Partners, partners
from kgdistill.serve.complements import Complements
from kgdistill.serve.items import Items
from kgdistill.snapshot import Snapshot
from kgdistill.tasks.match import counted_events
from kgdistill.tasks.protocol import DiscoveryProtocol

COLUMNS = ("category", "brand")
"""What stands in for an item that too few bought, the first that it has."""
_WIDER = 5
_HOUR_US = 3_600_000_000


def pack_complements(baskets: Baskets, items: Items, config: GoesWithConfig | None = None) -> Complements:
    """What is bought together, of items and of their categories and brands.

    Args:
        baskets: with the items' positions as codes.
        items: the bundle's.
        config: its settings; of a category or a brand five times as many partners are kept.
    """
    config = config or GoesWithConfig()
    limits = config.min_support, config.false_share
    tables = [partners(baskets, len(items), *limits, keep=config.partners)]
    columns: dict[str, list[str]] = {}
    for column, values in items.columns(COLUMNS).items():
        columns[column] = names = sorted({value for value in values if value})
        place = {name: code for code, name in enumerate(names)}
        codes = np.array([place.get(value or "", -1) for value in values], np.int64)
        tables.append(partners(baskets.of_groups(codes), len(names), *limits, keep=_WIDER * config.partners))
    held: dict[str, Any] = {}
    for n, table in enumerate(tables):
        held |= _arrays("items" if n == 0 else f"group{n - 1}", table)
    return Complements({"columns": columns}, held, len(items))


def _arrays(name: str, table: Partners) -> Mapping[str, Any]:
    return {
        f"{name}.indptr": table.indptr.astype(np.int64),
        f"{name}.partner": table.partner.astype(np.int32),
        f"{name}.support": table.support.astype(np.int32),
        f"{name}.expected": table.expected.astype(np.float32),
        f"{name}.beyond": table.beyond.astype(np.uint8),
        f"{name}.users": table.users.astype(np.int64),
    }


def bought_baskets(
    snapshot: Snapshot, protocol: DiscoveryProtocol, items: IntArray, window_hours: float
) -> Baskets:
    """The baskets before the snapshot's cut, with the places of `items` as codes; others are left out."""
    user, item, at_us = counted_events(snapshot, protocol)
    place = np.full(snapshot.num_nodes(protocol.candidates), -1, np.int64)
    place[items] = np.arange(len(items))
    some = place[item] >= 0
    return Baskets.of(user[some], place[item[some]], at_us[some], round(window_hours * _HOUR_US))
