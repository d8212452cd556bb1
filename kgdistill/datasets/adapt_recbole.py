"""RecBole's atomic files under one name per column, and the knowledge graph joined to the items."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from kgdistill.errors import InputError
from kgdistill.ingest.readers import Source, SourceOptions, column_names, find_sources, read_batches

_NAMES: dict[str, tuple[str, ...]] = {
    "title": ("title", "movie_title", "item_name", "product_name", "name", "book_title"),
    "description": ("description", "item_description"),
    "brand": ("brand", "manufacturer", "store"),
    "price": ("price",),
    "categories": ("categories", "category", "class", "genre", "genres", "category_name"),
    "age": ("age",),
}
_BRAND = re.compile(r"brand|manufactur|made_by", re.IGNORECASE)
_CATEGORY = re.compile(r"categor|genre|class|subject|belongs", re.IGNORECASE)
_FACTS = pa.schema([("item_id", pa.string()), ("kind", pa.string()), ("entity", pa.string())])


def recbole_sources(folder: Path | None) -> dict[str, pa.Table | Path]:
    """Items, users and facts as tables; interactions only where they have no rating, else they stay files.

    A fact is an item's category, or a triple of .kg whose head .link ties to an item and whose relation
    is about brands or categories.

    Raises:
        InputError: no folder is given, a file lacks its ids, or .kg has no .link.
    """
    if folder is None:
        raise InputError("needs the folder of the data", where="recbole")
    sources: dict[str, pa.Table | Path] = {}
    facts: list[tuple[str, str, str]] = []
    items = _find(folder, "item")
    if items:
        table, categories = _items(items)
        sources["items"] = table
        facts += [(item, "category", name) for item, name in categories]
    users = _find(folder, "user")
    if users:
        sources["users"] = pa.concat_tables([_read(s, ["user_id"], ["age"]) for s in users])
    interactions = _find(folder, "inter")
    if any("rating" not in column_names(source) for source in interactions):
        parts = [_read(s, ["user_id", "item_id", "timestamp"], ["rating"]) for s in interactions]
        sources["interactions"] = pa.concat_tables(parts)
    facts += _triples(folder)
    if facts:
        columns = list(zip(*dict.fromkeys(facts), strict=True))
        sources["facts"] = pa.table([pa.array(c, pa.string()) for c in columns], schema=_FACTS)
    return sources


def _find(folder: Path, suffix: str) -> list[Source]:
    options = SourceOptions(format="recbole")
    return find_sources(suffix, [f"*.{suffix}"], folder, options, optional=True)


def _read(source: Source, needed: list[str], wanted: list[str]) -> pa.Table:
    """The needed columns, and each wanted one under whichever of its names the file has; else null."""
    header = column_names(source)
    found = {want: next((n for n in _NAMES.get(want, (want,)) if n in header), None) for want in wanted}
    columns = [*needed, *dict.fromkeys(name for name in found.values() if name is not None)]
    table = pa.concat_tables([batch.table for batch in read_batches(source, columns)])
    nothing = pa.nulls(table.num_rows, pa.string())
    return pa.table(
        {
            **{name: table[name] for name in needed},
            **{want: nothing if name is None else table[name] for want, name in found.items()},
        }
    )


def _items(sources: list[Source]) -> tuple[pa.Table, list[tuple[str, str]]]:
    parts = [_read(s, ["item_id"], ["title", "description", "brand", "price", "categories"]) for s in sources]
    table = pa.concat_tables(parts)
    words: list[str | None] = []
    pairs: list[tuple[str, str]] = []
    for item, text in zip(table["item_id"].to_pylist(), table["categories"].to_pylist(), strict=True):
        names = _names(text)
        words.append(", ".join(names) or None)
        if item is not None:
            pairs += [(item, name) for name in names]
    text_column = pa.array(words, pa.string())
    return table.drop_columns(["categories"]).append_column("category_text", text_column), pairs


def _names(text: str | None) -> list[str]:
    """A token sequence: by commas (each name may be quoted), else by spaces, RecBole's own separator."""
    if text is None:
        return []
    quoted = re.findall(r"'((?:[^'\\]|\\.)*)'(?=\s*(?:,|\]|$))", text)
    parts = quoted or (text.strip("[]").split(",") if "," in text else text.split())
    return list(dict.fromkeys(name for part in parts if (name := part.strip(" '\""))))


def _triples(folder: Path) -> list[tuple[str, str, str]]:
    graphs, links = _find(folder, "kg"), _find(folder, "link")
    if not graphs:
        return []
    if not links:
        raise InputError("has a .kg file but no .link file to tie it to the items", where=str(folder))
    item_of: dict[str, str] = {}
    for source in links:
        for batch in read_batches(source, ["item_id", "entity_id"]):
            pairs = zip(batch.table["entity_id"].to_pylist(), batch.table["item_id"].to_pylist(), strict=True)
            item_of.update({entity: item for entity, item in pairs if entity and item})
    triples: list[tuple[str, str, str]] = []
    for source in graphs:
        for batch in read_batches(source, ["head_id", "relation_id", "tail_id"]):
            for head, relation, tail in zip(*(c.to_pylist() for c in batch.table.columns), strict=True):
                if head not in item_of or not relation or not tail:
                    continue
                if _BRAND.search(relation):
                    triples.append((item_of[head], "brand", tail))
                elif _CATEGORY.search(relation):
                    triples.append((item_of[head], "category", tail))
    return triples
