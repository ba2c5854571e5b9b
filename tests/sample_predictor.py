"""An online predictor that knows the sample clip: the true cameras and depth of `data/sample`, one frame at a time.

Stands in for a network where something is to be seen, such as the viewer. Edges and far points get low confidence, as
networks give them.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.camera import Camera
from scene.progress import Progress, ignore_progress
from tests.paths import ROOT
from tests.simulated_stream import SimulatedView

SAMPLE = ROOT / "data" / "sample"


@dataclass(frozen=True)
class SampleSettings:
    """Nothing can be chosen."""


class SamplePredictor:
    """`dynamic_predictor.contract.ViewQueryPredictor`; the frames are those of `data/sample/rgb`, in their order.
    `seconds`: pretended work per step."""

    def __init__(self, seconds: float = 0.0, folder: Path = SAMPLE) -> None:
        self.seconds, self._folder = seconds, folder
        truth = json.loads((folder / "cameras.json").read_text("utf-8"))
        self._size = truth["height"], truth["width"]
        self._intrinsics = np.array(
            [[truth["fx"], 0, truth["cx"]], [0, truth["fy"], truth["cy"]], [0, 0, 1.0]], np.float64
        )
        poses = np.array([frame["world_from_camera"] for frame in truth["frames"]])
        self._poses = np.linalg.inv(poses[0]) @ poses
        self.start()

    def start(self) -> None:
        self._seen = 0
        self._points = np.zeros((0, 6), np.float32)

    def step(self, view: Views) -> Prediction:
        index, (height, width) = self._seen, (view.frames.height, view.frames.width)
        time.sleep(self.seconds)
        with np.load(self._folder / "depth" / f"{index:05d}.npz") as arrays:
            depth = arrays["z_depth"].astype(np.float32)
        depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
        edges = cv2.dilate(np.abs(cv2.Laplacian(np.log(depth), cv2.CV_32F, ksize=3)), np.ones((3, 3)))
        camera = Camera.from_intrinsics(self._size[1], self._size[0], self._intrinsics, self._poses[index])
        camera = camera.resized(width, height)
        points = camera.unproject(depth)[::3, ::3].reshape(-1, 3)
        colors = view.frames[0][::3, ::3].reshape(-1, 3)
        self._points = np.concatenate([self._points, np.concatenate([points, colors], axis=1).astype(np.float32)])
        self._seen += 1
        return Prediction(
            z_depth=depth[None],
            confidence=np.exp(-20 * edges - depth / 12)[None].astype(np.float32),
            world_from_camera=self._poses[index][None],
            intrinsics=camera.intrinsics[None],
            is_metric=True,
        )

    def state(self) -> dict[str, np.ndarray]:
        return {"seen": np.array(self._seen), "points": self._points}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._seen, self._points = int(state["seen"]), state["points"]

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        raise AssertionError("an online predictor steps")

    def query(self, camera: Camera) -> SimulatedView:
        """The nearest of all points seen so far in each pixel."""
        height, width = camera.height, camera.width
        pixels, depth = camera.project(self._points[:, :3].astype(np.float64))
        columns, rows = np.floor(pixels.T).astype(int)
        inside = np.flatnonzero((depth > 0.1) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height))
        inside = inside[np.argsort(-depth[inside])]  # the nearest is written last
        found = SimulatedView(
            np.zeros((height, width, 3), np.float32),
            np.zeros((height, width, 3), np.float32),
            np.zeros((height, width), np.float32),
        )
        place = rows[inside], columns[inside]
        found.points[place], found.color[place] = self._points[inside, :3], self._points[inside, 3:]
        found.confidence[place] = 0.8
        return found


SPEC = PredictorSpec(
    name="sample",
    description="knows the sample clip",
    memory="nothing",
    documentation="docs/streaming.md",
    settings_type=lambda: SampleSettings,
    load=lambda settings, device, seed: SamplePredictor(),
    online=True,
    working_size=480,
)
