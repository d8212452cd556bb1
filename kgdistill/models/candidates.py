"""A user's best items of a catalogue; of a large one without weighing every item against every user."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import ItemWeights, SharedGroups
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.ragged import owners, placed

LARGE = 25_000
"""Up to so many candidates every one of them is scored."""
_NEAR, _LINKED, _POPULAR = 1200, 800, 300
_GROUPS, _MEMBERS = 8, 25
_CHUNK, _USERS = 256, 64


def best_unseen(
    scorer: Callable[[IntArray, IntArray], FloatArray],
    view: Interactions,
    users: IntArray,
    pool: IntArray,
    top: int,
) -> Tensor:
    """Each user's `top` items of `pool` by score, in no order; bought ones come last.

    Of more than `LARGE` candidates a `Scorer` scores those alone that `Shortlist` names.

    Args:
        scorer: gives the scores.
        view: what was bought.
        users: ids.
        pool: ids, ascending.
        top: at most the size of the pool.

    Returns:
        Ids int64 [U, top], on the device of a `Scorer`, else on the CPU.
    """
    device = scorer.device if isinstance(scorer, Scorer) else torch.device("cpu")
    short = Shortlist(scorer, pool) if len(pool) > LARGE and isinstance(scorer, Scorer) else None
    bought, ids = view.on(device).bought, placed(pool, device)
    column = torch.full((view.purchases.shape[1],), len(pool), device=device)  # beside the pool's own
    column[ids] = torch.arange(len(pool), device=device)
    out = torch.empty(len(users), top, dtype=torch.int64, device=device)
    for start in range(0, len(users), _CHUNK):
        part = users[start : start + _CHUNK]
        items, offsets = bought.take(placed(part, device))
        seen = torch.zeros(len(part), len(pool) + 1, dtype=torch.bool, device=device)
        seen[owners(offsets, len(items)), column[items]] = True
        if short is not None:
            places, scores = short(part)
            best = _highest(scores, seen.gather(1, places), top)
            best = places.gather(1, best)
        else:
            given = scorer.scores(part, pool) if isinstance(scorer, Scorer) else scorer(part, pool)
            best = _highest(placed(given, device), seen[:, :-1], top)
        out[start : start + _CHUNK] = ids[best]
    return out


def _highest(scores: Tensor, seen: Tensor, top: int) -> Tensor:
    """Columns int64 [U, top] of the highest scores [U, C]; seen ones, bool [U, C], come last."""
    return scores.masked_fill_(seen, -torch.inf).topk(top, dim=1, sorted=False).indices


class Shortlist:
    """A few thousand candidates of each user, and their scores.

    Those whose vectors are nearest, to which the weights between items lead, that are most bought, and the
    most bought of the groups that the history holds most of.

    Args:
        scorer: whose.
        pool: ids, ascending.
    """

    def __init__(self, scorer: Scorer, pool: IntArray) -> None:
        self._scorer, self._pool = scorer, pool
        self._index = placed(pool, scorer.device)
        self._vectors = scorer.vectors[self._index]
        order = np.argsort(-scorer.view.recent[pool], kind="stable")
        self._popular = placed(order[:_POPULAR].copy(), scorer.device)
        groups = [term for term in scorer.terms.terms if isinstance(term, SharedGroups)]
        self._members = [(term, self._most_bought(term, order)) for term in groups]

    def _most_bought(self, term: SharedGroups, order: IntArray) -> Tensor:
        """Places in the pool of each group's most bought items, int64 [groups + 1, `_MEMBERS`], or -1."""
        rows = sp.coo_matrix(term.family.incidence[self._pool[order]])
        first = np.argsort(rows.col, kind="stable")
        group, item = rows.col[first].astype(np.int64), order[rows.row[first]]
        place = np.arange(len(group)) - np.searchsorted(group, group)
        out = np.full((term.family.groups + 1, _MEMBERS), -1, np.int64)
        kept = place < _MEMBERS
        out[group[kept], place[kept]] = item[kept]
        return placed(out, self._scorer.device)

    @torch.no_grad()
    def __call__(self, users: IntArray) -> tuple[Tensor, Tensor]:
        """Places in the pool int64 [U, M] and scores float32 [U, M]; one that stands twice scores -inf."""
        parts = [self._part(users[start : start + _USERS]) for start in range(0, len(users), _USERS)]
        places, scores = (torch.cat(column) for column in zip(*parts, strict=True))
        return places, scores

    def _part(self, users: IntArray) -> tuple[Tensor, Tensor]:
        scorer, terms = self._scorer, self._scorer.terms.terms
        vectors, size = scorer.user_vectors(users), len(self._pool)
        linked = {
            t: term.pairs(users, self._pool) for t, term in enumerate(terms) if isinstance(term, ItemWeights)
        }
        named = [(vectors @ self._vectors.T).topk(min(_NEAR, size), dim=1).indices]
        named += [scores.topk(min(_LINKED, size), dim=1).indices for scores in linked.values()]
        named.append(self._popular.expand(len(users), -1))
        for term, members in self._members:
            groups = term.lift(users).topk(min(_GROUPS, len(members)), dim=1).indices
            named.append(members[groups].flatten(1))
        places = torch.cat(named, dim=1).sort(dim=1).values
        twice = places < 0
        twice[:, 1:] |= places[:, 1:] == places[:, :-1]
        places = places.clamp(min=0)
        items = self._pool[places.cpu().numpy()]
        said = tuple(
            linked[t].gather(1, places) if t in linked else term.lists(users, items)
            for t, term in enumerate(terms)
        )
        evidence = scorer.terms.evidence(placed(users, scorer.device), self._index[places], said)
        scores = scorer.model.score(vectors, self._vectors[places], evidence).float()
        return places, scores.masked_fill(twice, -torch.inf)
