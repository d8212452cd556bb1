"""Finding an audience: whose label is whose, and that nothing at or after an anchor's start is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _campaigns import (
    BRANDS,
    CAMPAIGNS,
    TEST,
    USERS,
    Campaigns,
    advertised,
    brand_of,
    campaign_end,
    campaign_start,
    day,
    fill_campaigns,
    make_campaigns,
    target_spec,
)
from _tables import write_rows

from kgdistill.errors import InputError, LeakError
from kgdistill.snapshot import take_snapshot
from kgdistill.store import MemoryStore, load_schema
from kgdistill.tasks.audience import AudienceData, TimedPairs, Wanted
from kgdistill.tasks.audience_edges import audience_edges, fact_paths
from kgdistill.tasks.audience_task import AudienceTask, _are_dates, audience_cut
from kgdistill.tasks.check import check_task
from kgdistill.tasks.spec import MatchSpec, load_task, parse_task
from kgdistill.tasks.splits import TRAIN, VALIDATION


def task_of(made: Campaigns, folder: Path) -> AudienceTask:
    spec = target_spec()
    with MemoryStore() as store:
        fill_campaigns(store, made)
        later = take_snapshot(store, folder / "later", cut=None)
        snapshot = take_snapshot(store, folder / "cut", cut=audience_cut(later, spec))
    return AudienceTask(spec, snapshot, later, {})


def seen(task: AudienceTask) -> list[np.ndarray]:
    """What models are given of every anchor, before the cut and of the test."""
    data, pairs = task.known, task.pairs(TRAIN, VALIDATION)
    before = [data.features(data.wanted(p.anchor), int(data.starts[p.anchor]), p.candidates) for p in pairs]
    task.open_test()
    data = task.later
    tested = task.test_pairs()
    return before + [
        data.features(data.wanted(p.anchor), int(data.starts[p.anchor]), p.candidates) for p in tested
    ]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> AudienceTask:
    return task_of(make_campaigns(), tmp_path_factory.mktemp("campaigns"))


def test_the_anchors_are_split_by_their_start_and_labels_are_theirs(task: AudienceTask) -> None:
    assert task.snapshot.cut == campaign_start(CAMPAIGNS - TEST)
    assert [task.keys[a] for a in task.anchors(TRAIN, VALIDATION)] == [
        f"c{c:02}" for c in range(CAMPAIGNS - TEST)
    ]
    assert len(task.anchors(VALIDATION)) == 3
    made = make_campaigns()
    before = task.snapshot.cut
    assert before is not None
    for pair in task.pairs(TRAIN, VALIDATION):
        campaign = int(task.keys[pair.anchor][1:])
        sent = {r["source"] for r in made.received if r["target"] == f"c{campaign:02}"}
        took = {r["source"] for r in made.redeemed if r["target"] == f"k{campaign:02}" and r["at"] < before}
        users = task.snapshot.keys("User")
        assert set(users[pair.candidates]) == sent
        assert set(users[pair.candidates[pair.labels]]) == took
        assert sorted(task.snapshot.keys("Product")[task.known.anchor_items[pair.anchor]]) == advertised(
            brand_of(campaign)
        )


def test_the_test_stays_closed(tmp_path: Path) -> None:
    task = task_of(make_campaigns(), tmp_path)
    with pytest.raises(LeakError, match="closed"):
        task.test_pairs()
    assert len(task.later_closed.positives) == len(task.later_closed.history) == 0
    task.open_test()
    assert len(task.test_pairs()) == TEST


def test_nothing_at_or_after_a_start_moves_what_is_known_for_it(tmp_path: Path) -> None:
    """Of each campaign: planted on the moment itself and after it, in every kind of event."""
    plain = seen(task_of(make_campaigns(), tmp_path / "plain"))
    for campaign in (2, CAMPAIGNS - TEST - 1, CAMPAIGNS - TEST, CAMPAIGNS - 2):
        made = make_campaigns()
        start = campaign_start(campaign)
        held = {(r["source"], r["target"]) for r in made.bought}
        for user in range(0, USERS, 3):
            for at, product in ((start, 0), (start + timedelta(days=3), 1)):
                pair = (f"u{user:03}", advertised(brand_of(campaign))[product])
                if pair not in held:
                    made.bought.append(
                        {"source": pair[0], "target": pair[1], "first_at": at, "first_quantity": 1}
                    )
        earlier = {r["source"] for r in made.received if r["target"] == "c00"}
        made.redeemed += [{"source": u, "target": "k00", "at": start} for u in earlier if campaign < 3]
        last = f"c{CAMPAIGNS - 1:02}"  # sent later to everybody
        reached = {r["source"] for r in made.received if r["target"] == last}
        for user in {f"u{u:03}" for u in range(USERS)} - reached:
            made.received.append({"source": user, "target": last, "at": day(400)})
        found = seen(task_of(made, tmp_path / f"after{campaign}"))
        assert np.array_equal(found[campaign], plain[campaign]), campaign
        if campaign + 1 < CAMPAIGNS - 1:
            # The next one may know it: what was planted is not simply unread.
            assert not np.array_equal(found[campaign + 1], plain[campaign + 1])


def test_an_event_of_a_moment_before_is_read(tmp_path: Path) -> None:
    made = make_campaigns()
    at = campaign_start(4) - timedelta(microseconds=1)
    held = {r["source"] for r in made.bought if r["target"] == "p411"}
    user = min({r["source"] for r in made.received if r["target"] == "c04"} - held)
    made.bought.append({"source": user, "target": "p411", "first_at": at, "first_quantity": 1})
    plain, found = seen(task_of(make_campaigns(), tmp_path / "a")), seen(task_of(made, tmp_path / "b"))
    assert np.array_equal(found[3], plain[3])
    assert not np.array_equal(found[4], plain[4])


def test_a_redemption_counts_for_the_campaign_that_reached_the_user_and_ran(tmp_path: Path) -> None:
    made = make_campaigns()
    made.received = [r for r in made.received if r["source"] != "u000"]
    made.redeemed = [r for r in made.redeemed if r["source"] != "u000"]
    made.received.append({"source": "u000", "target": "c02", "at": campaign_start(2)})
    made.redeemed += [
        {"source": "u000", "target": "k02", "at": campaign_start(2) + timedelta(days=2)},
        {"source": "u000", "target": "k02", "at": campaign_end(2) + timedelta(hours=10)},  # on its last day
        {"source": "u000", "target": "k02", "at": campaign_start(2) + timedelta(days=31)},  # after its end
        {"source": "u000", "target": "k03", "at": campaign_start(3) + timedelta(days=2)},  # not received
    ]
    data = task_of(made, tmp_path).known
    mine = data.positives.who == 0
    assert data.positives.what[mine].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("times", "dates"),
    [
        (["2024-03-01", "2024-03-31"], True),
        (["2024-03-01T16:00", "2024-03-31T15:00"], True),  # midnights of one zone, in winter and summer
        (["2024-03-01T23:00", "2024-03-31T00:00"], True),
        (["2024-03-01", "2024-03-31T10:30"], False),
        (["2024-03-01T10:37", "2024-03-31T10:37"], False),
        (["2024-03-01", "2024-03-31T12:00", "2024-04-01T13:00"], False),
    ],
)
def test_midnights_alone_are_dates(times: list[str], dates: bool) -> None:
    micro = np.array(times, "datetime64[us]").astype(np.int64)
    assert _are_dates(micro[:1], micro[1:]) == dates
    if len(set(micro % 86_400_000_000)) == 2:
        # One may have begun before the clocks changed; several that all begin at another hour have hours.
        assert not _are_dates(np.repeat(micro[:1], 2), micro[1:])


def events(*rows: tuple[int, int, int]) -> TimedPairs:
    return TimedPairs.of(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_features_are_what_they_are_called() -> None:
    day_us = 86_400_000_000
    data = AudienceData(
        candidates=2, items=3, history=events((0, 0, 0), (0, 1, 95 * day_us), (1, 2, 50 * day_us)),
        positives=events((0, 0, 80 * day_us), (0, 0, 85 * day_us)),
        reached=events((0, 0, 70 * day_us), (1, 0, 70 * day_us)),
        starts=np.array([70 * day_us, 100 * day_us]), anchor_items=[np.array([0]), np.array([0, 1])],
    )  # fmt: skip
    x = dict(zip(data.names(), data.features(data.wanted(1), 100 * day_us, np.arange(2)).T, strict=True))
    log = np.log1p
    assert x["events"] == pytest.approx(log([2, 1]))
    assert x["events 30 d"] == pytest.approx(log([1, 0]))
    assert x["events 90 d"] == pytest.approx(log([1, 1]))
    assert x["days since"] == pytest.approx(log([5, 50]))
    assert x["items had"] == pytest.approx(log([2, 0]))
    assert x["share had"].tolist() == [1, 0]
    assert x["positives"] == pytest.approx(log([2, 0]))
    assert x["positive anchors"] == pytest.approx(log([1, 0]))
    assert x["days since positive"] == pytest.approx(log([15, 999]))
    assert x["reached"] == pytest.approx(log([1, 1]))
    assert x["items had, among all"].tolist() == pytest.approx([1, -1])
    assert x["anchor's items"] == pytest.approx(log([2, 2]))
    assert data.features(Wanted(np.zeros(0, np.int64), size=2.0), 100 * day_us, np.arange(2)).shape == (
        2,
        len(x),
    )
    nobody = replace(data, reached=None)
    assert nobody.eligible(0).tolist() == [0, 1]


def test_the_paths_and_relationships_are_those_of_the_schema() -> None:
    schema, spec = load_schema(), target_spec()
    edges = audience_edges(spec, schema)
    assert edges.positives == ("User", "REDEEMED", "Coupon")
    assert edges.through == ("Coupon", "PART_OF", "Campaign")
    assert edges.reached == ("User", "RECEIVED", "Campaign")
    assert {path[0].end for path in edges.paths} == {"Coupon", "Ad"}
    assert fact_paths(schema.edges("fact"), "Brand", "Statement") == ()
    ads = target_spec(
        anchors={"label": "Ad", "by": ["text", "facts"]}, reached_by="SAW",
        positives={"event": "CLICKED", "reverse": True},
        protocol={"split": "anchors", "test": 3, "validation": 3},
    )  # fmt: skip
    check_task(ads, schema)
    assert audience_edges(ads, schema).paths[0][0].edge == ("Ad", "FOR", "Product")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reached_by": "SAW"}, "SAW is not an event between User and Campaign"),
        (
            {"positives": {"event": "REDEEMED", "reverse": True}},
            "REDEEMED is not an event from User to Campaign",
        ),
        (
            {"positives": {"event": "REDEMED", "reverse": True, "through": "PART_OF"}},
            "did you mean 'REDEEMED'",
        ),
        ({"candidates": {"label": "User", "by": "history", "history": "BOUGTH"}}, "no event 'BOUGTH'"),
        ({"output": "RECOMMENDED"}, "does not lead from Campaign to User"),
    ],
)
def test_what_the_schema_lacks_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        check_task(target_spec(**change), load_schema())
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"protocol": {"split": "time"}}, "anchors without and candidates by history"),
        ({"protocol": {"split": "anchors", "test": 1.5}}, "whole number, or a share"),
        ({"positives": {"event": "REDEEMED"}}, "reverse: true"),
        ({"candidates": {"label": "User", "by": "history"}}, "name the event that is their history"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        target_spec(**change)
    assert says in str(caught.value)


@pytest.mark.parametrize("reached_by", ["SAW", None])
def test_ads_that_are_clicked_start_when_they_are_first_seen_or_clicked(
    tmp_path: Path, reached_by: str | None
) -> None:
    """Another label, no coupon between, no start of its own: names in the declaration alone."""
    schema = load_schema()
    seen_at = [
        {"source": f"u{u}", "target": f"a{a}", "first_at": day(10 * a + u)}
        for a in range(6)
        for u in range(3)
    ]
    clicked = [{"source": "u1", "target": f"a{a}", "first_at": day(10 * a + 2)} for a in range(6)]
    tables: dict[Any, list[dict[str, Any]]] = {
        "User": [{"user_id": f"u{u}"} for u in range(4)],
        "Product": [{"product_id": f"p{p}", "title": "thing"} for p in range(6)],
        "Ad": [{"ad_id": f"a{a}", "title": "look"} for a in range(6)],
        ("Ad", "FOR", "Product"): [{"source": f"a{a}", "target": f"p{a}"} for a in range(6)],
        ("User", "BOUGHT", "Product"): [
            {"source": "u1", "target": "p0", "first_at": day(0), "first_quantity": 1},
            {"source": "u2", "target": "p1", "first_at": day(0), "first_quantity": 0},
        ],
        ("User", "SAW", "Ad"): seen_at,
        ("User", "CLICKED", "Ad"): clicked,
    }
    change = {} if reached_by is None else {"reached_by": reached_by}
    declared = target_spec().declared()
    declared.pop("reached_by")
    raw = declared | change | {
        "anchors": {"label": "Ad", "by": ["text", "facts"]}, "output": "TARGETED",
        "positives": {"event": "CLICKED", "reverse": True},
        "protocol": {"split": "anchors", "test": 0.34, "validation": 1},
    }  # fmt: skip
    spec = parse_task(raw, name="clicks")
    assert isinstance(spec, MatchSpec)
    with MemoryStore() as store:
        store.apply_schema(schema)
        write_rows(store, schema, tables)
        later = take_snapshot(store, tmp_path / "later", cut=None)
        cut = audience_cut(later, spec)
        snapshot = take_snapshot(store, tmp_path / "cut", cut=cut)
    assert cut == day(40 if reached_by else 42)
    task = AudienceTask(spec, snapshot, later, {})
    assert task.known.history.what.tolist() == [0]  # what was only returned is no history
    assert [a.tolist() for a in task.known.anchor_items[:2]] == [[0], [1]]
    (first, *_) = task.pairs(TRAIN)
    assert first.candidates.tolist() == ([0, 1, 2] if reached_by else [0, 1, 2, 3])
    assert first.labels.tolist()[:3] == [False, True, False]
    data = task.known
    x = dict(
        zip(data.names(), data.features(data.wanted(1), int(data.starts[1]), np.arange(4)).T, strict=True)
    )
    assert x["positive anchors"] == pytest.approx(np.log1p([0, 1, 0, 0]))
    assert x["reached"][3] == pytest.approx(np.log1p(0 if reached_by else 1))


def test_a_graph_without_any_anchor_is_refused(tmp_path: Path) -> None:
    shop = make_campaigns()
    with MemoryStore() as store:
        fill_campaigns(store, shop)
        store.delete_nodes("Campaign", store.read_nodes("Campaign", [])["campaign_id"])
        later = take_snapshot(store, tmp_path / "later", cut=None)
    with pytest.raises(InputError):
        audience_cut(later, target_spec())


def test_too_few_anchors_are_refused(tmp_path: Path) -> None:
    spec = target_spec(protocol={"split": "anchors", "test": CAMPAIGNS - 3, "validation": 3})
    with MemoryStore() as store:
        fill_campaigns(store, make_campaigns())
        later = take_snapshot(store, tmp_path / "later", cut=None)
    with pytest.raises(InputError, match=f"{CAMPAIGNS} Campaigns that reached somebody leave nothing"):
        audience_cut(later, spec)


def test_the_projects_own_task_is_declared() -> None:
    check_task(load_task("target"), load_schema())
    assert BRANDS < CAMPAIGNS
