"""The peers against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from _tasks import make_task, random_splits

from kgdistill.errors import InputError
from kgdistill.evaluate import baselines
from kgdistill.evaluate.baselines import ease, popularity
from kgdistill.models.terms import linear


@pytest.mark.parametrize(("users", "items"), [(12, 30), (30, 12)], ids=["dual", "primal"])
def test_ease_equals_its_closed_form(users: int, items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_BLOCK", 7)
    train, validation, test = random_splits(3, users, items)
    train[:, -1] = False
    train[0, -2:] = True
    task = make_task(train, test, validation, min_item_users=2)
    warm = np.flatnonzero(train.sum(axis=0) >= 2)
    x = train[:, warm].astype(float)
    p = np.linalg.inv(x.T @ x + 5.0 * np.eye(len(warm)))
    weights = -p / np.diag(p)
    np.fill_diagonal(weights, 0)
    want = np.full(train.shape, -np.inf)
    want[:, warm] = x @ weights
    asked, among = np.array([4, 1, 9]), np.array([0, 2, 3, 7, items - 1])
    assert len(warm) < items
    np.testing.assert_allclose(ease(task, reg=5.0)(asked, among), want[np.ix_(asked, among)], atol=1e-6)


def test_ease_of_many_users_and_items_forms_no_matrix_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, test = random_splits(4, 40, 30)
    task = make_task(train, test, validation, min_item_users=1)
    users, items = np.arange(5), task.candidates("warm", "validation")
    exact = ease(task, reg=5.0)(users, items)
    formed: list[tuple[int, ...]] = []
    real = linear.LinearRows.fit

    def fit(self: Any, reg: float) -> Any:
        model = real(self, reg)
        formed.extend(a.shape for a in vars(model).values() if isinstance(a, torch.Tensor))
        return model

    monkeypatch.setattr(linear.LinearRows, "fit", fit)
    monkeypatch.setattr(baselines, "EXACT", 10)
    monkeypatch.setattr(linear, "RANK", 7)
    low = ease(task, reg=5.0)(users, items)
    assert formed == [(len(items), 7)] * 2
    # Seven vectors of thirty know what is popular with whom.
    assert np.corrcoef(low.ravel(), exact.ravel())[0, 1] > 0.5


def test_ease_refuses_users_without_history_and_no_regularisation() -> None:
    task = make_task([[1, 1], [1, 1], [0, 0]], [[0, 0], [0, 0], [1, 0]])
    with pytest.raises(ValueError, match="user 2 is not eligible"):
        ease(task)(np.array([0, 2]), np.array([0, 1]))
    with pytest.raises(InputError, match="above 0"):
        ease(task, reg=0.0)


def test_popularity_counts_train_users() -> None:
    task = make_task([[1, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [0, 0, 1]])
    assert popularity(task)(np.array([0, 1]), np.array([0, 1, 2])).tolist() == [[2, 1, 0], [2, 1, 0]]
