"""Suites on folders that are written here: ours by seed, baselines, ablations; started again, all is kept."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from _shop import PRODUCTS, PROTOCOL, purchases
from _tiny_encoder import tiny_encoder

from bench.suites import SuiteOptions, ours, write_suite
from bench.suites.__main__ import app
from bench.suites.data import split_rows
from bench.suites.discovery import discovery_suite
from bench.suites.spec import DiscoverySuite, GivenSplit, load_suite
from kgdistill.cli import main
from kgdistill.errors import InputError

MAPPING = """\
version: 1
name: corner-shop
sources:
  wares:
    files: wares.jsonl
    nodes:
      - {label: Product, key: sku, properties: {title: called, brand_text: maker, category_text: kind}}
      - {label: Brand, key: maker, properties: {name: maker}}
    relationships:
      - {type: MADE_BY, from: {Product: sku}, to: {Brand: maker}}
    trees:
      - {label: Category, path: {columns: [kind], list: true}, from: {Product: sku}}
  till:
    files: till.csv
    nodes: [{label: User, key: card}]
    relationships:
      - type: BOUGHT
        from: {User: card}
        to: {Product: sku}
        properties: {at: sold, quantity: amount}
  asked:
    files: asked.csv
    optional: true
    nodes: [{label: Query, key: words, properties: {text: words}}]
    relationships:
      - {type: JUDGED, from: {Query: words}, to: {Product: sku}, properties: {grade: stars}}
"""
SUITE = f"""\
kind: discovery
name: corner
data: {{mapping: corner.yaml}}
protocol:
  name: corner
  title: The corner shop
  cut: {PROTOCOL.cut}
  test_start: {PROTOCOL.test_start}
  refit: true
  settings: [all, cold, cold_in_all]
  min_user_events: 0
  min_item_users: 3
  k: 10
  ks: [5]
choose: {{all: [all, ndcg@10], cold: [cold, ndcg@5], cold_in_all: [all, ndcg@10]}}
headline: {{all: ndcg@10, cold: ndcg@5, cold_in_all: recall@10}}
baselines: [popularity, recent_popularity, ease, text_knn, brand_knn, category_popularity, metadata_knn]
purchases_alone: [all, cold_in_all]
blends: {{blend: {{title: EASE + text, of: [ease, text_knn]}}}}
against: [blend, ease]
decoys: 2
config:
  teacher: {{dim: 4, layers: 2, graph_steps: 8, epochs: 1, candidates: 10, random: 2, evaluate_every: 1}}
  student: {{epochs: 1, candidates: 10, random: 2, evaluate_every: 1}}
"""


def write_shop(folder: Path) -> Path:
    """The shop as files with names of its own, and its suite beside them."""
    folder.mkdir()
    with (folder / "wares.jsonl").open("w", encoding="utf-8") as lines:
        for p in range(PRODUCTS):
            ware = {"sku": f"p{p:02}", "called": f"thing number{p} maker{p % 6}", "maker": f"maker{p % 6}"}
            lines.write(json.dumps({**ware, "kind": f"kind{p % 6 // 2}"}) + "\n")
    with (folder / "till.csv").open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["card", "sku", "sold", "amount"])
        for row in purchases():
            rows.writerow([row["source"], row["target"], row["first_at"].isoformat(), 1])
    (folder / "corner.yaml").write_text(MAPPING, encoding="utf-8")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    return folder


def test_a_suite_trains_judges_writes_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shop(tmp_path / "shop")
    encoder = str(tiny_encoder(tmp_path / "encoder", layers=1))
    options = SuiteOptions(
        work=tmp_path / "work",
        seeds=(0, 1),
        ablate=True,
        device="cpu",
        threads=1,
        config={"text": {"encoder": encoder, "precision": "float32"}},
    )
    # One piece of each is enough here.
    pieces = tuple({a.of: a for a in ours.ABLATIONS}.values())
    monkeypatch.setattr(ours, "ABLATIONS", pieces)
    what = load_suite(folder)
    assert isinstance(what, DiscoverySuite)
    result, runs = discovery_suite(what, folder, options)
    by_seed = {name: [a.seed for a in result.seeds(name)] for name in result.names()}
    peers = ["popularity", "recent_popularity", "ease", "text_knn", "brand_knn", "category_popularity"]
    for name in ("teacher", "teacher_text", "teacher_shuffled", "student", "student_nodistill"):
        assert by_seed[name] == [0, 1]
    for piece in pieces:
        assert by_seed[piece.arm] == [0, 1]
        # Those of training alone: as much must be held to answer as for the whole.
        held = [[a.parameters for a in result.seeds(name)] for name in (piece.arm, piece.of)]
        assert held[0] == held[1]
    for name in [*peers, "metadata_knn", "blend"]:
        assert by_seed[name] == [0]
    # Training had no other task than those, and nobody opened them.
    assert not any(run.task._opened for run in runs)
    more = {f"{setting}+{level}" for setting in ("all", "cold_in_all") for level in (1, 2)}
    assert set(result.seeds("ease")[0].scores) == {"all", "cold_in_all", *more}
    assert set(result.seeds("student")[0].scores) == {"all", "cold", "cold_in_all", *more}
    # Training and choosing had the decoys before them.
    assert any(str(key).startswith("decoy-2-") for key in runs[0].task.item_keys.to_pylist())
    assert len(runs[0].task.items) > PRODUCTS
    assert set(result.seeds("student")[0].scores["cold"]) == {
        f"{m}@{k}" for m in ("ndcg", "recall", "mrr") for k in (5, 10)
    }
    assert {"brand_shift", "coverage", "popularity_lift"} <= set(result.seeds("student")[0].extra)
    first, second = (a.scores["all"]["ndcg@10"] for a in result.seeds("student"))
    assert (first != second).any()

    places = write_suite(result, tmp_path / "results")
    document = json.loads(places["document"].read_text("utf-8"))
    assert {(d["a"], d["b"]) for d in document["ablations"]} == {(p.of, p.arm) for p in pieces}
    assert document["settings"]["cold_in_all+2"]["headline"] == "recall@10"
    assert not [d for d in document["comparisons"] if "p_holm" in d and d["setting"] in more]
    assert any(line.startswith("Decoys: for each new item") for line in document["protocol"])
    compared = {(d["a"], d["b"]) for d in document["comparisons"]}
    assert {("student", "student_nodistill"), ("student", "blend"), ("teacher", "teacher_text")} <= compared

    stages = sorted((tmp_path / "work").rglob("stage.json"))
    before = {path: path.stat().st_mtime_ns for path in stages}
    kept = sorted((tmp_path / "work" / "corner" / "peers").iterdir())

    again, _ = discovery_suite(what, folder, options)
    assert {path: path.stat().st_mtime_ns for path in stages} == before
    assert sorted((tmp_path / "work" / "corner" / "peers").iterdir()) == kept
    for one, other in zip(result.arms, again.arms, strict=True):
        assert (one.arm, one.seed) == (other.arm, other.seed)
        for setting, metrics in one.scores.items():
            for metric, values in metrics.items():
                np.testing.assert_array_equal(values, other.scores[setting][metric])


def test_a_file_that_says_where_a_row_belongs_is_split_by_a_moment_as_it_says(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    days = [datetime(2024, 1, 1 + day) for day in (0, 1, 2, 2, 3)]
    for written in ([day.isoformat() for day in days], [str(int(day.timestamp())) for day in days]):
        rows = zip("abcde", written, ("train", "train", "valid", "test", "test"), strict=True)
        text = "".join(f"{','.join(row)}\n" for row in [("card", "sold", "part"), *rows])
        with gzip.open(folder / "till.csv.gz", "wt", encoding="utf-8") as file:
            file.write(text)
        given = {"source": "till", "file": "till.csv.gz", "time": "sold", "split": "part"}
        split = GivenSplit(**given, early="valid", test="test")
        found = split_rows(split, folder, ["card", "sold"])
        assert found.column_names == ["card", "sold"]
        # The third is of the test's first day and comes just before it; the others stand as they were.
        times = found["sold"].to_pylist()
        assert times[1] < times[2] < times[3]
        assert times[2] == times[3] - (timedelta(seconds=1) if written[0].startswith("2024") else 1)
        with pytest.raises(InputError, match="not split by time"):
            split_rows(split.model_copy(update={"test": "train"}), folder, ["card"])


def test_a_suite_of_search_runs_on_a_folder_of_other_names(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    encoder = tiny_encoder(tmp_path / "encoder", layers=1)
    with (folder / "asked.csv").open("w", encoding="utf-8") as lines:
        lines.write("words,sku,stars\n")
        lines.writelines(f"maker{b},p{p:02},{3 * (p % 6 == b)}\n" for b in range(6) for p in range(18))
    suite = f"""\
