"""Distils a knowledge graph and a text model into a small student."""
