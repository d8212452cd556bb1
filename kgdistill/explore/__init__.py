"""Write-back, saved queries, explanations and pictures."""

from kgdistill.explore._queries import QueryParameter, SavedQuery, run_query, saved_queries, saved_query
from kgdistill.explore.explain import Explanation, PathLink, PathNode, explain, explain_frozen, explain_many
from kgdistill.explore.picture import draw, subgraph
from kgdistill.explore.writeback import NodeEmbeddings, WriteBackReport, write_back

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
