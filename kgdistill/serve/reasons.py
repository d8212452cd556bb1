"""Why a student ranks an item high, from the terms of its score alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.serve.history import Family
from kgdistill.serve.items import Items
from kgdistill.serve.scores import HistoryScorer, Pool
from kgdistill.wording import Language, event_name, field_name, language_of, say

# The least share of all that speaks for an item which one term must have to be named.
_LEAST = 1 / 3


def reasons(
    scorer: HistoryScorer, history: IntArray, items: IntArray, pool: Pool, catalogue: Items
) -> list[str]:
    """The term that raises each item most, in words of its name's language; empty where none stands out.

    A term's part is as `parts` has it.

    Args:
        scorer: of the bundle.
        history: what the scores rest on, as `HistoryScorer` reads it.
        items: positions, all in the pool.
        pool: what was ranked.
        catalogue: of the bundle.
    """
    if not len(history) or not len(items):
        return [""] * len(items)
    columns = np.searchsorted(pool.items, items)
    of_terms = parts(scorer, history, pool, columns)
    found = []
    for item, mine in zip(items.tolist(), of_terms.T, strict=True):
        most = int(mine.argmax())
        stands_out = mine[most] > 0 and mine[most] >= _LEAST * np.maximum(mine, 0).sum()
        found.append(_said(scorer, history, item, most, catalogue) if stands_out else "")
    return found


def parts(scorer: HistoryScorer, history: IntArray, pool: Pool, columns: IntArray) -> FloatArray:
    """What the estimates, popularity and each family add to some items, float32 [estimates + 1 + M, C].

    By how much the score would fall if the term said what it says of an item without evidence; of popularity,
    of the average item.

    Args:
        scorer: of the bundle.
        history: positions, the latest last.
        pool: what is ranked.
        columns: of the items in the pool.
    """
    own = scorer.arrays["blend.user"]
    block = scorer.block([history], pool)
    terms = scorer.terms(block, pool, np.array([0]), columns[None])[:, 0]
    weights = pool.weights[:, columns] + own[:, None] * block.lengths[0]
    e = scorer.estimates
    silent = np.zeros((len(terms), 1), np.float32)
    silent[:e, 0] = scorer.silent
    silent[e : e + 2, 0] = scorer.popularity.mean(1)
    added = weights * (terms - silent)
    added[e] += added[e + 1]  # popularity is one reason
    return np.delete(added, e + 1, axis=0)


def _said(scorer: HistoryScorer, past: IntArray, item: int, term: int, catalogue: Items) -> str:
    arrays, estimates, names = scorer.arrays, scorer.estimates, catalogue.names
    told = language_of(names[item])
    history = past[past < len(names)]
    if 0 < term < estimates and not scorer.settings["neighbours"][term - 1]:
        place = past[int(into(scorer, past, item, term - 1).argmax())]
        kind, which = divmod(int(place), len(names))
        if not kind:
            return say("goes with", told, item=names[which])
        event = event_name(list(scorer.events)[kind - 1], told)
        return say("this itself" if which == item else "another", told, event=event, item=names[which])
    if not len(history):
        return say("popular", told) if term == estimates else ""
    if term == 0:
        weight = scorer.attention(np.arange(len(history) - 1, -1, -1)) * scorer.damped[history]
        near = weight * (arrays["vectors"][history] @ arrays["vectors"][item])
        return say("like", told, item=names[history[int(near.argmax())]])
    if term < estimates:
        strengths = into(scorer, history, item, term - 1)
        return say("bought by", told, item=names[history[int(strengths.argmax())]])
    if term == estimates:
        return say("popular", told)
    shared, part = shared_part(scorer, history, item, term, catalogue)
    if not len(shared):
        return ""
    if part:
        return say("same part", told, part=part, item=names[shared[-1]])
    return say("same", told, fields=_fields(scorer, term, told), item=names[shared[-1]])


def shared_part(
    scorer: HistoryScorer, history: IntArray, item: int, term: int, catalogue: Items
) -> tuple[IntArray, str]:
    """The purchases in the group of an item that raises it most, and what a part of a list that it is says.

    Args:
        scorer: of the bundle.
        history: positions of purchases, the latest last.
        item: position.
        term: of a family, as a row of `parts`.
        catalogue: of the bundle.
    """
    m = term - scorer.estimates - 1
    groups, family = scorer.groups[m], Family.of(scorer.settings["families"][m])
    mine = groups.of(np.array([item])).codes
    lift = scorer.lift(m, scorer.known([history])).values[0]
    group = int(mine[lift[mine].argmax()])
    shared = history[groups.of(history).within(group) > 0] if group < groups.count else history[:0]
    # A new item may have parts without a group; then what was bought says which it is.
    for place in (item, *shared[-1:].tolist()) if family.split else ():
        values, _ = family.said({name: [catalogue.table[name][place].as_py()] for name in family.fields})
        held = groups.of(np.array([place])).codes.tolist()
        if len(values) == len(held) and len(shared):
            levels = (value.rsplit(" > ", 1)[-1] for value in values[held.index(group)])
            return shared, say("and", language_of(catalogue.names[item])).join(levels)
    return shared, ""


def _fields(scorer: HistoryScorer, term: int, told: Language) -> str:
    """What items of one group of a family share."""
    family = scorer.settings["families"][term - scorer.estimates - 1]
    above = say("broader", told) if family["above"] else ""
    return say("and", told).join(above + field_name(name, told) for name in family["fields"])


def term_name(scorer: HistoryScorer, term: int, told: Language, part: str = "") -> str:
    """What a row of `parts` speaks of, for people; with the part of `shared_part`."""
    if term == 0:
        return say("likeness", told)
    if term < scorer.estimates:
        return say("from buyers" if scorer.settings["neighbours"][term - 1] else "from baskets", told)
    if term == scorer.estimates:
        return say("popularity", told)
    message = "sameness of" if part else "sameness"
    return say(message, told, fields=_fields(scorer, term, told), part=part)


def into(scorer: HistoryScorer, history: IntArray, item: int, a: int) -> npt.NDArray[np.float64]:
    """What each item of the history adds to one item by a table, float64 [H]."""
    data, indices, indptr = (scorer.arrays[f"neighbours{a}.{name}"] for name in ("data", "indices", "indptr"))
    left, right = (scorer.arrays[f"neighbours{a}.{side}"] for side in ("left", "right"))
    rows = scorer.factor_rows[a]
    out: npt.NDArray[np.float64] = np.zeros(len(history))
    if rows[item] >= 0:
        # A product knows purchases alone.
        known = np.flatnonzero(history < len(rows))
        known = known[rows[history[known]] >= 0]
        out[known] = left[rows[history[known]]] @ right[rows[item]]
    for n, place in enumerate(history.tolist()):
        part: Any = slice(indptr[place], indptr[place + 1])
        out[n] += data[part][indices[part] == item].sum()
    return out * scorer.decayed(scorer.known([history]))
