"""The queries on which search's weights are tried: nothing of their answers can be read, none is judged."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from bench.search_fusion import by_kinds, by_rules, ndcg, tried
from kgdistill.ranking.fusion import SERVING
from kgdistill.run.text_match import CatalogueVectors
from kgdistill.tasks.search_catalogue import SearchCatalogue

KINDS = ["desk fan", "netbook", "rack", "router", "lamp", "original"]


def shop(each: int = 5) -> tuple[SearchCatalogue, CatalogueVectors]:
    kinds = [kind for kind in KINDS for _ in range(each)] + ["lone kind"]
    fields = {
        "title": [f"thing {n}" for n in range(len(kinds))],
        "category_text": kinds,
        "attributes": [f"one {kind} of a shop" for kind in kinds],
        "description": ["some words about a thing"] * len(kinds),
    }
    catalogue = SearchCatalogue(fields, [])
    assert catalogue.prose == ["title", "attributes", "description"]
    vectors = [np.full((len(kinds), 2), n, np.float32) for n, _ in enumerate(catalogue.prose)]
    return catalogue, CatalogueVectors(vectors, [], np.zeros((0, 2), np.float32))


def test_kinds_are_asked_for_where_no_text_tells_them(tmp_path: Path) -> None:
    catalogue, vectors = shop()
    with gzip.open(tmp_path / "products.jsonl.gz", "wt", encoding="utf-8") as file:
        for title, kind in zip(catalogue.titles, catalogue.fields["category_text"], strict=True):
            file.write(
                json.dumps({"title": title, "attr_t_type": kind.upper(), "attr_t_product_type": 1}) + "\n"
            )
    (tmp_path / "judgements.csv").write_text("query,docid,rating\nRouters,1,3\n", encoding="utf-8")
    asked = by_kinds(catalogue, vectors, tmp_path)
    # Judged (in the plural), rare, and no kind at all: three are left out.
    assert asked.texts == ["desk fan", "lamps", "netbook", "racks"]
    assert [right.tolist() for right in asked.answers] == [
        list(range(5 * n, 5 * n + 5)) for n in (0, 4, 1, 2)
    ]
    assert list(asked.catalogue.fields) == ["title", "description"]
    told = [vectors.fields[catalogue.prose.index(name)][0, 0] for name in asked.catalogue.prose]
    assert [field[0, 0] for field in asked.vectors.fields] == told


def test_rules_with_too_few_answers_are_left_out() -> None:
    catalogue, vectors = shop()
    asked = by_rules("it", catalogue, vectors, {"ten": (r"thing 1\d", "15"), "none": ("lamp", "")})
    assert asked.texts == ["ten"]
    assert asked.answers[0].tolist() == [10, 11, 12, 13, 14, 16, 17, 18, 19]


def test_fusions_are_told_by_their_distance_from_the_one_that_serves() -> None:
    words = np.array([[1.0, 0.0, 0.9, 0.8]], np.float32)
    near = np.array([[0.0, 0.5, 1.0, 0.2]], np.float32)
    parts = {"words": words, "coverage": (words > 0).astype(np.float32), "near": near}
    answers = {"it": [np.array([0])]}
    rows = tried({"it": [parts]}, answers)
    by_weight = {row["fusion"]["meaning"]: row for row in rows if row["fusion"]["depth"] is None}
    assert by_weight[0.3]["ndcg@10"]["it"] == pytest.approx(1 / np.log2(3))
    served = next(row for row in rows if row["fusion"] == asdict(SERVING))
    assert served["less serving"]["mean"] == 0
    lost = by_weight[0.9]
    assert lost["less serving"]["mean"] == pytest.approx(lost["ndcg@10"]["it"] - served["ndcg@10"]["it"])


def test_a_query_with_all_answers_first_is_worth_one() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], np.float32)
    found = ndcg(scores, [np.array([0, 1]), np.array([0])])
    assert found == pytest.approx([1, 1 / np.log2(4)])
