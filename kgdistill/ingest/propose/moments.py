"""Tells which of several times in a row is that of what happened."""

from __future__ import annotations

from collections.abc import Sequence

from kgdistill.ingest.propose.events import told_by
from kgdistill.ingest.propose.headings import has
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import TIME, word_set

# When a row came into a store of data, or was written anew there.
_ARRIVED = word_set(
    """received loaded uuid sync synced synchronized ingested ingestion inserted updated update modified
    modification changed sent imported import exported export extracted etl aktualisiert aktualisierung
    geaendert aenderung aenderungsdatum empfangen geladen importiert exportiert modifie maj actualizado
    actualizacion modificado modificacion bijgewerkt gewijzigd zaktualizowano aktualizacji modyfikacji
    接收 收到 入库 入庫 同步 导入 導入 导出 匯入 匯出 受信 取込"""
)
_SENT = word_set(
    """sent received delivered versandt versendet verschickt gesendet zugestellt empfangen
    发送 發送 发放 發放 送信"""
)


def is_arrival(column: ColumnProfile) -> bool:
    """Whether a time is called as that of a row, and not as that of what it tells."""
    return not _ARRIVED.isdisjoint(column.words)


def time_rank(column: ColumnProfile) -> tuple[object, ...]:
    """The more surely a time is when something happened, the higher.

    That of the row itself comes after all that most rows have.
    """
    planned = column.time is not None and column.time.ahead
    happened = not is_arrival(column) and 2 * len(column.values) > column.rows
    return (not planned, happened, len(column.values) == column.rows, column.distinct, has(column, TIME))


def other_times(others: Sequence[ColumnProfile]) -> str:
    """What to say of the times that are not taken for that of the event."""
    rows = [c.name for c in others if is_arrival(c)]
    told = (
        [f"or {', '.join(c.name for c in others if c.name not in rows)}"] if len(rows) < len(others) else []
    )
    told += [f"when the row came in or was changed: {', '.join(rows)}"] if rows else []
    return "; ".join(told)


def times_of(columns: Sequence[ColumnProfile], types: Sequence[str]) -> dict[str, ColumnProfile]:
    """By type of event the first time that is called as it: redeemed_at is when a coupon was redeemed."""
    found: dict[str, ColumnProfile] = {}
    for column in columns:
        fit = told_by(column.name, types)[1] if _is_time(column) else ""
        if fit:
            found.setdefault(fit, column)
    return found


def sending(columns: Sequence[ColumnProfile]) -> ColumnProfile | None:
    """The time at which something was sent to somebody, or came there."""
    return next((c for c in columns if _is_time(c) and _SENT & set(c.words)), None)


def _is_time(column: ColumnProfile) -> bool:
    """Whether it holds times; numbers may be others by chance."""
    return column.time is not None and (column.time.unit is None or has(column, TIME))
