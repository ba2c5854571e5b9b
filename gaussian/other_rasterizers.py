"""Rasterizers of others behind one form of question, for comparisons: gsplat and the original splatting code."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch

from scene.errors import InputError

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Question:
    """What is to be rendered; see `gaussian.rasterize.rasterize`. Scales and opacities are neither logarithms nor
    logits."""

    means: torch.Tensor
    rotations: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    sh_coefficients: torch.Tensor | None
    colors: torch.Tensor | None
    camera_from_world: torch.Tensor
    #: (4,) float32
    intrinsics: torch.Tensor
    width: int
    height: int
    #: (3,) float32
    background: torch.Tensor
    sh_degree: int | None
    near_plane: float
    antialiased: bool
    #: (N, 2) offsets in pixels, which carry gradients
    screen_means: torch.Tensor | None

    def degree(self) -> int | None:
        """Of the harmonics; None where colours are given."""
        if self.sh_coefficients is None:
            return None
        return math.isqrt(self.sh_coefficients.shape[1]) - 1 if self.sh_degree is None else self.sh_degree


def by_gsplat(question: Question) -> Outputs:
    """Image, alpha, depth and radii. Raises InputError where gsplat is not installed or has no kernels."""
    try:
        from gsplat import rasterization  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError("the backend gsplat is not installed: run pip install 'stillsplat[cuda]'") from error
    backend = sys.modules.get("gsplat.cuda._backend")
    if backend is not None and getattr(backend, "_C", None) is None:
        raise InputError("gsplat could not compile its kernels, for which it needs CUDA's nvcc: use the backend cuda")
    means, pose = question.means, question.camera_from_world.to(question.means)
    fx, fy, cx, cy = question.intrinsics.to(means).unbind()
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    matrix = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one]).view(1, 3, 3)
    if question.screen_means is not None:
        # a shift in pixels is a shift of the principal point per Gaussian; to first order, of the centre
        z = (means @ pose[2, :3] + pose[2, 3]).detach()
        offset = question.screen_means / torch.stack([fx, fy]).detach() * z[:, None]
        means = means + offset @ pose[:2, :3].detach()
    images, alphas, info = rasterization(
        means,
        question.rotations,
        question.scales,
        question.opacities,
        question.sh_coefficients if question.colors is None else question.colors,
        pose[None],
        matrix,
        question.width,
        question.height,
        near_plane=question.near_plane,
        sh_degree=question.degree() if question.colors is None else None,
        render_mode="RGB+D",
        packed=False,
        rasterize_mode="antialiased" if question.antialiased else "classic",
    )
    image, alpha, depth = images[0, ..., :3].permute(2, 0, 1), alphas[0, ..., 0], images[0, ..., 3]
    image = image + (1.0 - alpha) * question.background.to(means)[:, None, None]
    radii = info["radii"][0]
    return image, alpha, depth, (radii.amax(-1) if radii.ndim == 2 else radii).int()


def by_inria(question: Question) -> Outputs:
    """Image and radii of the original `diff_gaussian_rasterization`; alpha and depth are NaN. Raises InputError where
    it is not installed, or ours is in its place, and for another near plane than its own."""
    try:
        import diff_gaussian_rasterization as package
    except ImportError as error:
        raise InputError("the backend inria is not installed: there is no diff_gaussian_rasterization") from error
    if hasattr(package, "rasterize"):
        raise InputError(
            "the backend inria needs the package diff_gaussian_rasterization with CUDA kernels, and ours is installed: "
            "use the backend cpu or gsplat"
        )
    if question.near_plane != 0.01:
        raise InputError("the backend inria has its near plane compiled in: leave near_plane alone or use gsplat")
    means, width, height = question.means, question.width, question.height
    fx, fy, cx, cy = question.intrinsics.tolist()
    far, near = 100.0, 0.01
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[0, 2] = 2 * fx / width, 2 * cx / width - 1
    projection[1, 1], projection[1, 2] = 2 * fy / height, 2 * cy / height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1.0
    view = question.camera_from_world.detach().to(means)
    values: dict[str, Any] = {
        "image_height": height,
        "image_width": width,
        "tanfovx": 0.5 * width / fx,
        "tanfovy": 0.5 * height / fy,
        "bg": question.background.to(means),
        "scale_modifier": 1.0,
        "viewmatrix": view.T.contiguous(),
        "projmatrix": (projection.to(means) @ view).T.contiguous(),
        "sh_degree": question.degree() or 0,
        "campos": -view[:3, :3].T @ view[:3, 3],
        "prefiltered": False,
        "debug": False,
        "antialiasing": question.antialiased,
    }
    fields = package.GaussianRasterizationSettings._fields
    settings = package.GaussianRasterizationSettings(**{k: v for k, v in values.items() if k in fields})
    means2d = torch.zeros_like(means)
    if question.screen_means is not None:
        to_unit_square = torch.tensor([2 / width, 2 / height]).to(means)
        means2d = torch.cat([question.screen_means * to_unit_square, means2d[:, 2:]], 1)
    result = package.GaussianRasterizer(settings)(
        means3D=means,
        means2D=means2d,
        opacities=question.opacities[:, None],
        shs=question.sh_coefficients,
        colors_precomp=question.colors,
        scales=question.scales,
        rotations=torch.nn.functional.normalize(question.rotations),
    )
    # the original has no alpha and its depth, where there is one, is of another kind
    unknown = torch.full((height, width), math.nan, device=means.device)
    return result[0], unknown, unknown, result[1]
