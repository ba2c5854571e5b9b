"""The whole of an object of which only a part was seen to leave.

Where an object has moved by less than its length, nobody has seen what is behind the rest of it. But it is the same
object that moves in other frames: the part that has left is found there again, inside their motion masks, and what
looks the same around it belongs to it.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from gaussian.draft import Draft
from stillsplat.second_pass.residual import residual_score
from stillsplat.second_pass.resting import EQUAL, Observations, blob

#: frames in which the object rests that are looked at, and frames in which it may move
_RESTING, _MOVING = 4, 20
#: sizes of the object where it moves, relative to where it rests
_SCALES = (0.8, 0.9, 1.0, 1.1, 1.25)
#: the least correlation with the part that has left, and the least share of it inside the motion mask
_CORRELATION, _INSIDE = 0.7, 0.8
#: share of the image of the smallest part that can be found again, and how large the whole may be relative to it
_SMALLEST, _LARGEST = 2e-3, 4.0
#: pixels beyond a motion mask, at a long side of 256, that may belong to the object
_HALO = 3
#: largest correction of the place by flow, as a share of the longer side
_CORRECTION = 0.03
#: score of a pixel that looks the same in both frames
_ALIKE = 1.7
#: moving frames that must show a pixel, and their share of those that could
_FRAMES, _AGREEING = 2, 0.34
#: share of its equal pixels that a Gaussian of the object may have after the object has left
_AFTERWARDS = 0.1


def whole_objects(
    draft: Draft,
    frames: Sequence[int],
    observations: Sequence[Observations],
    gone: np.ndarray,
    sums: np.ndarray,
    noise: float,
) -> np.ndarray:
    """Bool (N,): the Gaussians of the draft that have left, which are at least those of `gone`, with the rest of the
    objects that these are a part of. `sums`: `resting.pixel_sums`; `noise`: the difference that noise leaves."""
    parts = [
        blob(draft.share_of(gone, frame)) & (seen.score < EQUAL)
        for frame, seen in zip(frames, observations, strict=True)
    ]
    areas = np.array([part.sum() for part in parts])
    chosen, maps = [], []
    for position in _spread(np.flatnonzero(areas >= max(0.5 * areas.max(), 1)), _RESTING):
        whole = np.zeros_like(parts[position])
        for part in _pieces(parts[position]):
            whole |= _whole(part, observations, int(position), noise)
        if whole.any():
            chosen.append(frames[position])
            maps.append(np.dstack([whole, np.ones_like(whole), np.zeros_like(whole)]).astype(np.float32))
    if not chosen:
        return gone
    inside, total, _ = np.moveaxis(draft.sums(chosen, maps).sum(axis=1), 1, 0)
    return gone | ((inside > 0.5 * total) & (total > 0) & _unseen_afterwards(gone, sums))


def _unseen_afterwards(gone: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Bool (N,): the Gaussians that hardly any of the frames shows that see through `gone`."""
    through, equal, _ = sums
    after = through[gone].sum(axis=0) > equal[gone].sum(axis=0)
    return equal[:, after].sum(axis=1) <= _AFTERWARDS * np.maximum(equal.sum(axis=1), 1e-6)


def _pieces(part: np.ndarray) -> list[np.ndarray]:
    """The connected pieces of `part` (h, w) that are large enough."""
    count, labels = cv2.connectedComponents(part.astype(np.uint8))
    pieces = [labels == label for label in range(1, count)]
    return [piece for piece in pieces if piece.sum() >= _SMALLEST * part.size]


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the `values` (n,), evenly spread."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))]


