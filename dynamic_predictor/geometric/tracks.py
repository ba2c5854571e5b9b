"""Point tracks: corners of host frames, tracked through the clip by dense flow and refined by patch alignment.

Every track starts in its host frame and is tracked forward and backward in time until forward and backward flow
disagree, the patch looks different, or the point leaves the image. Chained flow drifts; therefore the chained position
is only the start of a Lucas-Kanade alignment with the patch of the host frame, in every frame (Lucas and Kanade, IJCAI
1981; pyramidal as in Bouguet, 2000).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress

#: clips with more frames are solved at their keyframes first, and their host frames are keyframes
MOST_FRAMES_TOGETHER = 160


def keyframe_stride(frame_count: int) -> int:
    """The distance between keyframes, in frames."""
    if frame_count <= MOST_FRAMES_TOGETHER:
        return 1
    return min(15, -(-frame_count // (MOST_FRAMES_TOGETHER - 10)))


@dataclass
class HostTracks:
    """The tracks that start in the frame `host`. Pixels are (u, v) with pixel centers at +0.5."""

    host: int
    #: (T, 2) float64, positions in the host frame
    host_pixels: np.ndarray
    #: (K,) the other frames that the points were tracked into, ascending
    frames: np.ndarray
    #: (K, T, 2) float64, positions in these frames; meaningless where not visible
    pixels: np.ndarray
    #: (K, T) bool
    visible: np.ndarray

    @property
    def count(self) -> int:
        return len(self.host_pixels)

    def subset(self, tracks: np.ndarray | None = None, frames: np.ndarray | None = None) -> "HostTracks":
        """The `tracks` (mask or indices) in the `frames` (mask of, or indices into, `self.frames`); None: all."""
        tracks = np.arange(self.count) if tracks is None else np.arange(self.count)[tracks]
        kept = np.arange(len(self.frames)) if frames is None else np.arange(len(self.frames))[frames]
        return HostTracks(
            self.host,
            self.host_pixels[tracks],
            self.frames[kept],
            self.pixels[np.ix_(kept, tracks)],
            self.visible[np.ix_(kept, tracks)],
        )


@dataclass
class Tracks:
    """All tracks of a clip, grouped by host frame."""

    width: int
    height: int
    frame_count: int
    hosts: list[HostTracks]


#: size of the aligned patches in pixels, and number of pyramid levels above the full size
_PATCH = (17, 17)
_LEVELS = 1


def detect_points(gray: np.ndarray, excluded: np.ndarray | None, spacing: int) -> np.ndarray:
    """The strongest corner (Shi and Tomasi, CVPR 1994) of every cell of `spacing` pixels, (N, 2) float32, pixel centers
    at integers. There are none in cells without texture and on pixels marked in `excluded` (H, W) bool."""
    smooth = cv2.GaussianBlur(gray, (0, 0), 0.8)
    strength = cv2.cornerMinEigenVal(smooth, 5, ksize=3)
    border = 5
    allowed = np.zeros(gray.shape, bool)
    allowed[border:-border, border:-border] = True
    if excluded is not None:
        allowed &= ~excluded
    strength = np.where(allowed, strength, 0)
    # a patch of much smaller corner strength cannot be aligned; the unit is that of cv2 for 8-bit images
    floor = max(2e-5, 1e-3 * float(np.percentile(strength, 99)))
    points = []
    height, width = gray.shape
    for top in range(0, height, spacing):
        for left in range(0, width, spacing):
            cell = strength[top : top + spacing, left : left + spacing]
            best = int(np.argmax(cell))
            row, column = divmod(best, cell.shape[1])
            if cell[row, column] > floor:
                points.append((left + column, top + row))
    if not points:
        return np.zeros((0, 2), np.float32)
    found = np.asarray(points, np.float32)
    # corners of neighboring cells may nearly coincide: keep the stronger
    order = np.argsort(-strength[found[:, 1].astype(int), found[:, 0].astype(int)], kind="stable")
    taken = np.zeros(gray.shape, np.uint8)
    kept = []
    for index in order:
        x, y = int(found[index, 0]), int(found[index, 1])
        if not taken[y, x]:
            kept.append(index)
            cv2.circle(taken, (x, y), spacing // 3, 1, -1)
    return found[np.sort(kept)]


def _sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear samples (N, C) of `image` (H, W, C) at `points` (N, 2), pixel centers at integers."""
    if len(points) == 0:
        return np.zeros((0, image.shape[2]), image.dtype)
    x = np.ascontiguousarray(points[:, :1], np.float32)
    y = np.ascontiguousarray(points[:, 1:], np.float32)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(len(points), -1)


