"""Given points as the first Gaussians."""

from dataclasses import replace

import numpy as np

from gaussian.initialization import initialize
from gaussian.point_initialization import start_points
from scene.scene import PointCloud
from tests.gaussian.wall_scene import COUNT, make_scene
from tests.scene.projects.project_folders import wall_points


def test_points_that_the_frames_show_start_with_bounded_extents() -> None:
    scene, points = make_scene(), wall_points()
    lonely = np.array([[0.0, 0.0, 3.9], [0.0, 0.0, -5.0], [100.0, 0.0, 4.0]])
    points = PointCloud(
        np.concatenate([points.positions, lonely]), np.concatenate([points.colors, np.zeros((3, 3), np.uint8)])
    )
    positions, colors, radii = start_points(points, scene.cameras, None, list(range(COUNT)), 1000)
    assert len(positions) == 301 and colors.dtype == np.float32 and colors.max() <= 1
    pixels = radii / (positions[:, 2] / 60.0) * 512 / 72
    assert pixels.min() > 0.5 and pixels.max() < 6
    assert len(start_points(points, scene.cameras, None, [0, 5], 50)[0]) <= 50
    # where everything moves, nothing starts
    everywhere = np.ones((COUNT, 48, 72), np.float32)
    assert len(start_points(points, scene.cameras, everywhere, [0, 5], 1000)[0]) == 0


def test_only_given_points_start_gaussians() -> None:
    scene = replace(make_scene(mover=False), points=wall_points())
    without = initialize(scene, range(COUNT))
    scene.provenance = {"given": ["cameras", "points"]}
    assert scene.given_points is scene.points
    given = initialize(scene, range(COUNT)).means.numpy()
    start = wall_points().positions.astype(np.float32)
    near = np.abs(given[:, None] - start[None]).max(axis=2).min(axis=0)
    assert np.mean(near < 1e-5) > 0.9
    assert np.mean(np.abs(without.means.numpy()[:, None] - start[None]).max(axis=2).min(axis=0) < 1e-5) < 0.6
