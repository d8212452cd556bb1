"""Mappings: from the rows of files to nodes and relationships."""
