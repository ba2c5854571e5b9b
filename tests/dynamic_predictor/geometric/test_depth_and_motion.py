"""Depth and motion against scenes whose flow is known exactly: a ground plane, a wall and a sphere, seen by a camera
on a path, with and without a patch that moves."""

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dynamic_predictor.geometric.depth import estimate_depth, partner_frames, triangulate
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from dynamic_predictor.geometric.motion import background_drift, estimate_motion, prominence
from dynamic_predictor.geometric.plausible_depth import Stage
from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.geometric.segment_graph import FrameSegments, SegmentGraph
from dynamic_predictor.geometric.superpixels import superpixels
from dynamic_predictor.optical_flow.flow_field import Flow
from scene.camera import Camera
from scene.maps import LoadedMaps

HEIGHT, WIDTH, COUNT = 95, 141, 9


def path(translation: float = 0.08, rotation: float = 0.01) -> list[Camera]:
    cameras = []
    for k in range(COUNT):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0.2, 1.0, 0.1]) * rotation * k)[0]
        pose[:3, 3] = np.array([1.0, -0.3, 0.4 * np.sin(k)]) * translation * k
        cameras.append(Camera(WIDTH, HEIGHT, 130.0, 128.0, 70.0, 49.0, pose))
    return cameras


def cast(camera: Camera) -> np.ndarray:
    """Exact z depth of the plane y = 1, the wall z = 8 and a sphere, seen by the camera."""
    rays = camera.unproject(np.ones((HEIGHT, WIDTH))) - camera.center
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = (1.0 - camera.center[1]) / rays[..., 1]
        wall = (8.0 - camera.center[2]) / rays[..., 2]
    depth = np.minimum(np.where(ground > 0, ground, np.inf), wall)
    offset = camera.center - np.array([0.5, 0.2, 4.0])
    a, b, c = (rays**2).sum(-1), (rays * offset).sum(-1), (offset**2).sum() - 0.8**2
    inside = b * b - a * c
    sphere = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
    return np.where((inside > 0) & (sphere > 0), np.minimum(sphere, depth), depth)


def texture(points: np.ndarray) -> np.ndarray:
    """A colour in [0, 1] for points (..., 3) or (..., 2), the same from everywhere."""
    waves = [points @ np.array(w)[: points.shape[-1]] for w in ((9, 4, 5), (-5, 8, 3), (3, -6, 10))]
    return np.stack([0.5 + 0.2 * np.sin(wave) + 0.2 * np.sin(2.3 * wave + 1) for wave in waves], axis=-1)


class KnownFrames:
    """The scene as the cameras see it, and over it a patch that moves by `speed` pixels per frame."""

    def __init__(self, cameras, depths, speed=None) -> None:
        self.width, self.height = WIDTH, HEIGHT
        self.names = [f"{k:05d}.png" for k in range(len(cameras))]
        self.timestamps = [k / 30 for k in range(len(cameras))]
        self._images = []
        for k, (camera, depth) in enumerate(zip(cameras, depths, strict=True)):
            image = texture(camera.unproject(depth))
            if speed is not None:
                y, x = np.nonzero(patch(k, speed))
                place = np.stack([x - speed[0] * k, y - speed[1] * k], axis=-1)
                image[y, x] = texture(0.15 * place) * np.array([0.6, 0.2, 0.2]) + np.array([0.4, 0, 0])
            self._images.append(np.uint8(image * 255))

    def __len__(self) -> int:
        return len(self.names)

    def rgb8(self, index: int) -> np.ndarray:
        return self._images[index]

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index].astype(np.float32) / 255.0


def patch(index: int, speed: tuple[float, float]) -> np.ndarray:
    """Where the moving patch is in a frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    x, y = x - speed[0] * index, y - speed[1] * index
    return (x >= 30) & (x < 65) & (y >= 25) & (y < 52)


class KnownFlow:
    """Stands in for a FlowField: the exact rigid flow, the patch's own flow where it is, and noise."""

    def __init__(self, cameras, depths, speed=None, noise=0.0) -> None:
        self.frames = KnownFrames(cameras, depths, speed)
        self._cameras, self._depths, self._speed, self._noise = cameras, depths, speed, noise

    def __len__(self) -> int:
        return len(self._cameras)

    def gray(self, index: int) -> np.ndarray:
        return cv2.cvtColor(self.frames.rgb8(index), cv2.COLOR_RGB2GRAY)

    def __call__(self, source: int, target: int) -> Flow:
        displacement = RigidPair.between(self._cameras[source], self._cameras[target]).flow(1.0 / self._depths[source])
        displacement = displacement.astype(np.float32)
        y, x = np.mgrid[:HEIGHT, :WIDTH] + displacement.transpose(2, 0, 1)[::-1]
        error = np.zeros((HEIGHT, WIDTH), np.float32)
        if self._speed is not None:
            here, there = patch(source, self._speed), patch(target, self._speed)
            hidden = there[
                np.clip(np.rint(y), 0, HEIGHT - 1).astype(int), np.clip(np.rint(x), 0, WIDTH - 1).astype(int)
            ]
            error[hidden & ~here] = 20.0
            displacement[here] = np.array(self._speed, np.float32) * (target - source)
            y, x = np.mgrid[:HEIGHT, :WIDTH] + displacement.transpose(2, 0, 1)[::-1]
        if self._noise:
            random = np.random.default_rng(source * 1000 + target)
            displacement = displacement + random.normal(0, self._noise, displacement.shape).astype(np.float32)
        error[(x < 0) | (x > WIDTH - 1) | (y < 0) | (y > HEIGHT - 1)] = np.inf
        return Flow(source, target, displacement, error)


