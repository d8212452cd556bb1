"""Token vectors that tell relational embeddings, and weights that are handed down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from kgdistill.models.blend import Head
from kgdistill.models.student import Student, StudentShape
from kgdistill.models.terms.protocol import Unit
from kgdistill.models.text.tokens import Tokens
from kgdistill.train.relational import PENALTY, fit_tokens

CPU = torch.device("cpu")
VOCABULARY = 40


def texts(count: int, seed: int = 0) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, VOCABULARY, draw.integers(0, 7)).tolist() for _ in range(count)]


def means(read: list[list[int]]) -> npt.NDArray[np.float32]:
    """The share of each token in each text, float32 [T, V]."""
    shares = np.zeros((len(read), VOCABULARY), np.float32)
    for row, ids in enumerate(read):
        for token in ids:
            shares[row, token] += 1 / len(ids)
    return shares


def noise(*shape: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_tokens_are_fitted_as_the_normal_equations_say() -> None:
    read = texts(50)
    # Several items have one text, one text has no token, and one no item.
    rows = np.random.default_rng(2).integers(0, 49, 120)
    vectors = noise(120, 3)
    got = fit_tokens(Tokens.of(read, VOCABULARY), rows, vectors, CPU)
    shares = means(read)[rows].astype(np.float64)
    left = shares.T @ shares + PENALTY * np.eye(VOCABULARY)
    np.testing.assert_allclose(got, np.linalg.solve(left, shares.T @ vectors), atol=1e-3)


@pytest.mark.parametrize("swapped", [False, True])
def test_words_tell_the_vector_of_an_item_that_nobody_saw(swapped: bool) -> None:
    read, of_tokens = texts(400), noise(VOCABULARY, 5)
    vectors = means(read) @ of_tokens + 0.05 * noise(400, 5, seed=3)
    seen = np.arange(300)
    of = np.roll(vectors[seen], 1, axis=0) if swapped else vectors[seen]
    got = fit_tokens(Tokens.of(read, VOCABULARY), seen, of, CPU).numpy()
    unseen = vectors[300:]
    share = 1 - np.square(means(read)[300:] @ got - unseen).sum() / np.square(unseen).sum()
    assert (share < 0) if swapped else (share > 0.95)


def test_words_of_no_text_have_no_vector() -> None:
    got = fit_tokens(Tokens.of([[1, 2], [2]], VOCABULARY), np.array([0, 1]), noise(2, 4), CPU)
    assert got[[1, 2]].abs().min() > 0
    assert got[3:].abs().max() == 0


def model(*units: Unit) -> Student:
    return Student(StudentShape(4, 1, 2, units, 1))


def test_the_weights_of_a_model_are_handed_down() -> None:
    one, other = model("probability", "count", "score"), model("probability", "count", "score")
    with torch.no_grad():
        for part in (*one.blend.parameters(), one.recency):
            part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(part.numel())))
    other.follow(one.head)
    np.testing.assert_array_equal(one.head.weights, other.head.weights)
    assert torch.equal(one.blend.user.weight, other.blend.user.weight)
    assert other.recency == one.recency
    # What was handed down does not follow what the model learns later.
    before = one.head
    with torch.no_grad():
        one.blend.weights.bias.add_(1)
    assert (before.weights != one.head.weights).any()


def test_terms_of_another_number_share_what_they_weigh_together() -> None:
    head = Head(("probability", "score", "score"), np.arange(16, dtype=np.float32).reshape(4, 4), -2.0)
    mine = model("count", "score", "score", "score")
    before = mine.head
    mine.follow(head)
    got = mine.head.weights
    np.testing.assert_array_equal(got[0], head.weights[0])
    # Nobody says how counts weigh, nor has it a probability.
    np.testing.assert_array_equal(got[1], before.weights[1])
    np.testing.assert_allclose(got[2:], np.tile(head.weights[2:].sum(0) / 3, (3, 1)))
    assert mine.head.log_decay == -2.0


def test_scores_are_not_the_same_terms_because_they_are_as_many() -> None:
    weights = np.arange(16, dtype=np.float32).reshape(4, 4)
    mine = model("count", "score", "score")
    mine.follow(Head(("count", "score", "score"), weights, 0.0))
    got = mine.head.weights
    np.testing.assert_array_equal(got[:2], weights[:2])
    np.testing.assert_array_equal(got[2:], np.tile(weights[2:].mean(0), (2, 1)))
