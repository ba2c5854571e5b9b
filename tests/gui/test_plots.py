"""Curves of the window."""

import numpy as np
import pytest

from dynamic_predictor.evaluation.given_poses import GivenPoses
from gui.plots import curve, trajectory_plot
from tests.gaussian.wall_scene import COUNT, cameras


def test_path_is_drawn_over_the_truth_in_its_units() -> None:
    poses = np.stack([camera.world_from_camera for camera in cameras()])
    poses[:, :3, 3] = 3 * poses[:, :3, 3] + [1, 2, 3]
    plot = trajectory_plot(cameras(), GivenPoses(range(COUNT), poses))
    assert plot.axes == ("x", "y") and plot.true is not None and plot.scores is not None
    np.testing.assert_allclose(plot.estimated, plot.true, atol=1e-9)
    np.testing.assert_allclose(plot.true, poses[:, :2, 3])
    assert plot.scores.ate == pytest.approx(0, abs=1e-9) and "ATE" in plot.sentence and "12 frames" in plot.sentence


def test_path_without_truth_is_in_units_of_the_scene() -> None:
    plot = trajectory_plot(cameras(), None)
    assert plot.true is None and "--gt-poses" in plot.sentence
    np.testing.assert_allclose(plot.estimated, [camera.center[:2] for camera in cameras()])


def test_curves_leave_out_what_is_not_finite() -> None:
    history = [
        {"iteration": 50, "loss": 0.5},
        {"iteration": 100, "loss": float("nan")},
        {"iteration": 150, "loss": 0.2},
    ]
    assert curve(history, "loss") == ([50.0, 150.0], [0.5, 0.2])
    assert curve([], "psnr") == ([], [])
