"""What further events weigh is learned from those before models are chosen, where it is surely something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _planted import CUT_DAY, START, Event, Planted, World, view_world

from kgdistill.tasks.event_weights import EventWeight, in_numbers, weighed_sentences
from kgdistill.tasks.positives import Weight
from kgdistill.train.learn_weights import learn_weights

DAY_US = 86_400 * 10**6
LEARNED: dict[str, Weight] = {"VIEWED": "learned"}
BOTH: dict[str, Weight] = {"VIEWED": "learned", "RATED": "learned"}
MIDDLE = 150.0


def learned(
    planted: Planted, weights: dict[str, Weight], until: float | None = None
) -> dict[str, EventWeight]:
    catalogue = planted.catalogue(dict.fromkeys(weights, 1.0))
    if until is not None:
        start_us = int(np.datetime64(START, "us").astype(np.int64))
        catalogue = replace(catalogue, select_us=start_us + int(until * DAY_US))
    return learn_weights(catalogue, weights)


def weights(planted: Planted, asked: dict[str, Weight], until: float | None = None) -> dict[str, float]:
    return {name: found.weight for name, found in learned(planted, asked, until).items()}


def at_random(world: World, seed: int) -> list[Event]:
    """As many views of the same users at the same times, of items that lead to nothing."""
    draw = np.random.default_rng(seed)
    instead = [draw.permutation(40) for _ in range(world.users)]
    return [(user, int(instead[user][item]), day) for user, item, day in world.viewed]


def mixed(early: list[Event], late: list[Event]) -> list[Event]:
    """One list before the middle and the other from then on, one event of a pair."""
    both = [*(e for e in early if e[2] < MIDDLE), *(e for e in late if e[2] >= MIDDLE)]
    return list({event[:2]: event for event in reversed(both)}.values())


def with_ratings(world: World, events: list[Event]) -> World:
    return replace(world, rated=[(*event, None) for event in events])


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Views tell, and ratings do not."""
    world = view_world()
    return with_ratings(world, at_random(world, 1)).planted(tmp_path_factory.mktemp("views") / "snapshot")


def test_what_tells_has_a_weight_and_what_does_not_is_left_out(views: Planted) -> None:
    assert weights(views, BOTH) == {"VIEWED": 1.0, "RATED": 0.0}
    assert weights(views, dict(reversed(BOTH.items()))) == {"RATED": 0.0, "VIEWED": 1.0}
    told = learned(views, LEARNED)["VIEWED"]
    assert told.reached > told.without + 0.1
    assert told.users > 50


@pytest.mark.parametrize("seed", range(5))
def test_what_chance_alone_prefers_is_left_out(seed: int, tmp_path: Path) -> None:
    world = view_world(seed)
    noise = replace(world, viewed=at_random(world, seed + 10)).planted(tmp_path / "snapshot")
    assert weights(noise, LEARNED) == {"VIEWED": 0.0}


def test_a_kind_that_only_tells_what_is_popular_is_left_out(tmp_path: Path) -> None:
    # Of the last users, who buy on one day and nothing before, any event would lead to what others buy.
    draw = np.random.default_rng(0)
    bought = [
        (user, int(item), float(draw.uniform(0, 180) if user < 120 else 181 + (user - 120) / 2))
        for user in range(150)
        for item in np.unique(80 - draw.geometric(0.1, 8).clip(max=40))
    ]
    viewed = [
        (user, int(item), float(draw.uniform(0, 100)))
        for user in range(150)
        for item in draw.permutation(40)[:10]
    ]
    world = World(150, 80, bought, np.zeros(80, np.int64), viewed=viewed)
    told = learned(world.planted(tmp_path / "snapshot"), LEARNED)["VIEWED"]
    assert (told.weight, told.users > 10) == (0.0, True)
    assert told.without > 0.5


