"""Stands here so that the helpers beside it can be imported by every tier of tests."""

from hypothesis import Phase, settings

# For bench/mutants.py, which asks whether a test fails and not by which smallest example.
settings.register_profile("found", phases=(Phase.explicit, Phase.reuse, Phase.generate))
