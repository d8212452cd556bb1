"""The write-back command, killed: what it wrote before is there, or what it writes now, and never a part."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests._load_script import load_script

KILLS = 5


def test_a_killed_write_back_leaves_all_of_the_former_output_or_all_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KGDISTILL_STORE", "KGDISTILL_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    trial = load_script("bench/kills.py").Trial(tmp_path, users=30, products=60)
    assert trial.moments > KILLS
    dice = random.Random(1)
    kills = [trial.kill(number, KILLS, dice) for number in range(KILLS)]
    assert [kill for kill in kills if not kill.whole] == []
    # Some came in the middle of the work on the copy.
    assert sum("next.lbug" in kill.moment for kill in kills) >= 2
