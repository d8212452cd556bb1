"""Rows of different lengths as tensors, against lists of lists."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgdistill.models import device
from kgdistill.models.device import at_home, taken
from kgdistill.tasks.ragged import Ragged, owners, thinned
from kgdistill.train.lists import Lists
from kgdistill.train.loop import Draws

CPU, META = torch.device("cpu"), torch.device("meta")
ROWS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6)


@settings(max_examples=80)
@given(ROWS, st.data())
def test_rows_are_taken_in_the_order_asked_for_and_hold_what_is_theirs(
    rows: list[list[int]], data: st.DataObject
) -> None:
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    ragged, some = Ragged.of(rows, CPU), torch.tensor(asked, dtype=torch.int64)
    values, offsets = ragged.take(some)
    mine = [rows[i] for i in asked]
    assert values.tolist() == [value for row in mine for value in row]
    assert offsets.tolist() == [sum(map(len, mine[:n])) for n in range(len(mine))]
    assert owners(offsets, len(values)).tolist() == [n for n, row in enumerate(mine) for _ in row]
    there = ragged.holds(some, torch.arange(10).expand(len(asked), 10))
    assert there.tolist() == [[value in row for value in range(10)] for row in mine]


def test_the_columns_of_a_matrix_are_its_rows() -> None:
    matrix = sp.csr_matrix(np.array([[0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0]], np.float32))
    values, offsets = Ragged.columns(matrix, CPU).take(torch.tensor([2, 1, 0]))
    assert (values.tolist(), offsets.tolist()) == ([0, 1, 3], [0, 1, 1])


def test_a_share_of_the_values_is_left_out_and_the_rest_stays_in_its_row() -> None:
    torch.manual_seed(0)
    values, offsets = thinned(*Ragged.of([[0] * 400, [], [2] * 800], CPU).take(torch.arange(3)), 0.25)
    assert values.tolist() == [2 * int(n) for n in owners(offsets, len(values)) > 0]
    lengths = [offsets[1] - offsets[0], offsets[2] - offsets[1], len(values) - offsets[2]]
    assert [round(int(n) / 100) for n in lengths] == [3, 0, 6]


def test_a_part_of_the_lists_is_that_of_the_users_who_have_one() -> None:
    items = torch.tensor([[1, 2], [3, 4], [5, 6]])
    lists = Lists(torch.tensor([2, 5, 7]), items, items > 3, items < 0, items[..., None].float())
    part = lists.of(torch.tensor([9, 7, 0, 2, 6]))
    assert part is not None
    assert (part.users.tolist(), part.items.tolist()) == ([2, 7], [[1, 2], [5, 6]])
    assert (part.labels.tolist(), part.values.ravel().tolist()) == ([[False] * 2, [True] * 2], [1, 2, 5, 6])
    assert lists.of(torch.tensor([0, 8])) is None


def test_a_table_that_is_too_large_stays_on_the_cpu_and_gives_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = torch.arange(6.0).reshape(3, 2)
    assert at_home(table, META).device == META
    monkeypatch.setattr(device, "TABLE_BYTES", table.nbytes - 1)
    held = at_home(table, META)
    assert held.device == CPU
    assert taken(held, torch.tensor([2, 0]), CPU).tolist() == [[4, 5], [0, 1]]
    assert taken(held, torch.tensor([2, 0]), META).device == META


def test_every_id_is_in_one_batch_and_the_order_is_the_generators() -> None:
    ids = torch.arange(5, 16)
    sizes = {even: [len(part) for part in Draws(0).batches(ids, 4, even=even)] for even in (False, True)}
    assert sizes == {False: [4, 4, 3], True: [6, 5]}
    one, again, other = (torch.cat(Draws(seed).batches(ids, 4)) for seed in (0, 0, 1))
    assert one.sort().values.tolist() == ids.tolist() != one.tolist()
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert Draws(0).batches(ids[:0], 4) == []
