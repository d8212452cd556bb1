"""Audiences as a run: whom a brand pleases is found through the graph, judged later, told without torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _campaigns import (
    BRANDS,
    CAMPAIGNS,
    TEST,
    brand_of,
    campaign_start,
    fill_campaigns,
    make_campaigns,
    target_spec,
)
from _tiny_encoder import tiny_encoder

import kgdistill as kg
from kgdistill.cli import main
from kgdistill.errors import ArtefactError, InputError
from kgdistill.run.report import write_report
from kgdistill.run.run import Run
from kgdistill.serve.audiences import AudienceAnswer
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.store import GraphStore, MemoryStore
from kgdistill.train.audience import pair_table

LATER = [f"c{c:02}" for c in range(CAMPAIGNS - TEST, CAMPAIGNS)]
SMALL = {"dim": 8, "z_dim": 4, "members": 1, "epochs": 12}


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_campaigns(opened, make_campaigns())
        yield opened


@pytest.fixture(scope="module")
def run(store: GraphStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("audience")
    text = {"encoder": str(tiny_encoder(folder / "tiny", layers=1)), "precision": "float32"}
    made = Run.create(folder / "run", store, task=target_spec(), text=text, audience=SMALL, device="cpu")
    made.fit()
    made.evaluate()
    return made


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("alone") / "bundle"
    shutil.copytree(run.folder / "bundle", folder)
    return load_bundle(folder)


def figures(run: Run) -> dict[str, dict[str, float]]:
    arms = json.loads((run.folder / "evaluate" / "metrics.json").read_text())["arms"]
    return {a["arm"]: {m: v["mean"] for m, v in a["settings"]["anchors"].items()} for a in arms}


def test_the_graphs_facts_find_whom_a_brand_pleases(run: Run) -> None:
    found = figures(run)
    # Who knows the brand alone reaches 0.863: a redemption has its chance in it.
    for arm in ("teacher", "student", "student_nodistill"):
        assert found[arm]["auc_within"] > 0.81, arm
    for arm in ("counts", "teacher_text", "teacher_shuffled"):
        assert found[arm]["auc_within"] < found["student"]["auc_within"] - 0.08, arm
    results = run.evaluate()
    assert "Audience; 95% intervals over campaigns" in str(results)
    assert {(c["a"], c["b"]) for c in results["comparisons"]} >= {("student", "student_nodistill")}
    curve = results["gains"]["student"]
    assert curve[-1][1] == pytest.approx(1)
    assert [share for _, share in curve] == sorted(share for _, share in curve)
    rows = {row["anchor"]: row for row in results["expected"]}
    assert list(rows) == LATER
    # The others end after the last event.
    assert [row["ended"] for row in rows.values()] == [True, False, False]
    assert all(row["low"] <= row["expected"] <= row["high"] for row in rows.values())


def test_the_bundle_says_what_the_student_says(run: Run, bundle: Bundle) -> None:
    maker = run.by_audience
    maker.task.open_test()
    views = maker._views(run.pipeline.arms["student"])
    for pair, key in zip(maker.task.test_pairs(), LATER, strict=True):
        table = pair_table(views.later, [pair])
        logits = maker.student().head.logits(table.features)
        answer = bundle.audience(key, size=1000)
        order = np.lexsort((pair.candidates, -logits))
        users = run.later.keys("User")
        assert [m.id for m in answer] == users[pair.candidates[order]].tolist()
        assert answer.candidates == len(answer) == 60


def liked(answer: AudienceAnswer, brand: int, best: int = 8) -> float:
    mine = make_campaigns().liked
    return float(np.mean([mine[m.id] == brand for m in answer[:best]]))


def test_the_likeliest_like_the_brand_of_a_campaign_that_is_there_and_of_a_new_one(bundle: Bundle) -> None:
    for key in LATER:
        answer = bundle.audience(key, size=8)
        assert answer.basis == "products"
        assert liked(answer, brand_of(int(key[1:]))) == 1
        assert any(
            f"before its start, {campaign_start(int(key[1:])):%Y-%m-%d}" in note for note in answer.notes
        )
        assert answer[0].because.startswith("BOUGHT ")
        assert "maker" in " ".join(m.because for m in answer) or "of its Products" in answer[0].because
        assert answer[0].path[0] == f"User {answer[0].id}"
        assert answer[0].path[-1] == f"Campaign {key}"
    new = bundle.audience(products=["p300", "p301", "p302", "nothing"], size=8)
    assert (new.basis, new.unknown, new.candidates) == ("products", ("nothing",), 120)
    assert liked(new, 3) == 1


def test_the_day_of_the_start_is_that_of_the_files(bundle: Bundle) -> None:
    there = Bundle(
        bundle.config | {"zone": "America/New_York"}, bundle.items, text=bundle.text, audience=bundle.finder
    )
    start = campaign_start(CAMPAIGNS - TEST)
    for asked, day in ((bundle, start), (there, start + timedelta(hours=-4))):
        answer = asked.audience(LATER[0], size=1)
        assert f"came before its start, {day:%Y-%m-%d}" in " ".join(answer.notes)
    assert (start + timedelta(hours=-4)).date() != start.date()


def test_what_is_expected_adds_up(bundle: Bundle) -> None:
    answer = bundle.audience(LATER[0], size=20)
    assert answer.expected.mean == pytest.approx(sum(m.probability for m in answer))
    assert answer.expected.low < answer.expected.mean < answer.expected.high <= 20
    assert [m.probability for m in answer] == sorted((m.probability for m in answer), reverse=True)
    assert answer.gains[-1][0] == answer.candidates
    at = dict(answer.gains)
    assert at[18] == pytest.approx(sum(m.probability for m in answer[:18]))


def test_exclusions_and_the_cap_hold(bundle: Bundle) -> None:
    asked = bundle.audiences
    assert asked is not None
    whole = asked.of_campaigns(LATER, 20)
    several = [m.id for answer in whole for m in answer]
    assert len(set(several)) < len(several)
    capped = asked.of_campaigns(LATER, 20, cap=1)
    ids = [m.id for answer in capped for m in answer]
    assert len(set(ids)) == len(ids) == 60
    first = whole[0][0].id
    without = bundle.audience(LATER[0], size=5, exclude=[first, "stranger"])
    assert first not in [m.id for m in without]
    assert without.unknown == ("stranger",)
    assert any("1 are left out as asked" in note for note in without.notes)


def test_what_a_text_names_stands_for_it_whatever_else_it_says(bundle: Bundle) -> None:
    """All titles are alike: by them the brand of a text would not matter."""
    best = bundle.audience(text="maker 3", size=20)
    told = bundle.audience(text="number 7 is cheaper: thing of maker 3", size=20)
    assert (told.basis, told.notes[:2]) == (
        "text",
        (
            "'maker 3' is read as MADE_BY maker 3",
            "of what it names the 12 Products nearest to its text stand for its own",
        ),
    )
    assert [m.id for m in told] == [m.id for m in best]
    mine = {m.id for m in bundle.audience(products=[f"p3{i:02}" for i in range(12)], size=20)}
    assert len(mine & {m.id for m in told}) >= 15
    assert not any("of what it names" in note for note in bundle.audience(text="thing 7", size=3).notes)


def test_what_there_is_nothing_of_has_a_said_fallback(bundle: Bundle) -> None:
    words = bundle.audience(text="thing number", size=3)
    assert words.basis == "text"
    assert any("nearest to its text" in note for note in words.notes)
    nothing = bundle.audience(text="§§§", size=3)
    assert (nothing.basis, len(nothing)) == ("habits", 3)
    assert any("no word of its text is known" in note for note in nothing.notes)
    gone = bundle.audience(products=["x"], size=3)
    assert gone.basis == "habits"
    assert any("none of its 1 product is known" in note for note in gone.notes)
    for wrong, says in (
        (lambda: bundle.audience("c99"), "the bundle knows no Campaign 'c99'"),
        (lambda: bundle.audience(), "give a campaign"),
        (lambda: bundle.audience("c12", text="x"), "give a campaign"),
        (lambda: bundle.audience("c12", size=0), "size is 0"),
        (lambda: bundle.recommend(["p300"]), "cannot recommend"),
    ):
        with pytest.raises(InputError, match=says):
            wrong()


def test_a_bundle_of_another_task_says_so(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = Bundle(bundle.config | {"task": {"name": "search"}}, bundle.items, text=bundle.text)
    other.save(tmp_path / "other")
    assert main(["audience", "c12", "--bundle", str(tmp_path / "other")]) == 2
    assert "made for 'search'; it cannot find an audience" in capsys.readouterr().err


def test_a_user_without_anything_is_told_so(store: GraphStore, run: Run, bundle: Bundle) -> None:
    assert bundle.finder is not None
    finder = bundle.finder
    empty = int(np.setdiff1d(np.arange(120), finder.data.history.who).min(initial=-1))
    assert empty == -1  # everybody bought; before anything happened nobody had
    from kgdistill.serve.audiences import _Reasons
    from kgdistill.tasks.audience import Wanted

    reasons = _Reasons(finder, bundle.items, Wanted(np.array([0])), None)
    reasons._history._offsets[:] = 0
    reasons._positives._offsets[:] = 0
    assert reasons.of(0) == ("nothing is known of it before: told is what is usual", ())


def test_a_damaged_part_is_refused(run: Run, tmp_path: Path) -> None:
    from kgdistill.serve.audience import Finder

    bundle = run.bundle()
    assert bundle.finder is not None
    settings, arrays, files = bundle.finder.settings(), bundle.finder.arrays(), bundle.finder.files()
    count = len(bundle)
    again = Finder.from_arrays(settings, arrays, files, count)
    assert again.keys == bundle.finder.keys
    broken: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"history.who": arrays["history.who"] + 1000}, "names what is not there"),
        ({}, {"history.at": arrays["history.at"][::-1].copy()}, "does not rise"),
        ({}, {"anchor.sizes": arrays["anchor.sizes"] + 1}, "do not fit the items"),
        ({}, {"middle": arrays["middle"][1:].copy()}, "is float32"),
        ({"temperature": 0}, {}, "temperature"),
        ({"names": {}}, {}, "names"),
    ]
    for other, changed, says in broken:
        with pytest.raises(ArtefactError) as caught:
            Finder.from_arrays(settings | other, arrays | changed, files, count)
        assert says in str(caught.value)


def test_the_command_shows_the_audience(
    run: Run, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--run", str(run.folder)]
    assert main(["fit", *at, "--json"]) == 0
    assert "student_nodistill" in capsys.readouterr().out
    assert main(["audience", LATER[0], "--size", "3", *at]) == 0
    told = capsys.readouterr()
    assert "BOUGHT" in told.out
    assert "expected of 3:" in told.out + told.err
    left = tmp_path / "left.txt"
    left.write_text(f"# no post\n{bundle.audience(LATER[0], size=1)[0].id}  # asked in May\n")
    args = ["audience", *LATER, "--size", "4", "--cap", "1", "--exclude", str(left), *at, "--json"]
    assert main(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert [answer["campaign"] for answer in found] == LATER
    assert set(found[0]) >= {"expected", "gains", "members", "basis", "notes"}
    assert main(["audience", "--products", "p300,p301", "--size", "2", *at]) == 0
    capsys.readouterr()
    for args, says in (
        (["audience", *at], "give a CAMPAIGN"),
        (["audience", "c99", *at], "knows no Campaign 'c99'"),
        (["audience", "--text", "x", "--cap", "1", *at], "goes with campaigns"),
        (["audience", "c12", "--exclude", "none.txt", *at], "cannot be read"),
        (["audience", "c12"], "give one of: --run, --bundle"),
    ):
        assert main(args) == 2
        assert says in capsys.readouterr().err


def test_what_a_write_back_does_not_read_is_refused(run: Run, store: GraphStore) -> None:
    for given in ({"least": 0.9}, {"allow_sensitive": True}):
        with pytest.raises(InputError, match="writes by neither a probability nor what is sensitive"):
            kg.Graph(store).write_back(run, **given)


def test_answers_are_written_back_and_twice_is_once(run: Run, store: GraphStore) -> None:
    graph = kg.Graph(store)
    for _ in range(2):
        report = graph.write_back(run, k=5)
        assert report.recommendations == 5 * TEST
    rows = graph.query(
        "MATCH (c:Campaign)-[r:TARGETED]->(u:User) RETURN c.campaign_id AS campaign, u.user_id AS user, "
        "r.rank AS rank, r.score AS score, r.run AS run ORDER BY campaign, rank"
    ).to_pylist()
    assert [r["campaign"] for r in rows] == [key for key in LATER for _ in range(5)]
    assert {r["run"] for r in rows} == {"run"}
    best = run.bundle().audience(LATER[0], size=5)
    assert [r["user"] for r in rows[:5]] == [m.id for m in best]
    assert [r["score"] for r in rows[:5]] == pytest.approx([m.probability for m in best])


def test_the_report_shows_the_gains(run: Run) -> None:
    html, markdown = write_report(run.folder)
    assert "gains" in html.read_text(encoding="utf-8").lower()
    text = markdown.read_text(encoding="utf-8")
    assert "AUC" in text
    assert all(key in text for key in LATER)
    # Each campaign ranks the 60 who received it, not all pairs of the test.
    assert f"over {TEST} campaigns, each ranking 60 users" in text
    assert f"{TEST} campaigns, 60 candidate users." in text


def test_swapped_users_or_ignored_products_are_seen(store: GraphStore, tmp_path: Path, run: Run) -> None:
    """The figures fall where the students' inputs are broken: nothing else could carry them."""
    maker, arm = run.by_audience, run.pipeline.arms["student"]
    maker.task.open_test()
    views, head = maker._views(arm), maker.student().head
    pairs = maker.task.test_pairs()
    right = pair_table(views.later, pairs)

    def within(features: np.ndarray[Any, Any]) -> float:
        from kgdistill.ranking.audience import auc_within

        return auc_within(right.judged, head.logits(features), np.ones(len(features), np.int64))

    assert within(right.features) > 0.8
    anchors = list(dict.fromkeys(right.anchors))
    swapped = np.concatenate([right.features[right.anchors == a][::-1] for a in anchors])
    assert within(swapped) < 0.65
    data = views.later
    other = [data.anchor_items[(p.anchor + 1) % CAMPAIGNS] for p in pairs]
    from kgdistill.tasks.audience import Wanted

    ignored = [
        data.features(Wanted(items), int(data.starts[p.anchor]), p.candidates)
        for p, items in zip(pairs, other, strict=True)
    ]
    assert within(np.concatenate(ignored)) < 0.65
    assert BRANDS > 1
