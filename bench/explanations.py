"""Whether explanations are true of the teacher, the same over seeds, and short.

    python bench/explanations.py --runs SEED0 SEED1 SEED2 --name NAME

Each run needs its teacher and its bundle. Of users spread over all, on what was bought before the cut, the
student of the first run recommends; its ranks 1, 5 and 15 are the pairs (user, product).

Fidelity: purchases are taken out of the history one after another, in the order of the explanation's paths,
and the teacher scores the product anew; its score, its terms and everybody's shares stay as they were
fitted. The area of the deletion curve is the mean fall of the score over 1, 2, 3, 5 and 8 purchases taken
out (as far as there are so many), in the teacher's own units; the more falls, the truer is the explanation.
It is held against random purchases, the paths of the pair in random order, the purchases most similar to
the product by the student's vectors, and paths in the former order (by specificity). Every order takes out
as many purchases. The way to order paths is chosen on every other user; figures are of the others. Means of
the seeds; intervals by a bootstrap over users, p by Holm.

Stability: the share of pairs whose first path is the same with all students. Sparsity: paths and purchases.
Writes results/explanations.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from bench.comparisons import Resamples, holm
from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.explore import Explanation, explain_frozen
from kgdistill.explore.reasons import recency
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import SharedGroups
from kgdistill.progress import step
from kgdistill.run.run import Run
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.weigh import PathWeights
from kgdistill.serve.why import why
from kgdistill.tasks.histories import histories
from kgdistill.tasks.interactions import Interactions

RESULTS = Path(__file__).parent / "results" / "explanations.json"
USERS, RANKS, DEPTHS = 180, (1, 5, 15), (1, 2, 3, 5, 8)
FORMER = ("MADE_BY", "IN_CATEGORY", "ALSO_BOUGHT")
DRAWS = 5
ORDERS = ("evidence and student", "specificity and student", "student alone", "evidence", "specificity")
CONTROLS = ("random purchases", "random paths", "most similar purchase", "former order")
Pair = tuple[str, str]


def purchases_of(paths: Sequence[Explanation]) -> list[str]:
    """The purchases on paths, in their order, each once."""
    return list(dict.fromkeys(key for path in paths for key in path.members))


def in_order(paths: Sequence[Explanation], order: str) -> list[Explanation]:
    """The paths by one of `ORDERS`."""

    def value(path: Explanation) -> float:
        telling = path.specificity if order.startswith("specificity") else path.evidence
        if order == "student alone":
            return path.weight or 0.0
        return telling * (path.weight or 0.0) if order.endswith("student") else telling

    return sorted(paths, key=lambda p: (-value(p), recency(p.bought_at), p.kind, p.steps))


def taken_out(
    paths: Sequence[Explanation], had: Sequence[str], near: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[list[str]]]:
    """By order the purchases in which they are taken out; several times where they are drawn."""
    found = {order: [purchases_of(in_order(paths, order))] for order in ORDERS}
    former = [path for path in paths if path.kind in FORMER]
    found["former order"] = [purchases_of(in_order(former, "specificity"))]
    found["most similar purchase"] = [sorted(had, key=lambda key: -near.get(key, -1.0))]
    drawn = [list(map(str, rng.permutation(list(had)))) for _ in range(DRAWS)]
    found["random purchases"] = drawn
    found["random paths"] = [
        purchases_of([paths[i] for i in rng.permutation(len(paths))]) for _ in range(DRAWS)
    ]
    # All take out as many: behind the last path come purchases drawn at random.
    return {name: [list(dict.fromkeys([*row, *drawn[0]])) for row in rows] for name, rows in found.items()}


class Teacher:
    """A run's teacher, which scores histories with something taken out.

    Args:
        run: whose teacher.
        seen: what every user had before the cut.
    """

    def __init__(self, run: Run) -> None:
        self.scorer: Scorer = run.by_history.teacher_scorer()
        self.view = self.scorer.view
        self.families = [t.family for t in self.scorer.terms.terms if isinstance(t, SharedGroups)]

    def without(self, user: int, item: int, taken: Sequence[IntArray]) -> FloatArray:
        """Scores of one item for the user's history without each of these items, float32 [len(taken)]."""
        row = slice(self.view.purchases.indptr[user], self.view.purchases.indptr[user + 1])
        items, ages = self.view.purchases.indices[row], self.view.ages[row]
        kept = [~np.isin(items, gone) for gone in taken]
        flat = (np.concatenate([a[k] for k in kept]) for a in (items, ages))
        indices, aged = flat
        ends = np.concatenate([[0], np.cumsum([int(k.sum()) for k in kept])])
        shape = (len(taken), self.view.purchases.shape[1])
        matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, ends), shape=shape)
        view = Interactions(matrix, aged, self.view.min_count)
        view.counts, view.recent = self.view.counts, self.view.recent
        for family in self.families:
            shares, _ = view.group_shares(family)
            view._shares[family] = (shares, self.view.group_shares(family)[1])
        scorer = replace(self.scorer, terms=self.scorer.terms.over(view))
        return np.asarray(scorer(np.arange(len(taken)), np.array([item]))[:, 0])


