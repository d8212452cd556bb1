"""A command that is refused says why in one message, and nothing else."""

from __future__ import annotations

import pytest

from kgdistill.cli import main


def refused(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing on the output, no traceback, and these words."""
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "Traceback" not in said.err
