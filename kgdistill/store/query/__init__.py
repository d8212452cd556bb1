"""Queries in a process of their own."""
