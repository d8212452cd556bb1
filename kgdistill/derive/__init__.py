"""Relationships computed from events."""
