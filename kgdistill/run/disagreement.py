"""Where a run's student and its teacher put the same item: the teacher's scores are kept as targets."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from safetensors import safe_open

from kgdistill.run.base import RunBase
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.why import why
from kgdistill.wording import language_of, say

_APART = 2.0
"""Ranks that differ by less than this factor are no disagreement."""


class BothRanks(NamedTuple):
    """Where teacher and student put an item for a user, both by what was known before the run's cut.

    Attributes:
        teacher: the rank among the unseen items of its pool; None: not among the `best`.
        student: the same of the student.
        best: so many of the teacher's first are kept.
        pool: all, or warm or cold where these are ranked apart.
        sentence: in words, where they disagree; else empty.
    """

    teacher: int | None
    student: int
    best: int
    pool: str
    sentence: str


def both_ranks(run: RunBase, bundle: Bundle, user: str, item: str) -> BothRanks | None:
    """The teacher's and the student's rank of an item; None where the teacher's scores are not there.

    Both know what the user did before the cut and no more, so that neither is ahead of the other. They
    disagree where one rank is at least twice the other.

    Args:
        run: whose targets are read.
        bundle: of the run.
        user, item: keys; of a user or an item that the targets lack nothing is told.

    Raises:
        InputError: as `why`.
        ArtefactError: the targets no longer fit.
    """
    if bundle.history is None or not (run.folder / "targets" / "stage.json").is_file():
        return None
    protocol = run.config.discovery
    who = run.snapshot.index(protocol.anchors, [user])[0]
    what = run.snapshot.index(protocol.candidates, [item])[0]
    lists = _lists(run, int(who)) if min(who, what) >= 0 else []
    pasts = run.pasts(bundle.keys, before=protocol.cut)
    known = pasts.known.get(user)
    if not lists or known is None or not known.items or item in known.items:
        return None
    if (pool := str(bundle.history.settings()["pool"])) == "all":
        lists = lists[:1]
    else:
        pool = "cold" if bundle.history.scorer.cold[bundle.items.places[item]] else "warm"
    student = why(bundle, pasts.of(user), item, exclude=known.beside, pool=pool).rank
    best = max(len(one) for one in lists)
    # Where hardly anything is unseen, lists are filled with what was bought.
    bought = set(run.snapshot.index(protocol.candidates, [*known.items, *known.beside]).tolist())
    lists = [[one for one in some if one not in bought] for some in lists]
    teacher = next((one.index(what) + 1 for one in lists if what in one), None)
    return BothRanks(teacher, student, best, pool, _said(bundle, item, teacher, student, best))


def _lists(run: RunBase, user: int) -> list[list[int]]:
    """The teacher's best unseen items of each pool for one user, in its order; none where it has no list."""
    folder, top = run.read("targets"), run.config.student.candidates
    ends = json.loads((folder / "config.json").read_text(encoding="utf-8"))["groups"]
    with safe_open(str(folder / "targets.safetensors"), framework="numpy") as held:
        rows = np.flatnonzero(held.get_tensor("users") == user)
        if not len(rows):
            return []
        row = int(rows[0])
        items, scores = (held.get_slice(name)[row : row + 1][0] for name in ("items", "scores"))
    # Behind the best of each pool stand random ones.
    parts = [slice(start, min(start + top, end)) for start, end in zip([0, *ends], ends, strict=False)]
    return [items[part][np.argsort(-scores[part], kind="stable")].tolist() for part in parts]


def _said(bundle: Bundle, item: str, teacher: int | None, student: int, best: int) -> str:
    told = language_of(bundle.items.names[bundle.items.places[item]])
    if teacher is None:
        beyond = student * _APART <= best
        return say("teacher beyond", told, student=student, best=best) if beyond else ""
    apart = max(teacher, student) / min(teacher, student) >= _APART
    return say("teacher elsewhere", told, student=student, teacher=teacher) if apart else ""
