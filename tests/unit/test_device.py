"""Mixed precision is for CUDA alone, and can be left out to compare devices."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from kgdistill.models.device import attention, autocast, full_precision

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


def test_attention_on_cuda_leaves_out_what_plans_for_each_length() -> None:
    enabled = torch.backends.cuda.cudnn_sdp_enabled
    before = enabled()
    with attention(torch.device("cpu")):
        assert enabled() == before
    with attention(torch.device("cuda")):
        assert not enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert enabled() == before
