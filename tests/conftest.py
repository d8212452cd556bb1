"""Stands here so that the helpers beside it can be imported by every tier of tests."""

from typing import Any

import pytest
from hypothesis import Phase, settings

# For bench/mutants.py, which asks whether a test fails and not by which smallest example.
settings.register_profile("found", phases=(Phase.explicit, Phase.reuse, Phase.generate))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Where tests run in several processes: a file stays in one, and so do all that share a server."""
    from xdist.scheduler import LoadScopeScheduling

    class _Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return file if "/unit/" in file else "server"

    return _Scheduling(config, log)
