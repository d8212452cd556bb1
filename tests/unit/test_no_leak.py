"""No label and nothing from after the cut reaches a model in training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch
from _shop import BOUGHT, CUT, Shop
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.errors import ArtefactError, LeakError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.graph.fused import FusedItems
from kgdistill.models.graph.messages import CANDIDATE, INTERACTED
from kgdistill.models.scorer import Scorer
from kgdistill.snapshot import check_disjoint, open_snapshot
from kgdistill.snapshot.snapshot import edge_file
from kgdistill.tasks.training_data import TrainingData, make_training_data
from kgdistill.train import student as student_module
from kgdistill.train import teacher as teacher_module
from kgdistill.train.choose import LinearChoice, choose_linear, item_weights, sides_of
from kgdistill.train.fusion import FusionGraph, fit_fusion
from kgdistill.train.lists import labelled
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")
SHARE = 0.2
SMALL: dict[str, Any] = {"dim": 4, "layers": 2, "graph_steps": 8, "candidates": 10, "inner_share": SHARE}


def edges(matrix: sp.csr_matrix | torch.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(row, column) of what is stored, int64 [2, E]."""
    if isinstance(matrix, torch.Tensor):
        return np.stack([end.numpy() for end in matrix.to_dense().nonzero(as_tuple=True)])
    return np.stack(matrix.nonzero()).astype(np.int64)


