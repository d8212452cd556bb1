"""Where the graph's own files are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path


def graph_dir() -> Path:
    """The folder with the schema, the saved queries and the local Neo4j set-up."""
    package = Path(__file__).resolve().parent
    installed = package / "_graph"
    return installed if installed.is_dir() else package.parent / "graph"
