"""The teacher's vectors as a recommender of their own, and what a report says of its gate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from bench.suites.ours import _vectors_alone
from kgdistill.run.report.words import choice_sentences, gate_sentences, lift_sentences


def test_vectors_alone_are_products_and_popularity_for_who_has_bought_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors, users = torch.randn(6, 4, generator=draw), torch.randn(3, 4, generator=draw)
    bought = sp.csr_matrix(np.array([[1, 0, 0, 1, 0, 0], [0] * 6, [0, 1, 0, 0, 0, 0]], np.float32))
    view = SimpleNamespace(counts=np.array([5, 1, 0, 9, 2, 3]), purchases=bought)
    whole = SimpleNamespace(
        view=view, device=torch.device("cpu"), vectors=vectors, user_vectors=lambda some: users[some]
    )
    run: Any = SimpleNamespace(
        by_history=SimpleNamespace(teacher_scorer=lambda name: whole), config=SimpleNamespace(seed=7)
    )
    arm = _vectors_alone(run)
    items = np.array([0, 2, 3, 5])
    scores = np.asarray(arm.scorer(np.array([2, 1, 0]), items))  # type: ignore[operator]
    np.testing.assert_allclose(scores[0], (users[2] @ vectors[items].T).numpy(), rtol=1e-5)
    np.testing.assert_allclose(scores[2], (users[0] @ vectors[items].T).numpy(), rtol=1e-5)
    assert np.argsort(-scores[1]).tolist() == [2, 0, 3, 1]
    assert (arm.arm, arm.seed, arm.parameters) == ("teacher_vectors", 7, 24)


def test_a_report_says_where_the_gate_stands_and_where_it_began() -> None:
    run: Any = SimpleNamespace(
        titles={"teacher": "fused teacher"},
        gates={"teacher": {"start": 0.119, "warm": 0.234, "cold": 0.3}},
    )
    assert gate_sentences(run) == ["Fused teacher: warm 0.23, cold 0.30; it began at 0.12."]


def test_a_report_says_which_controls_validation_would_take() -> None:
    whole = np.random.default_rng(0).random(100)
    run: Any = SimpleNamespace(
        titles={"teacher": "fused teacher", "teacher_noz": "without z", "teacher_text": "text-only teacher"},
        kept={
            "teacher": {"epoch": 6, "loss": 9.0, "valid/warm_ndcg@20": 0.05, "valid/cold_ndcg@20": 0.03},
            "teacher_noz": {"epoch": 6, "loss": 1.0, "valid/warm_ndcg@20": 0.04, "valid/cold_ndcg@20": 0.05},
            "teacher_text": {
                "epoch": 6,
                "loss": 99.0,
                "valid/warm_ndcg@20": 0.06,
                "valid/cold_ndcg@20": 0.01,
            },
        },
        validated={
            "teacher": whole,
            # Ahead in the mean of both; by users the second is not shown to be.
            "teacher_noz": whole + 0.01 + np.resize([-0.01, 0.01], 100),
            "teacher_text": whole + 0.01 + np.resize([-0.2, 0.2], 100),
            "student_nodistill": whole + 1.0,
        },
    )
    assert choice_sentences(run) == [
        "Without z before fused teacher: warm ndcg@20 0.0400 against 0.0500, "
        "cold ndcg@20 0.0500 against 0.0300; their sum +0.0100 [+0.0080, +0.0120]."
    ]
    run.validated["teacher"] = whole + 0.02
    assert choice_sentences(run) == []


def test_a_report_says_what_new_items_cost_and_how_many_of_them_sold() -> None:
    lifted = {"lift": 0.85, "places": 1.42, "before": 0.31, "cost": 0.0194, "new": 1383.0, "sold": 261.0}
    run: Any = SimpleNamespace(titles={"student": "student"}, lifted={"student": lifted})
    assert lift_sentences(run) == [
        "Student: a lift of 0.85 gives new items 1.4 of 20 places, where they had 0.3, and costs "
        "1.9 % of the NDCG over all items on validation, one standard error included. Of 1,383 new items "
        "261 sold then: where fewer do, the same lift costs more."
    ]
