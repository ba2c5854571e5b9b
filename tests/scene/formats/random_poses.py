"""Poses for tests of trajectories and cameras."""

import numpy as np
from scipy.spatial.transform import Rotation


def random_poses(count: int, seed: int) -> np.ndarray:
    """world_from_camera (count, 4, 4)."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = np.random.default_rng(seed).normal(0, 5, (count, 3))
    return poses
