"""docs/tutorial.ipynb, run cell by cell as a person would."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(PAGE, as_version=4)


def test_it_is_short_and_kept_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 8 <= len(code) <= 15
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert max(len(line) for cell in notebook.cells for line in cell.source.splitlines()) <= 150


def test_its_links_lead_somewhere(notebook: Any) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link


@pytest.fixture(scope="module")
def run(notebook: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each cell of code showed, by its id, from a folder inside the clone."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("jupyter")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("KGDISTILL_")},
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "IPYTHONDIR": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder),
        "TMPDIR": str(folder),
    }
    kernels = folder / "kernels" / "python3"
    kernels.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}), encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "docs")}}
        )
        client.execute(env=environment)
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def text_of(outputs: list[Any]) -> str:
    return "".join(
        output.get("text", "") if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in outputs
    )


def pictures(outputs: list[Any]) -> list[bytes]:
    return [base64.b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def test_every_cell_runs_and_says_what_the_text_promises(run: dict[str, list[Any]]) -> None:
    told = {name: text_of(outputs) for name, outputs in run.items()}
    every = "\n".join(told.values())
    assert "33 rows, 0 rejected" in every
    assert "again: 0 rows" in every
    assert re.search(r"ann\s+Green tea\s+Hillside\s+2", every)
    assert "商品.csv" in every
    assert re.search(r"\d{4,} rows, 0 rejected", every)
    errors = "".join(o["text"] for outputs in run.values() for o in outputs if o.get("name") == "stderr")
    assert "writing the graph: done" in errors
    assert "Warning" not in errors


def test_it_ends_in_pictures(run: dict[str, list[Any]]) -> None:
    drawn = [picture for outputs in run.values() for picture in pictures(outputs)]
    assert len(drawn) == 3
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 5_000 for picture in drawn)


def test_the_reasons_are_in_chinese(run: dict[str, list[Any]], notebook: Any) -> None:
    (cell,) = [cell.id for cell in notebook.cells if "path.because" in cell.source]
    lines = text_of(run[cell]).splitlines()
    assert lines
    assert any("买" in line for line in lines)
