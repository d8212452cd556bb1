"""The README and the guides: their size, their links, the Python they show, and their commands."""

from __future__ import annotations

import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kgdistill.cli.reference import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")),
        *(
            page
            for place in ("docs", "graph", "data", "data/*")
            for page in sorted(ROOT.glob(f"{place}/*.md"))
        ),
    ]
}
# By page: at least so many commands; a page that shows fewer has lost its examples.
COMMANDS = {
    "docs/own-data.md": 15,
    "docs/ingest.md": 8,
    "docs/neo4j.md": 8,
    "docs/exploring.md": 11,
    "docs/page.md": 4,
    "docs/targeting.md": 11,
}


def test_the_readme_is_short_and_says_what_it_must() -> None:
    text = PAGES["README.md"]
    assert len(text.splitlines()) <= 150
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 150
    for part in (
        "make demo",
        "make test",
        "docs/answer.png",
        "## The program",
        "## Tasks",
        "## What it reaches",
    ):
        assert part in text


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        assert place.exists(), f"{page}: {target}"
        assert place.resolve().is_relative_to(ROOT), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), flags=re.M)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{page}: {target}"


def test_the_python_example_runs_and_is_short(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGES["docs/exploring.md"], flags=re.S)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    (tmp_path / "data").symlink_to(ROOT / "data")
    command = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "33 rows, 0 rejected" in done.stdout
    assert "bought Green tea" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_shows_exists(page: str) -> None:
    text = PAGES[page]
    known = dict(commands())
    shown = [
        shlex.split(line.split("=$(")[-1])
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S)
        for line in block.replace("\\\n", " ").splitlines()
        if ".venv/bin/kgdistill" in line
    ]
    assert len(shown) >= COMMANDS.get(page, 0)
    for words in shown:
        words = words[words.index(".venv/bin/kgdistill") + 1 :]
        words = words[: words.index("|")] if "|" in words else words
        name = "kgdistill"
        while words and f"{name} {words[0]}" in known:
            name = f"{name} {words.pop(0)}"
        name = f"{name} {known[name].default}" if hasattr(known[name], "default") else name
        assert not hasattr(known[name], "commands"), f"{name} {' '.join(words)}"
        options = {text for parameter in known[name].params for text in parameter.opts}
        assert {word for word in words if word.startswith("-") and word != "-"} <= options, name


def test_what_the_command_line_can_do_python_can() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| (.+) \|$", PAGES["docs/python.md"], flags=re.M)
    told = [command for cell, _ in rows for command in re.findall(r"`([^`]+)`", cell)]
    there = [
        name.removeprefix("kgdistill ")
        for name, command in commands()
        if not hasattr(command, "commands") and name != "kgdistill"
    ]
    assert sorted(told) == sorted(there)
    for cell, calls in rows:
        names = re.findall(r"`(kgdistill[\w.]+)`", calls)
        assert names, cell
        for name in names:
            assert pkgutil.resolve_name(name) is not None, name
