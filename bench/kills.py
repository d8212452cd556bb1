"""Kills the write-back command at many moments and looks at what it leaves.

    python bench/kills.py                 40 kills of a write of 40,000 recommendations to an embedded store
    python bench/kills.py --kills 10 --users 60

Each time a copy of one store, which holds what the run wrote before, is written to by `kgdistill writeback`.
It is killed (SIGKILL) at a moment that its files tell: from the first that appears to the last that changes,
every second time up to 20 ms after it. A kill is whole when the store opens, and holds all of the former
output or all of the new one, recommendations and embeddings alike; the archive likewise.

Prints a table and writes bench/results/kills.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

RESULTS = Path(__file__).parent / "results"
RUN = "mine"
_SETTINGS = """
protocol: {min_user_events: 3, min_item_users: 3}
teacher: {dim: 8, epochs: 1, candidates: 20, random: 10}
student: {epochs: 1, candidates: 20, random: 10}
device: cpu
threads: 1
"""
# A file that grows is another moment for each step of this many bytes.
_GROWTH = 64 * 1024
_POLL_S = 0.0003
_WITHIN_S = 0.02


@dataclass
class Kill:
    """One kill.

    Attributes:
        moment: the files at that time, as `_files` tells them.
        late: seconds after they came to be so.
        store: `former`, `new`, `mixed` or `does not open`.
        archive: likewise.
        finished: whether the command had ended before it could be killed.
    """

    moment: str
    late: float
    store: str
    archive: str
    finished: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing was lost or mixed."""
        return {self.store, self.archive} <= {"former", "new"}


class Trial:
    """A store with the former output of a run, and what the run writes next.

    Args:
        folder: an empty folder.
        users, products: how large the shop is; each user gets 20 recommendations.
    """

    def __init__(self, folder: Path, users: int, products: int) -> None:
        self.folder, self.base = folder, folder / "base"
        _shop(folder / "files", users, products)
        (folder / "mine.yaml").write_text(_SETTINGS, encoding="utf-8")
        self.base.mkdir()
        self._command("ingest", "folder", folder / "files", *self._at(self.base)).check_returncode()
        options = ["--run", folder / RUN, "--config", folder / "mine.yaml"]
        store = self._at(self.base)[:2]
        self._command("snapshot", *options, *store).check_returncode()
        for stage in ("teacher", "student"):
            self._command("train", stage, "--run", folder / RUN).check_returncode()
        self._former()
        self.former = self._read(self.base)
        done = self._copy("new")
        self.moments = self._watched(done)
        self.new = self._read(done)
        assert self.new != self.former
        assert self.new[0] == self.new[1], "the archive keeps what the store holds"

    def kill(self, number: int, moments: int, dice: random.Random) -> Kill:
        """Kills the command at the `number`-th of `moments` moments."""
        place = self._copy("at")
        target = 1 + number * (self.moments - 1) // max(1, moments - 1)
        late = dice.uniform(0, _WITHIN_S) if number % 2 else 0.0
        process = self._start(place)
        seen, last = 0, _files(place)
        while process.poll() is None and seen < target:
            now = _files(place)
            if now != last:
                seen, last = seen + 1, now
            time.sleep(_POLL_S)
        time.sleep(late)
        process.kill()
        finished = process.wait() == 0
        left = sorted(path.name for path in (place / "store").iterdir())
        store, archive = (self._told(part) for part in self._read(place))
        shutil.rmtree(place)
        return Kill(", ".join(left), late, store, archive, finished)

    def _former(self) -> None:
        """What the run wrote before: the same pairs with other figures."""
        from kgdistill.explore import NodeEmbeddings, write_back
        from kgdistill.store import open_store

        with open_store(f"ladybug:{self.base / 'store'}") as store:
            users, products = (
                store.read_nodes(label, []).column(0).to_pylist() for label in ("User", "Product")
            )
            count = min(20, len(products))
            table = pa.table(
                {
                    "user": np.repeat(users, count),
                    "product": np.tile(products[:count], len(users)),
                    "rank": np.tile(np.arange(1, count + 1), len(users)),
                    "score": np.full(count * len(users), -1.0),
                }
            )
            vectors = np.full((len(products), 8), -1.0, np.float32)
            given = [NodeEmbeddings("Product", "student", products, vectors)]
            write_back(store, RUN, table, given, archive=self.base / "archive")

    def _copy(self, name: str) -> Path:
        place = self.folder / name
        shutil.copytree(self.base, place)
        return place

    def _at(self, place: Path) -> list[str]:
        return ["--store", f"ladybug:{place / 'store'}", "--archive", str(place / "archive")]

    def _command(self, *arguments: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "kgdistill", *map(str, arguments)]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)

    def _start(self, place: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kgdistill", "writeback", "--no-reasons"]
        command += ["--run", str(self.folder / RUN)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, *self._at(place)], **silent)  # type: ignore[call-overload, no-any-return]

    def _watched(self, place: Path) -> int:
        """Runs the command to its end; returns how often its files were seen to change."""
        process = self._start(place)
        seen, last = 0, _files(place)
        while process.poll() is None:
            now = _files(place)
            if now != last:
                seen, last = seen + 1, now
            time.sleep(_POLL_S)
        if process.returncode:
            raise SystemExit(f"the command failed: {process.returncode}")
        return seen

    def _read(self, place: Path) -> tuple[Any, Any]:
        """What the store and the archive hold of the run; the error where they cannot be read."""
        from kgdistill.errors import KgdistillError
        from kgdistill.ingest.archive import Archive
        from kgdistill.ingest.outputs import Outputs
        from kgdistill.store import open_store

        try:
            with open_store(f"ladybug:{place / 'store'}") as store:
                held: Any = _rows(
                    store.read_relationships(("User", "RECOMMENDED", "Product")),
                    store.read_nodes("Embedding"),
                )
        except KgdistillError as error:
            held = str(error)
        try:
            outputs = Outputs(Archive(place / "archive"))
            (record,) = outputs.records()
            tables = {file.type: outputs.table(record, file) for file in record.files}
            kept: Any = _rows(tables["User-RECOMMENDED-Product"], tables["Embedding"])
        except (KgdistillError, ValueError) as error:
            kept = str(error)
        return held, kept

    def _told(self, held: Any) -> str:
        if isinstance(held, str):
            return f"cannot be read: {held}"
        return {self.former[0]: "former", self.new[0]: "new"}.get(held, "mixed")


