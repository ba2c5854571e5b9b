"""The weight-free predictor on a part of a rendered clip, whose masks and depth are known."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dynamic_predictor.contract import Views
from dynamic_predictor.geometric.predictor import GeometricPredictor
from dynamic_predictor.geometric.settings import GeometricSettings
from dynamic_predictor.optical_flow.dis import DISFlow
from dynamic_predictor.optical_flow.specs import FLOWS, FlowSpec
from scene.errors import InputError
from scene.frames import ImageFolderFrames, MemoryFrames
from scene.maps import LoadedMaps
from scene.trajectory import absolute_trajectory_error, path_length
from tests.paths import ROOT

SIZE = (320, 181)
SAMPLE = ROOT / "data" / "sample"


def sample(folder: str, count: int) -> list[np.ndarray]:
    paths = sorted((SAMPLE / folder).iterdir())[:count]
    frames = ImageFolderFrames(paths)
    return [frames.rgb8(k) for k in range(count)]


def small(images: list[np.ndarray], width: int, height: int) -> Views:
    resized = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
    return Views(MemoryFrames(np.stack(resized)))


@pytest.fixture(scope="module")
def predicted():
    return GeometricPredictor().predict(small(sample("rgb", 12), *SIZE)), 12


def truth_mask(index: int) -> np.ndarray:
    mask = cv2.imread(str(sorted((SAMPLE / "mask").iterdir())[index]), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(mask, SIZE, interpolation=cv2.INTER_NEAREST) > 127


def test_masks_of_the_sample(predicted):
    prediction, count = predicted
    intersection = union = 0
    for index in range(count):
        found, truth = prediction.motion[index] > 0.5, truth_mask(index)
        intersection += (found & truth).sum()
        union += (found | truth).sum()
    score = intersection / union
    assert score > 0.6


def test_depth_of_the_sample(predicted):
    prediction, count = predicted
    ratios, weights = [], []
    for index, path in enumerate(sorted((SAMPLE / "depth_clean").iterdir())[:count]):
        with np.load(path) as stored:
            truth = stored[stored.files[0]].astype(np.float32)
        truth = cv2.resize(truth, SIZE, interpolation=cv2.INTER_NEAREST)
        static = ~truth_mask(index) & (truth > 0)
        ratios.append((prediction.z_depth[index][static] / truth[static])[::7])
        weights.append(prediction.confidence[index][static][::7])
        assert (prediction.z_depth[index] > 0).all()
    ratio, weight = np.concatenate(ratios), np.concatenate(weights)
    # one scale for the whole clip, because the frames must be consistent with each other
    error = np.abs(ratio / np.median(ratio) - 1.0)
    assert np.median(error) < 0.03
    assert np.median(error[weight > 0.7]) < np.median(error[weight < 0.3])


def test_cameras_points_and_provenance(predicted):
    prediction, count = predicted
    assert len(prediction.cameras()) == count
    assert prediction.points is not None and len(prediction.points.positions) > 50
    assert set(prediction.provenance["seconds"]) == {"cameras", "depth", "motion"}
    json.dumps(prediction.provenance)


def test_nothing_moves_in_the_clean_sample():
    motion = GeometricPredictor().predict(small(sample("clean", 6), 240, 136)).motion
    assert motion is not None
    assert np.mean([(motion[k] > 0.5).mean() for k in range(6)]) < 0.01


def test_masks_of_the_user_replace_motion_estimation():
    views = small(sample("rgb", 4), 160, 90)
    masks = np.zeros((4, 90, 160), np.float32)
    masks[:, 20:50, 30:70] = 1.0
    prediction = GeometricPredictor().predict(Views(views.frames, LoadedMaps(4, lambda index: masks[index])))
    assert prediction.motion is not None
    for index in range(4):
        np.testing.assert_array_equal(prediction.motion[index], masks[index])
    assert prediction.provenance["seconds"]["motion"] == 0


def test_the_flow_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch):
    pairs = []

    class RecordedFlow(DISFlow):
        def between(self, images):
            flow = super().between(images)
            return lambda first, second: pairs.append((first, second)) or flow(first, second)

    monkeypatch.setitem(FLOWS, "recorded", FlowSpec("recorded", "DIS", load=lambda *_: RecordedFlow()))
    views = small(sample("rgb", 2), 64, 48)
    recorded = GeometricPredictor(GeometricSettings(flow="recorded")).predict(views)
    assert set(pairs) == {(0, 1), (1, 0)}
    np.testing.assert_array_equal(recorded.z_depth[1], GeometricPredictor().predict(views).z_depth[1])


@pytest.mark.parametrize("size", [(161, 91), (90, 160), (64, 48)])
def test_two_frames_and_odd_sizes(size: tuple[int, int]):
    width, height = size
    prediction = GeometricPredictor().predict(small(sample("rgb", 2), width, height))
    assert len(prediction.cameras()) == 2 and prediction.size == (height, width)
    assert prediction.motion is not None
    for maps in (prediction.motion, prediction.z_depth, prediction.confidence):
        assert maps[1].shape == (height, width)
        assert np.isfinite(maps[1]).all()


@pytest.mark.parametrize("image", ["same", "gray"])
def test_frames_without_any_motion_have_empty_masks(image: str):
    first = sample("rgb", 1)[0]
    images = [first] * 4 if image == "same" else [np.full_like(first, 128)] * 4
    prediction = GeometricPredictor().predict(small(images, 160, 90))
    assert prediction.motion is not None
    assert max(float(prediction.motion[k].max()) for k in range(4)) < 0.5
    assert (prediction.z_depth[0] > 0).all()
    assert any("does not move" in warning or "one camera" in warning for warning in prediction.warnings)


def test_one_frame_and_too_few_masks_are_refused():
    images = np.stack(sample("rgb", 3))
    with pytest.raises(InputError, match="at least two"):
        GeometricPredictor().predict(Views(MemoryFrames(images[:1])))
    with pytest.raises(InputError, match="2 motion masks for 3 frames"):
        Views(
            MemoryFrames(images),
            motion_masks=LoadedMaps(2, lambda index: np.zeros(images.shape[1:3], np.float32)),
        )


def test_auto_is_dis_without_a_warning_about_weights():
    views = small(sample("rgb", 2), 96, 54)
    found = GeometricPredictor(GeometricSettings(rounds=1, flow="auto")).predict(views)
    assert not [sentence for sentence in found.warnings if "weights" in sentence]


def _remapped(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _path_error(found: np.ndarray, count: int) -> float:
    """RMSE of the camera centers after the best similarity, in percent of the path."""
    truth = json.loads((SAMPLE / "cameras.json").read_text())["frames"][:count]
    poses = np.array([frame["world_from_camera"] for frame in truth])
    return 100 * absolute_trajectory_error(found, poses).rmse / path_length(poses)


@pytest.mark.slow
def test_a_zoom_is_found_frame_by_frame():
    images = sample("rgb", 20)
    height, width = images[0].shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    factors = 1 + 0.6 * np.arange(20) / 19
    zoomed = [
        _remapped(image, (x - width / 2) / z + width / 2 - 0.5, (y - height / 2) / z + height / 2 - 0.5)
        for image, z in zip(images, factors, strict=True)
    ]
    prediction = GeometricPredictor().predict(small(zoomed, 256, 145))
    assert prediction.intrinsics is not None
    np.testing.assert_allclose(prediction.intrinsics[:, 0, 0] / 256, 399.427 / 480 * factors, rtol=0.03)
    assert _path_error(prediction.poses(), 20) < 0.5
    assert any("zooms" in sentence for sentence in prediction.warnings)


@pytest.mark.slow
def test_a_fisheye_lens_is_found_and_undistorted():
    images = sample("rgb", 20)
    height, width = images[0].shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    angle = np.hypot(x, y) / 479.3
    scale = 399.427 * np.tan(angle) / np.maximum(angle, 1e-9) / 479.3
    seen = [_remapped(image, x * scale + width / 2 - 0.5, y * scale + height / 2 - 0.5) for image in images]
    views = small(seen, 256, 145)
    prediction = GeometricPredictor().predict(replace(views, find_lens=True))
    assert prediction.lens is not None and prediction.lens.family == "equidistant"
    assert prediction.intrinsics is not None
    np.testing.assert_allclose(prediction.intrinsics[:, 0, 0] / 256, 479.3 / 480, rtol=0.03)
    assert _path_error(prediction.poses(), 20) < 0.5
