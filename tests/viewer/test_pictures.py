"""Pictures of frames: what is left and right of the split, and what colors say."""

import numpy as np

from scene.camera import Camera
from scene.frames import MemoryFrames
from scene.scene import Scene
from viewer.pictures import colored_frame, painted_over, possible_colorings, split_picture


def _scene(**maps: np.ndarray) -> Scene:
    images = np.full((2, 30, 40, 3), 90, np.uint8)
    return Scene(MemoryFrames(images), [Camera(40, 30, 40, 40, 20, 15, np.eye(4))] * 2, **maps)  # type: ignore[arg-type]


def test_the_split_has_one_picture_on_each_side():
    left, right = np.full((30, 40, 3), 10, np.uint8), np.full((30, 40, 3), 200, np.uint8)
    picture = split_picture(left, right, 0.25, 40)
    assert (picture[:, :9] == 10).all() and (picture[:, 11:] == 200).all() and (picture[:, 9:11] == 255).any()
    assert split_picture(left, right, 0.5, 20).shape == (15, 20, 3)
    assert (split_picture(left, right, 1.0, 40)[:, :38] == 10).all()
    assert (split_picture(left, right, 0.0, 40)[:, 2:] == 200).all()
    assert split_picture(left, right[:15, :20], 0.5, 40).shape == (30, 40, 3)  # another size is brought to that of left


def test_colors_follow_depth_confidence_and_motion():
    ramp = np.tile(np.linspace(0.0, 1.0, 40, dtype=np.float32), (2, 30, 1))
    scene = _scene(z_depths=ramp + 1, confidences=ramp, motion_masks=(ramp > 0.5).astype(np.float32))
    assert possible_colorings(scene) == ("image", "depth", "confidence", "motion")
    assert possible_colorings(_scene()) == ("image",)
    depth = colored_frame(scene, 0, "depth").astype(int).sum(axis=2)[10]
    confidence = colored_frame(scene, 0, "confidence").astype(int).sum(axis=2)[10]
    assert depth[3] > depth[20] > depth[36] and confidence[3] < confidence[20] < confidence[36]
    motion = colored_frame(scene, 0, "motion").astype(int)[10]
    assert abs(motion[5, 0] - motion[5, 2]) < 3 and motion[35, 0] - motion[35, 2] > 80
    mended = colored_frame(scene, 0, "motion", np.zeros((30, 40), np.float32)).astype(int)[10]
    assert abs(mended[35, 0] - mended[35, 2]) < 3
    assert (colored_frame(scene, 1, "image") == 90).all()


def test_what_is_painted_is_colored_and_outlined():
    mask = np.zeros((30, 40), np.float32)
    mask[10:20, 10:20] = 1
    picture = painted_over(np.full((30, 40, 3), 90, np.uint8), mask)
    assert (picture[0, 0] == 90).all() and picture[15, 15, 0] > 150 > picture[15, 15, 2]
    assert (picture[10, 10:20] == 255).all()
