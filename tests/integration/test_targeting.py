"""docs/targeting.md, followed word by word, and the sample that it reads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _load_script import load_script

from kgdistill.store import load_schema
from kgdistill.tasks.check import check_task
from kgdistill.tasks.spec import parse_task

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "targeting.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "data" / "sample_campaigns"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """What each block of the page says, one after the other in one shell as from a clone."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "data").symlink_to(ROOT / "data")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "kgdistill").symlink_to(Path(sys.executable).parent / "kgdistill")
    blocks = []
    for kind, block in re.findall(r"```(sh|python)\n(.*?)```", PAGE, flags=re.S):
        blocks.append(block if kind == "sh" else f"{sys.executable} - <<'END'\n{block}END\n")
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(f"{b}\necho '=== end of block'\n" for b in blocks)],
        cwd=folder, env=left | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return folder, done.stdout.split("=== end of block\n")[:-1]


def test_the_page_keeps_what_it_promises(followed: tuple[Path, list[str]]) -> None:
    folder, (trained, asked, _, from_python, written) = followed
    assert "AUC within" in trained
    assert "expected of 10:" in asked
    assert "nearest to its text" in asked
    assert asked.count("BOUGHT") > 5
    both = json.loads((folder / "both.json").read_text())
    ids = [member["id"] for answer in both for member in answer["members"]]
    assert len(ids) == len(set(ids)) == 40
    assert "u004" not in ids
    assert "path" not in from_python
    assert "Interval(mean=" in from_python
    assert "recommendations" in written
    assert "120" in written
    mode = (folder / "runs" / "target" / "bundle" / "config.json").stat().st_mode
    assert mode & 0o077 == 0


def test_the_declaration_of_ones_own_is_valid() -> None:
    (declared,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    check_task(parse_task(declared, name="clicks"), load_schema())


def test_the_sample_is_what_its_script_makes(tmp_path: Path) -> None:
    load_script(SAMPLE / "make.py").main(tmp_path)
    for file in SAMPLE.glob("*.csv"):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
