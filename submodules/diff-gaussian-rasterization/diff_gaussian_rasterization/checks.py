"""Checks of arguments. All raise ValueError with one sentence that names the argument and what it must be."""

import math
from collections.abc import Sequence

import torch

CPU = torch.device("cpu")


def check_means(name: str, tensor: torch.Tensor) -> tuple[int, torch.device]:
    """The number of Gaussians, and the device that all their tensors must be on."""
    where = tensor.device if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda" else CPU
    return check_gaussian(name, tensor, (3,), device=where), where


def check_gaussian(
    name: str, tensor: torch.Tensor, tail: tuple[int, ...], count: int | None = None, device: torch.device | None = None
) -> int:
    """Checks a float32 tensor of shape (N, *tail) on `device` (None: the CPU) and returns N, which must be `count`."""
    device = CPU if device is None else device
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name} must be a torch tensor, not {type(tensor).__name__}")
    if tensor.device != device:
        raise ValueError(f"{name} must be on {'the CPU' if device == CPU else device}, not on {tensor.device}")
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name} must be float32, not {str(tensor.dtype).removeprefix('torch.')}")
    expected = ("N" if count is None else count, *tail)
    if tensor.ndim != len(expected) or tensor.shape[1:] != tail or (count is not None and len(tensor) != count):
        shape = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{name} must have shape ({shape}), not {tuple(tensor.shape)}")
    return len(tensor)


def check_sh(tensor: torch.Tensor, sh_degree: int | None, count: int, device: torch.device) -> int:
    """Checks `sh_coefficients` (N, K, 3) and returns the degree to use: `sh_degree`, or the highest one."""
    if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
        shape = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ValueError(f"sh_coefficients must have shape (N, K, 3), not {shape}")
    terms = tensor.shape[1]
    check_gaussian("sh_coefficients", tensor, (terms, 3), count, device)
    return check_degree(min(3, math.isqrt(terms) - 1) if sh_degree is None else sh_degree, terms)


def check_degree(sh_degree: int, terms: int) -> int:
    """Checks the degree of spherical harmonics for a tensor with `terms` coefficients."""
    degree = int(sh_degree)
    if not 0 <= degree <= 3 or (degree + 1) ** 2 > terms:
        raise ValueError(f"sh_degree must be 0 to 3 and fit the {terms} coefficients, not {degree}")
    return degree


def check_positive(name: str, value: float) -> None:
    """Checks that a number is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, not {value}")


def check_size(width: int, height: int) -> None:
    """Checks the size of an image in pixels."""
    for name, value in (("width", width), ("height", height)):
        if not math.isfinite(value) or int(value) != value or not 1 <= value <= 65536:
            raise ValueError(f"{name} must be a whole number of pixels from 1 to 65536, not {value}")


def camera_tensor(
    name: str, value: torch.Tensor | Sequence[float], shape: tuple[int, ...], where: torch.device
) -> torch.Tensor:
    """A part of the camera as float32: on the CPU with checked values, or on the GPU `where`, if it is there already.

    Values on the GPU are not checked, because reading them would wait for the GPU.
    """
    if where == CPU or not isinstance(value, torch.Tensor) or value.device != where:
        return on_cpu(name, value, shape)
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
    return value.float()


def on_cpu(name: str, value: torch.Tensor | Sequence[float], shape: tuple[int, ...]) -> torch.Tensor:
    """A part of the camera as a float32 tensor on the CPU, with checked values."""
    tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float32)
    camera_numbers(name, tensor, shape)
    return tensor if tensor.dtype == torch.float32 and tensor.device.type == "cpu" else tensor.to("cpu", torch.float32)


def camera_numbers(name: str, value: torch.Tensor | Sequence[float], shape: tuple[int, ...]) -> list[float]:
    """The checked numbers of a part of the camera, row by row."""
    if not isinstance(value, torch.Tensor):
        value = torch.tensor(value, dtype=torch.float32) if len(shape) > 1 or len(value) != shape[0] else value
    if isinstance(value, torch.Tensor):
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
        numbers = (value if value.dtype == torch.float32 else value.float()).tolist()
        numbers = [number for row in numbers for number in row] if len(shape) > 1 else numbers
    else:  # a few numbers, for which creating a tensor would take longer
        numbers = list(map(float, value))
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} must be finite")
    if name == "intrinsics" and not (numbers[0] > 0 and numbers[1] > 0):
        raise ValueError(f"the focal lengths must be positive, not {numbers[0]} and {numbers[1]}")
    return numbers
