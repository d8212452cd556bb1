"""Finds users whose ids are hashed by what was hashed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kgdistill.private import hash_of

if TYPE_CHECKING:
    from kgdistill.store import GraphStore


def by_salt(asked: str, known: Callable[[set[str]], Collection[str]]) -> str:
    """A user's id: what was typed, or where that is nobody's its hash with KGDISTILL_SALT, if somebody's.

    Args:
        asked: what was typed; mappings hash addresses of mail in small letters.
        known: those of some ids that are users'.
    """
    salt = os.environ.get("KGDISTILL_SALT", "").encode()
    # Half a surrogate pair is in no id.
    if not salt or asked != asked.encode(errors="replace").decode():
        return asked
    hashes = [hash_of(text, salt) for text in (asked, asked.lower())]
    users = known({asked, *hashes})
    return next((key for key in (asked, *hashes) if key in users), asked)


def of_store(asked: str, store: GraphStore) -> str:
    """As `by_salt`, of the users of a store."""
    from kgdistill.explore.paths import Paths

    return by_salt(asked, Paths(store, None).users)
