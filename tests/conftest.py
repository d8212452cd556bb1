"""Stands here so that the helpers beside it can be imported by every tier of tests."""