def inside_image(points: np.ndarray, width: int, height: int, margin: float = 2.0) -> np.ndarray:
    """(N,) bool: which `points` (N, 2) are at least `margin` pixels away from the image border."""
    x, y = points[:, 0], points[:, 1]
    return (x >= margin) & (y >= margin) & (x <= width - 1 - margin) & (y <= height - 1 - margin)


def displaced_points(flow: FlowField, source: int, target: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `points` (N, 2) displaced by the flow, and their forward-backward errors (N,) in pixels."""
    displaced = points + _sample(flow.displacement(source, target), points)
    returned = displaced + _sample(flow.displacement(target, source), displaced)
    return displaced, np.linalg.norm(returned - points, axis=1)


def aligned_points(
    flow: FlowField,
    host: int,
    frame: int,
    host_points: np.ndarray,
    guess: np.ndarray,
    zoom: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The positions `guess` (N, 2) in `frame`, refined by alignment with the patches around `host_points` in frame
    `host`, and whether the alignment succeeded (N,): it is close to the guess, and its reverse returns to the host
    point. `zoom` (F,) is the logarithm of the focal length of every frame: patches of the same scale are aligned."""
    magnified = 0.0 if zoom is None else float(zoom[frame] - zoom[host])
    if abs(magnified) > 0.005:
        return _aligned_under_zoom(flow, host, frame, host_points, guess, float(np.exp(magnified)))
    return _aligned(flow.gray(host), flow.gray(frame), host_points, guess)


def _aligned_under_zoom(flow: FlowField, host: int, frame: int, host_points, guess, ratio: float):
    """`aligned_points` where `frame` shows everything larger than `host` by `ratio`: the image of the wider view is
    enlarged about its center, because what it shows beyond is not in the other."""
    first, second = flow.gray(host), flow.gray(frame)
    center = (np.array(first.shape[::-1], np.float32) - 1) / 2
    if ratio > 1:
        larger = ((host_points - center) * ratio + center).astype(np.float32)
        return _aligned(_enlarged(first, ratio), second, larger, guess)
    aligned, success = _aligned(first, _enlarged(second, 1 / ratio), host_points, (guess - center) / ratio + center)
    return (aligned - center) * np.float32(ratio) + center, success


def _enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """An image of the same size that shows its middle larger."""
    center = (np.array(image.shape[::-1]) - 1) / 2
    matrix = np.column_stack([np.eye(2) * factor, center * (1 - factor)])
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _aligned(first: np.ndarray, second: np.ndarray, host_points, guess) -> tuple[np.ndarray, np.ndarray]:
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.01)
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    aligned, found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, host_points, guess.astype(np.float32).copy(), None, None, _PATCH, _LEVELS, criteria, flags, 1e-4
    )
    returned, found_back, _ = cv2.calcOpticalFlowPyrLK(
        second, first, aligned, host_points.copy(), None, None, _PATCH, _LEVELS, criteria, flags, 1e-4
    )
    success = (found.ravel() > 0) & (found_back.ravel() > 0)
    success &= np.linalg.norm(returned - host_points, axis=1) < 0.3
    success &= np.linalg.norm(aligned - guess, axis=1) < 2.5
    return aligned, success


