"""Flow and tracks on a rendered plane whose motion is known, and the cameras of whole little clips."""

import json

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.structure_from_motion import MEDIAN_DEPTH, estimate_cameras
from dynamic_predictor.geometric.tracks import track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
from tests.paths import ROOT

WIDTH, HEIGHT, FOCAL = 256, 144, 240.0
SAMPLE = ROOT / "data" / "sample"


class ImageFrames:
    """Frames from a list of images."""

    def __init__(self, images):
        self._images = images
        self.height, self.width = images[0].shape[:2]
        self.names = [f"{index:05d}.png" for index in range(len(images))]
        self.timestamps = [index / 30 for index in range(len(images))]

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        return self._images[index].astype(np.float32) / 255

    def rgb8(self, index):
        return self._images[index]


def plane_clip(count=8, speed=0.04, turn=0.01, seed=0):
    """A textured plane, slanted, seen by a camera that moves sideways and turns: images, and for each frame the
    homography (cv2's pixel centres at integers) to it from frame 0."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (1200, 1600, 3)).astype(np.float32), (0, 0), 2.5)
    texture = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1.0]])
    # texture pixel -> plane in the world: 4 units wide at a depth of about 2, slanted
    world_from_texture = np.array([[4 / 1600, 0, -2.0], [0, 3 / 1200, -1.5], [0.6 / 1600, 0.5 / 1200, 1.6]])
    images, maps = [], []
    for index in range(count):
        rotation = cv2.Rodrigues(np.array([0.3, 1.0, 0.1]) * turn * index)[0]
        camera = np.array([speed * index, 0.3 * speed * index, 0.0])
        to_world = world_from_texture.copy()
        to_world -= np.outer(camera, [0, 0, 1])
        frame_from_texture = intrinsics @ rotation @ to_world
        images.append(cv2.warpPerspective(texture, frame_from_texture, (WIDTH, HEIGHT), flags=cv2.INTER_AREA))
        maps.append(frame_from_texture)
    first = np.linalg.inv(maps[0])
    return images, [matrix @ first for matrix in maps]


def transformed(matrix, points):
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def test_flow_follows_the_plane_and_is_consistent():
    images, maps = plane_clip()
    flow = FlowField(ImageFrames(images))(0, 2)
    x, y = np.meshgrid(np.arange(20, WIDTH - 20), np.arange(20, HEIGHT - 20))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    error = flow.displacement[y, x].reshape(-1, 2) - (transformed(maps[2], points) - points)
    assert np.median(np.linalg.norm(error, axis=1)) < 0.15
    assert np.median(flow.consistency_error[20:-20, 20:-20]) < 0.2


def test_flow_gives_the_same_when_it_forgets():
    images, _ = plane_clip(count=6)
    plenty = FlowField(ImageFrames(images))
    scarce = FlowField(ImageFrames(images), cache_bytes=1)
    for _ in range(2):
        for source in range(6):
            for target in range(6):
                if source != target:
                    np.testing.assert_array_equal(
                        plenty.displacement(source, target), scarce.displacement(source, target)
                    )
    assert len(scarce._displacements) <= 8


def test_flow_of_tiny_images():
    images = [np.full((7, 9, 3), value, np.uint8) for value in (10, 20)]
    assert FlowField(ImageFrames(images))(0, 1).displacement.shape == (7, 9, 2)


def test_tracks_are_sharp_and_at_pixel_centres_of_one_half():
    images, maps = plane_clip()
    tracks = track_points(FlowField(ImageFrames(images)))
    errors = []
    for host in tracks.hosts:
        back = np.linalg.inv(maps[host.host])
        for k, frame in enumerate(host.frames):
            true = transformed(maps[frame] @ back, host.host_pixels - 0.5) + 0.5
            errors.append(np.linalg.norm(host.pixels[k] - true, axis=1)[host.visible[k]])
    errors = np.concatenate(errors)
    assert tracks.count > 300
    assert np.median(errors) < 0.06
    assert np.percentile(errors, 95) < 0.4


def test_masked_pixels_give_no_tracks():
    images, _ = plane_clip(count=5)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[:, : WIDTH // 2] = 1
    tracks = track_points(FlowField(ImageFrames(images)), [mask] * 5)
    assert tracks.hosts
    for host in tracks.hosts:
        assert (host.host_pixels[:, 0] > WIDTH / 2).all()
        assert (host.pixels[host.visible][:, 0] > WIDTH / 2 - 1).all()


@pytest.mark.parametrize(
    "images",
    [
        [np.full((48, 64, 3), 128, np.uint8)] * 3,
        plane_clip(count=1)[0] * 2,
        [np.random.default_rng(index).integers(0, 255, (48, 64, 3)).astype(np.uint8) for index in range(3)],
        [np.zeros((5, 5, 3), np.uint8)] * 2,
    ],
    ids=["no texture", "two identical frames", "noise", "five pixels"],
)
def test_hopeless_clips_still_get_cameras(images):
    estimate = estimate_cameras(FlowField(ImageFrames(images)))
    assert len(estimate.cameras) == len(images)
    assert not estimate.has_translation
    assert estimate.warnings
    assert all(np.isfinite(camera.world_from_camera).all() for camera in estimate.cameras)


def room_ball(step):
    cameras = json.loads((SAMPLE / "cameras.json").read_text())
    paths = sorted((SAMPLE / "rgb").iterdir())
    chosen = range(0, len(paths), step)
    images = [cv2.cvtColor(cv2.imread(str(paths[index])), cv2.COLOR_BGR2RGB) for index in chosen]
    truth = np.array([cameras["frames"][index]["world_from_camera"] for index in chosen])
    return images, truth, cameras["fx"]


def aligned_error(found, truth):
    """RMSE after the best similarity, as a share of the path length."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = np.trace(np.diag(s) @ sign) / (a**2).sum()
    error = np.sqrt(((scale * a @ (u @ sign @ vt).T - b) ** 2).sum(1).mean())
    return error / np.linalg.norm(np.diff(truth, axis=0), axis=1).sum()


