"""One frame on its way from a raw download to the processed layout, and the steps that all sets share."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from scene.images import resize_image

#: the old camera from the one that sees the image turned counterclockwise by a quarter
_TURN = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class RawFrame:
    """A frame with everything decoded and in the conventions of this project.

    `image` uint8 RGB (H, W, 3); `z_depth` float32 (H, W) along z in the unit of the pose, 0 = unknown, infinite = sky;
    `intrinsics` (3, 3), pixel centers at +0.5; `world_from_camera` (4, 4), axes of OpenCV; `object_mask` uint8 (H, W),
    255 on the object. `run` is the video that the frame belongs to, for sets with several per scene.
    """

    name: str
    image: np.ndarray
    z_depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    run: str = ""
    object_mask: np.ndarray | None = None


def pinhole(fx: float, fy: float, cx: float, cy: float, *, centers: float = 0.5) -> np.ndarray:
    """The matrix for pixel centers at +0.5, from one whose pixel centers are at + `centers`."""
    return np.array([[fx, 0, cx + 0.5 - centers], [0, fy, cy + 0.5 - centers], [0, 0, 1]], np.float64)


def measured(z_depth: np.ndarray, *, largest: float = np.inf, sky_from: float = np.inf) -> np.ndarray:
    """Depth as float32 with what is not finite, not positive or more than `largest` as 0 = unknown; infinite from
    `sky_from` on, if that is finite."""
    values = np.asarray(z_depth, np.float32)
    known = np.where(np.isfinite(values) & (values > 0) & (values <= largest), values, np.float32(0))
    return np.where(values >= sky_from, np.float32(np.inf), known) if np.isfinite(sky_from) else known


def resized(frame: RawFrame, width: int, height: int) -> RawFrame:
    """The frame at another size: image by area means or Lanczos, depth by the nearest pixel, intrinsics exactly."""
    rows, columns = frame.z_depth.shape
    if (columns, rows) == (width, height):
        return frame
    intrinsics = np.diag([width / columns, height / rows, 1.0]) @ frame.intrinsics
    mask = None if frame.object_mask is None else nearest(frame.object_mask, width, height)
    return replace(
        frame,
        image=resize_image(frame.image, width, height),
        z_depth=nearest(frame.z_depth, width, height),
        intrinsics=intrinsics,
        object_mask=mask,
    )


def nearest(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map at another size, where every pixel has the value of the nearest one."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def covering(frame: RawFrame, width: int, height: int, *, enlarge: bool = True) -> RawFrame:
    """The frame scaled so that it just covers `width` x `height`."""
    rows, columns = frame.z_depth.shape
    scale = max(width / columns, height / rows)
    if scale >= 1 and not enlarge:
        return frame
    return resized(frame, round(columns * scale), round(rows * scale))


def centered(frame: RawFrame) -> RawFrame:
    """The largest part of the frame that has its principal point in the middle, up to half a pixel."""
    rows, columns = frame.z_depth.shape
    x, y = (round(float(value)) for value in frame.intrinsics[:2, 2])
    half_width, half_height = max(min(x, columns - x), 1), max(min(y, rows - y), 1)
    part = np.s_[max(y - half_height, 0) : y + half_height, max(x - half_width, 0) : x + half_width]
    intrinsics = frame.intrinsics.copy()
    intrinsics[:2, 2] -= [part[1].start, part[0].start]
    mask = None if frame.object_mask is None else frame.object_mask[part]
    return replace(frame, image=frame.image[part], z_depth=frame.z_depth[part], intrinsics=intrinsics, object_mask=mask)


def turned(frame: RawFrame, quarters: int) -> RawFrame:
    """The frame turned counterclockwise by a number of quarters, seen by a camera that is turned with it."""
    for _ in range(quarters % 4):
        fx, fy, cx, cy = frame.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
        frame = replace(
            frame,
            image=np.ascontiguousarray(np.rot90(frame.image)),
            z_depth=np.ascontiguousarray(np.rot90(frame.z_depth)),
            intrinsics=pinhole(fy, fx, cy, frame.z_depth.shape[1] - cx),
            world_from_camera=frame.world_from_camera @ _TURN,
        )
    return frame