def test_of_two_kinds_that_say_the_same_the_second_is_left_out(tmp_path: Path) -> None:
    world = view_world()
    twice = with_ratings(world, list(world.viewed)).planted(tmp_path / "snapshot")
    assert weights(twice, {"RATED": "learned"})["RATED"] > 0
    assert weights(twice, BOTH)["RATED"] == 0.0
    assert weights(twice, {"VIEWED": 1.0, "RATED": "learned"}) == {"RATED": 0.0}


def test_what_models_are_chosen_by_says_nothing_of_a_weight(tmp_path: Path) -> None:
    world = view_world()
    telling, noise = list(world.viewed), at_random(world, 1)
    turned = replace(world, viewed=mixed(noise, telling)).planted(tmp_path / "turned")
    assert weights(turned, LEARNED, MIDDLE) == {"VIEWED": 0.0}
    # Of what comes afterwards nothing changes what is found.
    kept = learned(replace(world, viewed=mixed(telling, noise)).planted(tmp_path / "kept"), LEARNED, MIDDLE)
    assert kept["VIEWED"].weight > 0
    others = mixed(list(world.bought), [(user, 79 - item, day) for user, item, day in world.bought])
    again = replace(world, viewed=mixed(telling, noise), bought=others).planted(tmp_path / "again")
    assert learned(again, LEARNED, MIDDLE) == kept


def test_what_follows_a_purchase_does_not_tell_it(tmp_path: Path) -> None:
    world = view_world()
    after = [
        (user, item - 40, min(day + 0.5, CUT_DAY - 0.1)) for user, item, day in world.bought if day < CUT_DAY
    ]
    assert weights(replace(world, viewed=after).planted(tmp_path / "snapshot"), LEARNED) == {"VIEWED": 0.0}


def test_too_few_to_tell_leave_it_out(views: Planted) -> None:
    assert learned(views, LEARNED, -1.0) == {"VIEWED": EventWeight(0.0, 0.0, 0.0, 20, 0)}


def test_what_is_asked_is_bounded(views: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in {"_ASKED": 20, "_USERS": 60, "_COLUMNS": 60}.items():
        monkeypatch.setattr(f"kgdistill.train.learn_weights.{name}", most)
    shapes: list[tuple[int, int]] = []

    class Rows:
        def __init__(self, rows: object, *args: object, **more: object) -> None:
            from kgdistill.models.terms.linear import LinearRows

            self.whole = LinearRows(rows, *args, **more)  # type: ignore[arg-type]
            shapes.append((self.whole.rows.shape[0], len(self.whole.items)))

        def fit(self, reg: float) -> object:
            return self.whole.fit(reg)

    monkeypatch.setattr("kgdistill.train.learn_weights.LinearRows", Rows)
    found = learned(views, BOTH)
    assert all(0 < told.users <= 20 for told in found.values())
    assert max(rows for rows, _ in shapes) <= 60
    assert max(columns for _, columns in shapes) <= 61


def test_numbers_and_words_for_what_was_given_and_learned() -> None:
    told = {"VIEWED": EventWeight(0.2, 0.31, 0.3, 10, 1234), "RATED": EventWeight(0.0, 0.3, 0.31, 10, 1234)}
    numbers = in_numbers({"VIEWED": "learned", "ADDED": 0.8, "RATED": "learned"}, told)
    assert numbers == {"VIEWED": 0.2, "ADDED": 0.8, "RATED": 0.0}
    viewed, added, rated = weighed_sentences(numbers, told, "BOUGHT")
    assert viewed.startswith("Histories also hold VIEWED, which weighs 0.2 beside BOUGHT, as learned from")
    assert "NDCG@10 of a linear model 0.3100 with its best weight, 0.3000 without, of 1,234 users." in viewed
    assert added == "Histories also hold ADDED, which weighs 0.8 beside BOUGHT."
    assert rated.startswith("RATED is left out of histories, as learned from")
    assert "events, where no gain is sure: NDCG@" in rated
