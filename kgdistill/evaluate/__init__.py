"""Metrics, protocols, statistics, baselines and reports."""
