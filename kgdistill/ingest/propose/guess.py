"""Guesses what the columns of a file are, by the words of their names and the shape of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kgdistill.ingest.propose.events import is_event, is_of_kind, told_by
from kgdistill.ingest.propose.goods import (
    attributes_of,
    described,
    is_about,
    is_code,
    is_kind_of_goods,
    is_offer,
)
from kgdistill.ingest.propose.headings import bare, has, has_word, inner, is_address, is_id
from kgdistill.ingest.propose.ids import is_masked, is_whole, names_one
from kgdistill.ingest.propose.lines import (
    doubt_of_rows,
    in_own_currency,
    lines_of_orders,
    of_goods,
    of_lines,
    of_orders,
    of_rows,
    quantity_rank,
    sound,
    take_title,
)
from kgdistill.ingest.propose.moments import other_times, time_rank
from kgdistill.ingest.propose.paths import apart, numbered, separator
from kgdistill.ingest.propose.people import by_handle, doubt_of_masks, is_personal, of_shop
from kgdistill.ingest.propose.profile import ColumnProfile, Sample
from kgdistill.ingest.propose.said import SAID_IN, take_texts
from kgdistill.ingest.propose.visitors import is_visitor, with_visitor
from kgdistill.ingest.propose.words import (
    AMOUNT,
    ANSWER,
    ATTRIBUTE,
    BRAND,
    CATEGORY,
    EVENT,
    GRADE,
    ID,
    NO_NUMBER,
    ORDER,
    PRICE,
    PRODUCT,
    QUANTITY,
    QUERY,
    QUESTION,
    RATING,
    TIME,
    TITLE,
    USER,
    singular,
    word_set,
    words,
)

# Other words are of something else, as those of an order's parcel or payment.
_OF_ORDERS = word_set(f"{ORDER} {ID} sales purchase reference")
_DONE = word_set("click clicked viewed bought purchased")
_GOODS = word_set(f"{PRODUCT} goods catalog catalogue katalog sortiment assortment inventory")
_NO_KEY = "type name title group category brand price status segment count quantity amount description class"
_NO_KEY += " time date text rating score features age coupon gutschein"


@dataclass
class Guess:
    """What the columns are taken for; None or empty where nothing is.

    `named_alone`: nothing but an id and a name says that these are products;
    `untimed` names columns that should hold times, but in no way that is known, with a value of each;
    `apart` is what stands between categories of one value that are no path, such as genres.
    """

    user: ColumnProfile | None = None
    product: ColumnProfile | None = None
    ad: ColumnProfile | None = None
    campaign: ColumnProfile | None = None
    coupon: ColumnProfile | None = None
    query: ColumnProfile | None = None
    query_id: ColumnProfile | None = None
    time: ColumnProfile | None = None
    order: ColumnProfile | None = None
    quantity: ColumnProfile | None = None
    amount: ColumnProfile | None = None
    price: ColumnProfile | None = None
    rating: ColumnProfile | None = None
    grade: ColumnProfile | None = None
    event: ColumnProfile | None = None
    text_id: ColumnProfile | None = None
    question: ColumnProfile | None = None
    answer: ColumnProfile | None = None
    intent: ColumnProfile | None = None
    statement: ColumnProfile | None = None
    sentiment: ColumnProfile | None = None
    topic: ColumnProfile | None = None
    part: ColumnProfile | None = None
    title: ColumnProfile | None = None
    about: ColumnProfile | None = None
    brand: ColumnProfile | None = None
    categories: list[ColumnProfile] = field(default_factory=list)
    attributes: list[ColumnProfile] = field(default_factory=list)
    personal: list[ColumnProfile] = field(default_factory=list)
    named_alone: bool = False
    untimed: str = ""
    apart: str | None = None
    unsure: dict[str, str] = field(default_factory=dict)


def guess(sample: Sample, shared: frozenset[str] = frozenset()) -> Guess:
    """What each column is taken for; each column at most once.

    Args:
        sample: a file's first rows.
        shared: names of columns that other files have too: by them, rows are tied together.
    """
    found = Guess()
    # A long name is about something special, and so is a column that is nearly always empty.
    short = [c for c in sample.columns if len(c.words) <= 5]
    event = next((c for c in short if is_event(c, named=has(c, EVENT) or "type" in c.words)), None)
    free = [c for c in short if len(c.values) >= 0.05 * c.rows > 0 or is_of_kind(c, event)]
    found.personal = [c for c in free if is_personal(c)]
    left = [c for c in free if c not in found.personal]
    stem = words(sample.called)

    def take(
        fits: Callable[[ColumnProfile], bool], rank: Callable[[ColumnProfile], Any] | None = None
    ) -> ColumnProfile | None:
        fitting = [c for c in left if fits(c)]
        if not fitting:
            return None
        best = fitting[0] if rank is None else max(fitting, key=rank)
        left.remove(best)
        return best

    _entities(found, take, left, stem, shared)
    timed = [c for c in left if c.time is not None and (has(c, TIME) or c.time.unit is None)]
    timed = [c for c in timed if not (c.number is not None and not has(c, TIME))]
    if timed:
        found.time = max(timed, key=time_rank)
        left.remove(found.time)
        if len(timed) > 1:
            found.unsure["time"] = other_times([c for c in timed if c is not found.time])
    else:
        named = [c for c in left if has(c, TIME) and c.values and not c.lists]
        found.untimed = ", ".join(f"{c.name} with {c.values[0][:40]}" for c in named[:5])
    # A question of the type refund is none.
    typed = [c for c in left if "type" in c.words and not has_word(c, f"{QUESTION} {ANSWER}")]
    found.event = take(lambda c: is_event(c, named=has(c, EVENT) or c in typed)) or take(
        lambda c: is_event(c, named=False)
    )
    if (each := sample.options.each) and found.product and found.product.name.startswith(f"{each}."):
        # Beside lines of an order what it says of names and sums is the order's.
        left[:] = [c for c in left if c.name.startswith(f"{each}.")]
    of_shop(found, left)
    _numbers(found, take, left)
    if found.user is not None and found.product is not None and found.time is not None:
        # What stands once for all lines of an order, and its number, say nothing of a line's product.
        left[:] = [c for c in left if not c.head]
    take_texts(found, take, left, stem)
    _words(found, take, left)
    _by_name(found)
    found.apart = apart(found.categories, blanks=sample.options.format == "recbole")
    return found


def _by_name(found: Guess) -> None:
    """Lines of purchases without ids of products: a product is what has a name of its own."""
    other = (
        found.product,
        found.query,
        found.query_id,
        found.question,
        found.statement,
        found.ad,
        found.campaign,
    )
    name = found.title
    if name is None or found.user is None or found.time is None or any(c is not None for c in other):
        return
    sold = (found.order, found.quantity, found.amount, found.price)
    if name.distinct < len(name.values) and (has(name, PRODUCT) or any(c is not None for c in sold)):
        found.product = name
        found.unsure["Product"] = f"no column holds ids of products, so that each {name.name} is one"


def _is_key(column: ColumnProfile, vocabulary: str) -> bool:
    """Whether a column tells things of these words apart."""
    if not has(column, vocabulary) or column.lists or (column.time is not None and not is_id(column)):
        return False
    if any(word in _NO_KEY.split() for word in column.words) or not is_whole(column):
        return False
    done = column.words[0] in _DONE and column.words[1:] and column.words[1] in vocabulary.split()
    whole = {column.flat, "".join(inner(column))} & set(vocabulary.split())
    named = is_id(column) or bool(whole) or len(column.words) == 1 or bool(done)
    return named or (vocabulary == PRODUCT and names_one(column, PRODUCT))


def _order_of(take: Callable[..., ColumnProfile | None]) -> ColumnProfile | None:
    """The column that numbers orders."""
    order = take(
        lambda c: (
            has(c, ORDER)
            and (is_id(c) or "nr" in c.flat)
            # Long numbers may be times since 1970, too.
            and (c.time is None or (c.time.unit is not None and is_id(c) and not has_word(c, TIME)))
            and not set(inner(c)) & set(f"{USER} {PRODUCT}".split())
        ),
        # A session may hold several orders, and an order several lines.
        lambda c: (
            "session" not in c.words,
            not has_word(c, "item line row position"),
            -len(set(c.words) - _OF_ORDERS),
        ),
    )
    return order or take(lambda c: c.means == "order")


def _entities(
    found: Guess,
    take: Callable[..., ColumnProfile | None],
    left: list[ColumnProfile],
    stem: tuple[str, ...],
    shared: frozenset[str],
) -> None:
    def exact(column: ColumnProfile) -> tuple[object, ...]:
        return (column.tied, column.name in shared, column.words[-1:] == ("id",), column.distinct)

    found.query_id = take(lambda c: has(c, QUERY) and is_id(c))
    found.query = take(
        lambda c: (
            has(c, QUERY) and not is_id(c) and not c.lists and c.time is None and "class" not in c.words
        ),
        _plain,
    )
    found.ad = take(lambda c: has(c, "ad anzeige banner creative") and is_id(c), exact)
    found.campaign = take(lambda c: has(c, "campaign kampagne") and (is_id(c) or len(c.words) == 1), exact)
    redeems = bool(told_by("_".join(stem), ["REDEEMED"])[1])
    found.coupon = take(
        lambda c: (
            (has(c, "coupon gutschein voucher") and (is_id(c) or (redeems and len(c.words) == 1)))
            or is_code(c)
        ),
        exact,
    )
    found.order = _order_of(take)
    people = [c for c in left if _is_key(c, USER) or c.means == "user"]
    found.user = take(
        lambda c: c in people and not is_masked(c), lambda c: (exact(c)[:2], not is_visitor(c), exact(c))
    )
    goods = [c for c in left if _is_key(c, PRODUCT) or _is_reference(c, left, shared) or c.means == "product"]
    lines = of_rows(goods) if found.order is not None or found.user is not None else []

    def sure(c: ColumnProfile) -> tuple[object, ...]:
        known = (c not in lines, c.tied, c.name in shared, not c.head)
        return (*known, _tells_goods(c), len(c.values), c.distinct, is_id(c), exact(c))

    found.product = take(lambda c: c in goods, sure)
    found.unsure |= doubt_of_rows(found.product, found.order)
    if not any((found.user, found.product, found.ad, found.query, found.query_id, found.coupon, found.order)):
        found.coupon = take(lambda c: is_offer(c, left, stem))
    _bare(found, left, stem)
    by_handle(found, left, shared)
    found.unsure |= doubt_of_masks(found, people)
    if found.product is not None or found.query is not None:
        user, told = with_visitor(found.user, left)
        if user is not None and user.name not in found.unsure:
            found.user = user
            found.unsure |= told


def _is_reference(column: ColumnProfile, beside: list[ColumnProfile], shared: frozenset[str]) -> bool:
    """Whether it is a product's reference; in English, with no goods beside it, it may be a payment's.

    Or its part of a shop's address, beside two other things that goods have: people have handles, too.
    """
    if is_address(column):
        return sum(any(has(c, one) for c in beside) for one in (TITLE, BRAND, CATEGORY, PRICE, QUANTITY)) > 1
    if column.words != ("reference",) or column.lists:
        return False
    goods = any(has(c, f"{TITLE} {BRAND} {CATEGORY}") for c in beside)
    return column.name.lower() != "reference" or column.name in shared or goods


def _tells_goods(column: ColumnProfile) -> int:
    """How surely a column is of products: a material may be what they are of, a reference a payment's."""
    if is_address(column):
        return 0
    # Of a name in Chinese that part that is not known says what else it is of.
    return {"material": 0, "reference": 1}.get(column.flat, 2 + column.flat.isascii())


