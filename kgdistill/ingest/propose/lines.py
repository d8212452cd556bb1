"""What rows tell of columns where headings mislead: whose a name, an amount, a quantity or an id is."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kgdistill.ingest.propose.events import BUYS, UNDONE
from kgdistill.ingest.propose.headings import has, has_word
from kgdistill.ingest.propose.numbers import value_of
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import BRAND, CATEGORY, ID, PRODUCT, TITLE, USER, word_set, words

if TYPE_CHECKING:
    from kgdistill.ingest.propose.guess import Guess

# Of fewer rows, or keys or orders of several rows, each may be so by chance.
_ROWS, _KEYS = 20, 5
_LANGUAGES = 20
_MOST = 0.8
_NEARLY_ALL = 0.9
# A sum differs from quantity times price by rounding.
_ROUNDED = 0.01
_WHOLE_ORDER = word_set("order grand cart basket invoice bestell bestellung auftrag rechnung warenkorb")
# What is kept in store, or the bounds of an order, is not what was bought.
_KEPT = word_set("stock inventory available reserved backordered backorder min max minimum maximum")
_ORDERED = BUYS | word_set("verkauft")
_CURRENCIES = word_set(
    """in usd eur gbp chf jpy cny rmb hkd krw inr brl mxn cad aud pln czk huf sek nok dkk dollar dollars euro
    euros base presentment converted local reporting foreign umgerechnet converti convertido
    美元 人民币 外币 欧元 日元"""
)
# How goods are sold, and not what they are.
_SOLD_AS = word_set(
    """simple variable variation variant configurable virtual downloadable bundle bundled grouped external
    affiliate subscription parent child einfach variabel variante konfigurierbar virtuell herunterladbar
    buendel gruppiert groupe groupee virtuel telechargeable simples variacion agrupado descargable
    eenvoudig variabele variatie gegroepeerd virtueel prosty zmienny wariant wirtualny grupowany"""
)


def follows(column: ColumnProfile, key: ColumnProfile) -> float | None:
    """How far a column's values follow from a key's: 1 where each key has one, 0 where any could be there.

    None where too few rows have a key that comes again.
    """
    if not column.cells or not key.cells:
        return None
    by_key: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for of, cell in zip(key.cells, column.cells, strict=True):
        if of and cell:
            by_key[of][cell] += 1
    several = [counted for counted in by_key.values() if counted.total() > 1]
    rows = sum(counted.total() for counted in several)
    if rows < _ROWS or len(several) < _KEYS:
        return None
    # One who always says what is most common is right that often.
    guessed = sum(several, Counter[str]()).most_common(1)[0][1]
    right = sum(max(counted.values()) for counted in several)
    return (right - guessed) / (rows - guessed) if rows > guessed else 0.0


def may_name(column: ColumnProfile, key: ColumnProfile | None) -> bool:
    """Whether a column may be the names of what a key tells apart.

    It is none where neither each key has one name nor each name, as those of variants, one key.
    """
    if key is None or (told := follows(column, key)) is None:
        return True
    return told >= _MOST or (follows(key, column) or 0.0) >= _MOST


def of_goods(found: Guess, columns: Sequence[ColumnProfile], what: str) -> list[ColumnProfile]:
    """Those of columns of events that may say something of the products, and a doubt that names the others.

    What a product is follows from its key, and is not the same for all products.
    """
    key = found.product
    if key is None or (found.user is None and found.order is None):
        return list(columns)
    rest = [c for c in columns if _is_other(c, key)]
    if rest:
        names = ", ".join(c.name for c in rest)
        found.unsure[what] = f"{names} says nothing of {key.name}, as it changes with the row or never"
    return [c for c in columns if c not in rest]


def _is_other(column: ColumnProfile, key: ColumnProfile) -> bool:
    """Whether a column is the same in all rows with a key of many, or does not go with the key."""
    pairs = zip(key.cells, column.cells, strict=True) if key.cells and column.cells else ()
    beside = {(of, cell) for of, cell in pairs if of and cell}
    alike = len(beside) >= _ROWS and len({cell for _, cell in beside}) == 1
    return alike or (not column.lists and (told := follows(column, key)) is not None and told < _MOST)


def is_beside(column: ColumnProfile, *others: ColumnProfile | None) -> bool:
    """Whether a word says that it is of the same as another, as of Lineitem name and Lineitem sku."""
    plain = word_set(f"{ID} {TITLE} qty quantity")
    return any(set(column.words) & set(other.words) - plain for other in others if other is not None)


def lines_of_orders(
    order: ColumnProfile | None, user: ColumnProfile | None, time: ColumnProfile | None
) -> list[list[int]]:
    """The rows of each order that has several: those of one order, else of one user and time.

    Rows without a time belong to the row above, as where an order's columns stand on its first line alone.
    """
    if order is not None and order.cells:
        parts = [order.cells]
    elif user is not None and time is not None and user.cells and time.cells:
        parts = [user.cells, _filled(time.cells)]
    else:
        return []
    rows: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(*parts, strict=True)):
        if all(key):
            rows[key].append(row)
    return [some for some in rows.values() if len(some) > 1]


def _filled(cells: Sequence[str]) -> list[str]:
    filled: list[str] = []
    for cell in cells:
        filled.append(cell or (filled[-1] if filled else ""))
    return filled


def of_orders(
    sums: Sequence[ColumnProfile],
    orders: Sequence[Sequence[int]],
    price: ColumnProfile | None,
    quantity: ColumnProfile | None,
) -> dict[str, str]:
    """By name those of the sums that are of orders of which each row is but a line, and what to say of it.

    Args:
        sums: columns of numbers.
        orders: the rows of each order that has several.
        price: of one unit, where there is one.
        quantity: how many units.
    """
    whole = {column.name: _whole_orders(column, orders, price, quantity) for column in sums}
    told = "is of a whole order, and left out: in {:,} of {:,} orders of several lines it is no line's"
    return {name: told.format(times, len(orders)) for name, times in whole.items() if times}


def _whole_orders(
    amount: ColumnProfile,
    orders: Sequence[Sequence[int]],
    price: ColumnProfile | None,
    quantity: ColumnProfile | None,
) -> int:
    """In how many orders of several lines an amount is that of the whole order; 0 where it is that of a line.

    It is the same on all lines, or stands on one alone, though quantity times price differs among them or the
    amount is nearer to their sum. Without a price that it is the same has to do.
    """
    sums = _numbers(amount)
    due = None if price is None else _due(price, quantity)
    named = bool(_WHOLE_ORDER & set(amount.words)) and not word_set("item line row") & set(amount.words)
    whole = lines = 0
    for rows in orders if sums else ():
        own = [number for row in rows if (number := sums[row]) is not None]
        if not own:
            continue
        if not _alike(own):
            lines += 1
        elif (
            len(own) < len(rows)
            or amount.head
            or named
            or _is_sum(own[0], [due[r] for r in rows] if due else [])
        ):
            whole += 1
    enough = whole >= (1 if named else _KEYS) and whole >= _NEARLY_ALL * (whole + lines)
    return whole if enough and (named or due is not None or amount.distinct > 1) else 0


def _is_sum(amount: float, due: Sequence[float | None]) -> bool:
    prices = [number for number in due if number is not None]
    if not prices:
        return not due
    return not _alike(prices) or abs(amount - sum(prices)) < abs(amount - prices[0])


def _alike(numbers: Sequence[float]) -> bool:
    return max(numbers) - min(numbers) <= _ROUNDED * max(map(abs, numbers))


def _due(price: ColumnProfile, quantity: ColumnProfile | None) -> list[float | None] | None:
    prices = _numbers(price)
    if quantity is None or not prices:
        return prices or None
    pairs = zip(prices, _numbers(quantity), strict=True) if quantity.cells else ()
    return [None if one is None or times is None else one * times for one, times in pairs] or None


def _numbers(column: ColumnProfile) -> list[float | None]:
    """The numbers of a column by row, None where there is none."""
    shape = column.number
    return [] if shape is None else [value_of(cell, shape) for cell in column.cells]


def sound(columns: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """The columns of what was bought, without those of what is kept in store or came to nothing.

    What came to nothing stays where there is nothing else and most rows have some, as in a file of returns.
    """
    columns = [c for c in columns if not _KEPT & set(c.words)]
    done = [c for c in columns if not UNDONE & set(c.words)]
    return done or [c for c in columns if _zeros(c) < 0.5 * c.rows]


def in_own_currency(
    sums: Sequence[ColumnProfile],
) -> tuple[list[ColumnProfile], list[ColumnProfile]]:
    """The sums as they are, and those that are another of them in another currency, as revenue_in_usd."""
    converted = [c for c in sums if any(_is_converted(c, other) for other in sums)]
    return [c for c in sums if c not in converted], converted


def _is_converted(column: ColumnProfile, plain: ColumnProfile) -> bool:
    own, rest = set(plain.words), set(column.words) - set(plain.words)
    as_full = len(plain.values) >= _NEARLY_ALL * len(column.values)
    return bool(rest) and own < set(column.words) and rest <= _CURRENCIES and as_full


def _zeros(column: ColumnProfile) -> int:
    """In how many rows nothing or 0 stands."""
    shape = column.number
    some = sum(shape is not None and value_of(value, shape) != 0 for value in column.values)
    return column.rows - some


def quantity_rank(column: ColumnProfile) -> tuple[bool, bool]:
    """The more surely a column is how many were bought, the higher."""
    return bool(_ORDERED & set(column.words)), not _zeros(column)


def of_rows(columns: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """Those of a line's ids that differ on every row, where another comes again: the line's, no product's."""
    several = any(column.distinct < len(column.values) for column in columns)
    return [column for column in columns if several and is_each(column)]