def asked(run: Run, bundle: Bundle, had: Mapping[str, list[str]]) -> list[Pair]:
    """Pairs of users, spread over all, and what the student ranks for them."""
    users = [user for user, items in had.items() if len(items) >= run.config.discovery.min_user_events]
    users = users[:: max(1, len(users) // USERS)][:USERS]
    answers = bundle.recommend_many([had[user] for user in users], max(RANKS))
    return [(u, a[rank - 1].id) for u, a in zip(users, answers, strict=True) for rank in RANKS]


def deletions(
    run: Run, bundle: Bundle, found: Mapping[Pair, list[Explanation]], had: Mapping[str, list[str]]
) -> dict[str, DoubleArray]:
    """By order the mean fall of the teacher's score of each pair, float64 [pairs]."""
    teacher, rng = Teacher(run), np.random.default_rng(0)
    protocol, unit = run.config.discovery, bundle.vectors
    assert unit is not None
    items, people = (
        {str(key): n for n, key in enumerate(run.snapshot.keys(label))}
        for label in (protocol.candidates, protocol.anchors)
    )
    areas: dict[str, list[float]] = {name: [] for name in (*ORDERS, *CONTROLS)}
    with step("Taking out purchases", total=len(found)) as work:
        for (user, product), paths in found.items():
            keys = had[user]
            near = unit[bundle.index(keys)[0]] @ unit[bundle.items.places[product]]
            rows = taken_out(paths, keys, dict(zip(keys, near.tolist(), strict=True)), rng)
            depths = [d for d in DEPTHS if d < len(keys)]
            ids = [
                np.array([items[key] for key in row[:depth]])
                for draws in rows.values() for row in draws for depth in depths
            ]  # fmt: skip
            scores = teacher.without(people[user], items[product], [np.zeros(0, np.int64), *ids])
            falls = iter((scores[0] - scores[1:]).reshape(-1, len(depths)).mean(axis=1).tolist())
            for name, draws in rows.items():
                areas[name].append(float(np.mean([next(falls) for _ in draws])))
            work.advance()
    return {name: np.array(values) for name, values in areas.items()}


def first_paths(found: Mapping[Pair, list[Explanation]], order: str) -> list[tuple[Any, ...]]:
    """What tells the first path of each pair from others: its kind and what it leads through."""
    tops = (in_order(paths, order)[0] for paths in found.values())
    return [(top.kind, top.steps[1], top.steps[min(4, len(top.steps) - 3)]) for top in tops]


def by_user(values: DoubleArray, users: Sequence[str]) -> DoubleArray:
    """The mean over each user's pairs, float64 [users]."""
    names, place = np.unique(np.array(users), return_inverse=True)
    out: DoubleArray = np.bincount(place, values) / np.bincount(place)
    assert len(out) == len(names)
    return out


def figures(areas: Mapping[str, DoubleArray], chosen: str, users: Sequence[str]) -> dict[str, Any]:
    """The areas with intervals, and the chosen order's less each control's; pairs of the users to report."""
    drawn_of = [by_user(areas[name], users) for name in (chosen, *CONTROLS)]
    drawn = Resamples(len(drawn_of[0])).draw(*(row[None] for row in drawn_of))
    differences = [drawn[0].difference(other) for other in drawn[1:]]
    adjusted = holm([one.p for one in differences])
    estimates = zip((chosen, *CONTROLS), drawn, strict=True)
    return {
        "area": {name: _interval(row.estimate()) for name, row in estimates},
        "above": {
            name: {**_interval(one), "p": p}
            for name, one, p in zip(CONTROLS, differences, adjusted, strict=True)
        },
    }


def _interval(found: Any) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def known_before(run: Run, bundle: Bundle) -> tuple[pa.Table, dict[str, list[str]]]:
    """What was bought before the cut, and by user what of it the bundle knows, the latest last."""
    purchases = run.purchases()
    before = purchases.filter(pc.less(purchases["at"], run.config.discovery.cut))
    return before, {user: known.items for user, known in histories(before, bundle.keys).items()}


def explained(
    run: Run, bundle: Bundle, before: pa.Table, had: Mapping[str, list[str]], pairs: Sequence[Pair]
) -> dict[Pair, list[Explanation]]:
    """All paths of each pair, weighed by the run's student."""
    return explain_frozen(
        run.snapshot, before, run.config.discovery.interaction, pairs, limit=10_000,
        weigh=PathWeights(bundle, had),
    )  # fmt: skip


def rescored(bundle: Bundle, had: Mapping[str, list[str]], pairs: Sequence[Pair]) -> dict[str, float]:
    """Milliseconds of the processor for a whole `why`, the rank without purchases of one kind in it."""
    spent = []
    for user, product in pairs[:100]:
        start = time.process_time()
        why(bundle, had[user], product)
        spent.append(1000 * (time.process_time() - start))
    return {"median": float(np.median(spent[1:])), "p95": float(np.quantile(spent[1:], 0.95))}


def measured(runs: Sequence[Run]) -> dict[str, Any]:
    """All three measures, of runs that differ by their seed."""
    bundles = [run.bundle() for run in runs]
    before, had = known_before(runs[0], bundles[0])
    pairs = asked(runs[0], bundles[0], had)
    found = [explained(r, b, before, had, pairs) for r, b in zip(runs, bundles, strict=True)]
    some = [pair for pair in pairs if any(path.members for path in found[0][pair])]
    found = [{pair: one[pair] for pair in some} for one in found]
    each = [deletions(r, b, f, had) for r, b, f in zip(runs, bundles, found, strict=True)]
    areas = {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}
    users = [user for user, _ in some]
    choice = set(sorted(set(users))[::2])
    mine = np.array([user in choice for user in users])
    by_order = {order: float(areas[order][mine].mean()) for order in ORDERS}
    chosen = max(by_order, key=by_order.__getitem__)
    rest = {name: values[~mine] for name, values in areas.items()}
    tops = [in_order(paths, chosen)[0] for paths in found[0].values()]
    return {
        "seeds": len(runs), "pairs": len(pairs), "explained": len(some) / len(pairs),
        "fidelity": {
            "chosen_on": int(mine.sum()), "by_order": by_order, "chosen": chosen,
            "pairs": int((~mine).sum()),
            **figures(rest, chosen, [user for user in users if user not in choice]),
        },
        "stability": {order: _same([first_paths(one, order) for one in found]) for order in ORDERS},
        "sparsity": {
            "paths_of_a_pair": float(np.mean([len(paths) for paths in found[0].values()])),
            "purchases_on_the_first": float(np.mean([len(top.members) for top in tops])),
            "purchases_of_a_user": float(np.mean([len(had[user]) for user in users])),
            "words_of_the_first": float(np.mean([len(top.because.split()) for top in tops])),
        },
        "why_ms": rescored(bundles[0], had, some),
    }  # fmt: skip


def _same(tops: Sequence[Sequence[Any]]) -> dict[str, float]:
    """The share of pairs with the same first path in all seeds, and in two of them on average."""
    rows = list(zip(*tops, strict=True))
    return {
        "all": float(np.mean([len(set(row)) == 1 for row in rows])),
        "two": float(np.mean([a == b for row in rows for a, b in pairwise([*row, row[0]])])),
    }


def told(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """What is printed."""
    fidelity = result["fidelity"]
    yield f"{name}: {result['pairs']} pairs, {result['explained']:.1%} explained"
    yield "by order, on the users it is chosen by: " + str(fidelity["by_order"])
    for row, one in fidelity["area"].items():
        yield f"  {row:26} {one['mean']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"
    for row, one in fidelity["above"].items():
        yield f"  above {row:20} {one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}], p {one['p']:.4f}"
    yield f"stability {result['stability']}"
    yield f"sparsity {result['sparsity']}; why {result['why_ms']} ms"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--name", required=True)
    asked_for = parser.parse_args()
    result = measured([Run.open(folder) for folder in asked_for.runs])
    print("\n".join(told(asked_for.name, result)))
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps(known | {asked_for.name: result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
