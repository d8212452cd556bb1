"""Write-back, saved queries, explanations and pictures.

The names are imported when first used: asking the graph needs neither SciPy nor Matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgdistill.explore.counts import TypeCounts, count_types
    from kgdistill.explore.explanations import Explanation, PathLink, PathNode, explain, explain_many
    from kgdistill.explore.export import AnswerRows, file_format, print_rows, save_rows
    from kgdistill.explore.frozen_paths import explain_frozen
    from kgdistill.explore.graph_files import export_graph
    from kgdistill.explore.part import Selection
    from kgdistill.explore.picture import draw, subgraph
    from kgdistill.explore.queries import QueryParameter, SavedQuery, run_query, saved_queries, saved_query
    from kgdistill.explore.runs import list_runs, prune_runs
    from kgdistill.explore.writeback import NodeEmbeddings, WriteBackReport, write_back

_WHERE = {
    "AnswerRows": "export",
    "Explanation": "explanations",
    "NodeEmbeddings": "writeback",
    "PathLink": "explanations",
    "PathNode": "explanations",
    "QueryParameter": "queries",
    "SavedQuery": "queries",
    "Selection": "part",
    "TypeCounts": "counts",
    "WriteBackReport": "writeback",
    "count_types": "counts",
    "draw": "picture",
    "explain": "explanations",
    "explain_frozen": "frozen_paths",
    "explain_many": "explanations",
    "export_graph": "graph_files",
    "file_format": "export",
    "list_runs": "runs",
    "print_rows": "export",
    "prune_runs": "runs",
    "run_query": "queries",
    "save_rows": "export",
    "saved_queries": "queries",
    "saved_query": "queries",
    "subgraph": "picture",
    "write_back": "writeback",
}

__all__ = [
    "AnswerRows",
    "Explanation",
    "NodeEmbeddings",
    "PathLink",
    "PathNode",
    "QueryParameter",
    "SavedQuery",
    "Selection",
    "TypeCounts",
    "WriteBackReport",
    "count_types",
    "draw",
    "explain",
    "explain_frozen",
    "explain_many",
    "export_graph",
    "file_format",
    "list_runs",
    "print_rows",
    "prune_runs",
    "run_query",
    "save_rows",
    "saved_queries",
    "saved_query",
    "subgraph",
    "write_back",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kgdistill.explore' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kgdistill.explore.{_WHERE[name]}"), name)
