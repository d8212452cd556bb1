"""Which targets are met follows from the figures that stand in bench/results."""

from __future__ import annotations

import sys

import pytest

from tests._load_script import ROOT, load_script


def test_the_table_of_targets_is_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])
    models = load_script("bench/models.py")
    held = (ROOT / "bench" / "results" / "models-targets.md").read_text("utf-8")
    assert held == "\n".join([*models.targets(), ""]), "python bench/models.py --targets"


def test_a_difference_that_is_not_shown_after_the_correction_meets_no_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])
    models = load_script("bench/models.py")
    target = models.Target("office", "student", "all", "ndcg@20", 0.0, than="blend", corrected=True)
    key = {"a": "student", "b": "blend", "setting": "all", "metric": "ndcg@20"}
    found = {**key, "difference": 0.02, "low": 0.01, "high": 0.03}
    rows = [models.row(target, {"comparisons": [found | {"p_holm": p}]}) for p in (0.04, 0.06)]
    assert [row.endswith("| yes |") for row in rows] == [True, False]
