"""Terms of a score: weights between items, shared groups, nearness in text, popularity, words, habits."""

from kgdistill.models.terms.protocol import Term, Unit

__all__ = ["Term", "Unit"]
