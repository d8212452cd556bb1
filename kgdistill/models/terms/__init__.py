"""Terms of a score: weights between items, words, habits."""
