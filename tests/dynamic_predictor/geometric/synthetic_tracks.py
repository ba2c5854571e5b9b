"""Exact tracks of synthetic scenes, whose cameras and inverse depths are known."""

import numpy as np

from dynamic_predictor.geometric.reprojection import Poses, rotation_from_vector
from dynamic_predictor.geometric.tracks import HostTracks

WIDTH, HEIGHT = 400, 240
CENTER = (WIDTH / 2, HEIGHT / 2)


def synthetic_tracks(poses: Poses, rng, *, per_host=120, host_step=3, moving=0.0, noise=0.0, depth=(2.0, 8.0)):
    """Exact projections of random points, visible inside the image; the share `moving` of them moves along straight
    lines."""
    count = len(poses.rotations)
    hosts, inverse_depths, is_moving = [], [], []
    for host in range(0, count, host_step):
        pixels = rng.uniform([5, 5], [WIDTH - 5, HEIGHT - 5], (per_host, 2))
        inverse_depth = 1 / rng.uniform(*depth, per_host)
        frames = np.array([frame for frame in range(count) if frame != host])
        rays = np.column_stack([(pixels - CENTER) / poses.focal, np.ones(per_host)])
        world = (rays / inverse_depth[:, None] - poses.translations[host]) @ poses.rotations[host]
        moves = rng.random(per_host) < moving
        velocity = np.array([0.05, 0.02, 0.03]) * moves[:, None]
        seen = []
        for frame in frames:
            points = (world + velocity * (frame - host)) @ poses.rotations[frame].T + poses.translations[frame]
            seen.append(poses.focal * points[:, :2] / points[:, 2:] + CENTER)
        there = np.array(seen) + noise * rng.standard_normal((len(frames), per_host, 2))
        visible = ((there > 0) & (there < [WIDTH, HEIGHT])).all(-1)
        hosts.append(HostTracks(host, pixels, frames, there, visible))
        inverse_depths.append(inverse_depth)
        is_moving.append(moves)
    return hosts, inverse_depths, is_moving


def curved_path(count=13, focal=350.0, size=0.6, turn=0.15):
    angle = np.linspace(-1, 1, count)
    rotations = rotation_from_vector(
        np.column_stack([0.1 * turn * np.sin(3 * angle), turn * angle, 0.05 * turn * angle])
    )
    centers = size * np.column_stack([angle, 0.2 * np.cos(2 * angle), 0.3 * angle**2])
    return Poses(rotations, -np.einsum("kij,kj->ki", rotations, centers), focal)


def center_error(found: Poses, truth: Poses) -> float:
    """RMSE of the camera centers after the best similarity (Umeyama, PAMI 1991), relative to the path length."""
    one = -np.einsum("kji,kj->ki", found.rotations, found.translations)
    two = -np.einsum("kji,kj->ki", truth.rotations, truth.translations)
    a, b = one - one.mean(0), two - two.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(s) @ sign) / (a**2).sum()
    error = np.sqrt(((scale * a @ rotation.T - b) ** 2).sum(1).mean())
    return float(error / np.linalg.norm(np.diff(two, axis=0), axis=1).sum())


def tracks_with_object(
    poses: Poses, rng, *, depth, background, size=(0.5, 0.6), slide=None, noise=0.0, per_host=200, host_step=4
):
    """Tracks of random points at depths in the range `background`, and of a rectangular object that covers them.

    `size` is the object's, as shares of the image sides. It stands in the world at `depth`, or, where `slide` is given,
    it slides over the image by so many pixels per frame. Returns the hosts, and per host the inverse depths and which
    tracks (T,) are on the object.
    """
    count = len(poses.rotations)
    half = 0.5 * np.array(size) * [WIDTH, HEIGHT]
    middle = np.zeros((count, 2))
    for frame in range(count):
        if slide is not None:
            middle[frame] = CENTER + np.array(slide) * (frame - (count - 1) / 2)
        else:
            point = poses.rotations[frame] @ [0, 0, depth] + poses.translations[frame]
            middle[frame] = poses.focal * point[:2] / point[2] + CENTER
    hosts, inverse_depths, on_object = [], [], []
    for host in range(0, count, host_step):
        pixels = rng.uniform([5, 5], [WIDTH - 5, HEIGHT - 5], (per_host, 2))
        inside = (np.abs(pixels - middle[host]) < half).all(1)
        inverse_depth = 1 / rng.uniform(*background, per_host)
        inverse_depth[inside] = 1 / max(depth, 1e-3)
        frames = np.array([frame for frame in range(count) if frame != host])
        rays = np.column_stack([(pixels - CENTER) / poses.focal, np.ones(per_host)])
        world = (rays / inverse_depth[:, None] - poses.translations[host]) @ poses.rotations[host]
        there, visible = [], []
        for frame in frames:
            points = world @ poses.rotations[frame].T + poses.translations[frame]
            seen = poses.focal * points[:, :2] / points[:, 2:] + CENTER
            if slide is not None:
                seen[inside] = pixels[inside] + middle[frame] - middle[host]
            covered = ~inside & (np.abs(seen - middle[frame]) < half).all(1)
            there.append(seen)
            visible.append(~covered & (seen > 0).all(1) & (seen < [WIDTH, HEIGHT]).all(1))
        pixels_there = np.array(there) + noise * rng.standard_normal((len(frames), per_host, 2))
        hosts.append(HostTracks(host, pixels, frames, pixels_there, np.array(visible)))
        inverse_depths.append(inverse_depth)
        on_object.append(inside)
    return hosts, inverse_depths, on_object
