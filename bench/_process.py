"""One measure in a process of its own: what it returns, and the most memory that it and its children held."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

THREADS = 2
_SAMPLE_S = 0.02


def measured(case: str, **arguments: Any) -> dict[str, Any]:
    """Runs `module:function` of this folder in a new Python; adds `peak_rss_gib`, `cpu_seconds` and `load`.

    Args:
        case: such as `_embedded:load_ours`; the function takes and returns what JSON can hold.
        arguments: the function's.
    """
    threads = {f"{name}_NUM_THREADS": str(THREADS) for name in ("OMP", "MKL", "OPENBLAS")}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        log = (Path(scratch) / "log.txt").open("w+", encoding="utf-8")
        child = psutil.Popen(
            [sys.executable, __file__, case, json.dumps(arguments), str(answer)],
            env={**os.environ, **threads},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        before, peak = _cpu(), 0
        while child.poll() is None:
            peak = max(peak, _resident(child))
            time.sleep(_SAMPLE_S)
        if child.returncode != 0:
            log.seek(0)
            raise SystemExit(f"{log.read()}\n{case} failed")
        log.close()
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return {
        **result,
        "peak_rss_gib": peak / 2**30,
        "cpu_seconds": _cpu() - before,
        "load": os.getloadavg()[0],
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: psutil.Process) -> int:
    """Resident bytes of a process and all below it; pages that they share count for each."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _main() -> None:
    import pyarrow as pa

    pa.set_cpu_count(THREADS)
    name, function = sys.argv[1].split(":")
    case = getattr(importlib.import_module(name), function)
    result = case(**json.loads(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _main()
