"""A camera that walks round and round in a room, a chunk predictor that knows the room but drifts, an online one that
knows it exactly, and a camera device that misbehaves.

Stands in for a network where the streaming machinery is tested and measured: every chunk comes in a world and unit of
its own, with noise, and its scale creeps from frame to frame as that of a real network does.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.driver.live_source import DamagedFrame
from dynamic_predictor.predictor_spec import PredictorSpec
from scene.camera import Camera
from scene.media.decoding import DecodedImage
from scene.progress import Progress, ignore_progress

#: half sizes of the room in x, y, z
_ROOM = np.array([4.0, 1.5, 3.0])


class SimulatedWalk:
    """`count` frames at (width, height); the walk repeats every `lap` frames, looking outwards."""

    is_live = is_video = False
    selection = ""
    ended: str | None = None
    notes: Sequence[str] = ()
    description: dict[str, object] = {}

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
        return _distances(*self._rays(index))

    def image(self, index: int) -> np.ndarray:
        """uint8 RGB (H, W, 3): a pattern painted on the walls."""
        directions, center = self._rays(index)
        return _paint(center + directions * _distances(directions, center)[..., None])

    def look(
        self, world_from_camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """World points (H, W, 3) and their uint8 colors (H, W, 3), as any other camera in the room sees them."""
        directions, center = _rays_of(world_from_camera, intrinsics, size)
        points = center + directions * _distances(directions, center)[..., None]
        return points, _paint(points)

    def images(self, skip: int = 0) -> Iterator[DecodedImage]:
        for index in range(skip, self.count):
            yield DecodedImage(index, index / 30.0, self.image(index))

    def frame_name(self, index: int) -> str:
        return f"Frame {index} of the walk"

    def _rays(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return _rays_of(self.world_from_camera(index), self.intrinsics, (self.height, self.width))


def _rays_of(pose: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (H, W, 3) in the world whose z in the camera is 1, and the center."""
    u = (np.arange(size[1]) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    v = (np.arange(size[0]) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    rays = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), axis=-1)
    return rays @ pose[:3, :3].T, pose[:3, 3]


def _distances(directions: np.ndarray, center: np.ndarray) -> np.ndarray:
    walls = np.where(directions > 0, _ROOM, -_ROOM)
    return ((walls - center) / np.where(np.abs(directions) < 1e-9, 1e-9, directions)).min(axis=-1)


def _paint(points: np.ndarray) -> np.ndarray:
    waves = np.stack([np.sin(points @ row) for row in _pattern()], axis=-1)
    mixed = np.stack([waves[..., 0:4].mean(-1), waves[..., 4:8].mean(-1), waves[..., 8:].mean(-1)], axis=-1)
    return np.clip(127 + 127 * mixed, 0, 255).astype(np.uint8)


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


ONLINE_SPEC = replace(
    SPEC,
    name="simulated-online",
    online=True,
    load=lambda settings, device, seed: OnlineSimulatedPredictor(SimulatedWalk(settings.get("count", 0))),
)


@dataclass(frozen=True)
class SimulatedView:
    """The answer to a query: `dynamic_predictor.contract.QueriedView`."""

    points: np.ndarray
    color: np.ndarray
    confidence: np.ndarray


class OnlineSimulatedPredictor:
    """Knows the exact pose and depth of each image of a `SimulatedWalk`, in the world of the first view, and answers
    queries of other views. It recognizes images by their pixels, or else takes the number in their file name.

    Its confidence depends on everything that it has seen, so that a lost or repeated step shows. `seconds`: pretended
    work per step.
    """

    def __init__(self, walk: SimulatedWalk, *, seconds: float = 0.0) -> None:
        self.walk, self.seconds = walk, seconds
        self._index_of = _indices(walk)
        #: the images of the walk that were stepped, over all clips
        self.steps: list[int] = []
        self.start()

    def start(self) -> None:
        self._world_from_first = np.zeros((4, 4))
        self._memory = 0.0

    def step(self, view: Views) -> Prediction:
        pixels = view.frames.rgb8(0)
        index = self._index_of.get(pixels.tobytes(), int(view.frames.names[0].split(".")[0]))
        if not self._world_from_first.any():
            self._world_from_first = self.walk.world_from_camera(index)
        self.steps.append(index)
        time.sleep(self.seconds)
        self._memory = 0.9 * self._memory + np.cos(index)
        confidence = 0.5 + 0.4 * np.sin(self._memory)
        return Prediction(
            z_depth=self.walk.z_depth(index)[None].astype(np.float32),
            confidence=np.full((1, self.walk.height, self.walk.width), confidence, np.float32),
            world_from_camera=(np.linalg.inv(self._world_from_first) @ self.walk.world_from_camera(index))[None],
            intrinsics=self.walk.intrinsics[None],
        )

    def state(self) -> dict[str, np.ndarray]:
        return {"world_from_first": self._world_from_first, "memory": np.array(self._memory)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._world_from_first, self._memory = state["world_from_first"].copy(), float(state["memory"])

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        raise AssertionError("an online predictor steps")

    def query(self, camera: Camera) -> SimulatedView:
        size = camera.height, camera.width
        points, colors = self.walk.look(self._world_from_first @ camera.world_from_camera, camera.intrinsics, size)
        first_from_world = np.linalg.inv(self._world_from_first)
        points = points @ first_from_world[:3, :3].T + first_from_world[:3, 3]
        return SimulatedView(points.astype(np.float32), colors / np.float32(255), np.full(size, 0.8, np.float32))


@functools.lru_cache(maxsize=8)
def _indices(walk: SimulatedWalk) -> dict[bytes, int]:
    """The number of each image of the first lap; those of later ones are the same."""
    return {walk.image(index).tobytes(): index for index in range(min(walk.count, walk.lap))}


def true_poses(walk: SimulatedWalk, indices: Sequence[int] | range) -> np.ndarray:
    """(N, 4, 4)."""
    return np.stack([walk.world_from_camera(index) for index in indices])


class SimulatedCamera:
    """A `LiveReader` that gives `good` images of a walk, one every `interval` seconds, then does what `then` says:
    "ends", "fails" or "hangs". `damaged`: reads, counted from 0, that raise `DamagedFrame`. `image_of`: the image of a
    read, instead of the walk's."""

    def __init__(
        self,
        walk: SimulatedWalk,
        good: int,
        then: str = "ends",
        *,
        interval: float = 0.004,
        damaged: Sequence[int] = (),
        image_of: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.good, self.then, self.interval, self.damaged = good, then, interval, damaged
        self._image_of = image_of or walk.image
        self.count = 0
        self._closed = threading.Event()

    def read(self) -> np.ndarray | None:
        if self.count >= self.good:
            if self.then == "fails":
                raise OSError("device unplugged")
            if self.then == "hangs":
                self._closed.wait(5)
            return None
        self.count += 1
        time.sleep(self.interval)
        if self.count - 1 in self.damaged:
            raise DamagedFrame
        return self._image_of(self.count - 1)

    def close(self) -> None:
        self._closed.set()