#: mostly across the epipolar lines of a camera that goes right
SPEED = (1.0, 2.0)


def test_rigid_flow_agrees_with_projecting_points():
    cameras = path()
    depth = cast(cameras[2])
    points = cameras[2].unproject(depth).reshape(-1, 3)
    pixels, _ = cameras[5].project(points)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    expected = pixels.reshape(HEIGHT, WIDTH, 2) - np.stack([x + 0.5, y + 0.5], axis=-1)
    flow = RigidPair.between(cameras[2], cameras[5]).flow(1.0 / depth)
    np.testing.assert_allclose(flow, expected, atol=1e-3)


def test_exact_flow_gives_exact_depth():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths)
    partners = partner_frames(4, COUNT, (1, 2, 4))
    inverse_depth, information, kept = triangulate(
        [flow(4, other) for other in partners],
        [RigidPair.between(cameras[4], cameras[other]) for other in partners],
    )
    seen = information > 0
    assert seen.mean() > 0.95
    assert kept[seen].min() > 0.99
    np.testing.assert_allclose(1.0 / inverse_depth[seen], depths[4][seen], rtol=1e-3)


def test_depth_maps_are_complete_and_right():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    estimate = estimate_depth(KnownFlow(cameras, depths, noise=0.1), cameras)
    for index in (0, 4, COUNT - 1):
        error = np.abs(estimate.z_depths[index] - depths[index]) / depths[index]
        assert (estimate.z_depths[index] > 0).all()
        assert np.median(error) < 0.02
        assert 0.0 <= estimate.confidences[index].min() and estimate.confidences[index].max() <= 1.0


def test_without_parallax_depth_is_plausible_and_not_trusted():
    cameras = path(translation=0.0)
    estimate = estimate_depth(KnownFlow(cameras, [cast(camera) for camera in cameras]), cameras)
    assert (estimate.z_depths[3] > 0.5).all() and (estimate.z_depths[3] < 50).all()
    assert estimate.confidences[3].max() == 0


@pytest.mark.parametrize("translation", [0.08, 0.0])
def test_moving_patch_is_found_and_nothing_else(translation: float):
    cameras = path(translation)
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, SPEED, noise=0.1)
    depth = estimate_depth(flow, cameras)
    motion = estimate_motion(flow, cameras, depth.z_depths, depth.confidences)
    for index in (1, 4, 7):
        found, truth = motion[index] > 0.5, patch(index, SPEED)
        assert (found & truth).sum() / (found | truth).sum() > 0.8


@pytest.mark.parametrize("translation", [0.08, 0.0])
def test_nothing_moves_nothing_is_found(translation: float):
    cameras = path(translation)
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], noise=0.2)
    depth = estimate_depth(flow, cameras)
    motion = estimate_motion(flow, cameras, depth.z_depths, depth.confidences)
    assert max(float(mask.max()) for mask in motion) < 0.3


def test_camera_error_is_not_motion():
    cameras = path()
    flow = KnownFlow(cameras, [cast(camera) for camera in cameras], noise=0.1)
    bent = [camera.moved(camera.world_from_camera @ turned(0.002 * (-1) ** k)) for k, camera in enumerate(cameras)]
    depth = estimate_depth(flow, bent)
    motion = estimate_motion(flow, bent, depth.z_depths, depth.confidences)
    assert np.mean([(mask > 0.5).mean() for mask in motion]) < 0.01


def turned(angle: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([angle, angle, 0.0]))[0]
    return pose