def ends(graph: FusionGraph) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(anchor, candidate) of the messages to the candidates, and (candidate, anchor) of those back."""
    relations = graph.messages.messages().relations
    back = CANDIDATE, f"rev_{INTERACTED[1]}", INTERACTED[0]
    return edges(relations[INTERACTED].matrix)[::-1], edges(relations[back].matrix)[::-1]


def test_no_label_edge_of_teacher_training_nor_its_reverse_carries_a_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = shop.catalogue()
    graphs: list[FusionGraph] = []
    fusions: list[FusedItems] = []
    scorers: list[Scorer] = []
    supervised: list[Any] = []
    known_to_linear: list[Any] = []

    # The real functions run; what passes through them is written down.
    def fusion(catalogue: Any, graph: FusionGraph, *more: Any, **named: Any) -> FusedItems:
        graphs.append(graph)
        fusions.append(fit_fusion(catalogue, graph, *more, **named))
        return fusions[-1]

    def scorer(*given: Any) -> Scorer:
        scorers.append(Scorer(*given))
        return scorers[-1]

    def lists(users: Any, items: Any, labels: Any, terms: Any) -> Any:
        supervised.append((terms.view.purchases, labels))
        return labelled(users, items, labels, terms)

    def linear(view: Any, sides: Any, choice: Any, **more: Any) -> Any:
        known_to_linear.append((view.purchases, sides))
        return item_weights(view, sides, choice, **more)

    monkeypatch.setattr(teacher_module, "fit_fusion", fusion)
    monkeypatch.setattr(teacher_module, "Scorer", scorer)
    monkeypatch.setattr(teacher_module, "item_weights", linear)
    monkeypatch.setattr(teacher_module, "labelled", lists)
    trained = train_teacher(
        catalogue, shop.facts(), TeacherConfig(**SMALL, epochs=1),
        device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0}, linear=LinearChoice(),
    )  # fmt: skip
    late = catalogue.times.copy()
    late.data = (late.data >= catalogue.inner_cut(SHARE)).astype(np.int64)
    late.eliminate_zeros()
    assert SHARE - 0.05 < late.nnz / catalogue.times.nnz < SHARE + 0.05
    assert supervised
    for _, labels in supervised:
        assert (late.astype(bool) != labels.astype(bool)).nnz == 0
    # The first graph is of what lies before the labels; the second serves afterwards and holds everything.
    (before, whole), items, labels = graphs, catalogue.purchases.shape[1], edges(late)
    forth, back = ends(before)
    assert forth.shape[1] == back.shape[1] == catalogue.times.nnz - late.nnz
    check_disjoint(forth, labels, items, reverse=back)
    # What the blend learns from are the first ones' vectors, histories and terms, ...
    blend, judged = scorers[0], scorers[-1]
    assert torch.equal(blend.vectors, before.fused(fusions[0]).vectors)
    check_disjoint(edges(blend.view.purchases), labels, items)
    for known, _ in supervised:
        check_disjoint(edges(known), labels, items)
    # ... and what it is judged with afterwards the second ones'.
    assert torch.equal(judged.vectors, whole.fused(fusions[1]).vectors)
    assert trained.fusion is fusions[1]
    # The linear expert of training knows the same events, and of the items their facts alone.
    check_disjoint(edges(known_to_linear[0][0]), labels, items)
    assert known_to_linear[0][0].nnz == forth.shape[1]
    for side, fact in zip(known_to_linear[0][1], sides_of(catalogue, shop.facts()), strict=True):
        assert (side != fact).nnz == 0
    with pytest.raises(LeakError):
        check_disjoint(edges(known_to_linear[-1][0]), labels, items)
    with pytest.raises(LeakError):
        check_disjoint(ends(whole)[0], labels, items)
    with pytest.raises(LeakError):
        check_disjoint(forth, labels, items, reverse=ends(whole)[1])


def test_a_view_past_the_cut_is_refused(shop: Shop) -> None:
    catalogue = shop.catalogue()
    assert catalogue.view(catalogue.cut_us).purchases.nnz == catalogue.purchases.nnz
    with pytest.raises(LeakError, match="past the cut"):
        catalogue.view(catalogue.cut_us + 1)


def test_training_runs_to_its_end_while_the_test_split_stays_closed(shop: Shop) -> None:
    task = shop.task()
    catalogue = make_training_data(shop.snapshot, task, shop.text, shop.rows)

    def validate(scorer: Scorer) -> dict[str, float]:
        result = evaluate_arm(
            scorer, task, arm="v", title="v", split="validation", settings=["warm"], progress=False
        )
        return {"warm": result.mean("warm")}

    choice = choose_linear(catalogue, sides_of(catalogue, shop.facts()), task.validation)
    teacher = train_teacher(
        catalogue, shop.facts(), TeacherConfig(**SMALL, epochs=1, random=2),
        device=CPU, seed=0, validate=validate, linear=choice,
    )  # fmt: skip
    scorer = teacher_scorer(teacher, catalogue, catalogue.view(), CPU)
    targets = make_targets(scorer, catalogue, top=10, random=2, seed=0)
    train_student(
        catalogue, shop.fields(), shop.tokens, lambda until_us: targets,
        StudentConfig(epochs=1, candidates=10, random=2), dim=4, inner_share=SHARE, device=CPU, seed=0,
        validate=validate,
    )  # fmt: skip
    with pytest.raises(LeakError, match="closed"):
        task.positives("test")
    with pytest.raises(LeakError, match="closed"):
        evaluate_arm(scorer, task, arm="v", title="v", split="test", progress=False)


def test_a_model_is_the_same_whatever_happens_after_the_cut(shop: Shop) -> None:
    keep = np.random.default_rng(0).random(shop.later.num_rows) < 0.5
    others = dataclasses.replace(shop, later=shop.later.filter(pa.array(keep)))
    weights = []
    for one in (shop, others):
        teacher = train_teacher(
            one.catalogue(), one.facts(), TeacherConfig(**SMALL, epochs=1, random=2),
            device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0}, linear=LinearChoice(),
        )  # fmt: skip
        weights.append(teacher_scorer(teacher, one.catalogue(), one.catalogue().view(), CPU).vectors)
    assert torch.equal(weights[0], weights[1])


def refitting(catalogue: TrainingData, select_us: int, keep_later: float = 1.0) -> TrainingData:
    """The catalogue of a protocol that fits again, with a share of the events from `select_us` on."""
    draw = np.random.default_rng(5)
    kept = (catalogue.times.data < select_us) | (draw.random(catalogue.times.nnz) < keep_later)
    times = catalogue.times.copy()
    times.data[~kept] = 0
    times.eliminate_zeros()
    bought = times.astype(np.float32)
    bought.data[:] = 1.0
    return dataclasses.replace(catalogue, times=times, purchases=bought, select_us=select_us)


def between(catalogue: TrainingData, start_us: int, end_us: int) -> sp.csr_matrix:
    """Which pairs were first bought then, 1 each."""
    times = catalogue.times.copy()
    times.data = ((times.data >= start_us) & (times.data < end_us)).astype(np.float32)
    times.eliminate_zeros()
    return times


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_a_refit_learns_from_the_validation_window_and_choosing_sees_nothing_of_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    select_us = shop.catalogue().inner_cut(0.25)
    drawn: list[tuple[Any, Any]] = []
    judged: list[Scorer] = []
    asked: list[int] = []

    def lists(users: Any, items: Any, labels: Any, terms: Any) -> Any:
        drawn.append((terms.view.purchases, labels))
        return labelled(users, items, labels, terms)

    monkeypatch.setattr(teacher_module, "labelled", lists)
    monkeypatch.setattr(student_module, "labelled", lists)

    # The first of three epochs is the best, so that the refit has one.
    def validate(scorer: Scorer) -> dict[str, float]:
        judged.append(scorer)
        return {"falls": -float(len(judged))}

    def fit(catalogue: TrainingData, epochs: int = 3) -> Any:
        drawn.clear()
        judged.clear()
        asked.clear()
        more: dict[str, Any] = {"device": CPU, "seed": 0, "validate": validate}
        if who == "teacher":
            config = TeacherConfig(**SMALL, epochs=epochs, evaluate_every=1, random=2)
            return train_teacher(catalogue, shop.facts(), config, linear=LinearChoice(), **more)

        def targets(until_us: int) -> Targets:
            asked.append(until_us)
            users, items = catalogue.users, np.tile(np.arange(12), (len(catalogue.users), 1))
            scores = np.random.default_rng(0).normal(size=items.shape).astype(np.float32)
            vectors = np.random.default_rng(1).normal(size=(80, 4)).astype(np.float32)
            return Targets(users, items, scores, (12,), vectors)

        small = StudentConfig(epochs=epochs, evaluate_every=1, candidates=10, random=2)
        return train_student(
            catalogue, shop.fields(), shop.tokens, targets, small, dim=4, inner_share=SHARE, **more
        )

    catalogue = refitting(shop.catalogue(), select_us)
    final = fit(catalogue)
    # Chosen on what was there before the validation window, ...
    inner_us = catalogue.inner_cut(SHARE, select_us)
    assert inner_us < select_us
    chosen_with = [(known, labels) for known, labels in drawn if known.nnz < drawn[-1][0].nnz]
    refitted_with = [(known, labels) for known, labels in drawn if known.nnz == drawn[-1][0].nnz]
    assert chosen_with
    assert refitted_with
    for known, labels in chosen_with:
        assert (known != between(catalogue, 0, inner_us)).nnz == 0
        assert (labels != between(catalogue, inner_us, select_us)).nnz == 0
    assert len(judged) == 3
    for scorer in judged:
        assert (scorer.view.purchases != between(catalogue, 0, select_us)).nnz == 0
    # ... and fitted again with the window as labels, of which there are no others.
    for known, labels in refitted_with:
        assert (known != between(catalogue, 0, select_us)).nnz == 0
        assert (labels != between(catalogue, select_us, catalogue.cut_us)).nnz == 0
    assert asked == ([select_us, catalogue.cut_us] if who == "student" else [])
    assert [record["epoch"] for record in final.history] == [0, 1, 2, 3]
    assert final.best_epoch == 1

    vectors = [scorer.vectors.clone() for scorer in judged]
    other = fit(refitting(shop.catalogue(), select_us, keep_later=0.5))
    for before, scorer in zip(vectors, judged, strict=True):
        assert torch.equal(before, scorer.vectors)
    for mine, yours in zip(final.history, other.history, strict=True):
        assert {k: v for k, v in mine.items() if k != "seconds"} == {
            k: v for k, v in yours.items() if k != "seconds"
        }
    # The refit runs as many epochs as were best, not as many as were tried.
    once = fit(catalogue, epochs=1).model.state_dict()
    assert all(torch.equal(tensor, once[name]) for name, tensor in final.model.state_dict().items())
    # What the window held does matter to the final model.
    assert any(
        not torch.equal(a, b)
        for a, b in zip(final.model.parameters(), other.model.parameters(), strict=True)
        if a.shape == b.shape
    )


def test_an_event_planted_at_the_cut_stops_training_before_it_begins(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    shutil.copytree(shop.snapshot.folder, folder)
    # Opening verifies every file, so that the event can only come in afterwards.
    snapshot = open_snapshot(folder)
    file = folder / edge_file(BOUGHT)
    table = pq.read_table(file, partitioning=None)
    times = table["first_at"].to_pylist()
    times[7] = CUT
    column = table.column_names.index("first_at")
    pq.write_table(
        table.set_column(column, table.schema.field(column), pa.array(times, table["first_at"].type)), file
    )
    with pytest.raises(LeakError, match="at or after the cut"):
        make_training_data(snapshot, shop.task(), shop.text, shop.rows)
    with pytest.raises(ArtefactError, match="altered"):
        open_snapshot(folder)
