"""Cameras from ray maps: the homography from the rays of a camera with known geometry to the predicted rays, factored.

With K the intrinsics and R the rotation of `world_from_camera`, the ray through pixel p has the direction R inv(K) p.
If p is measured in the image plane of a camera with focal length one and centered principal point, R inv(K) is a
homography between the two planes at depth one. It is estimated by RANSAC with a weighted direct linear transform and
factored into rotation and intrinsics (`official.Conventions.decompose_homography`).
"""

import torch
from torch import Tensor

from dynamic_predictor.depth_anything3.cameras import inverse_rigid
from dynamic_predictor.depth_anything3.official import OURS, Conventions

#: random samples per scene, rays per sample, and the fraction of most confident rays that samples are drawn from
SAMPLES, SAMPLE_SIZE, CANDIDATES = 100, 8, 0.3
#: largest distance of an inlier from the homography's prediction, on the plane at depth one
_INLIER_DISTANCE = 0.2
#: rays with a smaller |z| do not intersect the plane at depth one
_SMALLEST_Z = 1e-4


def plane_points(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Points (rows, columns, 2) where the rays through the centers of an image's cells intersect the plane at depth
    one, for a camera with focal length one whose image spans [-1, 1] in both directions."""
    x = (torch.arange(columns, device=device) + 0.5) * (2.0 / columns) - 1.0
    y = (torch.arange(rows, device=device) + 0.5) * (2.0 / rows) - 1.0
    return torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)


def fit_homography(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The homographies (..., 3, 3) with unit Frobenius norm from points `source` to `target` (..., N, 2), by the direct
    linear transform with the least weighted sum of squares, `weight` (..., N), in float64."""
    x, y = source.double().unbind(-1)
    u, v = target.double().unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    first = torch.stack([-x, -y, -one, zero, zero, zero, x * u, y * u, u], dim=-1)
    second = torch.stack([zero, zero, zero, -x, -y, -one, x * v, y * v, v], dim=-1)
    root = weight.double().sqrt()[..., None]
    equations = torch.cat([first * root, second * root], dim=-2)
    # the eigenvector of the smallest eigenvalue minimizes the residual; eigh returns eigenvalues in ascending order
    return torch.linalg.eigh(equations.transpose(-1, -2) @ equations).eigenvectors[..., 0].unflatten(-1, (3, 3))


def apply_homography(homography: Tensor, points: Tensor) -> Tensor:
    """Points (..., N, 2) mapped by homographies (..., 3, 3)."""
    moved = points @ homography[..., :2].transpose(-1, -2) + homography[..., None, :, 2]
    return moved[..., :2] / moved[..., 2:]


def draw_samples(rays: int, seed: int) -> Tensor:
    """Random indices (SAMPLES, SAMPLE_SIZE) into the candidates of a map of `rays` rays, sorted by confidence."""
    generator = torch.Generator().manual_seed(seed)
    candidates = candidate_count(rays)
    return torch.stack([torch.randperm(candidates, generator=generator)[:SAMPLE_SIZE] for _ in range(SAMPLES)])


def candidate_count(rays: int) -> int:
    """Number of the most confident of `rays` rays that samples are drawn from."""
    return max(SAMPLE_SIZE, int(CANDIDATES * rays))


def _robust_homography(source: Tensor, target: Tensor, weight: Tensor, samples: Tensor) -> Tensor:
    """The homography (3, 3) from points (N, 2) of the sample with the most inlier weight, refitted to its inliers."""
    candidates = weight.argsort(descending=True, stable=True)[: candidate_count(len(weight))]
    chosen = candidates[samples.to(candidates.device)]
    trials = fit_homography(source[chosen], target[chosen], weight[chosen]).to(source)
    errors = (apply_homography(trials, source.expand(len(trials), -1, -1)) - target).norm(dim=-1)
    is_inlier = errors < _INLIER_DISTANCE
    inliers = is_inlier[(is_inlier * weight).sum(dim=-1).argmax()]
    if int(inliers.sum()) < 4:
        inliers = weight > 0
    return fit_homography(source[inliers], target[inliers], weight[inliers])


def decompose_rays(
    ray: Tensor, confidence: Tensor, samples: Tensor, *, conventions: Conventions = OURS
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotation (3, 3) and translation (3,) of `world_from_camera`, focal lengths (2,) and principal point (2,) in
    pixels of an image of 2 x 2, from one view's `ray` (rows, columns, 6) with `confidence` (rows, columns).

    `samples` are indices into the candidates (see `draw_samples`).
    """
    rows, columns = ray.shape[:2]
    source = plane_points(rows, columns, ray.device).flatten(0, 1).to(ray)
    direction, origin = ray[..., :3].flatten(0, 1), ray[..., 3:].flatten(0, 1)
    weight = confidence.flatten()
    z = direction[:, 2:]
    intersects = z.abs() > _SMALLEST_Z
    plane_weight = weight * intersects[:, 0]
    target = torch.where(intersects, direction[:, :2] / torch.where(intersects, z, 1.0), direction[:, :2])
    homography = _robust_homography(source, target, plane_weight, samples)
    homography = homography * torch.where(torch.linalg.det(homography) < 0, -1.0, 1.0)
    rotation, focal, principal = conventions.decompose_homography(homography)
    origin_weight = weight if conventions.averages_all_ray_origins else plane_weight
    translation = (origin * origin_weight[:, None]).sum(dim=0) / origin_weight.sum()
    return rotation.to(ray), translation, focal.to(ray), (principal + 1.0).to(ray)


def cameras_from_rays(
    ray: Tensor,
    confidence: Tensor,
    size: tuple[int, int],
    *,
    seed: int = 0,
    samples: Tensor | None = None,
    conventions: Conventions = OURS,
) -> tuple[Tensor, Tensor]:
    """`camera_from_world` (B, S, 3, 4) and `intrinsics` (B, S, 3, 3) in pixels, from ray maps (B, S, rows, columns, 6)
    with `confidence` (B, S, rows, columns) of images of `size` (H, W). All views use the same `samples`, by default
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
                ray[scene, view], confidence[scene, view], samples, conventions=conventions
            )
            matrices[scene, view, :, :3], matrices[scene, view, :, 3] = rotation, translation
            intrinsics[scene, view, [0, 1], [0, 1]] = focal * half
            intrinsics[scene, view, :2, 2] = principal * half
    return inverse_rigid(matrices), intrinsics
