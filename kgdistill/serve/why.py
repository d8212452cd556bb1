"""Why a student ranks an item where it does: from the bundle alone, by its own terms and by scoring anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.keys import check_count, key_texts
from kgdistill.serve.past import Past, known_places
from kgdistill.serve.reasons import into, parts, shared_part, term_name
from kgdistill.serve.scores import HistoryScorer, Pool, logit
from kgdistill.wording import Language, language_of, say

# So many purchases are taken away in turn: those that the terms themselves say carry most.
_TAKEN = 12


@dataclass(frozen=True)
class TermShare:
    """What one term of the score adds.

    Attributes:
        term: in words.
        part: by how much the score would fall if the term said what it says without evidence.
        share: of all that speaks for the item, from 0 to 1; 0 of what speaks against it.
    """

    term: str
    part: float
    share: float


@dataclass(frozen=True)
class Carrier:
    """A purchase that the score rests on.

    Attributes:
        id, title: of what was bought.
        less: by how much the score falls without it.
        rank: where the item would stand without it.
    """

    id: str
    title: str
    less: float
    rank: int


@dataclass(frozen=True)
class Counterfactual:
    """Where the item would stand without some purchases.

    Attributes:
        ids: of the purchases.
        name: the category or brand that they share, else their titles; empty where nothing is left.
        shared: whether it is that of a category or brand.
        rank: where it would stand; without any purchase left, by popularity, as such an answer is.
        asked: whether these were named, not chosen: then a rank that stays is told too.
    """

    ids: tuple[str, ...]
    name: str
    shared: bool
    rank: int
    asked: bool = False


@dataclass(frozen=True)
class Why:
    """Why an item stands where it does for a history.

    Attributes:
        id, title: of the item.
        rank, ranked: where it stands, and of how many; as `Bundle.recommend` ranks.
        pool: what was ranked.
        score: of the item; see `Bundle.score_is`.
        base: what it would be if no term had evidence; with the parts it makes the score.
        terms: all of them, the greatest part first.
        carriers: the purchases without which the score falls most, none without which it rises.
        without: where it would stand without the purchases of one kind.
        unknown: keys of the history that the bundle does not know.
        language: of the words.
    """

    id: str
    title: str
    rank: int
    ranked: int
    pool: str
    score: float
    base: float
    terms: tuple[TermShare, ...]
    carriers: tuple[Carrier, ...]
    without: Counterfactual
    unknown: tuple[str, ...]
    language: Language

    def __str__(self) -> str:
        """One sentence: where it stands, what speaks for it, and where it would stand otherwise."""
        told = self.language
        said = [say("rank", told, rank=self.rank, ranked=self.ranked)]
        if self.terms and self.terms[0].share > 0:
            said.append(say("speaks", told, share=self.terms[0].share, term=self.terms[0].term))
        said += filter(None, [self.otherwise])
        return say("comma", told).join(said) + say("stop", told)

    @property
    def otherwise(self) -> str:
        """The counterfactual alone, in words; empty where it changes no rank, which is no reason."""
        gone, told = self.without, self.language
        if gone.rank == self.rank and not gone.asked:
            return ""
        if not gone.name:
            return say("without all", told, after=gone.rank)
        message = "without some" if gone.shared else "without one"
        return say(message, told, item=gone.name, name=gone.name, count=len(gone.ids), after=gone.rank)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "because": str(self)}


def why(
    bundle: Bundle,
    history: Past,
    item: str | int,
    *,
    without: Sequence[str | int] | None = None,
    exclude: Sequence[str | int] = (),
    pool: str | None = None,
    limit: int = 3,
    language: Language | None = None,
) -> Why:
    """Why the student ranks an item where it does for a history, without graph and teacher.

    Purchases are taken out of the history, which is then scored anew. What was taken out stays
    unrecommended, so that ranks compare.

    Args:
        bundle: of a task that ranks by history.
        history: keys of items bought, the latest last, or keys by event; only what was bought is taken out.
        item: the key of what is ranked; not bought.
        without: keys of the history to take out together; None: all of the category (without one the brand,
            without either the purchase alone) of the purchase that carries most.
        exclude: keys that are not ranked either.
        pool: as `Bundle.recommend`; None: what the bundle ranks, or where that lacks the item, what holds it.
        limit: at most so many carriers.
        language: of the words; None: that of the item's name.

    Raises:
        InputError: the bundle ranks what is bought again, does not know the item or nothing of the history,
            the item was bought, a key of `without` was not, the pool lacks the item, or `limit` is below 1.
    """
    check_count(limit, "limit")
    known, unknown = bundle.index(history)
    bought = known[known < len(bundle)]
    ranked, name, place = _ranking(bundle, bought, item, pool)
    assert bundle.history is not None
    scorer, column = bundle.history.scorer, int(np.searchsorted(ranked.items, place))
    out = np.isin(ranked.items, np.concatenate([bought, bundle.index(key_texts(exclude))[0]]))
    out[column] = False
    taken = _strongest(scorer, bought, place, ranked, column)
    scores, ranks = _without_each(scorer, known, taken, ranked, column, out)
    less = scores[0] - scores[1:]
    order = np.argsort(-less, kind="stable")
    gone, said, shared = _gone(bundle, bought, int(taken[order[0]]), without)
    rest = known[~np.isin(known, gone)]
    after = _rank_of(scorer, rest, ranked, column, out)
    keys, titles = bundle.keys, bundle.items.titles
    told = language or language_of(bundle.items.names[place])
    return Why(
        keys[place], titles[place], ranks[0], len(out) - int(out.sum()), name, float(scores[0]),
        *_terms(bundle, known, ranked, column, float(scores[0]), told),
        tuple(
            Carrier(keys[taken[n]], titles[taken[n]], float(less[n]), ranks[1 + n])
            for n in order[:limit] if less[n] > 0
        ),
        Counterfactual(
            tuple(keys[i] for i in gone), said if len(rest) else "", shared, after, without is not None
        ),
        unknown, told,
    )  # fmt: skip


def _ranking(bundle: Bundle, known: IntArray, item: str | int, pool: str | None) -> tuple[Pool, str, int]:
    """A pool that holds the item, its name, and the item's position."""
    if bundle.repeats is not None:
        raise InputError(
            "the next basket is ranked by habits, not by the student's terms alone",
            hint="recommend says of each product how often and when it was bought",
        )
    ranked = bundle.ranked(pool)  # refuses a bundle that does not recommend
    place = int(known_places(bundle.items, [item])[0])
    if not len(known):
        raise InputError("nothing that was bought is known, so that nothing can be taken out")
    if place in known:
        raise InputError(f"{str(item)[:40]!r} is in the history: what was bought is not recommended")
    if place in ranked.items:
        return ranked, pool or bundle.pool, place
    if pool is not None:
        raise InputError(f"{bundle.keys[place]!r} is not in the pool {pool!r}", hint="leave the pool out")
    assert bundle.history is not None
    name = "cold" if bundle.history.scorer.cold[place] else "warm"
    return bundle.ranked(name), name, place


