"""How rows are cut for several writers, and what is said where Ray is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError, ToolMissingError
from kgdistill.ingest.ray.engine import RayEngine, ray_stager
from kgdistill.ingest.ray.tools import check_answers
from kgdistill.store import load_schema
from kgdistill.store.neo4j.parts import rounds, split

BOUGHT, ALSO = ("User", "BOUGHT", "Product"), ("Product", "ALSO_BOUGHT", "Product")


@given(writers=st.integers(1, 24), edge=st.sampled_from([BOUGHT, ALSO]))
def test_every_cell_is_written_once_and_no_two_writers_share_a_node(
    writers: int, edge: tuple[str, str, str]
) -> None:
    cells = []
    for plan in rounds(edge, writers):
        assert len(plan) == writers
        held = [
            {(edge[0], source) for source, _ in mine} | {(edge[2], target) for _, target in mine}
            for mine in plan
        ]
        assert sum(map(len, held)) == len(set().union(*held))
        cells += [cell for mine in plan for cell in mine]
    parts = writers if edge == BOUGHT else 2 * writers
    assert sorted(cells) == [(a, b) for a in range(parts) for b in range(parts)]


@pytest.mark.parametrize("key", ["Product", BOUGHT, ALSO])
def test_a_split_file_has_every_row_once_and_a_node_in_one_partition(
    key: str | tuple[str, str, str], tmp_path: Path
) -> None:
    keys = [f"k'{i}" for i in range(40)]
    if isinstance(key, str):
        table = pa.table({"product_id": keys, "title": keys})
    else:
        table = pa.table({"source": [a for a in keys for _ in keys], "target": keys * len(keys)})
    folder = tmp_path / "it's"
    folder.mkdir()
    pq.write_table(table, folder / "rows.parquet")
    found = split(key, folder / "rows.parquet", 3, folder / "cells")
    held: dict[tuple[str, str], set[int]] = {}
    rows = []
    for cell, files in found.items():
        for file in files:
            part = pq.ParquetFile(file).read()
            assert part.column_names == table.column_names
            rows += part.to_pylist()
            ends = [part.column(0), part.column(1)] if not isinstance(key, str) else [part.column(0)]
            for place, (side, values) in enumerate(zip(("s", "t"), ends, strict=False)):
                # Where both ends have one label, a partition holds the same nodes on either side.
                name = "n" if key == ALSO else side
                for value in values.to_pylist():
                    held.setdefault((name, value), set()).add(cell[place])
    assert sorted(map(str, rows)) == sorted(map(str, table.to_pylist()))
    assert {len(cells) for cells in held.values()} == {1}
    assert set(found) <= {cell for plan in rounds(key, 3) for mine in plan for cell in mine}


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with RayEngine() as engine, pytest.raises(ToolMissingError, match=r"pip install 'kgdistill\[ray\]'"):
        engine._start()


@pytest.mark.parametrize(
    ("address", "message"), [("127.0.0.1:9", "no Ray answers"), ("nonsense", "is no address")]
)
def test_an_address_where_no_ray_is_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_answers(address)


@pytest.mark.parametrize(
    ("address", "workers", "message"), [(None, 0, "0 workers"), ("ray://h:1", 2, "Ray client")]
)
def test_a_useless_address_or_number_of_workers_is_refused(
    address: str | None, workers: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ray_stager(address, workers=workers)([], tmp_path, 1, load_schema())
