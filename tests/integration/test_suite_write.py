"""What a suite writes down is what it was given."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.comparisons import holm
from bench.suites import ArmScores, SuiteResult, write_suite
from bench.suites.write import redraw_suite
from kgdistill.errors import InputError

UNITS = {"warm": [f"u{i}" for i in range(40)], "cold": [f"u{i}" for i in range(0, 40, 2)]}


def arm(name: str, seed: int, level: float, **more: Any) -> ArmScores:
    draw = np.random.default_rng([len(name), seed])
    scores = {
        "warm": {"ndcg@20": level + draw.normal(0, 0.01, 40), "mrr@20": draw.random(40)},
        "cold": {"ndcg@10": level / 2 + draw.normal(0, 0.01, 20)},
    }
    if name == "ease":
        del scores["cold"]
    about = {"kind": "peer", "fit_seconds": 2.0 + seed, "parameters": None, "texts_per_second": None, **more}
    return ArmScores(arm=name, title=f"the {name} | arm", seed=seed, scores=scores, **about)


def suite() -> SuiteResult:
    ours = {"kind": "ours", "parameters": 1000, "texts_per_second": 5e4, "extra": {"coverage": 0.25}}
    return SuiteResult(
        suite="tiny",
        protocol=["All is ranked."],
        units=UNITS,
        arms=[
            *(arm("student", seed, 0.3 + seed / 100, **ours) for seed in (0, 1, 2)),
            arm("teacher", 0, 0.32, kind="ours", parameters=20_000, texts_per_second=400.0),
            arm("ease", 0, 0.2),
        ],
        comparisons=[("student", "ease"), ("student", "teacher")],
        shares=[("student", "teacher")],
        headline={"warm": "ndcg@20"},
        notes=["Nothing was tuned."],
        front=[
            {
                "arm": "student",
                "decoys": 3,
                "cost": 0.02,
                "lift": 1.5,
                "recall": 0.25,
                "low": 0.2,
                "high": 0.3,
            }
        ],
    )


def test_the_document_holds_means_differences_shares_and_holm_over_the_headlines(tmp_path: Path) -> None:
    result = suite()
    places = write_suite(result, tmp_path / "results")
    document = json.loads(places["document"].read_text("utf-8"))
    assert document["settings"]["warm"] == {"units": 40, "headline": "ndcg@20"}
    student, _, ease = document["arms"]
    values = np.stack([a.scores["warm"]["ndcg@20"] for a in result.arms[:3]])
    found = student["settings"]["warm"]["ndcg@20"]
    assert found["mean"] == pytest.approx(values.mean())
    assert found["per_seed"] == pytest.approx(values.mean(axis=1).tolist())
    assert found["seeds_low"] < found["low"] < found["mean"] < found["high"] < found["seeds_high"]
    assert (student["seeds"], student["fit_seconds"], student["extra"]) == (
        [0, 1, 2],
        3.0,
        {"coverage": 0.25},
    )
    assert "cold" not in ease["settings"]

    differences = {(d["b"], d["setting"], d["metric"]): d for d in document["comparisons"]}
    headline = [("ease", "warm", "ndcg@20"), ("teacher", "warm", "ndcg@20"), ("teacher", "cold", "ndcg@10")]
    assert set(differences) == {*headline, ("ease", "warm", "mrr@20"), ("teacher", "warm", "mrr@20")}
    assert {key for key, d in differences.items() if "p_holm" in d} == set(headline)
    raw = [differences[key]["p"] for key in headline]
    assert [differences[key]["p_holm"] for key in headline] == pytest.approx(holm(raw))
    assert document["bootstrap"]["compared"] == 3
    base = result.arms[4].scores["warm"]["ndcg@20"].mean()
    assert differences[headline[0]]["difference"] == pytest.approx(values.mean() - base)
    assert differences[headline[0]]["relative"] == pytest.approx(values.mean() / base - 1)
    share = next(s for s in document["shares"] if (s["setting"], s["metric"]) == ("warm", "ndcg@20"))
    want = values.mean() / result.arms[3].scores["warm"]["ndcg@20"].mean()
    assert share["mean"] == pytest.approx(want)
    assert share["low"] < want < share["high"]
    assert share["seeds_low"] < share["low"]
    ends = f"| {share['low']:.1%} | {share['seeds_low']:.1%} |"
    rows = [r for r in places["table"].read_text("utf-8").splitlines() if r.startswith("| the student")]
    assert [r.endswith(ends) for r in rows if "| warm | NDCG@20 |" in r and "%, " in r] == [True]


def test_a_setting_that_stands_aside_is_told_but_is_no_comparison_to_correct_for(tmp_path: Path) -> None:
    result = suite()
    result.aside = ["cold"]
    places = write_suite(result, tmp_path)
    document = json.loads(places["document"].read_text("utf-8"))
    first = {d["setting"]: d for d in document["comparisons"] if d["metric"].startswith("ndcg")}
    assert "p_holm" in first["warm"]
    assert "p_holm" not in first["cold"]
    assert document["bootstrap"]["compared"] == 2
    assert "| the student \\| arm | 3 | 2% | 1.5 | 0.2500 [0.2000, 0.3000] |" in places["table"].read_text(
        "utf-8"
    )
    assert document["front"][0]["recall"] == 0.25
    assert "| the student \\| arm | the teacher \\| arm | cold | NDCG@10 |" in places["table"].read_text(
        "utf-8"
    )
    assert document["arms"][0]["settings"]["cold"]["ndcg@10"]["mean"] > 0


def test_every_unit_s_value_is_kept(tmp_path: Path) -> None:
    result = suite()
    table = pq.read_table(write_suite(result, tmp_path)["scores"]).to_pandas()
    assert len(table) == 5 * 80 + 4 * 20
    for held in result.arms:
        for setting, metrics in held.scores.items():
            for metric, values in metrics.items():
                mine = table[
                    (table.arm == held.arm)
                    & (table.seed == held.seed)
                    & (table.setting == setting)
                    & (table.metric == metric)
                ]
                assert mine.unit.tolist() == UNITS[setting]
                np.testing.assert_allclose(mine.value, values, rtol=1e-6)


def test_the_table_and_the_plots_show_every_arm(tmp_path: Path) -> None:
    places = write_suite(suite(), tmp_path)
    text = places["table"].read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    widths = [line.replace("\\|", "").count("|") for line in rows]
    assert widths[:5] == [widths[0]] * 5
    assert "**the student \\| arm**" in rows[2]
    assert rows[4].split(" | ")[2] == "–"
    for part in ("adjusted by Holm over these 3", "All is ranked.", "Nothing was tuned."):
        assert part in text
    assert {"latency", "ladder", "warm-cold"} <= set(places)
    for name in ("latency", "ladder", "warm-cold"):
        drawn = ET.fromstring(places[name].read_text("utf-8"))
        assert drawn.tag.endswith("svg")
        assert "the student" in places[name].read_text("utf-8")
        assert places[name].name in text
    # EASE encodes no text and is no rung: it is not in those plots.
    assert not any("the ease" in places[name].read_text("utf-8") for name in ("latency", "ladder"))


def test_the_ladder_says_what_every_rung_keeps_weighs_and_takes(tmp_path: Path) -> None:
    result = suite()
    small = {"kind": "ours", "parameters": 900, "extra": {"megabytes": 0.0011}}
    result.arms.append(arm("student_small", 0, 0.24, **small))
    places = write_suite(result, tmp_path)
    document = json.loads(places["document"].read_text("utf-8"))
    means = {arm["arm"]: arm["settings"]["warm"]["ndcg@20"]["mean"] for arm in document["arms"]}
    drawn = places["ladder"].read_text("utf-8")
    for name, rest in {
        "teacher": "0.08 MB, 2.5 ms",
        "student": "0.004 MB, 0.02 ms",
        "student_small": "0.0011 MB, not timed",
    }.items():
        assert f"the {name} | arm: {means[name] / means['teacher']:.1%}, {rest}" in drawn
    # Without a teacher there is no ladder.
    result.arms = [held for held in result.arms if held.arm != "teacher"]
    result.comparisons, result.shares = [("student", "ease")], []
    assert "ladder" not in write_suite(result, tmp_path / "alone")


def test_table_and_plots_are_drawn_again_from_the_document_alone(tmp_path: Path) -> None:
    places = write_suite(suite(), tmp_path)
    drawn = {name: path.read_bytes() for name, path in places.items() if name not in ("document", "scores")}
    for name in (*drawn, "scores"):
        places[name].unlink()
    assert redraw_suite("tiny", tmp_path) == {name: places[name] for name in drawn}
    assert {name: places[name].read_bytes() for name in drawn} == drawn
    with pytest.raises(InputError, match=r"models-other\.json"):
        redraw_suite("other", tmp_path)


def test_what_a_piece_brings_has_a_table_and_a_family_of_its_own(tmp_path: Path) -> None:
    without = write_suite(suite(), tmp_path / "without")
    plain = json.loads(without["document"].read_text("utf-8"))
    result = suite()
    # With the latter two seeds alone.
    piece = {"kind": "ablation", "parameters": 1000, "texts_per_second": 5e4}
    result.arms += [arm("student_nolist", seed, 0.1, **piece) for seed in (1, 2)]
    result.ablations = [("student", "student_nolist")]
    places = write_suite(result, tmp_path / "with")
    document = json.loads(places["document"].read_text("utf-8"))
    # But for the last digits, in which a product of larger matrices may differ.
    for one, other in zip(document["comparisons"], plain["comparisons"], strict=True):
        assert one == pytest.approx(other)
    found = {(d["setting"], d["metric"]): d for d in document["ablations"]}
    assert {key for key, d in found.items() if "p_holm" in d} == {("warm", "ndcg@20"), ("cold", "ndcg@10")}
    assert document["bootstrap"]["ablated"] == 2
    lost = found["warm", "ndcg@20"]
    wholes, pieces = (
        np.mean([a.scores["warm"]["ndcg@20"] for a in result.seeds(name)[-2:]])
        for name in ("student", "student_nolist")
    )
    assert lost["difference"] == pytest.approx(wholes - pieces)
    text = places["table"].read_text("utf-8")
    # Once in the heading of its row, and nowhere among the arms.
    assert text.count("the student_nolist \\| arm") == 1
    assert f"{lost['difference']:+.4f} [{lost['low']:.4f}, {lost['high']:.4f}] *" in text
    assert "student_nolist" not in places["latency"].read_text("utf-8")
    assert "What a piece brings" not in without["table"].read_text("utf-8")


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    short = arm("short", 0, 0.1)
    short.scores["warm"]["ndcg@20"] = np.zeros(3)
    lone = arm("student", 3, 0.1)
    del lone.scores["cold"]
    for wrong, says in (
        ({"arms": [*suite().arms, short]}, "there are 40 units"),
        ({"arms": [*suite().arms, arm("ease", 0, 0.1)]}, "twice with one seed"),
        ({"arms": [*suite().arms, lone]}, "otherwise than with another seed"),
        ({"arms": []}, "no arm"),
        ({"comparisons": [("student", "nobody")]}, "no arm is called 'nobody'"),
        ({"ablations": [("student", "nobody")]}, "no arm is called 'nobody'"),
        ({"units": {"warm": UNITS["warm"]}}, "of which no units are known"),
    ):
        result = suite()
        for name, value in wrong.items():
            setattr(result, name, value)
        with pytest.raises(InputError, match=says):
            write_suite(result, tmp_path / "no")
    assert not (tmp_path / "no").exists()
