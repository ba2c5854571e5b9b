"""Objects that keep their place in the image of a moving camera, as only what is infinitely far away would."""

import numpy as np
import pytest

from dynamic_predictor.geometric.depth import estimate_depth
from dynamic_predictor.geometric.far_islands import FarIslands, least_on_the_way_out
from dynamic_predictor.geometric.motion import motion_masks
from dynamic_predictor.geometric.motion_evidence import residual_evidence
from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.optical_flow.flow_field import Flow
from scene.camera import Camera
from tests.dynamic_predictor.geometric.known_scene import COUNT, HEIGHT, WIDTH, KnownFlow, cast, patch, path

#: of a patch that moves with the camera
STILL = (0.0, 0.0)


def islands_of(flow: KnownFlow, cameras: list[Camera], depths: list[np.ndarray]) -> FarIslands:
    islands = FarIslands(flow, cameras)
    for index in range(COUNT):
        inverse_depth = (1.0 / depths[index]).astype(np.float32)
        deviation = np.full_like(inverse_depth, 1e-3)
        islands.add_frame(
            index, inverse_depth, deviation, residual_evidence(flow, cameras, index, inverse_depth, deviation)
        )
    return islands


def window(camera: Camera) -> np.ndarray:
    """Exact z depth of the wall z = 3 with a window in it, and of the wall z = 60 behind it."""
    rays = camera.unproject(np.ones((HEIGHT, WIDTH))) - camera.center
    near = camera.center + rays * ((3.0 - camera.center[2]) / rays[..., 2])[..., None]
    through = (np.abs(near[..., 0] - 0.3) < 0.45) & (np.abs(near[..., 1] + 0.1) < 0.4)
    return np.where(through, 60.0, 3.0) - camera.center[2]


class OccludedFlow(KnownFlow):
    """`KnownFlow` whose error is large where a point is hidden in the other frame."""

    def __call__(self, source: int, target: int) -> Flow:
        flow = super().__call__(source, target)
        pair = RigidPair.between(self._cameras[source], self._cameras[target])
        points = self._cameras[source].unproject(self._depths[source]) - self._cameras[target].center
        z = points @ self._cameras[target].world_from_camera[:3, 2]
        x, y = (np.rint(part).astype(int) for part in np.moveaxis(self._ends(pair, source), -1, 0))
        inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
        hidden = inside.copy()
        hidden[inside] = self._depths[target][y[inside], x[inside]] < 0.9 * z[inside]
        flow.consistency_error[hidden] = 20.0
        return flow

    def _ends(self, pair: RigidPair, source: int) -> np.ndarray:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        return np.stack([x, y], axis=-1) + pair.flow(1.0 / self._depths[source])


def test_what_moves_with_the_camera_is_found():
    cameras = path(rotation=0.0)
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], STILL, noise=0.1)
    depth = estimate_depth(flow, cameras)
    found = motion_masks(flow, cameras, depth.z_depths, depth.confidences)
    for index in (1, 4, 7):
        mask, truth = found[index] > 0.5, patch(index, STILL)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.75


def test_an_island_that_covers_what_is_nearer_moves():
    cameras = path(rotation=0.0)
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, STILL)
    at_infinity = [np.where(patch(index, STILL), 1e4, depth) for index, depth in enumerate(depths)]
    moving = islands_of(flow, cameras, at_infinity).moving()
    assert len(moving) == COUNT
    for index, island in moving.items():
        truth = patch(index, STILL)
        assert (island & truth).sum() / (island | truth).sum() > 0.9


def test_what_is_seen_through_a_window_does_not_move():
    cameras = path(rotation=0.0)
    depths = [window(camera) for camera in cameras]
    flow = OccludedFlow(cameras, depths)
    islands = islands_of(flow, cameras, depths)
    assert all(island.any() for island in islands._islands.values())
    assert islands.moving() == {}


def test_an_island_at_the_border_of_the_image_is_not_judged():
    cameras = path(rotation=0.0)
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, STILL)
    wide = []
    for depth in depths:
        island = np.zeros((HEIGHT, WIDTH), bool)
        island[1:60, 1:70] = True
        wide.append(np.where(island, 1e4, depth))
    assert islands_of(flow, cameras, wide).moving() == {}


@pytest.mark.parametrize("outside", [0.2, 0.8])
def test_the_least_on_the_way_out_is_the_lowest_pass(outside: float):
    inverse_depth = np.full((40, 60), outside, np.float32)
    inverse_depth[5:30, 10:40] = 1.0
    inverse_depth[10:20, 15:30] = 0.1
    inverse_depth[14:16, 30:40] = 0.5
    passed = least_on_the_way_out(inverse_depth)
    assert passed[15, 20] == pytest.approx(max(outside, 0.5), abs=0.05)
    assert passed[8, 12] == pytest.approx(1.0, abs=0.05)
    assert passed[2, 2] == pytest.approx(outside, abs=0.05)
