"""Search on the real catalogue; the students are trained in the benchmark, not here."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from bench.suites.chorus import chorus_judgements, chorus_snapshot
from kgdistill.ranking.graded import Judgements, search_metrics
from kgdistill.tasks.search_catalogue import SearchCatalogue, search_catalogue

pytest.importorskip("bm25s", reason="search needs bm25s")

from kgdistill.models.terms.lexical import LexicalIndex

ROOT = Path(os.environ.get("KGDISTILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDER = ROOT / "chorus_icecat"


@pytest.fixture(scope="module")
def chorus(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchCatalogue, Judgements]:
    if not FOLDER.is_dir():
        pytest.skip("needs chorus_icecat in the folder that KGDISTILL_DATA names")
    snapshot = chorus_snapshot(FOLDER, tmp_path_factory.mktemp("chorus") / "snapshot")
    assert snapshot.num_nodes("Query") == 0
    return search_catalogue(snapshot), chorus_judgements(FOLDER, snapshot)


def test_nothing_of_the_judgements_is_in_the_catalogue(chorus: tuple[SearchCatalogue, Judgements]) -> None:
    catalogue, judgements = chorus
    assert len(catalogue) == 19_406
    assert {fact.label for fact in catalogue.facts} == {"Brand", "Category"}
    with (FOLDER / "judgements.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(judgements.queries) == len({row["query"] for row in rows}) == 93
    assert sum(map(len, judgements.products)) == len({(row["query"], row["docid"]) for row in rows})


def test_words_alone_find_what_was_judged_relevant(chorus: tuple[SearchCatalogue, Judgements]) -> None:
    catalogue, judgements = chorus
    found = search_metrics(LexicalIndex(catalogue.fields).scores(judgements.queries), judgements)
    assert np.isfinite(found["full/ndcg@10"]).sum() == 81
    assert np.nanmean(found["full/ndcg@10"]) > 0.75
    assert np.nanmean(found["full/recall@50"]) > 0.87
    shuffled = LexicalIndex({name: values[::-1] for name, values in catalogue.fields.items()})
    chance = search_metrics(shuffled.scores(judgements.queries), judgements)
    assert np.nanmean(chance["full/ndcg@10"]) < 0.05