def _bare(found: Guess, left: list[ColumnProfile], stem: tuple[str, ...]) -> None:
    """A column that is just called id: of what, the file's name or the columns beside it tell."""
    key = next((c for c in left if bare(c)), None)
    if key is None or not key.full or found.user is not None:
        return
    if key.head and (found.product is not None or any(c.time is not None for c in left)):
        # Another number of the order, or of the product whose variants these are.
        return
    weak = found.product is None or (not found.product.full and found.product.tied <= key.tied)
    if SAID_IN & set(stem):
        return
    if found.product is None and any(w.rstrip("sn") in USER.split() for w in stem):
        found.user = key
    elif weak and any(has(c, f"{TITLE} {BRAND} {PRICE}") for c in left):
        beside = f"{BRAND} {PRICE} {CATEGORY} {PRODUCT} {ATTRIBUTE}"
        told = found.product is not None or any(has(c, beside) for c in left if c is not key)
        if not told and not any(word in _GOODS or singular(word) in _GOODS for word in stem):
            found.named_alone = True
            found.unsure["Product"] = "nothing but an id and a name says that these are products"
        if found.product is not None:
            left.append(found.product)
        found.product = key
    if key in (found.user, found.product):
        left.remove(key)


def _plain(column: ColumnProfile) -> object:
    return (column.flat == "query", -len(column.words))


