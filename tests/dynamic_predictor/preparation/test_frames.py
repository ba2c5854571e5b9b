"""Steps that all preparations share: pixels and intrinsics stay consistent."""

import numpy as np
import pytest

from dynamic_predictor.preparation.frames import RawFrame, centered, covering, measured, resized, turned
from tests.dynamic_predictor.training.datasets.exact_scene import distance_to_surface, intrinsics, view


@pytest.fixture()
def frame() -> RawFrame:
    shown = view(3)
    mask = (shown.known() > 4).astype(np.uint8) * 255
    return RawFrame("3", shown.rgb, shown.z_depth, intrinsics(), shown.world_from_camera, object_mask=mask)


def _distance(frame: RawFrame) -> np.ndarray:
    """Distances of the points of a frame to the surfaces of the exact scene."""
    height, width = frame.z_depth.shape
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(frame.intrinsics).T
    known = np.isfinite(frame.z_depth)
    points = (rays[known] * frame.z_depth[known][:, None]) @ frame.world_from_camera[:3, :3].T
    return distance_to_surface(points + frame.world_from_camera[:3, 3])


def test_turning_keeps_the_world(frame: RawFrame) -> None:
    assert _distance(frame).max() < 1e-5
    for quarters in range(5):
        changed = turned(frame, quarters)
        assert np.array_equal(changed.image, np.rot90(frame.image, quarters))
        assert _distance(changed).max() < 1e-5
    assert np.allclose(turned(frame, 4).intrinsics, frame.intrinsics)


def test_centering_keeps_the_world(frame: RawFrame) -> None:
    changed = centered(frame)
    assert changed.z_depth.shape == changed.image.shape[:2] == changed.object_mask.shape == (44, 60)
    assert np.array_equal(changed.intrinsics[:2, 2], [30, 22]) and _distance(changed).max() < 1e-5


def test_scaling(frame: RawFrame) -> None:
    larger = resized(frame, 64 * 3, 48 * 2)
    assert larger.image.shape == (96, 192, 3) and np.array_equal(larger.z_depth[1::2, 1::3], frame.z_depth)
    assert _distance(larger).max() < 0.06
    assert covering(frame, 32, 32).z_depth.shape == (32, 43)
    assert covering(frame, 128, 10, enlarge=False) is frame


def test_measured() -> None:
    values = np.array([1.0, -1.0, 0.0, np.nan, np.inf, 50.0, 700.0], np.float32)
    assert np.array_equal(measured(values), np.array([1, 0, 0, 0, 0, 50, 700], np.float32))
    assert np.array_equal(measured(values, largest=60), np.array([1, 0, 0, 0, 0, 50, 0], np.float32))
    assert np.array_equal(measured(values, sky_from=655), np.array([1, 0, 0, 0, np.inf, 50, np.inf], np.float32))
