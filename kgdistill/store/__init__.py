"""Where the graph lives: the store protocol, its implementations and the schema.

The names are imported when first used: a query process needs few of the modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.store.ladybug.store import LadybugStore, MemoryStore
    from kgdistill.store.open import open_store
    from kgdistill.store.protocol import EdgeType, GraphStore
    from kgdistill.store.schema import Schema, kept_schema, load_schema

__all__ = [
    "EdgeType",
    "GraphStore",
    "LadybugStore",
    "MemoryStore",
    "Schema",
    "kept_schema",
    "load_schema",
    "open_store",
]

_WHERE = {
    "EdgeType": "protocol",
    "GraphStore": "protocol",
    "LadybugStore": "ladybug.store",
    "MemoryStore": "ladybug.store",
    "Schema": "schema",
    "kept_schema": "schema",
    "load_schema": "schema",
    "open_store": "open",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kgdistill.store' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kgdistill.store.{_WHERE[name]}"), name)