def test_motion_works_with_foreign_depth_that_has_holes_and_no_confidence():
    cameras = path()
    depths = [cast(camera) for camera in cameras]
    flow = KnownFlow(cameras, depths, SPEED, noise=0.1)

    def with_holes(index: int) -> np.ndarray:
        depth = depths[index].astype(np.float32).copy()
        depth[60:70, 90:110] = 0.0
        return depth

    motion = estimate_motion(flow, cameras, LoadedMaps(COUNT, with_holes))
    found = motion[4] > 0.5
    truth = patch(4, SPEED)
    assert found[truth].mean() > 0.85
    assert found[~truth].mean() < 0.02


def test_background_drift_is_found_beside_a_mover():
    random = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    drift = np.stack([0.5 + 0.004 * x, -0.3 + 0.002 * y], axis=-1)
    error = (drift + random.normal(0, 0.1, drift.shape)).astype(np.float32)
    error[30:60, 30:80] += 5.0
    found, scale = background_drift(error, np.full((HEIGHT, WIDTH), 0.01, np.float32))
    np.testing.assert_allclose(found, drift, atol=0.1)
    assert scale < 1.5


def test_prominence_of_what_floats_but_not_of_what_stands():
    rows = np.arange(60, dtype=np.float32)[:, None]
    inverse_depth = np.broadcast_to(np.maximum(rows - 20, 0) / 40.0, (60, 80)).copy()
    inverse_depth[10:41, 10:20] = inverse_depth[41, 0]  # a post: as near as the ground that it stands on
    inverse_depth[15:25, 50:60] = 3.0  # nearer than all ground, with air around it
    floating, spread = prominence(inverse_depth, np.ones((60, 80), bool))
    assert floating[15:25, 50:60].min() > 2 * spread
    assert floating[10:41, 10:20].max() < 0.1 * spread


def test_edge_aware_smoothing_stops_at_edges_and_solves_its_equations():
    guide = np.zeros((20, 30, 3), np.float32)
    guide[:, 15:] = 1.0
    value = np.where(np.arange(30)[None, :] < 15, 1.0, 3.0) + np.zeros((20, 1))
    noisy = value + np.random.default_rng(0).normal(0, 0.2, value.shape)
    (smooth,) = EdgeAwareSmoother(guide, 100.0, 0.05)(noisy)
    assert np.abs(smooth - value).max() < 0.15
    np.testing.assert_allclose(smooth.mean(), noisy.mean(), atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (61, 83), (9, 200)])
def test_superpixels_cover_the_image_and_do_not_cross_a_strong_edge(shape):
    image = np.full((*shape, 3), 40, np.uint8)
    image[:, shape[1] // 2 :] = 200
    labels = superpixels(image, 8)
    assert labels.shape == shape and labels.min() == 0
    left, right = labels[:, : shape[1] // 2 - 2], labels[:, shape[1] // 2 + 2 :]
    assert not set(np.unique(left)) & set(np.unique(right))


def test_a_turning_camera_sees_one_stage_from_every_frame():
    angles = [-0.3, 0.0, 0.4]
    cameras = []
    for angle in angles:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("yx", [angle, 0.2 * angle]).as_matrix()
        cameras.append(Camera(96, 64, 90.0, 90.0, 48.0, 32.0, pose))
    stage = Stage(cameras)
    middle = stage.z_depth(cameras[1])
    assert middle.shape == (64, 96) and np.isfinite(middle).all() and (middle > 0).all()
    # the ground comes nearer towards the lower edge, the backdrop does not
    assert middle[63, 48] < 0.8 * middle[32, 48] and abs(middle[20, 48] / middle[30, 48] - 1) < 0.05
    for camera in (cameras[0], cameras[2]):
        points = camera.unproject(stage.z_depth(camera)).reshape(-1, 3)
        pixels, z = cameras[1].project(points)
        column, row = np.round(pixels - 0.5).astype(int).T
        inside = (z > 0) & (column >= 0) & (column < 96) & (row >= 0) & (row < 64)
        assert inside.sum() > 1000
        np.testing.assert_allclose(z[inside], middle[row[inside], column[inside]], rtol=0.03)


def test_what_moves_late_is_remembered_however_long_it_rested():
    labels = np.zeros((12, 16), int)
    labels[3:9, 4:12] = 1
    still = np.zeros((12, 16, 2), np.float32)
    graph = SegmentGraph()
    for _ in range(60):
        color = np.array([[0.2, 0.0, 0.0], [0.8, 0.0, 0.0]])
        nothing = np.zeros(2)
        graph.add_frame(
            FrameSegments(
                labels, np.bincount(labels.ravel()), color, np.zeros((2, 2)), np.zeros((2, 2)), nothing, nothing
            )
        )
    for position in range(59):
        graph.link_overlaps(position, position + 1, still, np.ones((12, 16), bool), 0.05, 4.0)
    moves = np.zeros(120)
    moves[119] = 1.0
    first = graph.per_frame(graph.remembered(moves))[0]
    assert first[1] > 0.95 and first[0] == 0.0
