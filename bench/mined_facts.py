"""What is mined from titles, beside attributes that are known: precision on 200 products of Icecat.

    python bench/mined_facts.py            reads the folder that KGDISTILL_DATA names, or ../shared/data
    python bench/mined_facts.py --outside  the other products, on which lists and confidences were made

The 200 are drawn from those of which a colour, a material or a size is known. Their brands are hidden: what a
brand is called, and how far a title that names one is to be trusted, comes from the other products. A mined
fact is judged where the product's attributes tell of its kind (of a size: of that measure), and is right
where one of them says the same, a size within 2 %. No attribute tells of an audience. Prints a table and
writes results/mined_facts.json; intervals over products.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgdistill.derive.mining import LEAST, BrandNames, Mined, known_brands, mined
from kgdistill.ranking.bootstrap import bootstrap_statistic
from kgdistill.words import plain

RESULTS = Path(__file__).parent / "results" / "mined_facts.json"
MEASURED, SEED = 200, 0
# By unit the attributes that tell of it, with how many of the unit one of theirs may be; a fact is judged
# where one of the first is there. Memory is told in GB or in MB, of 1,000 or 1,024.
_MEMORY = (1.0, 1000.0, 1024.0, 1000 / 1024)
_SIZES: dict[str, tuple[dict[str, tuple[float, ...]], dict[str, tuple[float, ...]]]] = {
    "mm": (
        {
            "display_diagonal": (25.4,), "maximum_screen_size_compatibility": (25.4,),
            "cable_length": (1000.0,), "label_width": (1.0,), "tape_width": (1.0,),
        },
        {
            "roll_length": (1000.0,), "tape_length": (1000.0,), **dict.fromkeys(
                ("label_height", "width", "height", "depth", "length", "diameter", "roll_width"), (1.0,)),
        },
    ),
    "mb": (
        dict.fromkeys(("internal_memory", "ssd_capacity", "hdd_capacity", "total_storage_capacity"), _MEMORY),
        dict.fromkeys(("discrete_graphics_adapter_memory", "flash_memory", "ram_capacity"), _MEMORY),
    ),
}  # fmt: skip
Truth = Mapping[str, Any]


def products() -> list[dict[str, Any]]:
    """Icecat's products, by id."""
    file = Path(os.environ.get("KGDISTILL_DATA", "../shared/data")) / "chorus_icecat" / "products.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return sorted((json.loads(line) for line in lines), key=lambda product: str(product["id"]))


def truth(product: Mapping[str, Any]) -> dict[str, Any]:
    """What the attributes say: colours, materials, and amounts by unit; a kind is missing where none does."""
    known: dict[str, Any] = {}
    for kind, name in (("colour", r"colou?rs?$|printing_colours"), ("material", "(^|_)materials?$")):
        texts = [
            str(value) for key, value in product.items()
            if key.startswith("attr_t_") and re.search(name, key) and "packag" not in key
        ]  # fmt: skip
        if texts:
            parts = [part for text in texts for part in re.split(r"[,/\n]|\\n", text)]
            known[kind] = {fact.value for part in parts for fact in mined(part) if fact.kind == kind}
    for unit, (first, further) in _SIZES.items():
        if any(f"attr_n_{name}" in product for name in first):
            known[unit] = [
                factor * product[f"attr_n_{name}"]
                for name, factors in {**first, **further}.items()
                for factor in factors
                if isinstance(product.get(f"attr_n_{name}"), int | float)
            ]
    return known


def right(fact: Mined, product: Mapping[str, Any], known: Truth) -> bool | None:
    """Whether a fact is as the attributes say; None where they say nothing of it."""
    if fact.kind == "brand":
        return plain(fact.value) == plain(product["supplier"])
    if fact.kind == "size":
        number, unit = re.fullmatch(r"([\d.]+)(\w+)", fact.value).groups()  # type: ignore[union-attr]
        if unit not in known:
            return None
        return any(abs(float(number) - amount) <= 0.02 * abs(amount) for amount in known[unit])
    return fact.value in known[fact.kind] if fact.kind in known else None


def judged(
    asked: Sequence[Mapping[str, Any]], brands: BrandNames, least: float
) -> dict[str, list[tuple[int, int]]]:
    """By kind, and of all, for each product how many facts are right and how many were judged."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for product in asked:
        known, counts = truth(product), defaultdict(lambda: [0, 0])
        for fact in mined(product["title"], brands):
            if fact.confidence >= least and (so := right(fact, product, known)) is not None:
                for kind in (fact.kind, "all"):
                    counts[kind][0] += so
                    counts[kind][1] += 1
        for kind in ("brand", "size", "colour", "material", "all"):
            found[kind].append((counts[kind][0], counts[kind][1]))
    return found


def row(counts: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """Precision with its interval, and how many facts of how many products were judged."""
    right_of, times = np.array(list(counts), np.float64).T
    some = times > 0
    right_of, times = right_of[some], times[some]
    if not some.any():
        return {"facts": 0, "products": 0}
    told = bootstrap_statistic(lambda w: float((w * right_of).sum() / (w * times).sum()), len(times))
    return {"precision": list(told), "facts": int(times.sum()), "products": int(some.sum())}


def split(known: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The products that are measured, and the others."""
    some = [
        n for n, product in enumerate(known) if {"colour", "material", "mm", "mb"} & truth(product).keys()
    ]
    chosen = set(np.random.default_rng(SEED).choice(some, MEASURED, replace=False).tolist())
    return [known[n] for n in sorted(chosen)], [p for n, p in enumerate(known) if n not in chosen]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--outside", action="store_true")
    parser.add_argument("--wrong", action="store_true", help="print what is wrong, of the others alone")
    told = parser.parse_args()
    measured, others = split(products())
    names = sorted({str(product["supplier"]) for product in others})
    brands = known_brands(names, names, {})
    brands.learn([p["title"] for p in others], [str(p["supplier"]) for p in others])
    asked = others if told.outside else measured
    if told.outside and told.wrong:
        for product in others:
            known = truth(product)
            for fact in mined(product["title"], brands):
                if fact.confidence >= LEAST and right(fact, product, known) is False:
                    print(fact, "|", product["title"], "|", product["supplier"], known.get(fact.kind))
    rows = {kind: row(counts) for kind, counts in judged(asked, brands, LEAST).items()}
    for kind, one in rows.items():
        if one["facts"]:
            mean, low, high = one["precision"]
            print(f"{kind:<9} precision {mean:.3f} [{low:.3f}, {high:.3f}] of {one['facts']:,} facts "
                  f"of {one['products']:,} products")  # fmt: skip
    if not told.outside:
        document = {"products": MEASURED, "seed": SEED, "least": LEAST, "rows": rows}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
