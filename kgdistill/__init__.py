"""Distils a knowledge graph and a text model into a small student.

The names below are the public interface; they are imported when first used, so that `import kgdistill`
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.config import RunConfig
    from kgdistill.demo import run_demo
    from kgdistill.errors import KgdistillError
    from kgdistill.graph import Graph
    from kgdistill.run.run import Run
    from kgdistill.serve.bundle import Bundle
    from kgdistill.serve.joined import load
    from kgdistill.snapshot import Snapshot
    from kgdistill.store import GraphStore, Schema, load_schema, open_store
    from kgdistill.tasks.spec import load_task

__version__ = "0.1.0"

_WHERE = {
    "Bundle": ("serve.bundle", "Bundle"),
    "Graph": ("graph", "Graph"),
    "GraphStore": ("store", "GraphStore"),
    "KgdistillError": ("errors", "KgdistillError"),
    "Run": ("run.run", "Run"),
    "RunConfig": ("config", "RunConfig"),
    "Schema": ("store", "Schema"),
    "Snapshot": ("snapshot", "Snapshot"),
    "load": ("serve.joined", "load"),
    "load_schema": ("store", "load_schema"),
    "load_task": ("tasks.spec", "load_task"),
    "open_store": ("store", "open_store"),
    "run_demo": ("demo", "run_demo"),
}

__all__ = [
    "Bundle",
    "Graph",
    "GraphStore",
    "KgdistillError",
    "Run",
    "RunConfig",
    "Schema",
    "Snapshot",
    "__version__",
    "load",
    "load_schema",
    "load_task",
    "open_store",
    "run_demo",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kgdistill' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    try:
        return getattr(importlib.import_module(f"kgdistill.{module}"), attribute)
    except ModuleNotFoundError as error:
        from kgdistill.refusals import refusal

        found = refusal(error)
        if found is None:
            raise
        raise found from error


def __dir__() -> list[str]:
    return sorted(__all__)