@pytest.mark.skipif(not SAMPLE.exists(), reason="data/sample is not there")
def test_cameras_of_the_sample_with_a_lost_frame():
    images, truth, focal = room_ball(step=2)
    middle = len(images) // 2
    images[middle] = np.zeros_like(images[middle])
    estimate = estimate_cameras(FlowField(ImageFrames(images)))
    centers = np.array([camera.center for camera in estimate.cameras])
    assert estimate.method == "bridged" and estimate.has_translation
    np.testing.assert_array_equal(np.flatnonzero(~estimate.measured), [middle])
    measured = estimate.measured
    assert aligned_error(centers[measured], truth[measured, :3, 3]) < 0.005
    assert aligned_error(centers, truth[:, :3, 3]) < 0.03
    assert estimate.cameras[0].fx == pytest.approx(focal, rel=0.02)
    np.testing.assert_allclose(estimate.cameras[0].world_from_camera, np.eye(4), atol=1e-9)
    # what depth needs: points where cameras and inverse depths say
    pixels, inverse_depths, sigmas = estimate.point_tracks.frame(3)
    rows = slice(estimate.point_tracks.frame_starts[3], estimate.point_tracks.frame_starts[4])
    points = estimate.points.positions[estimate.point_tracks.points[rows]]
    projected, z = estimate.cameras[3].project(points)
    assert np.median(np.linalg.norm(projected - pixels, axis=1)) < 0.3
    np.testing.assert_allclose(1 / z, inverse_depths, rtol=1e-3)
    assert (sigmas > 0).all()
    assert np.median(estimate.point_tracks.inverse_depths) == pytest.approx(1 / MEDIAN_DEPTH, rel=1e-3)
    # a second round with masks refines, and is repeatable
    masks = [np.zeros(images[0].shape[:2], np.float32)] * len(images)
    again = [estimate_cameras(FlowField(ImageFrames(images)), masks, initial=estimate, focal=focal) for _ in range(2)]
    np.testing.assert_array_equal(again[0].cameras[5].world_from_camera, again[1].cameras[5].world_from_camera)
    assert again[0].cameras[0].fx == focal
    centers = np.array([camera.center for camera in again[0].cameras])
    assert aligned_error(centers[measured], truth[measured, :3, 3]) < 0.005
