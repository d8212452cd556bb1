"""Facts mined from titles, in the graph: MENTIONS with a confidence, beside what was told, never over it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kgdistill.derive.mining import LEAST, BrandNames, known_brands, mined
from kgdistill.errors import InputError, SchemaError, sensitive_error
from kgdistill.ingest.outputs import Outputs
from kgdistill.ingest.projection import MINED, derived_rows, kept_by
from kgdistill.progress import step
from kgdistill.store.protocol import EdgeType, GraphStore
from kgdistill.store.schema import Schema, load_schema

TO_BRAND: EdgeType = ("Product", "MENTIONS", "Brand")
TO_ATTRIBUTE: EdgeType = ("Product", "MENTIONS", "Attribute")
_MADE_BY: EdgeType = ("Product", "MADE_BY", "Brand")
_ENDS = ["source", "target"]
_BATCH = 2000


@dataclass(frozen=True)
class MinedReport:
    """What mining did.

    Attributes:
        facts: how many mined facts there are now, by kind.
        products: how many products have one.
        read: how many titles were read.
        written: how many facts are new or have another confidence than before.
        deleted: how many former ones are gone.
        seconds: the time it took.
        unknown_aliases: those of no brand of the graph, which were not read.
        archive: the folder of the archive that keeps them too; None: none does.
    """

    facts: dict[str, int]
    products: int
    read: int
    written: int
    deleted: int
    seconds: float
    unknown_aliases: list[str]
    archive: Path | None = None


def mined_tables(
    store: GraphStore, *, least: float = LEAST, aliases: Mapping[str, str] | None = None
) -> dict[str | EdgeType, pa.Table]:
    """What the titles of a store's products say.

    A brand is told only of a product without MADE_BY; how far a title that names a brand is to be trusted is
    counted on the products that have one.

    Args:
        store: with products, and brands if it has some.
        least: what has less confidence is left out.
        aliases: another way to write a brand → its name or key.

    Returns:
        `Attribute` (attribute_id, name, kind, origin), and both types of MENTIONS (source, target,
        confidence, origin), in order.
    """
    if not 0 <= least <= 1:
        raise InputError(f"the least confidence is {least}; it is from 0 to 1")
    products = store.read_nodes("Product", ["title"])
    titles = dict(zip(products.column(0).to_pylist(), products["title"].to_pylist(), strict=True))
    titles = {key: title for key, title in sorted(titles.items()) if title}
    made: dict[str, str] = {}
    if _MADE_BY in store.schema.edges():
        known = store.read_relationships(_MADE_BY, [])
        made = dict(zip(known["source"].to_pylist(), known["target"].to_pylist(), strict=True))
    brands = _brands(store, titles, made, aliases or {})
    values: dict[str, str] = {}
    edges: dict[EdgeType, list[tuple[str, str, float]]] = {TO_BRAND: [], TO_ATTRIBUTE: []}
    with step("reading titles", total=len(titles)) as progress:
        for n, (key, title) in enumerate(titles.items(), start=1):
            for fact in mined(title, brands):
                if fact.confidence < least or (fact.kind == "brand" and key in made):
                    continue
                target = fact.value if fact.kind == "brand" else f"{fact.kind}:{fact.value}"
                if fact.kind != "brand":
                    values[target] = fact.kind
                edges[TO_BRAND if fact.kind == "brand" else TO_ATTRIBUTE].append(
                    (key, target, fact.confidence)
                )
            if n % _BATCH == 0 or n == len(titles):
                progress.advance((n - 1) % _BATCH + 1)
    told = sorted(values.items())
    attributes = {
        "attribute_id": [key for key, _ in told],
        "name": [key.partition(":")[2] for key, _ in told],
        "kind": [kind for _, kind in told],
        "origin": [MINED] * len(told),
    }
    tables: dict[str | EdgeType, pa.Table] = {
        "Attribute": pa.table(attributes, schema=pa.schema([(name, pa.string()) for name in attributes]))
    }
    return tables | {edge: _edges(rows) for edge, rows in edges.items()}


def _brands(
    store: GraphStore, titles: Mapping[str, str], made: Mapping[str, str], aliases: Mapping[str, str]
) -> BrandNames:
    known = store.read_nodes("Brand", ["name"])
    keys = known.column(0).to_pylist()
    names = [name or key for name, key in zip(known["name"].to_pylist(), keys, strict=True)]
    brands = known_brands(names, keys, aliases)
    some = [key for key in titles if key in made]
    brands.learn([titles[key] for key in some], [made[key] for key in some])
    return brands


def _unknown(store: GraphStore, aliases: Mapping[str, str]) -> list[str]:
    brands = store.read_nodes("Brand", ["name"])
    known = {*brands.column(0).to_pylist(), *brands["name"].to_pylist()}
    return [alias for alias, name in aliases.items() if name not in known]


def _edges(rows: list[tuple[str, str, float]]) -> pa.Table:
    source, target, confidence = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "source": pa.array(source, pa.string()),
            "target": pa.array(target, pa.string()),
            "confidence": pa.array(confidence, pa.float64()),
            "origin": pa.array([MINED] * len(rows), pa.string()),
        }
    )


def derive_facts(
    store: GraphStore,
    *,
    least: float = LEAST,
    aliases: Mapping[str, str] | None = None,
    undo: bool = False,
    archive: str | Path | None = None,
    wait_s: float = 0.0,
) -> MinedReport:
    """Brings the store's mined facts to what its titles say. Again: the same graph.

    Only MENTIONS that were mined are written or deleted, and attributes that mining made; nothing that was
    ingested is touched.

    Args:
        store: where the products are.
        least, aliases: as for `mined_tables`.
        undo: take every mined fact out again.
        archive: the store's archive, which keeps the facts too, so that `kgdistill store rebuild` brings them
            back. None: the one that the store was filled from, if it is still there.
        wait_s: how long to wait for another writer.

    Raises:
        InputError: `least` is not from 0 to 1; titles are sensitive; `undo` with `aliases`.
        SchemaError: the store holds no products with a title, or an Attribute or MENTIONS of another kind.
        StoreError: from the store.
    """
    begin = time.monotonic()
    _prepare(store, undo, aliases)
    wanted = mined_tables(store, least=least, aliases=aliases)
    read = store.read_nodes("Product", ["title"])["title"]
    wanted = {key: table.slice(0, 0) if undo else _beside(store, key, table) for key, table in wanted.items()}
    kept = kept_by(store, archive)
    written = deleted = 0
    with contextlib.ExitStack() as stack:
        if kept is not None:
            stack.enter_context(Outputs(kept).keep("derived", "mined-facts", wanted, wait_s=wait_s))
        stack.enter_context(store.changes(wait_s=wait_s))
        store.write_nodes("Attribute", wanted["Attribute"])
        for edge in (TO_BRAND, TO_ATTRIBUTE):
            gone, changed = _difference(derived_rows(store, edge, ["confidence"]), wanted[edge])
            if gone.num_rows:
                store.delete_relationships(edge, gone)
            if changed.num_rows:
                store.write_relationships(edge, changed)
            written, deleted = written + changed.num_rows, deleted + gone.num_rows
        _drop_unused(store, wanted["Attribute"])
    kinds = Counter(key.partition(":")[0] for key in wanted[TO_ATTRIBUTE]["target"].to_pylist())
    kinds["brand"] = wanted[TO_BRAND].num_rows
    having = {key for edge in (TO_BRAND, TO_ATTRIBUTE) for key in wanted[edge]["source"].to_pylist()}
    return MinedReport(
        facts={kind: count for kind, count in sorted(kinds.items()) if count},
        products=len(having),
        read=len(read) - read.null_count,
        written=written,
        deleted=deleted,
        seconds=time.monotonic() - begin,
        unknown_aliases=_unknown(store, aliases or {}),
        archive=kept.folder if kept is not None else None,
    )


def _beside(store: GraphStore, key: str | EdgeType, table: pa.Table) -> pa.Table:
    """The rows that do not stand in the store as somebody else's."""
    ends = ["attribute_id"] if isinstance(key, str) else _ENDS
    held = (
        store.read_nodes(key, ["origin"])
        if isinstance(key, str)
        else store.read_relationships(key, ["origin"])
    )
    told = held.filter(pc.fill_null(pc.not_equal(held["origin"], MINED), True)).select(ends)
    return table.join(told, ends, join_type="left anti").sort_by([(name, "ascending") for name in ends])


