"""Stands here so that the helpers beside it can be imported by every tier of tests."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

# For bench/mutants.py, which asks whether a test fails and not by which smallest example.
settings.register_profile("found", phases=(Phase.explicit, Phase.reuse, Phase.generate))
_SERVER = re.compile(r"neo4j|_stores", re.IGNORECASE)


@cache
def _asks_the_server(file: str) -> bool:
    """Whether a file of tests may use the one Neo4j; a page whose commands are run may name it."""
    text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
    return "/unit/" not in file and bool(_SERVER.search(text))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Where tests run in several processes: a file stays in one, and so do all that may ask the server."""
    from xdist.scheduler import LoadScopeScheduling

    class _Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "server" if _asks_the_server(file) else file

    return _Scheduling(config, log)
