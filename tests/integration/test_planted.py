"""What a model learns where it is known what there is to learn, and what it loses with each part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from _planted import (
    Planted,
    brand_world,
    cluster_targets,
    colour_world,
    kind_world,
    random_world,
    top_shared,
)
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.models.graph.fused import Fused
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import SharedGroups
from kgdistill.tasks import item_groups
from kgdistill.train.student import TrainedStudent, student_scorer
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import TrainedTeacher, fused_items, relational_embeddings, teacher_scorer

CPU = torch.device("cpu")
TEACHER = TeacherConfig(
    dim=12, layers=3, epochs=10, lr=0.01, candidates=30, random=5, batch=20, evaluate_every=10,
    graph_steps=200, graph_batch=64, graph_negatives=32, graph_lr=0.02, fact_weight=10.0, near=0,
)  # fmt: skip
STUDENT = StudentConfig(epochs=15, lr=0.1, candidates=30, random=5, batch=20, evaluate_every=15)
Make = Callable[..., TrainedStudent]


def constant(scorer: Scorer) -> dict[str, float]:
    """Validation that prefers no epoch."""
    return {"constant": 0.0}


def teach(planted: Planted, *, config: TeacherConfig = TEACHER, **more: Any) -> TrainedTeacher:
    given: dict[str, Any] = {"relations": planted.facts(), **more}
    return train_teacher(
        planted.catalogue(), [], config, device=CPU, seed=0, validate=constant, **given
    )  # fmt: skip


def scorer_of(trained: TrainedTeacher, planted: Planted) -> Scorer:
    catalogue = planted.catalogue()
    return teacher_scorer(trained, catalogue, catalogue.view(), CPU)


def fused(trained: TrainedTeacher, planted: Planted) -> Fused:
    catalogue = planted.catalogue()
    return fused_items(trained, catalogue, catalogue.view(), CPU)


def study(
    planted: Planted, targets: Targets | None, config: StudentConfig = STUDENT, **more: Any
) -> TrainedStudent:
    given = None if targets is None else lambda until_us: targets
    return train_student(
        planted.catalogue(), [], planted.tokens, given, config, dim=6, inner_share=0.15, device=CPU, seed=0,
        validate=constant, **more,
    )  # fmt: skip


def pupil_of(trained: TrainedStudent, planted: Planted) -> Scorer:
    catalogue = planted.catalogue()
    return student_scorer(trained, catalogue, planted.tokens, catalogue.view(), CPU)


def cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def brands(folder: Any) -> Planted:
    return brand_world().planted(folder / "brands")


@pytest.fixture(scope="module")
def kinds(folder: Any) -> Planted:
    return kind_world().planted(folder / "kinds")


@pytest.fixture(scope="module")
def noise(folder: Any) -> Planted:
    return random_world(named=False).planted(folder / "noise")


# Facts alone predict ----------------------------------------------------------------------------


def new_found(scorer: Scorer) -> float:
    """The share of the new items of a user's brand that come before the 18 others that are new."""
    new, users = np.arange(80, 100), np.arange(80)
    places = np.argsort(-scorer(users, new), axis=1, kind="stable")[:, :2]
    return float((new[places] % 10 == users[:, None] % 10).mean())


@pytest.fixture(scope="module")
def taught(brands: Planted) -> TrainedTeacher:
    return teach(brands)


def test_the_teachers_z_finds_what_only_facts_tell(brands: Planted, taught: TrainedTeacher) -> None:
    # No typed affinity and no linear expert: what is known of the brands came by messages.
    scorer = scorer_of(taught, brands)
    assert not any(isinstance(term, SharedGroups) for term in scorer.terms.terms)
    assert new_found(scorer) > 0.65


@pytest.mark.parametrize("without", ["facts", "real facts", "graph"])
def test_without_the_facts_nothing_is_found(brands: Planted, without: str) -> None:
    more: dict[str, Any] = {
        "facts": {"relations": []},
        "real facts": {"relations": brands.facts(shuffle=3)},
        "graph": {"use_graph": False},
    }[without]
    assert new_found(scorer_of(teach(brands, **more), brands)) < 0.3


