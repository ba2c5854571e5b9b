"""Cameras out of ray maps: a homography between the rays of a plain camera and the predicted ones, taken apart.

With K the intrinsics and R the rotation of `world_from_camera`, a pixel p has the direction R inv(K) p. For p seen by a
camera with focal length one and a centred principal point this is a homography A = R U, U upper triangular, which
random samples and a weighted direct linear transform find, and a QR decomposition takes apart.
"""

import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.cameras import inverse_rigid

#: random samples per scene, rays per sample, and the share of most confident rays that samples come from
SAMPLES, SAMPLE_SIZE, CANDIDATES = 100, 8, 0.3
#: how far a predicted ray may be from the homography's, on the plane at depth one
_INLIER_DISTANCE = 0.2
#: rays closer to the plane z = 0 have no place on the plane at depth one
_SMALLEST_Z = 1e-4


def plane_points(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Where the rays of the cells of a image meet the plane at depth one, seen by a camera whose image spans
    [-1, 1] in both directions with focal length one: (rows, columns, 2), cell centres."""
    x = (torch.arange(columns, device=device) + 0.5) * (2.0 / columns) - 1.0
    y = (torch.arange(rows, device=device) + 0.5) * (2.0 / rows) - 1.0
    return torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)


def fit_homography(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The homographies (..., 3, 3), of length one, from `source` to `target` (..., N, 2) by the direct linear
    transform, equations weighted by the root of `weight` (..., N). Computed in float64."""
    x, y = source.double().unbind(-1)
    u, v = target.double().unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    first = torch.stack([-x, -y, -one, zero, zero, zero, x * u, y * u, u], dim=-1)
    second = torch.stack([zero, zero, zero, -x, -y, -one, x * v, y * v, v], dim=-1)
    root = weight.double().sqrt()[..., None]
    equations = torch.cat([first * root, second * root], dim=-2)
    # the null vector of the equations: the eigenvector of the least eigenvalue, which eigh lists first
    return torch.linalg.eigh(equations.transpose(-1, -2) @ equations).eigenvectors[..., 0].unflatten(-1, (3, 3))


def apply_homography(homography: Tensor, points: Tensor) -> Tensor:
    """Points (..., N, 2) under homographies (..., 3, 3)."""
    moved = points @ homography[..., :2].transpose(-1, -2) + homography[..., None, :, 2]
    return moved[..., :2] / moved[..., 2:]


def decompose_ql(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (..., 3, 3) = Q L with Q orthogonal and L lower triangular with a positive diagonal."""
    q, upper = torch.linalg.qr(matrix.flip(-1))
    return _positive(q.flip(-1), upper.flip(-1).flip(-2))


def decompose_qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (..., 3, 3) = Q U with Q orthogonal and U upper triangular with a positive diagonal."""
    return _positive(*torch.linalg.qr(matrix))


def _positive(orthogonal: Tensor, triangular: Tensor) -> tuple[Tensor, Tensor]:
    sign = torch.where(triangular.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(triangular)
    return orthogonal * sign[..., None, :], triangular * sign[..., :, None]


def draw_samples(rays: int, seed: int) -> Tensor:
    """Places (SAMPLES, SAMPLE_SIZE) among the candidates of a map of `rays` rays, most confident first."""
    generator = torch.Generator().manual_seed(seed)
    candidates = candidate_count(rays)
    return torch.stack([torch.randperm(candidates, generator=generator)[:SAMPLE_SIZE] for _ in range(SAMPLES)])


def candidate_count(rays: int) -> int:
    """How many of the most confident rays samples are drawn from."""
    return max(SAMPLE_SIZE, int(CANDIDATES * rays))


def _robust_homography(source: Tensor, target: Tensor, weight: Tensor, samples: Tensor) -> Tensor:
    """The homography (3, 3) from `source` to `target` (N, 2): the sample that most weight agrees with, fitted again to
    all that agrees."""
    candidates = weight.argsort(descending=True, stable=True)[: candidate_count(len(weight))]
    chosen = candidates[samples.to(candidates.device)]
    trials = fit_homography(source[chosen], target[chosen], weight[chosen]).to(source)
    errors = (apply_homography(trials, source.expand(len(trials), -1, -1)) - target).norm(dim=-1)
    agrees = errors < _INLIER_DISTANCE
    inliers = agrees[(agrees * weight).sum(dim=-1).argmax()]
    if int(inliers.sum()) < 4:
        inliers = weight > 0
    return fit_homography(source[inliers], target[inliers], weight[inliers])


def decompose_rays(
    ray: Tensor, confidence: Tensor, samples: Tensor, *, strict_official: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotation (3, 3) and translation (3,) of `world_from_camera`, focal lengths (2,) and principal point (2,) in
    pixels of a image of 2 x 2, of one view's `ray` (rows, columns, 6) with `confidence` (rows, columns).

    `samples` are places among the candidates (see `draw_samples`). With `strict_official` the homography is taken apart
    by QL, which is off for principal points off the middle, and rays along the plane z = 0 do not count for the
    translation.
    """
    rows, columns = ray.shape[:2]
    source = plane_points(rows, columns, ray.device).flatten(0, 1).to(ray)
    direction, origin = ray[..., :3].flatten(0, 1), ray[..., 3:].flatten(0, 1)
    weight = confidence.flatten()
    z = direction[:, 2:]
    usable = z.abs() > _SMALLEST_Z
    plane_weight = weight * usable[:, 0]
    target = torch.where(usable, direction[:, :2] / torch.where(usable, z, 1.0), direction[:, :2])
    homography = _robust_homography(source, target, plane_weight, samples)
    homography = homography * torch.where(torch.linalg.det(homography) < 0, -1.0, 1.0)
    if strict_official:
        weight = plane_weight
        rotation, lower = decompose_ql(homography)
        lower = lower / lower[2, 2]
        focal, principal = 1.0 / lower.diagonal()[:2], lower[2, :2] + 1.0
    else:
        rotation, upper = decompose_qr(homography)
        upper = upper / upper[2, 2]
        inverse = torch.linalg.inv(upper)
        focal, principal = inverse.diagonal()[:2], inverse[:2, 2] + 1.0
    translation = (origin * weight[:, None]).sum(dim=0) / weight.sum()
    return rotation.to(ray), translation, focal.to(ray), principal.to(ray)


def cameras_from_rays(
    ray: Tensor,
    confidence: Tensor,
    size: tuple[int, int],
    *,
    seed: int = 0,
    samples: Tensor | None = None,
    strict_official: bool = False,
) -> tuple[Tensor, Tensor]:
    """(`camera_from_world` (B, S, 3, 4), `intrinsics` (B, S, 3, 3) in pixels) of ray maps (B, S, rows, columns, 6) with
    `confidence` (B, S, rows, columns) of images of `size` (H, W). Every view uses the same `samples`, by default
    those of `seed`."""
    batch, views, rows, columns = confidence.shape
    samples = draw_samples(rows * columns, seed) if samples is None else samples
    height, width = size
    matrices = ray.new_zeros(batch, views, 3, 4)
    intrinsics = ray.new_zeros(batch, views, 3, 3)
    intrinsics[..., 2, 2] = 1.0
    half = ray.new_tensor([width / 2, height / 2])
    for scene in range(batch):
        for view in range(views):
            rotation, translation, focal, principal = decompose_rays(
                ray[scene, view], confidence[scene, view], samples, strict_official=strict_official
            )
            matrices[scene, view, :, :3], matrices[scene, view, :, 3] = rotation, translation
            intrinsics[scene, view, [0, 1], [0, 1]] = focal * half
            intrinsics[scene, view, :2, 2] = principal * half
    return inverse_rigid(matrices), intrinsics
