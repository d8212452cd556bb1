"""Nodes whose time is not known: nobody can tell whether they were there before a cut."""

from __future__ import annotations

from kgdistill.store.schema import NodeType


def undated(label: str, node: NodeType, missing: int, total: int) -> str:
    """How many nodes of a label have no time, in words, and what follows of it.

    Args:
        label: theirs.
        node: its declaration, which names a time.
        missing: how many have none.
        total: how many there are.
    """
    some = "all" if missing == total else f"{missing:,} of"
    return (
        f"{some} {total:,} {label}s have no {node.time}, so that nobody knows whether they were there before "
        "the cut: what is trained does without them and their relationships"
    )


def dating(label: str, node: NodeType) -> str:
    """What to do about it."""
    prop = node.properties[str(node.time)]
    what = f" ({prop.description})" if prop.description else ""
    return f"give each {label} its {node.time}{what} in the mapping and ingest again"
