"""What the README and the results say is what the results hold, and no more than they show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests._load_script import ROOT, load_script

claims = load_script("docs/claims.py")
RESULTS = ROOT / "bench" / "results"
KEY = ("completejourney", "student", "ease", "warm")


def changed(tmp_path: Path, suite: str = "completejourney", **values: Any) -> Any:
    """The results with other values in the comparison `KEY`."""
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("*.parquet", "*.svg"))
    file = folder / f"models-{suite}.json"
    document = json.loads(file.read_text("utf-8"))
    found = next(d for d in document["comparisons"] if (d["a"], d["b"], d["setting"]) == KEY[1:])
    found.update(values)
    file.write_text(json.dumps(document), "utf-8")
    return claims.Results(folder)


def test_the_pages_say_what_the_results_hold() -> None:
    for page, text in claims.pages().items():
        assert page.read_text("utf-8") == text, f"{page.name} is out of date: make docs"


@pytest.mark.parametrize("page", claims.PAGES, ids=lambda page: page.name)
def test_no_page_holds_a_figure_of_its_own(page: Path) -> None:
    assert claims.loose(page.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "figure", ["568 × as fast", "in 431 s", "takes 2.8 GiB", "27 % more", "has 0.0544", "[.0481"]
)
def test_a_figure_outside_of_the_blocks_and_one_in_a_template_are_seen(figure: str) -> None:
    block = "<!-- claims/reaches.md -->\n0.0544\n<!-- /claims -->\n"
    assert claims.loose(block + "Python 3.10, `0.5`, NDCG@20.") == []
    assert len(claims.loose(f"{block}It {figure}.")) == 1
    assert len(claims.by_hand(f"{{{{ r.mean('office') }}}} It {figure}.")) == 1
    assert len(claims.by_hand(f"{{{{ '{figure}' }}}}")) == 1


def test_a_result_that_changes_makes_the_pages_stale(tmp_path: Path) -> None:
    results = changed(tmp_path, difference=0.0099)
    stale = [page for page, text in claims.pages(results.folder).items() if page.read_text("utf-8") != text]
    assert [page.name for page in stale] == ["README.md", "results.md"]


def test_how_many_negatives_a_student_finds_is_what_its_surges_were_told_with(tmp_path: Path) -> None:
    shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.parquet", "*.svg"))
    file = tmp_path / "results" / "tasks_watch.json"
    document = json.loads(file.read_text("utf-8"))
    assert (
        document["surges"]["mistakes"] == document["sentiment"]["of"]["financial_phrasebank"]["mistakes"]
    ), "python -m bench.tasks_watch --only surges"
    document["surges"]["mistakes"]["found"] = 0.123
    file.write_text(json.dumps(document), "utf-8")
    told = claims.rendered("alerts.md", claims.Results(tmp_path / "results"))
    assert "finds 12 % of the negatives" in " ".join(told.split())


@pytest.mark.parametrize(
    ("p", "difference", "said"),
    [
        (0.0499, 0.002, "is above EASE (+0.0020"),
        (0.0499, -0.002, "is below EASE (-0.0020"),
        (0.05, 0.002, "is not shown to differ from EASE (+0.0020"),
        (0.9, -0.002, "is not shown to differ from EASE (-0.0020"),
    ],
)
def test_only_what_survives_the_correction_is_above_or_below(
    tmp_path: Path, p: float, difference: float, said: str
) -> None:
    # By itself the difference would be significant: that is not enough.
    results = changed(tmp_path, p_holm=p, p=0.0001, difference=difference, low=-0.0001, high=0.0004)
    told = results.claim("is above", "EASE", *KEY)
    assert told.startswith(said)
    assert "[-.0001,\u00a0.0004]" in told


def test_a_lift_is_told_in_percent_where_it_is_shown_and_only_there(tmp_path: Path) -> None:
    results = changed(tmp_path, p_holm=0.01, difference=-0.002, relative=-0.25)
    assert results.claim("lifts", "it", *KEY).startswith("lowers it by 25\u00a0% (-0.0020")
    results = changed(tmp_path / "again", p_holm=0.2, difference=0.0019, relative=0.25)
    told = results.claim("lifts", "it", *KEY)
    assert told.startswith("is not shown to change it (+0.0019")
    assert "%" not in told


def test_with_one_seed_nothing_is_above(tmp_path: Path) -> None:
    results = changed(tmp_path, p_holm=0.001, difference=0.01)
    assert results.shown(*KEY) == 1
    results.arm("completejourney", "student")["seeds"] = [0]
    assert results.shown(*KEY) == 0
    told = results.claim("is above", "EASE", *KEY)
    assert told.startswith("is not shown to differ from EASE")
    assert told.endswith("p\u00a00.0010, 1\u00a0seed)")


def test_a_piece_is_named_where_its_difference_is_shown(tmp_path: Path) -> None:
    results = claims.Results(RESULTS)
    arms = [{"arm": name, "title": name, "kind": "ours", "seeds": [0, 1, 2]} for name in ("s", "a", "b")]
    less = {"a": "s", "setting": "all", "low": 0.0, "high": 0.1}
    found = [
        {**less, "b": "a", "difference": 0.03, "p_holm": 0.04},
        {**less, "b": "b", "difference": 0.05, "p_holm": 0.06},
    ]
    results.suites["office"] = {"arms": arms, "ablations": found}
    assert results.pieces("office", "s", "all").startswith("a (+0.0300")
    assert results.pieces("office", "s", "all").endswith("; no difference is shown for the other 1")
    arms[1]["seeds"] = [0]
    assert results.pieces("office", "s", "all") == "no difference is shown for any of 2 with 1 seed"


def test_a_comparison_that_nobody_made_or_corrected_is_refused(tmp_path: Path) -> None:
    results = claims.Results(RESULTS)
    with pytest.raises(SystemExit, match="no result is completejourney: student less wonder on warm"):
        results.claim("is above", "a wonder", "completejourney", "student", "wonder", "warm")
    for found in results.suites["completejourney"]["comparisons"]:
        found.pop("p_holm", None)
    with pytest.raises(SystemExit, match="student less ease on warm, corrected"):
        results.claim("is above", "EASE", *KEY)
    with pytest.raises(SystemExit, match="no result is office: arm wonder"):
        results.mean("office", "wonder", "all")
    with pytest.raises(SystemExit, match=r"no result file wonder\.json"):
        results.read("wonder")
    with pytest.raises(SystemExit, match="says 'better' by itself"):
        results.claim("is above", "EASE and better", *KEY)


@pytest.mark.parametrize("word", ["above", "Better", "helps", "on a par", "lifts"])
def test_a_template_compares_by_claims_alone(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.md").write_text(f"The student {word} EASE.\n", "utf-8")
    monkeypatch.setattr(claims, "TEMPLATES", tmp_path)
    with pytest.raises(SystemExit, match=f"own.md says '{word}' by itself"):
        claims.rendered("own.md", claims.Results(RESULTS))


def test_the_best_baseline_is_the_peer_with_the_highest_figure() -> None:
    results = claims.Results(RESULTS)
    arm = {"title": "x", "settings": {"all": {"ndcg@20": {"mean": 0.9, "low": 0.8, "high": 1.0}}}}
    before = results.best("office", "all")
    results.suites["office"]["arms"].append({**arm, "arm": "mine", "kind": "control"})
    assert results.best("office", "all") == before
    results.suites["office"]["arms"].append({**arm, "arm": "theirs", "kind": "peer"})
    assert results.best("office", "all") == "x 0.9000\u00a0[.8000,\u00a01.0000]"


def test_what_is_kept_is_told_with_its_lower_end() -> None:
    results = claims.Results(RESULTS)
    found = results.share("office", "student", "teacher", "all")
    found.update(mean=0.958, low=0.9216, high=0.99)
    assert results.kept("office", "student", "teacher", "all") == "95.8\u00a0% [92.2,\u00a099.0]"


def test_text_is_wrapped_and_an_interval_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "{{ r.mean('office', 'ease', 'all') }}"
    (tmp_path / "own.md").write_text(f"| {'a ' * 200}|\n\n- {(asked + ' ') * 9}\n  end\n- {asked}\n", "utf-8")
    monkeypatch.setattr(claims, "TEMPLATES", tmp_path)
    results = claims.Results(RESULTS)
    table, blank, *lines = claims.rendered("own.md", results).splitlines()
    assert (len(table), blank) == (403, "")
    assert max(map(len, lines)) <= claims.WIDTH
    assert len(lines) == 3
    assert all(line.count("[") == line.count("]") > 0 for line in lines)
    assert lines[0].startswith("- 0.")
    assert lines[1].startswith("  0.")
    assert lines[1].endswith(" end")
