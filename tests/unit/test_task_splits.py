"""Splits by hash and by a given property: disjoint, stable, near their shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgdistill.errors import InputError
from kgdistill.tasks.spec import GivenSplit, HeldOut
from kgdistill.tasks.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    applied,
    first_alike,
    given_parts,
    held_out_parts,
    key_draws,
    parts_of,
    split_sentence,
)

KEYS = st.lists(st.text(max_size=8), unique=True, max_size=60)


def held(seed: int = 0, share: float = 0.3, validation: float = 0.2) -> HeldOut:
    return HeldOut(split="held_out", share=share, validation_share=validation, seed=seed)


@given(keys=KEYS, more=KEYS, seed=st.integers(0, 3))
def test_new_subjects_move_none_of_the_others(keys: list[str], more: list[str], seed: int) -> None:
    both = dict.fromkeys([*more, *keys])
    alone = dict(zip(keys, held_out_parts(keys, held(seed)), strict=True))
    among = dict(zip(both, held_out_parts(list(both), held(seed)), strict=True))
    assert all(among[key] == part for key, part in alone.items())
    assert set(among.values()) <= {TRAIN, VALIDATION, TEST}


def test_the_shares_are_held_and_seeds_differ() -> None:
    keys = [f"u{n}" for n in range(20_000)]
    parts = held_out_parts(keys, held())
    shares = np.bincount(parts, minlength=3) / len(keys)
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=0.01)
    # By chance 0.5² + 0.2² + 0.3² of them are in the same part again.
    assert (parts == held_out_parts(keys, held(1))).mean() == pytest.approx(0.38, abs=0.02)
    draws = key_draws(keys, 0)
    assert draws.min() >= 0
    assert draws.max() < 1
    # A larger share holds out the same ones and more.
    assert (held_out_parts(keys, held(share=0.4))[parts == TEST] == TEST).all()


def test_keys_that_look_alike_as_text_are_alike() -> None:
    assert (key_draws([1, "1"], 0) == key_draws(["1", 1], 0)).all()


ASKED = ["", "Where is it?", "where  is it?", "\uff57here is it?", "refund"]
TEXTS = st.lists(st.sampled_from(ASKED), max_size=40)


@given(texts=TEXTS, seed=st.integers(0, 3))
def test_the_same_text_lies_in_one_part_whatever_the_order(texts: list[str], seed: int) -> None:
    keys = [f"u{n}" for n in range(len(texts))]
    parts = parts_of(held(seed), [], keys, texts)
    alone = parts_of(held(seed), [], keys)
    for ending in ("it?", "refund"):
        rows = [n for n, text in enumerate(texts) if text.endswith(ending)]
        assert len(set(parts[rows].tolist())) <= 1
        # The part is that of the first key.
        assert not rows or parts[rows[0]] == alone[min(rows, key=lambda n: keys[n])]
    empty = [n for n, text in enumerate(texts) if not text]
    assert parts[empty].tolist() == alone[empty].tolist()
    turned = parts_of(held(seed), [], keys[::-1], texts[::-1])
    assert turned[::-1].tolist() == parts.tolist()


def test_validation_takes_a_text_of_train_with_its_copies() -> None:
    keys = [f"u{n:04}" for n in range(2_000)]
    texts = [f"text {n % 500}" for n in range(2_000)]
    values = ["test" if n % 500 < 100 else "train" for n in range(2_000)]
    split = GivenSplit(split="given", property="part", validation_share=0.2)
    parts = given_parts(values, keys, split, texts)
    held_texts = {texts[n] for n in np.flatnonzero(parts == VALIDATION)}
    assert 50 < len(held_texts) < 110
    assert not held_texts & {texts[n] for n in np.flatnonzero(parts == TRAIN)}
    assert (parts == TEST).sum() == 400


def test_texts_are_alike_but_for_case_white_space_and_forms() -> None:
    assert first_alike(["A b", "", "a  B ", "", "Ａ b", "ab"]).tolist() == [0, 1, 0, 3, 0, 5]
    assert first_alike([]).tolist() == []


@given(values=st.lists(st.sampled_from(["train", "test", "dev", "other", None]), max_size=60))
def test_a_given_split_is_taken_at_its_word(values: list[str | None]) -> None:
    split = GivenSplit(split="given", property="part")
    keys = [f"k{n}" for n in range(len(values))]
    if not {"train", "test"} <= set(values) or ("dev" not in values and values.count("train") < 30):
        return
    parts = given_parts(values, keys, split)
    for value, part in zip(values, parts, strict=True):
        if value in ("other", None):
            assert part == -1
        elif value == "train" and "dev" not in values:
            assert part in (TRAIN, VALIDATION)
        else:
            assert part == {"train": TRAIN, "dev": VALIDATION, "test": TEST}[str(value)]


def test_validation_is_taken_of_train_where_none_is_given() -> None:
    split = GivenSplit(split="given", property="part", train=("a", "b"), test=("c",), validation_share=0.2)
    values = ["a", "b", "c", "d"] * 2_000
    keys = list(range(len(values)))
    parts = given_parts(values, keys, split)
    trained = parts[np.isin(values, ["a", "b"])]
    assert (trained == VALIDATION).mean() == pytest.approx(0.2, abs=0.02)
    assert (parts[np.array(values) == "c"] == TEST).all()
    # More of them move none of the others.
    assert (given_parts(values[:4_000], keys[:4_000], split) == parts[:4_000]).all()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["train", "train"], r"means test \(test\); it holds 'train'"),
        (["test"], r"means train \(train\)"),
        ([None], "nothing has the property"),
        ([], "nothing has the property"),
    ],
)
def test_a_given_split_without_a_part_is_refused(values: list[str | None], says: str) -> None:
    with pytest.raises(InputError, match=says):
        given_parts(values, list(range(len(values))), GivenSplit(split="given", property="part"))


def test_a_split_that_nothing_has_is_held_out_where_it_says_so() -> None:
    split = GivenSplit.model_validate(
        {"split": "given", "property": "part", "else": "held_out", "seed": 3, "validation_share": 0.3}
    )
    keys = [f"k{n}" for n in range(200)]
    instead = applied(split, [None] * 200)
    assert instead == HeldOut(split="held_out", seed=3, validation_share=0.3)
    assert (parts_of(instead, [None] * 200, keys) == held_out_parts(keys, held(3, 0.2, 0.3))).all()
    # One value alone shows that the parts were given, and one of them was forgotten.
    assert applied(split, [None, "train"]) is split
    assert applied(GivenSplit(split="given", property="part"), [None]).split == "given"


def test_a_split_by_a_hash_names_its_seed() -> None:
    held = HeldOut(split="held_out", share=0.2, validation_share=0.1, seed=3)
    told = split_sentence(held, held, "", "Review")
    assert told.endswith("for validation, by a hash of their key (seed 3).")