def is_each(column: ColumnProfile) -> bool:
    """Whether a column differs on each of enough rows."""
    return column.full and column.distinct == len(column.values) >= _ROWS


def of_lines(found: Guess) -> dict[str, str]:
    """By name what to say of attributes that differ among lines of a product; they are none of its own."""
    key = found.product
    told = {c.name: None if key is None else follows(c, key) for c in found.attributes}
    apart = [c for c in found.attributes if (share := told[c.name]) is not None and share < _MOST]
    found.attributes = [c for c in found.attributes if c not in apart]
    return {c.name: "differs among the rows of one product: of the line, and left out" for c in apart}


def is_catalogue(found: Guess) -> bool:
    """Whether each row is another product, with what describes it; a quantity is then one in store."""
    key, told = found.product, (found.title, found.price, found.brand, *found.categories)
    return key is not None and is_each(key) and found.order is None and sum(c is not None for c in told) > 1


def doubt_of_rows(key: ColumnProfile | None, order: ColumnProfile | None) -> dict[str, str]:
    """By name what to say of an id of products that is another on each line of orders."""
    if key is None or order is None or not is_each(key) or order.distinct == len(order.values):
        return {}
    told = "is another in each of {:,} rows, as ids of lines are, so that no product is bought twice"
    return {key.name: told.format(len(key.values))}


