"""The rows that a job leaves out: gathered, counted, written for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.errors import InputError
from kgdistill.ingest.archive import disk_errors
from kgdistill.ingest.model import REJECT_SCHEMA
from kgdistill.private import make_private


def too_many(
    rejects: Path | pa.Table, rejected: int, considered: int, share: float, written: Path | None
) -> InputError:
    """The refusal of a job with too many rejected rows, with the first of them."""
    first = next(_batches(rejects)).slice(0, 1).to_pylist()[0]
    column = f", column {first['column']}" if first["column"] else ""
    see = f"see {written}" if written else "name a file for the rejects to see them all"
    return InputError(
        f"{rejected:,} of {considered:,} rows do not fit, more than the allowed {share:.2%}; "
        f"the first: line {first['line']}{column}: {first['value']!r} {first['reason']}",
        where=first["source"],
        hint=f"nothing was changed; {see}",
    )


def _batches(rejects: Path | pa.Table) -> Iterator[pa.RecordBatch]:
    if isinstance(rejects, pa.Table):
        yield from rejects.to_batches(65_536)
    else:
        yield from pq.ParquetFile(rejects).iter_batches(65_536)


def join_rejects(part: Path) -> Path | None:
    """The rejects of all sources as one file, in the order of the sources."""
    files = sorted((part / "rejects").glob("*.parquet"))
    if not files:
        return None
    whole = part / "rejects.parquet"
    with disk_errors(part), pq.ParquetWriter(whole, REJECT_SCHEMA, compression="zstd") as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(65_536):
                writer.write_batch(batch)
    return whole


def reasons(rejects: Path | None) -> list[tuple[str, str, int]]:
    """(reason, column, rows), the most frequent first."""
    if rejects is None:
        return []
    counts: dict[tuple[str, str], int] = {}
    for batch in pq.ParquetFile(rejects).iter_batches(65_536, columns=["reason", "column"]):
        grouped = pa.Table.from_batches([batch]).group_by(["reason", "column"]).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            key = (row["reason"], row["column"] or "")
            counts[key] = counts.get(key, 0) + row["count_all"]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, column, count) for (reason, column), count in ordered]


def rejects_target(path: str | Path | None) -> Path | None:
    """Where the rejects shall go; InputError where the suffix is neither .csv nor .parquet."""
    if path is None:
        return None
    target = Path(path)
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"rejects cannot be written as {target.suffix!r}", where=str(target), hint=".csv or .parquet"
        )
    return target


def write_rejects(rejects: Path | pa.Table | None, path: Path | None) -> Path | None:
    """Writes them for the user; a former file is replaced, or removed where there are none."""
    if path is None:
        return None
    with disk_errors(path):
        if rejects is None or (isinstance(rejects, pa.Table) and not rejects.num_rows):
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        csv = path.suffix.lower() == ".csv"
        writer = pacsv.CSVWriter(part, REJECT_SCHEMA) if csv else pq.ParquetWriter(part, REJECT_SCHEMA)
        make_private(part)
        with writer:
            for batch in _batches(rejects):
                writer.write_batch(batch)
        os.replace(part, path)
    return path
