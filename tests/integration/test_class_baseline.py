"""The logistic regression beside a run of classes is what a count and a minimum by brute force give."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _classes import CONFIG, kind_spec, make_classes, spec, users, utterances
from scipy.optimize import minimize

from kgdistill.arrays import BoolArray, DoubleArray, IntArray
from kgdistill.errors import LeakError
from kgdistill.ranking.calibration import Calibration
from kgdistill.ranking.logistic import fit_logistic
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.train.class_baseline import STRENGTHS, fit_class_baseline, subject_features, what_is_read

MOOD = {"mood": {"property": "mood"}}
BOTH = {"label": "User", "by": ["history", "facts"], "history": "BOUGHT"}


def grams(text: str) -> list[str]:
    words = text.split()
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


def tfidf(texts: list[str], learned: IntArray) -> DoubleArray:
    """By the book: words and pairs that two of the learned texts hold, of unit length."""
    held = Counter(g for i in learned for g in set(grams(texts[i])))
    names = [g for g in held if held[g] > 1]
    out = np.zeros((len(texts), len(names)))
    for row, text in enumerate(texts):
        counts = Counter(grams(text))
        for column, name in enumerate(names):
            if counts[name]:
                idf = np.log((1 + len(learned)) / (1 + held[name])) + 1
                out[row, column] = (1 + np.log(counts[name])) * idf
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def softmax_minimum(x: DoubleArray, truth: BoolArray, strength: float) -> tuple[DoubleArray, DoubleArray]:
    """Weights and biases of the least C · cross-entropy + half the squared weights."""
    shape = (x.shape[1] + 1, truth.shape[1])

    def loss(flat: DoubleArray) -> tuple[float, DoubleArray]:
        w = flat.reshape(shape)
        z = x @ w[:-1] + w[-1]
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        slope = strength * (p - truth)
        gradient = np.concatenate([x.T @ slope + w[:-1], slope.sum(axis=0, keepdims=True)])
        return strength * -np.log(p[truth]).sum() + (w[:-1] ** 2).sum() / 2, gradient.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 5000})
    w = found.x.reshape(shape)
    return w[:-1], w[-1]


def f1(truth: BoolArray, told: IntArray) -> float:
    """Macro-F1 by counting."""
    reached = []
    for c in range(truth.shape[1]):
        both = truth[:, c].sum() + (told == c).sum()
        if both:
            reached.append(2 * (truth[:, c] & (told == c)).sum() / both)
    return float(np.mean(reached))


def centred(logits: Any) -> DoubleArray:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True), np.float64)


@pytest.mark.parametrize("refit", [True, False])
def test_it_is_a_penalised_minimum_over_tfidf_that_validation_chose(refit: bool, tmp_path: Path) -> None:
    """Half of the labels are by chance, so that every strength says something else."""
    draw, tables = np.random.default_rng(3), utterances(300)
    for row in tables["Utterance", "HAS_INTENT", "Intent"]:
        if draw.random() < 0.5:
            row["target"] = ["hours", "parcel", "refund"][draw.integers(3)]
    task = make_classes(
        tables, tmp_path / "s", spec(targets={"intent": {"relationship": "HAS_INTENT", "by": []}})
    )
    made = fit_class_baseline(task, CONFIG.model_copy(update={"refit": refit}), seed=0)

    def by_hand(fold: ClassifyTask, strength: float) -> DoubleArray:
        assert fold.texts is not None
        rows = fold.subjects("train")
        x = tfidf(list(fold.texts), rows)
        w, bias = softmax_minimum(x[rows], fold.truth("intent", "train"), strength)
        return x @ w + bias

    valid, right = task.subjects("validation"), task.truth("intent", "validation")
    reached = [f1(right, by_hand(task, c)[valid].argmax(axis=1)) for c in STRENGTHS]
    assert len(set(reached)) > 2
    assert np.argmax(reached) not in (0, len(STRENGTHS) - 1)
    assert made.strengths == {"intent": STRENGTHS[int(np.argmax(reached))]}
    wanted = by_hand(task.on_everything() if refit else task, made.strengths["intent"])
    np.testing.assert_allclose(centred(made.logits["intent"]), centred(wanted), atol=0.02)
    other = by_hand(task if refit else task.on_everything(), made.strengths["intent"])
    assert np.abs(centred(made.logits["intent"]) - centred(other)).max() > 0.2
    assert made.parameters == 3 * (subject_features(task.on_everything() if refit else task).shape[1] + 1)


def test_of_several_classes_each_is_told_by_itself(tmp_path: Path) -> None:
    draw, tables = np.random.default_rng(1), utterances(90)
    tables["Utterance", "HAS_INTENT", "Intent"] += [
        {"source": f"t{i:04}", "target": "refund", "part": "train"}
        for i in range(90)
        if i % 3 and draw.random() < 0.5
    ]
    declared = spec(targets={"intent": {"relationship": "HAS_INTENT", "several": True, "by": []}})
    task = make_classes(tables, tmp_path / "s", declared)
    made = fit_class_baseline(task, CONFIG.model_copy(update={"refit": False}), seed=0)
    rows, truth = task.subjects("train"), task.truth("intent", "train")
    assert task.texts is not None
    x = tfidf(list(task.texts), rows)
    for c in range(3):
        w, bias = fit_logistic(x[rows], truth[:, c].astype(float), ridge=1 / made.strengths["intent"])
        np.testing.assert_allclose(made.logits["intent"][:, c], x @ w + bias, atol=0.02)
    assert made.calibration["intent"].threshold == 0.5


def test_counts_are_logarithms_of_how_much_a_history_holds_of_each_group(tmp_path: Path) -> None:
    task = make_classes(users(), tmp_path / "a", kind_spec(subjects=BOTH))
    assert what_is_read(task) == "log counts"
    learned, bought = task.subjects("train"), task.neighbours[0].members.toarray()
    brands = np.stack([bought[:, b::6].sum(axis=1) for b in range(6)], axis=1)
    table = np.log1p(np.concatenate([bought.sum(axis=1, keepdims=True), brands], axis=1))
    spread = table[learned].std(axis=0)
    told = spread > 1e-6
    wanted = np.where(told, table / np.where(told, spread, 1), 0) / np.sqrt(told.sum())
    np.testing.assert_allclose(subject_features(task).toarray(), wanted, rtol=1e-4, atol=1e-6)
    # Without facts each product counts by itself.
    alone = make_classes(users(), tmp_path / "b", kind_spec())
    assert subject_features(alone).shape == (150, 1 + 60)
    made = fit_class_baseline(task, CONFIG, seed=0)
    task.open_test()
    right, told_kind = task.truth("kind", "test").argmax(1), made.logits["kind"].argmax(1)
    assert (right == told_kind[task.subjects("test")]).mean() > 0.9


def test_words_and_what_stands_beside_are_read_side_by_side(tmp_path: Path) -> None:
    both = spec(subjects={"label": "Utterance", "by": ["text", "facts"]})
    task = make_classes(utterances(), tmp_path / "a", both)
    assert what_is_read(task) == "words and log counts"
    words = subject_features(make_classes(utterances(), tmp_path / "b", spec()))
    assert subject_features(task).shape[1] == words.shape[1] + 1 + 4  # channels


def test_what_is_written_on_classes_teaches_it_as_it_teaches_a_teacher(tmp_path: Path) -> None:
    """Their names stand in texts of every class alike, and alone in the test."""
    tables = utterances(120)
    for i, row in enumerate(tables["Utterance"]):
        tested = row["split"] == "test"
        row["text"] = ["refund", "parcel", "hours"][i % 3] if tested else f"{row['text']} refund parcel hours"

    def right(folder: Path, **target: Any) -> float:
        targets = {"intent": {"relationship": "HAS_INTENT", **target}}
        task = make_classes(tables, folder, spec(targets=targets))
        said = fit_class_baseline(task, CONFIG, seed=0).logits["intent"].argmax(axis=1)
        task.open_test()
        return float((said[task.subjects("test")] == task.truth("intent", "test").argmax(axis=1)).mean())

    assert right(tmp_path / "a") == 1.0
    assert right(tmp_path / "b", by=[]) < 0.7


@pytest.mark.parametrize("what", ["labels", "texts"])
def test_nothing_of_the_test_is_seen(what: str, tmp_path: Path) -> None:
    """Other labels, and other texts, of the test change nothing of what is said of all others."""

    def made(changed: bool) -> tuple[ClassifyTask, Any]:
        tables = utterances(120)
        tested = {row["utterance_id"] for row in tables["Utterance"] if row["split"] == "test"}
        if changed and what == "texts":
            for row in tables["Utterance"]:
                row["text"] = "where truck clock clock" if row["utterance_id"] in tested else row["text"]
        if changed and what == "labels":
            for row in tables["Utterance", "HAS_INTENT", "Intent"]:
                row["target"] = "hours" if row["source"] in tested else row["target"]
        targets = {**MOOD, "intent": {"relationship": "HAS_INTENT"}}
        task = make_classes(tables, tmp_path / str(changed), spec(targets=targets))
        found = fit_class_baseline(task, CONFIG, seed=0)
        with pytest.raises(LeakError):
            task.truth("intent", "test")
        return task, found

    (task, one), (_, other) = made(False), made(True)
    rows = task.subjects("test") if what == "texts" else np.zeros(0, np.int64)
    others = np.setdiff1d(np.arange(len(task)), rows)
    for name in ("intent", "mood"):
        np.testing.assert_array_equal(one.logits[name][others], other.logits[name][others])
    assert (one.calibration, one.strengths) == (other.calibration, other.strengths)


def test_what_is_out_of_scope_is_no_class_and_a_class_that_nobody_has_is_never_told(tmp_path: Path) -> None:
    tables = utterances(240)
    for i, row in enumerate(tables["Utterance", "HAS_INTENT", "Intent"]):
        if i % 3 == 2:
            row["target"] = "refund"
        elif i % 3 == 1 and tables["Utterance"][i]["split"] != "test":
            row["target"] = "parcel"
        elif i % 3 == 1:
            row["target"] = "hours"  # in the test alone
    targets = {"intent": {"relationship": "HAS_INTENT", "none_of_them": "refund", "by": []}}
    for row in tables["Utterance", "HAS_INTENT", "Intent"][::3]:
        row["target"] = "other"
    tables["Intent"].append({"intent_id": "other"})
    task = make_classes(tables, tmp_path / "s", spec(targets=targets))
    assert task.class_names["intent"] == ("hours", "other", "parcel")
    made = fit_class_baseline(task, CONFIG, seed=0)
    logits = made.logits["intent"]
    assert (logits[:, 0] < logits[:, 1:].min(axis=1) - 10).all()
    # "clock" marks what is out of scope: nothing was learned of it, and the threshold leaves it out.
    known = made.calibration["intent"]
    assert isinstance(known, Calibration)
    assert known.familiar is not None
    _, chosen = known.told(logits, made.near["intent"], several=False)
    strange = [i for i in task.subjects("train") if i % 3 == 2]
    others = [i for i in task.subjects("train") if i % 3 != 2]
    assert not chosen[strange].any(axis=1).mean() > 0.2
    assert chosen[others].any(axis=1).mean() > 0.8
    gap = np.abs(logits[:, 1] - logits[:, 2])
    assert gap[strange].mean() < 0.2 * gap[others].mean()


def test_where_no_word_stands_in_two_texts_it_knows_how_common_each_class_is(tmp_path: Path) -> None:
    task = make_classes(utterances(), tmp_path / "s", spec(targets=MOOD))
    assert task.texts is not None
    task.texts = [f"only{i}" for i in range(len(task))]
    made = fit_class_baseline(task, CONFIG, seed=0)
    shares = task.on_everything().truth("mood", "train").mean(axis=0)
    assert (made.logits["mood"] == made.logits["mood"][0]).all()
    assert made.logits["mood"][0].argmax() == shares.argmax()
