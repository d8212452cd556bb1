"""The repeat model: its features, what it may read, and what it learns."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from _shop import PRODUCTS, USERS, Shop, purchases
from _tasks import make_task
from _train import train_student

from kgdistill.config import StudentConfig
from kgdistill.errors import InputError
from kgdistill.models.scorer import Scorer
from kgdistill.ranking.habits import DAY_US, FEATURES, HALF_LIVES, Past
from kgdistill.ranking.repeats import WIDTH
from kgdistill.tasks.basket import RepeatTask, repeat_task
from kgdistill.train.basket import RepeatModel, RepeatSettings, repeat_scorer
from kgdistill.train.student import student_scorer

NOW = 1000 * DAY_US
QUICK = RepeatSettings(windows=2, epochs=30, lr=0.02, popular=5, proposed=3, pool=20)


def past(rows: list[tuple[int, int, float]], shape: tuple[int, int] = (4, 6)) -> Past:
    """Lines (user, item, days before now; 0 and less is now and later)."""
    columns = np.array([(u, i, NOW - int(d * DAY_US)) for u, i, d in rows], dtype=np.int64).T
    return Past(columns[0], columns[1], columns[2], NOW, shape)


def by_hand(rows: list[tuple[int, int, float]], user: int, item: int) -> dict[str, float]:
    """A few features of a pair, straight from the words of their definition."""
    days = sorted({(u, i, math.ceil(d) - 1) for u, i, d in rows if d > 0})
    mine = [d for u, i, d in days if (u, i) == (user, item)]
    shopping = {d for u, _, d in days if u == user}
    pairs = {(u, i): [d for v, j, d in days if (v, j) == (u, i)] for u, i, _ in days}
    buyers = [held for (_, i), held in pairs.items() if i == item]
    rate = (sum(len(b) > 1 for b in buyers) + 5 * np.mean([len(b) > 1 for b in pairs.values()])) / (
        len(buyers) + 5
    )
    usual = sum(max(b) - min(b) for b in pairs.values()) / sum(len(b) - 1 for b in pairs.values())
    interval = (sum(max(b) - min(b) for b in buyers) + 5 * usual) / (sum(len(b) - 1 for b in buyers) + 5)
    found = {
        "item, buyers who buy again": math.log(rate / (1 - rate + 1e-3)),
        "item, interval": math.log(interval),
        "item, purchases": math.log1p(sum(map(len, buyers))),
        "item, recent purchases": math.log(sum(0.5 ** (d / 28) for b in buyers for d in b) + 0.1),
        "user, shopping days": math.log1p(len(shopping)),
        "user, different items": math.log1p(len({i for u, i, _ in days if u == user})),
        "pair, none yet": float(not mine),
    }
    if mine:
        own = (max(mine) - min(mine) + interval) / len(mine)
        found |= {
            f"pair, half-life {h:g} days": math.log(sum(0.5 ** (d / h) for d in mine) + 0.03)
            for h in HALF_LIVES
        }
        found |= {
            "pair, days of purchase": math.log(len(mine)),
            "pair, days since the last": math.log1p(min(mine)),
            "pair, the user's shopping days since the last": math.log1p(sum(d < min(mine) for d in shopping)),
            "pair, share of the shopping days since the first": math.log(
                (len(mine) + 0.5) / (sum(d <= max(mine) for d in shopping) + 2)
            ),
            "pair, how overdue": math.log((min(mine) + 1) / own),
            "pair, its own interval": math.log(own),
        }
    return found


def test_features_are_what_their_names_say() -> None:
    draw = np.random.default_rng(3)
    rows = [(int(draw.integers(3)), int(draw.integers(5)), float(draw.uniform(-20, 90))) for _ in range(70)]
    rows += [(0, 0, 7.0), (0, 0, 6.5), (0, 0, 1.0)]
    made = past(rows)
    for user in range(4):
        for item in range(5):
            found = made.features(np.array([user]), np.array([item]))[0]
            for name, want in by_hand(rows, user, item).items():
                assert found[FEATURES.index(name)] == pytest.approx(want, rel=1e-4, abs=1e-5), name
    assert made.own(3).tolist() == []


def test_nothing_at_or_after_the_moment_is_read() -> None:
    rows = [(0, 0, 5.0), (0, 0, 1.0), (1, 2, 3.0)]
    grid = np.repeat(np.arange(4), 6), np.tile(np.arange(6), 4)
    later = past([*rows, (0, 0, 0.0), (0, 1, 0.0), (2, 2, -4.0)])
    np.testing.assert_array_equal(past(rows).features(*grid), later.features(*grid))
    np.testing.assert_array_equal(past(rows).popular, later.popular)
    with pytest.raises(InputError, match="before the moment"):
        past([(0, 0, 0.0)])


@pytest.fixture(scope="module")
def student(shop: Shop) -> Scorer:
    settings = StudentConfig(epochs=1, candidates=20, random=5, batch=30, evaluate_every=1)
    trained = train_student(
        shop.catalogue(), shop.fields(), shop.tokens, None, settings, dim=8, inner_share=0.3,
        device=torch.device("cpu"), seed=0, validate=lambda scorer: {"warm": 0.0},
    )  # fmt: skip
    return student_scorer(
        trained, shop.catalogue(), shop.tokens, shop.catalogue().view(), torch.device("cpu")
    )


@pytest.mark.parametrize("informed", [True, False])
def test_the_network_is_the_model_without_torch(informed: bool) -> None:
    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    model = RepeatModel(WIDTH, 7)
    for buffer in ("mean", "scale"):
        model.get_buffer(buffer).copy_(torch.from_numpy(draw.uniform(0.5, 2, WIDTH).astype(np.float32)))
    values = draw.normal(scale=3, size=(500, WIDTH)).astype(np.float32)
    inputs = model.standardise(torch.from_numpy(values))
    if not informed:
        inputs[:, -2:] = 0
    want = model(inputs).detach().numpy()
    np.testing.assert_allclose(model.network(informed=informed).scores(values), want, atol=2e-6)


def shop_task(shop: Shop, *, after_cut: bool = True) -> RepeatTask:
    """The shop with purchases repeated every 30 days; `after_cut` False puts one product in later lines."""
    cut = np.datetime64(shop.catalogue().cut_us, "us").item()
    rows = []
    for row in purchases():
        at = row["first_at"]
        while at < datetime(2024, 12, 30):
            rows.append((row["source"], row["target"] if after_cut or at < cut else "p00", at))
            at += timedelta(days=30)
    columns = list(zip(*rows, strict=True))
    lines = pa.table(
        {
            "source": list(columns[0]),
            "target": list(columns[1]),
            "at": pa.array(columns[2], pa.timestamp("us")),
        }
    )
    return repeat_task(shop.task(), lines)


def scores(student: Scorer, shop: Shop, task: RepeatTask, split: Any) -> np.ndarray[Any, Any]:
    settings = dataclasses.replace(QUICK, epochs=3)
    made = repeat_scorer(student, shop.catalogue(), task, split, seed=0, settings=settings)
    return np.asarray(made(np.arange(USERS), np.arange(PRODUCTS)))


def test_validation_is_judged_without_what_lies_after_the_cut(student: Scorer, shop: Shop) -> None:
    one, other = shop_task(shop), shop_task(shop, after_cut=False)
    found = scores(student, shop, one, "validation")
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, scores(student, shop, other, "validation"))
    # The test may know validation, and needs not be opened for it.
    assert not np.array_equal(scores(student, shop, one, "test"), scores(student, shop, other, "test"))


def test_the_student_is_asked_only_where_it_has_not_seen_the_answers(student: Scorer, shop: Shop) -> None:
    task, catalogue = shop_task(shop), shop.catalogue()
    blind = repeat_scorer(student, catalogue, task, "validation", seed=0, settings=QUICK)
    asked = repeat_scorer(student, catalogue, task, "test", seed=0, settings=QUICK)
    assert blind.student is None
    assert isinstance(asked.student, Scorer)
    # It reads the lines up to the test's start, those of validation among them.
    assert asked.student.view.purchases.nnz == task.history("test").nnz > task.history("validation").nnz
    # Fewer candidates: the same scores in other places, whatever else is asked.
    users, some = np.array([5, 2]), np.array([1, 4, 30, 79])
    np.testing.assert_allclose(
        asked(users, some), asked(np.array([5, 2]), np.arange(PRODUCTS))[:, some], rtol=1e-5
    )


def test_what_is_due_outranks_what_was_just_bought(student: Scorer, shop: Shop) -> None:
    """Every user buys their two items every 28 days, half a period apart, in windows of 14 days."""
    cut, step = datetime(2024, 3, 1), timedelta(days=14)
    test = cut + step
    rows = []
    for user in range(40):
        for turn in range(1, 16):
            # Odd turns back from the test bring one item, even ones the other: due is what is 28 days old.
            item = 100 + (user + turn % 2) % 2 + 2 * (user % 3)
            rows.append((f"u{user}", str(item), test - turn * step + timedelta(days=(user % 5))))
    columns = list(zip(*rows, strict=True))
    lines = pa.table({"source": list(columns[0]), "target": list(columns[1]), "at": list(columns[2])})
    base = make_task(np.ones((40, 6)), np.zeros((40, 6)))
    base.protocol = base.protocol.model_copy(update={"test_start": test})
    task = repeat_task(base, lines)
    catalogue = dataclasses.replace(shop.catalogue(), cut_us=task.history_until_us("test"))
    made = repeat_scorer(student, catalogue, task, "test", seed=0, settings=QUICK)
    found = made(np.arange(40), np.arange(6))
    users = np.arange(40)
    latest, due = (users + 1) % 2 + 2 * (users % 3), users % 2 + 2 * (users % 3)
    # Both were bought about as often, and the latest more recently: a frequency that decays is wrong for all.
    decayed = task.decayed_counts("test", timedelta(weeks=4)).toarray()
    assert (decayed[users, latest] > decayed[users, due]).all()
    assert (found[users, due] > found[users, latest]).mean() > 0.95
