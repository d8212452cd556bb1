"""To whom what is recommended, and why: a few users of a run, as its bundle answers them."""

from __future__ import annotations

from collections.abc import Sequence

from kgdistill.explore import Explanation, explain_frozen
from kgdistill.run.base import RunBase
from kgdistill.run.report.run import Explained, ReportedRecommendation
from kgdistill.serve.answer import Hit
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.past import Past
from kgdistill.serve.weigh import PathWeights, events_read
from kgdistill.serve.why import why
from kgdistill.tasks.histories import UserHistory
from kgdistill.wording import event_name, language_of, say

_ASKED, _USERS, _PRODUCTS, _NEW, _BOUGHT, _PATHS = 12, 3, 3, 2, 6, 3


def recommended(run: RunBase) -> list[Explained]:
    """Three users with what `recommend --run` tells them first; see `cards`."""
    return [card for card, _ in cards(run)]


def cards(run: RunBase) -> list[tuple[Explained, list[Explanation]]]:
    """Three users with what they bought and are recommended, and the paths to it; the best explained first.

    Beside the first of the list stand products that few have bought yet. Of the users with enough purchases a
    dozen is asked, evenly spread over their ids; none where the task does not know its anchors by history.

    Raises:
        ArtefactError: the bundle is not there, or no longer fits.
    """
    if run.config.kind not in ("history", "basket"):
        return []
    run.need("bundle")
    bundle = load_bundle(run.folder / "bundle")
    protocol, purchases = run.config.discovery, run.purchases()
    told = run.pasts(bundle.keys)
    known = told.known
    eligible = [user for user, history in known.items() if len(history.items) >= protocol.min_user_events]
    asked = eligible[:: max(1, len(eligible) // _ASKED)][:_ASKED]
    pasts = {user: told.of(user) for user in asked}
    lists = {user: _hits(bundle, pasts[user], known[user].beside) for user in asked}
    pairs = [(user, hit.id) for user in asked for hits in lists[user] for hit in hits]
    paths = explain_frozen(
        run.snapshot, purchases, protocol.interaction, pairs, limit=_PATHS, reverse=protocol.reverse,
        weigh=PathWeights(bundle, pasts), reads=events_read(bundle),
    )  # fmt: skip
    best = sorted(asked, key=lambda u: -sum(bool(paths.get((u, h.id))) for h in lists[u][0]))[:_USERS]
    return [
        (
            _card(
                bundle,
                user,
                (known[user], pasts[user]),
                lists[user],
                {p: e for (u, p), e in paths.items() if u == user},
            ),
            [one for hit in lists[user][0] for one in paths.get((user, hit.id), [])],
        )
        for user in best
        if lists[user][0]
    ]


def _hits(bundle: Bundle, past: Past, beside: Sequence[str]) -> tuple[Sequence[Hit], Sequence[Hit]]:
    """The first of a user's list, and the first new products that are not among them."""
    first = bundle.recommend(past, _PRODUCTS, exclude=beside, reasons=bundle.repeats is not None)
    ids = {hit.id for hit in first}
    if not len(bundle.ranked("cold").items):
        return first, ()
    new = bundle.recommend(past, _NEW + len(ids), pool="cold", exclude=beside)
    return first, [hit for hit in new if hit.id not in ids][:_NEW]


def _card(
    bundle: Bundle,
    user: str,
    known: tuple[UserHistory, Past],
    lists: tuple[Sequence[Hit], Sequence[Hit]],
    paths: dict[str, list[Explanation]],
) -> Explained:
    """One user's card; what was bought stands there latest first, each name once."""
    history, past = known
    names = [bundle.items.names[place] for place in bundle.index(history.items)[0][::-1]]
    listed, new = (
        [
            ReportedRecommendation(
                product=hit.id,
                title=hit.title,
                rank=hit.rank,
                score=hit.score,
                because=hit.because
                or (
                    paths[hit.id][0].because
                    if paths.get(hit.id)
                    else say("no short path", language_of(hit.title))
                ),
                explained=bool(paths.get(hit.id)),
                otherwise=""
                if bundle.repeats is not None
                else why(bundle, past, hit.id, exclude=history.beside).otherwise,
            )
            for hit in hits
        ]
        for hits in lists
    )
    shown = list(dict.fromkeys(names))[:_BOUGHT]
    return Explained(
        user=user,
        done=event_name(bundle.event, "en"),
        purchases=len(names),
        bought=shown,
        recommendations=listed,
        new=new,
    )
