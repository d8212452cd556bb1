"""Surges of negative statements, from files and streams: counts, alerts, a page."""
