"""The names that shops, trackers and this graph give to what users do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kgdistill.ingest.propose.words import word_set, words

if TYPE_CHECKING:
    from kgdistill.ingest.propose.profile import ColumnProfile
    from kgdistill.store.schema import Schema

VIEWS = word_set(
    """view views viewed view_item item_view product_view product_viewed view_product productview
    product_detail_view product_detail_viewed view_content page_view pageview page_viewed pv
    detail detail_view detailview click clicks clicked product_click product_clicked ansicht klick angesehen
    visit visited"""
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
CLICKS = word_set("click clicks clicked klick ad_click ad_clicked select_promotion")
RATES = word_set("rate rated rating review reviewed bewertung review_rating")
# Known for what they are, though the graph may have no place for them.
_OTHERS = word_set(
    """cart add added addtocart add_to_cart added_to_cart cart_add product_added remove removed
    remove_from_cart removefromcart product_removed wishlist add_to_wishlist fav favorite favourite
    begin_checkout checkout select_item view_item_list view_cart refund add_payment_info add_shipping_info
    session_start first_visit user_engagement scroll"""
)
# What the status of an order says where nothing was bought in the end.
UNDONE = word_set(
    """cancelled canceled cancel refunded refund returned return failed declined rejected voided void expired
    unpaid pending storniert retourniert erstattet abgebrochen"""
)
EVENTS = VIEWS | BUYS | SEARCHES | SHOWS | CLICKS | RATES | _OTHERS
_NAMES = {
    "BOUGHT": BUYS,
    "VIEWED": VIEWS,
    "RATED": RATES,
    "SEARCHED": SEARCHES,
    "SAW": SHOWS,
    "CLICKED": CLICKS,
}


def normal(kind: str) -> str:
    """A kind's name as it is compared: Product Viewed, productViewed and so on are product_viewed."""
    return "_".join(words(kind)) if len(kind) <= 60 else kind


def kinds_of(column: ColumnProfile) -> list[str]:
    """The kinds of events that a column names, in the whole file where it was read."""
    return list(column.kinds or dict.fromkeys(column.values))


def kinds_for(column: ColumnProfile, name: str) -> list[str]:
    """Those of the column's kinds that make relationships of a type, by its own name or one known for it."""
    known = _NAMES.get(name, frozenset()) | {name.lower()}
    return sorted(kind for kind in kinds_of(column) if normal(kind) in known)


def types_between(schema: Schema, source: str, target: str) -> list[str]:
    """The types of events that a schema has between two labels."""
    return [
        edge[1]
        for edge in schema.edges()
        if (edge[0], edge[2]) == (source, target) and schema.relationship(edge).kind == "event"
    ]


def is_event(column: ColumnProfile, named: bool) -> bool:
    """Whether the column says what happened.

    Args:
        column: the column.
        named: its name says so.
    """
    if column.distinct > 50 or column.number is not None or column.lists or not column.values:
        return False
    known = {value for value in set(column.values) if normal(value) in EVENTS}
    if named:
        return bool(known)
    return len(known) > 1 and sum(value in known for value in column.values) >= 0.5 * len(column.values)
