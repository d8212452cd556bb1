"""Graded judgements of a snapshot's products."""

from __future__ import annotations

from collections.abc import Sequence

from kgdistill.errors import InputError
from kgdistill.ranking.graded import (
    Judgements,
)
from kgdistill.snapshot import Snapshot


def read_judgements(snapshot: Snapshot, rows: Sequence[tuple[str, str, float]]) -> Judgements:
    """Judgements as (query, product key, grade), with the products' ids in a snapshot.

    Raises:
        InputError: a judged product is not in the snapshot.
    """
    ids = snapshot.index("Product", [product for _, product, _ in rows])
    judged: dict[str, dict[int, float]] = {}
    for (query, product, grade), found in zip(rows, ids, strict=True):
        if found < 0:
            raise InputError(f"the judged product {product!r} is not in the catalogue")
        judged.setdefault(query, {})[int(found)] = float(grade)
    return Judgements.of(judged)
