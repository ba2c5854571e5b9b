"""Motion masks from exactly known flow, with and without a moving patch."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.depth import estimate_depth
from dynamic_predictor.geometric.motion import estimate_motion, motion_masks, scene_motion
from dynamic_predictor.optical_flow.contract import FlowEstimate, Images
from scene.maps import LoadedMaps
from scene.scene import Scene
from tests.dynamic_predictor.geometric.known_scene import COUNT, SPEED, KnownFlow, cast, patch, path


@pytest.mark.parametrize("translation", [0.08, 0.0])
def test_moving_patch_is_found_and_nothing_else(translation: float):
    cameras = path(translation)
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, SPEED, noise=0.1)
    depth = estimate_depth(flow, cameras)
    motion = motion_masks(flow, cameras, depth.z_depths, depth.confidences)
    for index in (1, 4, 7):
        found, truth = motion[index] > 0.5, patch(index, SPEED)
        assert (found & truth).sum() / (found | truth).sum() > 0.8


@pytest.mark.parametrize("translation", [0.08, 0.0])
def test_nothing_is_found_where_nothing_moves(translation: float):
    cameras = path(translation)
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], noise=0.2)
    depth = estimate_depth(flow, cameras)
    motion = motion_masks(flow, cameras, depth.z_depths, depth.confidences)
    assert max(float(mask.max()) for mask in motion) < 0.3


def test_camera_error_is_not_motion():
    cameras = path()
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], noise=0.1)
    bent = [camera.moved(camera.world_from_camera @ turned(0.002 * (-1) ** k)) for k, camera in enumerate(cameras)]
    depth = estimate_depth(flow, bent)
    motion = motion_masks(flow, bent, depth.z_depths, depth.confidences)
    assert np.mean([(mask > 0.5).mean() for mask in motion]) < 0.01


def turned(angle: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([angle, angle, 0.0]))[0]
    return pose


def test_depth_may_have_holes_and_no_confidence():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, SPEED, noise=0.1)

    def with_holes(index: int) -> np.ndarray:
        depth = depths[index].astype(np.float32).copy()
        depth[60:70, 90:110] = 0.0
        return depth

    motion = motion_masks(flow, cameras, LoadedMaps(COUNT, with_holes))
    found = motion[4] > 0.5
    truth = patch(4, SPEED)
    assert found[truth].mean() > 0.85
    assert found[~truth].mean() < 0.02


def test_the_motion_stage_uses_any_flow():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    known = KnownFlow(cameras, depths, SPEED)

    class ExactFlow:
        name = "exact"

        def estimate(self, first: np.ndarray, second: np.ndarray) -> FlowEstimate:
            raise NotImplementedError

        def between(self, images: Images):
            return lambda first, second: FlowEstimate(known(first, second).displacement)

    scene = Scene(known.frames, cameras, z_depths=LoadedMaps(COUNT, lambda index: depths[index].astype(np.float32)))
    found = scene_motion(scene, flow=ExactFlow())[4] > 0.5
    truth = patch(4, SPEED)
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    scene.z_depths = None
    with pytest.raises(ValueError, match="depth"):
        scene_motion(scene)


def test_the_extent_contains_the_core():
    cameras = path()
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], SPEED, noise=0.1)
    depth = estimate_depth(flow, cameras)
    estimate = estimate_motion(flow, cameras, depth.z_depths, depth.confidences)
    for index in (1, 4, 7):
        extent, core, truth = estimate.extent[index] > 0.5, estimate.core[index] > 0.5, patch(index, SPEED)
        assert (core & ~extent).sum() < 0.05 * core.sum()
        assert (core & truth).sum() > 0.7 * truth.sum()
