"""How often a student shows what its teacher does, on users whose lists it saw and on others."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from _load_script import load_script

from kgdistill.tasks.interactions import interactions_before
from kgdistill.train.targets import Targets


@pytest.fixture
def script() -> ModuleType:
    return load_script("bench/agreement.py")


def test_agreement_is_the_share_of_the_teachers_firsts_less_what_a_user_has_had(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "K", 3)
    monkeypatch.setattr(script, "CHUNK", 2)
    draw = np.random.default_rng(0)
    purchases = sp.csr_matrix((draw.random((7, 12)) < 0.3).astype(np.float32))
    times = purchases.copy()
    times.data = np.ones(times.nnz, np.int64)
    view = interactions_before(purchases, times, until_us=5, min_count=1)
    teacher, student = draw.random((2, 7, 12)).astype(np.float32)
    pool, users = np.array([0, 2, 3, 5, 6, 7, 9, 11]), np.array([1, 3, 4, 6])

    def of(scores: Any) -> Any:
        return lambda users, items: scores[np.ix_(users, items)].copy()

    found = script.agreement(of(teacher), of(student), view, users, pool)
    for user, share in zip(users, found, strict=True):
        free = [item for item in pool if not purchases[user, item]]
        firsts = [
            set(sorted(free, key=lambda item: -scores[user, item])[:3]) for scores in (teacher, student)
        ]
        assert share == pytest.approx(len(firsts[0] & firsts[1]) / 3)
    assert 0 < found.mean() < 1
    assert script.agreement(of(teacher), of(teacher), view, users, pool).tolist() == [1.0] * 4


def test_targets_of_some_users_hold_no_list_of_another(script: ModuleType) -> None:
    users = np.array([2, 4, 7])
    lists = np.arange(12).reshape(3, 4)
    targets = Targets(users, lists, lists / 10, (4,), np.zeros((3, 2)))
    some = script.of_some(targets, np.array([2, 7, 9]))
    assert some.users.tolist() == [2, 7]
    assert some.items.tolist() == lists[[0, 2]].tolist()
    assert some.scores.tolist() == (lists[[0, 2]] / 10).tolist()
