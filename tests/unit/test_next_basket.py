"""The part of a bundle that ranks what is bought again: filters, many users at once, files, bad input."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _bundle import random_bundle

from kgdistill.cli.asking import ForWhom, at_moment
from kgdistill.errors import ArtefactError, InputError
from kgdistill.ranking.habits import DAY_US, Past, Timed
from kgdistill.ranking.repeats import WIDTH, ListSettings, RepeatNetwork
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.pack_repeats import pack_repeats
from kgdistill.serve.past import day_text
from kgdistill.serve.repeats import Repeats

ITEMS, NEVER, UNTIL = 60, 50, datetime(2024, 6, 1)
LISTS = ListSettings(popular=6, proposed=4, pool=30)
UNTIL_US = int(np.datetime64(UNTIL, "us").astype(np.int64))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Random habits and weights; nobody bought an item from `NEVER` on."""
    made, draw = random_bundle(ITEMS, dim=6, text=True, pool="warm"), np.random.default_rng(0)
    ages = draw.integers(1, 200, 600) * DAY_US
    past = Past(
        draw.integers(0, 40, 600), draw.permutation(np.arange(600) % NEVER), UNTIL_US - ages, UNTIL_US,
        (40, ITEMS),
    )  # fmt: skip
    numbers: dict[str, Any] = {
        name: draw.normal(size=shape).astype(np.float32)
        for name, shape in {
            "mean": WIDTH, "inner": (5, WIDTH), "inner_bias": 5, "outer": 5, "outer_bias": 1,
        }.items()
    }  # fmt: skip
    network = RepeatNetwork(**numbers, scale=np.ones(WIDTH, np.float32), informed=True)
    made.repeats = pack_repeats(network, LISTS, past, np.arange(ITEMS))
    return made


def lines_of(bundle: Bundle, seed: int, items: int = NEVER) -> list[tuple[str | int, datetime | str]]:
    draw = np.random.default_rng(seed)
    days = draw.integers(1, 150, 12)
    places = draw.integers(0, items, 12)
    return [
        (bundle.keys[i], UNTIL - timedelta(days=int(d), hours=3)) for i, d in zip(places, days, strict=True)
    ]


def test_many_users_are_answered_as_each_alone(bundle: Bundle) -> None:
    histories = [lines_of(bundle, seed) for seed in range(70)]
    histories[3], histories[68] = [], [("nobody knows it", "2024-05-01")]
    many = bundle.recommend_many(histories, 15)
    for history, answer in zip(histories, many, strict=True):
        alone = bundle.recommend(history, 15)
        assert [hit.id for hit in answer] == [hit.id for hit in alone]
        assert (answer.basis, answer.unknown) == (alone.basis, alone.unknown)
    assert many[0].basis == "history"
    assert (many[68].basis, many[68].unknown) == ("popularity", ("nobody knows it",))
    # Without a purchase, what was bought most of late.
    assert bundle.repeats is not None
    most = [bundle.keys[i] for i in bundle.repeats.bought[:15]]
    assert [hit.id for hit in many[3]] == [hit.id for hit in many[68]] == most


def test_the_lines_have_no_order_and_the_same_ages_are_the_same_answer(bundle: Bundle) -> None:
    lines = lines_of(bundle, 1)
    whole = bundle.recommend(Timed(lines, UNTIL), ITEMS)
    assert bundle.recommend(Timed(lines[::-1], UNTIL), ITEMS).hits == whole.hits
    week = timedelta(days=7)
    later = [(key, at + week) for key, at in lines if isinstance(at, datetime)]
    moved = bundle.recommend(Timed(later, UNTIL + week), ITEMS)
    assert [hit.id for hit in moved] == [hit.id for hit in whole]
    # A time with a zone, and one written out.
    zone = timezone(timedelta(hours=2))
    told = [(k, at.replace(tzinfo=timezone.utc).astimezone(zone).isoformat()) for k, at in later]  # type: ignore[union-attr]
    assert bundle.recommend(Timed(told, (UNTIL + week).isoformat()), ITEMS).hits == moved.hits
    assert bundle.recommend(Timed(later, UNTIL + 9 * week), ITEMS).hits != moved.hits


def test_the_moment_is_told_in_the_zone_of_the_files(bundle: Bundle) -> None:
    lines = lines_of(bundle, 3)
    assert bundle.recommend(lines).notes == ("as of 2024-06-01 00:00 UTC",)
    whom, east = ForWhom(lines, [], "", []), timezone(timedelta(hours=8))
    there = Bundle(bundle.config | {"zone": "Asia/Shanghai"}, bundle.items, history=bundle.history)
    there.repeats = bundle.repeats
    assert there.recommend(lines).notes == ("as of 2024-06-01 08:00 Asia/Shanghai",)
    for at in ("2024-06-01T16:30", "2024-06-02T00:30+08:00"):
        assert at_moment(there, whom, at).rests_on == ", as of 2024-06-02 00:30 Asia/Shanghai"
        assert at_moment(bundle, whom, at).rests_on == ", as of 2024-06-01 16:30 UTC"
    assert day_text(datetime(2024, 6, 2, 0, 30, tzinfo=east), "Asia/Shanghai") == "2024-06-02"
    # A machine may know no zones.
    assert Bundle(bundle.config | {"zone": "Mars/Base"}, bundle.items).zone == "UTC"


