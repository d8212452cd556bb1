"""Recommending: what is ranked for histories, and the answers that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.ranking.topk import top_k
from kgdistill.serve.answer import Answer, Basis
from kgdistill.serve.history import POOLS, History
from kgdistill.serve.items import Items, Where
from kgdistill.serve.reasons import reasons
from kgdistill.serve.scores import HistoryScorer, Pool

if TYPE_CHECKING:
    from kgdistill.serve.bundle import Bundle

_KEPT = 16


class Pools:
    """Warm items, cold ones or all, as far as a filter leaves them; the latest are kept ready.

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


def check_histories(histories: Any, exclude: Sequence[Any] | None) -> None:
    """InputError where these are no histories, or not as many as lists to exclude."""
    if not isinstance(histories, Iterable):
        raise InputError(f"{histories!r:.20} is no list of histories", hint="give a list of lists of keys")
    if exclude is not None and isinstance(histories, Sized) and len(exclude) != len(histories):
        raise InputError(f"there are {len(histories):,} histories and {len(exclude):,} to exclude")


def by_words(
    bundle: Bundle, scorer: HistoryScorer, known: IntArray, text: str, ranked: Pool
) -> tuple[Basis | None, IntArray, Pool]:
    """What a text leaves to be ranked, or what it stands for where nothing is known of a history.

    Args:
        bundle: knows words where there are some.
        scorer: of its histories.
        known: positions of a history.
        text: words, or none.
        ranked: what is ranked without it.

    Returns:
        On what an answer rests then, None where the text changes nothing; the history; what is ranked.

    Raises:
        InputError: the text is none, or the bundle cannot search.
    """
    if not isinstance(text, str):
        raise InputError(f"{text!r:.20} is no text", where="text")
    if not text.strip():
        return None, known, ranked
    if not len(known):
        # The nearest in words stand for a history, the nearest for the latest.
        bought = bundle.nearest(text)[::-1]
        return ("text" if len(bought) else None), bought, ranked
    wanted = bundle.fits(text, ranked.items)
    if not wanted.any():
        return None, known, ranked
    return "history and text", known, scorer.pool(ranked.items[wanted])


def recommended(
    items: Items,
    scorer: HistoryScorer,
    ranked: Pool,
    histories: Sequence[tuple[IntArray, tuple[str, ...]]],
    exclude: Sequence[IntArray],
    k: int,
) -> list[Answer]:
    """The best items for each history; without a known one the most bought.

    Args:
        items: what is answered with.
        scorer: of the histories.
        ranked: what is ranked.
        histories: positions of the known keys, the latest last, and the unknown keys.
        exclude: positions for each history.
        k: how many, at most the pool's size.
    """
    asked = [n for n, (known, _) in enumerate(histories) if len(known)]
    first, scores = scorer.best([histories[n][0] for n in asked], [exclude[n] for n in asked], k, ranked)
    rows = dict(zip(asked, zip(first, scores, strict=True), strict=True))
    answers = []
    for n, (_, unknown) in enumerate(histories):
        if n in rows:
            answers.append(Answer("history", items.hits(*rows[n]), unknown))
            continue
        bought = ranked.popularity[0].copy()
        bought[np.isin(ranked.items, exclude[n])] = -np.inf
        most, score = top_k(bought[None], ranked.items, k)
        answers.append(Answer("popularity", items.hits(most[0], score[0]), unknown))
    return answers


def reasoned(answer: Answer, items: Items, scorer: HistoryScorer, bought: IntArray, ranked: Pool) -> Answer:
    """The same answer with what raises each item most."""
    places = items.index([hit.id for hit in answer])[0]
    told = reasons(scorer, bought, places, ranked, items)
    hits = (hit._replace(because=why) for hit, why in zip(answer, told, strict=True))
    return replace(answer, hits=tuple(hits))
