"""Where the graph lives: the store protocol, its implementations and the schema."""

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