def track_points(
    flow: FlowField,
    motion_masks: FrameMaps | None = None,
    *,
    zoom: np.ndarray | None = None,
    reach: int = 60,
    progress: Progress = ignore_progress,
) -> Tracks:
    """Tracks of points in evenly spread host frames, each over up to `reach` frames in both directions of time.

    There are no points and no observations on pixels that `motion_masks` (1 = moves) mark or that were not observed.
    `zoom` is that of `aligned_points`.
    """
    count = len(flow.frames)
    height, width = flow.gray(0).shape
    spacing = max(6, round(max(width, height) / 28))
    stride = keyframe_stride(count)
    host_step = int(np.clip(round(count / 12), 1, 6)) if stride == 1 else stride * -(-6 // stride)
    first = host_step // 2 if stride == 1 and count > 2 else 0
    moving: dict[int, np.ndarray] = {}

    def moving_at(index: int) -> np.ndarray | None:
        if motion_masks is None:
            return flow.unobserved(index)
        if index not in moving:
            if len(moving) > 2 * reach + 40:
                moving.pop(next(iter(moving)))
            mask = (motion_masks[index] > 0.5).astype(np.uint8)
            moving[index] = cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0
            unobserved = flow.unobserved(index)
            if unobserved is not None:
                moving[index] |= unobserved
        return moving[index]

    host_frames = sorted(set(range(first, count, host_step)) | ({0, count - 1}))
    hosts = []
    for done, host in enumerate(host_frames):
        progress("tracking points", done, len(host_frames))
        points = detect_points(flow.gray(host), moving_at(host), spacing)
        frames: list[int] = []
        pixels: list[np.ndarray] = []
        visible: list[np.ndarray] = []
        if len(points):
            for direction in (-1, 1):
                limit = max(0, host - reach) if direction < 0 else min(count - 1, host + reach)
                found = _track_one_way(flow, host, points, direction, limit, moving_at, zoom)
                for frame, positions, seen in found if direction > 0 else reversed(found):
                    frames.append(frame)
                    pixels.append(positions)
                    visible.append(seen)
        seen = np.array(visible).reshape(len(frames), len(points))
        enough = seen.sum(0) >= min(2, count - 1)
        hosts.append(
            HostTracks(
                host,
                points[enough].astype(np.float64) + 0.5,
                np.array(frames, int),
                np.array(pixels, np.float64).reshape(len(frames), len(points), 2)[:, enough] + 0.5,
                seen[:, enough],
            )
        )
    progress("tracking points", len(host_frames), len(host_frames))
    return Tracks(width, height, count, [host for host in hosts if host.count and len(host.frames)])


def _track_one_way(flow, host, points, direction, limit, moving_at, zoom):
    """[(frame, positions (N, 2), visible (N,))] of the `points` of the host, frame after frame up to `limit`."""
    height, width = flow.gray(0).shape
    found = []
    position = points.copy()
    alive = np.ones(len(points), bool)
    unaligned = np.zeros(len(points), int)
    previous, missed = host, 0
    for frame in range(host + direction, limit + direction, direction):
        displaced, error = displaced_points(flow, previous, frame, position)
        distance = np.linalg.norm(displaced - position, axis=1)
        good = alive & (error < 0.6 + 0.05 * distance) & inside_image(displaced, width, height)
        if alive.sum() >= 8 and good.sum() < 0.15 * alive.sum():
            # a bad frame: the next one is tried instead
            missed += 1
            if missed > 3:
                break
            found.append((frame, displaced, np.zeros(len(points), bool)))
            continue
        missed = 0
        aligned, is_aligned = displaced, np.zeros(len(points), bool)
        chosen = np.flatnonzero(good)
        if len(chosen):
            refined, success = aligned_points(flow, host, frame, points[chosen], displaced[chosen], zoom)
            aligned = displaced.copy()
            aligned[chosen[success]] = refined[success]
            is_aligned[chosen[success]] = True
        seen = is_aligned & inside_image(aligned, width, height)
        excluded = moving_at(frame)
        if excluded is not None and len(chosen):
            column = np.clip(np.rint(aligned[:, 0]).astype(int), 0, width - 1)
            row = np.clip(np.rint(aligned[:, 1]).astype(int), 0, height - 1)
            seen &= ~excluded[row, column]
        found.append((frame, aligned, seen))
        # a patch that cannot be aligned is tracked by flow alone for three more frames: short occlusions, blur
        unaligned = np.where(is_aligned, 0, unaligned + 1)
        position, alive, previous = aligned, good & (unaligned <= 3), frame
        if alive.sum() < 4:
            break
    return found
