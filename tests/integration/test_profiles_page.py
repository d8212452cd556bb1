"""docs/profiles.md, followed word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")


def test_the_page_keeps_what_it_promises(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "kgdistill"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kgdistill "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    blocks = [
        block if kind == "sh" else f"{sys.executable} - <<'END'\n{block}END\n"
        for kind, block in re.findall(r"```(sh|python)\n(.*?)```", PAGE, flags=re.S)
    ]
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(f"{b}\necho '=== end of block'\n" for b in blocks)],
        cwd=tmp_path, env=left | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    told, written, aimed, python = done.stdout.split("=== end of block\n")[:-1]
    assert "macro-F1" in told or "macro_f1" in told
    assert re.search(r"kids: (some|none) \(0\.\d\d\); by ", told)
    assert "kids is sensitive: it is not written back" in written
    assert "refused, as it should be" in written
    assert "classes of kids" in written
    assert aimed.count("refused, as it should be") == 1
    assert "kids is sensitive: nobody is chosen by it, known or predicted" in aimed
    assert "kids is sensitive, and was allowed to choose" in aimed
    assert "expected of 5:" in aimed
    assert "kids_count is sensitive" in python
    assert "[{'left': 0}]" in python
