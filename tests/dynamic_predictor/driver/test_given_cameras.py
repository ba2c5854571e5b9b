"""Depth and motion masks of scenes whose cameras are given."""

from dataclasses import replace

import numpy as np
import pytest

from dynamic_predictor.driver.given_cameras import completed, depth_of_points, fits, shows_a_clip, visible_points
from dynamic_predictor.optical_flow.dis import DISFlow
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.errors import InputError
from scene.moved_scene import moved_scene
from scene.scene import PointCloud, Scene
from scene.similarity import Similarity
from tests.gaussian.wall_scene import COUNT, MemoryFrames, make_scene
from tests.scene.projects.project_folders import wall_points


def bare(scene: Scene, **further: object) -> Scene:
    return replace(scene, z_depths=None, confidences=None, motion_masks=None, provenance={}, **further)


def relative_errors(scene: Scene, true: Scene, factor: float = 1.0) -> np.ndarray:
    assert scene.z_depths is not None and true.z_depths is not None and true.motion_masks is not None
    return np.concatenate(
        [
            np.abs(scene.z_depths[index] / factor / true.z_depths[index] - 1)[true.motion_masks[index] < 0.5]
            for index in range(COUNT)
        ]
    )


def test_a_clip_gets_depth_and_motion_in_the_units_of_its_cameras() -> None:
    true = make_scene()
    found = completed(bare(true), DISFlow())
    assert np.median(relative_errors(found, true)) < 0.15
    assert "from optical flow and the given cameras" in found.provenance["depth"]
    assert found.motion_masks is not None and found.motion_masks[5].shape == (48, 72)
    place = Similarity(1e-3, np.eye(3), np.array([500000.0, 4500000.0, 100.0]))
    far = completed(bare(moved_scene(true, place)), DISFlow())
    ours, theirs = found.z_depths, far.z_depths
    assert ours is not None and theirs is not None
    for index in (0, 5, 11):
        assert np.median(np.abs(theirs[index] / 1e-3 / ours[index] - 1)) < 0.01
    # what is known is kept
    kept = completed(replace(true, motion_masks=None, provenance={}), DISFlow())
    assert kept.z_depths is true.z_depths and kept.motion_masks is not None
    assert completed(true, DISFlow()) is true


def test_images_in_no_order_get_their_depth_from_points() -> None:
    generator = np.random.default_rng(0)
    true = make_scene(mover=False)
    noise = MemoryFrames(generator.integers(0, 255, (COUNT, 48, 72, 3)).astype(np.uint8))
    scene = bare(true, frames=noise, points=wall_points())
    assert not shows_a_clip(FlowField(noise, DISFlow())) and shows_a_clip(FlowField(true.frames, DISFlow()))
    said: list[str] = []
    found = completed(scene, DISFlow(), warn=said.append)
    assert "no clip in the order of time" in said[0] and found.provenance["warnings"] == said
    assert found.motion_masks is None and np.median(relative_errors(found, true)) < 0.1
    with pytest.raises(InputError, match="no depth can be found; add the points"):
        completed(replace(scene, points=None), DISFlow())


@pytest.mark.parametrize("wrong", ["another order", "axes of OpenGL", "camera_from_world"])
def test_cameras_of_other_images_are_warned_about(wrong: str) -> None:
    true = make_scene(mover=False)
    assert fits(FlowField(true.frames, DISFlow()), true.cameras)
    cameras = {
        "another order": true.cameras[::-1],
        "axes of OpenGL": [
            camera.moved(camera.world_from_camera @ np.diag([1.0, -1, -1, 1])) for camera in true.cameras
        ],
        "camera_from_world": [camera.moved(camera.camera_from_world) for camera in true.cameras],
    }[wrong]
    said: list[str] = []
    with np.errstate(all="ignore"):
        found = completed(bare(true, cameras=cameras), DISFlow(), warn=said.append)
    assert "do not explain how the images move" in said[0] and found.provenance["warnings"] == said
    assert found.z_depths is not None and np.isfinite(found.z_depths[4]).all()


def test_hidden_points_are_left_out() -> None:
    camera = Camera(64, 48, 50.0, 50.0, 32, 24, np.eye(4))
    near, far = [0.0, 0, 2], [0.01, 0, 5]
    columns, rows, depths = visible_points(camera, np.array([near, far, [0, 0, -1], [50, 0, 1], [1.0, 0, 5]]))
    assert depths.tolist() == [5.0, 2.0] and columns.tolist() == [42, 32] and rows.tolist() == [24, 24]
    frames = MemoryFrames(np.full((1, 48, 64, 3), 128, np.uint8))
    depth = depth_of_points(frames, [camera], PointCloud(np.array([near]), np.zeros((1, 3), np.uint8)))
    np.testing.assert_allclose(depth.z_depths[0], 2.0, rtol=0.01)
