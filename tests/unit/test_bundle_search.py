"""Items are found by words and meaning, filtered before they are ranked, and taken in without training."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _bundle import arrays, history_of, random_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kgdistill.errors import ArtefactError, InputError
from kgdistill.ranking.fusion import SERVING, Fusion, fuse
from kgdistill.serve.bundle import Bundle, load_bundle
from kgdistill.serve.items import Items
from kgdistill.serve.search import search_index
from kgdistill.serve.tower import TextTower, unit
from kgdistill.tasks.words import terms, words

WORDS = ("tea", "mug", "lamp", "red", "green", "cups", "cup", "power", "bank", "绿茶", "17")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return random_bundle(400, dim=6, neighbours=5, text=True)


def by_hand(titles: list[str], brands: list[str], query: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """BM25 and coverage, counted item by item."""
    held = [
        Counter(3 * terms(title, singles=True) + terms(brand, singles=True))
        for title, brand in zip(titles, brands, strict=True)
    ]
    mean = sum(h.total() for h in held) / len(held)
    score, share = np.zeros(len(held)), np.zeros(len(held))

    def idf(term: str) -> float:
        n = sum(term in h for h in held)
        return math.log(1 + (len(held) - n + 0.5) / (n + 0.5))

    for term in terms(query):
        for i, h in enumerate(held):
            if h[term]:
                score[i] += idf(term) * h[term] / (h[term] + 0.9 * (0.6 + 0.4 * h.total() / mean))
    known = [w for w in dict.fromkeys(words(query)) if any(w in h for h in held)]
    for word in known:
        for i, h in enumerate(held):
            share[i] += idf(word) / sum(map(idf, known)) * (word in h)
    return score, share


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), min_size=2, max_size=12),
    st.lists(st.sampled_from((*WORDS, "unheard")), max_size=4),
    st.sampled_from([None, 1, 3]),
    st.data(),
)
def test_the_index_ranks_as_a_count_by_hand_does(
    rows: list[list[str]], asked: list[str], depth: int | None, data: st.DataObject
) -> None:
    titles, brands, query = [" ".join(r) for r in rows], [r[0] for r in rows], " ".join(asked)
    draw = np.random.default_rng(len(rows))
    vectors, vector = (unit(draw.standard_normal((n, 3)).astype(np.float32)) for n in (len(rows), 1))
    index = search_index({"title": titles, "brand": brands}, vectors, Fusion(depth=depth))
    items = data.draw(st.none() | st.sets(st.integers(0, len(rows) - 1), min_size=1))
    chosen = np.arange(len(rows)) if items is None else np.array(sorted(items))
    score, share = (a[chosen].astype(np.float32)[None] for a in by_hand(titles, brands, query))
    near = vector @ vectors[chosen].T
    want = fuse({"words": score, "coverage": share, "near": near}, Fusion(depth=depth))
    got, (basis,) = index.ranked([query], vector, None if items is None else chosen)
    there = got[0] > -np.inf
    np.testing.assert_allclose(got[0][there], want[0][there], atol=1e-5)
    assert basis == ("words and meaning" if score.any() else "meaning")
    # What is left out has no word of the query and stands behind the depth.
    assert there[score[0] > 0].all()
    assert depth is not None or there.all()


def test_a_search_is_the_fused_score_of_the_towers_vector(bundle: Bundle) -> None:
    assert bundle.text is not None
    assert bundle.search_index is not None
    index, brands = bundle.search_index, bundle.items.columns(["brand"])["brand"]
    for query in ("red tea 17", "green brand3", "lamp"):
        parts = {
            "words": index.words.scores([query]),
            "coverage": index.words.coverage([query]),
            "near": unit(bundle.text.encode([query])) @ index.vectors.T,
            # One of two words is the name of a brand.
            "named": 0.5 * np.array([["brand3" in query and b == "brand3" for b in brands]], np.float32),
        }
        want = fuse(parts, SERVING)[0]
        order = np.lexsort((np.arange(400), -want))[:20]
        answer = bundle.search(query)
        assert [hit.id for hit in answer] == [bundle.keys[i] for i in order]
        np.testing.assert_allclose([hit.score for hit in answer], want[order], rtol=1e-5)
        assert answer.basis == "words and meaning"
        first = answer[0]
        assert (first.rank, first.title) == (1, bundle.items.titles[order[0]])
        assert first.brand.startswith("brand")
        assert " > " in first.category
    many = bundle.search_many(["red tea 17", "lamp"], 20)
    assert [[h.id for h in a] for a in many] == [
        [h.id for h in bundle.search(t)] for t in ("red tea 17", "lamp")
    ]


FILTERS: list[dict[str, Any]] = [
    {},
    {"brand": "BRAND3"},
    {"price": (None, 5.0)},
    {"price": (6, 9.5), "stock": True},
    {"stock": False},
    {"category": ["range0", "range1 > kind7"]},
    pytest.param({"brand": {"brand1", "brand2"}, "price": (3, None)}, id="one of several brands"),
    {"brand": "nobody"},
    {"price": None},
    {"brand": []},
]


def holds(row: dict[str, Any], where: dict[str, Any]) -> bool:
    def one(value: Any, wanted: Any) -> bool:
        if isinstance(wanted, list | set):
            return any(one(value, w) for w in wanted)
        if wanted is None or value is None:
            return value is wanted
        if isinstance(wanted, tuple):
            return (wanted[0] is None or value >= wanted[0]) and (wanted[1] is None or value <= wanted[1])
        if isinstance(wanted, str):
            return value.lower() == wanted.lower() or value.lower().startswith(wanted.lower() + " > ")
        return bool(value == wanted)

    return all(one(row[name], wanted) for name, wanted in where.items())


@pytest.mark.parametrize("where", FILTERS, ids=str)
def test_a_filter_ranks_as_if_the_others_were_not_there(where: dict[str, Any], bundle: Bundle) -> None:
    kept = [i for i, row in enumerate(bundle.items.table.to_pylist()) if holds(row, where)]
    assert np.flatnonzero(bundle.items.mask(where)).tolist() == kept
    keys = {bundle.keys[i] for i in kept}
    bought = bundle.keys[5:9]
    for ranked in (
        bundle.recommend(bought, 400, where=where, exclude_history=False),
        bundle.recommend([], 400, where=where),
        bundle.recommend_many([bought], 400, where=where, exclude_history=False)[0],
        bundle.similar(bundle.keys[0], 400, where=where),
    ):
        told = [hit.id for hit in ranked]
        assert set(told) == keys - ({bundle.keys[0]} if ranked.basis == "vectors" else set())
    scorer = history_of(bundle).scorer
    scores = scorer.scores(bundle.index(bought)[0], scorer.pool(np.array(kept, np.int64)))
    best = np.lexsort((kept, -scores))[:7]
    answer = bundle.recommend(bought, 7, where=where, exclude_history=False)
    assert [hit.id for hit in answer] == [bundle.keys[kept[i]] for i in best]
    found = bundle.search("tea 17", 400, where=where)
    assert {hit.id for hit in found} <= keys
    # The best hundred of what is left are ordered by the whole score.
    assert len(found) >= min(100, len(kept))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"brnd": "x"}, "no property 'brnd'.*\n.*did you mean 'brand'"),
        ({"price": "cheap"}, "price is a number; 'cheap' is none"),
        ({"price": float("nan")}, "price is a number; 'nan' is none"),
        ({"price": (1, 2, 3)}, "is no pair"),
        ({"price": (1, "x")}, "'x' is none"),
        ({"price": True}, "'True' is none"),
        ({"brand": (1, 2)}, "brand is a text, so that it has no range"),
        ({"brand": 7}, "brand is a text; '7' is none"),
        ({"stock": "yes"}, "stock is true or false; 'yes' is none"),
        ({"stock": [True, 2]}, "'2' is none"),
        ("brand", "is no filter"),
    ],
)
def test_a_filter_that_cannot_be_used_is_one_clear_error(where: Any, message: str, bundle: Bundle) -> None:
    for ask in (
        lambda: bundle.recommend([], where=where),
        lambda: bundle.search("tea", where=where),
        lambda: bundle.similar(bundle.keys[0], where=where),
    ):
        with pytest.raises(InputError, match=f"(?s){message}"):
            ask()


def test_a_category_is_named_by_any_of_its_levels() -> None:
    paths = ["Food > Tea > Green", "Food > Tea > Black", "Food > Green", "Home > Cups > Black Tea", None,
             "Home > Tea > Food", "Toys"]  # fmt: skip
    items = Items(pa.table({
        "id": [f"p{i}" for i in range(7)], "title": ["a"] * 7, "brand": ["b"] * 7, "category": paths,
    }))  # fmt: skip
    for named, places in (
        ("cups", [3]), ("BLACK TEA", [3]), ("tea > green", [0]), ("Cups > Black Tea", [3]),
        ("Home > Tea", [5]),
        # What a path begins with goes before what stands inside others.
        ("Food", [0, 1, 2]), ("een", []), ("Black > ", []), ("", []),
    ):  # fmt: skip
        assert np.flatnonzero(items.mask({"category": named})).tolist() == places, named
    assert np.flatnonzero(items.mask({"category": ["cups", "Toys"]})).tolist() == [3, 6]
    with pytest.raises(InputError) as refused:
        items.mask({"category": "green"})
    assert "several category paths have 'green': Food > Green; Food > Tea > Green" in str(refused.value)
    assert refused.value.hint == "write one as it stands there: category=Food > Green"
    with pytest.raises(InputError, match="Food > Tea; Home > Tea"):
        items.mask({"category": "tea"})


def test_times_are_filtered_by_dates(bundle: Bundle) -> None:
    times = pa.array(["2024-01-05", None, "2024-03-01"]).cast(pa.timestamp("us"))
    table = bundle.items.table.slice(0, 3).append_column("since", times)
    items = Items(table)
    assert items.mask({"since": ("2024-02-01", None)}).tolist() == [False, False, True]
    assert items.mask({"since": "2024-01-05T00:00:00"}).tolist() == [True, False, False]
    aware = datetime(2024, 1, 5, 1, tzinfo=timezone(timedelta(hours=1)))
    for same in ("2024-01-05T00:00:00Z", "2024-01-05 02:00:00+02:00", aware):
        assert items.mask({"since": same}).tolist() == [True, False, False]
    for wrong in ("NaT", "2024-01-05T00:00:00+x"):
        with pytest.raises(InputError, match="since is a time"):
            items.mask({"since": wrong})
    with pytest.raises(InputError, match="since is a time; 'soon' is none"):
        items.mask({"since": ("soon", None)})


@pytest.mark.parametrize(
    ("query", "basis"),
    [
        ("tea " * 300_000 + "17", "words and meaning"),
        ("", "nothing"),
        (" \n\t", "nothing"),
        ("xylophone", "nothing"),
        ("绿茶 чай شاي", "nothing"),
        ("!?🙂\x00", "nothing"),
        ("\ud800 tea", "words and meaning"),
    ],
    ids=["long", "empty", "blank", "unknown", "scripts", "signs", "surrogate"],
)
def test_odd_queries_have_an_answer_that_says_what_it_rests_on(
    query: str, basis: str, bundle: Bundle
) -> None:
    answer = bundle.search(query, 10**9)
    assert answer.basis == basis
    assert bool(answer) == (basis != "nothing")
    assert len(answer) <= 400


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True])
def test_how_many_is_a_whole_number_for_a_search_too(k: Any, bundle: Bundle) -> None:
    for ask in (lambda: bundle.search("tea", k), lambda: bundle.similar(bundle.keys[0], k)):
        with pytest.raises(InputError, match=r"k is .* whole number"):
            ask()


def test_one_text_is_not_many(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="one text, not several"):
        bundle.search_many("tea")
    assert bundle.search_many([]) == []


def test_similar_items_are_the_nearest_vectors(bundle: Bundle) -> None:
    vectors = unit(arrays(bundle)["vectors"])
    cosines = vectors @ vectors[3]
    cosines[3] = -2
    answer = bundle.similar(bundle.keys[3], 9)
    order = np.argsort(-cosines)[:9]
    assert [hit.id for hit in answer] == [bundle.keys[i] for i in order]
    np.testing.assert_allclose([hit.score for hit in answer], cosines[order], rtol=1e-5)
    assert answer.basis == "vectors"
    with pytest.raises(InputError, match="knows no item 'nobody'"):
        bundle.similar("nobody")


# New items --------------------------------------------------------------------------------------

NEW = [
    {"title": "red tea 17 fresh", "brand": "brand3", "category": "range0 > kind4", "price": 4.5},
    {"title": "unheard of", "brand": "new brand"},
]  # fmt: skip


def grown(**kinds: Any) -> Bundle:
    made = random_bundle(400, dim=6, neighbours=5, text=True, **kinds)
    made.add_items(NEW, ids=["n1", 22])
    return made


def test_new_items_have_the_towers_vectors_and_are_found_and_recommended_at_once(
    bundle: Bundle, tmp_path: Path
) -> None:
    made = grown()
    assert made.text is not None
    assert made.search_index is not None
    vectors = made.text.encode(["red tea 17 fresh [SEP] brand3", "unheard of [SEP] new brand"])
    np.testing.assert_array_equal(arrays(made)["vectors"][-2:], vectors)
    np.testing.assert_allclose(made.search_index.vectors[-2:], unit(vectors), atol=1e-6)
    assert made.search("fresh")[0].id == "n1"
    assert made.search("red tea fresh", where={"price": (None, 4.5)})[0].brand == "brand3"
    everything = made.recommend(made.keys[:4], 500, pool="all")
    assert {"n1", "22"} <= {hit.id for hit in everything}
    assert {"n1", "22"} <= {hit.id for hit in made.recommend(made.keys[:4], 500, pool="cold")}
    assert not {"n1", "22"} & {hit.id for hit in made.recommend(made.keys[:4], 500, pool="warm")}
    assert made.similar("n1")
    assert made.recommend(["n1"], 5).basis == "history"
    # Nobody's score changed but by the new ones.
    np.testing.assert_allclose(
        made.scores(np.array([3, 7]), pool="warm"), bundle.scores(np.array([3, 7]), pool="warm"), rtol=1e-6
    )
    made.save(tmp_path / "grown")
    again = load_bundle(tmp_path / "grown")
    for ask in (
        lambda b: b.search("red tea fresh 17"),
        lambda b: b.recommend(b.keys[:4], pool="all"),
        lambda b: b.similar("22"),
    ):
        assert ask(again) == ask(made)


def test_new_items_join_the_groups_that_their_fields_name() -> None:
    made = grown()
    codes, table = [g.codes for g in history_of(made).scorer.groups], made.items.table
    brands, categories = table["brand"].to_pylist(), table["category"].to_pylist()

    def like(m: int, mine: list[bool]) -> set[int]:
        """The groups of the old items that say the same."""
        none = len(arrays(made)[f"family{m}.everybody"])
        return {int(c) for c, same in zip(codes[m][:-2], mine, strict=False) if same and c != none}

    same_brand = [b == "brand3" for b in brands]
    assert codes[0][-2] in like(0, same_brand)
    above = [c.startswith("range0 > ") for c in categories[:-2]]
    assert codes[2][-2] in like(2, above)
    # A brand that nobody had makes no group.
    assert codes[0][-1] == len(arrays(made)["family0.everybody"])


def test_an_index_that_grew_is_the_one_made_of_all() -> None:
    made, whole = grown(), grown()
    assert made.search_index is not None
    columns = whole.items.columns(["title", "brand"])
    index = search_index(whole.reads.texts(columns), whole.reads.vectors(columns, whole.text))
    query = ["red fresh tea 17", "unheard new"]
    vector = np.ones((2, 6), np.float32)
    np.testing.assert_allclose(
        made.search_index.scores(query, vector), index.scores(query, vector), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("items", "more", "message"),
    [
        ("tea", {}, "is no list of items"),
        ([3], {"ids": ["a"]}, "item 1: is a int"),
        (["tea"], {}, "item 1: has no id"),
        (["tea"], {"ids": ["a", "b"]}, "1 items and not as many ids"),
        (["tea", "mug"], {"ids": ["a", "a"]}, "item 2: the id 'a' is there already"),
        (["tea"], {"ids": ["10000003"]}, "item 1: the id '10000003' is there already"),
        (["  "], {"ids": ["a"]}, "item 1: has no text"),
        ([{"brand": 3}], {"ids": ["a"]}, "item 1: brand is no text"),
        ([{"title": "tea", "price": float("nan")}], {"ids": ["a"]}, "item 1: price is a number; 'nan'"),
        (["\ud800 tea"], {"ids": ["a"]}, "item 1: title holds half a character"),
        ([{"title": "tea", "prise": 3}], {"ids": ["a"]}, "(?s)no property 'prise'.*did you mean 'price'"),
        ([{"title": "tea", "stock": 3}], {"ids": ["a"]}, "stock is true or false"),
        (["tea"], {"ids": ["a"], "groups": [{"colour": "red"}]}, "no property 'colour'"),
    ],
)
def test_new_items_that_cannot_be_used_change_nothing(
    items: Any, more: dict[str, Any], message: str, bundle: Bundle
) -> None:
    before = bundle.recommend(pool="all", k=400)
    with pytest.raises(InputError, match=message):
        bundle.add_items(items, **more)
    assert len(bundle) == 400
    assert bundle.recommend(pool="all", k=400) == before


def test_what_a_bundle_was_not_made_for_is_one_clear_error(bundle: Bundle) -> None:
    config = {**bundle.config, "task": {"kind": "match", "name": "search"}}
    found = Bundle(config, bundle.items, text=bundle.text, search=bundle.search_index)
    assert found.search("tea 17") == bundle.search("tea 17")
    assert found.similar(bundle.keys[2])
    for ask in (lambda: found.recommend(["x"]), lambda: found.recommend_many([]), lambda: found.pool):
        with pytest.raises(InputError, match="made for 'search'; it cannot recommend"):
            ask()
    mute = Bundle(bundle.config, bundle.items, history=bundle.history)
    for ask in (lambda: mute.search("x"), lambda: mute.recommend(text="x")):
        with pytest.raises(InputError, match="made for 'recommend'; it cannot search"):
            ask()
    with pytest.raises(InputError, match="it cannot take in new items"):
        mute.add_items(["tea"], ids=["a"])


def test_a_tower_of_another_width_makes_no_bundle(bundle: Bundle) -> None:
    assert bundle.text is not None
    tokenizer = Tokenizer.from_str(bundle.text._tokenizer)
    other = TextTower.of(tokenizer, np.ones((tokenizer.get_vocab_size(), 2), np.float32), None, 9)
    with pytest.raises(ArtefactError, match="have 6 numbers, the text tower 2"):
        Bundle(bundle.config, bundle.items, text=other, search=bundle.search_index)
