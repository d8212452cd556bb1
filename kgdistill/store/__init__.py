"""Where the graph lives: the store protocol, its implementations and the schema."""

from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema, load_schema

__all__ = ["EdgeType", "GraphStore", "Schema", "load_schema"]
