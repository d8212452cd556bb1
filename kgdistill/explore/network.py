"""A part of a graph as a NetworkX graph, and as a file of GraphML or GEXF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgdistill.explore.part import GraphPart
from kgdistill.progress import step
from kgdistill.whole_file import whole_file

if TYPE_CHECKING:
    import networkx as nx

_ROWS = 10_000
# What XML cannot hold, however it is written.
_NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def to_networkx(part: GraphPart) -> nx.MultiDiGraph[Any]:
    """The nodes and relationships of a part.

    A node is the pair of its label and key and has the attributes `node_label`, `node_key`, `node_name` (what
    a person reads) and its properties; a relationship has as its key its type, or the type and what tells it
    from others between the same nodes, and the attributes `relationship` and its properties. A property
    without a value is no attribute.
    """
    import networkx as nx

    graph: nx.MultiDiGraph[Any] = nx.MultiDiGraph()
    tables, schema = part.tables, part.schema
    total = sum(table.num_rows for table in (*tables.nodes.values(), *tables.edges.values()))
    with step("making the graph", total=total) as work:
        for label, table in tables.nodes.items():
            node = schema.nodes[label]
            for row in _rows(table, work.advance):
                key = row[node.key]
                name = row.get(node.name) or key
                told = {"node_label": label, "node_key": key, "node_name": name}
                graph.add_nodes_from([((label, key), row | told)])
        for edge, table in tables.edges.items():
            source, kind, target = edge
            identity = schema.relationship(edge).identity
            for row in _rows(table, work.advance):
                start, end = (source, row.pop("source")), (target, row.pop("target"))
                key = (kind, *(row[name] for name in identity)) if identity else kind
                graph.add_edge(start, end, key)
                graph.edges[start, end, key].update(row | {"relationship": kind})
    return graph


def _rows(table: Any, advance: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(_ROWS):
        for row in batch.to_pylist():
            yield {name: value for name, value in row.items() if value is not None}
        advance(batch.num_rows)


def save_network(part: GraphPart, file: str | Path, format: Literal["graphml", "gexf"]) -> Path:
    """Writes a part as GraphML (yEd, Cytoscape, igraph, Gephi, …) or GEXF (Gephi), in place of a former file.

    Nodes have ids such as `Product:1095275`; the attribute `label`, which these programs show, is the name of
    a node and the type of a relationship. Times are ISO text in UTC; a character that XML cannot hold is
    written as U+FFFD.

    Raises:
        DiskError: it cannot be written; a former file stays.
    """
    import networkx as nx

    whole = to_networkx(part)
    graph: nx.MultiDiGraph[Any] = nx.MultiDiGraph()
    for (label, key), data in whole.nodes(data=True):
        graph.add_nodes_from([(_xml(f"{label}:{key}"), _attributes(data | {"label": data["node_name"]}))])
    for number, (source, target, data) in enumerate(whole.edges(data=True)):
        start, end = (_xml(":".join(node)) for node in (source, target))
        graph.add_edge(start, end, str(number))
        graph.edges[start, end, str(number)].update(_attributes(data | {"label": data["relationship"]}))
    write = nx.write_graphml_xml if format == "graphml" else nx.write_gexf
    file = Path(file)
    with whole_file(file) as partial, step("writing the file"), partial.open("wb") as out:
        write(graph, out)
    return file


def _attributes(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _attribute(value) for name, value in values.items()}


def _attribute(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, list):
        return " ".join(f"{number:.9g}" for number in value)
    return _xml(value) if isinstance(value, str) else value


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