def test_what_is_found_goes_with_z(brands: Planted, taught: TrainedTeacher) -> None:
    scorer, catalogue = scorer_of(taught, brands), brands.catalogue()
    z = relational_embeddings(taught, catalogue, catalogue.view(), CPU)
    assert new_found(dataclasses.replace(scorer, vectors=fused(taught, brands).text)) < 0.3
    assert new_found(dataclasses.replace(scorer, vectors=torch.from_numpy(z))) > 0.65
    shuffled = scorer.vectors[torch.from_numpy(np.random.default_rng(0).permutation(100))]
    assert new_found(dataclasses.replace(scorer, vectors=shuffled)) < 0.3


def test_typed_affinities_find_it_without_messages(brands: Planted) -> None:
    trained = train_teacher(
        brands.catalogue(), brands.facts(), TEACHER, device=CPU, seed=0, validate=constant, relations=[]
    )
    assert new_found(scorer_of(trained, brands)) > 0.9


def test_an_items_vector_is_its_text_and_z_in_the_shares_of_its_gate(
    brands: Planted, taught: TrainedTeacher
) -> None:
    found, view = fused(taught, brands), brands.catalogue().view()
    assert found.relational is not None
    t, z = (v.numpy().astype(np.float64) for v in (found.text, found.relational))
    state = np.stack([np.log1p(view.counts) / 5, view.counts < 3], axis=1)
    gates = taught.fusion.gate
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (gates.weight, gates.bias))
    gate = 1 / (1 + np.exp(-(np.concatenate([t, z, state], axis=1) @ weight.T + bias)))
    np.testing.assert_allclose(
        scorer_of(taught, brands).vectors.numpy(), gate * t + (1 - gate) * z, rtol=1e-3, atol=1e-5
    )


# The gate ---------------------------------------------------------------------------------------


START = 1 / (1 + np.exp(2.0))
"""Where every gate starts: so much text."""


def gates(trained: TrainedTeacher, planted: Planted) -> npt.NDArray[np.float32]:
    """How far each item's vector lies on the way from z to its text."""
    found = fused(trained, planted)
    assert found.relational is not None
    f, t, z = (v.numpy() for v in (found.vectors, found.text, found.relational))
    lies: npt.NDArray[np.float32] = ((f - z) * (t - z)).sum(1) / ((t - z) ** 2).sum(1)
    return lies


GATE = TEACHER.model_copy(update={"epochs": 0, "node_dropout": 0.3, "z_dropout": 0.0})


def test_the_gate_goes_to_the_text_of_isolated_items_where_texts_tell(kinds: Planted) -> None:
    lies = gates(teach(kinds, config=GATE, relations=[]), kinds)
    # Items 90-99 have neither buyers nor, without relations, anything else that reaches them.
    assert lies[90:].mean() > START + 0.2
    assert lies[90:].mean() > lies[:60].mean() + 0.05


def test_the_gate_goes_to_z_of_connected_items_where_facts_tell(brands: Planted) -> None:
    lies = gates(teach(brands, config=GATE), brands)
    assert lies.mean() < 0.9 * START
    # Nobody bought 80-99 yet: they are connected by their brands alone.
    assert lies[80:].mean() < 0.75 * START


# Texts alone predict ----------------------------------------------------------------------------


def kinds_found(scorer: Scorer) -> float:
    """The share of a user's kind among the two that come first of the ten items that nobody bought."""
    isolated, users = np.arange(90, 100), np.arange(80)
    places = np.argsort(-scorer(users, isolated), axis=1, kind="stable")[:, :2]
    return float((isolated[places] % 5 == users[:, None] % 5).mean())


