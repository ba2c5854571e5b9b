"""Reference implementation of Gaussian splatting in PyTorch: every Gaussian at every pixel, in float64.

It is slow, short and differentiable. It implements the formulas of the papers (Zwicker et al. 2001; Kerbl et al. 2023)
and the conventions of docs/rasterizer.md, and shares no code with the kernels.
"""

import math

import torch


def quaternion_to_matrix(q):
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def spherical_harmonics(degree, d):
    """The real basis (N, (degree + 1)^2) from associated Legendre polynomials, with the signs of 3DGS files."""
    x, y, z = d.unbind(1)
    pi = math.pi
    basis = [torch.full_like(x, math.sqrt(1 / (4 * pi)))]
    if degree >= 1:
        c = math.sqrt(3 / (4 * pi))
        basis += [-c * y, c * z, -c * x]
    if degree >= 2:
        a, b, c = math.sqrt(15 / (4 * pi)), math.sqrt(5 / (16 * pi)), math.sqrt(15 / (16 * pi))
        basis += [a * x * y, -a * y * z, b * (3 * z * z - 1), -a * x * z, c * (x * x - y * y)]
    if degree >= 3:
        a, b, c, e, f = (
            math.sqrt(35 / (32 * pi)),
            math.sqrt(105 / (4 * pi)),
            math.sqrt(21 / (32 * pi)),
            math.sqrt(7 / (16 * pi)),
            math.sqrt(105 / (16 * pi)),
        )
        basis += [
            -a * y * (3 * x * x - y * y),
            b * x * y * z,
            -c * y * (5 * z * z - 1),
            e * z * (5 * z * z - 3),
            -c * x * (5 * z * z - 1),
            f * z * (x * x - y * y),
            -a * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, 1)


def render(
    means,
    rotations,
    scales,
    opacities,
    *,
    sh_coefficients=None,
    colors=None,
    covariances=None,
    camera_from_world,
    intrinsics,
    width,
    height,
    background=None,
    sh_degree=None,
    near_plane=0.01,
    screen_means=None,
    scale_modifier=1.0,
    antialiased=False,
    log_scales=False,
    opacity_logits=False,
):
    """Image (3, H, W), alpha (H, W), depth (H, W), radii (N,)."""
    dtype = torch.float64
    fx, fy, cx, cy = intrinsics.unbind()
    R, t = camera_from_world[:3, :3], camera_from_world[:3, 3]
    background = torch.zeros(3, dtype=dtype) if background is None else background
    points = means @ R.T + t
    kept = points[:, 2] > near_plane
    z = torch.where(kept, points[:, 2], torch.ones_like(points[:, 2]))
    u, v = points[:, 0] / z, points[:, 1] / z
    uc = torch.maximum(torch.minimum(u, (1.15 * width - cx) / fx), -(cx + 0.15 * width) / fx)
    vc = torch.maximum(torch.minimum(v, (1.15 * height - cy) / fy), -(cy + 0.15 * height) / fy)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * uc / z], 1), torch.stack([zero, fy / z, -fy * vc / z], 1)], 1
    )
    if covariances is None:
        if log_scales:
            scales = scales.exp()
        m = quaternion_to_matrix(rotations) * (scale_modifier * scales)[:, None, :]
        covariances = m @ m.transpose(1, 2)
    flat = jacobian @ R
    raw = flat @ covariances @ flat.transpose(1, 2)
    cov = raw + 0.3 * torch.eye(2, dtype=dtype)
    conic = torch.linalg.inv(cov)
    if opacity_logits:
        opacities = opacities.sigmoid()
    if antialiased:
        opacities = opacities * (torch.linalg.det(raw) / torch.linalg.det(cov)).clamp(min=2.5e-5).sqrt()
    x, y = fx * u + cx, fy * v + cy
    if screen_means is not None:
        x, y = x + screen_means[:, 0], y + screen_means[:, 1]
    if colors is None:
        degree = math.isqrt(sh_coefficients.shape[1]) - 1 if sh_degree is None else sh_degree
        d = means - -(R.T @ t)
        basis = spherical_harmonics(degree, d / d.norm(dim=1, keepdim=True))
        colors = (0.5 + torch.einsum("nk,nkc->nc", basis, sh_coefficients[:, : basis.shape[1]])).clamp(min=0)
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=dtype) + 0.5, torch.arange(width, dtype=dtype) + 0.5, indexing="ij"
    )
    image = torch.zeros(3, height, width, dtype=dtype)
    alpha_sum, depth = torch.zeros(height, width, dtype=dtype), torch.zeros(height, width, dtype=dtype)
    transmittance, finished = torch.ones(height, width, dtype=dtype), torch.zeros(height, width, dtype=torch.bool)
    touched = torch.zeros(len(means), dtype=torch.bool)
    for i in torch.argsort(points[:, 2].float(), stable=True).tolist():
        if not kept[i]:
            continue
        dx, dy = columns - x[i], rows - y[i]
        form = conic[i, 0, 0] * dx * dx + 2 * conic[i, 0, 1] * dx * dy + conic[i, 1, 1] * dy * dy
        alpha = (opacities[i] * torch.exp(-0.5 * form)).clamp(max=0.99)
        seen = alpha >= 1 / 255
        touched[i] = bool(seen.any())
        next_transmittance = transmittance * (1 - alpha)
        finished = finished | (seen & (next_transmittance < 1e-4))
        on = seen & ~finished
        weight = torch.where(on, alpha * transmittance, 0.0)
        image = image + weight * colors[i][:, None, None]
        alpha_sum = alpha_sum + weight
        depth = depth + weight * points[i, 2]
        transmittance = torch.where(on, next_transmittance, transmittance)
    image = image + transmittance * background[:, None, None]
    radii = torch.where(touched, torch.ceil(3 * torch.linalg.eigvalsh(cov)[:, 1].sqrt()), 0.0)
    return image, alpha_sum, depth, radii
