"""Dates and times that a person writes, and all times as they are kept."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from kgdistill.errors import InputError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def moment(text: str, where: str) -> datetime:
    """A date or a time in ISO 8601; without a zone it is UTC.

    Raises:
        InputError: it is neither.
    """
    try:
        # Python 3.10 does not read the Z that later versions do.
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError as error:
        hint = "write 2017-10-15 or 2017-10-15T12:00:00"
        raise InputError(f"{text!r} is not a date", where=where, hint=hint) from error


def zone_named(name: str) -> ZoneInfo:
    """A time zone.

    Raises:
        ValueError: there is none of that name.
    """
    from zoneinfo import ZoneInfo  # two milliseconds that few commands need

    try:
        return ZoneInfo(name)
    except (OSError, KeyError) as error:
        raise ValueError(str(error)) from error


def naive_utc(time: datetime) -> datetime:
    """A time as it is kept everywhere: in UTC, without saying so; one without a zone is taken as UTC."""
    return time if time.tzinfo is None else time.astimezone(timezone.utc).replace(tzinfo=None)


def local(time: datetime, zone: str) -> datetime:
    """A time (naive UTC) as the clocks of `zone` show it, without saying so."""
    if zone == "UTC":
        return time
    return time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone(zone_named(zone)).replace(tzinfo=None)
