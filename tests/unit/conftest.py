"""One shop for every unit test of training, and one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from _shop import Shop, fill_shop, make_shop

from kgdistill.store import MemoryStore


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    with MemoryStore() as store:
        fill_shop(store)
        return make_shop(store, tmp_path_factory.mktemp("shop") / "snapshot")
