"""Whether a student knows its teacher, or only the lists it was shown: agreement on users it never saw.

    python bench/agreement.py --run FOLDER --name NAME [--seeds 3]

Trains students of a run's teacher from four fifths of the users; the others' lists and labels are in none of
their losses, and choose nothing. Weights between items, counts and the teacher's vectors are of everybody, as
is the teacher. Agreement is the share of the teacher's first 20 of all candidates that the student has among
its own, what a user has had left out. One that only remembers lists agrees less on users it has not seen.
Prints both shares, and their difference with its interval over users; writes results/agreement.json.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kgdistill.arrays import DoubleArray, FloatArray, IntArray
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.ranking.topk import top_k
from kgdistill.run.history_match import HistoryMatch
from kgdistill.run.run import Run
from kgdistill.tasks.interactions import Interactions
from kgdistill.train.loop import Context
from kgdistill.train.student import student_scorer, train_student
from kgdistill.train.targets import Targets

RESULTS = Path(__file__).parent / "results" / "agreement.json"
K, SHARE, CHUNK = 20, 0.8, 256
_Score = Callable[[IntArray, IntArray], FloatArray]


def agreement(
    teacher: _Score, student: _Score, view: Interactions, users: IntArray, pool: IntArray
) -> DoubleArray:
    """Share of the teacher's first `K` that the student has among its own, float64 [users].

    Args:
        teacher, student: give scores float32 [B, C].
        view: what users have had is left out.
        users: ids.
        pool: ids of the candidates, ascending.
    """
    out = np.empty(len(users))
    k = min(K, len(pool))
    for start in range(0, len(users), CHUNK):
        part = users[start : start + CHUNK]
        had = view.purchases[part][:, pool].toarray() > 0
        firsts = [top_k(np.where(had, -np.inf, of(part, pool)), pool, k)[0] for of in (teacher, student)]
        for row, (theirs, own) in enumerate(zip(*firsts, strict=True)):
            wanted = theirs[theirs >= 0]
            out[start + row] = np.isin(wanted, own).mean() if len(wanted) else 1.0
    return out


def of_some(targets: Targets, users: IntArray) -> Targets:
    """The targets without the lists of all other users."""
    rows = np.isin(targets.users, users)
    return replace(targets, users=targets.users[rows], items=targets.items[rows], scores=targets.scores[rows])


def student_of(models: HistoryMatch, users: IntArray, seed: int) -> Scorer:
    """A student whose losses and whose validation have these users alone."""
    catalogue = replace(models.catalogue, users=users)
    task = copy.copy(models.run.task)
    task.users = np.intersect1d(task.users, users)

    def validate(scorer: Scorer) -> dict[str, float]:
        judged = evaluate_arm(
            scorer, task, arm="v", title="v", split="validation", settings=list(catalogue.pools),
            progress=False,
        )  # fmt: skip
        return {f"{setting}_ndcg": judged.mean(setting) for setting in judged.settings}

    trained = train_student(
        models.student_inputs(catalogue), lambda until: of_some(models.targets(until), users),
        models.run.config.student, Context(models.device, seed), validate, title=f"Training student {seed}",
    )  # fmt: skip
    return student_scorer(trained, catalogue, models.tokens, catalogue.view(), models.device)


def measured(models: HistoryMatch, seeds: int) -> dict[str, Any]:
    """Agreement on users seen and not seen, and how much less it is on the latter, with 95 % intervals."""
    catalogue = models.catalogue
    teacher, view = models.teacher_scorer(), catalogue.view()
    pool = catalogue.pool(catalogue.pools[0], view)
    seen, unseen = [], []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(catalogue.users)
        some = np.sort(order[: int(SHARE * len(order))])
        student = student_of(models, some, seed)
        for users, found in ((some, seen), (np.setdiff1d(catalogue.users, some), unseen)):
            found.append(agreement(teacher, student, view, users, pool))
    known, new = np.concatenate(seen), np.concatenate(unseen)
    draw = np.random.default_rng(0)
    drawn = [[draw.choice(values, len(values)).mean() for values in (known, new)] for _ in range(1000)]
    gaps = np.array([a - b for a, b in drawn])
    return {
        "seen": float(known.mean()), "unseen": float(new.mean()), "gap": float(known.mean() - new.mean()),
        "low": float(np.quantile(gaps, 0.025)), "high": float(np.quantile(gaps, 0.975)),
        "k": K, "users": [len(known) // seeds, len(new) // seeds], "candidates": len(pool), "seeds": seeds,
    }  # fmt: skip


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="with a trained teacher")
    parser.add_argument("--name", required=True, help="of the data, in the result file")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    found = measured(Run.open(args.run).by_history, args.seeds)
    every = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps({**every, args.name: found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
