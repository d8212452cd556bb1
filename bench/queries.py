"""What hostile queries cost: time, memory and bytes of answer, beside the limits asked for.

    python bench/queries.py ladybug:PATH --timeout 3
    python bench/queries.py bolt://127.0.0.1:7687 --timeout 3

The password is read from KGDISTILL_NEO4J_PASSWORD. Prints a line per statement. Beside the store's own query
process the memory of this one is shown: an answer passes through it. Where a statement ended the query
process, the next one's time has the start of another in it.
"""

from __future__ import annotations

import argparse
import threading
import time

import psutil
from _hostile import NEO4J_CHANGES, NEO4J_FETCHES, NEO4J_LARGE

from kgdistill.errors import KgdistillError
from kgdistill.store import GraphStore, open_store

_MIB = 2**20


class _Peak:
    """The most memory seen of this process and of those that it started, in bytes."""

    def __init__(self) -> None:
        self.own = self.started = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
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


def asked(store: GraphStore, cypher: str, timeout_s: float) -> str:
    """Seconds, peaks of memory, bytes of the answer and what was said."""
    begin = time.monotonic()
    size = 0
    with _Peak() as peak:
        try:
            size = store.query(cypher, limit=1000, timeout_s=timeout_s).nbytes
            said = "answered"
        except KgdistillError as error:
            said = error.message
    figures = f"{time.monotonic() - begin:6.1f} s {peak.started / _MIB:7,.0f} {peak.own / _MIB:6,.0f} MiB"
    return f"{figures} {size / _MIB:6.1f} MiB  {said[:90]}"


def main() -> None:
    """Asks the hostile statements of one store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", help="the address of a store")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds asked for")
    choices = parser.parse_args()
    with open_store(choices.store) as store:
        store.query("RETURN 1 AS one")
        print(f"{'statement':26} {'time':>8} {'process':>7} {'here':>6}     {'answer':>6}")
        for name, cypher in NEO4J_LARGE.items():
            print(f"{name:26} {asked(store, cypher, choices.timeout)}", flush=True)
        others = [
            cypher.replace("ADDRESS", "http://127.0.0.1:1/x") for cypher in NEO4J_FETCHES + NEO4J_CHANGES
        ]
        for cypher in others:
            print(f"{cypher[:26]!r:28} {asked(store, cypher, choices.timeout)}", flush=True)


if __name__ == "__main__":
    main()
