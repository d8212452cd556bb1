"""What a person calls a node, a run or the like, as the key that a query compares."""

from __future__ import annotations

import difflib

from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.store.protocol import GraphStore

_MOST_SHOWN = 10
# Of distinct values that are looked through for the nearest one.
_MOST_VALUES = 1000


def key_of(store: GraphStore, label: str, given: str, *, where: str) -> str:
    """The key of the node of `label` that is called `given`.

    A key comes before a name, a name as it stands before one that differs in case.

    Args:
        store: an open store.
        label: a label of its schema.
        given: the node's key or name.
        where: for messages.

    Raises:
        InputError: no such node, with those near it; several of this name, with their keys; the store has
            no such label.
        StoreError: from the store.
    """
    node = store.schema.nodes.get(label)
    if node is None:
        raise InputError(f"asks for a {label}, and the store has none", where=where, hint=_fill(store))
    match = f"MATCH (n:`{label}`) WHERE"
    if store.query(f"{match} n.`{node.key}` = $given RETURN count(*) AS n", {"given": given})[0][0].as_py():
        return given
    answer = f"RETURN n.`{node.key}` AS id, n.`{node.name}` AS name ORDER BY id"
    if node.name != node.key:
        found = store.query(
            f"{match} toLower(n.`{node.name}`) = toLower($given) {answer} LIMIT {_MOST_SHOWN + 1}",
            {"given": given},
        ).to_pylist()
        same = [row for row in found if row["name"] == given] or found
        if len(same) == 1:
            return str(same[0]["id"])
        if same:
            ids = ", ".join(str(row["id"]) for row in same[:_MOST_SHOWN])
            more = ", …" if len(same) > _MOST_SHOWN else ""
            raise InputError(
                f"several {label} nodes are called {given[:60]!r}",
                where=where,
                hint=f"give an id: {ids}{more}",
            )
    hint = _near(store, label, given) or f"`MATCH (n:{label}) {answer} LIMIT 10` shows some"
    raise InputError(f"there is no {label} with the id or name {given[:60]!r}", where=where, hint=hint)


def value_of(store: GraphStore, kind: str, prop: str, given: str | None, *, where: str) -> str:
    """A value that stands in a property, such as the run of what was recommended.

    Args:
        store: an open store.
        kind: a relationship type or a label of its schema.
        prop: the property; a text.
        given: the value. None: the only one that there is.
        where: for messages.

    Raises:
        InputError: no such value, with those that there are; none was given and there are several, or none.
        StoreError: from the store.
    """
    schema = store.schema
    if kind not in schema.nodes and kind not in schema.relationships:
        raise InputError(f"asks for {kind}, and the store has none", where=where, hint=_fill(store))
    match = f"MATCH (n:`{kind}`)" if kind in schema.nodes else f"MATCH ()-[n:`{kind}`]->()"
    values = [
        str(row["value"])
        for row in store.query(
            f"{match} RETURN DISTINCT n.`{prop}` AS value ORDER BY value LIMIT {_MOST_VALUES}"
        ).to_pylist()
    ]
    if given in values:
        return str(given)
    if not values:
        raise InputError(f"the store holds no {kind}", where=where, hint=f"nothing has a {prop} to name yet")
    if given is None and len(values) == 1:
        return values[0]
    told = ", ".join(values[:_MOST_SHOWN]) + (", …" if len(values) > _MOST_SHOWN else "")
    if given is None:
        raise InputError(f"needs the {prop} of {kind}", where=where, hint=f"there are: {told}")
    raise InputError(
        f"there is no {kind} with the {prop} {given[:60]!r}",
        where=where,
        hint=f"{nearest(given, values)}there are: {told}",
    )


def _fill(store: GraphStore) -> str:
    return (
        "its schema has others: kgdistill schema" if store.schema.nodes else "nothing was ingested here yet"
    )


def _near(store: GraphStore, label: str, given: str) -> str:
    """Nodes whose name holds the text or is spelt like it, then those whose key is."""
    node = store.schema.nodes[label]
    table = store.read_nodes(label, [node.name] if node.name != node.key else [])
    keys: list[str] = table[node.key].to_pylist()
    names: dict[str, tuple[str, str]] = {}
    for key, name in zip(keys, table[node.name].to_pylist(), strict=True):
        if name is not None:
            names.setdefault(str(name).casefold(), (str(name), key))
    folded = given.casefold()
    close = [name for name in names if folded in name][:3]
    close += difflib.get_close_matches(folded, names, n=3, cutoff=0.6)
    told = [
        names[name][1] if node.name == node.key else f"{names[name][0]!r} ({names[name][1]})"
        for name in dict.fromkeys(close)
    ]
    if not told:
        told = difflib.get_close_matches(given, keys, n=3, cutoff=0.5)
    return f"near it are: {', '.join(told[:5])}" if told else ""
