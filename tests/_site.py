"""The documentation as a site, built as CI builds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def built_site(folder: Path) -> Path:
    """The site in `folder`, built strictly: a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    # Made quiet it would not count its warnings, and so end well with them.
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
