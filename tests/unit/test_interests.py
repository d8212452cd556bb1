"""Which interests are named, and how they are told."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.explore.interests import Interest, Interests, _at_least, _standing_out
from kgdistill.explore.signals import Signal, named_in


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.001, 0.999))
def test_the_tail_is_that_of_a_binomial(count: int, total: int, share: float) -> None:
    want = sum(math.comb(total, n) * share**n * (1 - share) ** (total - n) for n in range(count, total + 1))
    assert _at_least(count, total, share) == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_chance_alone_gives_few_users_an_interest() -> None:
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.full(60, 0.5))
    usual = Counter(
        {f"c{n}": int(count) for n, count in enumerate(draw.multinomial(100_000, shares)) if count}
    )
    names = {key: key for key in usual}
    surprised = 0
    for _ in range(400):
        bought = Counter(f"c{n}" for n in draw.choice(60, draw.integers(5, 80), p=shares))
        surprised += bool(_standing_out(bought & Counter(dict.fromkeys(usual, 1000)), usual, names, 5))
    assert surprised <= 0.05 * 400


def test_what_a_user_keeps_to_is_found_among_the_rest() -> None:
    usual = Counter({f"c{n}": 100 for n in range(50)})
    bought = Counter({"c7": 6, **{f"c{n}": 1 for n in range(10, 20)}})
    (found,) = _standing_out(bought, usual, {key: key.upper() for key in usual}, 5)
    assert (found.name, found.products, found.lift) == ("C7", 6, pytest.approx(6 / 16 / 0.02))


@pytest.mark.parametrize(
    ("share", "told"), [(0.6, "mostly at night"), (0.33, "more often than others at night")]
)
def test_mostly_is_more_than_half(share: float, told: str) -> None:
    night = Interest("night", "night", 3, share, 0.1, share / 0.1)
    found = Interests("ann", 6, None, None, (), (), (night,), None, None)
    assert found.sentence() == f"ann bought 6 products, {told}."
    assert Interests("ann", 1, None, None, (), (), (), None, None).sentence() == "ann bought 1 product."


def test_the_bound_is_shared_by_the_kinds_of_events() -> None:
    usual = Counter({f"c{n}": 100 for n in range(50)})
    bought = Counter({"c7": 3, **{f"c{n}": 1 for n in range(10, 20)}})
    names = {key: key for key in usual}
    # 50 categories times 0.0023: by one kind of event within twenty, by three not.
    assert 0.05 / 3 < 50 * _at_least(3, 10, 0.02) < 0.05
    few = Counter({"c7": 3, **{f"c{n}": 1 for n in range(10, 17)}})
    assert [i.event for i in _standing_out(few, usual, names, 5, event="VIEWED")] == ["VIEWED"]
    assert _standing_out(few, usual, names, 5, event="VIEWED", tests=3) == ()
    assert _standing_out(bought, usual, names, 5, tests=3) == ()


def test_a_text_names_the_longest_of_names_in_each_other_and_all_that_are_called_so() -> None:
    named = named_in(
        {
            "tea": "Tea",
            "green": "Green Teas",
            "pot": "Pot",
            "other pot": "POTS",
            "rice": "苏泊尔（SUPOR）",
            "5": "5",
        }
    )
    assert named("Fresh green tea") == {"green"}
    assert named("tea and pots, 5 of them") == {"tea", "pot", "other pot"}
    assert named("苏泊尔电饭煲") == named("a supor") == {"rice"}
    assert named("nothing") == set()


def test_of_a_long_text_the_beginning_is_shown() -> None:
    long = "lovely  and\n" + "x" * 60
    said = Signal("SAID", "Statement", {"a": None, "b": None}, {"a": "fine " * 12, "b": long})
    first, second = said.latest(2)
    assert first == "lovely and " + "x" * 48 + "…"
    assert second == ("fine " * 12).strip()


def test_what_was_said_is_no_word_in_chinese() -> None:
    texts = {"SEARCHED": ("雨伞",), "SAID": ("很好用，会再买。",)}
    found = Interests(
        "ann", 0, None, None, (), (), (), None, None, others={"SEARCHED": 3, "SAID": 2}, searches=texts
    )
    told = "ann搜索过3个不同的词，最近是“雨伞”；说过2条不同的内容，最近是“很好用，会再买。”。"
    assert found.sentence("zh") == told
