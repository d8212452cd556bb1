"""Where the graph's own files are, installed or in a checkout, and what is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path


def graph_dir() -> Path:
    """The folder with the schema, the saved queries and the local Neo4j set-up."""
    package = Path(__file__).resolve().parent
    installed = package / "_graph"
    return installed if installed.is_dir() else package.parent / "graph"


def cache_root() -> Path:
    """Where things are kept: under XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kgdistill"
