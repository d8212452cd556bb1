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

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.distill import teacher as teacher_module
from kgdistill.distill.catalogue import make_catalogue
from kgdistill.distill.scoring import Scorer
from kgdistill.distill.student import make_targets, train_student
from kgdistill.distill.teacher import labelled_lists, teacher_scorer, train_teacher
from kgdistill.distill.view import message_adjacency
from kgdistill.errors import ArtefactError, LeakError
from kgdistill.evaluate.ranking import evaluate_arm
from kgdistill.snapshot import check_disjoint, open_snapshot
from kgdistill.snapshot._snapshot import edge_file

CPU = torch.device("cpu")
SHARE = 0.2


def edges(matrix: sp.csr_matrix | torch.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(row, column) of what is stored, int64 [2, E]."""
    if isinstance(matrix, torch.Tensor):
        return matrix.to_sparse_coo().coalesce().indices().numpy()
    return np.stack(matrix.nonzero()).astype(np.int64)


def test_no_label_edge_of_teacher_training_nor_its_reverse_carries_a_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, messages, supervised = shop.catalogue(), [], []

    # The real functions run; what passes through them is written down.
    def adjacency(*args: Any) -> Any:
        messages.append(message_adjacency(*args))
        return messages[-1]

    def lists(scorer: Any, view: Any, labels: Any, *args: Any, **more: Any) -> Any:
        supervised.append(labels)
        return labelled_lists(scorer, view, labels, *args, **more)

    monkeypatch.setattr(teacher_module, "message_adjacency", adjacency)
    monkeypatch.setattr(teacher_module, "labelled_lists", lists)
    train_teacher(
        catalogue, shop.facts(), TeacherConfig(dim=4, layers=2, epochs=1, inner_share=SHARE, candidates=10),
        device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
    )  # fmt: skip
    late = catalogue.times.copy()
    late.data = (late.data >= catalogue.inner_cut(SHARE)).astype(np.int64)
    late.eliminate_zeros()
    assert SHARE - 0.05 < late.nnz / catalogue.times.nnz < SHARE + 0.05
    for labels in supervised:
        assert (late.astype(bool) != labels.astype(bool)).nnz == 0
    # The first graph is the one that is trained on; the later ones serve validation and hold everything.
    trained, whole = messages[0], messages[-1]
    items, labels = catalogue.purchases.shape[1], edges(late)
    known = edges(trained["User", "BOUGHT", "Product"])[::-1]
    back = edges(trained["Product", "rev_BOUGHT", "User"])[::-1]
    assert known.shape[1] == back.shape[1] == catalogue.times.nnz - late.nnz
    check_disjoint(known, labels, items, reverse=back)
    with pytest.raises(LeakError):
        check_disjoint(edges(whole["User", "BOUGHT", "Product"])[::-1], labels, items)
    with pytest.raises(LeakError):
        check_disjoint(known, labels, items, reverse=edges(whole["Product", "rev_BOUGHT", "User"])[::-1])


def test_a_view_past_the_cut_is_refused(shop: Shop) -> None:
    catalogue = shop.catalogue()
    assert catalogue.view(catalogue.cut_us).purchases.nnz == catalogue.purchases.nnz
    with pytest.raises(LeakError, match="past the cut"):
        catalogue.view(catalogue.cut_us + 1)


def test_training_runs_to_its_end_while_the_test_split_stays_closed(shop: Shop) -> None:
    task = shop.task()
    catalogue = make_catalogue(shop.snapshot, task, shop.text, shop.rows)

    def validate(scorer: Scorer) -> dict[str, float]:
        result = evaluate_arm(
            scorer, task, arm="v", title="v", split="validation", settings=["warm"], progress=False
        )
        return {"warm": result.mean("warm")}

    teacher = train_teacher(
        catalogue, shop.facts(), TeacherConfig(dim=4, layers=2, epochs=1, candidates=10, random=2),
        device=CPU, seed=0, validate=validate,
    )  # fmt: skip
    scorer = teacher_scorer(teacher, catalogue, catalogue.view(), CPU)
    targets = make_targets(scorer, catalogue, top=10, random=2, seed=0)
    train_student(
        catalogue, shop.fields(), shop.tokens, targets,
        StudentConfig(epochs=1, candidates=10, random=2), dim=4, inner_share=SHARE, device=CPU, seed=0,
        validate=validate,
    )  # fmt: skip
    with pytest.raises(LeakError, match="closed"):
        task.relevant("test")
    with pytest.raises(LeakError, match="closed"):
        evaluate_arm(scorer, task, arm="v", title="v", split="test", progress=False)


def test_a_model_is_the_same_whatever_happens_after_the_cut(shop: Shop) -> None:
    keep = np.random.default_rng(0).random(shop.later.num_rows) < 0.5
    others = dataclasses.replace(shop, later=shop.later.filter(pa.array(keep)))
    weights = []
    for one in (shop, others):
        teacher = train_teacher(
            one.catalogue(), one.facts(), TeacherConfig(dim=4, layers=2, epochs=1, candidates=10, random=2),
            device=CPU, seed=0, validate=lambda scorer: {"constant": 0.0},
        )  # fmt: skip
        weights.append(teacher_scorer(teacher, one.catalogue(), one.catalogue().view(), CPU).vectors)
    assert torch.equal(weights[0], weights[1])


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
        make_catalogue(snapshot, shop.task(), shop.text, shop.rows)
    with pytest.raises(ArtefactError, match="altered"):
        open_snapshot(folder)