def _numbers(found: Guess, take: Callable[..., ColumnProfile | None], left: list[ColumnProfile]) -> None:
    def number(vocabulary: str, without: str = NO_NUMBER) -> Callable[[ColumnProfile], bool]:
        scaled = vocabulary == RATING
        return lambda c: (
            c.number is not None
            and (scaled or c.number.most is None)
            and has(c, vocabulary)
            and not has_word(c, without)
        )

    if found.product is not None and (found.query is not None or found.query_id is not None):
        found.grade = take(
            lambda c: has(c, GRADE) and not has_word(c, "average count number review id") and c.distinct <= 20
        )
    counts = sound([c for c in left if number(QUANTITY, NO_NUMBER + " rating review reviews")(c)])
    found.quantity = take(lambda c: c in counts, quantity_rank)
    if found.quantity is not None and found.time is not None:
        differ = [c.name for c in counts if c.cells != found.quantity.cells]
        found.unsure |= {"quantity": f"or {', '.join(differ)}"} if differ else {}
    sums, converted = in_own_currency(sound([c for c in left if number(AMOUNT)(c)]))
    found.unsure |= {"amount": f"or {', '.join(c.name for c in converted)}"} if converted else {}
    left[:] = [c for c in left if c not in converted]
    price = next((c for c in left if c not in sums and number(PRICE)(c)), None)
    whole = of_orders(sums, lines_of_orders(found.order, found.user, found.time), price, found.quantity)
    found.unsure |= whole
    # What was paid, rather than what was due.
    found.amount = take(lambda c: c in sums and c.name not in whole, lambda c: has_word(c, "paid"))
    found.price = take(lambda c: c.name not in whole and number(PRICE)(c))
    found.rating = take(number(RATING, "average avg count number id"))


