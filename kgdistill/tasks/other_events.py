"""Events beside the one that is right: what else a history holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from kgdistill.snapshot import Snapshot
from kgdistill.tasks.interactions import OtherEvents
from kgdistill.tasks.match import MatchTask, counted_events


def other_events(snapshot: Snapshot, task: MatchTask, weights: Mapping[str, float]) -> list[OtherEvents]:
    """The events of further kinds of the task's users and items, before the cut.

    Args:
        snapshot: the graph at the cut.
        task: says which users and items take part.
        weights: of one event, by the relationship's type; 0: left out, as if there were none.
    """
    users, items = np.zeros(task.train.shape[0], np.bool_), np.zeros(task.train.shape[1], np.bool_)
    users[task.users], items[task.items] = True, True
    out = []
    for name, edge in task.protocol.beside(weights).items():
        asked = task.protocol.model_copy(update={"interaction": edge})
        # One that is left out, or not in the graph yet, is read of whoever asks later, and says nothing.
        there = weights[name] and edge in snapshot.edge_types and snapshot.num_edges(edge)
        anchors, candidates, at = counted_events(snapshot, asked) if there else (np.zeros(0, np.int64),) * 3
        kept = users[anchors] & items[candidates]
        anchors, candidates, at = anchors[kept], candidates[kept], at[kept]
        # Of several events of a pair the first, as of the task's own.
        order = np.lexsort((at, candidates, anchors))
        first = np.unique(anchors[order] * np.int64(len(items)) + candidates[order], return_index=True)[1]
        rows, columns, times = (a[order][first] for a in (anchors, candidates, at))
        pairs, moments = (
            sp.csr_matrix((data, (rows, columns)), shape=task.train.shape)
            for data in (np.ones(len(rows), np.float32), times)
        )
        out.append(OtherEvents(name, float(weights[name]), pairs, moments))
    return out
