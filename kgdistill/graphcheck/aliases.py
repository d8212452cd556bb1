"""A draft of the file by which ingestion makes one node of brands that are written in several ways."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from kgdistill.errors import DiskError, InputError
from kgdistill.graphcheck.brands import alike
from kgdistill.graphcheck.facts import GraphFacts
from kgdistill.words import plain


def brand_aliases(facts: GraphFacts) -> list[tuple[str, str]]:
    """Of brands that look the same the keys, each with that of the one with most products, as it is shown."""
    brand = facts.roles.brand
    if brand is None or not len(facts.keys[brand]):
        return []
    keys = facts.keys[brand].to_pylist()
    pairs = []
    for group in alike([facts.name(brand, place) or keys[place] for place in range(len(keys))]):
        # The first of those with as many.
        best = max(group, key=lambda place: (int(facts.made[place]), -place))
        shown = facts.name(brand, best) or keys[best]
        # The key of a brand that is called by it may have lost its capitals; aliases do not tell them apart.
        name = shown if _spelled(shown) == _spelled(keys[best]) else keys[best]
        pairs += [(keys[place], name) for place in group if place != best]
    return pairs


def _spelled(name: str) -> str:
    return " ".join(plain(name).split())


def write_aliases(pairs: list[tuple[str, str]], file: Path) -> Path:
    """Writes aliases and names as CSV, which `aliases` in a mapping names.

    Raises:
        InputError: there is such a file, which somebody may have gone through.
        DiskError: it cannot be written.
    """
    if file.exists():
        raise InputError("exists already", where=str(file), hint="name another file, or remove it first")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("alias", "name"), *pairs])
    try:
        file.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise DiskError(f"cannot be written: {error.strerror or error}", where=str(file)) from error
    return file
