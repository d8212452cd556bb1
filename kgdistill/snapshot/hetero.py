"""Snapshot → PyTorch Geometric."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

with warnings.catch_warnings():
    # On importing, PyTorch Geometric uses parts of torch that a newer torch warns of.
    warnings.simplefilter("ignore")
    import torch
    from torch_geometric.data import HeteroData

if TYPE_CHECKING:
    from kgdistill.snapshot.snapshot import Snapshot


def hetero_data(snapshot: Snapshot) -> HeteroData:
    """See `Snapshot.to_hetero_data`."""
    data = HeteroData()
    for label in snapshot.labels:
        data[label].num_nodes = snapshot.num_nodes(label)
    for edge in snapshot.edge_types:
        source, name, target = edge
        ends = torch.from_numpy(snapshot.edge_index(edge))
        back = (target, f"rev_{name}", source)
        data[edge].edge_index = ends
        data[back].edge_index = ends.flip(0)
        times = snapshot.times(edge)
        if times is not None:
            seconds = times.astype("datetime64[s]").astype(np.int64)
            data[edge].edge_time = torch.from_numpy(seconds)
            data[back].edge_time = torch.from_numpy(seconds.copy())
    return data
