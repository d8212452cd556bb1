"""A rating counts above a number that the task declares, in what is read and in what is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _planted import BOUGHT, CUT_DAY, RATED, START, Planted, World, protocol, star_world, view_world

from kgdistill.errors import InputError
from kgdistill.run.create import draft
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.check import check_task
from kgdistill.tasks.histories import histories, stored_past, stored_purchases
from kgdistill.tasks.match import MatchTask, build_task
from kgdistill.tasks.sensitive import check_sensitive
from kgdistill.tasks.spec import parse_task
from kgdistill.train.choose import LinearChoice, linear_of

ABOVE = {"RATED.rating": 3.0}
TASK = """kind: match
anchors: {label: User, by: history}
candidates: {label: Product, by: [history, text]}
positives: {event: BOUGHT, weights: {RATED: 0.5}, above: {RATED.rating: middle}}
"""


def hits(planted: Planted, weights: dict[str, float]) -> float:
    """The share of later purchases among the linear model's first two, of what was not bought before."""
    view, task = planted.catalogue(weights).view(), planted.task
    users, items = np.flatnonzero(np.diff(task.validation.indptr)), np.arange(planted.world.items)
    model = linear_of(view, [], LinearChoice(reg=3.0))
    scores = model.score(view.queries(users, 0.0), items).numpy()
    scores[task.train[users].toarray() > 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    right = task.validation[users].toarray()
    return float(np.take_along_axis(right, best, axis=1).sum() / np.minimum(right.sum(1), 2).sum())


@pytest.mark.parametrize("event", ["ADDED", "FAVORITED", "SHARED", "COMMENTED"])
def test_what_foretells_purchases_helps_where_a_task_declares_it(tmp_path: Path, event: str) -> None:
    planted = view_world(viewed_as=event).planted(tmp_path / "snapshot")
    assert hits(planted, {event: 0.5}) > 0.9
    assert hits(planted, {}) < 0.4


def test_one_star_is_no_liking_of_further_evidence(tmp_path: Path) -> None:
    alike = star_world().planted(tmp_path / "snapshot")
    told = replace(alike, world=replace(alike.world, rules=protocol(above=ABOVE)))
    assert hits(told, {"RATED": 0.5}) > hits(alike, {"RATED": 0.5}) + 0.2
    assert hits(told, {"RATED": 0.5}) > 0.85
    (rated,) = told.catalogue({"RATED": 0.5}).others
    assert rated.pairs.nnz == sum(stars == 5 for *_, stars in alike.world.rated)


# The task's own event --------------------------------------------------------------------------------

LATER, LAST = CUT_DAY + 10, CUT_DAY + 60
OWN: list[tuple[int, int, float, float | None]] = [
    *((user, item, 10.0, 5.0) for user in range(4) for item in range(4)),
    (0, 4, 20.0, 1.0),
    (1, 4, 20.0, None),
    (0, 5, LATER, 2.0),
    (0, 6, LATER, 4.0),
    (1, 6, LATER, 3.0),
    (0, 7, LAST, 5.0),
    (2, 7, LAST, 1.0),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> MatchTask:
    rules = protocol(interaction=RATED, above=ABOVE)
    world = World(4, 8, [], np.zeros(8, np.int64), rated=OWN, rules=rules)
    return world.planted(tmp_path_factory.mktemp("own") / "snapshot").task


def pairs(matrix: Any) -> set[tuple[int, int]]:
    return {(int(u), int(i)) for u, i in zip(*matrix.nonzero(), strict=True)}


def test_a_low_rating_is_right_in_no_part_and_an_unknown_one_is(own: MatchTask) -> None:
    own.open_test()
    first = {(user, item) for user in range(4) for item in range(4)}
    assert pairs(own.train) == first | {(1, 4)}
    assert (pairs(own.validation), pairs(own.test)) == ({(0, 6)}, {(0, 7)})
    # Two rated it, one of them low.
    assert own.item_counts[4] == 1


def test_what_was_rated_low_by_then_is_not_ranked_and_what_will_be_is(own: MatchTask) -> None:
    own.open_test()
    assert pairs(own.seen("validation")) - pairs(own.train) == {(0, 4)}
    assert pairs(own.seen("test")) - pairs(own.train) - pairs(own.validation) == {(0, 4), (0, 5), (1, 6)}


def test_who_liked_it_at_another_time_had_a_positive_there(tmp_path: Path) -> None:
    world = World(2, 3, [], np.zeros(3, np.int64), rules=protocol(interaction=RATED, above=ABOVE),
                  rated=[(0, 0, 5.0, 5.0), (1, 0, 5.0, 5.0), (0, 1, 9.0, 1.0)])  # fmt: skip
    planted = world.planted(tmp_path / "snapshot")
    again = {"source": "u000", "target": "p001", "at": START + timedelta(days=LATER), "rating": 5.0}
    later = planted.later.schema.empty_table().from_pylist([again], schema=planted.later.schema)
    task = build_task(planted.snapshot, later, world.rules)
    assert pairs(task.validation) == {(0, 1)}
    assert (0, 1) not in pairs(task.seen("validation"))


def test_without_a_number_every_rating_counts_and_the_settings_are_as_before(tmp_path: Path) -> None:
    rules = protocol(interaction=RATED)
    world = World(4, 8, [], np.zeros(8, np.int64), rated=OWN, rules=rules)
    task = world.planted(tmp_path / "snapshot").task
    assert {(0, 4), (1, 4)} < pairs(task.train)
    assert pairs(task.seen("validation")) == pairs(task.train)
    assert "above" not in rules.model_dump(mode="json")
    assert protocol(above=ABOVE).model_dump(mode="json")["above"] == ABOVE


def test_the_protocol_says_which_ratings_count() -> None:
    said = [line for line in protocol(above=ABOVE).describe() if "RATED" in line]
    own = "; what it is not above is neither right nor ranked."
    assert said == ["RATED.rating counts above 3, or where it is unknown."]
    said = protocol(interaction=RATED, above=ABOVE).describe()
    assert f"RATED.rating counts above 3, or where it is unknown{own}" in said


def test_a_sensitive_number_and_a_sensitive_event_that_is_weighed_are_refused() -> None:
    schema = load_schema()
    rated = schema.relationships["RATED"]
    stars = rated.properties["rating"].model_copy(update={"sensitive": True})
    hidden = rated.model_copy(update={"properties": {**rated.properties, "rating": stars}})
    for one, of in ((hidden, "RATED.rating"), (rated.model_copy(update={"sensitive": True}), "RATED")):
        own = schema.model_copy(update={"relationships": {**schema.relationships, "RATED": one}})
        with pytest.raises(InputError, match=f"{of} is sensitive"):
            check_sensitive(parse_task(TASK), own, allowed=False)
        check_sensitive(parse_task(TASK), own, allowed=True)


# What is answered ------------------------------------------------------------------------------------


def test_histories_hold_what_was_liked_and_leave_out_what_was_not() -> None:
    with MemoryStore() as store:
        World(4, 8, [(0, 3, 1.0)], np.zeros(8, np.int64), rated=OWN).fill(store)
        schema = load_schema()
        for user in (None, "u000"):
            table = stored_purchases(store, RATED, schema, user=user, above=ABOVE)
            mine = histories(table, [f"p{i:03}" for i in range(8)])["u000"]
            assert mine.items == ["p000", "p001", "p002", "p003", "p006", "p007"]
            assert mine.beside == ["p004", "p005"]
        past = stored_past(store, schema, "u000", ["BOUGHT", "RATED"], above=ABOVE)
        assert past == {"BOUGHT": ["p003"], "RATED": mine.items}


# What is declared ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "place", "says"),
    [
        ("above: {RATED: 3}", "positives.above.RATED", "should name an event and its property"),
        ("above: {VIEWED.count: 3}", "positives.above.VIEWED.count", "is neither the event nor among"),
        ("above: {RATED.rating: high}", "positives.above.RATED.rating", "is 'high', but should be a number"),
        ("above: {RATED.rating: .nan}", "positives.above.RATED.rating", "should be a number or middle"),
        ("above: {RATED.rating: true}", "positives.above.RATED.rating", "should be a number or middle"),
        ("above: {RATED.stars: 3}", "positives.above.RATED.stars", "RATED has no property 'stars'"),
        ("above: {RATED.at: 3}", "positives.above.RATED.at", "at is timestamp, which is no number"),
        ("above: {BOUGHT.count: 3}", "positives.above.BOUGHT.count", "count is changed by later events"),
    ],
)  # fmt: skip
def test_what_a_task_cannot_ask_of_an_event_is_one_clear_error(written: str, place: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        check_task(parse_task(TASK.replace("above: {RATED.rating: middle}", written)), load_schema())
    assert place in str(caught.value.where)


AGAIN = TASK.replace("match\n", "match\nrepeats: true\n").replace("weights: {RATED: 0.5}, ", "")


@pytest.mark.parametrize(
    "task",
    [
        AGAIN.replace("RATED.rating", "BOUGHT.spend"),
        TASK.replace("User, by: history", "Query, by: text").replace(
            "BOUGHT, weights: {RATED: 0.5}", "RATED"
        ),
    ],
)
def test_stars_go_with_histories_of_first_events(task: str) -> None:
    with pytest.raises(InputError, match="goes with anchors by history, and without repeats"):
        parse_task(task)


def settled(rated: list[tuple[int, int, float, float | None]], task: str = TASK) -> dict[str, float]:
    with MemoryStore() as store:
        bought = [(user, item, 30.0 * item + user) for user in range(4) for item in range(8)]
        World(4, 8, bought, np.zeros(8, np.int64), rated=rated).fill(store)
        cut, end = START + timedelta(days=100), START + timedelta(days=150)
        given = {"protocol": {"cut": cut, "test_start": end}}
        return draft(given, task=parse_task(task, name="mine")).settled(store).discovery.above


def test_the_middle_is_that_of_the_ratings_before_the_cut() -> None:
    before: list[tuple[int, int, float, float | None]] = [
        (0, 0, 1.0, 1.0),
        (0, 1, 2.0, 5.0),
        (1, 1, 3.0, None),
    ]
    assert settled(before) == ABOVE
    assert settled([*before, (1, 2, 120.0, 100.0)]) == ABOVE
    assert settled([(0, 0, 1.0, 0.0), (0, 1, 2.0, 10.0)]) == {"RATED.rating": 5.0}
    assert settled(before, TASK.replace("middle", "4")) == {"RATED.rating": 4.0}


@pytest.mark.parametrize(("stars", "held"), [(None, "no event has one"), (4.0, "all have 4")])
def test_ratings_without_a_middle_are_refused(stars: float | None, held: str) -> None:
    with pytest.raises(
        InputError, match=f"nothing is the middle of RATED.rating before the cut: {held}"
    ) as caught:
        settled([(0, 0, 1.0, stars), (0, 1, 2.0, stars), (0, 2, 120.0, 1.0)])
    assert caught.value.hint == "write a number in the place of middle, or leave it out"


def test_purchases_are_the_same_with_and_without_stars() -> None:
    with MemoryStore() as store:
        World(4, 8, [(0, 3, 1.0)], np.zeros(8, np.int64), rated=OWN).fill(store)
        told = stored_purchases(store, BOUGHT, load_schema(), above=ABOVE)
        assert told.equals(stored_purchases(store, BOUGHT, load_schema()))
