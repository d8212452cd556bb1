"""Write-back, saved queries, explanations and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgdistill.explore.explain import Explanation, PathLink, PathNode, explain, explain_frozen, explain_many
from kgdistill.explore.queries import QueryParameter, SavedQuery, run_query, saved_queries, saved_query
from kgdistill.explore.writeback import NodeEmbeddings, WriteBackReport, write_back

if TYPE_CHECKING:
    from kgdistill.explore.picture import draw, subgraph

__all__ = [
    "Explanation",
    "NodeEmbeddings",
    "PathLink",
    "PathNode",
    "QueryParameter",
    "SavedQuery",
    "WriteBackReport",
    "draw",
    "explain",
    "explain_frozen",
    "explain_many",
    "run_query",
    "saved_queries",
    "saved_query",
    "subgraph",
    "write_back",
]


def __getattr__(name: str) -> Any:
    # Only what draws needs matplotlib and networkx, which take a second to load.
    if name not in ("draw", "subgraph"):
        raise AttributeError(f"module 'kgdistill.explore' has no attribute {name!r}")
    from kgdistill.explore import picture

    return getattr(picture, name)
