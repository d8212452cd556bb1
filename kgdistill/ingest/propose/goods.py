"""Tells what columns say of goods and of what is taken off their price."""

from __future__ import annotations

from kgdistill.ingest.propose.events import no_of
from kgdistill.ingest.propose.headings import bare, has, has_word, is_id
from kgdistill.ingest.propose.lines import follows, is_sold_as
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import (
    ABOUT,
    ANSWER,
    ATTRIBUTE,
    CATEGORY,
    EVENT,
    IMAGE,
    ORDER,
    PRODUCT,
    QUERY,
    QUESTION,
    STATEMENT,
    TOPIC,
)

_KIND = "group class type"
# What may have kinds of its own, which are none of the goods.
_OTHER = f"{ORDER} {QUERY} {QUESTION} {ANSWER} {STATEMENT} {EVENT} message contact ticket line cart purchase"
_OTHER += " sales payment shipping delivery discount coupon campaign ad device page link channel price"
# How far a category is told by the product, and how many classes of questions there may be.
_MOST, _CLASSES = 0.8, 50

_LISTED = (
    "tag tags attribute attributes option options variation schlagwort schlagworte schlagwoerter merkmal"
)
_LISTED += " merkmale eigenschaft eigenschaften attribut"


_OF_ORDERS = "payment shipping billing order delivery invoice refund return zahlung versand rechnung"


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


def is_about(column: ColumnProfile, *, goods: bool) -> bool:
    """Whether it describes a product; of `goods` alone, which nobody bought or rated, a body does too."""
    told = has(column, ABOUT) or (goods and has_word(column, "body content inhalt"))
    other = has_word(column, f"review summary {IMAGE} {_OF_ORDERS}") or column.flat == "reviewtext"
    return told and not other and column.number is None and column.time is None


def described(column: ColumnProfile) -> tuple[object, ...]:
    """How well a column describes a product, rather than a page about it."""
    named = has_word(column, "description desc beschreibung body")
    return (not has_word(column, "seo meta"), named, column.length())


def attributes_of(left: list[ColumnProfile], *, goods: bool) -> list[ColumnProfile]:
    """The attributes of a product; of `goods` alone its tags and the values of its options are some, too."""
    own = [c for c in left if has(c, ATTRIBUTE) and not is_id(c) and not has_word(c, "household family")]
    tags = [c for c in left if c not in own and goods and _is_listed(c)]
    return [*own[:4], *tags[:4]]


def _is_listed(column: ColumnProfile) -> bool:
    """Whether it holds tags, or what an option or attribute of any name is."""
    other = "name names id type visible global default linked set"
    told = has_word(column, _LISTED) and not has_word(column, other) and column.time is None
    # The one value of all goods, and a yes, tell nothing of any.
    return told and column.distinct > 1 and not no_of(column)


def holds_several(column: ColumnProfile) -> bool:
    """Whether a column of brands holds several in a value, each of which stands alone in others."""
    listed = [[part.strip() for part in value.split(",")] for value in column.values if "," in value]
    alone = {value for value in column.values if "," not in value}
    return bool(listed) and 2 * sum(alone.issuperset(parts) for parts in listed) > len(listed)


def is_kind_of_goods(column: ColumnProfile, key: ColumnProfile | None) -> bool:
    """Whether it is called as a group, class or type, and is one of goods, which each key has one of."""
    named = has_word(column, _KIND) and (has_word(column, PRODUCT) or len(column.words) <= 2)
    if not named or has_word(column, _OTHER) or is_sold_as(column):
        return False
    told = None if key is None else follows(column, key)
    return told is None or told >= _MOST


def is_kind_of_questions(column: ColumnProfile, key: ColumnProfile | None) -> bool:
    """Whether what stands beside questions and answers is a class of theirs, and none of a product's."""
    few = 1 < column.distinct <= min(_CLASSES, len(column.values) // 2)
    named = has(column, CATEGORY) or has_word(column, f"{_KIND} {TOPIC} label")
    if not (few and named) or is_id(column) or column.lists or column.time is not None:
        return False
    told = None if key is None else follows(column, key)
    asked = has_word(column, f"{QUESTION} {ANSWER}")
    return asked or key is None or (told is not None and told < _MOST)
