"""A predictor that recognizes the images of a simulated walk and returns their truth in a world and unit of its own."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.images import resize_image
from scene.progress import Progress, ignore_progress
from tests.simulated_stream import SimulatedWalk

UNIT = 0.37


@dataclass(frozen=True)
class KnowingSettings:
    """There are none."""


class KnowingPredictor:
    """`turn_last`: degrees by which the last camera is turned about itself."""

    def __init__(self, walk: SimulatedWalk, *, turn_last: float = 0.0) -> None:
        self.walk, self.turn_last = walk, turn_last
        #: the images of each prediction
        self.calls: list[list[int]] = []

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        frames, walk = views.frames, self.walk
        size = (frames.width, frames.height)
        images = [resize_image(walk.image(index), *size).astype(np.int16) for index in range(walk.count)]
        indices = []
        for place in range(len(frames)):
            image = frames.rgb8(place)
            indices.append(int(np.argmin([np.abs(image - known).mean() for known in images])))
        self.calls.append(indices)
        gauge = np.eye(4)
        gauge[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.1]).as_matrix()
        poses = np.stack([gauge @ walk.world_from_camera(index) for index in indices])
        poses[:, :3, 3] = UNIT * poses[:, :3, 3] + [5, 0, 1]
        poses[-1, :3, :3] = poses[-1, :3, :3] @ Rotation.from_euler("x", self.turn_last, degrees=True).as_matrix()
        # from the nearest pixel, as the truth is shrunk
        depths = [cv2.resize(walk.z_depth(index), size, interpolation=cv2.INTER_NEAREST) for index in indices]
        scale = np.diag([size[0] / walk.width, size[1] / walk.height, 1.0])
        return Prediction(
            z_depth=np.float32(UNIT) * np.stack(depths).astype(np.float32),
            confidence=np.ones((len(indices), frames.height, frames.width), np.float32),
            world_from_camera=poses,
            intrinsics=np.tile(scale @ walk.intrinsics, (len(indices), 1, 1)),
        )


def knowing(predictor: KnowingPredictor) -> PredictorSpec:
    """The row of `predictor`, called "knowing"."""
    return PredictorSpec(
        name="knowing",
        description="recognizes the images",
        memory="nothing",
        documentation="docs/evaluation.md",
        settings_type=lambda: KnowingSettings,
        load=lambda settings, device, seed: predictor,
        single_view=True,
    )
