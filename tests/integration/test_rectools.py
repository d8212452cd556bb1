"""RecTools in its own environment, on tiny shops where the order says what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from bench import baselines
from bench.baselines.rectools import environment as rectools_environment
from bench.suites.choose import Known
from bench.suites.peers import sequences
from kgdistill.errors import InputError, ToolMissingError
from kgdistill.tasks.match import Scorer

ITEMS, HAD = 12, 4


@pytest.fixture(scope="module")
def environment() -> Path:
    try:
        return rectools_environment()
    except ToolMissingError as error:
        pytest.skip(f"RecTools' environment cannot be made here: {error.message}")


def walk() -> tuple[csr_array, Any]:
    """Everybody goes from an item to the next one, round and round; the last user and item stay out."""
    users = 121
    x = np.zeros((users, ITEMS + 1), dtype=np.float32)
    times = np.zeros(x.shape, dtype=np.int64)
    for user in range(users - 1):
        mine = (user + np.arange(HAD)) % ITEMS
        x[user, mine] = 1
        times[user, mine] = 1_500_000_000_000_000 + np.arange(HAD) * 86_400_000_000
    history = csr_array(x)
    return history, times[x > 0]


def hits(scorer: Scorer, history: csr_array) -> float:
    """How often the item that comes next scores highest among those not had."""
    users = np.arange(120)
    scores = scorer(users, np.arange(ITEMS)).copy()
    scores[history[users][:, :ITEMS].toarray() > 0] = -np.inf
    return float((scores.argmax(axis=1) == (users + HAD) % ITEMS).mean())


def test_a_history_without_order_and_values_out_of_range_are_refused(tmp_path: Path) -> None:
    history, times = walk()
    with pytest.raises(InputError, match="times for 480 pairs"):
        baselines.rectools(history, times[:-1], workdir=tmp_path)
    with pytest.raises(InputError, match="nobody had two things"):
        baselines.rectools(csr_array(np.eye(3, dtype=np.float32)), np.arange(3), workdir=tmp_path)
    with pytest.raises(InputError, match="budget_seconds"):
        baselines.rectools(history, times, workdir=tmp_path, budget_seconds=0)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("model", "epochs"), [("SASRec", 12), ("eSASRec", 3)])
def test_rectools_learns_the_order(model: baselines.RectoolsModel, epochs: int, tmp_path: Path) -> None:
    history, times = walk()
    seen: list[int] = []
    scores: list[Any] = []

    def watch(epoch: int, scorer: Scorer) -> bool:
        seen.append(epoch)
        scores.append(scorer(np.arange(9), np.arange(ITEMS)))
        return epoch == 2

    values = {"n_factors": 16, "lr": 0.02, "dropout_rate": 0.0, "batch_size": 16}
    found = baselines.rectools(
        history,
        times,
        model=model,
        workdir=tmp_path,
        epochs=epochs,
        watch=watch,
        budget_seconds=120,
        **values,
    )
    assert seen == [1, 2]
    assert hits(found, history) > 0.9
    # An epoch is watched as it was then.
    assert (scores[0] != scores[1]).any()
    assert (scores[1] != found(np.arange(9), np.arange(ITEMS))).any()
    assert (found.epochs, found.parameters > 16 * ITEMS) == (epochs, True)
    whole = found(np.arange(121), np.arange(ITEMS + 1))
    assert not whole[120].any()
    assert not whole[:, ITEMS].any()


@pytest.mark.usefixtures("environment")
def test_where_the_time_ends_first_the_model_is_taken_as_it_is(tmp_path: Path) -> None:
    history, times = walk()
    found = baselines.rectools(
        history, times, workdir=tmp_path, epochs=400, budget_seconds=0.001, n_factors=8
    )
    assert found.epochs == 1


def test_the_epochs_of_a_peer_are_those_that_were_best_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, times = walk()
    asked: list[dict[str, Any]] = []
    figures = iter([0.1, 0.4, 0.3, 0.2])

    class Watched:
        def __init__(self) -> None:
            self.choose = {"all": ("all", "ndcg@20")}

        def validate(self, scorer: Scorer, setting: str, metric: str) -> float:
            assert (setting, metric) == ("all", "ndcg@20")
            return next(figures)

    def trained(given: csr_array, when: Any, **values: Any) -> baselines.LentScorer:
        watch = values.pop("watch", None)
        asked.append(values)
        assert len(when) == given.nnz
        assert given.shape[1] == ITEMS
        for epoch in range(1, 5) if watch is not None else ():
            watch(epoch, lambda users, items: np.zeros((len(users), len(items)), np.float32))
        return baselines.LentScorer(
            lambda users, items: np.ones((len(users), len(items)), np.float32), 2, 1.5, 77
        )

    monkeypatch.setattr(baselines, "rectools", trained)
    now = Known("validation", history, times, int(times.max()) + 1, np.arange(ITEMS))
    chooser: Any = Watched()
    (peer,) = sequences(("eSASRec",), chooser, tmp_path, 9.0, ("all",))
    assert peer.finish is not None
    best = peer.finish(now, {"dropout_rate": 0.5})
    assert best == {"dropout_rate": 0.5, "epochs": 2, "later_epochs": 2}
    own: Any = peer.fit(now, best)
    told = {"model": "eSASRec", "workdir": tmp_path, "budget_seconds": 9.0, "dropout_rate": 0.5}
    assert asked == [{**told, "epochs": 40}, {**told, "epochs": 2}]
    assert (own.seconds, own.parameters) == (1.5, 77)
    # The item that nobody had is none of those that it was fitted on.
    assert own(np.arange(2), np.arange(ITEMS + 1)).tolist() == [[1.0] * ITEMS + [0.0]] * 2
