"""Where the computation runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from kgdistill.errors import InputError

_FULL = ContextVar("full precision", default=False)
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
TABLE_BYTES = 1 << 30
"""A table of up to so many bytes lies on the device."""


def choose_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: the device is asked for by name and is not there.
    """
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device("cuda" if have["cuda"] else "cpu")
    if name not in have:
        raise InputError(f"unknown device {name!r}", hint="choose auto, cpu, cuda or mps")
    if not have[name]:
        raise InputError(f"no {name} device is available here", hint="use --device auto or cpu")
    return torch.device(name)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA, nothing elsewhere, and nothing within `full_precision`."""
    if device.type == "cuda" and not _FULL.get():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def attention(device: torch.device) -> AbstractContextManager[object]:
    """On CUDA any attention but cuDNN's, which plans anew for each length that a batch's texts have."""
    return sdpa_kernel(_ATTENTION) if device.type == "cuda" else nullcontext()


def home(size: int, device: torch.device) -> torch.device:
    """Where a table of so many bytes lies, of which every step reads some rows: a large one on the CPU."""
    return device if size <= TABLE_BYTES else torch.device("cpu")


def at_home(whole: Tensor, device: torch.device) -> Tensor:
    """A table at its `home`."""
    return whole.to(home(whole.nbytes, device))


def taken(held: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Rows int64 [B] of a table, wherever it lies, on a device."""
    return held.index_select(0, rows.to(held.device)).to(device)


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it training stays in float32 on every device, so that two devices can be compared."""
    token = _FULL.set(True)
    try:
        yield
    finally:
        _FULL.reset(token)
