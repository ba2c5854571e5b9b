"""A scene whose flow is known exactly: a ground plane, a wall and a sphere, seen by a moving camera, with and without a
moving patch."""

import cv2
import numpy as np

from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.optical_flow.flow_field import Flow
from scene.camera import Camera
from scene.frames import MemoryFrames

HEIGHT, WIDTH, COUNT = 95, 141, 9
#: pixels per frame of the moving patch, mostly across the epipolar lines of a camera that moves to the right
SPEED = (1.0, 2.0)


def path(translation: float = 0.08, rotation: float = 0.01) -> list[Camera]:
    cameras = []
    for k in range(COUNT):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0.2, 1.0, 0.1]) * rotation * k)[0]
        pose[:3, 3] = np.array([1.0, -0.3, 0.4 * np.sin(k)]) * translation * k
        cameras.append(Camera(WIDTH, HEIGHT, 130.0, 128.0, 70.0, 49.0, pose))
    return cameras


def cast(camera: Camera) -> np.ndarray:
    """Exact z depth of the plane y = 1, the wall z = 8 and a sphere, seen by `camera`."""
    rays = camera.unproject(np.ones((HEIGHT, WIDTH))) - camera.center
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = (1.0 - camera.center[1]) / rays[..., 1]
        wall = (8.0 - camera.center[2]) / rays[..., 2]
    depth = np.minimum(np.where(ground > 0, ground, np.inf), wall)
    offset = camera.center - np.array([0.5, 0.2, 4.0])
    a, b, c = (rays**2).sum(-1), (rays * offset).sum(-1), (offset**2).sum() - 0.8**2
    inside = b * b - a * c
    sphere = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
    return np.where((inside > 0) & (sphere > 0), np.minimum(sphere, depth), depth)


def texture(points: np.ndarray) -> np.ndarray:
    """A color in [0, 1] for each of the points (..., 3) or (..., 2)."""
    waves = [points @ np.array(w)[: points.shape[-1]] for w in ((9, 4, 5), (-5, 8, 3), (3, -6, 10))]
    return np.stack([0.5 + 0.2 * np.sin(wave) + 0.2 * np.sin(2.3 * wave + 1) for wave in waves], axis=-1)


def known_frames(cameras: list[Camera], depths: list[np.ndarray], speed: tuple[float, float] | None) -> MemoryFrames:
    """The images of the scene, with a patch that moves by `speed` pixels per frame."""
    images = []
    for k, (camera, depth) in enumerate(zip(cameras, depths, strict=True)):
        image = texture(camera.unproject(depth))
        if speed is not None:
            y, x = np.nonzero(patch(k, speed))
            position = np.stack([x - speed[0] * k, y - speed[1] * k], axis=-1)
            image[y, x] = texture(0.15 * position) * np.array([0.6, 0.2, 0.2]) + np.array([0.4, 0, 0])
        images.append(np.uint8(image * 255))
    return MemoryFrames(np.stack(images))


def patch(index: int, speed: tuple[float, float]) -> np.ndarray:
    """The pixels of the moving patch in frame `index`, (H, W) bool."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    x, y = x - speed[0] * index, y - speed[1] * index
    return (x >= 30) & (x < 65) & (y >= 25) & (y < 52)


class KnownFlow:
    """A `FlowField` with the exact flow of the scene and of the patch, and with noise."""

    def __init__(self, cameras, depths, speed=None, noise=0.0) -> None:
        self.frames = self.images = known_frames(cameras, depths, speed)
        self._cameras, self._depths, self._speed, self._noise = cameras, depths, speed, noise

    def __len__(self) -> int:
        return len(self._cameras)

    def gray(self, index: int) -> np.ndarray:
        return cv2.cvtColor(self.frames.rgb8(index), cv2.COLOR_RGB2GRAY)

    def unobserved(self, index: int) -> None:
        return None

    def __call__(self, source: int, target: int) -> Flow:
        displacement = RigidPair.between(self._cameras[source], self._cameras[target]).flow(1.0 / self._depths[source])
        displacement = displacement.astype(np.float32)
        y, x = np.mgrid[:HEIGHT, :WIDTH] + displacement.transpose(2, 0, 1)[::-1]
        error = np.zeros((HEIGHT, WIDTH), np.float32)
        if self._speed is not None:
            here, there = patch(source, self._speed), patch(target, self._speed)
            hidden = there[
                np.clip(np.rint(y), 0, HEIGHT - 1).astype(int), np.clip(np.rint(x), 0, WIDTH - 1).astype(int)
            ]
            error[hidden & ~here] = 20.0
            displacement[here] = np.array(self._speed, np.float32) * (target - source)
            y, x = np.mgrid[:HEIGHT, :WIDTH] + displacement.transpose(2, 0, 1)[::-1]
        if self._noise:
            random = np.random.default_rng(source * 1000 + target)
            displacement = displacement + random.normal(0, self._noise, displacement.shape).astype(np.float32)
        error[(x < 0) | (x > WIDTH - 1) | (y < 0) | (y > HEIGHT - 1)] = np.inf
        return Flow(source, target, displacement, error)
