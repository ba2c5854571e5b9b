"""One function in front of every rasterizer.

| backend | what | where |
|---|---|---|
| `cpu` | our kernels, `submodules/diff-gaussian-rasterization` | any CPU |
| `cuda` | our CUDA kernels, compiled at first use by what comes with PyTorch | NVIDIA GPU |
| `gsplat` | the gsplat package, if installed (extra `cuda`) | NVIDIA GPU |
| `inria` | a `diff_gaussian_rasterization` with CUDA kernels in place of ours, if somebody has it | NVIDIA GPU |

`auto` takes `cuda` for tensors on a GPU and `cpu` otherwise. Where there is no GPU, or our kernels cannot run on it,
`cuda` and `auto` say why in one sentence, once, and the CPU does the work.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gaussian.other_rasterizers import Question, by_gsplat, by_inria
from scene.errors import InputError

Backend = Literal["auto", "cpu", "gsplat", "inria", "cuda"]


@dataclass
class Rasterization:
    """What `rasterize` returns; all of it differentiable but `radii`."""

    #: (3, H, W) float32, background composited in
    image: torch.Tensor
    #: (H, W) sum of the compositing weights
    alpha: torch.Tensor
    #: (H, W) sum of weight * z_depth: divide by `alpha` for the expected z_depth
    depth: torch.Tensor
    #: (N,) int32, three standard deviations in pixels, 0 = not on the screen
    radii: torch.Tensor
    #: (N, 2) the handle whose `.grad` after `backward()` is the gradient to the centres on the screen, in pixels;
    #: None unless `screen_gradients` was asked for
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
    """Render Gaussians: scales and opacities in [0, 1], quaternions wxyz of any length, world units.

    With `log_scales` the scales are logarithms, with `opacity_logits` the opacities are logits; the gradients are then
    to these. Our own kernels apply the activations themselves.

    `camera_from_world` uses OpenCV axes, `intrinsics` are (fx, fy, cx, cy) in pixels, with pixel centres at +0.5.
    Gradients go to every tensor that requires one; with the backend `inria` the camera gets none.

    Raises InputError when the backend cannot be used here, ValueError for wrong shapes, types or devices.
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
        render = by_gsplat if name == "gsplat" else by_inria
        image, alpha, depth, radii = render(Question(means, rotations, scales, opacities, **arguments))
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
    """`cuda` or `cpu` for what somebody wants: `auto` is a GPU where our kernels run, and `cuda` where they do not is
    the CPU, after one sentence."""
    if wanted == "cpu":
        return "cpu"
    reason = why_no_cuda()
    if reason is not None and wanted == "cuda":
        warnings.warn(f"{reason} (the CPU optimizes instead)", stacklevel=2)
    return "cpu" if reason is not None else "cuda"


def why_no_cuda() -> str | None:
    """Why our CUDA kernels cannot run here, in one sentence; None if they can."""
    _kernels()
    from diff_gaussian_rasterization import cuda_device

    return cuda_device.reason_against()


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
    """Also for tensors elsewhere, on copies of them; results and gradients go back to where the tensors are."""

    def here(value):
        return value.cpu() if isinstance(value, torch.Tensor) else value

    gaussians = map(here, (means, rotations, scales, opacities))
    result = _kernels().rasterize(*gaussians, **{name: here(value) for name, value in arguments.items()})
    return tuple(output.to(means.device) for output in result)
