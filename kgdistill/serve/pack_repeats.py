"""A fitted repeat model, and what is known of a bundle's items, as a part of the bundle."""

from __future__ import annotations

import numpy as np

from kgdistill.arrays import IntArray
from kgdistill.ranking.habits import ItemHabits, Past
from kgdistill.ranking.repeats import ListSettings, RepeatNetwork
from kgdistill.serve.repeats import Repeats


def pack_repeats(network: RepeatNetwork, lists: ListSettings, past: Past, items: IntArray) -> Repeats:
    """The part of a bundle that ranks what is bought again.

    Args:
        network, lists: of the model.
        past: everybody's lines, over the snapshot's items, and the moment that they end at.
        items: those of the bundle, ids; every one that was bought is among them.
    """
    users, count = past.shape
    # One more than there are: what nobody bought is known by it.
    known = Past(past.users, past.items, past.at, past.until_us, (users, count + 1)).item_habits
    rows = np.append(items, count)
    habits = ItemHabits(known.values[rows], known.interval[rows], np.searchsorted(items, known.popular))
    return Repeats.packed(network, lists, habits, past.until_us, len(items))
