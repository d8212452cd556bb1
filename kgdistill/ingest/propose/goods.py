"""Tells what columns say of goods and of what is taken off their price."""

from __future__ import annotations

from kgdistill.ingest.propose.headings import bare, has, has_word, is_id
from kgdistill.ingest.propose.profile import ColumnProfile


def is_code(column: ColumnProfile) -> bool:
    """Whether it holds the codes that take something off a price, which are no numbers as a rate is."""
    off = has(column, "discount promo promotion rabatt remise") and is_id(column)
    return off and column.number is None and column.time is None and not has_word(column, "type class rate")


def is_offer(column: ColumnProfile, beside: list[ColumnProfile], stem: tuple[str, ...]) -> bool:
    """Whether each row of a file that is called so is a coupon of this name or code, with a time."""
    offers = any(word in "".join(stem) for word in ("discount", "coupon", "voucher", "gutschein", "rabatt"))
    named = bare(column) or column.words[-1:] in (("name",), ("code",), ("title",), ("titel",))
    unlike = column.full and column.distinct == len(column.values)
    return offers and named and unlike and any(c.time is not None for c in beside)
