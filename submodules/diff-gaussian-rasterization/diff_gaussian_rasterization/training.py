"""Fused operations of a training step: the photometric loss with its gradient, and Adam."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from diff_gaussian_rasterization import cuda_device, cuda_training
from diff_gaussian_rasterization._library import library
from diff_gaussian_rasterization.cpu_structs import AdamStruct, LossStruct
from diff_gaussian_rasterization.structs import adam_pointers, image_pointers, pointer


class PhotometricLoss(NamedTuple):
    """The result of `photometric_loss`."""

    #: sum over pixels of l1_weight * mean over channels of |image - target|; for images on a GPU a float64 scalar there
    l1_sum: float | torch.Tensor
    #: sum over pixels of ssim_weight * mean over channels of (1 - SSIM); of the same type as `l1_sum`
    ssim_sum: float | torch.Tensor
    #: (3, H, W) gradient of l1_factor * l1_sum + ssim_factor * ssim_sum to the image; None if not requested
    gradient: torch.Tensor | None
    #: (H, W) mean over channels of |image - target|, unweighted; None if not requested
    l1_map: torch.Tensor | None
    #: (H, W) mean over channels of 1 - SSIM, unweighted; None if not requested
    ssim_map: torch.Tensor | None


def photometric_loss(
    image: torch.Tensor,  # (3, H, W) float32
    target: torch.Tensor,  # (3, H, W) or (H, W, 3), float32 in [0, 1] or uint8
    l1_weight: torch.Tensor | None = None,  # (H, W) float32, at least 0; None: 1 everywhere
    ssim_weight: torch.Tensor | None = None,  # (H, W) float32, at least 0; None: 1 everywhere
    *,
    l1_factor: float,
    ssim_factor: float,
    gradient: bool = True,
    maps: bool = False,
    out: torch.Tensor | None = None,  # (3, H, W) float32
) -> PhotometricLoss:
    """Weighted L1 and SSIM in one pass, with the gradient of l1_factor * l1_sum + ssim_factor * ssim_sum to the image.

    The sums are not normalized: for a mean over valid pixels include 1 / (sum of weights) in the factors. SSIM (Wang et
    al. 2004) has an 11x11 Gaussian window with sigma 1.5 and zeros outside the image; `ssim_weight` belongs to the
    center of the window. With an `ssim_factor` of 0 and without maps, SSIM is not computed and its sum is 0.

    With `out` the gradient is written there, which saves an allocation on the CPU; on a GPU it has no effect. Images on
    a GPU never make the host wait: the sums stay on the GPU.

    Raises ValueError for wrong shapes, types or devices.
    """
    where = image.device
    _check("image", image, torch.float32, where)
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise ValueError(f"image must have shape (3, H, W), not {tuple(image.shape)}")
    _, height, width = image.shape
    image = image.detach().contiguous()
    if target.dtype not in (torch.float32, torch.uint8):
        raise ValueError(f"target must be float32 or uint8, not {str(target.dtype).removeprefix('torch.')}")
    _check("target", target, target.dtype, where)
    if tuple(target.shape) == (height, width, 3) and tuple(target.shape) != (3, height, width):
        target = target.permute(2, 0, 1)
    if tuple(target.shape) != (3, height, width):
        raise ValueError(f"target must have shape (3, {height}, {width}), not {tuple(target.shape)}")
    for name, weight in (("l1_weight", l1_weight), ("ssim_weight", ssim_weight)):
        if weight is not None:
            _check(name, weight, torch.float32, where)
            if tuple(weight.shape) != (height, width):
                raise ValueError(f"{name} must have shape ({height}, {width}), not {tuple(weight.shape)}")
    l1_weight = None if l1_weight is None else l1_weight.detach().contiguous()
    ssim_weight = None if ssim_weight is None else ssim_weight.detach().contiguous()
    device = cuda_device.device_for(where)
    if device is not None:
        factors = {"l1_factor": float(l1_factor), "ssim_factor": float(ssim_factor)}
        return PhotometricLoss(
            *cuda_training.photometric_loss(
                device, image, target, l1_weight, ssim_weight, **factors, gradient=gradient, maps=maps
            )
        )
    if out is not None:
        _check("out", out, torch.float32, where)
        if out.shape != image.shape or not out.is_contiguous():
            raise ValueError(f"out must be contiguous and have shape {tuple(image.shape)}, not {tuple(out.shape)}")
    d_image = None if not gradient else torch.empty_like(image) if out is None else out
    l1_map = torch.empty(height, width) if maps else None
    ssim_map = torch.empty(height, width) if maps else None
    call = LossStruct(
        image.data_ptr(), *image_pointers(target), width, height, pointer(l1_weight), pointer(ssim_weight),
        float(l1_factor), float(ssim_factor), pointer(d_image), pointer(l1_map), pointer(ssim_map),
    )  # fmt: skip
    sums = (ctypes.c_double * 2)()
    if library.stillsplat_loss(ctypes.byref(call), sums):
        raise MemoryError("out of memory for the photometric loss")
    return PhotometricLoss(sums[0], sums[1], d_image, l1_map, ssim_map)


@dataclass
class AdamGroup:
    """A tensor to optimize, with its gradient, moments and learning rate.

    Tensors have the same shape; parameter and moments also have the same memory layout.
    """

    parameter: torch.Tensor
    gradient: torch.Tensor
    exp_avg: torch.Tensor
    exp_avg_sq: torch.Tensor
    learning_rate: float


def adam_step(
    groups: Sequence[AdamGroup],
    step: int,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-15,
    visible: torch.Tensor | None = None,
) -> None:
    """One step of Adam (Kingma and Ba 2015) in place, equal to torch.optim.Adam; `step` counts from 1.

    With `visible` (N,) bool only the parameters and moments of those Gaussians change, which differs from Adam; tensors
    must then be contiguous over Gaussians. The memory of a tensor must have no gaps. Slices such as `sh[:, :1]` of a
    tensor that is contiguous over Gaussians have none.

    Raises ValueError for wrong shapes, types, devices or layouts.
    """
    if step < 1:
        raise ValueError(f"step counts from 1, not {step}")
    checked = []
    mask = None
    where = groups[0].parameter.device if groups else torch.device("cpu")
    if visible is not None:
        _check("visible", visible, torch.bool, where)
        mask = visible.contiguous()
    for group in groups:
        for name in ("parameter", "gradient", "exp_avg", "exp_avg_sq"):
            tensor = getattr(group, name)
            _check(name, tensor, torch.float32, where)
            if tensor.shape != group.parameter.shape:
                raise ValueError(f"{name} must have the parameter's shape {tuple(group.parameter.shape)}")
        if group.parameter.numel() == 0:
            continue
        layout = _layout(group.parameter)
        if layout is None or any(_layout(t) != layout for t in (group.exp_avg, group.exp_avg_sq)):
            raise ValueError("parameter and moments must have the same memory layout without gaps")
        gradient = group.gradient
        if _layout(gradient) != layout:
            gradient = torch.empty_like(group.parameter).copy_(gradient)
        if mask is not None:
            if len(mask) != len(group.parameter):
                raise ValueError(f"visible must have shape ({len(group.parameter)},), not {tuple(mask.shape)}")
            if group.parameter.numel() > len(mask) and group.parameter.stride(0) != 1:
                raise ValueError("with visible, tensors must be contiguous over Gaussians: (3, N).T rather than (N, 3)")
        tensors = (group.parameter, gradient, group.exp_avg, group.exp_avg_sq)
        checked.append((tensors, float(group.learning_rate)))
    if not checked:
        return
    device = cuda_device.device_for(where)
    if device is not None:
        cuda_training.adam_step(device, checked, step, beta1=beta1, beta2=beta2, epsilon=epsilon, visible=mask)
        return
    constants = ((1.0 - beta2**step) ** -0.5, beta1, beta2, epsilon)
    arguments = [
        AdamStruct(*adam_pointers(tensors, mask), learning_rate / (1.0 - beta1**step), *constants)
        for tensors, learning_rate in checked
    ]
    library.stillsplat_adam((AdamStruct * len(arguments))(*arguments), len(arguments))


def _layout(tensor: torch.Tensor) -> tuple[tuple[int, int], ...] | None:
    """(size, stride) of the dimensions that have more than one element, or None if the memory has gaps."""
    layout = tuple((size, stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    expected = 1
    for size, stride in sorted(layout, key=lambda pair: pair[1]):
        if stride != expected:
            return None
        expected *= size
    return layout


def _check(name: str, tensor: torch.Tensor, dtype: torch.dtype, where: torch.device) -> None:
    if tensor.device != where or where.type not in ("cpu", "cuda"):
        expected = where if where.type == "cuda" else "the CPU"
        raise ValueError(f"{name} must be on {expected}, not on {tensor.device}")
    if tensor.dtype != dtype:
        expected, got = (str(t).removeprefix("torch.") for t in (dtype, tensor.dtype))
        raise ValueError(f"{name} must be {expected}, not {got}")