kind: search
name: corner-search
data: {{mapping: corner.yaml, without: [till]}}
encoder: {encoder}
search: {{queries: 40, dim: 8, epochs: 1}}
transformers: 0
"""
    (folder / "suite.yaml").write_text(suite, encoding="utf-8")
    out = tmp_path / "out"
    told = ["--suite", str(folder), "--no-peers", "--seeds", "1", "--out", str(out), "--json"]
    assert main(told, app) == 0
    document = json.loads((out / "models-corner-search.json").read_text("utf-8"))
    assert document["protocol"][0].startswith("6 queries with products judged 0 to 3")
    words = next(arm for arm in document["arms"] if arm["arm"] == "lexical")
    # Eighteen products of six makers: words find the three that bear the maker's name.
    assert words["settings"]["full"]["ndcg@10"]["mean"] > 0.2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "purchases_alone:",
            "purchases_only:",
            "purchases_only: is not a key here … mean 'purchases_alone'",
        ),
        (
            "min_item_users:",
            "min_items:",
            "protocol.min_items: is not a key … 'min_item_users'",
        ),
        ("test_start: ", "test_start: 2020-", "protocol.test_start"),
        ("[popularity,", "[popularty,", "no baseline 'popularty' … mean 'popularity'"),
        ("cold: [cold, ndcg@5]", "cold: [cold, ndgc@5]", "is 'ndgc@5', but should be ndcg, recall or mrr"),
        ("headline: {all: ndcg@10", "headline: {all: ndcg@7", "ndcg@7 is not judged … ks are 5, 10"),
        ("against: [blend,", "against: [blnd,", "no baseline of this suite 'blnd' … mean 'blend'"),
        ("purchases_alone: [all", "purchases_alone: [warm", "no setting of the protocol 'warm'"),
        ("cold: [cold, ndcg@5], ", "", "says nothing of the setting 'cold'"),
        ("mapping: corner.yaml", "mapping: korner.yaml", "there is no mapping 'korner.yaml'"),
        ("mapping: corner.yaml", "mapping: corner.yaml, folder: away", "has no folder 'away'"),
        ("kind: discovery", "kind: discover", "did you mean 'discovery'"),
    ],
)
def test_what_is_wrong_with_a_suite_is_one_message(
    old: str, new: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shop(tmp_path / "shop")
    assert old in SUITE
    (folder / "suite.yaml").write_text(SUITE.replace(old, new), encoding="utf-8")
    places = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert main(["--suite", str(folder), *places], app) == 2
    heard = capsys.readouterr()
    assert all(part in heard.err for part in said.split(" … "))
    assert "Traceback" not in heard.err
    assert not (tmp_path / "out").exists()
