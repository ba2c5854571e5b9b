"""Shared by the CPU kernels and the CUDA kernels: flags, field names, and helpers that fill structs."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

#: flags of `cuda_kernels/conventions.h`, which explains them
LOG_SCALES, OPACITY_LOGITS, ANTIALIASED, CENTER_FROM_POSE, CAMERA_GRADIENT, SAVE_STATES = 1, 2, 4, 8, 16, 32
INVERSE_DEPTH = 64

#: tensors of a scene, in the order of the structs
GAUSSIAN_FIELDS = ("means", "rotations", "scales", "opacities", "sh", "colors", "covariances", "screen_means")
#: those that are optimized
OPTIMIZED_FIELDS = GAUSSIAN_FIELDS[:5]


class RasterSettings(NamedTuple):
    """The settings of a rendering that are not tensors."""

    width: int
    height: int
    sh_degree: int
    flags: int
    near_plane: float
    scale_modifier: float
    #: camera center in the world; None: -R^T t, whose gradient is added to that of the pose
    center: tuple[float, float, float] | None = None
    #: `screen_means` (N, 3) are not read; they only receive the gradient to the screen positions, in units of half the
    #: image (the drop-in interface)
    screen_in_ndc: bool = False


def fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    """The fields of a struct that are all of one type."""
    return [(name, kind) for name in names.split()]


#: the first fields of the struct Loss, which both kinds of kernels have
LOSS_IMAGES = [
    *fields(ctypes.c_void_p, "image target target_bytes"),
    *fields(ctypes.c_int64, "target_channel target_row target_column"),
]
#: the first fields of the struct AdamGroup
ADAM_TENSORS = [
    *fields(ctypes.c_void_p, "parameter gradient exp_avg exp_avg_sq visible"),
    *fields(ctypes.c_int64, "elements count"),
]


def strides(tensor: torch.Tensor) -> tuple[int, int, int]:
    """Element strides over Gaussians, coefficients and components of a (N,), (N, C) or (N, K, C) tensor."""
    given = tensor.stride()
    if len(given) == 3:
        return given[0], given[1], given[2]
    return given[0], 0, given[1] if len(given) == 2 else 0


def pointer(tensor: torch.Tensor | None) -> int | None:
    """The address of a tensor; None becomes a null pointer."""
    return None if tensor is None else tensor.data_ptr()


def image_pointers(target: torch.Tensor) -> tuple[int | None, ...]:
    """The fields of LOSS_IMAGES after `image`: a (3, H, W) target, float32 or uint8, with any strides."""
    address, is_float = target.data_ptr(), target.dtype == torch.float32
    return (address, None, *target.stride()) if is_float else (None, address, *target.stride())


def adam_pointers(tensors: Sequence[torch.Tensor], visible: torch.Tensor | None) -> tuple[int | None, ...]:
    """The fields of ADAM_TENSORS: parameter, gradient, exp_avg and exp_avg_sq, and which Gaussians are visible."""
    parameter = tensors[0]
    count = len(parameter) if parameter.ndim else 1
    return (*map(pointer, tensors), pointer(visible), parameter.numel(), count)
