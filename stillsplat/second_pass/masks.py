"""Motion masks from scores of residuals: colors of what moves and of what does not, and the edges of the frame.

The same inference as in `dynamic_predictor.geometric.consensus`, with the residual in the place of the rough mask.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dynamic_predictor.geometric.consensus.color_models import color_log_odds, counts_around, table_near
from dynamic_predictor.geometric.consensus.pixel_cut import mean_field
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps

#: weight of smoothness, its extent (of `EdgeAwareSmoother`, at a long side of 512), contrast in Lab / 100, and steps
_SMOOTHNESS, _EXTENT, _CONTRAST, _STEPS = 3.0, 240.0, 0.05, 4
_ROUNDS = 2


def masks_from_evidence(images: Frames, frames: Sequence[int], evidence: FrameMaps) -> StoredMaps:
    """The motion (H, W), in [0, 1], of each of the `frames` of `images`, from its `evidence` (H, W): log odds that a
    pixel moves."""
    count, height, width = len(frames), images.height, images.width
    unit = max(height, width) / 512.0
    result = StoredMaps(count, height, width)
    for index in range(count):
        result[index] = 1.0 / (1.0 + np.exp(-evidence[index]))
    for _ in range(_ROUNDS):
        counts = [counts_around(images.rgb8(frames[index]), result[index], unit) for index in range(count)]
        for index in range(count):
            image = images.rgb8(frames[index])
            color = color_log_odds(image, table_near(counts, index), unit)
            lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
            smoother = EdgeAwareSmoother(lab, _EXTENT * unit * unit, _CONTRAST)
            result[index] = mean_field(evidence[index] + color, smoother, _SMOOTHNESS, _STEPS)
    return result
