"""Refinement by reprojection in a made-up world: a textured wall, and a block that moves in front of it."""

import numpy as np
import pytest

from dynamic_predictor.attention_motion.reprojection import GeometryOfClip, refined_by_reprojection, world_points

FRAMES, HEIGHT, WIDTH, FOCAL, WALL, BLOCK = 6, 40, 60, 50.0, 4.0, 2.5


def _clip(unit: float = 1.0) -> tuple[GeometryOfClip, np.ndarray]:
    """A camera that slides to the right, and the true masks of the block."""
    texture = np.random.default_rng(0).uniform(0.3, 0.7, (HEIGHT, 200, 3))
    images, depths, truth = [], [], []
    for frame in range(FRAMES):
        shift = 5 * frame  # of the wall in pixels
        image, depth = texture[:, 50 + shift : 50 + shift + WIDTH].copy(), np.full((HEIGHT, WIDTH), WALL)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[10:22, 4 + 8 * frame : 16 + 8 * frame] = True
        image[mask], depth[mask] = (1.0, 0.0, 0.0), BLOCK
        images.append(image), depths.append(depth), truth.append(mask)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = 5 * np.arange(FRAMES) * WALL / FOCAL * unit
    intrinsics = np.tile([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], (FRAMES, 1, 1))
    return GeometryOfClip(np.stack(images), unit * np.stack(depths), intrinsics, poses), np.stack(truth)


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_what_agrees_with_other_frames_is_static_after_all(unit):
    clip, truth = _clip(unit)
    coarse = truth.copy()
    coarse[:, 26:38, 20:40] = True  # a part of the wall
    refined = refined_by_reprojection(coarse, clip)
    assert not refined[:, 26:38, 20:40].any()
    for found, expected in zip(refined, truth, strict=True):
        assert (found & expected).sum() >= 0.9 * expected.sum()
        assert (found & ~expected).sum() <= 60  # at most the border of a pixel
    np.testing.assert_array_equal(refined, refined_by_reprojection(coarse, clip))


def test_nothing_to_refine():
    clip, truth = _clip()
    assert not refined_by_reprojection(np.zeros_like(truth), clip).any()
    single = GeometryOfClip(clip.images[:1], clip.z_depth[:1], clip.intrinsics[:1], clip.world_from_camera[:1])
    np.testing.assert_array_equal(refined_by_reprojection(truth[:1], single), truth[:1])
    unknown = GeometryOfClip(clip.images, 0 * clip.z_depth, clip.intrinsics, clip.world_from_camera)
    np.testing.assert_array_equal(refined_by_reprojection(truth, unknown), truth)


def test_points_of_pixels_are_those_of_the_camera():
    clip, _ = _clip()
    rows, columns = np.array([3, 30]), np.array([7, 50])
    expected = [
        [(c + 0.5 - WIDTH / 2) / FOCAL * WALL + 2 * 5 * WALL / FOCAL, (r + 0.5 - HEIGHT / 2) / FOCAL * WALL, WALL]
        for r, c in zip(rows, columns, strict=True)
    ]
    np.testing.assert_allclose(world_points(clip, 2, rows, columns), expected)
