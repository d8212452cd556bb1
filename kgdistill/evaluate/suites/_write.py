"""A suite's figures on disk: a document, the scores of every unit, a table and plots."""

from __future__ import annotations

from pathlib import Path

from kgdistill.evaluate.suites._result import SuiteResult


def write_suite(result: SuiteResult, folder: Path) -> dict[str, Path]:
    """Writes models-SUITE.json, .parquet, .md and the plots.

    Returns:
        The paths by what they are: "document", "scores", "table", and each plot's name.

    Raises:
        InputError: the result does not fit together (`SuiteResult.check`).
    """
    result.check()
    raise NotImplementedError
