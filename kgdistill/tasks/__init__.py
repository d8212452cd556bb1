"""What is asked of a graph: protocols, interactions, candidate sets, synthetic anchors."""