def _words(found: Guess, take: Callable[..., ColumnProfile | None], left: list[ColumnProfile]) -> None:
    take_title(found, take, left)

    def text(column: ColumnProfile) -> bool:
        return column.number is None and column.time is None

    found.brand = take(
        lambda c: has(c, BRAND) and not c.lists,
        lambda c: (
            text(c),
            2 * len(c.values) > c.rows,
            not is_id(c),
            has_word(c, "brand brands marke marken"),
        ),
    )
    tree = [
        c
        for c in left
        if has(c, CATEGORY) or is_kind_of_goods(c, found.product)
        if not is_id(c) and text(c)
        if not has_word(
            c, f"{USER} review graphical colour color household payment fit verified query index tax"
        )
    ]
    tree = of_goods(found, tree, "categories")
    # The fewer names a level has, the higher it stands; lists and paths hold the whole tree alone.
    whole = [c for c in tree if c.lists or separator(c) is not None]
    levels = whole[:1] or numbered(tree)[:5] or sorted(tree, key=lambda c: c.distinct)[:3]
    if len(tree) > len(levels):
        found.unsure["categories"] = "or " + ", ".join(c.name for c in tree if c not in levels)
    elif levels and not any(has(c, CATEGORY) for c in levels) and found.product is not None:
        some = ", ".join(dict.fromkeys(levels[0].values[:50]))[:60]
        found.unsure["categories"] = f"{levels[0].name} is taken for them, as nothing else is: {some}"
    found.categories = levels
    for column in levels:
        left.remove(column)
    goods = found.product is not None and found.user is None and found.order is None
    abouts = of_goods(found, [c for c in left if is_about(c, goods=goods)], "description")
    found.about = take(lambda c: c in abouts, described)
    if found.title is None and found.about is not None and found.about.length() < 80:
        found.title, found.about = found.about, None
    found.attributes = attributes_of(left, goods=goods)
    if not goods:
        found.unsure |= of_lines(found)
    beside = (found.user, found.price, found.brand, *found.categories)
    coupon = found.coupon if found.product is not None and not any(beside) else None
    of_offer = coupon is not None and coupon.full and coupon.distinct == len(coupon.values)
    if of_offer or (found.rating is not None and found.user is not None) or found.statement is not None:
        # In a review the words are the reviewer's, beside a coupon the offer's.
        if found.title is not None and not has_word(found.title, PRODUCT):
            found.title = None
        found.about, found.attributes = None, []


def used(found: Guess) -> set[str]:
    """The names of the columns that have a role."""
    single: Iterable[ColumnProfile | None] = (v for v in vars(found).values() if isinstance(v, ColumnProfile))
    names = {c.name for c in single if c is not None}
    return names | {c.name for c in (*found.categories, *found.attributes)}
