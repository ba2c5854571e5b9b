"""A plain implementation of the alignment loss for tests, differentiated by autograd."""

import torch


def plain_loss(state, data, *, total_iterations, iteration, flow_weight=0.01, smoothing_weight=0.01):
    """`state`: tensors log_depth (N, P), poses (N, 7), focals (1 or N, 1), pairs (E, 8). `data`: edges (E, 2), points
    (E, P, 3) and confidence_weights (E, P) of both views, forward and backward flows (E, P, 2), static (N, P), size."""
    height, width = data["size"]
    count = len(state["poses"])
    rotation, center = _poses(state["poses"])
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v], -1).reshape(-1, 2).to(state["poses"].dtype)
    middle = torch.tensor([width / 2, height / 2], dtype=pixels.dtype)
    focal = (state["focals"] / 20).exp().expand(count, 1)
    depth = state["log_depth"].exp()
    local = torch.cat([depth[..., None] * (pixels - middle) / focal[:, None], depth[..., None]], -1)
    world = local @ rotation.transpose(1, 2) + center[:, None]
    pair_rotation, pair_center = _poses(state["pairs"])
    log_scale = state["pairs"][:, 7]
    scale = (log_scale - log_scale.mean()).exp() * 0.5
    loss = 0.0
    for side in (0, 1):
        moved = data["points"][side] @ (scale[:, None, None] * pair_rotation).transpose(1, 2)
        moved = moved + (scale[:, None] * pair_center)[:, None]
        distance = (world[data["edges"][:, side]] - moved).norm(dim=-1)
        loss = loss + (distance * data["confidence_weights"][side]).mean()
    if smoothing_weight:
        turn = rotation[:-1].transpose(1, 2) @ rotation[1:] - torch.eye(3, dtype=rotation.dtype)
        step = rotation[:-1].transpose(1, 2) @ (center[1:] - center[:-1])[..., None]
        loss = loss + smoothing_weight * (turn.norm(dim=(1, 2)) + step[..., 0].norm(dim=1)).sum()
    if flow_weight and iteration >= 0.1 * total_iterations:
        for side in (0, 1):
            start, end = data["edges"][:, side], data["edges"][:, 1 - side]
            seen = (world[start] - center[end][:, None]) @ rotation[end]
            projected = seen[..., :2] / seen[..., 2:] * focal[end][:, None] + middle
            error = torch.nn.functional.smooth_l1_loss(projected - pixels, data["flows"][side], reduction="none")
            counts = (error < 50) & data["static"][start][..., None]
            loss = loss + flow_weight * (error * counts).sum() / counts.sum()
    return loss


def _poses(vectors):
    q = vectors[:, :4] / vectors[:, :4].norm(dim=1, keepdim=True)
    axis, w = q[:, :3], q[:, 3:]
    cross = torch.zeros(len(q), 3, 3, dtype=q.dtype)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[:, i, j], cross[:, j, i] = -axis[:, k], axis[:, k]
    rotation = torch.eye(3, dtype=q.dtype) + 2 * (w[..., None] * cross + cross @ cross)
    t = vectors[:, 4:7]
    return rotation, t.sign() * t.abs().expm1()
