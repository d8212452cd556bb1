"""Answers whose items are less alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from _bundle import history_of, random_bundle
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.diverse import diversified, likeness


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle(300, dim=6)


@pytest.fixture(scope="module")
def answer(bundle: Bundle) -> Answer:
    return bundle.recommend([bundle.keys[n] for n in (3, 50, 200)], 100)


def greedy(answer: Answer, like: Callable[[int, int], float], k: int, share: float) -> list[str]:
    """The definition, item by item."""
    scores = [hit.score for hit in answer]
    low, high = min(scores), max(scores)
    chosen: list[int] = []
    while len(chosen) < k:
        gains = {
            n: (1 - share) * (scores[n] - low) / (high - low)
            - share * max((like(n, other) for other in chosen), default=0.0)
            for n in range(len(answer))
            if n not in chosen
        }
        chosen.append(max(gains, key=lambda n: (gains[n], -n)))
    return [answer[n].id for n in chosen]


@given(st.integers(1, 30), st.floats(0, 1))
def test_it_is_the_greedy_choice(k: int, share: float) -> None:
    bundle = random_bundle(80, dim=4)
    whole = bundle.recommend([bundle.keys[n] for n in (3, 50)], 40)
    unit = history_of(bundle).unit

    def like(a: int, b: int) -> float:
        one, other = whole[a], whole[b]
        cosine = float(unit[bundle.items.places[one.id]] @ unit[bundle.items.places[other.id]])
        same = (one.brand == other.brand != "") + (one.category == other.category != "")
        return 0.5 * max(cosine, 0.0) + 0.25 * same

    found = diversified(bundle, whole, k, share)
    want = greedy(whole, like, min(k, len(whole)), share)
    # Ties of rounding aside the same items in the same order.
    assert len({hit.id for hit in found}) == len(want)
    assert sum(a.id == b for a, b in zip(found, want, strict=True)) >= len(want) - 2


def test_a_share_of_0_changes_nothing(bundle: Bundle, answer: Answer) -> None:
    same = diversified(bundle, answer, 20, 0.0)
    assert list(same) == list(answer[:20])


def test_more_of_it_makes_items_less_alike_and_keeps_the_first(bundle: Bundle, answer: Answer) -> None:
    def alike(hits: Answer) -> float:
        within = likeness(bundle, hits)
        return float(within[np.triu_indices(len(hits), 1)].mean())

    by_share = [diversified(bundle, answer, 10, share) for share in (0.0, 0.6, 0.95)]
    values = [alike(hits) for hits in by_share]
    assert values[0] >= values[1] > values[2]
    assert {hits[0].id for hits in by_share} == {answer[0].id}
    assert [hit.rank for hit in by_share[2]] == list(range(1, 11))


def test_brand_and_category_count_a_quarter_each(bundle: Bundle, answer: Answer) -> None:
    like = likeness(bundle, answer)
    assert like.shape == (100, 100)
    assert like.min() >= 0
    np.testing.assert_allclose(like, like.T, atol=1e-6)
    unit = history_of(bundle).unit[bundle.index([hit.id for hit in answer])[0]]
    rest = like - 0.5 * np.clip(unit @ unit.T, 0, 1)
    brand = np.array([hit.brand for hit in answer])
    assert len(set(brand)) > 1
    assert (rest[brand[:, None] == brand] >= 0.25 - 1e-6).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_is_refused(share: float, bundle: Bundle, answer: Answer) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        diversified(bundle, answer, 5, share)


def test_nothing_stays_nothing(bundle: Bundle) -> None:
    assert list(diversified(bundle, Answer("history"), 5, 0.5)) == []
