"""Training and judging on a GPU that is pretended: nothing is mixed, and the figures are the CPU's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _pretend import CUDA, PretendedGpu, there
from _shop import PROTOCOL, Shop, fill_shop
from _tiny_encoder import tiny_encoder
from _train import train_student, train_teacher

from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models import candidates
from kgdistill.models.device import full_precision
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms import Popularity
from kgdistill.models.terms.linear import fit_linear
from kgdistill.models.terms.neighbours import likely_pairs, strongest
from kgdistill.models.terms.walk import fit_walk
from kgdistill.run.run import Run
from kgdistill.store import MemoryStore
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.student import student_scorer
from kgdistill.train.targets import make_targets
from kgdistill.train.teacher import teacher_scorer

CPU = torch.device("cpu")
LINEAR = LinearChoice(reg=5.0, side_weight=1.0, walk=2)


def validate(shop: Shop, scorer: Scorer) -> dict[str, float]:
    judged = evaluate_arm(scorer, shop.task(), arm="v", title="v", split="validation", progress=False)
    return {f"{setting}_ndcg": judged.mean(setting) for setting in judged.settings}


def trained(shop: Shop, device: torch.device, *, epochs: int = 2) -> tuple[Any, Any, list[Scorer]]:
    """Teacher, student and their scorers."""
    catalogue = shop.catalogue()
    judge = partial(validate, shop)
    teacher = train_teacher(
        catalogue, shop.facts(),
        TeacherConfig(dim=6, layers=2, graph_steps=8, epochs=epochs, candidates=10, z_dropout=0.0),
        validate=judge, device=device, linear=LINEAR,
    )  # fmt: skip
    first = teacher_scorer(teacher, catalogue, catalogue.view(), device)
    targets = make_targets(first, catalogue, top=10, random=5, seed=0)
    student = train_student(
        catalogue, shop.fields(), shop.tokens, lambda until: targets,
        StudentConfig(epochs=epochs, candidates=10, random=5, id_dropout=0.0), dim=6, inner_share=0.2,
        validate=judge, device=device, linear=LINEAR, sides=sides_of(catalogue, shop.facts()),
    )  # fmt: skip
    second = student_scorer(student, catalogue, shop.tokens, catalogue.view(), device)
    return teacher, student, [first, second]


@contextmanager
def pretended() -> Iterator[None]:
    with warnings.catch_warnings(), full_precision(), PretendedGpu():
        warnings.filterwarnings("ignore", message=".*CUDA is not available")
        yield


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretended():
        yield


def test_all_of_it_runs_there(shop: Shop, gpu: None) -> None:
    beyond, here = trained(shop, CUDA), trained(shop, CPU)
    for a, b in zip(beyond[:2], here[:2], strict=True):
        assert all(there(p) for p in [*a.model.parameters(), *a.model.buffers()])
        assert not any(there(p) for p in b.model.parameters())
        assert [{**epoch, "seconds": 0} for epoch in a.history] == [
            {**epoch, "seconds": 0} for epoch in b.history
        ]
    users, items = np.arange(60), shop.task().items
    for a, b in zip(beyond[2], here[2], strict=True):
        assert there(a.scores(users, items))
        np.testing.assert_array_equal(a(users, items), b(users, items))
        asked: dict[str, Any] = {"arm": "a", "title": "A", "split": "validation", "progress": False}
        assert evaluate_arm(a, shop.task(), **asked).topk.equals(evaluate_arm(b, shop.task(), **asked).topk)


def test_a_run_is_fitted_judged_and_packed_there(tmp_path: Path) -> None:
    small = {"epochs": 1, "candidates": 20, "random": 5, "evaluate_every": 1}
    text = {"encoder": str(tiny_encoder(tmp_path / "tiny", layers=1)), "precision": "float32"}
    told = {"cut": PROTOCOL.cut, "test_start": PROTOCOL.test_start, "k": 7, "min_user_events": 1}
    results = []
    with MemoryStore() as store:
        fill_shop(store)
        for device in (CUDA, CPU):
            run = Run.create(
                tmp_path / device.type, store, protocol=told, text=text, student={**small, "id_dropout": 0.0},
                teacher={"dim": 8, "layers": 2, "graph_steps": 8, "z_dropout": 0.0, **small},
            )  # fmt: skip
            # The encoder is loaded in ways that only a real one knows.
            run.make("text")
            with pretended():
                run.device = device
                run.fit()
                results.append([(arm["arm"], arm["settings"]) for arm in run.evaluate()["arms"]])
                results[-1].append(("bundle", run.bundle().recommend([], k=5)))
    assert results[0] == results[1]


def fitted(shop: Shop, device: torch.device) -> dict[str, Any]:
    """Every form of the weights between items: between items, between users, and by singular vectors."""
    catalogue = shop.catalogue()
    bought, sides = catalogue.view().purchases, sides_of(catalogue, shop.facts())
    few = bought[:20]
    return {
        "between items": fit_linear(bought, sides, reg=5.0, side_weight=1.0, device=device),
        "between users": fit_linear(few, sides, reg=5.0, side_weight=0.0, device=device),
        "by vectors": fit_linear(bought, sides, reg=5.0, side_weight=1.0, limit=10, device=device),
        "walk between items": fit_walk(bought, sides, steps=2, device=device),
        "walk between users": fit_walk(few, sides, steps=2, limit=30, device=device),
        "walk by vectors": fit_walk(bought, sides, steps=2, limit=10, device=device),
    }


def said(shop: Shop, device: torch.device) -> dict[str, list[Any]]:
    """What each of them, and what is kept of it, says of histories."""
    view = shop.catalogue().view()
    queries, items = view.queries(np.arange(9), 0.1), np.arange(3, 60)
    among = likely_pairs(view.purchases, [], 12)
    out = {}
    for name, model in fitted(shop, device).items():
        kept = [strongest(model, 4, view.purchases.shape[1], pairs) for pairs in (None, among)]
        scores = [each.score(queries, items) for each in (model, *kept)]
        assert [each.is_cuda for each in scores] == [device == CUDA] * 3, name
        out[name] = [each.cpu().numpy() for each in scores]
    return out


def test_weights_between_items_are_formed_and_kept_there(shop: Shop, gpu: None) -> None:
    here, beyond = said(shop, CPU), said(shop, CUDA)
    for name, want in here.items():
        for a, b in zip(beyond[name], want, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_candidates_of_a_large_catalogue_are_named_there(
    shop: Shop, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "LARGE", 20)
    first, second = (trained(shop, device, epochs=1)[2] for device in (CUDA, CPU))
    users, pool = np.arange(60), np.arange(2, 79)
    for a, b in zip(first, second, strict=True):
        found = [candidates.best_unseen(each, each.view, users, pool, 9) for each in (a, b)]
        assert [each.is_cuda for each in found] == [True, False]
        torch.testing.assert_close(found[0].cpu(), found[1])


def test_a_tensor_left_on_the_cpu_is_noticed(shop: Shop, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Popularity, "pairs", lambda self, users, items: torch.from_numpy(self.view.counts[items]).float()
    )
    trained(shop, CPU, epochs=1)
    with pytest.raises(RuntimeError, match="same device"):
        trained(shop, CUDA, epochs=1)


def test_the_pretended_gpu_is_as_strict_as_a_real_one(gpu: None) -> None:
    here, beyond = torch.ones(3), torch.ones(3, device=CUDA)
    assert [beyond.device.type, here.device.type, (beyond + 1).device.type] == ["cuda", "cpu", "cuda"]
    on = (beyond.to(torch.float64), here.to(beyond), beyond[here.long() - 1], beyond + torch.tensor(1.0))
    assert [there(tensor) for tensor in (*on, beyond.cpu())] == [True] * 4 + [False]
    for wrong in (
        lambda: here + beyond,
        lambda: torch.cat([here, beyond]),
        lambda: here * beyond.sum(),
        lambda: here[beyond.long()],
        lambda: torch.nn.Linear(3, 3)(beyond),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            wrong()
    with pytest.raises(TypeError, match="numpy"):
        beyond.numpy()
    beyond[:2] = torch.zeros(2)
    assert beyond.tolist() == [0.0, 0.0, 1.0]
