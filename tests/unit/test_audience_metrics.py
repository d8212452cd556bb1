"""What a ranking of an audience is worth, against counting by hand, and how it is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.config import AudienceConfig
from kgdistill.errors import InputError
from kgdistill.ranking.audience import (
    Judged,
    anchor_aucs,
    auc_within,
    audience_metrics,
    compare_audiences,
    expected_positives,
    gains,
    top_share,
    weighted_auc,
)
from kgdistill.tasks.audience import AudienceData, MemberGroups, TimedPairs
from kgdistill.train.audience import (
    PairTable,
    counts_baseline,
    folds_of,
    level_spread,
    relational_vectors,
    train_audience_student,
    train_audience_teacher,
)
from kgdistill.train.loop import Context

CONTEXT = Context(torch.device("cpu"), 0)
SMALL = AudienceConfig(members=1, epochs=8, hidden=4, teacher_hidden=8, batch=32, lr=0.02)


def by_hand(labels: list[bool], scores: list[float]) -> float:
    pairs = [(a, b) for a, x in zip(scores, labels, strict=True) if x
             for b, y in zip(scores, labels, strict=True) if not y]  # fmt: skip
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=14))
def test_auc_is_the_share_of_pairs_in_order_and_weights_repeat_rows(
    rows: list[tuple[bool, int, int]],
) -> None:
    labels = [y for y, _, n in rows for _ in range(n)]
    scores = [float(s) for _, s, n in rows for _ in range(n)]
    found = weighted_auc(
        np.array([y for y, _, _ in rows]), np.array([s for _, s, _ in rows], np.float32),
        np.array([n for _, _, n in rows]),
    )  # fmt: skip
    if all(labels) or not any(labels):
        assert np.isnan(found)
    else:
        assert found == pytest.approx(by_hand(labels, scores))


def judged() -> tuple[Judged, np.ndarray]:
    labels = np.array([1, 0, 0, 0, 1, 0, 1, 0, 0, 0], np.bool_)
    anchors = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    scores = np.array([9, 8, 7, 1, 5, 6, 4, 3, 2, 0], np.float32)
    return Judged(labels, anchors, np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 2])), scores


def test_within_an_anchor_only_its_own_pairs_count_and_one_without_positives_does_not() -> None:
    told, scores = judged()
    assert anchor_aucs(told, scores).tolist() == [1.0, 0.0]
    assert auc_within(told, scores, np.ones(10, np.int64)) == 0.5
    # Another level of a whole anchor changes nothing.
    assert anchor_aucs(told, scores + 100 * told.anchors).tolist() == [1.0, 0.0]


def test_the_top_and_the_gains_count_positives_among_the_best() -> None:
    told, scores = judged()
    ones = np.ones(10, np.int64)
    assert top_share(told, scores, ones) == pytest.approx(1 / 3)
    assert top_share(told, scores, ones, 0.5) == pytest.approx(2 / 3)
    assert top_share(told, scores, ones, 0.05) == pytest.approx(1 / 6)
    curve = dict(gains(told, scores))
    assert curve[0.1] == pytest.approx(1 / 3)
    assert curve[1.0] == 1


def test_intervals_hold_their_figures_and_equal_models_do_not_differ() -> None:
    told, scores = judged()
    for interval in audience_metrics(told, [scores, scores * 2], samples=50).values():
        assert interval.low <= interval.mean <= interval.high
    assert all(i == (0, 0, 0) for i in compare_audiences(told, [scores], [scores], samples=50).values())


def test_what_is_expected_is_as_wide_as_anchors_stray() -> None:
    p = np.full(200, 0.1)
    narrow, wide = expected_positives(p, 0.0), expected_positives(p, 0.5)
    assert narrow.mean == wide.mean == pytest.approx(20)
    # Binomial: 20 ± 1.96 · √18.
    assert narrow.low == pytest.approx(20 - 8.3, abs=0.5)
    assert narrow.high == pytest.approx(20 + 8.3, abs=0.5)
    assert wide.low < narrow.low - 5
    assert wide.high > narrow.high + 5
    assert expected_positives(np.zeros(0), 0.3) == (0, 0, 0)


def test_the_spread_is_that_of_the_levels_beyond_chance() -> None:
    draw = np.random.default_rng(0)
    anchors = np.repeat(np.arange(300), 200)
    p = np.full(len(anchors), 0.2)
    level = draw.gamma(4, 1 / 4, 300)[anchors]  # of mean 1 and standard deviation 0.5
    stray = draw.random(len(p)) < np.minimum(p * level, 1)
    still = draw.random(len(p)) < p
    assert level_spread(p, stray, anchors) == pytest.approx(0.5, abs=0.1)
    assert level_spread(p, still, anchors) < 0.1


def table(*, flip: bool = False, anchors: int = 8, reached: bool = True) -> PairTable:
    """The third feature tells; in the first fold it may be the other way round."""
    draw = np.random.default_rng(1)
    x = draw.standard_normal((anchors * 60, 4)).astype(np.float32)
    at = np.repeat(np.arange(anchors), 60)
    labels = draw.random(len(x)) < 1 / (1 + np.exp(2 - 3 * x[:, 2] * np.where(flip & (at % 4 == 0), -1, 1)))
    return PairTable(x, labels, at, np.arange(len(x)) % 60, np.full(len(x), reached))


def test_an_anchor_lies_in_one_fold_and_neighbours_in_different_ones() -> None:
    anchors = np.repeat([5, 3, 9, 1, 7], 4)
    folds = folds_of(anchors, 3)
    assert folds[::4].tolist() == [0, 1, 2, 0, 1]
    assert all(len(set(folds[anchors == a])) == 1 for a in set(anchors))


def test_the_teacher_learns_from_labels_and_is_calibrated_by_other_anchors() -> None:
    teacher = train_audience_teacher(table(), SMALL, CONTEXT)
    told = table()
    ones = np.ones(len(told.labels), np.int64)
    assert weighted_auc(told.labels, teacher.logits(told.features), ones) > 0.85
    assert len(teacher.heads) == SMALL.folds
    # Who saw an anchor that says the contrary knows more of it than who did not.
    torn = train_audience_teacher(table(flip=True), SMALL, CONTEXT)
    assert torn.calibration.temperature > teacher.calibration.temperature + 0.3


def test_the_student_follows_the_teacher_where_it_is_given_and_labels_where_not() -> None:
    told = table()
    contrary = -3 * told.features[:, 0]
    plain = train_audience_student(told, None, np.array([7]), SMALL, CONTEXT)
    taught = train_audience_student(told, contrary, np.array([7]), SMALL, CONTEXT)
    assert plain.soft == 0
    assert taught.soft == 0.3  # the least that there is: the validation saw it err
    ones = np.ones(len(told.labels), np.int64)
    assert weighted_auc(told.labels, plain.head.logits(told.features), ones) > 0.85
    followed = [np.corrcoef(s.head.logits(told.features), contrary)[0, 1] for s in (plain, taught)]
    assert followed[1] > followed[0] + 0.2


@pytest.mark.parametrize("odd", [0, 1])
def test_a_campaign_unlike_all_others_in_what_they_share_is_told_as_they_are(odd: int) -> None:
    """All campaigns that taught had 25 products, or but one of them 24; then one of 16 comes."""
    told = table(anchors=20)
    size = np.where(told.anchors < odd, 24, 25)[:, None]
    known = replace(told, features=np.concatenate([told.features, np.log1p(size)], 1, dtype=np.float32))
    fewer = known.features.copy()
    fewer[:, -1] = np.log1p(16)
    teacher = train_audience_teacher(known, SMALL, CONTEXT)
    student = train_audience_student(known, teacher.logits(known.features), np.array([7]), SMALL, CONTEXT)
    scorer = counts_baseline(known, ("x", "events", "positives", "items had", "days since"))
    for logits in (teacher.logits, student.head.logits, scorer):
        apart = np.abs(logits(fewer) - logits(known.features)).max()
        assert apart < (0.01, 0.5)[odd], apart


def test_pairs_without_a_label_teach_what_the_teacher_says_alone() -> None:
    told = table()
    unknown = table(reached=False)
    both = PairTable(
        *(np.concatenate([getattr(told, n), getattr(unknown, n)]) for n in PairTable.__dataclass_fields__)
    )
    says = np.where(both.reached, 3 * both.features[:, 2] - 2, 5 * both.features[:, 1]).astype(np.float32)
    taught = train_audience_student(both, says, np.array([7]), SMALL, CONTEXT)
    assert np.corrcoef(taught.head.logits(told.features), told.features[:, 1])[0, 1] > 0.2


def test_the_baseline_reads_its_four_columns() -> None:
    told = table()
    names = ("events", "positives", "items had", "days since")
    scorer = counts_baseline(told, names)
    ones = np.ones(len(told.labels), np.int64)
    assert weighted_auc(told.labels, scorer(told.features), ones) > 0.85
    changed = told.features.copy()
    changed[:, 3] += 1
    assert not np.allclose(scorer(changed), scorer(told.features))


def test_relational_embeddings_know_who_is_bought_together_before_a_moment_alone() -> None:
    draw = np.random.default_rng(3)
    who, what = np.arange(40).repeat(4), np.empty(160, np.int64)
    for user in range(40):
        what[who == user] = draw.choice(5, 4, replace=False) + 5 * (user % 2)
    late_who, late_what = draw.integers(0, 40, 300), draw.integers(0, 12, 300)
    before = TimedPairs.of(who, what, np.arange(160))
    both = TimedPairs.of(
        np.r_[who, late_who], np.r_[what, late_what], np.r_[np.arange(160), np.arange(300) + 160]
    )
    none = TimedPairs(*(np.zeros(0, np.int64) for _ in range(3)))
    brand = MemberGroups("MADE_BY", np.arange(12), np.r_[np.repeat([0, 1], 5), 0, 1], ("a", "b"))
    made = [
        AudienceData(40, 12, events, none, None, np.zeros(0, np.int64), [], groups)
        for events, groups in ((before, ()), (both, ()), (before, (brand,)))
    ]
    plain, later, tied = (relational_vectors(data, 160, 3) for data in made)
    assert plain == pytest.approx(later)
    assert not np.allclose(relational_vectors(made[1], 460, 3), plain)
    near = plain @ plain.T
    assert near[:5, :5].mean() > near[:5, 5:10].mean() + 0.5
    # Nobody bought the last two: their group alone tells of them.
    assert not plain[10:].any()
    assert tied[10] @ tied[:5].mean(0) > tied[10] @ tied[5:10].mean(0) + 0.5


def test_nothing_to_learn_is_refused() -> None:
    told = table()
    none = PairTable(
        told.features, np.zeros(len(told.labels), np.bool_), told.anchors, told.candidates, told.reached
    )
    for train in (
        lambda: train_audience_teacher(none, SMALL, CONTEXT),
        lambda: train_audience_student(none, None, np.array([7]), SMALL, CONTEXT),
    ):
        with pytest.raises(InputError, match="no positive to learn from"):
            train()
