"""Proposes a mapping from files."""
