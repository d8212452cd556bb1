"""Mixed precision is for CUDA alone, and can be left out to compare devices."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from kgdistill.models.device import autocast, full_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_full_precision_leaves_mixed_precision_out_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = object()
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: mixed if kind == "cuda" else None)
    assert autocast(CUDA) is mixed
    assert isinstance(autocast(CPU), nullcontext)
    with full_precision():
        assert isinstance(autocast(CUDA), nullcontext)
    assert autocast(CUDA) is mixed
    with pytest.raises(KeyError), full_precision():
        raise KeyError
    assert autocast(CUDA) is mixed
