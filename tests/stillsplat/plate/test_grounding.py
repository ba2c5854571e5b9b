"""Gaussians that every frame hides are guesses."""

import numpy as np
import torch

from scene.gaussians import Gaussians
from scene.progress import ignore_progress
from stillsplat.plate.grounding import grounded
from tests.stillsplat.plate.wall_clip import DEPTH, camera, views


def gaussians_at(points: np.ndarray) -> Gaussians:
    count = len(points)
    return Gaussians.isotropic(
        means=torch.from_numpy(points.astype(np.float32)),
        log_scales=torch.full((count,), -4.0),
        opacities=torch.full((count,), 0.9),
        colors=torch.full((count, 3), 0.5),
        sh_degree=0,
    )


def test_only_what_a_frame_shows() -> None:
    all_views = views()
    for index, view in enumerate(all_views):
        view.hidden[40:60, 90 - 3 * index : 110 - 3 * index] = True  # one place of the wall, in every frame
    z = np.array([DEPTH, DEPTH, DEPTH * 1.3, DEPTH])
    points = camera(0).unproject_pixels(np.array([120, 100, 120, 70]), np.array([80, 50, 80, 10]), z)
    # on the wall; on the wall where it is hidden; behind the wall; on the wall
    found = grounded(gaussians_at(points), all_views, ignore_progress)
    assert found.tolist() == [True, False, False, True]


def test_out_of_view() -> None:
    points = camera(0).unproject_pixels(np.array([50.0]), np.array([50.0]), np.array([DEPTH]))
    assert not grounded(gaussians_at(-points), views(), ignore_progress).any()
