"""Sampled neighbourhoods, for graphs whose products do not fit: equal in expectation to the full batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from kgdistill.models.graph import Relation


@dataclass(frozen=True)
class Sample:
    """Sampled edges of S draws for B nodes.

    Attributes:
        target: which of the B nodes, int64 [S], ascending.
        source: the neighbour's id, int64 [S].
        edge: place in the given CSR, int64 [S].
        weight: the edge's weight, float32 [S].
        scale: eligible edges of the node over draws made for it, float32 [S] (Horvitz-Thompson).
        degree: eligible edges of each node, int64 [B].
    """

    target: Tensor
    source: Tensor
    edge: Tensor
    weight: Tensor
    scale: Tensor
    degree: Tensor

    def sum(self, vectors: Tensor) -> Tensor:
        """Unbiased Σ weight·vector over each node's eligible edges; vectors [S, D] of `source` → [B, D]."""
        return self._add(vectors * (self.weight * self.scale)[:, None])

    def mean(self, vectors: Tensor) -> Tensor:
        """Unbiased plain mean over each node's eligible edges (0 without any); [S, D] → [B, D]."""
        return self._add(vectors * self.scale[:, None]) / self.degree.clamp_min(1)[:, None]

    def _add(self, vectors: Tensor) -> Tensor:
        total = vectors.new_zeros(len(self.degree), vectors.shape[1])
        return total.index_add_(0, self.target, vectors)


class NeighbourSampler:
    """Draws neighbours from CSR rows; no loop over nodes, and no work per edge that is not drawn.

    Args:
        indptr: int64 [N + 1], offsets of the rows (the nodes that receive).
        indices: int64 [E], the neighbours (the nodes that send).
        times: when each edge happened, int64 [E] (microseconds), or None for edges without a time.
        weights: float32 [E]; 1 where None.

    Raises:
        ValueError: the arrays do not fit each other.
    """

    def __init__(
        self, indptr: Tensor, indices: Tensor, times: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        if int(indptr[0]) != 0 or int(indptr[-1]) != len(indices) or bool((indptr.diff() < 0).any()):
            raise ValueError("indptr must ascend from 0 to the number of edges")
        for name, values in (("times", times), ("weights", weights)):
            if values is not None and len(values) != len(indices):
                raise ValueError(f"{len(values)} {name} for {len(indices)} edges: give one for each")
        self.indptr = indptr
        rows = torch.repeat_interleave(torch.arange(len(indptr) - 1, device=indptr.device), indptr.diff())
        order = torch.arange(len(indices), device=indices.device)
        self._moments: Tensor | None = None
        if times is not None:
            # Two stable sorts order the edges by row, then by time.
            order = times.argsort(stable=True)
            order = order[rows[order].argsort(stable=True)]
            self._moments, rank = torch.unique(times, return_inverse=True)
            self._time_key = rows * (len(self._moments) + 1) + rank[order]
        self._rows = rows
        self._edge = order
        self._source = indices[order]
        self._weight = (torch.ones(len(indices), device=indices.device) if weights is None else weights)[
            order
        ]

    @property
    def timed(self) -> bool:
        """Whether the edges have times."""
        return self._moments is not None

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor, int]:
        width = int(self._source.max()) + 1 if len(self._source) else 1
        key, place = (self._rows * width + self._source).sort(stable=True)
        return key, place, width

    def _known(self, nodes: Tensor, before: int | Tensor | None) -> Tensor:
        """How many edges of each node are earlier than `before`: a prefix of its row."""
        if before is None:
            return self.indptr[nodes + 1] - self.indptr[nodes]
        if self._moments is None:
            raise ValueError("these edges have no time: there is no before")
        until = torch.as_tensor(before, device=nodes.device).expand(len(nodes)).contiguous()
        rank = torch.searchsorted(self._moments, until.to(self._moments.dtype))
        key = nodes * (len(self._moments) + 1) + rank
        return torch.searchsorted(self._time_key, key) - self.indptr[nodes]

    def _places(self, pairs: Tensor) -> Tensor:
        """Where the edges of these (target, source) pairs are, repeated ones too: ascending, each once."""
        key, place, width = self._pairs
        inside = (pairs[1] >= 0) & (pairs[1] < width)
        wanted = torch.unique((pairs[0] * width + pairs[1])[inside])
        low = torch.searchsorted(key, wanted)
        counts = torch.searchsorted(key, wanted, right=True) - low
        first = torch.repeat_interleave(low - (counts.cumsum(0) - counts), counts)
        return place[first + torch.arange(len(first), device=key.device)].sort().values

    def sample(
        self,
        nodes: Tensor,
        fanout: int,
        *,
        before: int | Tensor | None = None,
        exclude: Tensor | None = None,
        replace: bool = False,
        generator: torch.Generator | None = None,
    ) -> Sample:
        """Draws up to `fanout` edges of each node, uniformly from the eligible ones.

        Args:
            nodes: int64 [B]; a node that is named twice is drawn for twice, independently.
            fanout: draws per node, ≥ 1. Without replacement a node with no more edges gets each once.
            before: only edges strictly earlier, one time or int64 [B].
            exclude: (target, source) pairs whose edges are not eligible, int64 [2, L].
            replace: draw with replacement.
            generator: on the device of the arrays.

        Raises:
            ValueError: `before` is given but the edges have no times, or the fanout is below 1.
        """
        if fanout < 1:
            raise ValueError(f"a fanout of {fanout}: give at least 1")
        start = self.indptr[nodes]
        known = self._known(nodes, before)
        gaps = start.new_empty(0) if exclude is None else self._places(exclude)
        passed = torch.searchsorted(gaps, start)
        degree = known - (torch.searchsorted(gaps, start + known) - passed)
        if not replace:
            fanout = min(fanout, max(int(degree.max()), 1)) if len(degree) else 1
        take = torch.where(degree > 0, fanout, 0) if replace else degree.clamp_max(fanout)

        uniform = torch.rand(
            len(nodes), fanout, dtype=torch.float64, device=start.device, generator=generator
        )
        chosen = torch.full((len(nodes), fanout), -1, dtype=torch.int64, device=start.device)
        for draw in range(fanout):
            # Floyd's subset algorithm: `last` grows by one each draw; a repeat is swapped for it.
            last = degree - 1 if replace else degree - take + draw
            pick = (uniform[:, draw] * (last + 1)).long().minimum(last)
            if not replace:
                pick = torch.where((chosen[:, :draw] == pick[:, None]).any(1), last, pick)
            chosen[:, draw] = pick

        target, draw_of = (torch.arange(fanout, device=start.device) < take[:, None]).nonzero(as_tuple=True)
        # The n-th eligible edge lies as many places later as there are gaps up to it.
        nth = (start - passed)[target] + chosen[target, draw_of]
        place = nth + torch.searchsorted(gaps - torch.arange(len(gaps), device=gaps.device), nth, right=True)
        scale = (degree / take.clamp_min(1)).float()[target]
        return Sample(target, self._source[place], self._edge[place], self._weight[place], scale, degree)