def _rows(edges: pa.Table, nodes: pa.Table) -> tuple[str, str]:
    from kgdistill.store.compare import mark

    return mark(edges).checksum, mark(nodes).checksum


def _files(place: Path) -> dict[str, tuple[int, int]]:
    """The files of the store and of the archive's outputs: which they are, and about how large."""
    found: dict[str, tuple[int, int]] = {}
    for folder in (place / "store", place / "archive" / "outputs"):
        try:
            entries = list(os.scandir(folder))
            for entry in entries:
                status = entry.stat()
                found[entry.name] = (status.st_ino, status.st_size // _GROWTH if entry.is_file() else 0)
        except FileNotFoundError:  # gone while we looked
            continue
    return found


def _shop(folder: Path, users: int, products: int) -> None:
    """Users who buy 12 products each, mostly of one of two brands."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)

    def write(name: str, columns: list[str], rows: list[list[str]]) -> None:
        with (folder / name).open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([columns, *rows])

    listed = [[f"p{i}", f"{('tea', 'mug', 'oats')[i % 3]} number {i}", f"b{i % 2}"] for i in range(products)]
    write("User.csv", ["user_id"], [[f"u{i}"] for i in range(users)])
    write("Product.csv", ["product_id", "title", "brand_text"], listed)
    write("Brand.csv", ["brand_id", "name"], [["b0", "Alpha"], ["b1", "Beta"]])
    write("MADE_BY.csv", ["source", "target"], [[p[0], p[2]] for p in listed])
    bought = []
    for user in range(users):
        odds = np.where(np.arange(products) % 2 == user % 2, 5.0, 1.0)
        for product in draw.choice(products, 12, replace=False, p=odds / odds.sum()):
            at = datetime(2024, 1, 1) + timedelta(minutes=int(draw.integers(0, 100_000)))
            bought.append([f"u{user}", f"p{product}", at.isoformat()])
    write("BOUGHT.csv", ["source", "target", "at"], bought)


def main() -> None:
    """Runs the kills."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(Path(scratch), options.users, options.products)
        kills = []
        for number in range(options.kills):
            kills.append(trial.kill(number, options.kills, dice))
            done = kills[-1]
            print(
                f"{number + 1:3}  store {done.store:8}  archive {done.archive:8}  {done.moment}", flush=True
            )
    counted = Counter((kill.store, kill.archive) for kill in kills)
    whole = sum(kill.whole for kill in kills)
    print(f"{whole} of {len(kills)} whole; " + "; ".join(f"{s}/{a}: {n}" for (s, a), n in counted.items()))
    result = {
        "kills": len(kills),
        "whole": whole,
        "finished_before": sum(kill.finished for kill in kills),
        "recommendations": options.users * 20,
        "moments_seen": trial.moments,
        "states": [{"store": s, "archive": a, "kills": n} for (s, a), n in sorted(counted.items())],
        "each": [vars(kill) for kill in kills],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kills.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
