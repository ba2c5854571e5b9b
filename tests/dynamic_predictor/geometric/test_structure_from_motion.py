"""Cameras of whole clips: clips without texture or motion, and the rendered sample, whose cameras are known."""

import json

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.camera_estimate import MEDIAN_DEPTH
from dynamic_predictor.geometric.structure_from_motion import estimate_cameras
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.frames import MemoryFrames
from tests.dynamic_predictor.geometric.plane_clip import plane_clip
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"


@pytest.mark.parametrize(
    "images",
    [
        np.full((3, 48, 64, 3), 128, np.uint8),
        np.repeat(plane_clip(count=1)[0], 2, axis=0),
        np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3)).astype(np.uint8),
        np.zeros((2, 5, 5, 3), np.uint8),
    ],
    ids=["no texture", "two identical frames", "noise", "five pixels"],
)
def test_clips_without_any_track_still_get_cameras(images):
    estimate = estimate_cameras(FlowField(MemoryFrames(images)))
    assert len(estimate.cameras) == len(images)
    assert not estimate.has_translation
    assert estimate.warnings
    assert all(np.isfinite(camera.world_from_camera).all() for camera in estimate.cameras)


def room_ball(step):
    cameras = json.loads((SAMPLE / "cameras.json").read_text())
    paths = sorted((SAMPLE / "rgb").iterdir())
    chosen = range(0, len(paths), step)
    images = np.stack([cv2.cvtColor(cv2.imread(str(paths[index])), cv2.COLOR_BGR2RGB) for index in chosen])
    truth = np.array([cameras["frames"][index]["world_from_camera"] for index in chosen])
    return images, truth, cameras["fx"]


def aligned_error(found, truth):
    """RMSE after the best similarity, relative to the path length."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ sign) / (a**2).sum()
    error = np.sqrt(((scale * a @ (u @ sign @ vt).T - b) ** 2).sum(1).mean())
    return error / np.linalg.norm(np.diff(truth, axis=0), axis=1).sum()


@pytest.mark.skipif(not SAMPLE.exists(), reason="data/sample is not there")
def test_cameras_of_the_sample_with_a_black_frame():
    images, truth, focal = room_ball(step=2)
    middle = len(images) // 2
    images[middle] = 0
    estimate = estimate_cameras(FlowField(MemoryFrames(images)))
    centers = np.array([camera.center for camera in estimate.cameras])
    assert estimate.method == "bridged" and estimate.has_translation
    np.testing.assert_array_equal(np.flatnonzero(~estimate.measured), [middle])
    measured = estimate.measured
    assert aligned_error(centers[measured], truth[measured, :3, 3]) < 0.005
    assert aligned_error(centers, truth[:, :3, 3]) < 0.03
    assert estimate.cameras[0].fx == pytest.approx(focal, rel=0.02)
    np.testing.assert_allclose(estimate.cameras[0].world_from_camera, np.eye(4), atol=1e-9)
    # points, cameras and inverse depths are consistent
    pixels, inverse_depths = estimate.point_tracks.frame(3)
    rows = slice(estimate.point_tracks.frame_starts[3], estimate.point_tracks.frame_starts[4])
    points = estimate.points.positions[estimate.point_tracks.points[rows]]
    projected, z = estimate.cameras[3].project(points)
    assert np.median(np.linalg.norm(projected - pixels, axis=1)) < 0.3
    np.testing.assert_allclose(1 / z, inverse_depths, rtol=1e-3)
    assert np.median(estimate.point_tracks.inverse_depths) == pytest.approx(1 / MEDIAN_DEPTH, rel=1e-3)
    # a second round with masks refines the cameras, and gives the same result twice
    masks = [np.zeros(images[0].shape[:2], np.float32)] * len(images)
    again = [estimate_cameras(FlowField(MemoryFrames(images)), masks, initial=estimate, focal=focal) for _ in range(2)]
    np.testing.assert_array_equal(again[0].cameras[5].world_from_camera, again[1].cameras[5].world_from_camera)
    assert again[0].cameras[0].fx == focal
    centers = np.array([camera.center for camera in again[0].cameras])
    assert aligned_error(centers[measured], truth[measured, :3, 3]) < 0.005
