"""What training leaves on disk comes back the same, and nothing of it is pickled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from _shop import Shop
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.errors import ArtefactError
from kgdistill.models.blend import Head
from kgdistill.run import artefacts
from kgdistill.tasks.item_groups import ItemGroups, beside_facts
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.student import TrainedStudent, student_scorer
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import TrainedTeacher, teacher_scorer

CPU = torch.device("cpu")
USERS, ITEMS = np.arange(60), np.arange(80)


def teach(shop: Shop, *, use_graph: bool = True) -> TrainedTeacher:
    return train_teacher(
        shop.catalogue(), beside(shop),
        TeacherConfig(dim=5, layers=2, epochs=1, candidates=10, graph_steps=20),
        device=CPU, seed=0, validate=lambda scorer: {"x": 0.0}, use_graph=use_graph,
        relations=shop.facts(), linear=LinearChoice(reg=20.0, side_weight=3.0, decay=0.15, walk=2),
    )  # fmt: skip


def beside(shop: Shop) -> list[ItemGroups]:
    """Typed affinities that are others than the relations."""
    return beside_facts(shop.facts(), shop.fields()[:1])


def study(shop: Shop, *, taught: bool = False) -> TrainedStudent:
    catalogue = shop.catalogue()
    targets = None
    if taught:
        scorer = teacher_scorer(teach(shop), catalogue, catalogue.view(), CPU)
        targets = make_targets(scorer, catalogue, top=7, random=3, seed=0)
    return train_student(
        catalogue, shop.fields(), shop.tokens, None if targets is None else lambda until: targets,
        StudentConfig(epochs=1, candidates=10), dim=5, inner_share=0.15, device=CPU, seed=0,
        validate=lambda scorer: {"x": 0.0},
        linear=LinearChoice(reg=20.0, side_weight=3.0, decay=0.15, walk=2),
        sides=sides_of(catalogue, shop.facts()),
    )  # fmt: skip


@pytest.mark.parametrize("use_graph", [True, False])
def test_a_teacher_that_was_loaded_scores_as_the_one_that_was_saved(
    use_graph: bool, shop: Shop, tmp_path: Path
) -> None:
    trained, catalogue = teach(shop, use_graph=use_graph), shop.catalogue()
    artefacts.save_teacher(tmp_path, trained)
    loaded = artefacts.load_teacher(tmp_path, beside(shop), shop.facts())
    view = catalogue.view()
    want, got = (teacher_scorer(t, catalogue, view, CPU)(USERS, ITEMS) for t in (trained, loaded))
    np.testing.assert_array_equal(got, want)
    assert loaded.seconds == trained.seconds
    assert loaded.linear == trained.linear
    assert loaded.linear is not None
    assert loaded.config == trained.config
    assert (loaded.fusion.encoder is None) is not use_graph
    assert [f.name for f in loaded.relations] == [f.name for f in trained.relations]
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert history == trained.history
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json", ".jsonl"}


@pytest.mark.parametrize("taught", [False, True])
def test_a_student_that_was_loaded_scores_as_the_one_that_was_saved(
    taught: bool, shop: Shop, tmp_path: Path
) -> None:
    trained, catalogue = study(shop, taught=taught), shop.catalogue()
    assert len(trained.neighbours) == 2
    artefacts.save_student(tmp_path, trained)
    loaded = artefacts.load_student(tmp_path, shop.fields())
    view = catalogue.view()
    want, got = (
        student_scorer(t, catalogue, shop.tokens, view, CPU)(USERS, ITEMS) for t in (trained, loaded)
    )
    np.testing.assert_array_equal(got, want)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json", ".jsonl"}


def test_targets_come_back_as_they_were(shop: Shop, tmp_path: Path) -> None:
    catalogue = shop.catalogue()
    scorer = teacher_scorer(teach(shop), catalogue, catalogue.view(), CPU)
    targets = make_targets(scorer, catalogue, top=7, random=3, seed=0)
    artefacts.save_targets(tmp_path, targets)
    loaded = artefacts.load_targets(tmp_path)
    assert loaded.groups == targets.groups
    for name in ("users", "items", "scores", "relational"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(targets, name))
        assert getattr(loaded, name).dtype == getattr(targets, name).dtype
    assert loaded.head is not None
    assert targets.head is not None
    np.testing.assert_array_equal(loaded.head.weights, targets.head.weights)
    assert loaded.head.weights.dtype == np.float32
    assert (loaded.head.units, loaded.head.log_decay) == (targets.head.units, targets.head.log_decay)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_targets_of_another_version_are_refused_in_words(tmp_path: Path) -> None:
    rows = np.zeros((1, 1))
    targets = Targets(rows[0].astype(int), rows.astype(int), rows, (1,), rows, Head(("score",), rows, 0.0))
    artefacts.save_targets(tmp_path, targets)
    (tmp_path / "config.json").write_text('{"groups": [1]}')
    with pytest.raises(ArtefactError, match="written by another version"):
        artefacts.load_targets(tmp_path)


def test_texts_come_back_as_they_were(shop: Shop, tmp_path: Path) -> None:
    artefacts.save_text(tmp_path, shop.text, shop.rows, shop.tokens, "an encoder")
    text, rows, tokens = artefacts.load_text(tmp_path)
    np.testing.assert_array_equal(text, shop.text)
    np.testing.assert_array_equal(rows, shop.rows)
    np.testing.assert_array_equal(tokens.ids, shop.tokens.ids)
    np.testing.assert_array_equal(tokens.offsets, shop.tokens.offsets)
    assert tokens.vocabulary == shop.tokens.vocabulary
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_texts_of_what_facts_lead_to_come_back_as_they_were(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    given = {
        label: (draw.normal(size=(3, 4)).astype(np.float32), draw.integers(0, 3, n))
        for label, n in (("Brand", 5), ("A.rows", 2))
    }
    artefacts.save_group_texts(tmp_path, given)
    read = artefacts.load_group_texts(tmp_path)
    assert list(read) == sorted(given)
    for label, arrays in given.items():
        for mine, yours in zip(read[label], arrays, strict=True):
            np.testing.assert_array_equal(mine, yours)
            assert mine.dtype == yours.dtype
    artefacts.save_group_texts(tmp_path, {})
    assert artefacts.load_group_texts(tmp_path) == {}


def test_an_unfinished_damaged_or_foreign_artefact_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not there yet"):
        artefacts.load_targets(tmp_path)
    artefacts.save_teacher(tmp_path, teach(shop))
    with pytest.raises(ArtefactError, match="another snapshot"):
        artefacts.load_teacher(tmp_path, beside(shop)[:-1], shop.facts())
    with pytest.raises(ArtefactError, match="another snapshot"):
        artefacts.load_teacher(tmp_path, beside(shop), shop.facts()[:-1])
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match=r"model\.safetensors: cannot be read"):
        artefacts.load_teacher(tmp_path, beside(shop), shop.facts())
    weights.unlink()
    with pytest.raises(ArtefactError, match=r"model\.safetensors: is not there yet"):
        artefacts.load_teacher(tmp_path, beside(shop), shop.facts())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"config\.json: cannot be read"):
        artefacts.load_teacher(tmp_path, beside(shop), shop.facts())
