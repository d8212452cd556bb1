"""A whole suite on the small shop: ours by seed, peers, ablations, figures; started again, all is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from _shop import PROTOCOL, fill_shop
from _tiny_encoder import tiny_encoder

from bench.suites import SuiteOptions, ours, write_suite
from bench.suites.choose import Chooser, Peer
from bench.suites.discovery import Discovery, discovery_suite
from bench.suites.peers import Content, blends, collaborative, content, popular
from kgdistill.store import GraphStore, MemoryStore

REFIT = PROTOCOL.model_copy(
    update={"refit": True, "settings": ("all", "cold", "cold_in_all"), "min_user_events": 0, "ks": (5,)}
)


@contextmanager
def shop_graph() -> Iterator[GraphStore]:
    with MemoryStore() as store:
        fill_shop(store)
        yield store


def shop_peers(chooser: Chooser, read: Content, folder: Path) -> list[Peer]:
    assert read.vectors.shape[0] == read.brand.shape[0] == 80
    quick = [p for p in collaborative(("all", "cold_in_all")) if p.arm in ("ease", "recent_popularity")]
    single = [popular(), *quick, *content(read, powers=False)]
    made = {"blend": ("EASE + text", ("ease", "text_knn"))}
    return [*single, *blends(chooser, {p.arm: p for p in single}, made)]


def test_a_suite_trains_judges_writes_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"epochs": 1, "candidates": 10, "random": 2, "evaluate_every": 1}
    encoder = str(tiny_encoder(tmp_path / "encoder", layers=1))
    options = SuiteOptions(
        work=tmp_path / "work",
        seeds=(0, 1),
        ablate=True,
        device="cpu",
        threads=1,
        config={
            "text": {"encoder": encoder, "precision": "float32"},
            "teacher": {"dim": 4, "layers": 2, **small},
            "student": small,
        },
    )
    # One piece of each is enough here.
    pieces = tuple({a.of: a for a in ours.ABLATIONS}.values())
    monkeypatch.setattr(ours, "ABLATIONS", pieces)
    what = Discovery(
        name="shop",
        protocol=REFIT,
        graph=shop_graph,
        choose={"all": ("all", "ndcg@10"), "cold": ("cold", "ndcg@5"), "cold_in_all": ("all", "ndcg@10")},
        peers=shop_peers,
        headline={"all": "ndcg@10", "cold": "ndcg@5", "cold_in_all": "recall@10"},
        against=("blend", "ease"),
    )
    result, runs = discovery_suite(what, options)
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
    assert set(result.seeds("ease")[0].scores) == {"all", "cold_in_all"}
    assert set(result.seeds("student")[0].scores["cold"]) == {
        f"{m}@{k}" for m in ("ndcg", "recall", "mrr") for k in (5, 10)
    }
    assert {"brand_shift", "coverage", "popularity_lift"} <= set(result.seeds("student")[0].extra)
    first, second = (a.scores["all"]["ndcg@10"] for a in result.seeds("student"))
    assert (first != second).any()

    places = write_suite(result, tmp_path / "results")
    document = json.loads(places["document"].read_text("utf-8"))
    assert {(d["a"], d["b"]) for d in document["ablations"]} == {(p.of, p.arm) for p in pieces}
    compared = {(d["a"], d["b"]) for d in document["comparisons"]}
    assert {("student", "student_nodistill"), ("student", "blend"), ("teacher", "teacher_text")} <= compared

    stages = sorted((tmp_path / "work").rglob("stage.json"))
    before = {path: path.stat().st_mtime_ns for path in stages}
    kept = sorted((tmp_path / "work" / "shop" / "peers").iterdir())

    again, _ = discovery_suite(what, options)
    assert {path: path.stat().st_mtime_ns for path in stages} == before
    assert sorted((tmp_path / "work" / "shop" / "peers").iterdir()) == kept
    for one, other in zip(result.arms, again.arms, strict=True):
        assert (one.arm, one.seed) == (other.arm, other.seed)
        for setting, metrics in one.scores.items():
            for metric, values in metrics.items():
                np.testing.assert_array_equal(values, other.scores[setting][metric])
