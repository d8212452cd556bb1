"""The page as its command serves it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def explored(url: str, *arguments: str) -> Iterator[str]:
    """Where `kgdistill explore` serves a store, as it says it; ended by Ctrl-C, which must be in order."""
    command = [sys.executable, "-m", "kgdistill", "explore", "--store", url, "--port", "0", *arguments]
    left = {k: v for k, v in os.environ.items() if k != "KGDISTILL_TOKEN"}
    with subprocess.Popen(command, cwd=ROOT, env=left, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            line = served.stderr.readline()
            assert line, said
            said += line
        found = re.search(r"open (http://\S+)\n", said)
        assert found, said
        yield found[1].removesuffix("/")
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
        assert "Traceback" not in served.stderr.read()