def _without_each(
    scorer: HistoryScorer, known: IntArray, taken: IntArray, ranked: Pool, column: int, out: BoolArray
) -> tuple[FloatArray, list[int]]:
    """The item's score and rank for a history, then for it without each of some purchases."""
    block = scorer.block([known, *(known[known != one] for one in taken.tolist())], ranked)
    ranks = _ranks(block.scores, column, out)
    if len(known) == 1:
        ranks[1:] = [_rank_of(scorer, known[:0], ranked, column, out)]
    return block.scores[:, column], ranks


def _rank_of(scorer: HistoryScorer, history: IntArray, ranked: Pool, column: int, out: BoolArray) -> int:
    """The item's rank for another history; for none, by popularity, as `Bundle.recommend` answers then."""
    rows = scorer.scores(history, ranked) if len(history) else ranked.popularity[0]
    return _ranks(rows[None], column, out)[0]


def _ranks(rows: FloatArray, column: int, out: BoolArray) -> list[int]:
    """The rank of one column in each row among those that are not out; of equals the first comes first."""
    own = rows[:, column, None]
    ahead = (rows > own) & ~out
    ahead[:, :column] |= (rows[:, :column] == own) & ~out[:column]
    return [int(n) + 1 for n in ahead.sum(axis=1)]


