"""Distils a knowledge graph and a text model into a small student.

The names below are the public interface; they are imported when first used, so that `import kgdistill`
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.config import RunConfig, resolve_config
    from kgdistill.datasets.complete_journey import complete_journey_protocol
    from kgdistill.demo import run_demo
    from kgdistill.errors import KgdistillError
    from kgdistill.explore import explain, run_query, write_back
    from kgdistill.ingest.archive import Archive
    from kgdistill.ingest.folder import folder_mapping
    from kgdistill.ingest.job import graph_tables, resume, run_job
    from kgdistill.ingest.mapping.load import load_mapping
    from kgdistill.run.report import write_report
    from kgdistill.run.run import Run, train_all
    from kgdistill.serve.bundle import Bundle, load_bundle
    from kgdistill.snapshot import open_snapshot, take_snapshot
    from kgdistill.store import GraphStore, load_schema, open_store
    from kgdistill.tasks.protocol import DiscoveryProtocol, quantile_protocol

_WHERE = {
    "Archive": "ingest.archive",
    "Bundle": "serve.bundle",
    "DiscoveryProtocol": "tasks.protocol",
    "GraphStore": "store",
    "KgdistillError": "errors",
    "Run": "run.run",
    "RunConfig": "config",
    "complete_journey_protocol": "datasets.complete_journey",
    "explain": "explore",
    "folder_mapping": "ingest.folder",
    "graph_tables": "ingest.job",
    "ingest_tables": "ingest.tables",
    "load_bundle": "serve.bundle",
    "load_mapping": "ingest.mapping.load",
    "load_schema": "store",
    "open_snapshot": "snapshot",
    "open_store": "store",
    "quantile_protocol": "tasks.protocol",
    "resolve_config": "config",
    "resume": "ingest.job",
    "run_demo": "demo",
    "run_job": "ingest.job",
    "run_query": "explore",
    "take_snapshot": "snapshot",
    "train_all": "run.run",
    "write_back": "explore",
    "write_report": "run.report",
}

__all__ = [
    "Archive",
    "Bundle",
    "DiscoveryProtocol",
    "GraphStore",
    "KgdistillError",
    "Run",
    "RunConfig",
    "complete_journey_protocol",
    "explain",
    "folder_mapping",
    "graph_tables",
    "ingest_tables",
    "load_bundle",
    "load_mapping",
    "load_schema",
    "open_snapshot",
    "open_store",
    "quantile_protocol",
    "resolve_config",
    "resume",
    "run_demo",
    "run_job",
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
