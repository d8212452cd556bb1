"""A suite's figures on disk: a document, the scores of every unit, a table and plots."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.suites.document import suite_document, suite_scores, suite_table
from bench.suites.plots import suite_plots
from bench.suites.result import SuiteResult
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
    plots = suite_plots(document)
    scores: pa.Table = suite_scores(result)
    base = f"models-{result.suite}"
    places = {
        "document": folder / f"{base}.json",
        "scores": folder / f"{base}.parquet",
        "table": folder / f"{base}.md",
        **{name: folder / f"{base}-{name}.svg" for name in plots},
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    table = suite_table(document) + "".join(f"\n![{name}]({places[name].name})\n" for name in plots)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        places["document"].write_text(text + "\n", encoding="utf-8")
        with places["scores"].open("wb") as file:
            pq.write_table(scores, file, compression="zstd", compression_level=12)
        places["table"].write_text(table, encoding="utf-8")
        for name, drawn in plots.items():
            places[name].write_text(drawn, encoding="utf-8")
    return places
