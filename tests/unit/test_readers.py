from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from kgdistill.ingest.readers import (
    Source,
    SourceOptions,
    column_names,
    fingerprint,
    read_batches,
)

ROWS = [{"id": "u1", "n": "1", "t": None}, {"id": "u2", "n": "2", "t": "é, x"}]
Row = dict[str, Any]


def write(path: Path, data: bytes | str, encoding: str = "utf-8") -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return path


def read(
    source: Source | Path, columns: list[str], options: SourceOptions | None = None, block: int = 1 << 20
) -> tuple[list[Row], list[int], list[tuple[int, str]]]:
    """Rows, their lines, and the rejects as (line, reason)."""
    if isinstance(source, Path):
        source = Source(f"s:{source.name}", source, None, options or SourceOptions())
    batches = list(read_batches(source, columns, block_bytes=block))
    rejects = [r for b in batches for r in b.rejects.to_pylist()]
    assert all(b.table.num_rows == len(b.lines) and b.table.column_names == columns for b in batches)
    assert {r["source"] for r in rejects} <= {source.name}
    rows = [row for b in batches for row in b.table.to_pylist()]
    return rows, [int(i) for b in batches for i in b.lines], [(r["line"], r["reason"]) for r in rejects]


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink)
    return sink.getvalue()


def arrow_file() -> bytes:
    sink = io.BytesIO()
    feather.write_feather(table(), sink)
    return sink.getvalue()


def arrow_stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    return sink.getvalue()


TEXTS = {
    "a.csv": 'id,n,t\nu1,1,\nu2,2,"é, x"\n',
    "a.tsv": "id\tn\tt\nu1\t1\t\nu2\t2\té, x\n",
    "a.inter": "id:token\tn:float\tt:token_seq\nu1\t1\t\nu2\t2\té, x\n",
    "a.jsonl": '{"id": "u1", "n": 1}\n{"id": "u2", "n": 2, "t": "é, x"}\n',
}
BYTES: dict[str, Callable[[], bytes]] = {
    "a.parquet": parquet,
    "a.feather": arrow_file,
    "a.arrow": arrow_stream,
}


@pytest.mark.parametrize("name", [*TEXTS, *BYTES])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", "hidden gzip"])
def test_every_format_and_compression_gives_the_same_rows(name: str, packed: str, tmp_path: Path) -> None:
    data = TEXTS[name].encode() if name in TEXTS else BYTES[name]()
    if packed == ".zst":
        data = pa.compress(data, "zstd", asbytes=True)
    elif packed:
        data = gzip.compress(data[:20]) + gzip.compress(data[20:])
    path = write(tmp_path / (name + packed.removeprefix("hidden gzip")), data)
    rows, lines, rejects = read(path, ["id", "n", "t"])
    assert rows == ROWS
    assert lines == ([2, 3] if name in ("a.csv", "a.tsv", "a.inter") else [1, 2])
    assert rejects == []
    source = Source("s", path)
    assert column_names(source) == ["id", "n", "t"]
    sizes = [b.size for b in read_batches(source, ["t"])]
    # An Arrow stream may end with a mark of up to 8 bytes.
    assert len(data) - 8 <= sum(sizes) <= fingerprint(source).size == len(data)
