"""Stands here so that the helpers beside it can be imported by every tier of tests; and one shop for all."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

# A busy machine is no fault: tests measure no wall time.
settings.register_profile("unhurried", parent=settings.default, deadline=None)
settings.load_profile("unhurried")
# For bench/mutants.py, which asks whether a test fails and not by which smallest example.
settings.register_profile("found", phases=(Phase.explicit, Phase.reuse, Phase.generate))
_SERVER = re.compile(r"neo4j|\b_stores import", re.IGNORECASE)
_EMBEDDED = re.compile(r"\[(?!.*neo4j).*(ladybug|memory)")


@cache
def _asks_the_server(file: str) -> bool:
    """Whether a file of tests may use the one Neo4j; a page whose commands are run may name it."""
    text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
    return "/unit/" not in file and bool(_SERVER.search(text))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Where tests run in several processes: a file stays in one, and so do all that may ask the server.

    Those of such a file that name another store as their parameter may run in another.
    """
    from xdist.scheduler import LoadScopeScheduling

    class _Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "server" if _asks_the_server(file) and not _EMBEDDED.search(nodeid) else file

    return _Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for what trains; tests that need no torch load none."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def steps_on_the_device() -> Iterator[None]:
    """No step of any training goes through NumPy, or from one device to another."""
    if "kgdistill.train.loop" not in sys.modules:
        yield
        return
    from bench._watch import Crossings

    with Crossings(refuse=True).watching():
        yield


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small shop at its cut, which nobody changes: `_shop.Shop`."""
    # Here, so that the tests without a model load no torch.
    from _shop import fill_shop, make_shop

    from kgdistill.store import MemoryStore

    with MemoryStore() as store:
        fill_shop(store)
        return make_shop(store, tmp_path_factory.mktemp("shop") / "snapshot")
