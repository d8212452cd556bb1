"""docs/facts.md, followed word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")


def test_the_page_keeps_what_it_promises(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "kgdistill").symlink_to(Path(sys.executable).parent / "kgdistill")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(f"{b}\necho '=== end of block'\n" for b in blocks)],
        cwd=tmp_path, env=left, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    found, undone = done.stdout.split("=== end of block\n")[:2]
    said = {tuple(line.split()[:3]) for line in found.splitlines() if re.match(r"\s*t\d ", line)}
    for fact in (("t1", "colour", "black"), ("t1", "size", "1700ml"), ("t2", "size", "300ml"),
                 ("t3", "audience", "men"), ("t3", "colour", "blue"), ("t5", "colour", "red"),
                 ("t5", "size", "320mm")):  # fmt: skip
        assert fact in said
    assert {fact for fact in said if fact[0] == "t4"} == {("t4", "size", "500g")}
    assert re.search(r"brand\s+2\b", found)
    assert "0 written, " in undone
