"""The names that shops, trackers and this graph give to what users do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kgdistill.ingest.propose.words import word_set, words

if TYPE_CHECKING:
    from kgdistill.ingest.propose.profile import ColumnProfile
    from kgdistill.store.schema import Schema

VIEWS = word_set(
    """view views viewed view_item item_view product_view product_viewed view_product productview
    product_detail_view product_detail_viewed view_content page_view pageview page_viewed pv
    detail detail_view detailview click clicks clicked product_click product_clicked ansicht ansichten klick
    klicks angesehen visit visits visited browse browsed browsing"""
)
BUYS = word_set(
    """purchase purchases purchased buy buys bought order orders ordered order_completed order_placed
    completed_order placed_order place_order transaction transactions sale sales sold conversion kauf gekauft
    bestellung bestellt in_app_purchase ecommerce_purchase payment complete_purchase checkout_completed"""
)
SEARCHES = word_set(
    """search searches searched query site_search view_search_results products_searched product_search
    search_results suche gesucht"""
)
SHOWS = word_set(
    """impression impressions show shown view views viewed saw seen served einblendung ad_impression
    view_promotion ad_view ad_viewed"""
)
CLICKS = word_set("click clicks clicked klick klicks ad_click ad_clicked select_promotion")
_REVIEWS = word_set("review reviews reviewed product_reviewed review_rating rezension rezensionen")
RATES = _REVIEWS | word_set("rate rated rating ratings bewertung bewertungen")
_CARTS = word_set(
    """cart carts add added addtocart add_to_cart added_to_cart cart_add cart_added product_added basket
    baskets add_to_basket added_to_basket basket_add add_to_bag warenkorb in_den_warenkorb"""
)
_FAVORITES = word_set(
    """wishlist wishlists wishlisted add_to_wishlist added_to_wishlist
    product_added_to_wishlist fav favs favorite favorites favorited favourite favourites
    favourited like likes liked bookmark bookmarks bookmarked merkliste merkzettel wunschliste
    wunschzettel"""
)
_SHARES = word_set("share shares shared product_shared geteilt")
_REDEEMS = word_set(
    """redeem redeems redeemed redemption redemptions coupon_redeemed voucher_redeemed einloesung einloesungen
    eingeloest"""
)
_COMMENTS = word_set("comment comments commented kommentar kommentare kommentiert")
# What was bought comes back; in a name that says so no other event counts.
_RETURNS = word_set(
    """return returns returned refund refunds refunded returndate refunddate retour retours retourne retournes
    retournee retournees remboursement remboursements rembourse rembourses remboursee remboursees devolucion
    devoluciones devuelto devueltos devuelta devueltas reembolso reembolsos reembolsado rueckgabe rueckgaben
    rueckgabedatum ruecksendung ruecksendungen retoure retouren retourendatum retourniert erstattung
    erstattungen erstattungsdatum rueckerstattung rueckerstattungen erstattet zurueckgegeben"""
)
# Known for what they are, though no type of the graph is for them.
_OTHERS = word_set(
    """remove removed remove_from_cart removefromcart product_removed
    begin_checkout checkout select_item view_item_list product_list_viewed
    product_list_view view_cart refund add_payment_info add_shipping_info
    session_start first_visit user_engagement scroll"""
)
# Of fewer rows of one kind nothing is told; of its rows those that have what belongs to it.
_FEW, _NEARLY_ALL = 3, 0.9
# In the name of a file or a column these say something else: order_detail.csv, added_at, baskets.csv.
_VAGUE = word_set("detail add added basket baskets")
_FLAGS = (
    ("0", "1"),
    ("false", "true"),
    ("n", "y"),
    ("no", "yes"),
    ("nein", "ja"),
    ("non", "oui"),
    ("no", "si"),
    ("no", "sí"),
    ("否", "是"),
)
# What the status of an order says where nothing was bought in the end.
UNPAID = word_set(
    """pending unpaid failed expired draft hold on_hold holded payment_pending pending_payment
    awaiting_payment payment_review payment_failed payment_error unbezahlt zahlung_ausstehend wartend
    pending_paiement pending_pago"""
)
_CANCELS = word_set(
    """cancelled canceled cancel cancelleds cancellation cancellations declined rejected voided void storniert
    stornierte stornierten storno stornos stornierung stornierungen abgebrochen abgebrochene"""
)
UNDONE = _RETURNS | UNPAID | _CANCELS
# What the status of a product says that is not sold.
UNSOLD = word_set(
    """draft drafts archived inactive disabled discontinued hidden deleted unpublished offline private trash
    entwurf archiviert inaktiv deaktiviert ausgelistet versteckt geloescht"""
)
# What is said of several types is of the first that a schema has.
_NAMES = {
    "BOUGHT": BUYS,
    "VIEWED": VIEWS,
    "SEARCHED": SEARCHES,
    "SAW": SHOWS,
    "CLICKED": CLICKS,
    "REDEEMED": _REDEEMS,
    "ADDED": _CARTS,
    "FAVORITED": _FAVORITES,
    "SHARED": _SHARES,
    "REVIEWED": _REVIEWS | _COMMENTS,
    "COMMENTED": _COMMENTS,
    "RATED": RATES,
}
EVENTS = _OTHERS.union(*_NAMES.values())
# Not among EVENTS, as a status says them too.
RETURNED, CANCELLED = "RETURNED", "CANCELLED"
_NAMES |= {RETURNED: _RETURNS, CANCELLED: _CANCELS | UNPAID}


def normal(kind: str) -> str:
    """A kind's name as it is compared: Product Viewed, productViewed and so on are product_viewed."""
    return "_".join(words(kind)) if len(kind) <= 60 else kind


