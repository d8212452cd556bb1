"""A look at the whole graph: statistics, and findings with what to do."""

from kgdistill.graphcheck.aliases import write_aliases
from kgdistill.graphcheck.inspect import inspect_graph
from kgdistill.graphcheck.model import (
    Distribution,
    EdgeStats,
    Finding,
    Gap,
    GraphStats,
    Hub,
    Inspection,
    NodeStats,
    TimeStats,
)
from kgdistill.graphcheck.page import page_html, write_page

__all__ = [
    "Distribution",
    "EdgeStats",
    "Finding",
    "Gap",
    "GraphStats",
    "Hub",
    "Inspection",
    "NodeStats",
    "TimeStats",
    "inspect_graph",
    "page_html",
    "write_aliases",
    "write_page",
]
