"""A GPU that is pretended: its tensors lie on the CPU, but mixing both is as wrong as it is on a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CUDA = torch.device("cuda")
_CPU = torch.device("cpu")
_TO_NUMPY = {Tensor.numpy, Tensor.__array__}
_INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_BETWEEN = {Tensor.copy_, _SET_DATA, torch._has_compatible_shallow_copy_type}
"""What both sides may take part in."""
# What a tensor says of its own device.
_DEVICE, _IS_CUDA, _IS_CPU = (getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_cpu"))


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _tensors(part)
    elif isinstance(given, dict):
        yield from _tensors(list(given.values()))


def there(tensor: Tensor) -> bool:
    """Whether a tensor is on the pretended GPU."""
    return getattr(tensor, "_pretended", False)


class PretendedGpu(TorchFunctionMode):
    """Within it `cuda` is a device. Tensors reach it and leave it by `to`, `cpu` and `copy_` alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if first is not None and func in (_DEVICE, _IS_CUDA, _IS_CPU):
            on = there(first)
            return (CUDA if on else _CPU) if func == _DEVICE else on == (func == _IS_CUDA)
        if func in _TO_NUMPY and first is not None and there(first):
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")
        if func is Tensor.cpu:
            return self._moved(first, False)
        if func is Tensor.to:
            return self._to(first, args[1:], kwargs)
        device = kwargs.get("device")
        if device is not None:
            kwargs["device"] = _CPU
        given = [*_tensors(args), *_tensors(kwargs)]
        if func not in _BETWEEN:
            self._check(func, args, given)
        out = func(*args, **kwargs)
        on = torch.device(device).type == "cuda" if device is not None else any(map(there, given))
        if func is Tensor.copy_:
            on = there(args[0])
        if func == _SET_DATA:
            args[0]._pretended = there(args[1])
            return out
        for tensor in _tensors(out):
            tensor._pretended = on  # type: ignore[attr-defined]
        return out

    def _moved(self, tensor: Tensor | None, on: bool) -> Tensor:
        assert tensor is not None
        if there(tensor) == on:
            return tensor
        out = tensor.clone()
        out._pretended = on  # type: ignore[attr-defined]
        return out

    def _to(self, tensor: Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        assert tensor is not None
        on, dtype = there(tensor), kwargs.get("dtype", tensor.dtype)
        for arg in (*args, kwargs.get("device")):
            if isinstance(arg, torch.device | str):
                on = torch.device(arg).type == "cuda"
            elif isinstance(arg, Tensor):
                on, dtype = there(arg), arg.dtype
            elif isinstance(arg, torch.dtype):
                dtype = arg
        out = self._moved(tensor, on)
        if out.dtype != dtype:
            out = out.to(dtype)
            out._pretended = on  # type: ignore[attr-defined]
        return out

    def _check(self, func: Callable[..., Any], args: Any, given: list[Tensor]) -> None:
        # A single number may come from the CPU, and none from the GPU go there.
        places = {there(tensor) for tensor in given if tensor.dim() or there(tensor)}
        if len(places) < 2:
            return
        if func in _INDEXING:
            # A slice takes values from anywhere; places on the CPU may point into what is on the GPU.
            sliced = func is Tensor.__setitem__ and not any(t.dim() for t in _tensors(args[1]))
            if sliced or (there(args[0]) and all(there(t) or not t.dim() for t in _tensors(args[2:]))):
                return
        name = getattr(func, "__name__", func)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, cuda or cpu")
