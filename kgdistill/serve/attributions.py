"""What of a history speaks for the class that is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kgdistill.serve.bundle import Bundle

_MOST = 200


class Attribution(NamedTuple):
    """One item of a history: by how much less probable the told class would be without it."""

    key: str
    less: float


def attributions(bundle: Bundle, history: Sequence[str], *, limit: int = 3) -> dict[str, list[Attribution]]:
    """By target what speaks most for the class that is told, by taking each item away in turn.

    Args:
        bundle: that tells classes of histories.
        history: keys, each once; of a longer one the last 200 are taken away.
        limit: at most so many, none that speaks against.

    Raises:
        InputError: as `Bundle.classify`.
    """
    keys = list(dict.fromkeys(history))
    asked = keys[-_MOST:]
    whole, *without = bundle.classify(histories=[keys, *([k for k in keys if k != key] for key in asked)])
    found = {}
    for name, told in whole.targets.items():
        held = told.first
        less = [
            Attribution(key, told.probabilities[held] - one.targets[name].probabilities[held])
            for key, one in zip(asked, without, strict=True)
        ]
        found[name] = sorted((e for e in less if e.less > 0), key=lambda e: (-e.less, e.key))[:limit]
    return found
