"""A path weighs what the student's score loses without its purchases; a lift counts as far as it is sure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from _bundle import arrays, history_of, random_bundle, remade

from kgdistill.explore.reasons import sure_of
from kgdistill.serve.weigh import PathWeights, events_read


def test_a_path_weighs_the_fall_of_the_score_among_what_speaks_for_the_product() -> None:
    bundle = random_bundle(300, dim=6, neighbours=20, rank=3)
    history = [bundle.keys[i] for i in np.random.default_rng(3).permutation(300)[:20]]
    known = bundle.index(history)[0]
    hit = bundle.recommend(history, k=1)[0]
    sets = [(key,) for key in history] + [tuple(history[:5])]
    found = PathWeights(bundle, {"ann": history})("ann", hit.id, sets)
    scorer, place = history_of(bundle).scorer, bundle.items.places[hit.id]
    pool = scorer.pool(np.array([place]))
    falls = [
        hit.score - scorer.scores(known[~np.isin(known, bundle.index(keys)[0])], pool)[0] for keys in sets
    ]
    assert 0 < max(found) <= 1
    assert [weight > 0 for weight in found] == [fall > 1e-6 for fall in falls]
    ratio = np.array(found)[np.array(falls) > 1e-3] / np.array(falls)[np.array(falls) > 1e-3]
    assert ratio == pytest.approx(ratio[0], rel=1e-3)
    assert len(set(np.round(found, 6))) > 5


def test_where_one_term_speaks_alone_the_purchases_that_make_it_carry_all() -> None:
    made = random_bundle(300, dim=6, neighbours=20)
    for name in ("blend.weight", "blend.bias", "blend.user", "blend.new_boost"):
        arrays(made)[name][:] = 0
    arrays(made)["blend.bias"][5] = 1
    bundle = remade(made)
    codes = history_of(bundle).scorer.groups[0].codes
    brand = int(np.bincount(codes[codes < codes.max()]).argmax())
    inside, outside = np.flatnonzero(codes == brand), np.flatnonzero(codes != brand)
    own = [bundle.keys[i] for i in inside[:2]]
    others = [bundle.keys[i] for i in outside[:3]]
    weigh = PathWeights(bundle, {"ann": [*own, *others]})
    weights = weigh("ann", bundle.keys[inside[2]], [tuple(own), (own[0],), tuple(others), ("unknown",)])
    assert weights[0] == pytest.approx(1.0)
    assert 0 < weights[1] < 1
    assert weights[2:] == [0.0, 0.0]


def test_of_what_the_bundle_lacks_nothing_is_known() -> None:
    bundle = random_bundle(60)
    weigh = PathWeights(bundle, {"ann": bundle.keys[:2]})
    assert weigh("bob", bundle.keys[5], [(bundle.keys[0],)]) == [0.0]
    assert weigh("ann", "nowhere", [(bundle.keys[0],)]) == [0.0]


def test_an_event_that_weighs_nothing_is_not_read() -> None:
    told: Any = SimpleNamespace(event="BOUGHT", events={"VIEWED": 0.0, "ADDED": 0.5})
    assert events_read(told) == {"BOUGHT", "ADDED"}


def test_a_lift_counts_as_far_as_its_support_makes_it_sure() -> None:
    assert sure_of(60.0, 1) == pytest.approx(60 * (1 - 1 / 9 - 1 / 3) ** 3)
    assert [sure_of(2.0, n) for n in (1, 4, 100)] == sorted(sure_of(2.0, n) for n in (1, 4, 100))
    # A hundred at twice the chance are more than one at four times.
    assert sure_of(2.0, 100) > 1.8 > sure_of(4.0, 1)
