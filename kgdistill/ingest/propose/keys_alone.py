"""Tells rows that look like events, and make nothing but keys."""

from __future__ import annotations

from kgdistill.ingest.propose.profile import Sample
from kgdistill.ingest.propose.yaml_text import Pieces, comment

KEYS_ALONE = "rows make keys alone"


def dated_keys(pieces: Pieces, sample: Sample) -> list[str]:
    """A doubt of rows with a time that make nothing but keys, as orders do whose customer is not known."""
    found = pieces.found
    told = {line.split(":")[0].strip() for line in pieces.nodes if line.startswith("          ")}
    if pieces.edges or pieces.trees or told - {"price"} or "event" in found.unsure:
        return []
    # Of customers, or products, each is in a row of its own.
    if not any(key is not None and key.distinct < len(key.values) for key in (found.user, found.product)):
        return []
    hidden = {c.name for c in found.personal}
    times = (c.name for c in sample.columns if c.time is not None and c.time.unit is None)
    dated = next((name for name in times if name not in hidden and name not in pieces.named), None)
    how = "names such as customer_id and product_id tell of whom and what they are"
    return [comment(f"    # ? {KEYS_ALONE}, though they have a time ({dated}); {how}")] if dated else []
