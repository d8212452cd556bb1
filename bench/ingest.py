"""Measures ingestion: ours, the baseline beside it and their ratio, in one run.

    python bench/ingest.py                                the embedded store; about 4 minutes
    python bench/ingest.py --neo4j auto                   a local Neo4j too, fresh for each load; about 10
    python bench/ingest.py --neo4j bolt://127.0.0.1:7687  an EMPTY Neo4j, which is wiped between the measures;
                                                          password from KGDISTILL_NEO4J_PASSWORD
    python bench/ingest.py --only bulk,promotions         some of: bulk job promotions export nightly csv
    python bench/ingest.py --neo4j auto --stores neo4j    that one alone: bulk; job, nightly and export

Prints a table and writes bench/results/ingest.json; measures that were not asked for stay there as they were.
Each measure runs in a process of its own, with two threads; memory is the most that this process and its
children held at a time, the server apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from _process import THREADS, measured

RESULTS = Path(__file__).parent / "results"
MEASURES = ("bulk", "job", "promotions", "export", "nightly", "csv")
UPSERTED = 40_000


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: what was measured.
        unit: of the figures; the median counts.
        ours, baseline: a figure for each run.
        beside: what the baseline is.
        target: in words.
        met: whether it was; None where there is none.
        more: other figures of the same runs.
    """

    name: str
    unit: str
    ours: list[float]
    baseline: list[float] = field(default_factory=list)
    beside: str = ""
    target: str = ""
    met: bool | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median of ours."""
        return statistics.median(self.ours)

    @property
    def ratio(self) -> float | None:
        """How many times as good as the baseline: above 1 is better."""
        if not self.baseline:
            return None
        ours, other = self.value, statistics.median(self.baseline)
        return other / ours if self.unit in ("s", "GiB") else ours / other

    def entry(self) -> dict[str, Any]:
        """For the JSON file."""
        found = {**asdict(self), "median": self.value, "ratio": self.ratio}
        found["spread"] = [min(self.ours), max(self.ours)]
        return {
            **found,
            "load_average": list(os.getloadavg()),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


class Bench:
    """The measures, with the files that they share.

    Args:
        scratch: an empty folder; about 4 GB are needed.
        repeats: of each measure of the embedded store.
        server_repeats: of the loads into Neo4j.
        server: gives the address of an empty Neo4j for a block; None: no measure of it.
        rows: of the promotions; None for all.
    """

    def __init__(
        self, scratch: Path, repeats: int, server_repeats: int, server: Any, rows: int | None
    ) -> None:
        self.scratch, self.repeats, self.server_repeats = scratch, repeats, server_repeats
        self.server, self.rows = server, rows
        self._count = 0
        self._journey: tuple[Path, dict[str, Any]] | None = None
        self._folded: tuple[Path, int] | None = None

    def _new(self, name: str) -> Path:
        self._count += 1
        return self.scratch / f"{self._count:03d}-{name}"

    def journey(self, *, again: bool = False) -> tuple[Path, dict[str, Any]]:
        """Complete Journey in an embedded store with its archive, made once; and what making it took."""
        if self._journey is None or again:
            folder = self._new("journey")
            folder.mkdir()
            told = measured("_jobs:journey", url=f"ladybug:{folder}/store", archive=f"{folder}/archive")
            self._journey = (folder, told)
        return self._journey

    def folded(self) -> tuple[Path, int]:
        """The folded rows of Complete Journey as Parquet files, and how many they are."""
        if self._folded is None:
            out = self._new("folded")
            told = measured("_embedded:fold_files", archive=f"{self.journey()[0]}/archive", out=str(out))
            self._folded = (out, sum(told["rows"].values()))
        return self._folded

    def bulk_ladybug(self) -> Iterator[Row]:
        """Loading the whole graph from folded files."""
        files, rows = self.folded()
        ours, raw = [], []
        for _ in range(self.repeats):
            for case, kept in (("load_ours", ours), ("load_raw", raw)):
                folder = self._new("bulk")
                kept.append(measured(f"_embedded:{case}", files=str(files), folder=str(folder)))
                assert kept[-1]["rows"] == rows
                shutil.rmtree(folder)
        yield _rates("bulk load, embedded", rows, ours, raw, "raw COPY, unchecked", 250_000)

    def bulk_neo4j(self) -> Iterator[Row]:
        """Loading the whole graph from folded files, and changing a part of it."""
        files, rows = self.folded()
        ours, one, two = [], [], []
        for turn in range(self.server_repeats):
            for sessions, kept in ((0, ours), (1, one), (2, two)):
                with self.server() as (url, process):
                    case = "load_raw" if sessions else "load_ours"
                    extra = {"sessions": sessions} if sessions else {}
                    before = _cpu(process)
                    kept.append(measured(f"_server:{case}", url=url, files=str(files), **extra))
                    kept[-1]["server_cpu_seconds"] = _cpu(process) - before
                    assert kept[-1]["rows"] == rows
                    if not sessions and not turn:
                        file = str(files / "User-BOUGHT-Product.parquet")
                        changed = measured("_server:upsert", url=url, file=file, rows=UPSERTED, repeats=3)
        best = min(one, two, key=lambda runs: statistics.median(r["seconds"] for r in runs))
        row = _rates("bulk load, Neo4j", rows, ours, best, "UNWIND CREATE, best of 1 and 2 sessions")
        row.more |= {
            f"raw_{n}_sessions_per_s": [rows / r["seconds"] for r in runs] for n, runs in ((1, one), (2, two))
        }
        row.more |= {
            f"{who}_server_cpu_seconds": [r["server_cpu_seconds"] for r in runs]
            for who, runs in (("ours", ours), ("raw_1_sessions", one), ("raw_2_sessions", two))
        }
        row.target, row.met = "ratio >= 0.9", (row.ratio or 0) >= 0.9
        yield row
        yield Row(
            "upsert of 40 k into 868 k, Neo4j",
            "rows/s",
            [UPSERTED / s for s in changed["ours"]],
            [UPSERTED / s for s in changed["raw"]],
            "UNWIND MERGE, 10 k",
            *_at_least(UPSERTED / statistics.median(changed["ours"]), 10_000),
        )

    def job_ladybug(self) -> Iterator[Row]:
        """Files to graph with everything on."""
        runs, scripts = [], []
        for turn in range(self.repeats):
            runs.append(self.journey(again=turn > 0)[1])
            folder = self._new("script")
            scripts.append(measured("_scripts:journey", folder=str(folder)))
            assert scripts[-1]["graph_rows"] == runs[-1]["graph_rows"]
            shutil.rmtree(folder)
        yield _job("job, embedded", runs, scripts, 150_000)

    def job_neo4j(self) -> Iterator[Row]:
        """A whole job into a server; then the nightly job and the export on what it made."""
        with self.server() as (url, _):
            archive = self._new("archive")
            yield _job("job, Neo4j", [measured("_jobs:journey", url=url, archive=str(archive))], [], 0)
            yield self._nights("nightly job, Neo4j", url, archive)
            told = measured("_server:export", url=url, repeats=3)
            yield _export("export, Neo4j", told["rows"], told["ours"], told["raw"], "a record each", 6.0)

    def nightly_ladybug(self) -> Iterator[Row]:
        """New purchases on top of the full store."""
        folder, _ = self.journey()
        yield self._nights("nightly job, embedded", f"ladybug:{folder}/store", folder / "archive")
        # It is not what it was.
        self._journey = None

    def _nights(self, name: str, url: str, archive: Path) -> Row:
        folder, lines = self._new("nights"), 10_000
        measured("_jobs:write_nights", folder=str(folder), nights=3, lines=lines)
        runs = [
            measured("_jobs:night", url=url, archive=str(archive), folder=f"{folder}/night{n}")
            for n in range(3)
        ]
        assert all(run["input_rows"] == lines for run in runs)
        more = {
            "peak_rss_gib": max(r["peak_rss_gib"] for r in runs),
            "cpu_seconds": [r["cpu_seconds"] for r in runs],
            "read_seconds": [r["read_seconds"] for r in runs],
            "apply_seconds": [r["apply_seconds"] for r in runs],
        }
        return Row(f"{name}, 10 k lines", "s", [run["seconds"] for run in runs], more=more)

    def export_ladybug(self) -> Iterator[Row]:
        """Every purchase with three properties."""
        folder = f"{self.journey()[0]}/store"
        ours = measured("_embedded:export_ours", folder=folder, repeats=5)
        raw = measured("_embedded:export_raw", folder=folder, repeats=5)
        assert ours["rows"] == raw["rows"]
        yield _export(
            "export, embedded", ours["rows"], ours["seconds"], raw["seconds"], "raw query to Arrow", 0.6
        )

    def promotions_ladybug(self) -> Iterator[Row]:
        """20.9 M rows as events."""
        folder = self._new("promotions")
        folder.mkdir()
        ours = measured("_jobs:promotions", folder=str(folder), rows=self.rows)
        shutil.rmtree(folder)
        script = measured("_scripts:promotions", folder=str(folder))
        shutil.rmtree(folder)
        rows, fifths, peak = ours["input_rows"], ours["fifths"], ours["peak_rss_gib"]
        name = f"promotions, {rows / 1e6:.1f} M rows"
        more = {
            key: ours[key] for key in ("read_seconds", "apply_seconds", "graph_rows", "rejected", "fifths")
        }
        rates = [rows / ours["seconds"]]
        yield Row(name, "rows/s", rates, [rows / script["seconds"]], "DuckDB + COPY, unchecked", more=more)
        share = fifths[-1] / fifths[0]
        yield Row(f"{name}: last fifth / first", "ratio", [share], target=">= 0.8", met=share >= 0.8)
        yield Row(
            f"{name}: peak memory", "GiB", [peak], [script["peak_rss_gib"]], "the same", "<= 2", peak <= 2
        )

    def csv_ladybug(self) -> Iterator[Row]:
        """A large and a small CSV read, mapped and staged."""
        told = {}
        for megabytes in (200, 1000):
            file = self._new("csv") / "sales.csv"
            made = measured("_jobs:write_csv", path=str(file), megabytes=megabytes)
            folder = self._new("staged")
            ours = measured("_jobs:stage_csv", path=str(file), folder=str(folder))
            assert (ours["rows"], ours["rejected"]) == (made["rows"], 0)
            shutil.rmtree(folder)
            told[megabytes] = (ours, measured("_jobs:read_csv_raw", path=str(file)), made)
            file.unlink()
        ours, raw, made = told[1000]
        rates = [ours["rows"] / ours["seconds"]]
        more = {"bytes": made["bytes"], "rows": made["rows"]}
        more |= {key: ours[key] for key in ("fifths", "cpu_seconds")}
        beside = "Arrow CSV to Parquet"
        yield Row("CSV of 1 GB staged", "rows/s", rates, [raw["rows"] / raw["seconds"]], beside, more=more)
        large, small = (told[size][0]["peak_rss_gib"] for size in (1000, 200))
        yield Row(
            "CSV: peak memory of 1 GB, beside 200 MB", "GiB", [large], [small], "ours, 200 MB", "<= 1.25 x",
            large <= 1.25 * small,
        )  # fmt: skip


def _cpu(process: psutil.Process | None) -> float:
    """Seconds of processor time that a process has used; 0 where it is not known."""
    if process is None:
        return 0.0
    used = process.cpu_times()
    return used.user + used.system


def _at_least(value: float, target: float) -> tuple[str, bool]:
    return f">= {target:,.0f}", value >= target


def _rates(name: str, rows: int, ours: list[Any], raw: list[Any], beside: str, target: float = 0) -> Row:
    row = Row(name, "rows/s", [rows / r["seconds"] for r in ours], [rows / r["seconds"] for r in raw], beside)
    row.more = {
        "rows": rows,
        "peak_rss_gib": max(r["peak_rss_gib"] for r in ours),
        "baseline_peak_rss_gib": max(r["peak_rss_gib"] for r in raw),
        "cpu_seconds": [r["cpu_seconds"] for r in ours],
        "baseline_cpu_seconds": [r["cpu_seconds"] for r in raw],
    }
    if target:
        row.target, row.met = _at_least(row.value, target)
    return row


def _job(name: str, runs: list[Any], scripts: list[Any], target: float) -> Row:
    rows = runs[0]["input_rows"]
    row = Row(f"{name}, {rows / 1e6:.3f} M input rows", "rows/s", [rows / r["seconds"] for r in runs])
    if scripts:
        row.baseline, row.beside = [rows / r["seconds"] for r in scripts], "DuckDB + COPY, unchecked"
    row.more = {
        "graph_rows": runs[0]["graph_rows"],
        "graph_rows_per_s": [r["graph_rows"] / r["seconds"] for r in runs],
        "rejected": runs[0]["rejected"],
        "read_seconds": [r["read_seconds"] for r in runs],
        "apply_seconds": [r["apply_seconds"] for r in runs],
        "peak_rss_gib": max(r["peak_rss_gib"] for r in runs),
        "cpu_seconds": [r["cpu_seconds"] for r in runs],
    }
    if target:
        row.target, row.met = _at_least(row.value, target)
    return row


def _export(name: str, rows: int, ours: list[float], raw: list[float], beside: str, target: float) -> Row:
    met = statistics.median(ours) <= target
    return Row(f"{name}, {rows:,} edges", "s", ours, raw, beside, f"<= {target:g}", met)


@contextlib.contextmanager
def _local(scratch: Path) -> Iterator[tuple[str, psutil.Process | None]]:
    """A fresh Neo4j for a block: its address and process."""
    from kgdistill.store.neo4j import local as local_neo4j
    from kgdistill.store.open import PASSWORD_VARIABLE

    folder = Path(tempfile.mkdtemp(prefix="neo4j-", dir=scratch))
    server = local_neo4j.start(folder, heap="1g")
    try:
        os.environ[PASSWORD_VARIABLE] = server.password()
        yield server.url, psutil.Process(server.pid)
    finally:
        local_neo4j.stop(folder)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _wiped(url: str) -> Iterator[tuple[str, psutil.Process | None]]:
    """Somebody's empty Neo4j for a block, empty again after it; its process is not known."""
    if measured("_server:nodes", url=url)["nodes"]:
        raise SystemExit(f"{url} is not empty: these measures wipe it")
    try:
        yield url, None
    finally:
        measured("_server:wipe", url=url)


