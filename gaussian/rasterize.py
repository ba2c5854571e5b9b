"""One function for all rasterizers, and the choice of a device.

| backend | implementation | device |
|---|---|---|
| `cpu` | our kernels, `submodules/diff-gaussian-rasterization` | any CPU |
| `cuda` | our CUDA kernels, compiled at first use by the compiler in PyTorch's packages | NVIDIA GPU |
| `gsplat` | the gsplat package, if installed (extra `cuda`) | NVIDIA GPU |
| `inria` | Inria's `diff_gaussian_rasterization` with CUDA kernels, if installed in place of ours | NVIDIA GPU |

`auto` is `cuda` for tensors on a GPU and `cpu` otherwise. If our CUDA kernels cannot run on this machine, `cuda` and
`auto` warn once with the reason, and the CPU renders.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gaussian.other_rasterizers import RasterizerInputs, rasterize_with_gsplat, rasterize_with_inria
from scene.errors import InputError

Backend = Literal["auto", "cpu", "gsplat", "inria", "cuda"]


@dataclass
class Rasterization:
    """The result of `rasterize`; everything but `radii` is differentiable."""

    #: (3, H, W) float32, over the background
    image: torch.Tensor
    #: (H, W) sum of the blending weights
    alpha: torch.Tensor
    #: (H, W) sum of blending weight times z_depth; divided by `alpha`, it is the expected z_depth
    depth: torch.Tensor
    #: (N,) int32, three standard deviations in pixels, 0 = outside the image
    radii: torch.Tensor
    #: (N, 2) zeros whose `.grad` after `backward()` is the gradient with respect to the projected means, in pixels;
    #: None without `screen_gradients`
    screen_means: torch.Tensor | None


def rasterize(
    means: torch.Tensor,  # (N, 3)
    rotations: torch.Tensor,  # (N, 4)
    scales: torch.Tensor,  # (N, 3)
    opacities: torch.Tensor,  # (N,)
    *,
    sh_coefficients: torch.Tensor | None = None,  # (N, K, 3)
    colors: torch.Tensor | None = None,  # (N, 3)
    camera_from_world: torch.Tensor,  # (4, 4)
    intrinsics: torch.Tensor | Sequence[float],  # (4,)
    width: int,
    height: int,
    background: torch.Tensor | Sequence[float] | None = None,  # (3,)
    sh_degree: int | None = None,
    near_plane: float = 0.01,
    antialiased: bool = False,
    screen_gradients: bool = False,
    log_scales: bool = False,
    opacity_logits: bool = False,
    backend: Backend = "auto",
) -> Rasterization:
    """Renders Gaussians with scales in world units, opacities in [0, 1] and quaternions wxyz of any length.

    With `log_scales`, `scales` are logarithms, and with `opacity_logits`, `opacities` are logits; gradients are with
    respect to these. `camera_from_world` has OpenCV's axes; `intrinsics` are (fx, fy, cx, cy) in pixels, with pixel
    centers at +0.5. All tensors that require gradients get them, except the camera with the backend `inria`.

    Raises `InputError` if the backend cannot be used here, `ValueError` for wrong shapes, types or devices.
    """
    name = _choose(backend, means.device.type)
    screen_means = None
    if screen_gradients:
        screen_means = torch.zeros(len(means), 2, device=means.device, requires_grad=True)
    arguments: dict[str, Any] = {
        "sh_coefficients": sh_coefficients,
        "colors": colors,
        "camera_from_world": camera_from_world,
        "intrinsics": intrinsics,
        "width": width,
        "height": height,
        "background": background,
        "sh_degree": sh_degree,
        "near_plane": near_plane,
        "antialiased": antialiased,
        "screen_means": screen_means,
    }
    if name in ("cpu", "cuda"):
        run = _cpu if name == "cpu" else _kernels().rasterize
        arguments |= {"log_scales": log_scales, "opacity_logits": opacity_logits}
        image, alpha, depth, radii = run(means, rotations, scales, opacities, **arguments)
    else:
        scales = scales.exp() if log_scales else scales
        opacities = opacities.sigmoid() if opacity_logits else opacities
        arguments["intrinsics"] = torch.as_tensor(intrinsics, dtype=torch.float32)
        arguments["background"] = torch.zeros(3) if background is None else torch.as_tensor(background)
        run = rasterize_with_gsplat if name == "gsplat" else rasterize_with_inria
        image, alpha, depth, radii = run(RasterizerInputs(means, rotations, scales, opacities, **arguments))
    return Rasterization(image, alpha, depth, radii, screen_means)


def _choose(backend: str, device: str) -> str:
    if backend not in ("auto", "cpu", "gsplat", "inria", "cuda"):
        raise InputError(f"unknown rasterizer backend '{backend}': use auto, cpu, gsplat, inria or cuda")
    if backend == "auto":
        backend = device if device in ("cpu", "cuda") else "cpu"
    if backend == "cuda":
        reason = why_no_cuda()
        if reason is not None:
            warnings.warn(f"{reason} (the CPU renders instead)", stacklevel=3)
            return "cpu"
    if backend in ("gsplat", "inria") and not torch.cuda.is_available():
        raise InputError(f"the rasterizer backend '{backend}' needs an NVIDIA GPU and none was found: use cpu")
    if backend in ("cuda", "gsplat", "inria") and device != "cuda":
        raise InputError(f"the rasterizer backend '{backend}' needs its tensors on the GPU: move the model there")
    return backend


def usable_device(wanted: str) -> str:
    """The device ("cuda" or "cpu") of splats for `wanted`: "auto" is the CPU, because our CUDA kernels have not run on
    a GPU yet; "cuda" is the CPU, after a warning, if they do not run on this machine."""
    if wanted != "cuda":
        return "cpu"
    reason = why_no_cuda()
    if reason is not None:
        warnings.warn(f"{reason} (the CPU is used instead)", stacklevel=2)
    return "cpu" if reason is not None else "cuda"


def why_no_cuda() -> str | None:
    """One sentence on why our CUDA kernels cannot run on this machine; None if they can."""
    _kernels()
    from diff_gaussian_rasterization import cuda_device

    return cuda_device.unavailable_reason()


def _kernels():
    try:
        import diff_gaussian_rasterization as kernels
    except ImportError as error:
        raise InputError(f"our rasterizer is not installed: {error}") from error
    if not hasattr(kernels, "rasterize"):
        raise InputError(
            "another package named diff_gaussian_rasterization is installed in place of ours: "
            "run 'pip install ./submodules/diff-gaussian-rasterization', or use the backend inria"
        )
    return kernels


def _cpu(means, rotations, scales, opacities, **arguments):
    """Rasterizes on the CPU. Tensors on other devices are copied there, results and gradients back to their device."""

    def on_cpu(value):
        return value.cpu() if isinstance(value, torch.Tensor) else value

    gaussians = map(on_cpu, (means, rotations, scales, opacities))
    result = _kernels().rasterize(*gaussians, **{name: on_cpu(value) for name, value in arguments.items()})
    return tuple(output.to(means.device) for output in result)
