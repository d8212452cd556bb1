"""Why the bundle's student ranks a product where it does for a user of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgdistill.errors import InputError
from kgdistill.page.plots import Bars
from kgdistill.page.sheets import Sheet, SheetCell, card_url, cell_text
from kgdistill.page.source import GraphSource
from kgdistill.ranking.habits import Timed
from kgdistill.tasks.histories import stored_purchases, timed_lines
from kgdistill.wording import Language, event_name

if TYPE_CHECKING:
    from kgdistill.explore.explanations import Weigh
    from kgdistill.serve.bundle import Bundle
    from kgdistill.serve.past import Past
    from kgdistill.serve.why import Why


@dataclass(frozen=True)
class StudentSays:
    """What the student says of a recommendation.

    Attributes:
        sentence: where it stands, what speaks for it and where it would stand otherwise; or why it is silent.
        terms: their shares of the score; None where it is silent.
        carriers: the purchases that the score rests on; None where there is none.
    """

    sentence: str
    terms: Bars | None = None
    carriers: Sheet | None = None


def past_of(source: GraphSource, bundle: Bundle, user: str) -> Past:
    """What a user did, as the graph holds it and the bundle reads it."""
    from kgdistill.serve.weigh import past_read

    store, schema = source.store, source.store.schema
    if bundle.repeats is not None:
        bought = stored_purchases(store, ("User", bundle.event, "Product"), schema, user=user)
        return timed_lines(bought, None).get(user, Timed([]))
    return past_read(bundle, store, schema, user)


def weighing(source: GraphSource, user: str) -> tuple[Weigh | None, frozenset[str] | None]:
    """What the bundle's student makes of the paths from a user, and the events that it reads; or neither."""
    from kgdistill.serve.weigh import weighed_by

    if source.bundle is None or source.bundle.history is None:
        return None, None
    return weighed_by(source.bundle, source.store, source.store.schema, user)


def student_says(
    source: GraphSource, user: str, product: str, language: Language | None, words: dict[str, str]
) -> StudentSays | None:
    """Why the student ranks a product where it does; None where no bundle ranks by what users did.

    Args:
        source: the graph, with its bundle.
        user, product: their keys.
        language: of the sentence; None: that of the product's name.
        words: what the page says, by name.
    """
    from kgdistill.serve.why import why

    bundle = source.bundle
    if bundle is None or bundle.history is None:
        return None
    try:
        found = why(bundle, past_of(source, bundle, user), product, language=language)
    except InputError as error:
        return StudentSays(error.message[:1].upper() + error.message[1:] + ".")
    return StudentSays(str(found), _terms(found, words), _carriers(found, bundle.event, words))


def _terms(found: Why, words: dict[str, str]) -> Bars:
    speaking = [one for one in found.terms if one.share > 0]
    return Bars(
        words["shares"],
        words["shares_about"],
        [one.term for one in speaking],
        [words["share"]],
        [[one.share] for one in speaking],
        more="",
    )


def _carriers(found: Why, event: str, words: dict[str, str]) -> Sheet | None:
    if not found.carriers:
        return None
    rows = [
        [
            SheetCell(one.title or one.id, card_url("Product", one.id)),
            SheetCell(cell_text(one.less), number=True),
            SheetCell(cell_text(one.rank), number=True),
        ]
        for one in found.carriers
    ]
    columns = [event_name(event, found.language), words["falls_by"], words["rank_without"]]
    return Sheet(words["rests_on"], columns, rows, numbers=(False, True, True))
