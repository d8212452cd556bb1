"""The README's program, run as it stands: once, and again where everything is there already."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kgdistill import Graph

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## The program\n")[1].split("\n## ")[0]
PROGRAM = re.findall(r"```python\n(.*?)```", SECTION, flags=re.S)
SHOWN = re.findall(r"```text\n(.*?)```", SECTION, flags=re.S)
HIT = re.compile(r"([1-5]) (\d{5}) ([A-Z0-9 ,]+) (-?\d+\.\d\d)")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """Where it ran, and the lines that it printed the first and the second time."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "data").symlink_to(ROOT / "data")
    (setup,) = re.findall(r"```sh\n(.*?)```", SECTION, flags=re.S)
    subprocess.run(["bash", "-euc", setup], cwd=folder, check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    said = []
    for _ in range(2):
        command = [sys.executable, "-W", "error", "-c", PROGRAM[0]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        said.append(done.stdout.rstrip().splitlines())
    return folder, said[0], said[1]


def test_it_is_one_program_and_short() -> None:
    assert (len(PROGRAM), len(SHOWN)) == (1, 1)
    assert len([line for line in PROGRAM[0].splitlines() if line]) == 11


def test_it_prints_a_table_and_five_products_each_with_a_reason(
    printed: tuple[Path, list[str], list[str]],
) -> None:
    _, first, _ = printed
    table, answers = first[:-10], first[-10:]
    assert any("NDCG@20" in line for line in table)
    for arm in ("popularity", "EASE", "fused teacher", "student", "student without distillation"):
        assert [line for line in table if re.match(rf" +{arm}  .*0\.\d+ \[", line)], arm
    for line, reason in zip(answers[::2], answers[1::2], strict=True):
        assert HIT.fullmatch(line), line
        assert re.match(r"bought |\d+ who bought |no path of the graph leads from what 12000 bought", reason)
    assert [line[0] for line in answers[::2]] == list("12345")


def test_what_the_readme_shows_is_what_it_prints(printed: tuple[Path, list[str], list[str]]) -> None:
    """But for figures, which depend on the machine's arithmetic."""
    shown = SHOWN[0].rstrip().splitlines()

    def form(lines: list[str]) -> list[str]:
        table = [re.sub(r"\s+", " ", re.sub(r"-?\d*\.\d+", "0", line)).strip() for line in lines[:-10]]
        answers = ["hit" if HIT.match(line) else "why" for line in lines[-10:]]
        return [line for line in table if line.strip(" ─")] + answers

    assert form(shown) == form(printed[1])


def test_the_second_time_nothing_is_read_or_trained_anew(printed: tuple[Path, list[str], list[str]]) -> None:
    folder, first, second = printed
    assert second == first
    with Graph(f"ladybug:{folder / 'shop.db'}") as graph:
        assert graph.ingest(folder / "orders.yaml", folder / "exports").state == "unchanged"
        told = graph.query("MATCH (:User)-[r:RECOMMENDED {run: 'mine'}]->(:Product) RETURN count(r) AS n")
        assert told["n"][0].as_py() > 100
        sold = graph.query(
            "MATCH (u:User)-[:RECOMMENDED]->(p:Product) MATCH (u)-[b:BOUGHT]->(p) RETURN count(b) AS n"
        )
        assert sold["n"][0].as_py() == 0


def test_what_the_page_on_serving_shows_runs_on_it(printed: tuple[Path, list[str], list[str]]) -> None:
    folder, _, _ = printed
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    # A bundle of several tasks needs runs that are not trained here.
    blocks = [b for b in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "runs/all" not in b]
    assert len(run("-c", "\n".join(blocks)).stdout.splitlines()) > 5
    shown = [line for part in re.findall(r"```sh\n(.*?)```", page, flags=re.S) for line in part.splitlines()]
    assert len(shown) >= 6
    for line in shown:
        done = run("-m", *shlex.split(line.replace(".venv/bin/", "")))
        assert done.stdout.strip() or "nothing is known to go with" in done.stderr, line


def commands(page: str) -> list[str]:
    """What a page shows for the shell, line by line."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.S)
    return [line for block in blocks for line in block.splitlines() if "kgdistill" in line]


def shell(folder: Path, lines: list[str]) -> str:
    program = folder / ".venv" / "bin" / "kgdistill"
    if not program.exists():
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kgdistill "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [left.get("PYTHONPATH")])])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=left | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_page_on_training_can_be_followed_with_what_it_left(
    printed: tuple[Path, list[str], list[str]],
) -> None:
    folder, _, _ = printed
    lines = [line for line in commands("training.md") if "runs/mine" in line or " task " in line]
    assert len(lines) >= 7
    said = shell(folder, lines)
    assert "runs/mine/report.html" in said
    assert "mine can be asked of this graph" in said
