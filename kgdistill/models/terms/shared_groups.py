"""The term of groups that items share: how much more of them a history holds than everybody's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgdistill.arrays import IntArray
from kgdistill.models.terms.protocol import Unit
from kgdistill.models.terms.sparse import csr_tensor
from kgdistill.tasks.interactions import Interactions
from kgdistill.tasks.item_groups import ItemGroups


@dataclass(frozen=True)
class SharedGroups:
    """log(1 + the user's share of purchases in a group / everybody's), by the mean over an item's groups.

    Attributes:
        view: whose histories.
        family: the groups of the items.
        device: where to compute.
    """

    view: Interactions
    family: ItemGroups
    device: torch.device
    unit: Unit = field(default="score", init=False)

    @property
    def name(self) -> str:
        """The family's."""
        return self.family.name

    def lift(self, anchors: IntArray) -> Tensor:
        """Of each group, float32 [B, groups + 1]; the last, for items without one, is 0."""
        shares, everybody = self.view.group_shares(self.family)
        dense = torch.from_numpy(shares[anchors].toarray()).to(self.device, torch.float32)
        lift = torch.log1p(dense / torch.from_numpy(everybody).to(self.device).clamp(min=1e-9))
        return torch.nn.functional.pad(lift, (0, 1))

    def pairs(self, anchors: IntArray, candidates: IntArray) -> Tensor:
        """Float32 [B, C] of users and shared items."""
        lift, codes = self.lift(anchors), self.family.codes
        if codes is not None:  # looking up is several times faster than the product
            return lift.index_select(1, torch.from_numpy(codes[candidates]).to(self.device))
        rows = csr_tensor(self.family.incidence[candidates], self.device)
        return (rows @ lift[:, :-1].T).T.contiguous()

    def lists(self, anchors: IntArray, lists: IntArray) -> Tensor:
        """Float32 [B, C] of each user's own list."""
        lift, codes = self.lift(anchors), self.family.codes
        if codes is not None:
            return lift.gather(1, torch.from_numpy(codes[lists]).to(self.device))
        rows = self.family.incidence[lists.ravel()]
        cell = np.repeat(np.arange(lists.size), np.diff(rows.indptr))
        place = cell // lists.shape[1] * lift.shape[1] + rows.indices
        where, cells = (torch.from_numpy(a.astype(np.int64)).to(self.device) for a in (place, cell))
        values = lift.ravel()[where] * torch.from_numpy(rows.data).to(self.device)
        return torch.zeros(lists.size, device=self.device).index_add_(0, cells, values).reshape(lists.shape)

    def packed(self, candidates: IntArray) -> dict[str, npt.NDArray[Any]]:
        """The candidates' groups, as CSR in ascending rows, and everybody's share of each."""
        rows = self.family.incidence[candidates]
        rows.sort_indices()
        return {
            "indices": rows.indices.astype(np.int32),
            "indptr": rows.indptr.astype(np.int32),
            "everybody": self.view.group_shares(self.family)[1],
        }
