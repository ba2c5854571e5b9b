"""Depth of single images by Depth Anything 3, relative or in metres."""

import math
from typing import TYPE_CHECKING

import numpy as np

from dynamic_predictor.driver.predictors import DEPTH_ANYTHING_3_SIZE
from scene.errors import InputError

if TYPE_CHECKING:
    from dynamic_predictor.depth_anything3.model import DepthAnything3


class SingleImages:
    """Depth of one image after the other, each for itself."""

    def __init__(
        self,
        name: str,
        model: "DepthAnything3",
        *,
        metric: bool = False,
        fov: float | None = None,
        resolution: int | None = None,
    ) -> None:
        """`metric` asks for metres, for which a metric model must know the horizontal angle of view `fov`, degrees."""
        if metric and model.metric and fov is None:
            raise InputError(f"{name} needs the angle of view for depth in metres; give --fov DEGREES.")
        self.name, self._model, self._metric = name, model, metric
        self._fov, self._resolution = fov, resolution or DEPTH_ANYTHING_3_SIZE

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
        """z depth (h, w) float32 and confidence in [0, 1] (or None) at the size that the network saw, and whether the
        depth is in metres, of uint8 RGB (H, W, 3)."""
        intrinsics = None
        if self._metric and self._model.metric and self._fov is not None:
            height, width = image.shape[:2]
            focal = width / 2.0 / math.tan(math.radians(self._fov) / 2.0)
            intrinsics = np.array([[[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]])
        prediction = self._model.inference([image], intrinsics=intrinsics, process_res=self._resolution)
        confidence = None if prediction.conf is None else prediction.scene_confidence(0)
        if self._metric and not prediction.is_metric:
            raise InputError(f"{self.name} knows no metres; use da3-metric with --fov, or da3-nested.")
        return prediction.depth[0], confidence, prediction.is_metric
