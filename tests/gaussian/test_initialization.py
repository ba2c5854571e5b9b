"""Initialization on a textured wall at a known depth."""

import numpy as np
import pytest

from gaussian.initialization import InitializationSettings, initialize
from scene.camera import Camera
from scene.errors import InputError
from scene.maps import StoredMaps
from scene.scene import Scene
from tests.gaussian.wall_scene import MemoryFrames

WIDTH, HEIGHT, COUNT, WALL_DEPTH = 96, 64, 6, 4.0


def wall_scene(step: float = 0.1) -> Scene:
    """Cameras that slide along a wall at depth 4; a nearer box, masked as moving, hides the middle of every frame."""
    cameras = []
    for index in range(COUNT):
        pose = np.eye(4)
        pose[0, 3] = step * index
        cameras.append(Camera(WIDTH, HEIGHT, 80.0, 80.0, WIDTH / 2, HEIGHT / 2, pose))
    columns = np.arange(WIDTH)
    images = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8)
    for index, camera in enumerate(cameras):
        x = (columns + 0.5 - camera.cx) / camera.fx * WALL_DEPTH + camera.center[0]
        images[index] = (127 + 100 * np.sin(12 * x))[None, :, None].astype(np.uint8)
    masks, depths, confidences = (StoredMaps(COUNT, HEIGHT, WIDTH, np.float32) for _ in range(3))
    for index in range(COUNT):
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        mask[24:40, 40:56] = 1
        depth = np.full((HEIGHT, WIDTH), WALL_DEPTH, np.float32)
        depth[mask > 0] = 1.0
        masks[index], depths[index], confidences[index] = mask, depth, np.ones_like(mask)
    return Scene(MemoryFrames(images), cameras, masks, depths, confidences)


def test_points_lie_on_the_static_wall_only() -> None:
    gaussians = initialize(wall_scene(), range(COUNT))
    assert len(gaussians) > 300
    np.testing.assert_allclose(gaussians.means[:, 2].numpy(), WALL_DEPTH, rtol=1e-4)


def test_each_place_is_covered_once() -> None:
    scene = wall_scene()
    one = len(initialize(scene, [0]))
    all_frames = len(initialize(scene, range(COUNT)))
    # five steps of 0.1 show 10 % more wall and the part behind the box; covering places twice would give 6 times `one`
    assert one < all_frames < 1.6 * one


def test_held_out_frames_are_never_read() -> None:
    scene = wall_scene()

    class Guarded(MemoryFrames):
        def rgb8(self, index: int) -> np.ndarray:
            assert index not in (1, 4)
            return super().rgb8(index)

    scene.frames = Guarded(scene.frames.images)  # type: ignore[attr-defined]
    assert len(initialize(scene, [0, 2, 3, 5])) > 300


def test_limit_and_size() -> None:
    gaussians = initialize(wall_scene(), range(COUNT), InitializationSettings(max_count=200))
    assert 20 < len(gaussians) <= 300
    # larger cells make larger Gaussians, so that the wall stays closed
    covered = (2 * np.pi * gaussians.scales[:, 0].numpy() ** 2).sum()
    wall = WIDTH * HEIGHT * (WALL_DEPTH / 80.0) ** 2
    assert covered > wall


def test_low_confidence_leaves_no_hole() -> None:
    scene = wall_scene()
    confidences = StoredMaps(COUNT, HEIGHT, WIDTH, np.float32)
    for index in range(COUNT):
        confidences[index][:] = 0
        confidence = np.ones((HEIGHT, WIDTH), np.float32)
        confidence[:, :32] = 0.01
        confidences[index] = confidence
    scene.confidences = confidences
    gaussians = initialize(scene, range(COUNT))
    left = gaussians.means[:, 0].numpy() < -1.2
    assert 4 < left.sum() < 0.2 * len(gaussians)
    assert gaussians.scales[left].median() > 1.5 * gaussians.scales[~left].median()


def test_points_that_others_see_through_are_dropped() -> None:
    scene = wall_scene()
    depths = StoredMaps(COUNT, HEIGHT, WIDTH, np.float32)
    for index in range(COUNT):
        depth = np.full((HEIGHT, WIDTH), WALL_DEPTH, np.float32)
        if index == 3:
            depth[:16, :16] = 1.5  # one frame is wrong
        depths[index] = depth
    scene.z_depths = depths
    gaussians = initialize(scene, range(COUNT))
    assert (gaussians.means[:, 2] < 2).sum() == 0


def test_nothing_static_is_an_input_error() -> None:
    scene = wall_scene()
    masks = StoredMaps(COUNT, HEIGHT, WIDTH)
    for index in range(COUNT):
        masks[index] = np.ones((HEIGHT, WIDTH))
    scene.motion_masks = masks
    with pytest.raises(InputError, match="no static pixel"):
        initialize(scene, range(COUNT))


def test_no_depth_is_an_input_error() -> None:
    scene = wall_scene()
    scene.z_depths = None
    with pytest.raises(InputError, match="depth"):
        initialize(scene, range(COUNT))


def test_without_any_depth_there_is_a_backdrop() -> None:
    scene = wall_scene()
    scene.z_depths = StoredMaps(COUNT, HEIGHT, WIDTH)
    gaussians = initialize(scene, range(COUNT))
    assert len(gaussians) > 50
    np.testing.assert_allclose(gaussians.means[:, 2].numpy(), gaussians.means[0, 2].item(), rtol=1e-4)


def test_there_are_no_gaussians_of_what_was_not_observed() -> None:
    scene = wall_scene()
    scene.observed = [np.ones((HEIGHT, WIDTH), np.float32) for _ in range(COUNT)]
    for observed in scene.observed:
        observed[:, : WIDTH // 3] = 0
    gaussians = initialize(scene, range(COUNT))
    for index in range(COUNT):
        pixels, _ = scene.cameras[index].project(gaussians.means.numpy().astype(np.float64))
        seen_by_all = gaussians.means[:, 0].numpy() < np.inf
        if index == 0:  # the camera slides to the right, so only the first frame sees what is left of the others
            assert pixels[seen_by_all, 0].min() > WIDTH / 3 - 1
    assert len(gaussians) > 50