def by_mail(
    user: ColumnProfile | None, mails: Sequence[ColumnProfile], shared: frozenset[str]
) -> tuple[ColumnProfile | None, dict[str, str]]:
    """The column that tells people apart, and what to say of it: a mail where there is no account's number.

    Also where many rows, as those of guests, have a mail and no number, if no other file knows the numbers.

    Args:
        user: an account's number, where there is one.
        mails: what tells people apart otherwise.
        shared: names of columns that other files have too.
    """
    if user is None or not mails:
        return user or next(iter(mails), None), {}
    mail = max(mails, key=lambda c: len(c.values))
    gaps, more = user.rows - len(user.values), len(mail.values) - len(user.values)
    if more <= (1 - _NEARLY_ALL) * user.rows or 2 * mail.distinct < user.distinct:
        return user, {}
    if user.name not in shared:
        return mail, {mail.name: f"or {user.name}, which {gaps:,} of {user.rows:,} rows have not"}
    among = "all" if more == gaps else f"{more:,}"
    told = f"{gaps:,} of {user.rows:,} rows have none, and {mail.name} has one in {among} of these: key"
    return user, {user.name: f"{told} {{column: {mail.name}, hash: true}} in all files would count them"}


def is_sold_as(column: ColumnProfile) -> bool:
    """Whether a type says how goods are sold, such as simple and configurable."""
    told = sum(bool(some := set(words(value))) and some <= _SOLD_AS for value in column.values)
    return told >= _NEARLY_ALL * len(column.values) > 0


