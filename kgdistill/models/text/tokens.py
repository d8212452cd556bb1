"""Texts as token ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from kgdistill.arrays import IntArray


@dataclass(frozen=True)
class Tokens:
    """Token ids of the distinct texts: `ids` int64 [L] split at `offsets` int64 [T]."""

    ids: IntArray
    offsets: IntArray
    vocabulary: int

    @classmethod
    def of(cls, token_ids: list[list[int]], vocabulary: int) -> Tokens:
        """From one list of ids per text."""
        lengths = np.array([len(t) for t in token_ids], np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return cls(np.concatenate([np.asarray(t, np.int64) for t in token_ids]), offsets, vocabulary)

    def of_texts(self, texts: IntArray) -> tuple[IntArray, IntArray]:
        """The ids of some texts, int64 [L], and where each begins, int64 [len(texts)]."""
        lengths = np.diff(np.append(self.offsets, len(self.ids)))[texts]
        starts = np.cumsum(lengths) - lengths
        inside = np.arange(lengths.sum()) - np.repeat(starts, lengths)
        return self.ids[np.repeat(self.offsets[texts], lengths) + inside], starts

    def weighted(self, rows: IntArray) -> sp.csr_matrix:
        """The words of every item by TF-IDF (each word once), rows of unit length: float32 CSR [items, V].

        Args:
            rows: row of each item among the texts, int64 [items].
        """
        lengths = np.diff(np.append(self.offsets, len(self.ids)))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        once = sp.csr_matrix(
            (np.ones(len(owner), np.float32), (owner, self.ids)), shape=(len(lengths), self.vocabulary)
        )
        once.data[:] = 1.0
        items = sp.csr_matrix(once[rows])
        seen = np.bincount(items.indices, minlength=self.vocabulary)
        items.data *= np.log(items.shape[0] / np.maximum(seen, 1)).astype(np.float32)[items.indices]
        norm = np.sqrt(np.asarray(items.multiply(items).sum(1)).ravel())
        return sp.csr_matrix(sp.diags((1 / np.maximum(norm, 1e-9)).astype(np.float32)) @ items)
