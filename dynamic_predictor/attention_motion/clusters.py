"""Motion maps made equal over tokens that look alike."""

import cv2
import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.attention_motion.unit_range import unit_range_per_frame
from scene.errors import InputError
from scene.option import LARGEST_INTEGER

#: as in Easi3R and VGGT4D
CLUSTERS = 64
_ITERATIONS, _TOLERANCE = 50, 1e-4


def refined_by_clusters(maps: Tensor, features: Tensor, *, clusters: int = CLUSTERS, seed: int = 0) -> Tensor:
    """Motion maps (F, rows, columns) in which all tokens of one cluster have the cluster's mean, each frame then
    shifted and scaled to [0, 1].

    `features` (F, rows * columns, width): the encoder's features, which are clustered by k-means over all frames
    together (Easi3R, section 3.3; the same in VGGT4D). Raises `InputError` for values that are not finite.
    """
    return cluster_means(maps, feature_clusters(features.flatten(0, 1).float().cpu().numpy(), clusters, seed=seed))


def cluster_means(maps: Tensor, labels: np.ndarray) -> Tensor:
    """Motion maps (F, rows, columns) in which all tokens of a cluster have its mean, each frame shifted and scaled to
    [0, 1]; `labels` (F * rows * columns,) are the clusters. Raises `InputError` for maps that are not finite."""
    values = maps.detach().double().cpu().numpy().ravel()
    _require_finite(values)
    means = np.bincount(labels, values) / np.maximum(np.bincount(labels), 1)
    return unit_range_per_frame(torch.from_numpy(means[labels].astype(np.float32)).view(maps.shape))


def feature_clusters(features: np.ndarray, clusters: int = CLUSTERS, *, seed: int = 0) -> np.ndarray:
    """The cluster (N,) of each of the float32 `features` (N, width), by k-means from k-means++ centers. Raises
    `InputError` for features that are not finite."""
    _require_finite(features)
    clusters = min(clusters, len(features))
    cv2.setRNGSeed(seed % LARGEST_INTEGER + 1)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ITERATIONS, _TOLERANCE)
    labels = np.zeros((len(features), 1), np.int32)
    cv2.kmeans(np.ascontiguousarray(features), clusters, labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    return labels[:, 0]


def _require_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise InputError("The network's attention is not a number (NaN); its weights are damaged, so fetch them again.")
