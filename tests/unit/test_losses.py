"""Each loss by hand, by its gradient, and on rows that have nothing left."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kgdistill.train.losses import (
    combine,
    list_distillation,
    margin_mse,
    relational_cosine,
    sampled_softmax,
    shared_softmax,
)

Loss = Callable[[Tensor], Tensor]


def t(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_sampled_softmax_by_hand() -> None:
    # exp of the scores: row 0: 1, 2, 5; row 1: 3, 1 and a known positive that is masked.
    scores = t([1.0, 2.0, 5.0], [3.0, 1.0, 9.0]).log()
    positive = torch.tensor([[True, True, False], [True, False, False]])
    mask = torch.tensor([[False, False, False], [False, False, True]])
    first = -(math.log(1 / 8) + math.log(2 / 8)) / 2
    want = (first - math.log(3 / 4)) / 2
    assert sampled_softmax(scores, positive, mask).item() == pytest.approx(want)


def test_shared_softmax_by_hand() -> None:
    # exp of the logits: candidates of row 0: 2, 5, 1; of row 1: 3, 3, 4.
    # Labels: 5, drawn once; 3, drawn twice; 8, never drawn.
    others = t([2.0, 5.0, 1.0], [3.0, 3.0, 4.0]).log()
    labels, row, times = t(5.0, 3.0, 8.0).log(), torch.tensor([0, 1, 0]), torch.tensor([1, 2, 0])
    want = -(math.log(5 / 8) + math.log(3 / 7) + math.log(8 / 16)) / 3
    assert shared_softmax(labels, others, row, times).item() == pytest.approx(want)


def test_shared_softmax_counts_a_label_once_however_often_it_was_drawn() -> None:
    others = t([5.0, 5.0, 5.0, 5.0, 2.0]).log()
    for drawn in (1, 3, 4):
        want = -math.log(5 / (5 + (4 - drawn) * 5 + 2))
        found = shared_softmax(t(5.0).log(), others, torch.tensor([0]), torch.tensor([drawn]))
        assert found.item() == pytest.approx(want)


def test_shared_softmax_takes_logits_that_overflow_and_labels_that_are_nearly_all() -> None:
    for labels, others, drawn in (
        ([200.0, -200.0], [[200.0, 200.0, -200.0]], [2, 1]),
        # Rounding made the label's own logit a little more than it was among the candidates.
        ([20.06], [[20.0] * 512], [512]),
    ):
        given = torch.tensor(labels, requires_grad=True)
        row = torch.zeros(len(labels), dtype=torch.int64)
        loss = shared_softmax(given, torch.tensor(others), row, torch.tensor(drawn))
        loss.backward()
        assert loss.isfinite()
        assert given.grad is not None
        assert given.grad.isfinite().all()
    with pytest.raises(TypeError, match="float32 or wider"):
        shared_softmax(torch.zeros(1).bfloat16(), torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0]))


def test_list_distillation_by_hand_with_its_temperature_squared() -> None:
    # At T = 2 the teacher's softmax is 1/4, 3/4 and the student's 1/2, 1/2.
    teacher, student = t([0.0, 2 * math.log(3), 5.0]), t([7.0, 7.0, -3.0])
    mask = torch.tensor([[False, False, True]])
    want = 4 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert list_distillation(student, teacher, 2.0, mask).item() == pytest.approx(want)
    two = list_distillation(student.repeat(2, 1), torch.cat([teacher, student]), 2.0, mask.repeat(2, 1))
    assert two.item() == pytest.approx(want / 2)
    # The teacher's -inf is probability 0; the student still pays for its own mass there.
    never = list_distillation(t([0.0, 0.0]), t([0.0, -math.inf]), 1.0)
    assert never.item() == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="above 0"):
        list_distillation(student, teacher, 0.0)


def test_relational_cosine_by_hand() -> None:
    student, relational = (
        t([1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]),
        t([1, 1], [0, -1], [2, 2], [1, 1]),
    )
    losses = [1 - math.sqrt(0.5), 2.0, 0.0]
    assert relational_cosine(student, relational).item() == pytest.approx(sum(losses) / 3)
    weighted = relational_cosine(student, relational, t(2.0, 1.0, 5.0, 9.0)).item()
    assert weighted == pytest.approx((2 * losses[0] + losses[1]) / 8)


def test_margin_mse_by_hand() -> None:
    student, teacher = t([3.0, 1.0, 0.0], [1.0, 5.0, 9.0]), t([4.0, 1.0, 1.0], [0.0, 2.0, 9.0])
    positive = torch.tensor([0, 1])
    mask = torch.tensor([[False, False, False], [False, False, True]])
    want = (((2 - 3) ** 2 + (3 - 3) ** 2) / 2 + (4 - 2) ** 2) / 2
    assert margin_mse(student, teacher, positive, mask).item() == pytest.approx(want)


MASK = torch.tensor([[False, True, False, False], [False] * 4, [True] * 4])
POSITIVE = torch.tensor([[True, True, False, True], [False] * 4, [True, False, False, False]])
LOSSES: dict[str, tuple[tuple[int, ...], Loss]] = {
    "sampled_softmax": ((3, 4), lambda x: sampled_softmax(x, POSITIVE, MASK)),
    "shared_softmax": (
        (2, 4),
        lambda x: shared_softmax(x[:, 0] + 1, x, torch.tensor([1, 0]), torch.tensor([0, 1])),
    ),
    "list_distillation": ((3, 4), lambda x: list_distillation(x, noise(3, 4, seed=1).to(x), 1.7, MASK)),
    "relational_cosine": (
        (3, 4),
        lambda x: relational_cosine(x, noise(3, 4, seed=1).to(x), t(1, 0, 2).to(x)),
    ),
    "margin_mse": (
        (3, 4),
        lambda x: margin_mse(x, noise(3, 4, seed=1).to(x), torch.tensor([0, -1, 2]), MASK),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_value(name: str) -> None:
    shape, loss = LOSSES[name]
    x = noise(*shape).requires_grad_()
    assert loss(x).item() > 0
    assert torch.autograd.gradcheck(loss, (x,))


@pytest.mark.parametrize("name", sorted({*LOSSES} - {"shared_softmax"}))
def test_half_precision_under_autocast_comes_near_the_exact_value(name: str) -> None:
    shape, loss = LOSSES[name]
    x = noise(*shape).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(x)
    assert value.dtype == torch.float32
    # The other side is rounded to half precision too, 1/256 of its size.
    assert value.item() == pytest.approx(loss(x.detach().double()).item(), rel=0.05)
    value.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


ALL = torch.ones(2, 3, dtype=torch.bool)
INF = torch.full((2, 3), -math.inf)
EMPTY: dict[str, Loss] = {
    "no positives": lambda x: sampled_softmax(x, ~ALL),
    "all masked": lambda x: sampled_softmax(x, ALL, ALL),
    "all masked, infinite": lambda x: sampled_softmax(x + INF, ALL, ALL),
    "list masked": lambda x: list_distillation(x, x.detach() + 1, 2.0, ALL),
    "list masked, infinite": lambda x: list_distillation(x + INF, INF, 2.0, ALL),
    "a teacher that says nothing": lambda x: list_distillation(x, INF, 2.0),
    "no confidence": lambda x: relational_cosine(x, x.detach() + 1, torch.zeros(2)),
    "no direction": lambda x: relational_cosine(x * 0, x.detach()),
    "no positive": lambda x: margin_mse(x, x.detach() + 1, torch.tensor([-1, -1])),
    "margins masked, infinite": lambda x: margin_mse(x + INF, INF, torch.tensor([0, 1]), ALL),
    "no rows": lambda x: sampled_softmax(x[:0], ALL[:0]) + list_distillation(x[:0], x[:0], 1.0),
    "no vectors": lambda x: relational_cosine(x[:0], x[:0]),
}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EMPTY)
def test_rows_with_nothing_left_contribute_nothing(name: str, precision: torch.dtype) -> None:
    x = noise(2, 3).to(precision).requires_grad_()
    # Anomaly detection finds a NaN on the way back, even one that is dropped later.
    with torch.autograd.set_detect_anomaly(True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            value = EMPTY[name](x)
        assert value.item() == 0
        value.backward()
    assert x.grad is None or (x.grad == 0).all()


def test_a_masked_row_changes_nothing_but_the_mean() -> None:
    x, y = noise(2, 4), noise(2, 4, seed=1)
    mask = torch.tensor([[False] * 4, [True] * 4])
    assert list_distillation(x, y, 2.0, mask) == pytest.approx(list_distillation(x[:1], y[:1], 2.0) / 2)


def test_terms_add_up_and_those_without_weight_are_left_out() -> None:
    x = t(2.0).squeeze().requires_grad_()
    total, parts = combine({"task": (1.0, x * 3), "list": (0.5, x**2), "off": (0.0, x * math.nan)})
    assert total.item() == 8
    assert {k: v.item() for k, v in parts.items()} == {"task": 6, "list": 4}
    assert not any(v.requires_grad for v in parts.values())
    total.backward()
    assert x.grad is not None
    assert x.grad.item() == 5


def test_terms_that_mean_nothing_are_refused() -> None:
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match="no loss term"):
        combine({"task": (0.0, one)})
    with pytest.raises(ValueError, match="weight -1"):
        combine({"task": (-1.0, one)})
    with pytest.raises(ValueError, match="scalar"):
        combine({"task": (1.0, torch.ones(2))})
