"""The best scores picked by torch, which a device does, are those that NumPy picks."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
import torch
from _shop import Shop
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kgdistill.errors import InputError
from kgdistill.evaluate import judge
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models import topk
from kgdistill.models.scorer import Scorer, Terms
from kgdistill.models.student import Student, StudentShape
from kgdistill.ranking import topk as numpy_topk

CPU = torch.device("cpu")
# Few values, so that many are equal, zeros of both signs and neighbours of a float among them.
VALUES = [0.0, -0.0, 1.0, -1.0, float(np.nextafter(np.float32(1), np.float32(2))), 1e-45, -1e-45, 3e38]
SCORES = st.sampled_from([*VALUES, -np.inf, np.inf])


@given(data=st.data(), users=st.integers(0, 4), width=st.integers(0, 9), k=st.integers(1, 11))
def test_torch_picks_what_numpy_picks(data: st.DataObject, users: int, width: int, k: int) -> None:
    scores = data.draw(arrays.arrays(np.float32, (users, width), elements=SCORES | st.floats(width=32)))
    scores = np.nan_to_num(scores, nan=0.5, posinf=np.inf, neginf=-np.inf)
    candidates = np.cumsum(data.draw(arrays.arrays(np.int64, width, elements=st.integers(1, 3))))
    want, value = numpy_topk.top_k(scores, candidates, k)
    with patch.object(topk.numpy_topk, "_BLOCK_CELLS", data.draw(st.integers(1, 40))):
        for pick in (topk.top_k, topk.best):
            items, found = pick(torch.from_numpy(scores), candidates, k)
            np.testing.assert_array_equal(items, want)
            assert found.tobytes() == value.tobytes()


def test_equal_scores_go_to_the_smaller_id_and_zeros_of_both_signs_are_equal() -> None:
    items, found = topk.top_k(torch.tensor([[-0.0, 0.0, 1.0, -1.0, 1.0, -torch.inf]]), np.arange(6) + 3, 6)
    assert items.tolist() == [[5, 7, 3, 4, 6, -1]]
    assert np.signbit(found).tolist() == [[False, False, True, False, True, True]]


@pytest.mark.parametrize(
    ("scores", "candidates", "k", "says"),
    [
        ([[1.0, np.nan]], [0, 1], 1, "NaN"),
        ([[1.0, 2.0]], [1, 0], 1, "ascending"),
        ([[1.0, 2.0]], [0], 1, "do not fit"),
        ([[1.0, 2.0]], [0, 1], 0, "k is 0"),
    ],
)
def test_what_numpy_refuses_torch_refuses(
    scores: list[list[float]], candidates: list[int], k: int, says: str
) -> None:
    for pick in (topk.top_k, topk.best):
        with pytest.raises(ValueError, match=says):
            pick(torch.tensor(scores), np.array(candidates), k)


def student(shop: Shop) -> Scorer:
    """One that was never trained and sees six kinds of items alone: many scores are equal."""
    catalogue = shop.catalogue()
    view = catalogue.view()
    torch.manual_seed(0)
    model = Student(StudentShape(8, 1, 4, (), catalogue.min_count)).eval()
    torch.nn.init.zeros_(model.blend.weights.weight)
    vectors = torch.randn(6, 4)[torch.arange(len(view.counts)) % 6]
    return Scorer(model, Terms(view, (), CPU), vectors)


def test_a_models_scores_are_judged_as_a_functions_are(shop: Shop) -> None:
    scorer = student(shop)
    asked: dict[str, Any] = {"arm": "a", "title": "A", "split": "validation", "k": 5, "progress": False}
    # Of a part of the users, scores differ in the last place.
    with patch.object(judge, "_CHUNK", 7):
        want = evaluate_arm(lambda u, c: scorer(u, c), shop.task(), **asked)
        for pick in (topk.top_k, topk.best):  # as on a device, then as on a CPU
            with patch.object(judge, "best", pick):
                found = evaluate_arm(scorer, shop.task(), **asked)
            assert found.topk.equals(want.topk)
            for setting, part in found.settings.items():
                np.testing.assert_array_equal(part.ndcg, want.settings[setting].ndcg)
    shown = want.topk["score"].to_numpy()
    assert (shown[1:] == shown[:-1]).mean() > 0.1


def test_scores_stay_on_the_models_device(shop: Shop) -> None:
    scorer = student(shop)
    users, items = np.arange(70), shop.task().items
    scores = scorer.scores(users % 60, items)
    assert (scores.device, scores.dtype) == (scorer.device, torch.float32)
    given: npt.NDArray[np.float32] = scorer(users % 60, items)
    np.testing.assert_array_equal(given, scores.numpy())


def test_a_model_that_diverged_is_named(shop: Shop) -> None:
    scorer = student(shop)
    scorer.vectors[3] = torch.nan
    with pytest.raises(InputError, match="arm broken: gives NaN"):
        evaluate_arm(scorer, shop.task(), arm="broken", title="B", split="validation", progress=False)