def test_filters_exclusions_and_pools_hold(bundle: Bundle) -> None:
    lines = lines_of(bundle, 2)
    had = {str(key) for key, _ in lines}
    whole = [hit.id for hit in bundle.recommend(lines, ITEMS)]
    assert len(whole) == NEVER
    assert had <= set(whole)
    new = bundle.recommend(lines, ITEMS, exclude_history=True)
    assert [hit.id for hit in new] == [key for key in whole if key not in had]
    left = bundle.recommend(lines, ITEMS, exclude=whole[:3])
    assert [hit.id for hit in left] == whole[3:]
    brand = bundle.recommend(lines, ITEMS, where={"brand": "brand3"})
    assert brand
    assert {hit.brand for hit in brand} == {"brand3"}
    assert len(bundle.recommend(lines, ITEMS, pool="all")) == ITEMS
    cold = {bundle.keys[i] for i in bundle.ranked("cold").items}
    assert {hit.id for hit in bundle.recommend(lines, ITEMS, pool="cold")} == cold
    with pytest.raises(InputError, match="no pool"):
        bundle.recommend(lines, pool="hot")
    # What the user alone bought is ranked too, and so is what came in later.
    own = [*lines, (bundle.keys[NEVER + 1], "2024-05-01")]
    assert bundle.keys[NEVER + 1] in {hit.id for hit in bundle.recommend(own, ITEMS)}


def test_filtered_is_as_if_the_others_were_not_there(bundle: Bundle) -> None:
    """Of what is left as many are ranked by the network as without a filter."""
    lines, brands = lines_of(bundle, 4), ["brand3", "brand4", "brand5"]
    mask = bundle.items.mask({"brand": brands})
    scores = [hit.score for hit in bundle.recommend(lines, ITEMS, where={"brand": brands})]
    assert bundle.repeats is not None
    most = [bundle.keys[i] for i in bundle.repeats.bought if mask[i]][: LISTS.popular]
    had = {str(key) for key, _ in lines if mask[bundle.items.places[str(key)]]}
    # What popularity alone ranks lies 1 below all others, and within 1.
    listed = int(np.flatnonzero(-np.diff(scores) >= 1).max(initial=-1)) + 1
    assert len(scores) > listed >= len(had.union(most)) >= LISTS.popular


def test_new_items_are_ranked_by_what_nobody_bought(bundle: Bundle) -> None:
    made = random_bundle(ITEMS, dim=6, text=True, pool="warm")
    made.repeats = bundle.repeats
    made.add_items([{"title": "red tea", "brand": "brand3"}], ids=["fresh"])
    lines = [*lines_of(bundle, 5), ("fresh", "2024-05-20")]
    assert "fresh" in {hit.id for hit in made.recommend(lines, ITEMS)}
    assert "fresh" not in {hit.id for hit in made.recommend(lines_of(bundle, 5), ITEMS)}
    assert bundle.repeats is not None
    habits = bundle.repeats.habits(ITEMS + 1)
    np.testing.assert_array_equal(habits.values[ITEMS], habits.values[NEVER])
    assert habits.interval[ITEMS] == habits.interval[NEVER] != habits.interval[0]


def test_saved_and_loaded_it_answers_the_same(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    for seed in range(5):
        lines = lines_of(bundle, seed)
        want = bundle.recommend(lines, 10, reasons=True)
        assert loaded.recommend(lines, 10, reasons=True) == want
    code = (
        "import sys; from kgdistill.serve.joined import load; "
        f"print(len(load({str(tmp_path / 'bundle')!r}).recommend([({bundle.keys[0]!r}, '2024-05-01')], 7))); "
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "7\n"), told.stderr


@pytest.mark.parametrize(
    "history",
    [
        ["1", "2"],
        "1",
        {"BOUGHT": ["1"]},
        [("1", "2024-01-01", 3)],
        [("1", "soon")],
        [("1", 20240101)],
        [("1", None)],
        [((), "2024-01-01")],
        Timed([("1", "2024-01-01")], "then"),
        7,
    ],
)
def test_purchases_without_a_time_are_refused(bundle: Bundle, history: Any) -> None:
    with pytest.raises(InputError):
        bundle.recommend(history)
    with pytest.raises(InputError):
        bundle.recommend_many([history])


def test_a_bundle_that_reads_no_times_takes_each_item_once_in_the_order_of_the_first() -> None:
    made = random_bundle(ITEMS, dim=6, text=True, pool="warm")
    a, b, c = made.keys[:3]
    lines = [(c, "2024-03-01"), (b, "2024-02-01"), (b, "2024-05-01"), (a, "2024-04-01")]
    assert made.recommend(lines) == made.recommend([b, c, a])
    assert made.recommend(Timed(lines, "2024-03-15")) == made.recommend([b, c])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given, held: given.update(until="soon"), "'until'"),
        (lambda given, held: given.update(informed=1), "'informed'"),
        (lambda given, held: given.update(popular=-1), "'popular'"),
        (lambda given, held: held.pop("outer"), "outer"),
        (lambda given, held: held.update(inner=held["inner"][:, :-1]), "repeats.inner"),
        (lambda given, held: held.update(interval=held["interval"] * 0), "not above 0"),
        (lambda given, held: held.update(scale=held["scale"] * 0), "not above 0"),
        (lambda given, held: held.update(bought=np.zeros(2, np.int64)), "distinct positions"),
        (lambda given, held: held.update(bought=np.array([ITEMS])), "distinct positions"),
        (lambda given, held: held.update(values=held["values"] * np.nan), "not finite"),
        (lambda given, held: held.update(interval=np.ones(ITEMS + 2)), "tells of 61 items"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(bundle: Bundle, change: Any, message: str) -> None:
    assert bundle.repeats is not None
    given, held = dict(bundle.repeats.settings()), dict(bundle.repeats.arrays())
    change(given, held)
    with pytest.raises(ArtefactError, match=message):
        Repeats(given, held, ITEMS)