def _terms(
    bundle: Bundle, history: IntArray, ranked: Pool, column: int, score: float, told: Language
) -> tuple[float, tuple[TermShare, ...]]:
    """What the score is without any evidence, and what each term adds, the most first."""
    assert bundle.history is not None
    scorer, bought = bundle.history.scorer, history[history < len(bundle)]

    def named(term: int) -> str:
        if term <= scorer.estimates:
            return term_name(scorer, term, told)
        part = shared_part(scorer, bought, int(ranked.items[column]), term, bundle.items)[1]
        return term_name(scorer, term, told, part)

    added = parts(scorer, history, ranked, np.array([column]))[:, 0].astype(np.float64)
    speaking = max(float(np.maximum(added, 0).sum()), 1e-12)
    found = [TermShare(named(n), part, max(part, 0.0) / speaking) for n, part in enumerate(added.tolist())]
    return score - float(added.sum()), tuple(sorted(found, key=lambda t: -t.part))


def _strongest(scorer: HistoryScorer, history: IntArray, item: int, ranked: Pool, column: int) -> IntArray:
    """The purchases that carry most by the terms themselves: those that are worth scoring without.

    It leaves out that without a purchase all before it are one step nearer.
    """
    if len(history) <= _TAKEN:
        return history
    own = scorer.arrays["blend.user"] * np.log1p(len(history)) / 5.0
    weights = ranked.weights[:, column] + own
    attention = scorer.attention(np.arange(len(history) - 1, -1, -1))
    near = (
        attention
        * scorer.damped[history]
        * (scorer.arrays["vectors"][history] @ scorer.arrays["vectors"][item])
    )
    carried = weights[0] * near / np.sqrt(attention.sum())
    decay = float(scorer.settings["neighbour_decay"])
    for a, mean in enumerate(scorer.settings["neighbours"]):
        mine = into(scorer, history, item, a)
        mine /= np.exp(-decay * np.arange(len(history))).sum() if mean else 1.0
        eps = np.exp(scorer.arrays["blend.log_eps"][a])
        carried = carried + weights[1 + a] * (logit(mine.sum(), eps) - logit(mine.sum() - mine, eps))
    for m, groups in enumerate(scorer.groups):
        everybody, bought = scorer.arrays[f"family{m}.everybody"], groups.of(history)
        its = groups.of(np.array([item])).codes
        total = len(history) - bought.within(groups.count).sum()
        for group in its[its < groups.count].tolist():
            shared = bought.within(group)
            if not shared.any():
                continue
            usual, count = max(float(everybody[group]), 1e-9), shared.sum()
            fall = np.log1p(count / total / usual) - np.log1p((count - shared) / max(total - 1, 1) / usual)
            carried = carried + weights[scorer.estimates + 2 + m] * fall * (shared > 0) / len(its)
    return history[np.argsort(-carried, kind="stable")[:_TAKEN]]


def _gone(
    bundle: Bundle, history: IntArray, most: int, without: Sequence[str | int] | None
) -> tuple[IntArray, str, bool]:
    """Purchases to take out, in the history's order, what they are called, and whether they share that."""
    if without is not None:
        asked = known_places(bundle.items, without)
        if not len(asked) or not np.isin(asked, history).all():
            missing = next((bundle.keys[i] for i in asked if i not in history), "")
            near = nearest(missing, [bundle.keys[i] for i in history])
            raise InputError(f"{missing!r} is not in the history", where="without", hint=near)
        gone = history[np.isin(history, asked)]
        return gone, ", ".join(bundle.items.names[i] for i in gone), False
    _, brands, categories = bundle.items.shown
    for values in (categories, brands):
        if values[most]:
            gone = np.array([i for i in history if values[i] == values[most]], np.int64)
            if len(gone) > 1:
                return gone, values[most].split(" > ")[-1], True
            break
    return np.array([most]), bundle.items.names[most], False
