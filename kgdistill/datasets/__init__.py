"""Adapters from public data sets to the graph's canonical tables."""
