"""What of a history speaks for the class that is told."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from kgdistill.errors import InputError
from kgdistill.serve.attributions import attributions
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.classifier import Classifier, KnownNodes, TargetClasses
from kgdistill.serve.items import SHOWN, Items

CONFIG = {"reads": {"words": ["title"], "tower": []}}
EMPTY = Items(pa.table({name: pa.array([], pa.string()) for name in ("id", *SHOWN)}))


def bundle() -> Bundle:
    """Of a history's mean the first number speaks for "old", the second for "rich"."""
    rows = np.array([[3, 0], [1, 0], [-2, 0], [0, 2]], np.float32)
    nodes = KnownNodes("BOUGHT", "Product", True, ("tea", "jam", "toy", "watch"), rows, 0.0, 1.0)
    layers = {
        "target.age.weight": np.array([[0, 0, 0], [1, 0, 0]], np.float32),
        "target.age.bias": np.zeros(2, np.float32),
        "target.income.weight": np.array([[0, 0, 0], [0, 1, 0]], np.float32),
        "target.income.bias": np.zeros(2, np.float32),
    }
    targets = {
        "age": TargetClasses(("young", "old"), False, 1.0, 0.0),
        "income": TargetClasses(("poor", "rich"), False, 1.0, 0.0),
    }
    return Bundle(CONFIG, EMPTY, classifier=Classifier(targets, layers, [nodes], 0))


def test_what_raises_the_likeliest_class_most_comes_first_and_what_lowers_it_not_at_all() -> None:
    found = attributions(bundle(), ["toy", "jam", "tea", "tea", "watch", "unknown"])
    assert [e.key for e in found["age"]] == ["tea", "jam"]
    assert [e.key for e in found["income"]] == ["watch"]
    # The mean of the first number is 2 / 4 with tea, -1 / 3 without.
    want = 1 / (1 + np.exp(-0.5)) - 1 / (1 + np.exp(1 / 3))
    assert found["age"][0].less == pytest.approx(want, rel=1e-5)
    assert [len(some) for some in attributions(bundle(), ["jam", "tea"], limit=1).values()] == [1, 0]


def test_nothing_speaks_for_what_is_told_of_nothing() -> None:
    assert attributions(bundle(), []) == {"age": [], "income": []}


def test_a_bundle_of_another_task_is_refused() -> None:
    with pytest.raises(InputError, match="cannot tell classes"):
        attributions(Bundle(CONFIG, EMPTY), ["tea"])
