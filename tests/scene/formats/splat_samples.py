"""Gaussians for the tests of their formats, pictures of them, and other programs that read and write them."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.rotations import rotation_from_quaternion
from scene.spherical_harmonics import SH_CONSTANT
from scene.splat_rendering import Renderer
from scene.splats import Splats

WIDTH, HEIGHT = 96, 72


def sample_splats(degree: int = 3, count: int = 3000, seed: int = 0) -> Splats:
    """A wavy colored wall in front of the camera at the origin, with view-dependent colors of `degree`."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1.6, 1.6, count), rng.uniform(-1.2, 1.2, count)
    means = np.stack([x, y, 3 + 0.3 * np.sin(2 * x) + 0.2 * np.cos(3 * y)], axis=1)
    colors = 0.5 + 0.35 * np.stack([np.sin(2 * x), np.cos(2 * y + x), np.sin(3 * y - 1)], axis=1)
    coefficients = rng.normal(0, 0.06, (count, (degree + 1) ** 2, 3))
    coefficients[:, 0] = (colors - 0.5) / SH_CONSTANT
    return Splats(
        means=means.astype(np.float32),
        log_scales=rng.uniform(-4.0, -2.6, (count, 3)).astype(np.float32),
        rotations=Rotation.random(count, random_state=seed).as_quat().astype(np.float32),
        logit_opacities=rng.uniform(-1.5, 4, count).astype(np.float32),
        sh_coefficients=coefficients.astype(np.float32),
    )


def sample_cameras() -> list[Camera]:
    """Two cameras that see the wall, the second from the side and tilted."""
    cameras = []
    for shift, angles in ((0.0, [0, 0, 0]), (0.7, [6, -14, 9])):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        pose[0, 3] = shift
        cameras.append(Camera(WIDTH, HEIGHT, 70.0, 72.0, 47.0, 37.0, pose))
    return cameras


def pictures(splats: Splats, cameras: list[Camera] | None = None) -> np.ndarray:
    """Renderings (N, H, W, 3) from `cameras`, by default the sample's."""
    renderer = Renderer(splats.gaussians())
    return np.stack([renderer.render(camera).image for camera in cameras or sample_cameras()])


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """In dB, with a peak of 1."""
    return float(-10 * np.log10(np.mean((first.astype(np.float64) - second) ** 2) + 1e-20))


def assert_same(first: Splats, second: Splats, *, position: float, shape: float, opacity: float, sh: float) -> None:
    """Equal up to the order; `shape` is the largest difference of covariances relative to their size."""
    order = cKDTree(second.means).query(first.means)[1]
    assert len(first) == len(second) == len(np.unique(order))
    second = second.select(order)
    assert np.abs(first.means - second.means).max() <= position
    one, two = covariances(first), covariances(second)
    size = np.linalg.norm(one, axis=(1, 2))
    worst = (np.linalg.norm(one - two, axis=(1, 2)) / size).max()
    assert worst <= shape, worst
    worst = np.abs(first.opacities - second.opacities).max()
    assert worst <= opacity, worst
    degree = max(first.sh_degree, second.sh_degree)
    difference = first.with_sh_degree(degree).sh_coefficients - second.with_sh_degree(degree).sh_coefficients
    assert np.abs(difference).max() <= sh, np.abs(difference).max()


def covariances(splats: Splats) -> np.ndarray:
    """(N, 3, 3), which do not depend on the order and the signs of the axes of a Gaussian."""
    scaled = rotation_from_quaternion(splats.unit_rotations) * splats.scales.astype(np.float64)[:, None, :]
    return scaled @ scaled.transpose(0, 2, 1)


def splat_transform(source: Path, target: Path, *arguments: str) -> None:
    """Converts by PlayCanvas's splat-transform, or skips the test where it is not installed."""
    program = os.environ.get("SPLAT_TRANSFORM") or shutil.which("splat-transform")
    if program is None:
        pytest.skip("splat-transform is not installed (npm install -g @playcanvas/splat-transform@2.7.1)")
    command = [program, "--quiet", "--overwrite", str(source), *arguments, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and target.exists(), done.stderr
