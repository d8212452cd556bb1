"""Metrics and full ranking against brute force."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from _tasks import make_task, random_splits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate import judge
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.ranking import topk
from kgdistill.ranking.metrics import mrr_at_k, ndcg_at_k, recall_at_k
from kgdistill.ranking.topk import top_k

METRICS = (ndcg_at_k, recall_at_k, mrr_at_k)


def oracle(hits: list[bool], relevant: int, k: int) -> tuple[float, float, float]:
    """NDCG, recall and MRR of one user, rank by rank."""
    gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits[:k], 1) if hit)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(relevant, k) + 1))
    first = next((rank for rank, hit in enumerate(hits[:k], 1) if hit), math.inf)
    return gain / ideal, sum(hits[:k]) / relevant, 1 / first


@given(data=st.data(), k=st.integers(1, 8), width=st.integers(0, 10), users=st.integers(1, 6))
def test_metrics_equal_the_definition(data: st.DataObject, k: int, width: int, users: int) -> None:
    hits = data.draw(arrays.arrays(np.bool_, (users, width)))
    missed = data.draw(arrays.arrays(np.int64, users, elements=st.integers(0, 12)))
    relevant = np.maximum(hits.sum(axis=1) + missed, 1)
    want = np.array([oracle(list(h), int(r), k) for h, r in zip(hits, relevant, strict=True)])
    got = np.stack([metric(hits, relevant, k) for metric in METRICS], axis=1)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert got.dtype == np.float64
    assert got.max() <= 1


def test_a_ranking_that_is_all_right_scores_one_beyond_k() -> None:
    assert ndcg_at_k(np.ones((1, 20), bool), np.array([300]), 20).tolist() == [1.0]


@pytest.mark.parametrize(
    ("hits", "relevant", "k", "says"),
    [
        ([[False, True]], [0], 2, "no relevant"),
        ([[True, True]], [1], 2, "more hits"),
        ([[True]], [1], 0, "k is 0"),
        ([[True]], [1, 1], 1, "do not fit"),
    ],
)
def test_metrics_refuse_what_has_no_value(hits: Any, relevant: Any, k: int, says: str) -> None:
    for metric in METRICS:
        with pytest.raises(ValueError, match=says):
            metric(np.array(hits), np.array(relevant), k)


FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38, math.inf, -math.inf, 0.5])
ANY = st.floats(width=32, allow_nan=False)


@given(
    data=st.data(),
    users=st.integers(0, 4),
    width=st.integers(0, 12),
    k=st.integers(1, 14),
    cells=st.integers(1, 30),
)
def test_top_k_equals_a_full_sort_by_score_then_id(
    data: st.DataObject, users: int, width: int, k: int, cells: int
) -> None:
    element = data.draw(st.sampled_from([FEW, ANY]))
    scores = data.draw(arrays.arrays(np.float32, (users, width), elements=element, fill=st.nothing()))
    candidates = np.cumsum(data.draw(arrays.arrays(np.int64, width, elements=st.integers(1, 5))))
    before = scores.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "_BLOCK_CELLS", cells)
        items, best = top_k(scores, candidates, k)
    for row, found, values in zip(scores, items, best, strict=True):
        pairs = zip(row.tolist(), candidates.tolist(), strict=True)
        want = sorted((-score, item) for score, item in pairs if score > -math.inf)[:k]
        want += [(math.inf, -1)] * (k - len(want))
        assert found.tolist() == [item for _, item in want]
        assert values.tolist() == [-score for score, _ in want]
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize(
    ("scores", "candidates", "k", "says"),
    [
        ([[math.nan, 1]], [0, 1], 1, "NaN"),
        ([[0, 1]], [1, 1], 1, "ascending"),
        ([[0, 1]], [0], 1, "do not fit"),
        ([[0, 1]], [0, 1], 0, "k is 0"),
    ],
)
def test_top_k_refuses_what_it_cannot_rank(scores: Any, candidates: Any, k: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        top_k(np.array(scores, np.float32), np.array(candidates), k)


def settings_of(train: Any, asked: Any) -> dict[str, list[int]]:
    """The candidates by setting, item by item."""
    found: dict[str, list[int]] = {"warm": [], "cold": [], "strictly_cold": []}
    for item in range(train.shape[1]):
        buyers = train[:, item].sum()
        if buyers >= 2:
            found["warm"].append(item)
        elif asked[:, item].any():
            found["cold"].append(item)
            if buyers == 0:
                found["strictly_cold"].append(item)
    return found


@given(seed=st.integers(0, 10**6), users=st.integers(1, 9), items=st.integers(1, 12), chunk=st.integers(1, 4))
def test_an_arm_is_judged_as_by_brute_force(seed: int, users: int, items: int, chunk: int) -> None:
    train, validation, test = random_splits(seed, users, items)
    # Few distinct scores, so that there are ties; a view that must not be written to.
    table = np.random.default_rng(seed).integers(0, 3, size=(users, items)).astype(np.float32)
    table.flags.writeable = False
    for split, right, seen in (("validation", validation, train), ("test", test, train | validation)):
        want: dict[str, list[tuple[int, list[int], tuple[float, float, float]]]] = {}
        for setting, candidates in settings_of(train, right).items():
            for user in range(users):
                relevant = {i for i in candidates if right[user, i]}
                if relevant:
                    open_ = [i for i in candidates if not seen[user, i]]
                    ranked = sorted(open_, key=lambda i: (-table[user, i], i))[:3]
                    hits = [i in relevant for i in ranked]
                    want.setdefault(setting, []).append((user, ranked, oracle(hits, len(relevant), 3)))
        task = make_task(train, test, validation)
        given_ = {"arm": "a", "title": "A", "split": split, "k": 3, "progress": False}
        if not want:
            with pytest.raises(InputError, match="no eligible user"):
                evaluate_arm(lambda u, c: table[np.ix_(u, c)], task, **given_)
            continue
        with patch.object(judge, "_CHUNK", chunk):
            result = evaluate_arm(lambda u, c: table[np.ix_(u, c)], task, **given_)
        assert set(result.settings) == set(want)
        for setting, found in result.settings.items():
            rows = want[setting]
            assert found.users.tolist() == [user for user, _, _ in rows]
            got = np.stack([found.ndcg, found.recall, found.mrr], axis=1)
            np.testing.assert_allclose(got, [values for *_, values in rows], atol=1e-12)
            listed = result.topk.filter(pa.compute.equal(result.topk["setting"], setting))
            assert list(
                zip(*(listed[c].to_pylist() for c in ("user_id", "product_id", "rank")), strict=True)
            ) == [
                (f"u{user}", 100 + item, rank)
                for user, ranked, _ in rows
                for rank, item in enumerate(ranked, 1)
            ]


def test_an_arm_is_not_judged_on_a_closed_test_split() -> None:
    task = make_task([[1, 1, 0], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]], opened=False)
    with pytest.raises(LeakError, match="closed"):
        evaluate_arm(lambda u, c: np.zeros((len(u), len(c)), np.float32), task, arm="a", title="A")


def test_an_arm_that_diverged_is_named() -> None:
    task = make_task([[1, 0], [1, 0]], [[0, 1], [0, 0]])
    for wrong, says in (
        (np.full((1, 1), np.nan, np.float32), "NaN"),
        (np.zeros((2, 1), np.float32), "shape"),
    ):
        with pytest.raises(InputError, match=f"arm broken: gives .*{says}"):
            evaluate_arm(
                lambda u, c, w=wrong: w, task, arm="broken", title="B", settings=["cold"], progress=False
            )
