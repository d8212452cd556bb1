"""Frozen, hashed copies of the graph at a cut: the only thing training reads."""
