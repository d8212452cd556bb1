"""Search as a run: declared in a file, judged by the graph's own grades, answering without torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _search_shop import THINGS, fill_search_shop
from _tiny_encoder import tiny_encoder

from kgdistill import Graph
from kgdistill.cli import main
from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate.graded import judge_parts
from kgdistill.ranking.fusion import Fusion, fuse
from kgdistill.ranking.graded import search_metrics
from kgdistill.ranking.topk import top_k
from kgdistill.run.run import Run
from kgdistill.run.text_match import query_parts, student_parts
from kgdistill.store import GraphStore, MemoryStore, open_store

SMALL: dict[str, Any] = {"queries": 200, "epochs": 4, "batch": 32, "dim": 12, "candidates": 8}


@pytest.fixture(scope="module")
def store() -> Iterator[GraphStore]:
    with MemoryStore() as opened:
        fill_search_shop(opened)
        yield opened


@pytest.fixture(scope="module")
def run(store: GraphStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("search")
    encoder = tiny_encoder(folder / "tiny", layers=1)
    text = {"encoder": str(encoder), "precision": "float32"}
    made = Run.create(folder / "run", store, task="search", text=text, search=SMALL, device="cpu")
    made.fit()
    return made


def test_the_judgements_stay_closed_until_they_judge(run: Run) -> None:
    assert run.pipeline.fitted == ("text", "queries", "targets", "student", "student_nodistill", "bundle")
    with pytest.raises(LeakError, match="the judgements are the test"):
        _ = run.by_text.task.judgements
    texts = json.loads((run.read("queries") / "config.json").read_text(encoding="utf-8"))["texts"]
    assert len(texts) > 20
    assert ("Query", "JUDGED", "Product") not in run.snapshot.edge_types


def test_the_results_have_the_shape_of_every_run_and_the_facts_matter(run: Run) -> None:
    results = run.evaluate()
    assert [arm["arm"] for arm in results["arms"]] == [
        "words", "teacher", "teacher_text", "teacher_shuffled", "student", "student_vectors",
        "student_nodistill",
    ]  # fmt: skip
    assert results["protocol"]["settings"]["full"] == {"users": 21, "candidates": 30}
    full = {arm["arm"]: arm["settings"]["full"]["ndcg@10"]["mean"] for arm in results["arms"]}
    # No title names a maker: only the graph knows whose paper it is.
    assert full["teacher"] > full["teacher_text"] + 0.05
    assert full["teacher"] > full["teacher_shuffled"] + 0.05
    assert "Search; 95% intervals over queries" in str(results)
    told = {arm["arm"]: (arm["fit_seconds"], arm["parameters"]) for arm in results["arms"]}
    assert told["words"] == (None, None)
    assert told["teacher"] == (None, run.by_text.encoder.parameters_count)
    assert told["student"] == told["student_vectors"]
    assert all(told[name][0] > 0 and told[name][1] > 0 for name in ("student", "student_nodistill"))
    pairs = {(c["a"], c["b"]) for c in results["comparisons"]}
    assert pairs >= {("teacher", "teacher_text"), ("student", "student_nodistill"), ("student", "words")}


def test_a_stage_of_other_settings_is_made_again_and_the_others_are_not(
    run: Run, store: GraphStore, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "run", symlinks=True)
    other = Run.create(tmp_path / "run", store, search={"epochs": 3})
    assert other.config.task.name == "search"
    other.fit()
    again = {name for name in run.pipeline.fitted if other.need(name).made != run.need(name).made}
    assert again == {"student", "student_nodistill", "bundle"}


def test_a_graph_without_judgements_is_searched_and_not_judged(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_store(f"ladybug:{tmp_path / 'bare.db'}") as bare:
        fill_search_shop(bare)
        bare.delete_nodes("Query", pa.array([f"q{t}" for t in range(len(THINGS))]))
        bare.delete_nodes("Query", pa.array([f"q{t}{b}" for t in range(3) for b in range(5)]))
        text = run.config.text.model_dump()
        unjudged = Run.create(tmp_path / "run", bare, task="search", text=text, search=SMALL, device="cpu")
    assert run.judges
    assert not unjudged.judges
    unjudged.fit()
    assert len(unjudged.bundle().search("acorn paper", 3)) == 3
    with pytest.raises(InputError, match="nothing judges: the graph held no Query-JUDGED-Product"):
        unjudged.evaluate()
    capsys.readouterr()
    # Neither command sends to the other: what is named next can be done.
    assert main(["report", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "nothing judges: the graph held no Query-JUDGED-Product" in said
    assert "kgdistill evaluate" not in said
    assert main(["fit", "--run", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert f"next:  kgdistill search TEXT --run {tmp_path / 'run'}" in capsys.readouterr().err
    assert main(["search", "acorn paper", "--run", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    write = ["writeback", "--store", f"ladybug:{tmp_path / 'bare.db'}", "--run"]
    assert main([*write, str(tmp_path / "run")]) == 0
    assert "no answer was written: the graph holds no Query" in capsys.readouterr().err


def test_the_bundle_finds_as_the_run_was_judged(run: Run) -> None:
    bundle, models = run.bundle(), run.by_text
    queries = ["acorn paper", "elm lamp", "desk number"]
    student, every = models.student(), np.arange(30)
    parts = student_parts(student, student.items(models.task.catalogue), queries, models.index)
    scores = fuse(parts(np.arange(3)), Fusion(depth=100))
    keys = run.snapshot.keys("Product")
    for query, row in zip(queries, scores, strict=True):
        best, values = top_k(row[None], every, 5)
        hits = bundle.search(query, k=5)
        assert [hit.id for hit in hits] == [str(keys[i]) for i in best[0]]
        np.testing.assert_allclose([hit.score for hit in hits], values[0], rtol=1e-4)
    with pytest.raises(InputError, match="it cannot recommend"):
        bundle.recommend(["p00"])


def test_further_depths_are_judged_too(run: Run) -> None:
    models = run.by_text
    models.task.open_test()
    judgements = models.task.judgements
    parts = query_parts(models.teacher, judgements.queries, ("words", "coverage"))
    found = judge_parts(parts, judgements, Fusion(), items=30, ks=[10, 1])
    assert list(found["full"]) == ["ndcg@10", "judged@10", "ndcg@1", "judged@1"]
    alone = judge_parts(parts, judgements, Fusion(), items=30, ks=[1])
    assert np.array_equal(found["full"]["ndcg@1"], alone["full"]["ndcg@1"])
    # Block by block it is the same.
    rows = np.arange(len(judgements.queries))
    once = search_metrics(fuse(parts(rows), Fusion()), judgements)["full/ndcg@10"]
    assert np.array_equal(found["full"]["ndcg@10"], once[np.isfinite(once)])


def test_what_a_search_finds_for_the_queries_of_the_graph_is_written_back(
    run: Run, store: GraphStore
) -> None:
    found = ("Query", "FOUND", "Product")
    for k in (5, 3):
        report = Graph(store).write_back(run, k=k)
    assert (report.unanswered, report.unanswered_first) == (0, ())
    rows = (
        store.read_relationships(found).sort_by([("source", "ascending"), ("rank", "ascending")]).to_pylist()
    )
    assert report.recommendations == len(rows) > 0
    texts = {row["query_id"]: row["text"] for row in store.read_nodes("Query").to_pylist()}
    bundle = run.bundle()
    for query, text in texts.items():
        hits = [(hit.id, hit.rank) for hit in bundle.search(text, k=3)]
        assert [(r["target"], r["rank"]) for r in rows if r["source"] == query] == hits
    (node,) = store.read_nodes("Run").to_pylist()
    assert (node["task"], node["answers"]) == ("search", len(rows))
    led = store.read_relationships(("Run", "MADE", "Product"))
    assert set(led["target"].to_pylist()) == {row["target"] for row in rows}
