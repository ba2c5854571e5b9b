"""Superpixels: small patches whose borders follow the edges of the image."""

import cv2
import numpy as np


def superpixels(image: np.ndarray, spacing: int) -> np.ndarray:
    """Labels (H, W) int32, 0 to n - 1 without gaps, of patches about `spacing` pixels wide.

    `image` (H, W, 3) uint8. Seeded watershed (Meyer, "Color image segmentation", 1992). There is one seed per grid
    cell, at the pixel with the smallest gradient, so that no patch starts on an edge.
    """
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    gradient = sum(np.abs(cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3)).sum(axis=-1) for dx, dy in ((1, 0), (0, 1)))
    rows, columns = -(-height // spacing), -(-width // spacing)
    padded = np.full((rows * spacing, columns * spacing), np.inf, np.float32)
    padded[:height, :width] = gradient
    # a small penalty on the distance from the cell's center keeps the patches compact in flat areas
    offset = (np.arange(spacing) - (spacing - 1) / 2.0) ** 2
    penalty = (offset[:, None] + offset[None, :]) * (8.0 / spacing)
    cells = padded.reshape(rows, spacing, columns, spacing).transpose(0, 2, 1, 3) + penalty
    best = cells.reshape(rows, columns, -1).argmin(axis=-1)
    y = best // spacing + np.arange(rows)[:, None] * spacing
    x = best % spacing + np.arange(columns)[None, :] * spacing
    markers = np.zeros((height, width), np.int32)
    inside = (y < height) & (x < width)
    markers[y[inside], x[inside]] = np.arange(1, int(inside.sum()) + 1)
    labels = cv2.watershed(smooth, markers.copy())
    _label_borders(labels, markers)
    return labels - 1


def _label_borders(labels: np.ndarray, markers: np.ndarray) -> None:
    """Replaces the lines of -1 that the watershed leaves between patches by a neighboring label, in place."""
    for _ in range(8):
        missing = labels <= 0
        if not missing.any():
            return
        grown = cv2.dilate(labels.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
        labels[missing] = np.maximum(grown[missing], 0)
    labels[labels <= 0] = max(int(markers.max()), 1)
