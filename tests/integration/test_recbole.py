"""RecBole in its own environment, on a tiny shop of two tastes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from bench import baselines
from bench.baselines.recbole import environment as recbole_environment
from kgdistill.errors import ArtefactError, ToolMissingError
from kgdistill.tasks.match import Scorer


@pytest.fixture(scope="module")
def environment() -> Path:
    try:
        return recbole_environment()
    except ToolMissingError as error:
        pytest.skip(f"RecBole's environment cannot be made here: {error.message}")


def _shop() -> tuple[csr_array, csr_array]:
    """Two kinds of users and items and, by item, the kind as a fact; one user and one item stay out."""
    kinds = np.zeros((17, 2), dtype=np.float32)
    kinds[:8, 0], kinds[8:16, 1] = 1, 1
    x = np.zeros((31, 17), dtype=np.float32)
    x[:15, :8], x[15:30, 8:16] = 1, 1
    kinds[3] = 0
    return csr_array(x * (np.random.default_rng(2).random(x.shape) < 0.6)), csr_array(kinds)


def _apart(scorer: Scorer) -> float:
    """How often an item of the user's kind scores above one of the other."""
    scores = scorer(np.arange(31), np.arange(17))
    assert scores.shape == (31, 17)
    assert not scores[30, :16].any()
    assert (scores[:, 16] == -np.inf).all()
    own = np.concatenate([scores[:15, :8], scores[15:30, 8:16]])
    other = np.concatenate([scores[:15, 8:16], scores[15:30, :8]])
    return float((own[:, :, None] > other[:, None, :]).mean())


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("model", ["LightGCN", "KGAT"])
def test_recbole_tells_two_tastes_apart(model: baselines.RecboleModel, tmp_path: Path) -> None:
    history, kinds = _shop()
    found = baselines.recbole(
        history,
        {"kind": kinds},
        model=model,
        workdir=tmp_path,
        epochs=60,
        budget_seconds=60,
        parameters={"learning_rate": 0.05, "embedding_size": 8},
        threads=1,
        unknown="-inf",
    )
    assert _apart(found) > 0.9
    assert found.epochs == 60
    assert found.parameters > 47 * 8


@pytest.mark.usefixtures("environment")
def test_recbole_says_where_training_ended_and_why_it_failed(tmp_path: Path) -> None:
    history, _ = _shop()
    short = baselines.recbole(
        history, model="BPR", workdir=tmp_path, epochs=10**6, budget_seconds=0.5, threads=1
    )
    assert 0 < short.epochs < 10**6
    wrong = {"embedding_size": "many"}
    with pytest.raises(ArtefactError, match=r"RecBole's BPR failed: TypeError: .*but got str"):
        baselines.recbole(history, model="BPR", workdir=tmp_path, parameters=wrong, threads=1)
