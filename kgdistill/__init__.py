"""Distils a knowledge graph and a text model into a small student.

The names below are the public interface; they are imported when first used, so that `import kgdistill`
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.bundle import Bundle, load_bundle
    from kgdistill.config import RunConfig, resolve_config
    from kgdistill.demo import run_demo
    from kgdistill.errors import KgdistillError
    from kgdistill.evaluate.protocol import (
        DiscoveryProtocol,
        complete_journey_protocol,
        quantile_protocol,
    )
    from kgdistill.evaluate.report import write_report
    from kgdistill.explore import explain, run_query, write_back
    from kgdistill.ingest.tables import ingest_tables, read_folder
    from kgdistill.pipeline import Run, train_all
    from kgdistill.snapshot import open_snapshot, take_snapshot
    from kgdistill.store import GraphStore, load_schema, open_store

_WHERE = {
    "Bundle": "bundle",
    "DiscoveryProtocol": "evaluate.protocol",
    "GraphStore": "store",
    "KgdistillError": "errors",
    "Run": "pipeline",
    "RunConfig": "config",
    "complete_journey_protocol": "evaluate.protocol",
    "explain": "explore",
    "ingest_tables": "ingest.tables",
    "load_bundle": "bundle",
    "load_schema": "store",
    "open_snapshot": "snapshot",
    "open_store": "store",
    "quantile_protocol": "evaluate.protocol",
    "read_folder": "ingest.tables",
    "resolve_config": "config",
    "run_demo": "demo",
    "run_query": "explore",
    "take_snapshot": "snapshot",
    "train_all": "pipeline",
    "write_back": "explore",
    "write_report": "evaluate.report",
}

__all__ = [
    "Bundle",
    "DiscoveryProtocol",
    "GraphStore",
    "KgdistillError",
    "Run",
    "RunConfig",
    "complete_journey_protocol",
    "explain",
    "ingest_tables",
    "load_bundle",
    "load_schema",
    "open_snapshot",
    "open_store",
    "quantile_protocol",
    "read_folder",
    "resolve_config",
    "run_demo",
    "run_query",
    "take_snapshot",
    "train_all",
    "write_back",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kgdistill' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kgdistill.{_WHERE[name]}"), name)
