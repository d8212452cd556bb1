"""A suite's figures on disk: a document, the scores of every unit, a table and plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.suites.document import suite_document, suite_scores, suite_table
from bench.suites.plots import suite_plots
from bench.suites.result import SuiteResult
from kgdistill.errors import InputError
from kgdistill.snapshot.files import disk_errors


def write_suite(result: SuiteResult, folder: Path) -> dict[str, Path]:
    """Writes models-SUITE.json, .parquet, .md and, as far as there are figures, plots as .svg.

    Args:
        result: what a suite handed back.
        folder: is made where it is missing; files of the same names are replaced.

    Returns:
        The paths by what they are: "document", "scores", "table", and each plot's name.

    Raises:
        InputError: the result does not fit together (`SuiteResult.check`).
        DiskError: the disk is full or refuses.
    """
    document = suite_document(result)
    scores: pa.Table = suite_scores(result)
    base = f"models-{result.suite}"
    places = {"document": folder / f"{base}.json", "scores": folder / f"{base}.parquet"}
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        places["document"].write_text(text + "\n", encoding="utf-8")
        with places["scores"].open("wb") as file:
            pq.write_table(scores, file, compression="zstd", compression_level=12)
    return places | _draw(document, folder)


def redraw_suite(suite: str, folder: Path) -> dict[str, Path]:
    """Writes table and plots again, from the document that stands in the folder; their paths.

    Raises:
        InputError: there is no document of that suite.
        DiskError: the disk is full or refuses.
    """
    place = folder / f"models-{suite}.json"
    if not place.is_file():
        raise InputError("there is no such file to draw from", where=str(place), hint="run the suite first")
    return _draw(json.loads(place.read_text(encoding="utf-8")), folder)


def _draw(document: dict[str, Any], folder: Path) -> dict[str, Path]:
    plots, base = suite_plots(document), f"models-{document['suite']}"
    places = {name: folder / f"{base}-{name}.svg" for name in plots}
    table = suite_table(document) + "".join(f"\n![{name}]({places[name].name})\n" for name in plots)
    with disk_errors(folder):
        (folder / f"{base}.md").write_text(table, encoding="utf-8")
        for name, drawn in plots.items():
            places[name].write_text(drawn, encoding="utf-8")
    return {"table": folder / f"{base}.md", **places}
