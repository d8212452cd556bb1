"""A page of the documentation, followed word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def followed(page: str, folder: Path, *beside: str) -> list[str]:
    """What each block of a page says, in a folder that holds these of the clone."""
    for name in beside:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    program = folder / ".venv" / "bin" / "kgdistill"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kgdistill "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = [
        block if kind == "sh" else f"{sys.executable} - <<'END'\n{block}END\n"
        for kind, block in re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.S)
    ]
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(f"{b}\necho '=== end of block'\n" for b in blocks)],
        cwd=folder, env=left | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout.split("=== end of block\n")[:-1]
