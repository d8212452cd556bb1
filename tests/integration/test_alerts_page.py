"""docs/alerts.md, followed word by word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kgdistill.cli import main
from kgdistill.tasks.alerts import Alerts

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
PRINTS = re.findall(r"prints\n\n```text\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """What each block writes to standard output, run one after the other as from a clone."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "data").symlink_to(ROOT / "data")
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("kgdistill", "python"):
        (folder / ".venv" / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    script = "".join(f"{block}\necho '=== end of block'\n" for block in BLOCKS)
    left = {k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=left, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return folder, done.stdout.split("=== end of block\n")[:-1]


def test_every_command_tells_what_the_page_says(followed: tuple[Path, list[str]]) -> None:
    folder, (tried, again, last) = followed
    assert [tried] == PRINTS
    assert "tea" in (folder / "alerts.html").read_text(encoding="utf-8")
    # The first of three tells in sentences, the second nothing, the third the same as JSON.
    sentences, told = again.splitlines()[:2], [json.loads(line) for line in again.splitlines()[2:]]
    assert sentences == tried.splitlines()[:2]
    assert [(a["topic"], a["kind"]) for a in told] == [("tea", "surge"), ("tea", "over")]
    written = [json.loads(line) for line in (folder / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == told
    assert "tea" in last


def test_the_mapping_makes_statements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the task learns from, as the page maps it."""
    monkeypatch.chdir(tmp_path)
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    (tmp_path / "statements.yaml").write_text(shown, encoding="utf-8")
    (tmp_path / "exports").mkdir()
    said = {"text": "too late", "sentiment": "negative", "topic": "tea", "split": "train"}
    rows = [{"id": f"r{i}", "at": f"2024-03-05T14:0{i}", **said} for i in range(4)]
    written = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "exports" / "s.jsonl").write_text(written, encoding="utf-8")
    store = ["--store", f"ladybug:{tmp_path / 'shop.db'}"]
    mapping, exports = str(tmp_path / "statements.yaml"), str(tmp_path / "exports")
    assert main(["ingest", "run", mapping, exports, *store]) == 0
    capsys.readouterr()
    names = "".join(f", s.{name} AS {name}" for name in ("at", *said))
    query = f"MATCH (s:Statement) RETURN s.statement_id AS id{names} ORDER BY id"
    assert main(["query", query, *store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{**row, "at": f"{row['at']}:00"} for row in rows]


def test_every_key_is_explained() -> None:
    for key in Alerts.model_fields:
        assert f"`{key}`" in PAGE, key