def kinds_of(column: ColumnProfile) -> list[str]:
    """The kinds of events that a column names, in the whole file where it was read."""
    return list(column.kinds or dict.fromkeys(column.values))


def kinds_for(column: ColumnProfile, name: str) -> list[str]:
    """Those of the column's kinds that make relationships of a type, by its own name or one known for it."""
    return sorted(kind for kind in kinds_of(column) if normal(kind) in _known(name))


def _known(name: str) -> frozenset[str]:
    """What the events of a type are called; those of one's own as others of their meaning."""
    own = name.lower()
    groups = [_NAMES[name]] if name in _NAMES else [group for group in _NAMES.values() if own in group]
    return frozenset({own}).union(*groups)


def told_by(name: str, types: Sequence[str]) -> tuple[str, str]:
    """The event that the name of a file or a column tells, by the last of its words that name one.

    What came back or to nothing is that wherever it stands: returned_orders are no orders.

    Args:
        name: such as product_views or 加购记录.
        types: those that a schema has for it.

    Returns:
        What the event is called here, and the type that takes it; each empty where there is none.
    """
    told = list(_tellings(name, types))
    undone = (one for one in told if one[0] in (RETURNED, CANCELLED))
    return next(undone, told[0] if told else ("", ""))


def all_told(name: str, types: Sequence[str]) -> list[str]:
    """The types of events that the words of a name tell, in their order."""
    return list(dict.fromkeys(fit for _, fit in _tellings(name, types) if fit))[::-1]


def _tellings(name: str, types: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What `told_by` says of each of the words that name an event, the last first."""
    some = words(name)
    for kind in ("_".join(some[i:end]) for end in range(len(some), 0, -1) for i in range(end)):
        if kind in _VAGUE:
            continue
        own = next((name for name in types if name.lower() == kind), "")
        if own:
            yield own, own
            continue
        known = [name for name, group in _NAMES.items() if kind in group]
        known.sort(key=lambda name: not name.lower().startswith(kind.removesuffix("s")))
        if known:
            fits = [*(name for name in known if name in types), *(n for n in types if kind in _known(n))]
            yield known[0], fits[0] if fits else ""


def flags_of(columns: Sequence[ColumnProfile], types: Sequence[str]) -> dict[str, tuple[ColumnProfile, str]]:
    """The columns of yes and no that are called as an event alone: by its type the column, and its yes."""
    found: dict[str, tuple[ColumnProfile, str]] = {}
    for column in columns:
        yes = next((pair[1] for pair in _FLAGS if {v.lower() for v in column.values} == set(pair)), None)
        plain = "_".join(word for word in column.words if word not in ("is", "was", "has", "flag"))
        fit = told_by(plain, types)[1]
        if yes is not None and fit and plain in _known(fit):
            found.setdefault(fit, (column, next(v for v in column.values if v.lower() == yes)))
    return found


def no_of(column: ColumnProfile) -> set[str]:
    """The values of a column of yes and no that say no; empty where it is none."""
    said = {value.lower() for value in column.values}
    no = {pair[0] for pair in _FLAGS} | {"-1"}
    if not said <= no | {pair[1] for pair in _FLAGS}:
        return set()
    return {value for value in column.values if value.lower() in no}


def codes_of(column: ColumnProfile, name: str, types: Sequence[str]) -> dict[str, str]:
    """By type of event the code of a column that stands for it, in a file whose name tells several types.

    A code is told by the first letters of a word of the name; the one code and type that are left
    belong together. Empty where that does not tell all types.
    """
    told = all_told(name, types)
    starts = {word: fits[0] for word in words(name) if (fits := all_told(word, types))}
    codes: dict[str, str] = {}
    left = sorted(set(column.values))
    for code in list(left):
        fitting = {fit for word, fit in starts.items() if word.startswith(code.lower())} - codes.keys()
        if len(fitting) == 1:
            codes[fitting.pop()] = code
            left.remove(code)
    other = [name for name in told if name not in codes]
    if codes and len(other) == len(left) == 1:
        codes[other[0]] = left[0]
    return codes if codes.keys() == set(told) else {}


def types_between(schema: Schema, source: str, target: str) -> list[str]:
    """The types of events that a schema has between two labels."""
    return [
        edge[1]
        for edge in schema.edges()
        if (edge[0], edge[2]) == (source, target) and schema.relationship(edge).kind == "event"
    ]


def is_of_kind(column: ColumnProfile, event: ColumnProfile | None) -> bool:
    """Whether nearly all rows of some kind of event have a value, however few they are."""
    if event is None or event is column or not (event.cells and column.cells and column.values):
        return False
    rows = Counter(event.cells)
    some = Counter(kind for kind, cell in zip(event.cells, column.cells, strict=True) if kind and cell)
    return any(count >= max(_FEW, _NEARLY_ALL * rows[kind]) for kind, count in some.items())


def kinds_without(event: ColumnProfile, column: ColumnProfile) -> set[str]:
    """The kinds of events none of whose rows has a value in a column, where there are more than a few."""
    if not event.cells or not column.cells:
        return set()
    some = {kind for kind, cell in zip(event.cells, column.cells, strict=True) if cell}
    return {kind for kind, rows in Counter(event.cells).items() if kind and kind not in some and rows >= _FEW}


def is_event(column: ColumnProfile, named: bool) -> bool:
    """Whether the column says what happened.

    Args:
        column: the column.
        named: its name says so.
    """
    if column.distinct > 50 or column.number is not None or column.lists or not column.values:
        return False
    known = {value for value in kinds_of(column) if normal(value) in EVENTS}
    if named:
        return bool(known)
    return len(known) > 1 and sum(value in known for value in column.values) >= 0.5 * len(column.values)
