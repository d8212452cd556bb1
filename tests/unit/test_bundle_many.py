"""Many are answered as each alone, and whatever is asked has a defined answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from _bundle import arrays, history_of, random_bundle, remade
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.ranking.topk import top_k
from kgdistill.serve import scores
from kgdistill.serve.answer import Answer
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.history import History
from kgdistill.serve.items import Items
from kgdistill.serve.scores import best_columns
from kgdistill.serve.search import search_index

KINDS: dict[str, dict[str, int]] = {
    "linear": {},
    "tables": {"neighbours": 7},
    "ranks": {"neighbours": 4, "rank": 3},
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def bundle(request: pytest.FixtureRequest) -> Bundle:
    # Wide enough for a sum of products to round otherwise where fewer rows are asked for at a time.
    made = random_bundle(700, dim=48, **request.param)
    # Twins: every tenth item is the one before it, but for its key; only the order tells them apart.
    last, twin = np.arange(9, 700, 10), np.arange(8, 700, 10)
    for name in ("vectors", "counts", "recent"):
        arrays(made)[name][last] = arrays(made)[name][twin]
    for m in range(4):
        codes = history_of(made).scorer.groups[m].codes
        codes[last] = codes[twin]
        held = codes < len(arrays(made)[f"family{m}.everybody"])
        arrays(made)[f"family{m}.indices"] = codes[held].astype(np.int32)
        arrays(made)[f"family{m}.indptr"] = np.concatenate([[0], np.cumsum(held)]).astype(np.int32)
    return remade(made)


def histories(bundle: Bundle) -> list[list[str]]:
    draw = np.random.default_rng(3)
    lengths = [0, 1, 2, 5, 40, 200, 0, 3, 700, 1]
    return [[bundle.keys[i] for i in draw.permutation(700)[:n]] + ["unknown"] * (n == 3) for n in lengths]


def same(one: Answer, other: Answer) -> None:
    assert (one.basis, one.unknown) == (other.basis, other.unknown)
    assert [(r.id, r.title, r.rank, r.score) for r in one] == [
        (r.id, r.title, r.rank, r.score) for r in other
    ]


@pytest.mark.parametrize("cells", [1, 2000, 1 << 21])
@pytest.mark.parametrize("pool", ["all", "warm", "cold"])
def test_many_are_answered_as_each_alone(
    cells: int, pool: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "_CELLS", cells)
    monkeypatch.setattr(scores, "_WIDTH", 64)
    asked = histories(bundle)
    out = [[bundle.keys[n], bundle.keys[3 * n + 1], "unknown"] for n in range(len(asked))]
    for k in (1, 20, 10_000):
        many = bundle.recommend_many(asked, k=k, exclude=out, pool=pool)
        assert len(many) == len(asked)
        for bought, exclude, answer in zip(asked, out, many, strict=True):
            same(answer, bundle.recommend(bought, k=k, exclude=exclude, pool=pool))
    whole = bundle.recommend_many(asked, k=700, exclude_history=False, pool=pool)
    assert {len(answer) for answer in whole} == {len(bundle.ranked(pool).items)}


@pytest.mark.parametrize("k", [5, 150, 700])
def test_the_best_are_those_of_all_scores_with_equals_in_the_order_of_the_items(
    k: int, bundle: Bundle
) -> None:
    twins = 0
    for bought in histories(bundle)[1:6]:
        known = bundle.index(bought)[0]
        scores = bundle.scores(known)
        scores[known] = -np.inf
        want, value = top_k(scores[None], np.arange(700), k)
        found = bundle.recommend(bought, k=k)
        assert [r.id for r in found] == [bundle.keys[i] for i in want[0] if i >= 0]
        np.testing.assert_allclose([r.score for r in found], value[0][want[0] >= 0], rtol=1e-6)
        places = [int(r.id) - 10_000_000 for r in found]
        if not history_of(bundle).settings()["neighbours"]:  # which tell twins apart
            at = {place: n for n, place in enumerate(places)}
            pairs = [(at[place - 1], at[place]) for place in places if place % 10 == 9 and place - 1 in at]
            assert all(first < second for first, second in pairs)
            twins += len(pairs)
    assert twins or k < 100 or history_of(bundle).settings()["neighbours"]


@given(
    st.lists(st.integers(-3, 3) | st.floats(-5, 5, width=32), min_size=1, max_size=400), st.integers(1, 400)
)
def test_the_best_columns_are_those_of_a_full_sort(values: list[float], most: int) -> None:
    row = np.array(values, np.float32)
    want = np.sort(np.lexsort((np.arange(len(row)), -row))[:most])
    assert best_columns(row, most).tolist() == want.tolist()


def test_ids_as_whole_numbers_are_the_texts_that_they_spell(bundle: Bundle) -> None:
    key = int(bundle.keys[5])
    want = bundle.recommend([str(key)], k=5)
    for same_key in (key, np.int64(key)):
        assert bundle.recommend([same_key], k=5) == want  # type: ignore[list-item]
        assert bundle.recommend(exclude=[same_key], k=5) == bundle.recommend(exclude=[str(key)], k=5)  # type: ignore[list-item]
    assert want.basis == "history"


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("20000", "one text, not several keys"),
        (b"20000", "one text"),
        ([2.0], "the key '2.0' is a float"),
        ([True], "is a bool"),
        ([None], "is a NoneType"),
        ([["20000"]], "is a list"),
        (None, "is no list of keys"),
        (20000, "is no list of keys"),
    ],
)
def test_a_history_of_another_kind_is_refused(history: Any, message: str, bundle: Bundle) -> None:
    for ask in (
        lambda: bundle.recommend(history),
        lambda: bundle.recommend(exclude=history),
        lambda: bundle.recommend_many([[], history]),
    ):
        with pytest.raises(InputError, match=message):
            ask()


@pytest.mark.parametrize("text", [None, 5, b"tea", ["tea"]])
def test_a_text_of_another_kind_is_refused(text: Any, bundle: Bundle) -> None:
    for history in ([], bundle.keys[:1]):
        with pytest.raises(InputError, match="is no text"):
            bundle.recommend(history, text=text)
    with pytest.raises(InputError, match="None is no list of histories"):
        bundle.recommend_many(None)  # type: ignore[arg-type]


def test_keys_that_can_be_read_once_are_a_history(bundle: Bundle) -> None:
    mine = bundle.keys[5:8]
    assert bundle.recommend(iter(mine), k=5) == bundle.recommend(mine, k=5)  # type: ignore[arg-type]
    assert bundle.recommend(exclude=iter(mine), k=5) == bundle.recommend(exclude=mine, k=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True, None])
def test_how_many_is_a_whole_number(k: Any, bundle: Bundle) -> None:
    for ask in (lambda: bundle.recommend(k=k), lambda: bundle.recommend_many([["1"]], k=k)):
        with pytest.raises(InputError, match=r"k is .* whole number"):
            ask()


def test_far_more_than_there_is_can_be_asked_for(bundle: Bundle) -> None:
    assert len(bundle.recommend([bundle.keys[0]], k=10**12)) == 699
    everything = bundle.recommend(bundle.keys * 30 + ["unknown"] * 1000)
    assert (everything.basis, everything.hits, everything.unknown) == ("history", (), ("unknown",))
    assert bundle.recommend_many([]) == []
    with pytest.raises(InputError, match="2 histories and 1 to exclude"):
        bundle.recommend_many([[], []], exclude=[[]])
    assert bundle.recommend(text="green " * 200_000 + "tea", k=3).basis == "text"


def test_an_empty_catalogue_has_no_answers() -> None:
    made = random_bundle(40, dim=4, neighbours=3)
    held = {name: array[:0] if len(array) == 40 else array for name, array in arrays(made).items()}
    for name in ("family0", "family1", "family2", "family3", "neighbours0", "neighbours1"):
        held[f"{name}.indptr"] = held[f"{name}.indptr"][:1]
        for part in ("indices", "data", "factored", "left", "right"):
            if f"{name}.{part}" in held:
                held[f"{name}.{part}"] = held[f"{name}.{part}"][:0]
    part = History(history_of(made).settings(), held, 0)
    items = Items(made.items.table.slice(0, 0))
    index = search_index({"title": []}, np.zeros((0, 0), np.float32))
    empty = Bundle(made.config, items, history=part, search=index)
    assert (empty.search("tea").hits, empty.search("tea").basis) == ((), "nothing")
    for answer in (empty.recommend(["x"], text="tea"), *empty.recommend_many([["x"], []])):
        assert (answer.basis, answer.hits) == ("popularity", ())
    assert len(empty.scores(np.zeros(0, np.int64))) == 0


def test_a_text_beside_a_history_says_among_what_the_history_ranks(bundle: Bundle) -> None:
    bought = bundle.keys[:3]
    ranked = [r.id for r in bundle.recommend(bought, k=700)]
    answer = bundle.recommend(bought, text="123 green", k=700)
    assert answer.basis == "history and text"
    told = [r.id for r in answer]
    # The number is rare and weighs more than half; a word that many have is too little.
    assert told == [bundle.keys[123]]
    told = [r.id for r in bundle.recommend(bought, text="green", k=700)]
    assert 20 < len(told) < len(ranked)
    # As if there were no others.
    part, known = history_of(bundle), bundle.index(bought)[0]
    held = [i for i, title in enumerate(bundle.items.titles) if "green" in title.split()]
    pool = part.scorer.pool(np.array(held))
    scores = part.scorer.scores(known, pool)
    order = [held[i] for i in np.lexsort((pool.items, -scores))]
    assert told == [bundle.keys[i] for i in order if i not in known]
    assert bundle.recommend(bought, text="xylophone", k=9) == bundle.recommend(bought, k=9)