def parts_of(columns: Sequence[ColumnProfile]) -> list[tuple[ColumnProfile, ColumnProfile]]:
    """The columns by which some rows name another as what they are part of, each with the one that it names.

    Such are parent_item_id and item_id: called alike, and of values that are each a row's. Numbers are among
    those of a column that is just called id by chance.
    """
    each = [column for column in columns if column.cells and is_each(column)]
    return [
        (part, whole)
        for part in columns
        for whole in each
        if part.cells and not part.full and set(part.words) > set(whole.words)
        if set(whole.words) - word_set(ID) or "parent" in part.words
        if set(part.values) and set(part.values) <= set(whole.values)
    ]


def told_apart(
    columns: Sequence[ColumnProfile], key: ColumnProfile, texts: Sequence[ColumnProfile]
) -> tuple[ColumnProfile, str] | None:
    """A column by which the rows that describe one product differ, such as their language or store.

    Args:
        columns: of a table of products.
        key: that of the products.
        texts: what describes them.

    Returns:
        The column, and that of its values which nearly every product has, empty where it is none; None where
        no column tells rows of a product apart, or no value is nearly every product's, as no colour is.
    """
    counted = Counter(cell for cell in key.cells if cell)

    def pairs(column: ColumnProfile) -> list[tuple[str, str]]:
        return [pair for pair in zip(key.cells, column.cells, strict=True) if pair[0]] if column.cells else []

    said = ({pair for pair in pairs(text) if pair[1]} for text in texts if key.cells)
    if not any(len(some) >= len({of for of, _ in some}) + _KEYS for some in said):
        return None
    for column in columns:
        own = pairs(column) if column is not key and column not in texts else []
        if not own or column.distinct > _LANGUAGES or len(set(own)) < len(own):
            continue
        value, most = max(Counter(cell for _, cell in own).items(), key=lambda item: (item[1], not item[0]))
        if most >= _NEARLY_ALL * len(counted):
            return column, value
    return None


def _is_goods(column: ColumnProfile, key: ColumnProfile | None) -> bool:
    """Whether a column is just called as a product, and names those that a key tells apart."""
    plain = bool(column.words) and set(column.words) <= set(PRODUCT.split()) - set(ID.split())
    text = column.number is None and column.time is None and not column.lists
    if key is None or not (plain and text) or not may_name(column, key):
        return False
    return column.length() > key.length() and any(re.search(r"[^\W\d]", value) for value in column.values)


def take_title(found: Guess, take: Callable[..., ColumnProfile | None], left: list[ColumnProfile]) -> None:
    """Takes what names the products, or the ads or campaigns, and says where a name is none of theirs."""
    other = f"{BRAND} {CATEGORY} {USER} group type class review reviewer color colour shop store"
    other += " payment shipping billing method"
    named = [
        c
        for c in left
        if c.number is None and c.time is None and not c.lists and has(c, TITLE) and not has_word(c, other)
    ]
    key = found.ad or found.product or found.campaign
    # A table of products may say each in several languages; in lines anything is called just a name.
    lines = found.user is not None or found.order is not None
    fitting = [c for c in named if not lines or has(c, PRODUCT) or may_name(c, key)]

    def rank(c: ColumnProfile) -> tuple[object, ...]:
        titled = has_word(c, "title titel")
        own = has_word(c, PRODUCT) or is_beside(c, key, found.quantity) or (titled and len(c.words) == 1)
        return (own, titled, has_word(c, PRODUCT), c.distinct)

    found.title = take(lambda c: c in fitting, rank) or take(lambda c: _is_goods(c, found.product))
    said = (found.rating, found.statement, found.question)
    if named and not fitting and key is not None and all(c is None for c in said):
        names = ", ".join(c.name for c in named)
        found.unsure["title"] = f"{names} does not go with {key.name}, and is no name of products"
