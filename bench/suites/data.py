"""The suites' data as graphs in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgdistill.datasets.adapt_journey import package_folder
from kgdistill.datasets.adapters import adapter
from kgdistill.errors import InputError
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import load_mapping
from kgdistill.ingest.tables import GraphTables, ingest_tables
from kgdistill.store import GraphStore, MemoryStore, load_schema

_VARIABLE = "KGDISTILL_DATA"
_CARDS = {"amazon_office": "data/amazon_office.md", "chorus_icecat": "data/chorus.md"}


def data_folder(name: str, given: Path | None) -> Path:
    """The folder of a data set.

    Args:
        name: "amazon_office" or "chorus_icecat".
        given: the folder that holds all of them; None: what KGDISTILL_DATA names, else ../shared/data.

    Raises:
        InputError: it is not there; says how to get it.
    """
    root = given or Path(os.environ.get(_VARIABLE) or Path("..") / "shared" / "data")
    if not (root / name).is_dir():
        raise InputError(
            f"has no folder {name!r}: the data set is not part of the project",
            where=str(root),
            hint=f"{_CARDS[name]} says how to get it; then --data FOLDER or the variable {_VARIABLE}",
        )
    return root / name


def office_tables(folder: Path) -> GraphTables:
    """Amazon Office as the graph's tables.

    Times are whole days, and one day belongs in the file partly to `valid` and partly to `test`: what is
    `valid` there is placed one second earlier, so that a moment splits as the file does.

    Args:
        folder: with interactions.csv.gz and items.jsonl.gz.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    file = folder / "interactions.csv.gz"
    try:
        rows = pd.read_csv(file, dtype={"user_id": str, "asin": str})
        test_start = rows.loc[rows["split"] == "test", "timestamp"].min()
        early = (rows["split"] == "valid") & (rows["timestamp"] >= test_start)
        rows.loc[early, "timestamp"] = test_start - 1
        if rows.loc[rows["split"] != "test", "timestamp"].max() >= test_start:
            raise InputError("train and test are not split by time", where=str(file))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    table = pa.Table.from_pandas(rows[["user_id", "asin", "timestamp", "rating"]], preserve_index=False)
    mapping = load_mapping(adapter("amazon-office").mapping_path)
    return graph_tables(mapping, folder, schema=load_schema(), tables={"interactions": table})


@contextmanager
def graph_of(tables: GraphTables) -> Iterator[GraphStore]:
    """The tables in a store in memory, for as long as the block lasts."""
    schema = load_schema()
    with MemoryStore() as store:
        store.apply_schema(schema)
        ingest_tables(store, schema, tables)
        yield store


def journey_lines(folder: Path | None = None) -> pa.Table:
    """Every purchase line of Complete Journey with a quantity above 0: source, target (string keys), at.

    Args:
        folder: where the Parquet files are; None: those of the installed package.

    Raises:
        InputError: the package is not installed, or the file is not there.
    """
    file = (folder or package_folder()) / "transactions.parquet"
    try:
        rows = pq.read_table(
            file,
            columns=["household_id", "product_id", "transaction_timestamp"],
            filters=pc.field("quantity") > 0,
        )
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    return pa.table(
        {
            "source": rows["household_id"].cast(pa.string()),
            "target": rows["product_id"].cast(pa.string()),
            "at": rows["transaction_timestamp"].cast(pa.timestamp("us")),
        }
    )
