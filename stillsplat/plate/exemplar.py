"""Completes the missing part of an image by texture of the rest of it.

Every patch of the missing part is made equal to a patch of the known part, from coarse to fine (Wexler, Shechtman and
Irani, "Space-time completion of video", PAMI 2007). Similar patches are found by random search and by what neighbors
have found (PatchMatch, Barnes et al., SIGGRAPH 2009).
"""

import cv2
import numpy as np

from scene.push_pull import push_pull

_RADIUS = 3
#: smallest side of the coarsest level, and rounds of matching and voting per level
_COARSEST, _ROUNDS = 24, 3


def complete_texture(image: np.ndarray, missing: np.ndarray, allowed: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """`image` (H, W, 3) float32 in [0, 1] with the pixels `missing` (H, W) bool filled from patches that lie in
    `allowed` (H, W) bool. Where too little is allowed, the surroundings are continued smoothly."""
    smooth = push_pull(np.ascontiguousarray(image, np.float32), (~missing).astype(np.float32))
    if not missing.any():
        return image
    levels = [(smooth, missing, allowed & ~missing)]
    while min(levels[-1][1].shape) >= 2 * _COARSEST and len(levels) < 6:
        color, hole, free = levels[-1]
        size = hole.shape[1] // 2, hole.shape[0] // 2
        levels.append(
            (
                cv2.resize(color, size, interpolation=cv2.INTER_AREA),
                cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0,
                cv2.resize(free.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99,
            )
        )
    generator = np.random.default_rng(seed)
    result = levels[-1][0]
    for color, hole, free in reversed(levels):
        if result.shape != color.shape:
            result = cv2.resize(result, hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
        result = np.where(hole[..., None], result, color).astype(np.float32)
        result = _filled(result, hole, free, generator)
    return np.clip(np.where(missing[..., None], result, image), 0.0, 1.0).astype(np.float32)


def _filled(image: np.ndarray, hole: np.ndarray, free: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One level: `image` with a first guess in the `hole`, improved."""
    height, width = hole.shape
    border = np.zeros_like(hole)
    border[_RADIUS : height - _RADIUS, _RADIUS : width - _RADIUS] = True
    whole = cv2.erode(free.astype(np.uint8), np.ones((2 * _RADIUS + 1,) * 2, np.uint8)) > 0
    source_rows, source_columns = np.nonzero(whole & border)
    # every patch that touches the hole
    touching = cv2.dilate(hole.astype(np.uint8), np.ones((2 * _RADIUS + 1,) * 2, np.uint8)) > 0
    rows, columns = np.nonzero(touching & border)
    if len(source_rows) < 50 or len(rows) == 0:
        return image
    is_source = whole & border
    # near sources first: texture changes over a picture
    pick = generator.integers(0, len(source_rows), (4, len(rows)))
    best = np.stack([source_rows[pick[0]], source_columns[pick[0]]])
    index_of = np.full(hole.shape, -1, np.int64)
    index_of[rows, columns] = np.arange(len(rows))
    cost = np.full(len(rows), np.inf, np.float32)
    for _ in range(_ROUNDS):
        own = _patches(image, rows, columns)
        cost = _costs(image, own, best[0], best[1])
        for dr, dc in ((0, -1), (-1, 0), (0, 1), (1, 0), (0, -4), (-4, 0), (0, 4), (4, 0)):
            neighbor = index_of[np.clip(rows + dr, 0, height - 1), np.clip(columns + dc, 0, width - 1)]
            has = neighbor >= 0
            candidate = best[:, np.where(has, neighbor, 0)] - np.array([[dr], [dc]])
            _improve(image, own, best, cost, candidate, has, is_source)
        reach = max(height, width) // 2
        while reach >= 1:
            offset = generator.integers(-reach, reach + 1, (2, len(rows)))
            _improve(image, own, best, cost, best + offset, np.ones(len(rows), bool), is_source)
            reach //= 2
        image = _voted(image, hole, rows, columns, best, cost)
    return image


def _improve(
    image: np.ndarray,
    own: np.ndarray,
    best: np.ndarray,
    cost: np.ndarray,
    candidate: np.ndarray,
    has: np.ndarray,
    is_source: np.ndarray,
) -> None:
    """Replaces matches by better candidates (2, N), in place."""
    height, width = is_source.shape
    r, c = np.clip(candidate[0], 0, height - 1), np.clip(candidate[1], 0, width - 1)
    valid = np.flatnonzero(has & (r == candidate[0]) & (c == candidate[1]) & is_source[r, c])
    if len(valid) == 0:
        return
    found = _costs(image, own[valid], r[valid], c[valid])
    better = valid[found < cost[valid]]
    best[0, better], best[1, better] = r[better], c[better]
    cost[better] = found[found < cost[valid]]


def _patches(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N, P, 3): the patches around pixels."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (2 * _RADIUS + 1, 2 * _RADIUS + 1), axis=(0, 1))
    chosen = windows[rows - _RADIUS, columns - _RADIUS]
    return chosen.reshape(len(rows), 3, -1)


def _costs(image: np.ndarray, own: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    difference = own - _patches(image, rows, columns)
    return np.einsum("nij,nij->n", difference, difference)


def _voted(
    image: np.ndarray,
    hole: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    best: np.ndarray,
    cost: np.ndarray,
) -> np.ndarray:
    """The hole as the mean of the matched patches that cover its pixels, good matches first."""
    scale = max(float(np.quantile(cost, 0.75)), 1e-4)
    weight = np.exp(-cost / (2 * scale)).astype(np.float32) + 1e-6
    height, width = hole.shape
    total = np.zeros((height * width, 3), np.float64)
    weights = np.zeros(height * width, np.float64)
    for dr in range(-_RADIUS, _RADIUS + 1):
        for dc in range(-_RADIUS, _RADIUS + 1):
            at = (rows + dr) * width + columns + dc
            colors = image[best[0] + dr, best[1] + dc] * weight[:, None]
            weights += np.bincount(at, weights=weight, minlength=height * width)
            for channel in range(3):
                total[:, channel] += np.bincount(at, weights=colors[:, channel], minlength=height * width)
    mean = (total / np.maximum(weights, 1e-12)[:, None]).reshape(height, width, 3).astype(np.float32)
    known = (weights > 0).reshape(height, width)
    return np.where((hole & known)[..., None], mean, image)
