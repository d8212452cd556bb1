"""Complete Journey's sources: its files as they are, and the joins of its small tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from kgdistill.datasets.complete_journey import _package_folder
from kgdistill.errors import InputError
from kgdistill.ingest.readers import Source, SourceOptions, read_batches

_FILES = (
    "products",
    "transactions",
    "demographics",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)


def journey_sources(folder: Path | None) -> dict[str, pa.Table | Path]:
    """The mapping's sources.

    Args:
        folder: where the Parquet files are; None: those of the installed package.

    Raises:
        InputError: the package is not installed, or a file is missing or not what is expected.
    """
    folder = folder if folder is not None else _package_folder()
    for name in _FILES:
        if not (folder / f"{name}.parquet").is_file():
            raise InputError(f"has no file {name}.parquet", where=str(folder))
    starts = _table(folder, "campaign_descriptions", ["campaign_id", "start_date"])
    received = _table(folder, "campaigns", ["campaign_id", "household_id"])
    coupons = _table(folder, "coupons", ["coupon_upc", "campaign_id"])
    first = coupons.join(starts, "campaign_id").group_by("coupon_upc").aggregate([("start_date", "min")])
    sources: dict[str, pa.Table | Path] = {name: folder / f"{name}.parquet" for name in _FILES}
    # Sorted: a join gives its rows in any order, and a job reads again what has changed.
    sources["received"] = received.join(starts, "campaign_id").sort_by(
        [("household_id", "ascending"), ("campaign_id", "ascending")]
    )
    sources["coupon_starts"] = first.rename_columns(
        ["start_date" if name == "start_date_min" else name for name in first.column_names]
    ).sort_by("coupon_upc")
    return sources


def _table(folder: Path, name: str, columns: list[str]) -> pa.Table:
    source = Source(name, folder / f"{name}.parquet", None, SourceOptions(format="parquet"))
    return pa.concat_tables([batch.table for batch in read_batches(source, columns)])
