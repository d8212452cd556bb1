"""The next basket, repeats included."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from _tasks import make_task

from kgdistill.errors import InputError, LeakError
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.tasks.basket import RepeatTask, personal_frequency, repeat_task

# The tiny task: cut on 1 March, test from 1 April; users u0 and u1, u2 has no train pair; items 100 to 103.
CUT, TEST = datetime(2024, 3, 1), datetime(2024, 4, 1)
LINES = [
    ("u0", 100, CUT - timedelta(days=20)),
    ("u0", 100, CUT - timedelta(days=1)),
    ("u0", 101, CUT - timedelta(days=1)),
    ("u1", 102, CUT - timedelta(days=3)),
    ("u0", 100, CUT),
    ("u1", 101, TEST - timedelta(days=1)),
    ("u0", 100, TEST),
    ("u0", 102, TEST + timedelta(days=1)),
    ("u1", 103, TEST + timedelta(days=1)),
    ("u2", 100, CUT - timedelta(days=1)),
    ("nobody", 100, CUT - timedelta(days=1)),
    ("u0", 999, CUT - timedelta(days=1)),
]


def lines(rows: list[Any] = LINES) -> pa.Table:
    return pa.table(
        {
            "source": [user for user, *_ in rows],
            "target": [str(item) for _, item, _ in rows],
            "at": pa.array([at for *_, at in rows], pa.timestamp("us")),
        }
    )


def task() -> RepeatTask:
    return repeat_task(make_task([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], np.zeros((3, 4))), lines())


def pairs(matrix: Any) -> list[tuple[int, int]]:
    assert set(matrix.data.tolist()) <= {1.0}
    return sorted(zip(*(part.tolist() for part in matrix.nonzero()), strict=True))


def test_a_pair_stands_in_every_period_in_which_it_was_bought() -> None:
    made = task()
    assert pairs(made.history("validation")) == [(0, 0), (0, 1), (1, 2)]
    assert pairs(made.validation) == [(0, 0), (1, 1)]
    assert pairs(made.history("test")) == [(0, 0), (0, 1), (1, 1), (1, 2)]
    for door in (lambda: made.test, lambda: made.seen("test"), lambda: made.candidates("warm", "test")):
        with pytest.raises(LeakError, match="closed"):
            door()
    made.open_test()
    assert pairs(made.test) == [(0, 0), (0, 2), (1, 3)]
    assert made.seen("test").nnz == 0
    # Item 103 was never bought before: nobody can repeat it.
    assert made.candidates("warm", "test").tolist() == [0, 1, 2]


def test_personal_frequency_counts_halves_and_breaks_ties_by_everybody() -> None:
    made = task()
    half = timedelta(days=10)
    found = made.decayed_counts("validation", half).toarray()
    want = 0.5 ** np.array([2.0, 0.1, 0.1, 0.3])
    np.testing.assert_allclose(found[0], [want[0] + want[1], want[2], 0, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1], [0, 0, want[3], 0], rtol=1e-6)
    scores = personal_frequency(made, "validation", half_life=half)(np.array([1]), np.arange(4))
    # u1 had 102 alone; of the rest everybody bought 100 more often than 101.
    assert np.argsort(-scores[0], kind="stable").tolist() == [2, 0, 1, 3]
    made.open_test()
    result = evaluate_arm(personal_frequency(made, "test", half_life=half), made, arm="f", title="F", k=2)
    # u0's right answers are 100 and 102, and 100 comes first; u1's only one is no candidate.
    assert result.settings["warm"].users.tolist() == [0]
    assert result.mean("warm") == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_what_cannot_be_a_repeat_task_is_refused() -> None:
    with pytest.raises(InputError, match="'at'"):
        repeat_task(make_task(np.eye(2), np.zeros((2, 2))), lines().drop_columns(["at"]))
    with pytest.raises(InputError, match="half-life"):
        task().decayed_counts("test", timedelta(0))
