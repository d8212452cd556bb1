"""Small evaluation tasks, made from dense matrices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from kgdistill.tasks.match import MatchTask, SplitPairs
from kgdistill.tasks.protocol import DiscoveryProtocol


def make_task(
    train: Any,
    test: Any,
    validation: Any = None,
    *,
    min_item_users: int = 2,
    opened: bool = True,
    ks: tuple[int, ...] = (),
) -> MatchTask:
    """Every item is eligible; the users with a train pair are. Keys are `u0`, … and 100, 101, …"""
    train, test = np.asarray(train, np.float32), np.asarray(test, np.float32)
    validation = np.zeros_like(train) if validation is None else np.asarray(validation, np.float32)
    users, items = train.shape
    task = MatchTask(
        DiscoveryProtocol(
            name="tiny",
            title="Tiny",
            cut=datetime(2024, 3, 1),
            test_start=datetime(2024, 4, 1),
            min_user_events=1,
            min_item_users=min_item_users,
            settings=("warm", "cold", "strictly_cold"),
            ks=ks,
        ),
        SplitPairs(csr_array(train), csr_array(validation), csr_array(test)),
        users=np.flatnonzero(train.sum(axis=1) > 0).astype(np.int64),
        items=np.arange(items, dtype=np.int64),
        user_keys=pa.array([f"u{i}" for i in range(users)]),
        item_keys=pa.array(range(100, 100 + items), pa.int64()),
    )
    if opened:
        task.open_test()
    return task


def random_splits(
    seed: int, users: int, items: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Train, validation and test, disjoint; every user has a train pair and every item may have none."""
    draw = np.random.default_rng(seed)
    where = draw.choice(4, size=(users, items), p=[0.5, 0.25, 0.1, 0.15])
    where[np.arange(users), draw.integers(items, size=users)] = 1
    return where == 1, where == 2, where == 3
