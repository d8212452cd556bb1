"""Texts as token ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from kgdistill.arrays import IntArray
from kgdistill.tasks.ragged import Ragged


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

    def on(self, device: torch.device) -> Ragged:
        """The ids of each text on a device."""
        return Ragged.split(self.ids, self.offsets, device)

    def counts(self) -> sp.csr_matrix:
        """How often each token stands in each text: float32 CSR [T, V]."""
        lengths = np.diff(np.append(self.offsets, len(self.ids)))
        owner = np.repeat(np.arange(len(lengths)), lengths)
        return sp.csr_matrix(
            (np.ones(len(owner), np.float32), (owner, self.ids)), shape=(len(lengths), self.vocabulary)
        )

    def weighted(self, rows: IntArray) -> sp.csr_matrix:
        """The words of every item by TF-IDF (each word once), rows of unit length: float32 CSR [items, V].

        Args:
            rows: row of each item among the texts, int64 [items].
        """
        once = self.counts()
        once.data[:] = 1.0
        items = sp.csr_matrix(once[rows])
        seen = np.bincount(items.indices, minlength=self.vocabulary)
        items.data *= np.log(items.shape[0] / np.maximum(seen, 1)).astype(np.float32)[items.indices]
        norm = np.sqrt(np.asarray(items.multiply(items).sum(1)).ravel())
        return sp.csr_matrix(sp.diags((1 / np.maximum(norm, 1e-9)).astype(np.float32)) @ items)
