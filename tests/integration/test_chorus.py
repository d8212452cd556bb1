"""Search on the real catalogue; the students are trained in the benchmark, not here."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from bench.suites.search import search_task
from bench.suites.spec import SearchSuite, load_suite
from kgdistill.errors import LeakError
from kgdistill.ranking.graded import search_metrics
from kgdistill.tasks.judgements import JudgedTask
from kgdistill.tasks.lexical import lexical_index

ROOT = Path(os.environ.get("KGDISTILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDER = ROOT / "chorus_icecat"


@pytest.fixture(scope="module")
def chorus(tmp_path_factory: pytest.TempPathFactory) -> JudgedTask:
    if not FOLDER.is_dir():
        pytest.skip("needs chorus_icecat in the folder that KGDISTILL_DATA names")
    suite = load_suite("chorus")
    assert isinstance(suite, SearchSuite)
    task = search_task(suite, FOLDER, tmp_path_factory.mktemp("chorus") / "snapshot")
    with pytest.raises(LeakError, match="not opened"):
        _ = task.judgements
    task.open_test()
    return task


def test_nothing_of_the_judgements_is_in_the_snapshot(chorus: JudgedTask) -> None:
    assert not any(edge[1] == "JUDGED" for edge in chorus.snapshot.edge_types)
    assert len(chorus.catalogue) == 19_406
    assert {fact.label for fact in chorus.catalogue.facts} == {"Brand", "Category"}
    with (FOLDER / "judgements.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    judgements = chorus.judgements
    assert set(judgements.queries) == {row["query"] for row in rows}
    assert len(judgements.queries) == 93
    assert sum(map(len, judgements.items)) == len({(row["query"], row["docid"]) for row in rows})
    at = judgements.queries.index(rows[0]["query"])
    item = chorus.snapshot.index("Product", [rows[0]["docid"]])[0]
    assert judgements.grades[at][judgements.items[at] == item] == [float(rows[0]["rating"])]


def test_words_alone_find_what_was_judged_relevant(chorus: JudgedTask) -> None:
    fields, judgements = chorus.catalogue.fields, chorus.judgements
    found = search_metrics(lexical_index(fields).scores(judgements.queries), judgements)
    assert np.isfinite(found["full/ndcg@10"]).sum() == 81
    assert np.nanmean(found["full/ndcg@10"]) > 0.75
    assert np.nanmean(found["full/recall@50"]) > 0.87
    shuffled = lexical_index({name: values[::-1] for name, values in fields.items()})
    chance = search_metrics(shuffled.scores(judgements.queries), judgements)
    assert np.nanmean(chance["full/ndcg@10"]) < 0.05
