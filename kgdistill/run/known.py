"""What a store knows of the subjects of a task that tells classes: what they did, and what they wrote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.moment import naive_utc
from kgdistill.serve.attributions import KnownSubject
from kgdistill.serve.bundle import Bundle
from kgdistill.store import GraphStore, Schema
from kgdistill.store.protocol import EdgeType
from kgdistill.tasks.histories import items_of, stored_purchases
from kgdistill.tasks.written import WrittenText

_ROWS, _TIMEOUT_S = 2_000_000, 120.0


def known_subjects(
    bundle: Bundle,
    store: GraphStore,
    schema: Schema,
    *,
    user: str | None = None,
    before: datetime | None = None,
) -> dict[str, KnownSubject]:
    """By the subject's key what its bundle reads of it; not its own text, and none of whom nothing is known.

    Args:
        bundle: of a task that tells classes.
        store: an open store.
        schema: its schema.
        user: that subject alone.
        before: only events before this time count; naive is UTC.

    Raises:
        StoreError: from the store.
    """
    subjects, part = bundle.task["subjects"], bundle.classifier
    assert part is not None
    done = [(subjects["label"], n.relationship, n.label) for n in part.nodes if n.history]
    declared = subjects.get("history") or []
    events = [declared] if isinstance(declared, str) else declared
    wrote = [
        e
        for e in schema.edges("event")
        if part.dim and e[0] == subjects["label"] and e[1] in events and schema.is_text(e[2])
    ]
    items: dict[str, dict[str, dict[str, None]]] = {}
    texts: dict[str, dict[str, list[WrittenText]]] = {}
    for edge in done:
        for who, mine in _each(store, edge, schema, user):
            keys = items.setdefault(who, {}).setdefault(edge[1], {})
            keys |= dict.fromkeys(items_of(mine, before=before))
    for edge in wrote:
        said: dict[str, str] | None = None
        for who, mine in _each(store, edge, schema, user):
            mine = mine.filter(pc.less(mine["at"], naive_utc(before or datetime.max)))
            said = _texts(store, edge[2], schema, mine, user) if said is None else said
            texts.setdefault(who, {}).setdefault(edge[1], []).extend(
                WrittenText(row["at"], row["product"], said.get(row["product"], ""))
                for row in mine.to_pylist()
            )
    return {
        who: KnownSubject({name: list(keys) for name, keys in items.get(who, {}).items()}, texts.get(who, {}))
        for who in {**items, **texts}
    }


def _each(
    store: GraphStore, edge: EdgeType, schema: Schema, user: str | None
) -> Iterator[tuple[str, pa.Table]]:
    """The events of each subject."""
    ordered = stored_purchases(store, edge, schema, user=user)
    if user is not None:
        yield user, ordered
        return
    ordered = ordered.sort_by("user")
    users = ordered["user"].to_pylist()
    starts = [i for i, who in enumerate(users) if not i or who != users[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(users)], strict=True):
        yield users[start], ordered.slice(start, end - start)


def _texts(
    store: GraphStore, label: str, schema: Schema, written: pa.Table, user: str | None
) -> dict[str, str]:
    """What stands on each text's node, of a user's alone or of all."""
    node = schema.node(label)
    if user is None:
        table = store.read_nodes(label, [node.name])
        return dict(zip(table[node.key].to_pylist(), table[node.name].to_pylist(), strict=True))
    values: dict[str, Any] = {"keys": written["product"].to_pylist()}
    table = store.query(
        f"UNWIND $keys AS k MATCH (q:`{label}`) WHERE q.`{node.key}` = k RETURN k, q.`{node.name}` AS text",
        values, limit=_ROWS, timeout_s=_TIMEOUT_S,
    )  # fmt: skip
    return dict(zip(table["k"].to_pylist(), table["text"].to_pylist(), strict=True))
