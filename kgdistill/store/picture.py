"""A picture of the graph's schema for the documentation."""

from __future__ import annotations

from kgdistill.store.schema import Kind, Schema

# Events, the bulk of a graph, are thick; what is computed or written back is dotted.
_ARROWS: dict[Kind, str] = {
    "fact": "-->",
    "event": "==>",
    "derived": "-.->",
    "output": "-.->",
    "judgement": "-->",
}


def mermaid(schema: Schema) -> str:
    """The schema as a Mermaid flowchart: facts thin, events thick, derived and written-back dotted."""
    lines = ["flowchart LR"]
    lines += [f"    {label}([{label}])" for label in schema.nodes]
    for name, rel in schema.relationships.items():
        lines += [f"    {a} {_ARROWS[rel.kind]}|{name}| {b}" for a, b in rel.endpoints]
    return "\n".join(lines) + "\n"
