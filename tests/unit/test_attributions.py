"""What of a history speaks for the class that is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from _tables import write_rows

from kgdistill.errors import InputError
from kgdistill.ranking.calibration import Calibration
from kgdistill.run.profile import properties
from kgdistill.serve.attributions import KnownSubject, attributions
from kgdistill.serve.bundle import Bundle
from kgdistill.serve.classifier import Classifier, TargetClasses
from kgdistill.serve.items import SHOWN, Items
from kgdistill.serve.known_nodes import KnownNodes
from kgdistill.store import MemoryStore, load_schema

CONFIG = {"reads": {"words": ["title"], "tower": []}, "task": {"subjects": {"label": "User"}}}
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
        "age": TargetClasses(("young", "old"), False, Calibration(1.0, 0.0)),
        "income": TargetClasses(("poor", "rich"), False, Calibration(1.0, 0.0)),
    }
    return Bundle(CONFIG, EMPTY, classifier=Classifier(targets, layers, [nodes], 0))


def bought(*keys: str) -> KnownSubject:
    return KnownSubject({"BOUGHT": keys})


def test_what_raises_the_likeliest_class_most_comes_first_and_what_lowers_it_not_at_all() -> None:
    found = attributions(bundle(), bought("toy", "jam", "tea", "watch", "unknown"))
    assert [e.key for e in found["age"]] == ["tea", "jam"]
    assert [e.key for e in found["income"]] == ["watch"]
    # The mean of the first number is 2 / 4 with tea, -1 / 3 without.
    want = 1 / (1 + np.exp(-0.5)) - 1 / (1 + np.exp(1 / 3))
    assert found["age"][0].less == pytest.approx(want, rel=1e-5)
    assert [len(some) for some in attributions(bundle(), bought("jam", "tea"), limit=1).values()] == [1, 0]


def test_nothing_speaks_for_what_is_told_of_nothing() -> None:
    assert attributions(bundle(), bought()) == {"age": [], "income": []}


def test_a_bundle_of_another_task_is_refused() -> None:
    with pytest.raises(InputError, match="cannot tell classes"):
        attributions(Bundle(CONFIG, EMPTY), bought("tea"))


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryStore]:
    """Ann bought tea, then a watch; the jam came back."""
    schema = load_schema()
    rows = {
        "User": [{"user_id": user} for user in ("ann", "bob")],
        "Product": [{"product_id": key, "title": key.upper()} for key in ("tea", "jam", "toy", "watch")],
        ("User", "BOUGHT", "Product"): [
            {"source": "ann", "target": key, "first_at": datetime(2024, 1, day), "first_quantity": quantity}
            for key, day, quantity in (("watch", 3, 1), ("tea", 2, 1), ("jam", 1, 0))
        ],
    }
    with MemoryStore() as opened:
        opened.apply_schema(schema)
        write_rows(opened, schema, rows)
        yield opened


def test_a_users_properties_rest_on_what_was_bought_and_not_returned(store: MemoryStore) -> None:
    age, income = properties(bundle(), store, "ann", least=0.75)
    # Of tea and the watch: 3 / 2 and 2 / 2.
    assert (age["property"], age["class"]) == ("age", "old")
    assert age["probability"] == pytest.approx(1 / (1 + np.exp(-1.5)), rel=1e-5)
    assert [(e["key"], e["title"]) for e in age["evidence"]] == [("tea", "TEA")]
    assert (income["class"], [e["title"] for e in income["evidence"]]) == ("rich", ["WATCH"])
    # 0.82 and 0.73.
    assert (age["told"], income["told"]) == (True, False)
    assert properties(bundle(), store, "ann", least=0.7)[1]["told"]


def test_later_purchases_do_not_count_and_of_nothing_nothing_is_told(store: MemoryStore) -> None:
    early = properties(bundle(), store, "ann", before=datetime(2024, 1, 3))
    assert [e["key"] for one in early for e in one["evidence"]] == ["tea"]
    for user, before in (("bob", None), ("ann", datetime(2024, 1, 2))):
        nothing = properties(bundle(), store, user, least=0.0, before=before)
        assert [one["told"] for one in nothing] == [False, False]
    with pytest.raises(InputError, match="tells no classes of a history"):
        properties(Bundle(CONFIG, EMPTY), store, "ann")


def test_what_is_taken_away_is_what_was_done_with_it() -> None:
    known = KnownSubject({"BOUGHT": ["tea", "jam"], "VIEWED": ["tea"]})
    assert known.without("BOUGHT", "tea") == KnownSubject({"BOUGHT": ["jam"], "VIEWED": ["tea"]})