def _prepare(store: GraphStore, undo: bool, aliases: Mapping[str, str] | None) -> None:
    """Refuses what cannot be mined; adds the types of mined facts where the store's schema lacks them."""
    held, own = store.schema, load_schema()
    if "Product" not in held.nodes:
        raise SchemaError("holds no label Product, whose titles are read", where=store.url)
    if undo and aliases is not None:
        raise InputError("undo takes every mined fact out, and reads no aliases", hint="give one of them")
    if not undo and "Product.title" in store.schema.sensitive:
        raise sensitive_error(
            ["Product.title"], store.url, "what it says would stand in facts that are not",
            "a schema without `sensitive` there lets titles be read",
        )  # fmt: skip
    if {TO_BRAND, TO_ATTRIBUTE} <= set(held.edges()):
        return
    labels = {"Product", "Brand", "Attribute"}
    nodes = {label: held.nodes.get(label, own.nodes[label]) for label in labels}
    edges = own.restricted(labels, {"MENTIONS"}).relationships
    store.apply_schema(held.joined(Schema(version=1, nodes=nodes, relationships=edges)))


def _difference(held: pa.Table, wanted: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The ends of mined facts that are not wanted, and the wanted ones that are not stored so."""
    gone = held.select(_ENDS).join(wanted.select(_ENDS), _ENDS, join_type="left anti")
    both = wanted.join(held, _ENDS, right_suffix="_held", join_type="left outer")
    same = pc.fill_null(pc.equal(both["confidence"], both["confidence_held"]), False)
    return gone, both.filter(pc.invert(same)).select(wanted.column_names)


def _drop_unused(store: GraphStore, wanted: pa.Table) -> None:
    """Deletes attributes that mining made and that nothing mentions any more."""
    held = store.read_nodes("Attribute", ["origin"])
    mine = held.filter(pc.fill_null(pc.equal(held["origin"], MINED), False)).column(0)
    gone = mine.filter(pc.invert(pc.is_in(mine, value_set=wanted["attribute_id"].combine_chunks())))
    used = store.read_relationships(TO_ATTRIBUTE, [])["target"].combine_chunks()
    gone = gone.filter(pc.invert(pc.is_in(gone, value_set=used)))
    if len(gone):
        store.delete_nodes("Attribute", gone)
