"""Writes the categories of products, and what is in doubt about their paths."""

from __future__ import annotations

from typing import Any

from kgdistill.ingest.propose.as_value import as_key
from kgdistill.ingest.propose.guess import Guess
from kgdistill.ingest.propose.paths import (
    Several,
    any_sign,
    other_signs,
    parted,
    parted_otherwise,
    separator,
    several,
    without_root,
)
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.yaml_text import Pieces, flow


def write_categories(pieces: Pieces, product: Any) -> None:
    """The categories of a product by its key: names that are no path, or a tree."""
    found = pieces.found
    if found.apart is not None:
        names = as_key(found.categories[0], **parted(found.categories[0], found.apart))
        pieces.node("Category", names, {"name": names, "path": names})
        pieces.edge(("Product", "IN_CATEGORY", "Category"), product, names, {}, stub=False)
    elif found.categories and pieces.has("Category"):
        first = found.categories[0]
        mark, listed = separator(first), several(first)
        path: Any = {"columns": [c.name for c in found.categories], "list": True}
        if first.lists:
            path = first.name
        elif mark is not None:
            path = {"column": first.name, **parted(first, mark)}
        deep = first.lists or mark is not None or len(found.categories) > 1
        rooted = deep and ("Category", "PART_OF", "Department") in pieces.schema.edges()
        pieces.tree(path, product, "Department" if rooted else "", "" if listed is None else listed.between)


def category_text(found: Guess) -> Any:
    """The categories of a product as one text; None without any."""
    levels = found.categories
    if not levels:
        return None
    if found.apart is not None:
        return {"column": levels[0].name, **parted(levels[0], found.apart)}
    if len(levels) > 1:
        return {"columns": [c.name for c in levels], "separator": " > "}
    mark, listed = separator(levels[0]), several(levels[0])
    if listed is not None:
        how = without_root(listed) if listed.root else {}
        how |= {} if listed.mark == " > " else {any_sign([listed.mark.strip()], levels[0].values): " > "}
        how |= {r"\\" + listed.between: listed.between} if listed.escaped else {}
        return {"column": levels[0].name, "replace": how} if how else levels[0].name
    others = [] if mark is None else other_signs(levels[0], mark)
    if mark is None or (mark == " > " and not others):
        return levels[0].name
    signs = list(dict.fromkeys([mark.strip(), *others]))
    return {"column": levels[0].name, "replace": {any_sign(signs, levels[0].values): " > "}}


def path_doubts(column: ColumnProfile) -> list[str]:
    """Which values are parted by another sign than most paths, and what becomes of them."""
    mark = None if column.lists else separator(column)
    if mark is None:
        return []
    listed = several(column)
    if listed is not None:
        return _listed_doubts(column, listed)
    signs = other_signs(column, mark)
    doubts = []
    for sign, values in parted_otherwise(column, mark).items():
        told = f"{len(values):,} of {len(column.values):,} values, such as {values[0][:40]}, hold {sign} and"
        read = "; they are read as paths of the same tree"
        if sign not in signs:
            how = flow({any_sign([sign]): mark})
            read = f", and are one category each; as paths too: replace: {how}"
        doubts.append(f'{told} not "{mark}"{read}')
    return doubts


def _listed_doubts(column: ColumnProfile, listed: Several) -> list[str]:
    """What is made of values that hold several paths, and which of them may hold but one."""
    doubts = []
    told = f"of {len(column.values):,} values, such as"
    if some := listed.values:
        each = f'hold several paths with "{listed.between}" between; each counts, but for heads of others'
        doubts.append(f"{len(some):,} {told} {some[0][:40]}, {each}")
    if some := listed.unlike:
        cut = f'are cut at "{listed.between}" too, though no part of theirs begins as another path does'
        doubts.append(f"{len(some):,} {told} {some[0][:40]}, {cut}")
    if listed.root:
        doubts.append(f"all paths begin with {listed.root[:40]}, which is left out")
    return doubts
