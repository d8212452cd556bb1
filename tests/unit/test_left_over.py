"""What a student keeps of weights between items beside the strongest: a product of low rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from kgdistill.models.terms.linear import fit_linear
from kgdistill.models.terms.neighbours import strongest
from kgdistill.models.terms.walk import fit_walk


def histories(users: int, items: int) -> sp.csr_matrix:
    dense = np.random.default_rng(0).random((users, items)) < 0.3
    return sp.csr_matrix(dense.astype(np.float32))


def model_of(kind: str) -> Any:
    few, many = histories(12, 30), histories(40, 20)
    if kind == "dense":
        return fit_linear(many, [], reg=3.0, side_weight=0.0)
    if kind == "kernel":
        return fit_linear(few, [], reg=3.0, side_weight=0.0)
    if kind == "factors":
        return fit_linear(many, [], reg=3.0, side_weight=0.0, limit=5)
    limit = {"walk": 6000, "walk between users": 15, "walk by factors": 5}[kind]
    return fit_walk(few if kind == "walk between users" else many, [], steps=3, limit=limit)


KINDS = ["dense", "kernel", "factors", "walk", "walk between users", "walk by factors"]


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_the_weights_are_those_of_the_whole_matrix(kind: str) -> None:
    model = model_of(kind)
    count = len(model.items)
    whole = model.into(0, count).double()
    whole.fill_diagonal_(0.0)
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    for back, matrix in ((False, whole), (True, whole.T)):
        torch.testing.assert_close(
            model.times(x, back=back).double(), matrix @ x.double(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_more_rank_the_closer_are_the_scores_to_the_models(kind: str) -> None:
    model = model_of(kind)
    known, count = len(model.items), int(model.items.max()) + 1
    asked = sp.csr_matrix(histories(7, count).multiply(np.isin(np.arange(count), model.items)))
    whole = torch.zeros(count, count)
    inside = model.into(0, known).float()
    inside.fill_diagonal_(0.0)
    index = torch.from_numpy(model.items)
    whole[index[:, None], index[None]] = inside
    want = torch.from_numpy(asked.toarray()) @ whole
    if model.mean:
        want /= torch.from_numpy(asked.toarray()).sum(1, keepdim=True)
    apart = []
    for rank in (0, 5, count):
        kept = strongest(model, 3, count, rank=rank)
        assert kept.parameters == 2 * kept.weights.nnz + known * (2 * min(rank, known) + (rank > 0))
        apart.append(float((kept.score(asked, np.arange(count)) - want).norm() / want.norm()))
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_among_some_items_is_their_own_and_says_nothing_of_others(kind: str) -> None:
    model = model_of(kind)
    count = int(model.items.max()) + 1
    some, none = model.items[1::3], strongest(model, 3, count)
    kept = strongest(model, 3, count, rank=count, factored=some)
    assert kept.factored.tolist() == some.tolist()
    asked, items = histories(7, count), np.arange(count)
    added = kept.score(asked, items) - none.score(asked, items)
    others = np.setdiff1d(items, some)
    assert added[:, others].abs().max() == 0
    inside = sp.csr_matrix(asked @ sp.diags(np.isin(items, some).astype(np.float32)))
    whole = strongest(model, 3, count, rank=count)
    want = whole.score(inside, some) - none.score(inside, some)
    if model.mean:  # over the whole history, whatever of it is known
        want *= torch.from_numpy(inside.toarray()).sum(1, keepdim=True)
        want /= torch.from_numpy(asked.toarray()).sum(1, keepdim=True)
    torch.testing.assert_close(added[:, some], want, rtol=1e-3, atol=1e-4)
    # Items asked for twice, or in another order, are scored alike.
    twice = np.concatenate([some[::-1], some])
    torch.testing.assert_close(kept.score(asked, twice), kept.score(asked, items)[:, twice])
