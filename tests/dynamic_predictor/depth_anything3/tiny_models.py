"""Settings of tiny networks, and images and cameras as their input."""

import numpy as np

from dynamic_predictor.depth_anything3.settings import BackboneSettings, HeadSettings, NetworkSettings

_HEAD = HeadSettings(16, (12, 16, 24, 32))
ANY_VIEW = NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), _HEAD)
MONOCULAR = NetworkSettings(BackboneSettings(32, 4, 2, (0, 1, 2, 3)), _HEAD)
#: overrides of made-up weights that keep the predicted field of view plausible
FIELD_OF_VIEW = {"cam_dec.fc_fov.0.weight": ("mul", 0.2), "cam_dec.fc_fov.0.bias": ("add", 1.0)}


def noise_images(count: int, height: int = 40, width: int = 60) -> list[np.ndarray]:
    """Images (H, W, 3) of random pixels."""
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def cameras_on_a_line(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Extrinsics (N, 4, 4) at distances of 0.5 along x, and intrinsics (N, 3, 3) for images of 40x60."""
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, 0, 3] = -0.5 * np.arange(count)
    return extrinsics, np.tile([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]], (count, 1, 1))
