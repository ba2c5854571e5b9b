"""The weight-free predictor as a whole, on a cut of a rendered clip with known masks, cameras and depth."""

import json

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.predictor import GeometricPredictor
from scene.errors import InputError
from scene.frames import ImageFolderFrames
from scene.maps import LoadedMaps
from tests.paths import ROOT

SIZE = (320, 181)
SAMPLE = ROOT / "data" / "sample"


class ImageFrames:
    def __init__(self, images) -> None:
        self._images = list(images)
        self.height, self.width = self._images[0].shape[:2]
        self.names = [f"{k:05d}.png" for k in range(len(self._images))]
        self.timestamps = [k / 30 for k in range(len(self._images))]

    def __len__(self) -> int:
        return len(self._images)

    def rgb8(self, index: int) -> np.ndarray:
        return self._images[index]

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index].astype(np.float32) / 255.0


def sample(folder: str, count: int) -> list[np.ndarray]:
    paths = sorted((SAMPLE / folder).iterdir())[:count]
    frames = ImageFolderFrames(paths)
    return [frames.rgb8(k) for k in range(count)]


def small(images: list[np.ndarray], width: int, height: int) -> ImageFrames:
    return ImageFrames([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images])


@pytest.fixture(scope="module")
def predicted():
    return GeometricPredictor().predict(small(sample("rgb", 12), *SIZE)), 12


def truth_mask(index: int) -> np.ndarray:
    mask = cv2.imread(str(sorted((SAMPLE / "mask").iterdir())[index]), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(mask, SIZE, interpolation=cv2.INTER_NEAREST) > 127


def test_masks_of_the_sample(predicted):
    scene, count = predicted
    assert scene.motion_masks is not None
    intersection = union = 0
    for index in range(count):
        found, truth = scene.motion_masks[index] > 0.5, truth_mask(index)
        intersection += (found & truth).sum()
        union += (found | truth).sum()
    score = intersection / union
    assert score > 0.6


def test_depth_of_the_sample(predicted):
    scene, count = predicted
    assert scene.z_depths is not None and scene.confidences is not None
    ratios, weights = [], []
    for index, path in enumerate(sorted((SAMPLE / "depth_clean").iterdir())[:count]):
        with np.load(path) as stored:
            truth = stored[stored.files[0]].astype(np.float32)
        truth = cv2.resize(truth, SIZE, interpolation=cv2.INTER_NEAREST)
        static = ~truth_mask(index) & (truth > 0)
        ratios.append((scene.z_depths[index][static] / truth[static])[::7])
        weights.append(scene.confidences[index][static][::7])
        assert (scene.z_depths[index] > 0).all()
    ratio, weight = np.concatenate(ratios), np.concatenate(weights)
    # one scale for the whole clip: frames must agree with each other
    error = np.abs(ratio / np.median(ratio) - 1.0)
    assert np.median(error) < 0.03
    assert np.median(error[weight > 0.7]) < np.median(error[weight < 0.3])


def test_what_the_scene_says_about_itself(predicted):
    scene, count = predicted
    assert len(scene.cameras) == count
    assert scene.predictor == "geometric"
    assert scene.points is not None and len(scene.points.positions) > 50
    assert set(scene.provenance["seconds"]) == {"cameras", "depth", "motion"}
    json.dumps(scene.provenance)


def test_nothing_moves_in_the_clean_sample():
    scene = GeometricPredictor().predict(small(sample("clean", 6), 240, 136))
    assert scene.motion_masks is not None
    assert np.mean([(scene.motion_masks[k] > 0.5).mean() for k in range(6)]) < 0.01


def test_the_users_masks_win():
    frames = small(sample("rgb", 4), 160, 90)
    masks = np.zeros((4, 90, 160), np.float32)
    masks[:, 20:50, 30:70] = 1.0
    scene = GeometricPredictor().predict(frames, masks=LoadedMaps(4, lambda index: masks[index]))
    assert scene.motion_masks is not None
    for index in range(4):
        np.testing.assert_array_equal(scene.motion_masks[index], masks[index])
    assert scene.provenance["motion_masks"] == "the user's"


@pytest.mark.parametrize("size", [(161, 91), (90, 160), (64, 48)])
def test_two_frames_and_odd_sizes(size: tuple[int, int]):
    width, height = size
    scene = GeometricPredictor().predict(small(sample("rgb", 2), width, height))
    assert len(scene.cameras) == 2
    assert scene.motion_masks is not None and scene.z_depths is not None and scene.confidences is not None
    for maps in (scene.motion_masks, scene.z_depths, scene.confidences):
        assert maps[1].shape == (height, width)
        assert np.isfinite(maps[1]).all()


@pytest.mark.parametrize("image", ["same", "grey"])
def test_frames_without_any_motion_have_empty_masks(image: str):
    first = sample("rgb", 1)[0]
    images = [first] * 4 if image == "same" else [np.full_like(first, 128)] * 4
    scene = GeometricPredictor().predict(small(images, 160, 90))
    assert scene.motion_masks is not None and scene.z_depths is not None
    assert max(float(scene.motion_masks[k].max()) for k in range(4)) < 0.5
    assert (scene.z_depths[0] > 0).all()


def test_one_frame_and_too_few_masks_are_refused():
    images = sample("rgb", 3)
    with pytest.raises(InputError, match="at least two"):
        GeometricPredictor().predict(ImageFrames(images[:1]))
    with pytest.raises(InputError, match="2 motion masks for 3 frames"):
        none = np.zeros(images[0].shape[:2], np.float32)
        GeometricPredictor().predict(ImageFrames(images), masks=LoadedMaps(2, lambda index: none))
