"""Times as a person reads them: in the zone of the files that they came from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kgdistill import moment
from kgdistill.cli.output import say

if TYPE_CHECKING:
    from kgdistill.store import GraphStore


def zone_of(store: GraphStore) -> str:
    """The time zone of the last job's mapping."""
    from kgdistill.ingest.journal import Journal

    return Journal(store).time_zone()


def in_zone(rows: Sequence[Sequence[Any]], zone: str) -> list[list[Any]]:
    """The rows of a table, their times (naive UTC) in `zone`; says so where there are any."""
    if zone != "UTC" and any(isinstance(value, datetime) for row in rows for value in row):
        say(f"times are those of {zone}; the store, parameters and --json have them in UTC")
    return [[local(value, zone) for value in row] for row in rows]


def local(value: Any, zone: str) -> Any:
    """A time (naive UTC) as the clocks of `zone` show it; any other value as it is."""
    return moment.local(value, zone) if isinstance(value, datetime) else value
