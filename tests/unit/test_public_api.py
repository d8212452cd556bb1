"""The curated names at the top of the package."""

from __future__ import annotations

import subprocess
import sys

import kgdistill


def test_every_public_name_is_there() -> None:
    assert sorted(kgdistill.__all__) == sorted(kgdistill._WHERE)
    for name in kgdistill.__all__:
        assert getattr(kgdistill, name).__name__ == name


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, kgdistill; print([m for m in ('torch', 'pandas', 'pyarrow') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
