"""Finds code that mixes devices, without a GPU.

A tensor "on the GPU" is a CPU tensor with a mark. Inside `PretendedGpu` the device of marked tensors is `cuda:0`, and
results of operations on them are marked. Operations that PyTorch would refuse, because tensors are on different devices
or because NumPy cannot read from a GPU, raise RuntimeError.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda:0")
#: operations that may mix devices: copies, and indexing with indices on the CPU
_MIXING = {"copy_", "__getitem__", "__setitem__", "index_put_", "to", "set_data"}
_TO_HOST = {"numpy", "__array__"}


def is_marked(tensor: torch.Tensor) -> bool:
    return tensor.__dict__.get("pretended", False)


def mark(value: Any, marked: bool) -> Any:
    if isinstance(value, torch.Tensor):
        value.__dict__["pretended"] = marked
    elif isinstance(value, (tuple, list)):
        for item in value:
            mark(item, marked)
    return value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _device_of(value: Any) -> torch.device | None:
    if isinstance(value, torch.Tensor):
        return GPU if is_marked(value) else torch.device("cpu")
    if isinstance(value, torch.device):
        return value
    return torch.device(value) if isinstance(value, str) else None


class PretendedGpu(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        tensors = _tensors(args) + _tensors(list(kwargs.values()))
        marked = any(map(is_marked, tensors))
        if name == "__get__" and owner == "device":
            return _device_of(args[0])
        if name == "__get__" and owner == "is_cuda":
            return marked
        if name == "pin_memory":
            return args[0]
        if name in ("cpu", "cuda"):
            return self._moved(args[0], torch.device(name))
        if name == "to":
            wanted = next((d for d in map(_device_of, [*args[1:], kwargs.get("device")]) if d is not None), None)
            kept = [a for a in args[1:] if isinstance(a, torch.dtype)]
            kept += [a.dtype for a in args[1:] if isinstance(a, torch.Tensor)]
            value = torch.Tensor.to(args[0], *kept) if kept else args[0]
            return self._moved(value, _device_of(args[0]) if wanted is None else wanted)
        if name in _TO_HOST and marked:
            raise RuntimeError("NumPy cannot read a tensor on the GPU")
        # tensors that autograd saved come back as other objects without a mark; their device is unknown
        whole = {is_marked(tensor) for tensor in tensors if tensor.ndim > 0 and "pretended" in tensor.__dict__}
        if len(whole) > 1 and name not in _MIXING:
            raise RuntimeError(f"{name} with tensors on different devices")
        device = kwargs.get("device")
        if device is not None:
            marked = torch.device(device).type == "cuda"
            kwargs["device"] = "cpu"
        if name == "__setitem__" or name == "copy_":
            marked = is_marked(args[0])
        unknown = tensors and device is None and not any("pretended" in tensor.__dict__ for tensor in tensors)
        return func(*args, **kwargs) if unknown else mark(func(*args, **kwargs), marked)

    @classmethod
    def around_backward(cls, monkeypatch, function: type[torch.autograd.Function]) -> None:
        """Makes `function.backward` enter the mode, which autograd leaves, with gradients on the GPU."""
        original = function.backward

        def backward(ctx, *output_gradients):
            with cls():
                return original(ctx, *mark(output_gradients, True))

        monkeypatch.setattr(function, "backward", staticmethod(backward))

    def _moved(self, tensor: torch.Tensor, device: torch.device | None) -> torch.Tensor:
        marked = device is not None and device.type == "cuda"
        if marked == is_marked(tensor):
            return tensor
        return mark(tensor.clone(), marked)
