"""The metrics of classification against a count by hand, and scikit-learn where it is installed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from kgdistill.ranking.bootstrap import bootstrap_mean, bootstrap_statistic
from kgdistill.ranking.classes import METRICS, Classified, classify_metrics, codes, compare_classified


def one_class(seed: int, rows: int = 60, classes: int = 4) -> Classified:
    """Random truth, probabilities and choices; a few subjects of either kind are out of scope."""
    draw = np.random.default_rng(seed)
    truth = np.zeros((rows, classes + 1), bool)
    truth[np.arange(rows), draw.integers(0, classes + 1, rows)] = True
    p = draw.dirichlet(np.full(classes, 0.5), rows).astype(np.float32)
    chosen = np.zeros((rows, classes), bool)
    chosen[np.arange(rows), p.argmax(1)] = p.max(1) > 0.4
    return Classified(truth[:, :classes], p, chosen)


def several(seed: int, rows: int = 60, classes: int = 4) -> Classified:
    draw = np.random.default_rng(seed)
    p = draw.random((rows, classes)).astype(np.float32)
    return Classified(draw.random((rows, classes)) < 0.4, p, p > 0.5, several=True)


def by_hand(given: Classified) -> dict[str, float]:
    """Every metric by loops over subjects and classes."""
    rows, classes = given.truth.shape
    f1s, right, lost, bins = [], 0, [], {b: [0.0, 0.0] for b in range(15)}
    for c in range(classes):
        tp = sum(given.truth[i, c] and given.chosen[i, c] for i in range(rows))
        fp = sum(not given.truth[i, c] and given.chosen[i, c] for i in range(rows))
        fn = sum(given.truth[i, c] and not given.chosen[i, c] for i in range(rows))
        if tp + fp + fn:
            f1s.append(2 * tp / (2 * tp + fp + fn))
    for i in range(rows):
        right += list(given.truth[i]) == list(given.chosen[i])
        p = given.probabilities[i].astype(float)
        if given.several:
            lost.append(np.mean([-np.log(p[c] if given.truth[i, c] else 1 - p[c]) for c in range(classes)]))
            asked = [(p[c], given.truth[i, c]) for c in range(classes)]
        elif given.truth[i].any():
            lost.append(-np.log(p[list(given.truth[i]).index(True)]))
            asked = [(p.max(), given.truth[i, int(p.argmax())])]
        else:
            asked = []
        for confidence, holds in asked:
            b = next(b for b in range(15) if confidence <= (b + 1) / 15)
            bins[b][0] += confidence
            bins[b][1] += float(holds)
    total = sum(rows if given.several else given.truth[i].any() for i in range(rows))
    counted = rows * classes if given.several else sum(r.any() for r in given.truth)
    assert total
    return {
        "macro_f1": float(np.mean(f1s)),
        "accuracy": right / rows,
        "log_loss": float(np.mean(lost)),
        "ece": sum(abs(a - b) for a, b in bins.values()) / counted,
    }


@pytest.mark.parametrize("given", [one_class(0), one_class(1), several(2), several(3)])
def test_every_metric_is_what_a_count_by_hand_gives(given: Classified) -> None:
    every = np.ones(len(given.truth), np.int64)
    for name, wanted in by_hand(given).items():
        assert METRICS[name](given, every) == pytest.approx(wanted, abs=1e-9), name


@pytest.mark.parametrize("given", [one_class(0), several(2)])
def test_a_subject_that_counts_twice_is_a_subject_that_stands_twice(given: Classified) -> None:
    weights = np.random.default_rng(0).integers(0, 3, len(given.truth))
    rows = np.repeat(np.arange(len(weights)), weights)
    again = Classified(given.truth[rows], given.probabilities[rows], given.chosen[rows], given.several)
    for name, metric in METRICS.items():
        assert metric(given, weights) == pytest.approx(metric(again, np.ones(len(rows), np.int64))), name


def test_the_metrics_are_those_of_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    given = one_class(5, rows=200)
    every = np.ones(200, np.int64)
    truth, chosen = codes(given.truth), codes(given.chosen)
    assert METRICS["mcc"](given, every) == pytest.approx(sk.matthews_corrcoef(truth, chosen))
    assert METRICS["macro_f1"](given, every) == pytest.approx(
        sk.f1_score(truth, chosen, labels=range(4), average="macro")
    )
    held = given.in_scope
    p = given.probabilities[held].astype(float)
    p /= p.sum(axis=1, keepdims=True)
    assert METRICS["log_loss"](given, every) == pytest.approx(
        sk.log_loss(truth[held], p, labels=range(4)), rel=1e-5
    )
    many = several(6)
    expected = np.mean([sk.matthews_corrcoef(t, c) for t, c in zip(many.truth.T, many.chosen.T, strict=True)])
    assert METRICS["mcc"](many, np.ones(60, np.int64)) == pytest.approx(expected)


def test_all_right_is_one_and_all_alike_correlates_with_nothing() -> None:
    truth = np.eye(3, dtype=bool)[[0, 1, 2, 0]]
    every = np.ones(4, np.int64)
    perfect = Classified(truth, truth.astype(np.float32), truth)
    assert {n: m(perfect, every) for n, m in METRICS.items()} == {
        "macro_f1": 1.0, "accuracy": 1.0, "log_loss": 0.0, "ece": 0.0, "mcc": pytest.approx(1.0),
    }  # fmt: skip
    alike = Classified(truth, truth.astype(np.float32), np.eye(3, dtype=bool)[[0, 0, 0, 0]])
    assert METRICS["mcc"](alike, every) == 0.0


def test_intervals_hold_the_figure_and_a_comparison_with_itself_is_nothing() -> None:
    given, other = one_class(0, rows=150), one_class(9, rows=150)
    for name, (mean, low, high) in classify_metrics(given, samples=200).items():
        assert low <= high, name
        assert mean == METRICS[name](given, np.ones(150, np.int64))
    assert all(i == (0.0, 0.0, 0.0) for i in compare_classified(given, given, samples=50).values())
    with pytest.raises(ValueError, match="same subjects"):
        compare_classified(given, other)


def test_a_statistic_that_is_a_mean_has_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, 300)
    one = bootstrap_mean(values, samples=2000)
    other = bootstrap_statistic(lambda w: float(np.average(values, weights=w)), 300, samples=2000)
    assert other == pytest.approx(one, abs=0.02)
    with pytest.raises(ValueError, match="at least 1"):
        bootstrap_statistic(lambda w: 0.0, 0)


@pytest.mark.parametrize("wrong", ["shape", "several"])
def test_what_does_not_fit_together_is_refused(wrong: str) -> None:
    truth: npt.NDArray[np.bool_] = np.ones((2, 2), bool) if wrong == "several" else np.eye(2, dtype=bool)
    width = 2 if wrong == "several" else 3
    with pytest.raises(ValueError, match="shape" if wrong == "shape" else "several classes"):
        Classified(truth, np.ones((2, width), np.float32), np.zeros((2, width), bool))
