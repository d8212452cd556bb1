"""The rows that a job leaves out: gathered, counted, written for people."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kgdistill.errors import InputError
from kgdistill.ingest._model import REJECT_SCHEMA
from kgdistill.ingest.archive import disk_errors


def too_many(
    rejects: Path | None, rejected: int, considered: int, share: float, written: Path | None
) -> InputError:
    first = next(_rows_of(rejects)) if rejects is not None else {}
    column = f", column {first['column']}" if first.get("column") else ""
    return InputError(
        f"{rejected:,} of {considered:,} rows do not fit, more than the allowed {share:.2%}; "
        f"the first: line {first.get('line')}{column}: {first.get('value')!r} {first.get('reason')}",
        where=str(first.get("source", "")),
        hint=f"nothing was changed; see {written}"
        if written
        else "nothing was changed; name a file with --rejects to see them all",
    )


def _rows_of(path: Path) -> Iterator[dict[str, object]]:
    for batch in pq.ParquetFile(path).iter_batches(1024):
        yield from batch.to_pylist()


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
    if path is None:
        return None
    target = Path(path)
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"rejects cannot be written as {target.suffix!r}", where=str(target), hint=".csv or .parquet"
        )
    return target


def write_rejects(rejects: Path | None, path: Path | None) -> Path | None:
    """Writes them for the user; a former file is replaced, or removed where there are none."""
    if path is None:
        return None
    with disk_errors(path):
        if rejects is None:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        if path.suffix.lower() == ".parquet":
            shutil.copyfile(rejects, part)
        else:
            with pacsv.CSVWriter(part, REJECT_SCHEMA) as writer:
                for batch in pq.ParquetFile(rejects).iter_batches(65_536):
                    writer.write_batch(batch)
        os.replace(part, path)
    return path
