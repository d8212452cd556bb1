"""Peers that know items by what they are: their text, their brand."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array

from kgdistill.errors import InputError
from kgdistill.evaluate.peers._common import Floats32, Ints, presence
from kgdistill.evaluate.peers._counting import group_shares
from kgdistill.evaluate.task import Scorer


def text_knn(history: csr_array, vectors: Floats32, *, recency: Floats32 | None = None) -> Scorer:
    """The cosine of an item's text vector with the mean of the user's items' (Rocchio's profile, 1971).

    Items whose vector is all zeros have no text and score 0, as does everything for a user without history.

    Args:
        history: float32 [users, items], canonical where `recency` is given.
        vectors: float32 [items, E], of any length.
        recency: float32 [history.nnz], how much each pair counts in the mean, in the order of
            `history.data` (`recency(…)` gives it); None: all alike.

    Raises:
        InputError: shapes that do not fit.
    """
    if vectors.shape[0] != history.shape[1]:
        raise InputError(f"vectors of {vectors.shape[0]:,} items for a history of {history.shape[1]:,}")
    unit = _unit(vectors)
    weighted = presence(history)
    if recency is not None:
        if recency.shape != (history.nnz,):
            raise InputError(f"{recency.shape} weights for {history.nnz:,} pairs; one for each is needed")
        weighted = csr_array((recency.astype(np.float32), history.indices, history.indptr), history.shape)
    profiles = _unit(weighted @ unit)

    def score(users: Ints, candidates: Ints) -> Floats32:
        scores: Floats32 = profiles[users] @ unit[candidates].T
        return scores

    return score


def group_knn(history: csr_array, groups: csr_array) -> Scorer:
    """The share of a user's purchases that fall into the item's group, such as its brand.

    An item in several groups gets the mean over them; items without one score 0, and so does everything for
    a user without history. It is text_knn with one-hot vectors, but for the profile's length, which does
    not change a user's ranking.

    Args:
        history: float32 [users, items].
        groups: float32 [items, groups].

    Raises:
        InputError: shapes that do not fit.
    """
    shares, member = group_shares(history, groups)

    def score(users: Ints, candidates: Ints) -> Floats32:
        scores: Floats32 = (shares[users] @ member[candidates].T).toarray()
        return scores

    return score


def metadata_vectors(groups: csr_array) -> csr_array:
    """One-hot groups weighted by log(items / items of the group), rows of length 1 (TF-IDF, Salton 1988).

    Args:
        groups: float32 [items, groups]: brand, category, size, … side by side.
    """
    ones = presence(groups)
    counts = np.maximum(np.bincount(ones.indices, minlength=groups.shape[1]), 1)
    weighted = (ones @ diags_array(np.log(max(groups.shape[0], 1) / counts))).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1), dtype=np.float64))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return (diags_array(scale) @ weighted).astype(np.float32).tocsr()


def metadata_knn(history: csr_array, groups: csr_array) -> Scorer:
    """The cosine of an item's `metadata_vectors` with the sum of the user's items', up to the user's length.

    Args and errors are those of `group_knn`.
    """
    if groups.shape[0] != history.shape[1]:
        raise InputError(f"groups of {groups.shape[0]:,} items for a history of {history.shape[1]:,}")
    unit = metadata_vectors(groups)
    profiles = (presence(history) @ unit).tocsr()

    def score(users: Ints, candidates: Ints) -> Floats32:
        scores: Floats32 = (profiles[users] @ unit[candidates].T).toarray()
        return scores

    return score


def _unit(vectors: Floats32) -> Floats32:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats32 = np.divide(
        vectors, length, out=np.zeros_like(vectors, dtype=np.float32), where=length > 0
    )
    return unit
