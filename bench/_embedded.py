"""Measures of the embedded store; each function runs in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ladybug
import pyarrow as pa
import pyarrow.parquet as pq
from _process import THREADS

from kgdistill.ingest.archive import Archive
from kgdistill.ingest.fold import Fold
from kgdistill.ingest.model import TypeKey, type_name
from kgdistill.ingest.sql import engine
from kgdistill.store import load_schema, open_store

_TYPES = {
    pa.string(): "STRING",
    pa.int64(): "INT64",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOL",
    pa.timestamp("us"): "TIMESTAMP",
}


def key_of(file: Path) -> TypeKey:
    """The type that a file's name tells: Product.parquet, User-BOUGHT-Product.parquet."""
    parts = file.stem.split("-")
    return file.stem if len(parts) == 1 else (parts[0], parts[1], parts[2])


def files_of(folder: str) -> list[Path]:
    """The Parquet files of a folder: nodes first, since relationships need them."""
    return sorted(Path(folder).glob("*.parquet"), key=lambda f: (f.stem.count("-"), f.name))


def fold_files(archive: str, out: str) -> dict[str, Any]:
    """Writes the folded rows of an archive, a file for each type."""
    place, folder = Archive(archive), Path(out)
    folder.mkdir(parents=True)
    scratch = folder / "scratch"
    scratch.mkdir()
    begin = time.monotonic()
    with engine(scratch, threads=THREADS) as db:
        fold = Fold(db, place.schema(), place.files(place.schema()))
        rows = {type_name(key): fold.write(key, folder / f"{type_name(key)}.parquet") for key in fold.types()}
    scratch.rmdir()
    return {"rows": rows, "seconds": time.monotonic() - begin}


def load_ours(files: str, folder: str) -> dict[str, Any]:
    """`store.load` of every file into an empty store, kept or not as a whole."""
    with open_store(f"ladybug:{folder}") as store:
        begin = time.monotonic()
        with store.changes():
            store.apply_schema(load_schema())
            rows = sum(store.load(key_of(file), file) for file in files_of(files))
        return {"rows": rows, "seconds": time.monotonic() - begin}


def load_raw(files: str, folder: str) -> dict[str, Any]:
    """The engine's own COPY of the same files, checked for nothing, then its CHECKPOINT."""
    Path(folder).mkdir()
    begin = time.monotonic()
    rows = copy_files(files_of(files), Path(folder) / "raw.lbug")
    return {"rows": rows, "seconds": time.monotonic() - begin}


def copy_files(files: list[Path], database: Path) -> int:
    """Makes a database of these files, nodes first, by COPY; returns the rows."""
    schemas = {file: pq.read_schema(file) for file in files}
    with (
        ladybug.Database(str(database), buffer_pool_size=2**30) as held,
        ladybug.Connection(held) as connection,
    ):
        run = connection.execute
        pairs: dict[str, list[Path]] = {}
        for file in files:
            pairs.setdefault(file.stem.split("-")[1] if "-" in file.stem else file.stem, []).append(file)
        for name, members in pairs.items():
            columns = [f"`{f.name}` {_TYPES[f.type]}" for f in schemas[members[0]]]
            if "-" in members[0].stem:
                ends = [member.stem.split("-") for member in members]
                columns = [*(f"FROM {a} TO {b}" for a, _, b in ends), *columns[2:]]
                run(f"CREATE REL TABLE `{name}`({', '.join(columns)})")
            else:
                first = schemas[members[0]].names[0]
                run(f"CREATE NODE TABLE `{name}`({', '.join(columns)}, PRIMARY KEY(`{first}`))")
        for name, members in pairs.items():
            for member in members:
                source, _, target = member.stem.partition("-")[0], "", member.stem.rpartition("-")[2]
                options = f" (from='{source}', to='{target}')" if len(members) > 1 else ""
                run(f"COPY `{name}` FROM '{member}'{options}")
        run("CHECKPOINT")
    return sum(pq.read_metadata(file).num_rows for file in files)


def export_ours(folder: str, repeats: int) -> dict[str, Any]:
    """Every purchase with three properties as an Arrow table, several times."""
    with open_store(f"ladybug:{folder}") as store:
        store.apply_schema(load_schema())
        seconds = []
        for _ in range(repeats):
            begin = time.monotonic()
            table = store.read_relationships(("User", "BOUGHT", "Product"), ["first_at", "count", "spend"])
            seconds.append(time.monotonic() - begin)
    return {"rows": table.num_rows, "seconds": seconds}


def export_raw(folder: str, repeats: int) -> dict[str, Any]:
    """The same with the engine alone."""
    query = (
        "MATCH (a:User)-[r:BOUGHT]->(b:Product) RETURN a.user_id AS source, b.product_id AS target, "
        "r.first_at AS first_at, r.`count` AS `count`, r.spend AS spend"
    )
    database = next(Path(folder).glob("*.lbug"))
    seconds = []
    with (
        ladybug.Database(str(database), read_only=True, buffer_pool_size=2**30) as held,
        ladybug.Connection(held) as connection,
    ):
        for _ in range(repeats):
            begin = time.monotonic()
            table = connection.execute(query).get_as_arrow(-1)
            seconds.append(time.monotonic() - begin)
    return {"rows": table.num_rows, "seconds": seconds}
