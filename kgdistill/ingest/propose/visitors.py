"""Tells by what visitors are known who have not signed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kgdistill.ingest.propose.headings import is_id
from kgdistill.ingest.propose.profile import ColumnProfile
from kgdistill.ingest.propose.words import word_set

# The surest first: a visitor has several sessions, and a device several visitors.
_VISITORS = [
    word_set(some)
    for some in (
        """anonymous anonymousid anon pseudo visitor fullvisitor besucher guest gast anonyme anonimo visiteur
        visitante bezoeker anonim anoniem gosc invite invitado 访客 訪客 游客 遊客 ゲスト 비회원""",
        """device cookie browser fingerprint geraet appareil dispositivo apparaat urzadzenie
        设备 設備 装置 端末 기기""",
        "session sitzung sesion sessie sesja",
    )
]


def _place(column: ColumnProfile) -> int | None:
    """How surely a column tells visitors apart, 0 most; None where its name does not say so."""
    return next((n for n, some in enumerate(_VISITORS) if not some.isdisjoint(column.words)), None)


def is_visitor(column: ColumnProfile) -> bool:
    """Whether it is called as what tells visitors apart, whoever they are."""
    return _place(column) is not None and is_id(column)


def with_visitor(
    user: ColumnProfile | None, columns: Sequence[ColumnProfile]
) -> tuple[ColumnProfile | None, dict[str, str]]:
    """The user's key, with what counts where a row has none: the id of a visitor that most such rows have.

    Args:
        user: the key; it stays as it is where every row has one.
        columns: those that are taken for nothing else.

    Returns:
        The key, and what to say of it by its name.
    """
    if user is None or user.full or not user.cells or user.lists or is_visitor(user):
        return user, {}
    empty = [row for row, cell in enumerate(user.cells) if not cell]

    def fills(column: ColumnProfile) -> int:
        return sum(bool(column.cells[row]) for row in empty) if column.cells else 0

    some = [
        c
        for c in columns
        if is_visitor(c) and c.distinct > 1 and c.time is None and 2 * fills(c) > len(empty) > 0
    ]
    if not some:
        return user, {}
    visitor = min(some, key=lambda c: (_place(c), -fills(c)))
    told = f"{user.lacking} have none, and count as of {visitor.name}: who signs in later is two users"
    lost = len(empty) - fills(visitor)
    if lost or not visitor.full:
        told += f"; {lost:,} have neither and make no event"
        return replace(user, otherwise=visitor.name), {user.name: told}
    return replace(user, otherwise=visitor.name, rows=len(user.values), gaps=False), {user.name: told}