def _show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'measure':<48}{'ours':>12} {'unit':<7}{'spread':>22}{'baseline':>12}{'ratio':>7}  target")
    for row in rows:
        base = _figure(statistics.median(row["baseline"])) if row["baseline"] else "-"
        ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else "-"
        spread = " to ".join(_figure(v) for v in row["spread"]) if len(row["ours"]) > 1 else "one run"
        met = {True: " met", False: " MISSED", None: ""}[row["met"]]
        print(
            f"{row['name']:<48}{_figure(row['median']):>12} {row['unit']:<7}{spread:>22}{base:>12}{ratio:>7}"
            f"  {row['target']}{met}" + (f"   [{row['beside']}]" if row["beside"] else "")
        )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(MEASURES), help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--neo4j", default="", metavar="URL|auto")
    parser.add_argument("--stores", default="ladybug,neo4j", help="one or both")
    parser.add_argument("--repeats", type=int, default=3, help="of embedded measures")
    parser.add_argument("--neo4j-repeats", type=int, default=1, help="of loads into Neo4j")
    parser.add_argument("--rows", type=int, default=None, help="of the promotions; all by default")
    parser.add_argument("--scratch", type=Path, default=None, help="where 4 GB are free")
    parser.add_argument("--out", type=Path, default=RESULTS / "ingest.json")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(MEASURES):
        parser.error(f"no measure is called {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="kgdistill-bench-") as folder:
        scratch = Path(folder)

        def server() -> contextlib.AbstractContextManager[tuple[str, psutil.Process | None]]:
            return _local(scratch) if options.neo4j == "auto" else _wiped(options.neo4j)

        bench = Bench(scratch, options.repeats, options.neo4j_repeats, server, options.rows)
        known = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out.exists() else []
        done: dict[str, dict[str, Any]] = {}
        for store in options.stores.split(","):
            if store == "neo4j" and not options.neo4j:
                continue
            for name in MEASURES:
                measure = getattr(bench, f"{name}_{store}", None)
                if name not in wanted or measure is None:
                    continue
                for number, row in enumerate(measure()):
                    done[f"{store}.{name}.{number}"] = row.entry()
                    _show([row.entry()])
                    options.out.parent.mkdir(exist_ok=True)
                    merged = {r["id"]: r for r in known} | {k: {"id": k, **r} for k, r in done.items()}
                    content = {"machine": _machine(), "rows": list(merged.values())}
                    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _show(list(done.values()))


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "threads": THREADS, "python": platform.python_version()}


if __name__ == "__main__":
    main()
