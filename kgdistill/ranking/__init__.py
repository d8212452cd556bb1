"""Top-k, metrics, graded metrics, bootstrap and paired statistics: NumPy alone."""
