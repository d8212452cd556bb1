"""The search box: ids and names of every kind of node, by the words that the project cuts texts into."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kgdistill.progress import step
from kgdistill.store import GraphStore, Schema
from kgdistill.tasks.lexical import lexical_index
from kgdistill.words import plain

_COMPLETIONS = 200


class Named(NamedTuple):
    """A node that was found."""

    label: str
    key: str
    name: str


class Names:
    """Ids and names, in memory; what is asked is compared without case, accents and plurals.

    Args:
        store: an open store.
        schema: whose labels are read; those that a run writes, such as vectors, are left out.
        counts: how many nodes of each label there are.
    """

    def __init__(self, store: GraphStore, schema: Schema, counts: Mapping[str, int]) -> None:
        self._nodes: list[Named] = []
        self._by_id: dict[str, list[int]] = {}
        wanted = [label for label, kind in schema.nodes.items() if not kind.output and counts.get(label)]
        with step("reading names", total=sum(counts[label] for label in wanted)) as progress:
            for label in wanted:
                kind = schema.node(label)
                table = store.read_nodes(label, [kind.name] if kind.name != kind.key else [])
                keys = table[kind.key].to_pylist()
                for key, name in zip(keys, table[kind.name].to_pylist(), strict=True):
                    self._by_id.setdefault(plain(key), []).append(len(self._nodes))
                    self._nodes.append(Named(label, key, name or key))
                progress.advance(len(keys))
        self._index = lexical_index({"name": [node.name for node in self._nodes]})
        self._words = sorted(self._index.terms)
        self._place = {term: number for number, term in enumerate(self._index.terms)}

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, text: str, *, label: str | None = None, limit: int = 20) -> list[Named]:
        """Nodes that a text names, the likeliest first: by their id, then by the words of their name.

        The last word may be the beginning of one.

        Args:
            text: in any script.
            label: of this kind alone.
            limit: at most so many.
        """
        found = list(self._by_id.get(plain(text.strip()), []))
        scores = self._index.coverage([text])[0] if self._nodes else np.zeros(0, np.float32)
        scores = np.maximum(scores, self._begun(text))
        if len(scores) and scores.max() > 0:
            # Those that hold as many of the words are ordered by BM25, then by how short they are.
            some = np.flatnonzero(scores >= scores.max() - 1e-6)
            ranks = self._index.scores([text])[0][some]
            lengths = np.array([len(self._nodes[i].name) for i in some])
            found += some[np.lexsort((some, lengths, -ranks))].tolist()
        ordered = [self._nodes[i] for i in dict.fromkeys(found)]
        return [node for node in ordered if label in (None, node.label)][:limit]

    def _begun(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """1 for what holds every word, the last of which may go on; 0 for all else."""
        held = np.zeros(len(self._nodes), np.float32)
        *whole, last = plain(text).split() or [""]
        if len(last) < 2:
            return held
        start = bisect_left(self._words, last)
        for term in self._words[start : start + _COMPLETIONS]:
            if not term.startswith(last):
                break
            held[self._index.holders(self._place[term])] = 1
        if whole:
            held[self._index.coverage([" ".join(whole)])[0] < 1 - 1e-6] = 0
        return held
