"""Small clips, and quick stand-ins for the predictor, the optimizer and the renderer."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from dynamic_predictor.contract import Prediction
from dynamic_predictor.depth_anything3.model import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.settings import BackboneSettings, HeadSettings, NetworkSettings
from dynamic_predictor.predictor_spec import PredictorSpec
from gaussian import model_folder, rendering
from gaussian.train_result import TrainResult
from scene.camera_files import save_cameras
from scene.files.json_files import write_json
from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians
from scene.maps import StoredMaps

WIDTH, HEIGHT, COUNT = 64, 40, 8


def clip_images(count: int = COUNT, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """A textured wall that slides by, and a bright square that moves otherwise; uint8 RGB."""
    random = np.random.default_rng(4)
    wall = cv2.GaussianBlur(random.integers(0, 256, (height, width + 4 * count, 3)).astype(np.uint8), (5, 5), 0)
    images = []
    for index in range(count):
        image = wall[:, index : index + width].copy()
        image[10:20, 3 + 4 * index : 13 + 4 * index] = (250, 240, 40)
        images.append(image)
    return images


def write_clip(folder: Path, images: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        assert cv2.imwrite(str(folder / f"frame{index}.png"), ordered)
    return folder


class FakePredictor:
    """Cameras on a line, one depth, the true square as mask."""

    calls = 0

    def predict(self, views, *, progress=lambda stage, done, total: None):
        FakePredictor.calls += 1
        frames = views.frames
        count, height, width = len(frames), frames.height, frames.width
        motion = StoredMaps(count, height, width)
        poses = np.tile(np.eye(4), (count, 1, 1))
        for index in range(count):
            bright = (frames[index][..., 0] > 0.9) & (frames[index][..., 2] < 0.3)
            motion[index] = bright.astype(np.float32)
            poses[index, 0, 3] = 0.05 * index
            progress("predicting", index + 1, count)
        return Prediction(
            z_depth=np.full((count, height, width), 4.0, np.float32),
            confidence=np.ones((count, height, width), np.float32),
            world_from_camera=poses,
            intrinsics=np.tile([[60.0, 0, width / 2], [0, 60.0, height / 2], [0, 0, 1]], (count, 1, 1)),
            motion=views.motion_masks if views.motion_masks is not None else motion,
            provenance={"seconds": {"guessing": 0.1}},
            warnings=["This is a fake predictor."],
        )


@dataclass(frozen=True)
class FakeSettings:
    """Nothing can be chosen about the fake predictor."""


def fake_spec(name: str, predictor=FakePredictor, **capabilities) -> PredictorSpec:
    """A row for `predictor`."""
    return PredictorSpec(
        name=name,
        description="for tests",
        memory="nothing",
        documentation="docs/architecture.md",
        settings_type=lambda: FakeSettings,
        load=lambda settings, device, seed: predictor(),
        **{"motion": True, "known_focal": True, **capabilities},
    )


def tiny_model():
    """A small any-view network of Depth Anything 3 with Gaussians and made-up weights."""
    torch.manual_seed(0)
    head = HeadSettings(16, (12, 16, 24, 32))
    network = build_network(NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), head, gaussians=True))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.05)
    torch.nn.init.constant_(network.cam_dec.fc_fov[0].bias, 1.0)
    return DepthAnything3(network, name="tiny", device="cpu")


def fake_train(scene, settings, folder, *, annotations=None, progress=lambda *_: None, resume=False, watch=None):
    fake_train.calls.append({"settings": settings, "resume": resume, "annotations": annotations is not None})
    if fake_train.error is not None:
        (folder / "point_cloud").mkdir(parents=True, exist_ok=True)
        write_json(folder / "checkpoint.pt", {})
        raise fake_train.error
    count = len(scene.frames)
    gaussians = Gaussians(
        torch.rand(20, 3),
        torch.full((20, 3), -3.0),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(20, 1),
        torch.zeros(20),
        torch.rand(20, 4, 3),
    )
    test_frames = settings.test_frames(count)
    exposures = np.tile(np.array([1.0, 0.0], np.float32), (count, 3, 1))
    save_ply(model_folder.point_cloud_path(folder, settings.iterations), gaussians)
    names = list(scene.frames.names)
    save_cameras(folder / "cameras.json", names, scene.cameras)
    write_json(folder / "exposures.json", {"exposures": exposures})
    size = {"width": scene.frames.width, "height": scene.frames.height}
    write_json(folder / "settings.json", {"frames": names, **size, "settings": settings.to_dict()})
    for step in range(4):
        progress("optimizing", step + 1, 4)
    history = [
        {
            "iteration": 10.0 * step,
            "loss": 1 / (step + 1),
            "psnr": 20.0 + step,
            "gaussians": 20.0,
            "seconds": 1.0 * step,
        }
        for step in range(4)
    ]
    return TrainResult(
        gaussians,
        scene.cameras,
        exposures,
        StoredMaps(count, scene.frames.height, scene.frames.width),
        history,
        settings,
        test_frames,
        "predictor" if test_frames else "none held out",
    )


def fake_render(gaussians, camera, *, exposure=None):
    """A gray image with a gradient, so that scores are finite."""
    image = np.tile(np.linspace(0.3, 0.7, camera.width, dtype=np.float32)[None, :, None], (camera.height, 1, 3))
    alpha = np.ones((camera.height, camera.width), np.float32)
    return rendering.Rendering(image, alpha, 4.0 * alpha)


class FakeRenderer:
    """In place of scene.splat_rendering.Renderer."""

    def __init__(self, gaussians, *, device=None) -> None:
        self.gaussians = gaussians

    def render(self, camera, *, exposure=None):
        return fake_render(self.gaussians, camera, exposure=exposure)
