"""Pictures of the window: colors of what is known."""

import numpy as np
import torch

from gui.panels import (
    BLUE,
    ORANGE,
    MotionShown,
    depth_panel,
    image_panel,
    motion_panel,
    opaque,
    screen_size,
    staticness_panel,
)
from scene.gaussians import Gaussians

IMAGE = np.full((12, 16, 3), 100, np.uint8)
SIZE = (16, 12)


def test_motion_is_blended_in_two_colors_and_can_be_left_out() -> None:
    predicted, annotated = np.zeros((12, 16), np.float32), np.zeros((12, 16), np.float32)
    predicted[:, :5] = 1
    annotated[:, 8:] = 1
    both = motion_panel(IMAGE, predicted, annotated, MotionShown(), SIZE)
    np.testing.assert_array_equal(both[6, 6], [100] * 3)
    assert np.abs(both[6, 2] - (45 + 0.55 * np.array(ORANGE))).max() <= 1
    assert np.abs(both[6, 13] - (80 + 0.2 * np.array(BLUE))).max() <= 1
    assert tuple(both[6, 8]) == BLUE  # the outline
    np.testing.assert_array_equal(motion_panel(IMAGE, predicted, annotated, MotionShown(False, False), SIZE), IMAGE)
    assert motion_panel(IMAGE, predicted, None, MotionShown(), (8, 6)).shape == (6, 8, 3)


def test_static_is_white_and_unsure_or_unknown_depth_is_black() -> None:
    weight = np.zeros((12, 16), np.float32)
    weight[:6] = 1
    picture = staticness_panel(weight, SIZE)
    assert picture[0].min() == 255 and picture[-1].max() == 0
    depth = np.linspace(1, 5, 12 * 16, dtype=np.float32).reshape(12, 16)
    depth[0, 0] = 0
    sure = np.full((6, 8), 0.9, np.float32)
    sure[3:] = 0.1
    colors = depth_panel(depth, sure, 0.5)
    assert colors[0, 0].max() == 0 and colors[-1].max() == 0 and colors[1].max() > 50
    near, far = depth_panel(depth, None, 0.5)[[0, -1], [1, -1]].astype(int).sum(axis=1)
    assert near > far


def test_transparent_gaussians_are_left_out() -> None:
    gaussians = Gaussians.isotropic(
        torch.zeros(4, 3), torch.zeros(4), torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.ones(4, 3), 0
    )
    assert opaque(gaussians, 0.0) is gaussians
    torch.testing.assert_close(opaque(gaussians, 0.5).opacities, torch.tensor([0.6, 0.9]))


def test_pictures_keep_the_shape_of_the_frames() -> None:
    assert screen_size(1920, 1080, 760, 500) == (760, 426)
    assert screen_size(100, 400, 760, 500) == (124, 500)
    assert image_panel(IMAGE, SIZE) is IMAGE and image_panel(IMAGE, (8, 6)).shape == (6, 8, 3)
