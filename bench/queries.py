"""What hostile queries cost: time, memory and bytes of answer, beside the limits asked for.

    python bench/queries.py                          on the sample shop in an embedded store
    python bench/queries.py ladybug:PATH --timeout 3
    python bench/queries.py bolt://127.0.0.1:7687 --timeout 3

The password is read from KGDISTILL_NEO4J_PASSWORD. Prints a line per statement, writes
bench/results/queries.json and ends with 1 where a fence fell. Beside the store's own query
process the memory of this one is shown: an answer passes through it. Where a statement ended the query
process, the next one's time has the start of another in it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from _hostile import (
    LADYBUG_CHANGES,
    LADYBUG_FILES,
    LADYBUG_LARGE,
    LARGE_FOR_BOTH,
    NEO4J_CHANGES,
    NEO4J_FETCHES,
    NEO4J_LARGE,
    REFUSED_BY_BOTH,
    texts_for,
)

from kgdistill.errors import KgdistillError
from kgdistill.ingest.folder import folder_mapping
from kgdistill.ingest.job import run_job
from kgdistill.store import GraphStore, load_schema, open_store

_MIB = 2**20
_SECRET = "hunter2"
# Over the timeout: the start of another process where one was ended, on a busy machine.
_PATIENCE_S = 2.0
HERE = Path(__file__).parent
RESULTS = HERE / "results" / "queries.json"


class Peak:
    """The most memory seen of this process and of those that it started, in bytes."""

    def __init__(self) -> None:
        self.own = self.started = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.02):
            self.own = max(self.own, me.memory_info().rss)
            for child in me.children():
                try:
                    self.started = max(self.started, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


def asked(store: GraphStore, cypher: str, timeout_s: float) -> dict[str, Any]:
    """What a statement took, in seconds and MiB, and what was said."""
    begin = time.monotonic()
    size = 0
    text = ""
    with Peak() as peak:
        try:
            answer = store.query(cypher, limit=1000, timeout_s=timeout_s)
            size, said = answer.nbytes, "answered"
            text = str(answer.slice(0, 5).to_pylist())[:1000] if size < _MIB else ""
        except KgdistillError as error:
            said = error.message
    return {
        "seconds": round(time.monotonic() - begin, 2),
        "process_mib": round(peak.started / _MIB),
        "client_mib": round(peak.own / _MIB),
        "answer_mib": round(size / _MIB, 1),
        "said": said[:200],
        "leaked": _SECRET in said + text,
    }


def fallen(entry: dict[str, Any], kind: str, timeout_s: float) -> str:
    """Which fence did not hold; empty where all did."""
    if entry["leaked"]:
        return "contents of a file"
    if kind != "large" and entry["said"] == "answered":
        return "was run"
    if entry["seconds"] > timeout_s + _PATIENCE_S:
        return "time"
    if entry["process_mib"] > 2048:
        return "memory"
    return "bytes of the answer" if entry["answer_mib"] > 257 else ""


def statements(store: str, secret: Path) -> list[tuple[str, str, str]]:
    """Name, kind and text of what is asked of this kind of store."""
    if store.startswith("ladybug:"):
        large, others = LADYBUG_LARGE, LADYBUG_FILES + LADYBUG_CHANGES
    else:
        large, others = NEO4J_LARGE, NEO4J_FETCHES + NEO4J_CHANGES
    kind = "ladybug" if store.startswith("ladybug:") else "neo4j"
    large = large | texts_for(kind, LARGE_FOR_BOTH)
    others = others + list(texts_for(kind, REFUSED_BY_BOTH).values())
    filled = [text.replace("ADDRESS", "http://127.0.0.1:1/x").replace("FILE", str(secret)) for text in others]
    return [(name, "large", text) for name, text in large.items()] + [
        (name, "refused", text) for name, text in zip(others, filled, strict=True)
    ]


def sample(folder: str) -> str:
    """The address of an embedded store with the sample shop."""
    url, shop, schema = f"ladybug:{folder}/store", HERE.parent / "data" / "sample_shop", load_schema()
    with open_store(url) as store:
        store.apply_schema(schema)
        run_job(store, folder_mapping(shop, schema), shop, archive=f"{folder}/archive", schema=schema)
    return url


def main() -> int:
    """Asks the hostile statements of one store; 1 where a fence fell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", nargs="?", help="the address of a store; left out: the sample shop")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds asked for")
    choices = parser.parse_args()
    entries = []
    with tempfile.TemporaryDirectory() as folder, open_store(choices.store or sample(folder)) as store:
        kind = "ladybug" if store.url.startswith("ladybug:") else "neo4j"
        secret = Path(folder) / "secret.csv"
        secret.write_text(f"{_SECRET}\n{_SECRET}\n", encoding="utf-8")
        store.query("RETURN 1 AS one")
        print(f"{'statement':32} {'time':>8} {'process':>7} {'here':>6}     {'answer':>6}")
        for name, sort, cypher in statements(store.url, secret):
            entry = asked(store, cypher, choices.timeout)
            entry["fallen"] = fallen(entry, sort, choices.timeout)
            entries.append({"statement": name, "kind": sort, "timeout_s": choices.timeout, **entry})
            figures = f"{entry['seconds']:6.1f} s {entry['process_mib']:7,} {entry['client_mib']:6,} MiB"
            told = entry["fallen"].upper() or entry["said"][:70].replace("\n", " ")
            print(f"{name[:32]!r:34} {figures} {entry['answer_mib']:6.1f} MiB  {told}", flush=True)
    whole = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**whole, kind: entries}, indent=1) + "\n", encoding="utf-8")
    fell = sum(bool(entry["fallen"]) for entry in entries)
    print(f"{len(entries)} statements, {fell} fences fell")
    return 1 if fell else 0


if __name__ == "__main__":
    sys.exit(main())
