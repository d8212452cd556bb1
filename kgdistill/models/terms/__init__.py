"""Terms of a score: weights between items, shared groups, popularity, words, habits."""

from kgdistill.models.terms.item_weights import ItemWeights
from kgdistill.models.terms.popularity import Popularity
from kgdistill.models.terms.protocol import Term, Unit
from kgdistill.models.terms.recent_popularity import RecentPopularity
from kgdistill.models.terms.shared_groups import SharedGroups

__all__ = ["ItemWeights", "Popularity", "RecentPopularity", "SharedGroups", "Term", "Unit"]