def _whole(part: np.ndarray, observations: Sequence[Observations], position: int, noise: float) -> np.ndarray:
    """Bool (h, w): the object in frame `position` of which `part` (h, w) is a part; empty where it is not found again
    in enough frames."""
    image = observations[position].view.image
    same, possible = (np.zeros(part.shape) for _ in range(2))
    count = 0
    for other, mask in _found_again(part, image, observations, position):
        score = residual_score(image, other, noise)
        same += mask & (score < _ALIKE)
        possible += mask
        count += 1
    if count < _FRAMES:
        return np.zeros_like(part)
    whole = (same >= _FRAMES) & (same >= _AGREEING * possible) & (observations[position].motion < 0.5)
    radius = max(1, round(max(part.shape) / 256))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    joined = cv2.morphologyEx((whole | part).astype(np.uint8), cv2.MORPH_CLOSE, disk, iterations=2)
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, disk)
    _, labels = cv2.connectedComponents(joined)
    touched = np.bincount(labels.ravel(), part.ravel()) > 0
    touched[0] = False
    whole = touched[np.asarray(labels, np.int32)] | part
    return whole if whole.sum() <= _LARGEST * part.sum() else np.zeros_like(part)


def _found_again(
    part: np.ndarray, image: np.ndarray, observations: Sequence[Observations], position: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames in which the object moves, brought to its place in `image` (h, w, 3), and their motion masks (h, w)."""
    moving = np.array([(seen.motion > 0.5).sum() for seen in observations])
    for candidate in _spread(np.flatnonzero(moving >= part.sum()), _MOVING):
        if candidate == position:
            continue
        seen = observations[candidate]
        place = _best_place(part, image, seen)
        if place is None:
            continue
        yield _aligned(image, seen, place)


def _best_place(part: np.ndarray, image: np.ndarray, seen: Observations) -> np.ndarray | None:
    """The affine map (2, 3) from pixels of `image` to those of the frame `seen` that shows `part` again."""
    rows, columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
    top, left = rows[0], columns[0]
    patch = image[top : rows[-1] + 1, left : columns[-1] + 1]
    shape = part[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.float32)
    motion = (seen.motion > 0.5).astype(np.float32)
    best, place = _CORRELATION, None
    for scale in _SCALES:
        size = max(4, round(shape.shape[1] * scale)), max(4, round(shape.shape[0] * scale))
        if size[0] > motion.shape[1] or size[1] > motion.shape[0]:
            continue
        template = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
        weight = (cv2.resize(shape, size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.float32)
        inside = cv2.matchTemplate(motion, weight, cv2.TM_CCORR) / max(weight.sum(), 1.0)
        match = cv2.matchTemplate(seen.view.image, template, cv2.TM_CCOEFF_NORMED, mask=np.dstack([weight] * 3))
        match = np.where((inside >= _INSIDE) & np.isfinite(match), match, -1.0)
        y, x = np.unravel_index(int(match.argmax()), match.shape)
        if match[y, x] > best:
            best = float(match[y, x])
            sx, sy = size[0] / shape.shape[1], size[1] / shape.shape[0]
            place = np.array([[sx, 0.0, x - sx * left], [0.0, sy, y - sy * top]])
    return place


def _aligned(image: np.ndarray, seen: Observations, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frame `seen` and its motion mask at the place of the object in `image`, corrected by flow."""
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = place[0, 0] * x + np.float32(place[0, 2]), place[1, 1] * y + np.float32(place[1, 2])
    coarse = _sampled(seen.view.image, x, y)
    first, second = ((255 * cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)).astype(np.uint8) for values in (image, coarse))
    matcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    matcher.setFinestScale(0)
    flow = matcher.calc(first, second, np.zeros((height, width, 2), np.float32))
    limit = _CORRECTION * max(height, width)
    flow *= np.minimum(1.0, limit / np.maximum(np.linalg.norm(flow, axis=-1, keepdims=True), 1e-6))
    x, y = x + flow[..., 0] * place[0, 0], y + flow[..., 1] * place[1, 1]
    fine, motion = _sampled(seen.view.image, x, y), _sampled(seen.motion.astype(np.float32), x, y)
    radius = max(1, round(_HALO * max(height, width) / 256))
    return fine, cv2.dilate(motion, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0.5


def _sampled(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`values` at the pixels `x`, `y` (h, w); 0 outside."""
    return cv2.remap(values, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