def neighbour_samplers(
    operators: Mapping[Relation, Tensor], times: Mapping[Relation, Tensor] | None = None
) -> dict[Relation, NeighbourSampler]:
    """Samplers over the matrices that an encoder's paths multiply (`operators` of the encoder).

    Args:
        operators: per relation a sparse COO matrix, float32 [N_dst, N_src].
        times: for relations that happened, int64 aligned with the coalesced matrix's values.
    """
    samplers = {}
    for relation, matrix in operators.items():
        held = matrix.coalesce()
        rows, columns = held.indices()
        counts = torch.bincount(rows, minlength=held.shape[0])
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        moments = times.get(relation) if times is not None else None
        samplers[relation] = NeighbourSampler(indptr, columns, moments, held.values())
    return samplers


class PathEncoder(Protocol):
    """An encoder whose z combines constant relation paths: linear per relation, or propagation."""

    relations: list[Relation]
    path_relations: list[tuple[int, ...]]
    source: str
    target: str


def sampled_paths(
    encoder: PathEncoder,
    samplers: Mapping[Relation, NeighbourSampler],
    h0: Tensor,
    nodes: Tensor,
    fanouts: Sequence[int],
    *,
    before: int | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    replace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """An unbiased estimate of the encoder's `paths` for some targets, float32 [paths, B, D].

    Each hop's draws are independent of what lies below them, so that the estimate of a product of
    matrices is unbiased, and so is z, which is linear in it. Paths that end alike share their draws.

    Args:
        encoder: gives the paths.
        samplers: by relation; their weights are the matrices' values.
        h0: the source label's vectors, float32 [N_src, D].
        nodes: targets, int64 [B].
        fanouts: draws per node for each hop, the one next to the targets first.
        before: only events strictly earlier; relations without times hold always.
        labels: this batch's supervised edges, sources int64 [L] and targets int64 [L]; no edge of such a
            pair is a message, in either direction, in any relation between the two labels. Their share
            in the matrices' normalisation stays.
        replace: draw with replacement.
        generator: on the device of the arrays.

    Raises:
        ValueError: there are fewer fanouts than hops.
    """
    hops = max(len(path) for path in encoder.path_relations)
    if len(fanouts) < hops:
        raise ValueError(f"{len(fanouts)} fanouts for {hops} hops: give one for each")

    def excluded(relation: Relation) -> Tensor | None:
        if labels is None:
            return None
        sources, targets = labels
        if (relation[0], relation[2]) == (encoder.source, encoder.target):
            return torch.stack([targets, sources])
        if (relation[0], relation[2]) == (encoder.target, encoder.source):
            return torch.stack([sources, targets])
        return None

    def estimate(paths: list[tuple[int, ...]], at: Tensor, hop: int) -> dict[tuple[int, ...], Tensor]:
        found: dict[tuple[int, ...], Tensor] = {(): h0[at]} if () in paths else {}
        for last in sorted({path[-1] for path in paths if path}):
            relation = encoder.relations[last]
            sampler = samplers[relation]
            sample = sampler.sample(
                at,
                fanouts[hop],
                before=before if sampler.timed else None,
                exclude=excluded(relation),
                replace=replace,
                generator=generator,
            )
            below, place = torch.unique(sample.source, return_inverse=True)
            shorter = [path[:-1] for path in paths if path and path[-1] == last]
            for path, vectors in estimate(shorter, below, hop + 1).items():
                found[(*path, last)] = sample.sum(vectors[place])
        return found

    rows = estimate(encoder.path_relations, nodes, 0)
    return torch.stack([rows[path] for path in encoder.path_relations])
