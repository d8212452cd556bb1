"""Stands here so that the helpers beside it can be imported by every tier of tests."""

from pathlib import Path

import pytest
from hypothesis import Phase, settings

# For bench/mutants.py, which asks whether a test fails and not by which smallest example.
settings.register_profile("found", phases=(Phase.explicit, Phase.reuse, Phase.generate))


@pytest.hookimpl(tryfirst=True)  # before the plugin reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests share a process where there are several: those that share a server, and those of a file."""
    tests = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(tests)
        group = place.as_posix() if place.parts[0] == "unit" else "server"
        item.add_marker(pytest.mark.xdist_group(group))
