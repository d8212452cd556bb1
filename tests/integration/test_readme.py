"""The README's Python example, run as it stands, and the commands that it and the guide show."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kgdistill.cli.reference import commands

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "ingest.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_is_short(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    (tmp_path / "data").symlink_to(ROOT / "data")
    command = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "33 rows, 0 rejected" in done.stdout
    assert "bought Green tea" in done.stdout


@pytest.mark.parametrize(("text", "least"), [(README, 20), (GUIDE, 8)], ids=["README", "guide"])
def test_every_command_and_option_that_it_shows_exists(text: str, least: int) -> None:
    known = dict(commands())
    shown = [
        shlex.split(line.split("=$(")[-1])
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S)
        for line in block.replace("\\\n", " ").splitlines()
        if ".venv/bin/kgdistill" in line
    ]
    assert len(shown) >= least
    for words in shown:
        words = words[words.index(".venv/bin/kgdistill") + 1 :]
        words = words[: words.index("|")] if "|" in words else words
        name = "kgdistill"
        while words and f"{name} {words[0]}" in known:
            name = f"{name} {words.pop(0)}"
        assert not hasattr(known[name], "commands"), f"{name} {' '.join(words)}"
        options = {text for parameter in known[name].params for text in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, name
