"""A part of a graph as files for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from kgdistill.errors import InputError
from kgdistill.explore.neo4j_csv import save_neo4j_csv
from kgdistill.explore.network import save_network
from kgdistill.explore.part import MOST, Selection, read_part
from kgdistill.ingest.model import type_name
from kgdistill.nearest import nearest
from kgdistill.store.protocol import GraphStore

GraphFormat = Literal["graphml", "gexf", "neo4j-csv"]
GRAPH_FORMATS: tuple[GraphFormat, ...] = get_args(GraphFormat)


@dataclass(frozen=True)
class ExportReport:
    """What was written: the files, how much of each type, and what is sensitive and was left out."""

    format: GraphFormat
    files: Sequence[Path]
    nodes: Mapping[str, int]
    relationships: Mapping[str, int]
    left_out: Sequence[str]


def graph_format(out: str | Path, given: str | None = None) -> GraphFormat:
    """The format that is given, or else that the file's name ends in; a name without an end is a folder's.

    Raises:
        InputError: it is none of `GRAPH_FORMATS`.
    """
    name = given if given is not None else Path(out).suffix.removeprefix(".").lower() or "neo4j-csv"
    for known in GRAPH_FORMATS:
        if name == known:
            return known
    hint = f"{nearest(name, GRAPH_FORMATS)}there are: {', '.join(GRAPH_FORMATS)}"
    raise InputError(f"{name[:60]!r} is no format of graphs", where=str(out), hint=hint)


def export_graph(
    store: GraphStore, out: str | Path, format: str | None = None, part: Selection | None = None
) -> ExportReport:
    """Writes a graph, or a part of it.

    Args:
        store: an open store.
        out: a file, in place of a former one; of neo4j-csv a new or empty folder.
        format: `graphml`, `gexf` or `neo4j-csv`; None: see `graph_format`.
        part: what of it; all where None. neo4j-csv has the vectors too and takes any number of rows; for the
            others more than `MOST` are refused, unless `part` allows them.

    Raises:
        InputError: as `read_part`, or an unknown format, or a folder that holds something.
        DiskError: it cannot be written.
        StoreError: from the store.
    """
    kind, part = graph_format(out, format), part or Selection()
    if kind == "neo4j-csv":
        found = read_part(store, replace(part, vectors=True))
        files = save_neo4j_csv(found, out)
    else:
        found = read_part(store, replace(part, most=part.most or MOST))
        files = [save_network(found, out, kind)]
    tables = found.tables
    nodes = {label: table.num_rows for label, table in tables.nodes.items() if table.num_rows}
    edges = {type_name(edge): table.num_rows for edge, table in tables.edges.items() if table.num_rows}
    return ExportReport(kind, files, nodes, edges, found.left_out)
