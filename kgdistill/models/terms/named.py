"""The graph's facts that a query names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from kgdistill.arrays import BoolArray, FloatArray, IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.models.terms.words import QueryTerm
from kgdistill.tasks.search_catalogue import Facts
from kgdistill.tasks.words import words


class NamedTerm(QueryTerm):
    """Finds the nodes that a query names, and the items that hang on them.

    A node is named where its whole name, in stemmed words, stands in the query: "canon ink" names the
    brand Canon. An item's score is the share of the query's words that name nodes it hangs on; of
    overlapping names of one item the longest counts.

    Args:
        queries: the texts of the anchors.
        facts: of the candidates, one for each label.
        size: how many candidates there are.
        device: where its numbers are wanted.
    """

    name = "named"
    unit: Unit = "probability"

    def __init__(
        self, queries: Sequence[str], facts: Sequence[Facts], size: int, device: torch.device | None = None
    ) -> None:
        super().__init__(queries, device)
        self._size = size
        self._holders: dict[tuple[str, ...], list[IntArray]] = defaultdict(list)
        for fact in facts:
            nodes = fact.members.tocsc()
            for node, name in enumerate(fact.names):
                named = tuple(words(name))
                holders = nodes.indices[nodes.indptr[node] : nodes.indptr[node + 1]]
                if named and len(holders):
                    self._holders[named].append(holders.astype(np.int64))
        self._longest = max(map(len, self._holders), default=0)

    def rows(self, anchors: IntArray) -> FloatArray:
        """Of every candidate, float32 [B, candidates] in [0, 1]."""
        out = np.zeros((len(anchors), self._size), np.float32)
        for row, query in enumerate(self.asked(anchors)):
            asked = words(query)
            held: dict[int, BoolArray] = {}
            for size in range(min(self._longest, len(asked)), 0, -1):
                for start in range(len(asked) - size + 1):
                    for holders in self._holders.get(tuple(asked[start : start + size]), []):
                        for word in range(start, start + size):
                            held.setdefault(word, np.zeros(self._size, bool))[holders] = True
            for mask in held.values():
                out[row] += mask / np.float32(len(asked))
        return out
