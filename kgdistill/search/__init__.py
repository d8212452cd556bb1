"""Search without click logs: synthetic queries, a fused teacher, a static student beside BM25."""
