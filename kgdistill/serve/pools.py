"""What is ranked for histories: warm items, cold ones, or all, as far as a filter leaves them."""

from __future__ import annotations

from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.serve.history import POOLS, History
from kgdistill.serve.items import Items, Where
from kgdistill.serve.scores import Pool

_KEPT = 16


class Pools:
    """Items laid out for scoring; the latest are kept ready.

    Args:
        history: scores them.
        items: what filters speak of.
    """

    def __init__(self, history: History, items: Items) -> None:
        self._history, self._items = history, items
        self._ready: dict[tuple[str, str], Pool] = {}

    def of(self, pool: str | None, where: Where | None) -> Pool:
        """See `Bundle.ranked`."""
        name = str(self._history.settings()["pool"]) if pool is None else pool
        if name not in POOLS:
            known = ", ".join(POOLS)
            raise InputError(f"no pool {name!r}", hint=f"{nearest(str(name), POOLS)}known: {known}")
        mask = self._items.mask(where) if where else None
        cached = (name, repr(sorted((where or {}).items(), key=str)))
        if cached not in self._ready:
            items = self._history.positions(name)
            made = self._history.scorer.pool(items if mask is None else items[mask[items]])
            while len(self._ready) >= _KEPT:
                self._ready.pop(next(iter(self._ready)), None)
            self._ready[cached] = made
        return self._ready[cached]
