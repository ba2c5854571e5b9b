"""From frames to a scene: with made-up weights everything must fit together, with a model that knows the truth the
scene must be true."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dynamic_predictor.contract import Views
from dynamic_predictor.depth_anything3 import DepthAnything3, DepthAnything3Prediction
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor
from dynamic_predictor.depth_anything3.settings import (
    BackboneSettings,
    DepthAnything3Settings,
    HeadSettings,
    NetworkSettings,
)
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.specs import create_predictor, predictor_spec
from scene.errors import InputError
from scene.frames import Frames, ImageFolderFrames
from scene.maps import LoadedMaps
from scene.scene import Scene
from scene.truth import TruthScene
from tests.dynamic_predictor.depth_anything3.da3_goldens import filled
from tests.dynamic_predictor.driver.clip_frames import open_frames
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"
_TINY = NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), HeadSettings(16, (12, 16, 24, 32)))
_FIELD_OF_VIEW = {"cam_dec.fc_fov.0.weight": ("mul", 0.2), "cam_dec.fc_fov.0.bias": ("add", 1.0)}


@pytest.fixture(scope="module")
def tiny() -> DepthAnything3:
    return DepthAnything3(filled(build_network(_TINY), _FIELD_OF_VIEW), name="da3-small", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> ImageFolderFrames:
    return open_frames(
        SAMPLE / "rgb", max_size=120, frame_range="0:8", working_folder=tmp_path_factory.mktemp("frames")
    )


class KnowingModel:
    """Answers with the truth of the sample scene, at the size that the network would see."""

    name = "truth"
    predicts_cameras = True

    def __init__(self, truth: TruthScene) -> None:
        self.truth = truth
        self.size = (truth.cameras[0].width // 14 * 14, truth.cameras[0].height // 14 * 14)
        self.asked: list[int] = []
        self.means = [truth.frames.rgb8(index).mean(axis=(0, 1)) for index in range(len(truth))]

    def inference(self, images, **options) -> DepthAnything3Prediction:
        self.asked.append(len(images))
        width, height = self.size
        depths, cameras = [], []
        for image in images:
            place = int(np.argmin([np.abs(image.mean(axis=(0, 1)) - mean).sum() for mean in self.means]))
            depth = self.truth.depth(place)
            assert depth is not None
            depths.append(cv2.resize(depth, self.size, interpolation=cv2.INTER_NEAREST_EXACT))
            cameras.append(self.truth.cameras[place].resized(width, height))
        return DepthAnything3Prediction(
            depth=np.stack(depths),
            conf=np.full((len(images), height, width), 2.0, np.float32),
            extrinsics=np.stack([camera.camera_from_world[:3] for camera in cameras]).astype(np.float32),
            intrinsics=np.stack([camera.intrinsics for camera in cameras]).astype(np.float32),
            processed_images=np.stack([cv2.resize(image, self.size) for image in images]),
        )


def _driven(predictor, frames: Frames, folder: Path, **options) -> Scene:
    workspace = StreamWorkspace(folder / "clip", {}, resume=False)
    for index in range(len(frames)):
        workspace.append(frames.timestamps[index], frames.rgb8(index))
    workspace.finish_frames()
    settings = DriverSettings("clip", predictor="da3-small")
    return SceneDriver(settings, predictor=predictor).scene(workspace, **options).scene


def _overlap(scene: Scene, truth: TruthScene) -> float:
    """Intersection over union of predicted and true masks, all frames together."""
    assert scene.motion_masks is not None
    found = np.stack([scene.motion_masks[index] > 0.5 for index in range(len(truth))])
    true = np.stack([truth.mask(index) for index in range(len(truth))])  # type: ignore[arg-type]
    return float((found & true).sum() / (found | true).sum())


def test_true_depth_gives_a_true_scene_with_masks_of_what_moves(tmp_path):
    truth = TruthScene(SAMPLE)
    model = KnowingModel(truth)
    scene = _driven(DepthAnything3Predictor("da3-small", model=model), truth.frames, tmp_path)  # type: ignore[arg-type]
    assert model.asked == [len(truth)]
    for camera, expected in zip(scene.cameras, truth.cameras, strict=True):
        np.testing.assert_allclose(camera.world_from_camera, expected.world_from_camera, atol=1e-5)
        np.testing.assert_allclose(camera.intrinsics, expected.intrinsics, rtol=1e-4)
        assert (camera.width, camera.height) == (expected.width, expected.height)
    assert scene.confidences is not None
    np.testing.assert_allclose(scene.confidences[3], 0.5)
    assert _overlap(scene, truth) > 0.5


def test_long_clips_are_stitched_from_chunks(tmp_path):
    truth = TruthScene(SAMPLE)
    frames, model = truth.frames, KnowingModel(truth)
    masks = LoadedMaps(len(frames), lambda index: np.zeros((frames.height, frames.width), np.float32))
    predictor = DepthAnything3Predictor("da3-small", model=model)  # type: ignore[arg-type]
    chunks = StreamSettings(chunk_size=8, overlap=4, loop=False)
    scene = _driven(predictor, frames, tmp_path, known=lambda f: Views(f, motion_masks=masks), stream=chunks)
    assert max(model.asked) == 8 and len(model.asked) > 2
    assert scene.motion_masks is masks and scene.provenance["masks"] == "given by the user"
    first, true_first = (np.linalg.inv(found[0].world_from_camera) for found in (scene.cameras, truth.cameras))
    for camera, expected in zip(scene.cameras, truth.cameras, strict=True):
        ours, true = first @ camera.world_from_camera, true_first @ expected.world_from_camera
        np.testing.assert_allclose(ours, true, atol=1e-2)


def test_made_up_weights_give_a_whole_scene(tiny, clip, tmp_path):
    settings = DepthAnything3Settings(process_res=112)
    scene = _driven(DepthAnything3Predictor("da3-small", settings, model=tiny), clip, tmp_path / "a")
    assert scene.predictor == "da3-small" and len(scene.cameras) == 8
    for maps in (scene.motion_masks, scene.z_depths, scene.confidences):
        assert maps is not None and maps[5].shape == (clip.height, clip.width)
        assert np.isfinite(maps[5]).all()
    assert scene.provenance["masks"].startswith("estimated")
    again = _driven(DepthAnything3Predictor("da3-small", settings, model=tiny), clip, tmp_path / "b")
    for camera, other in zip(scene.cameras, again.cameras, strict=True):
        np.testing.assert_array_equal(camera.world_from_camera, other.world_from_camera)


def test_run_with_the_network_ends_in_splats(tiny, tmp_path, monkeypatch):
    from stillsplat.cli import main

    monkeypatch.setattr(DepthAnything3, "from_pretrained", lambda *arguments, **options: tiny)
    monkeypatch.setattr(DepthAnything3Predictor, "require", lambda self: None)
    out = tmp_path / "out"
    arguments = ["--predictor", "da3-small", "--frames", "0:6", "--max-size", "120", "--iterations", "5"]
    with torch.enable_grad():
        status = main(["run", str(SAMPLE / "rgb"), "-o", str(out), *arguments])
    assert status == 0
    assert (out / "splats.ply").read_bytes().startswith(b"ply")
    assert json.loads((out / "scene" / "scene.json").read_text())["predictor"] == "da3-small"


def test_all_sizes_are_registered_with_their_licenses():
    for size in ("small", "base", "large", "giant", "nested"):
        free = size in ("small", "base")
        assert ("NC" in (predictor_spec(f"da3-{size}").license or "")) is not free
    predictor = create_predictor("da3-base", seed=3, process_res=280)
    assert predictor.settings.process_res == 280 and predictor.seed == 3  # type: ignore[attr-defined]


def test_missing_weights_and_masks_that_do_not_fit_are_one_sentence(tiny, clip, monkeypatch, tmp_path):
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="stillsplat weights get da3-small"):
        create_predictor("da3-small").predict(Views(clip))
    masks = LoadedMaps(3, lambda index: np.zeros((clip.height, clip.width), np.float32))
    with pytest.raises(InputError, match="3 motion masks for 8 frames"):
        Views(clip, motion_masks=masks)
