"""A shop whose titles tell their department."""

from __future__ import annotations

from typing import Any

from _tables import write_rows

from kgdistill.store import GraphStore, load_schema

THINGS = {
    "paper": "office",
    "pen": "office",
    "chair": "home",
    "lamp": "home",
    "desk": "home",
    "folder": "office",
}
TASK: dict[str, Any] = {
    "kind": "classify",
    "name": "department",
    "title": "Department",
    "subjects": {"label": "Product", "by": "text"},
    "targets": {"department": {"relationship": "IN_CATEGORY"}},
    "protocol": {"split": "held_out", "share": 0.3, "validation_share": 0.2},
}


def fill_departments(store: GraphStore, of: dict[str, str] = THINGS) -> None:
    """Things whose titles tell their department, in a graph that says it of each."""
    schema = load_schema()
    store.apply_schema(schema)
    names = list(of)
    things = [names[i % len(names)] for i in range(120)]
    tables: dict[Any, list[dict[str, Any]]] = {
        "Product": [{"product_id": f"p{i:03}", "title": f"{t} number {i}"} for i, t in enumerate(things)],
        "Category": [{"category_id": c, "name": c, "path": c} for c in sorted(set(of.values()))],
        ("Product", "IN_CATEGORY", "Category"): [
            {"source": f"p{i:03}", "target": of[t]} for i, t in enumerate(things)
        ],
    }
    write_rows(store, schema, tables)
