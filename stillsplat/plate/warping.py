"""Where the static points of one frame lie in another: by the depth of the Gaussians and the cameras."""

from dataclasses import dataclass

import cv2
import numpy as np

from scene.camera import Camera

#: long side in pixels of a coarse view
_COARSE = 128
#: a point that is farther than the surface by more than this share is behind it
BEHIND = 0.06


@dataclass(frozen=True)
class StaticView:
    """What is known of one frame at the size of the scene."""

    camera: Camera
    #: (H, W, 3) float32 in [0, 1], the frame
    image: np.ndarray
    #: (H, W, 3) float32, the Gaussians with the exposure of the frame
    render: np.ndarray
    #: (H, W) float32, depth of the Gaussians; far where there are none
    z_depth: np.ndarray
    #: (H, W) bool, moves, is in a passing shadow, or was not observed: nothing is fetched from there
    hidden: np.ndarray
    #: (H, W) float32 in [0, 1], how much of the render rests on what frames have shown (`grounding`)
    ground: np.ndarray


def warp_map(target: Camera, source: Camera, z_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the points at the pixel centers of `target` with `z_depth` (H, W) lie in the image of `source`: (H, W, 2)
    float32 columns and rows with pixel centers at integers, as `cv2.remap` takes them, and z depths (H, W) there."""
    height, width = z_depth.shape
    source_from_target = source.camera_from_world @ target.world_from_camera
    rotation = source.intrinsics @ source_from_target[:3, :3] @ np.linalg.inv(target.intrinsics)
    shift = source.intrinsics @ source_from_target[:3, 3]
    columns = np.arange(width, dtype=np.float64)[None, :] + 0.5
    rows = np.arange(height, dtype=np.float64)[:, None] + 0.5
    u, v, z = (
        (rotation[axis, 0] * columns + rotation[axis, 1] * rows + rotation[axis, 2]) * z_depth + shift[axis]
        for axis in range(3)
    )
    safe = np.maximum(z, 1e-9)
    places = np.stack([u / safe - 0.5, v / safe - 0.5], axis=-1)
    places[z <= 1e-9] = -1e6
    return np.clip(places, -1e6, 1e6).astype(np.float32), z.astype(np.float32)


def plane_homography(target: Camera, source: Camera, z: float) -> np.ndarray:
    """The matrix (3, 3) of what `warp_map` does to pixels of one depth `z`: columns and rows with pixel centers at
    integers of `target` to those of `source`, homogeneous, the last coordinate being the depth there."""
    source_from_target = source.camera_from_world @ target.world_from_camera
    matrix = z * (source.intrinsics @ source_from_target[:3, :3] @ np.linalg.inv(target.intrinsics))
    matrix[:, 2] += source.intrinsics @ source_from_target[:3, 3]
    to_centers, from_centers = np.eye(3), np.eye(3)
    to_centers[:2, 2], from_centers[:2, 2] = 0.5, -0.5
    return from_centers @ matrix @ to_centers


def inside(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bool (H, W): whether `places` (H, W, 2) lie in an image of `shape` (h, w)."""
    x, y = places[..., 0], places[..., 1]
    return (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)


def seen_from(places: np.ndarray, z: np.ndarray, source: StaticView) -> np.ndarray:
    """Bool (H, W): whether the points at `places` with depth `z` in `source` are in its picture, in front, and not
    hidden there."""
    surface = cv2.remap(
        source.z_depth, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    hidden = sampled(source.hidden.astype(np.float32), places)
    return inside(places, source.z_depth.shape) & (z > 0) & (z <= surface * (1 + BEHIND)) & (hidden < 0.05)


def sampled(values: np.ndarray, places: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`values` (h, w, ...) at `places` (H, W, 2), float32."""
    return cv2.remap(values, places[..., 0], places[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def displaced(places: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The map `places` (H, W, 2) after the residual `flow` (H, W, 2): the value at pixel p is that at p + flow."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return cv2.remap(places, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def coarse(view: StaticView) -> StaticView:
    """A view at most 128 pixels large, without its render."""
    camera = view.camera
    scale = min(1.0, _COARSE / max(camera.width, camera.height))
    size = max(2, round(camera.width * scale)), max(2, round(camera.height * scale))
    return StaticView(
        camera.resized(*size),
        cv2.resize(view.image, size, interpolation=cv2.INTER_AREA),
        np.empty((0, 0, 3), np.float32),
        cv2.resize(view.z_depth, size, interpolation=cv2.INTER_NEAREST_EXACT),
        cv2.resize(view.hidden.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.3,
        cv2.resize(view.ground, size, interpolation=cv2.INTER_AREA),
    )