def test_the_text_only_teacher_finds_what_texts_tell_and_not_where_they_are_others(kinds: Planted) -> None:
    found = []
    for catalogue in (kinds.catalogue(), dataclasses.replace(kinds.catalogue(), text=noise_like(kinds.text))):
        trained = train_teacher(
            catalogue, [], TEACHER, device=CPU, seed=0, validate=constant, use_graph=False
        )  # fmt: skip
        found.append(kinds_found(teacher_scorer(trained, catalogue, catalogue.view(), CPU)))
    assert found[0] > 0.9
    assert found[1] < 0.5


def noise_like(text: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(9).normal(size=text.shape).astype(np.float32)


def test_a_student_answers_for_items_without_a_buyer_by_their_words(kinds: Planted) -> None:
    catalogue = kinds.catalogue()
    trained = teach(kinds, relations=[])
    targets = make_targets(scorer_of(trained, kinds), catalogue, top=60, random=10, seed=0)
    # Its words alone: the token table was fitted to the teacher's vectors, and nothing has an id.
    config = STUDENT.model_copy(update={"epochs": 0, "id_min_count": 1000})
    pupil = train_student(
        catalogue, [], kinds.tokens, lambda until_us: targets, config, dim=12, inner_share=0.15, device=CPU,
        seed=0, validate=constant,
    )  # fmt: skip
    assert kinds_found(pupil_of(pupil, kinds)) > 0.8


@pytest.mark.parametrize("whole", [False, True], ids=["by part", "whole"])
def test_one_part_of_listed_attributes_tells_of_new_items_and_whole_texts_do_not(
    whole: bool, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = colour_world().planted(folder / f"colours {whole}")
    if whole:
        monkeypatch.setattr(item_groups, "lists_values", lambda texts: False)
    families, catalogue = planted.fields(), planted.catalogue()
    trained = train_teacher(
        catalogue, families, TEACHER, device=CPU, seed=0, validate=constant, use_graph=False
    )
    pupil = train_student(
        catalogue, families, planted.tokens, None, STUDENT, dim=6, inner_share=0.15, device=CPU, seed=0,
        validate=constant,
    )  # fmt: skip
    found = [kinds_found(scorer_of(trained, planted)), kinds_found(pupil_of(pupil, planted))]
    assert max(found) < 0.4 if whole else min(found) > 0.9


# Lists alone ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lists(noise: Planted) -> Targets:
    """Lists of hidden clusters, with vectors that say nothing of them."""
    catalogue = noise.catalogue()
    targets = cluster_targets(catalogue, catalogue.cut_us, dim=6)
    vectors = 0.1 * np.random.default_rng(4).normal(size=targets.relational.shape)
    return dataclasses.replace(targets, relational=vectors.astype(np.float32))


@pytest.fixture(scope="module")
def undistilled(noise: Planted, lists: Targets) -> float:
    """How much of the teacher's lists a student has on top that was never shown them."""
    return top_shared(pupil_of(study(noise, None), noise), lists)


def test_a_student_carries_the_teachers_lists(noise: Planted, lists: Targets, undistilled: float) -> None:
    carried = top_shared(pupil_of(study(noise, lists), noise), lists)
    assert carried > 0.7
    assert undistilled < 0.4


def test_without_the_list_loss_it_does_not(noise: Planted, lists: Targets) -> None:
    trained = study(noise, lists, STUDENT.model_copy(update={"list_weight": 0.0}))
    assert top_shared(pupil_of(trained, noise), lists) < 0.4


def test_lists_of_other_users_teach_nothing(noise: Planted, lists: Targets) -> None:
    of_another = np.roll(np.arange(len(lists.users)), 1)
    given = dataclasses.replace(lists, items=lists.items[of_another], scores=lists.scores[of_another])
    # But for the cluster that is the largest in most of them.
    assert top_shared(pupil_of(study(noise, given), noise), lists) < 0.55


def test_users_and_lists_belong_together_in_whichever_order_they_come(noise: Planted, lists: Targets) -> None:
    # A user less, and the others in another order: their lists stay theirs.
    order = np.random.default_rng(2).permutation(len(lists.users))
    given = dataclasses.replace(
        lists, users=lists.users[order], items=lists.items[order], scores=lists.scores[order]
    )
    assert top_shared(pupil_of(study(noise, given), noise), lists) > 0.7


def test_the_teachers_own_lists_are_carried_too(brands: Planted, taught: TrainedTeacher) -> None:
    catalogue = brands.catalogue()
    targets = make_targets(scorer_of(taught, brands), catalogue, top=20, random=5, seed=0)
    warm = dataclasses.replace(
        targets, items=targets.items[:, : targets.groups[0]], scores=targets.scores[:, : targets.groups[0]]
    )
    of = partial(
        train_student, catalogue, [], brands.tokens, dim=12, inner_share=0.15, device=CPU, seed=0,
        validate=constant, config=STUDENT.model_copy(update={"lr": 0.05, "neighbours": 0}),
    )  # fmt: skip
    carried, alone = (
        top_shared(pupil_of(of(targets=given), brands), warm) for given in (lambda until_us: targets, None)
    )
    assert carried > alone + 0.2


# The teacher's vectors --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vectors(noise: Planted) -> Targets:
    catalogue = noise.catalogue()
    return cluster_targets(catalogue, catalogue.cut_us, dim=6)


def test_a_student_starts_at_the_teachers_vectors(folder: Any) -> None:
    world = random_world(seed=3)
    named = world.planted(folder / "named")
    catalogue = named.catalogue()
    targets = cluster_targets(catalogue, catalogue.cut_us, dim=6)
    untrained = STUDENT.model_copy(update={"epochs": 0})
    given, none = (pupil_of(study(named, t, untrained), named).vectors.numpy() for t in (targets, None))
    assert cosines(given, targets.relational).mean() > 0.9
    assert abs(cosines(none, targets.relational).mean()) < 0.3
    # The ids are what the texts leave over.
    trained = study(named, targets, untrained)
    known = np.flatnonzero(trained.rows >= 0)
    assert len(known)
    np.testing.assert_allclose(given[known], targets.relational[known], atol=1e-5)
    off = pupil_of(study(named, targets, untrained.model_copy(update={"relational": False})), named)
    assert abs(cosines(off.vectors.numpy(), targets.relational).mean()) < 0.3
    # Texts were fitted to the vectors of their items.
    alone = student_scorer(trained, catalogue, named.tokens, catalogue.view(), CPU, use_ids=False)
    assert cosines(alone.vectors.numpy(), targets.relational).mean() > 0.5


def test_a_student_starts_at_the_teachers_weights(brands: Planted, taught: TrainedTeacher) -> None:
    scorer = scorer_of(taught, brands)
    targets = make_targets(scorer, brands.catalogue(), top=20, random=5, seed=0)
    given = dataclasses.replace(targets, relational=targets.relational[:, :6])
    of = partial(study, brands, config=STUDENT.model_copy(update={"epochs": 0}))
    theirs, mine = scorer.model.head, of(given).model.head
    # The vectors' affinity and two counts: popularity, and how recent it is.
    places = [
        [0, *(at + 1 for at, unit in enumerate(head.units) if unit == "count")] for head in (mine, theirs)
    ]
    assert len(places[0]) == len(places[1]) == 3
    np.testing.assert_allclose(mine.weights[places[0]], theirs.weights[places[1]], atol=1e-6)
    assert mine.log_decay == pytest.approx(theirs.log_decay)
    own = of(dataclasses.replace(given, head=None)).model.head
    assert np.abs(own.weights[places[0]] - theirs.weights[places[1]]).max() > 0.01


def test_tables_that_start_at_random_learn_at_the_full_rate(noise: Planted, lists: Targets) -> None:
    def moved(relational: bool) -> float:
        settings = STUDENT.model_copy(update={"relational": relational})
        start, end = (
            study(noise, lists, settings.model_copy(update={"epochs": epochs})).model.ids.weight.detach()
            for epochs in (0, 1)
        )
        return float((end - start).abs().max())

    assert moved(relational=False) > 4 * moved(relational=True) > 0
