"""Depth of a second predictor in a scene: its scale in each frame."""

import numpy as np
import pytest

from dynamic_predictor.driver.second_predictor import SecondPrediction, use_depths
from scene.camera import Camera
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.maps import LoadedMaps
from scene.scene import Scene

COUNT, HEIGHT, WIDTH = 4, 24, 32


def maps(values: np.ndarray) -> LoadedMaps:
    return LoadedMaps(len(values), lambda index: values[index].astype(np.float32))


@pytest.fixture
def scene() -> Scene:
    """Static depth between 1 and 3, a mover on the left third, nothing known in the last frame."""
    random = np.random.default_rng(0)
    depth = random.uniform(1, 3, (COUNT, HEIGHT, WIDTH))
    depth[3] = 0
    motion = np.zeros_like(depth)
    motion[..., : WIDTH // 3] = 1
    camera = Camera(WIDTH, HEIGHT, 30.0, 30.0, WIDTH / 2, HEIGHT / 2, np.eye(4))
    frames = MemoryFrames(np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint8))
    return Scene(frames, [camera] * COUNT, motion_masks=maps(motion), z_depths=maps(depth))


def test_each_frame_is_scaled_to_the_scene(scene: Scene) -> None:
    """The scale is that of the static pixels; a frame without depth of its own takes the median of the others."""
    own = np.stack([scene.z_depths[index] for index in range(COUNT)])  # type: ignore[index]
    factors = np.array([2.0, 5.0, 3.0, 4.0])
    theirs = np.where(own > 0, own, 1.5) / factors[:, None, None]
    theirs[..., : WIDTH // 3] *= 7  # the mover is elsewhere for the second predictor
    use_depths(scene, SecondPrediction(None, maps(theirs), maps(np.ones_like(theirs))), "other")
    assert scene.z_depths is not None and scene.confidences is not None
    for index in range(3):
        found = scene.z_depths[index]
        assert np.allclose(found[:, WIDTH // 3 :], own[index, :, WIDTH // 3 :], rtol=1e-4)
        assert np.allclose(found[:, : WIDTH // 3], 7 * own[index, :, : WIDTH // 3], rtol=1e-4)
    assert np.allclose(scene.z_depths[3][:, WIDTH // 3 :], 1.5 / 4.0 * 3.0, rtol=1e-4)
    assert scene.provenance == {"depth": "predicted (other)", "depth_scale_spread": 2.5}


def test_depths_of_another_size(scene: Scene) -> None:
    half = np.full((COUNT, HEIGHT // 2, WIDTH // 2), 1.0)
    use_depths(scene, SecondPrediction(None, maps(half), maps(half)), "other")
    assert scene.z_depths is not None and scene.z_depths[0].shape == (HEIGHT, WIDTH)
    assert scene.confidences is not None and scene.confidences[0].shape == (HEIGHT, WIDTH)


def test_depths_that_cannot_be_compared(scene: Scene) -> None:
    nothing = SecondPrediction(None, maps(np.zeros((COUNT, HEIGHT, WIDTH))), None)
    with pytest.raises(InputError, match="no pixel in common"):
        use_depths(scene, nothing, "other")
    scene.z_depths = None
    with pytest.raises(InputError, match="cannot be brought to the scale"):
        use_depths(scene, nothing, "other")
