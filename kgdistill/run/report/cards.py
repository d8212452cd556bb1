"""To whom what is recommended, and why: a few users of a run, as its bundle answers them."""

from __future__ import annotations

from kgdistill.explore import explain_frozen
from kgdistill.run.base import RunBase
from kgdistill.run.report.run import Explained, ReportedRecommendation
from kgdistill.serve.bundle import load_bundle
from kgdistill.tasks.histories import histories, whole_past
from kgdistill.wording import language_of, say

_ASKED, _USERS, _PRODUCTS = 12, 3, 3


def recommended(run: RunBase) -> list[Explained]:
    """Three users with what `recommend --run` tells them first; those whose lists the graph explains best.

    Of the users with enough purchases a dozen is asked, evenly spread over their ids; none where the task
    does not know its anchors by history.

    Raises:
        ArtefactError: the bundle is not there, or no longer fits.
    """
    if run.config.kind != "history":
        return []
    run.need("bundle")
    bundle = load_bundle(run.folder / "bundle")
    protocol, purchases = run.config.discovery, run.purchases()
    known = histories(purchases, bundle.keys)
    eligible = [user for user, history in known.items() if len(history.items) >= protocol.min_user_events]
    asked = eligible[:: max(1, len(eligible) // _ASKED)][:_ASKED]
    others = {name: histories(table, bundle.keys) for name, table in run.others().items()}
    pasts = {user: whole_past(user, known[user].items, protocol.interaction[1], others) for user in asked}
    lists = {user: bundle.recommend(pasts[user], _PRODUCTS, exclude=known[user].beside) for user in asked}
    pairs = [(user, found.id) for user in asked for found in lists[user]]
    why = explain_frozen(
        run.snapshot, purchases, protocol.interaction, pairs, limit=1, reverse=protocol.reverse
    )
    best = sorted(asked, key=lambda u: -sum(bool(why.get((u, f.id))) for f in lists[u]))[:_USERS]
    return [
        Explained(
            user=user,
            recommendations=[
                ReportedRecommendation(
                    product=found.id,
                    title=found.title,
                    rank=found.rank,
                    score=found.score,
                    because=reasons[0].because
                    if (reasons := why.get((user, found.id)))
                    else say("no short path", language_of(found.title)),
                )
                for found in lists[user]
            ],
        )
        for user in best
        if lists[user]
    ]
