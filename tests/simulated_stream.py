"""A camera that walks round and round in a room, and a chunk predictor that knows the room but drifts.

Stands in for a network where the streaming machinery is tested and measured: every chunk comes in a world and unit of
its own, with noise, and its scale creeps from frame to frame as that of a real network does.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.progress import Progress, ignore_progress
from scene.video import DecodedImage

#: half sizes of the room in x, y, z
_ROOM = np.array([4.0, 1.5, 3.0])


class SimulatedWalk:
    """`count` frames at (width, height); the walk repeats every `lap` frames, looking outwards."""

    is_live = is_video = False
    selection = ""
    ended: str | None = None

    def __init__(self, count: int, *, lap: int = 120, width: int = 48, height: int = 32) -> None:
        self.title, self.total = "simulated walk", count
        self.count, self.lap, self.width, self.height = count, lap, width, height
        self.intrinsics = np.array([[0.7 * width, 0, width / 2], [0, 0.7 * width, height / 2], [0, 0, 1.0]])

    def world_from_camera(self, index: int) -> np.ndarray:
        """The true pose (4, 4)."""
        angle = 2 * np.pi * index / self.lap
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("yx", [angle, 0.1 * np.sin(3 * angle)]).as_matrix()
        pose[:3, 3] = [1.5 * np.sin(angle), 0.2 * np.sin(2 * angle), 1.2 * np.cos(angle)]
        return pose

    def z_depth(self, index: int) -> np.ndarray:
        """The true depth (H, W)."""
        directions, center = self._rays(index)
        walls = np.where(directions > 0, _ROOM, -_ROOM)
        distances = (walls - center) / np.where(np.abs(directions) < 1e-9, 1e-9, directions)
        return distances.min(axis=-1)

    def image(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3): a pattern painted on the walls."""
        directions, center = self._rays(index)
        points = center + directions * self.z_depth(index)[..., None]
        waves = np.stack([np.sin(points @ row) for row in _pattern()], axis=-1)
        mixed = np.stack([waves[..., 0:4].mean(-1), waves[..., 4:8].mean(-1), waves[..., 8:].mean(-1)], axis=-1)
        return np.clip(127 + 127 * mixed, 0, 255).astype(np.uint8)

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        for index in range(skip, self.count):
            yield DecodedImage(index, index / 30.0, self.image(index))

    def frame_name(self, index: int) -> str:
        return f"Frame {index} of the walk"

    def _rays(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        u = (np.arange(self.width) + 0.5 - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        v = (np.arange(self.height) + 0.5 - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        rays = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
        pose = self.world_from_camera(index)
        return rays @ pose[:3, :3].T, pose[:3, 3]


def _pattern() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1.6, (12, 3))


SPEC = PredictorSpec(
    name="simulated",
    description="knows the room that it is in",
    memory="nothing",
    documentation="tests/simulated_stream.py",
    settings_type=dict,
    load=lambda settings, device, seed: SimulatedPredictor(SimulatedWalk(settings.get("count", 0))),
)


class SimulatedPredictor:
    """Predicts a `SimulatedWalk` by the file names of its frames. `creep`: growth of the scale per frame; `bend`:
    degrees that the path turns aside per frame; `noise` of the depth, relative; `seconds`: pretended work per chunk."""

    def __init__(
        self,
        walk: SimulatedWalk,
        *,
        creep: float = 0.0,
        bend: float = 0.0,
        noise: float = 0.0,
        seconds: float = 0.0,
    ) -> None:
        self.walk, self.creep, self.noise, self.seconds = walk, creep, noise, seconds
        self._aside = Rotation.from_euler("y", bend, degrees=True).as_matrix()
        #: frames of each call
        self.calls: list[list[int]] = []

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        frames = views.frames
        indices = [int(name.split(".")[0]) for name in frames.names]
        self.calls.append(indices)
        for index in range(len(frames)):
            frames.rgb8(index)
        time.sleep(self.seconds)
        rng = np.random.default_rng(indices[0] * 7919 + indices[-1])
        gauge = np.eye(4)
        gauge[:3, :3] = Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix()
        gauge[:3, 3] = rng.normal(0, 3, 3)
        unit = float(np.exp(rng.normal(0, 0.5)))
        poses, depths = [], []
        for place, index in enumerate(indices):
            pose = gauge @ self.walk.world_from_camera(index)
            # the creep stretches this frame's step from the one before, and its depth
            growth = unit * float(np.exp(self.creep * place))
            if place:
                before = self.walk.world_from_camera(indices[place - 1])
                step = np.linalg.inv(before) @ self.walk.world_from_camera(index)
                follows = indices[place] == indices[place - 1] + 1
                step[:3, 3] *= growth if follows else unit
                if follows:
                    step[:3, :3] = step[:3, :3] @ self._aside
                pose = poses[-1] @ step
            else:
                pose[:3, 3] *= unit
            poses.append(pose)
            depth = self.walk.z_depth(index) * growth
            depths.append(depth * np.exp(rng.normal(0, self.noise, depth.shape)))
        count = len(indices)
        return Prediction(
            z_depth=np.stack(depths).astype(np.float32),
            confidence=np.ones((count, self.walk.height, self.walk.width), np.float32),
            world_from_camera=np.stack(poses),
            intrinsics=np.tile(self.walk.intrinsics, (count, 1, 1)),
        )


def true_poses(walk: SimulatedWalk, indices: Sequence[int] | range) -> np.ndarray:
    """(N, 4, 4)."""
    return np.stack([walk.world_from_camera(index) for index in indices])
