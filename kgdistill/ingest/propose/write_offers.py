"""Writes ads, campaigns and coupons, who saw, received and redeemed them."""

from __future__ import annotations

from typing import Any

from kgdistill.ingest.propose.as_value import as_key, as_moment
from kgdistill.ingest.propose.events import kinds_for, types_between
from kgdistill.ingest.propose.headings import has_word
from kgdistill.ingest.propose.moments import sending, times_of
from kgdistill.ingest.propose.profile import ColumnProfile, Sample
from kgdistill.ingest.propose.words import END
from kgdistill.ingest.propose.write_events import unheard, when
from kgdistill.ingest.propose.yaml_text import Pieces

_CAMPAIGN_WORDS = {
    "start_at": "start starts sent begin begins beginn anfang ab from von startdate starttime startdatum "
    "startzeit",
    "end_at": f"{END} to",
    "campaign_type": "type typ art campaigntype kampagnentyp",
}


def write_ads(pieces: Pieces, user: Any, product: Any) -> None:
    """Ads, what they are for and who saw them; keys of users and products are None where there are none."""
    found = pieces.found
    assert found.ad is not None
    ad = as_key(found.ad)
    pieces.node("Ad", ad, {"title": None if found.title is None else found.title.name})
    if found.campaign is not None:
        campaign = as_key(found.campaign)
        pieces.node("Campaign", campaign, {})
        pieces.edge(("Ad", "PART_OF", "Campaign"), ad, campaign, {}, stub=False)
    if product is not None:
        pieces.edge(("Ad", "FOR", "Product"), ad, product, {})
    if user is None or found.time is None:
        return
    at = {"at": as_moment(found.time)}
    if found.event is None:
        needed = when(found, "SAW")
        pieces.edge(("User", "SAW", "Ad"), user, ad, at, when=needed, doubt="seen, or clicked?")
        return
    for name in types_between(pieces.schema, "User", "Ad"):
        if kinds_for(found.event, name):
            pieces.edge(("User", name, "Ad"), user, ad, at, when=when(found, name))
    unheard(pieces, types_between(pieces.schema, "User", "Ad"))


def _is_called(column: ColumnProfile, known: str) -> bool:
    return has_word(column, known) or column.flat in known.split()


def _of_campaign(name: str, sample: Sample, taken: set[str]) -> dict[str, Any]:
    """A property of a campaign or coupon, by a column that is called so; empty where there is none."""
    some = (c for c in sample.columns if _is_called(c, _CAMPAIGN_WORDS[name]) and c.values)
    timed = name != "campaign_type"
    column = next((c for c in some if (c.time is not None) == timed), None)
    if column is None:
        return {}
    taken.add(column.name)
    return {name: as_moment(column)}


def _redeemed(pieces: Pieces, sample: Sample, keys: tuple[Any, Any, Any]) -> None:
    """Who redeemed a coupon, and received its campaign where a time of its own tells when.

    Args:
        pieces: what is made.
        sample: the first rows.
        keys: of the user, the coupon and the campaign, None where there is none.
    """
    found, (user, coupon, campaign) = pieces.found, keys
    own, sent = times_of(sample.columns, ["REDEEMED"]).get("REDEEMED"), sending(sample.columns)
    needed = when(found, "REDEEMED")
    if found.event is None and own is not None and own is not found.time:
        needed = [] if own.full else [{"column": own.name, "present": True}]
    else:
        own = found.time
    assert own is not None
    pieces.edge(("User", "REDEEMED", "Coupon"), user, coupon, {"at": as_moment(own)}, when=needed)
    if found.event is None and campaign is not None and sent is not None and sent is not own:
        there = [] if sent.full else [{"column": sent.name, "present": True}]
        pieces.edge(("User", "RECEIVED", "Campaign"), user, campaign, {"at": as_moment(sent)}, when=there)
        found.unsure.pop("time", None)


def write_campaigns(pieces: Pieces, sample: Sample, taken: set[str], user: Any, product: Any) -> None:
    """Campaigns and coupons, who received and redeemed them.

    Args:
        pieces: what is made.
        sample: the first rows.
        taken: names of columns with another role; those that are used here are added.
        user, product: their keys; None where there is none.
    """
    found = pieces.found
    at = None if found.time is None else as_moment(found.time)
    campaign = None if found.campaign is None else as_key(found.campaign)
    coupon = None if found.coupon is None else as_key(found.coupon)
    if campaign is not None:
        told: dict[str, Any] = {}
        if user is None and coupon is None and product is None:
            told["title"] = None if found.title is None else found.title.name
            # No event is made of them.
            found.unsure.pop("time", None)
            for name in _CAMPAIGN_WORDS:
                told |= _of_campaign(name, sample, taken)
        pieces.node("Campaign", campaign, told)
        if user is not None and coupon is None:
            if at is None:
                found.unsure["time"] = "who received a campaign needs the time when"
            else:
                needed, sent = when(found, "RECEIVED"), sending(sample.columns)
                if found.event is None and sent is not None and sent.full:
                    at, needed = as_moment(sent), []
                pieces.edge(("User", "RECEIVED", "Campaign"), user, campaign, {"at": at}, when=needed)
    if coupon is None:
        return
    if user is None:
        found.unsure.pop("time", None)
    pieces.node("Coupon", coupon, _of_campaign("start_at", sample, taken) if user is None else {})
    if user is not None and at is not None:
        _redeemed(pieces, sample, (user, coupon, campaign))
    if campaign is not None:
        pieces.edge(("Coupon", "PART_OF", "Campaign"), coupon, campaign, {}, stub=False)
    if product is not None and user is None:
        pieces.edge(("Coupon", "FOR", "Product"), coupon, product, {})
