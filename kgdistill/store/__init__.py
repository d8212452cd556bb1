"""Where the graph lives: the store protocol, its implementations and the schema.

The names are imported when first used: a query process needs few of the modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.store._ladybug import LadybugStore, MemoryStore
    from kgdistill.store._open import open_store
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
    "LadybugStore": "_ladybug",
    "MemoryStore": "_ladybug",
    "Schema": "schema",
    "kept_schema": "schema",
    "load_schema": "schema",
    "open_store": "_open",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kgdistill.store' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kgdistill.store.{_WHERE[name]}"), name)
