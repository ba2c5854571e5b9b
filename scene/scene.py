"""A scene in memory. `scene.folder` loads and saves it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scene.camera import Camera
from scene.frames import Frames
from scene.lens import Lens
from scene.maps import FrameMaps


@dataclass
class PointCloud:
    """World points (N, 3), float32 or float64, with colors (N, 3) uint8 RGB, for example the triangulated tracks of a
    predictor."""

    positions: np.ndarray
    colors: np.ndarray


@dataclass
class Scene:
    """The output of a dynamic predictor and the input of the Gaussian optimizer.

    All maps have the size of the frames. `cameras` has one camera for every frame, none missing.
    """

    frames: Frames
    cameras: list[Camera]
    #: float32 (H, W) in [0, 1] per frame, 1 = moves
    motion_masks: FrameMaps | None = None
    #: float32 (H, W) per frame, along the camera's z in scene units, 0 = unknown
    z_depths: FrameMaps | None = None
    #: float32 (H, W) per frame, of the depth: at least 0, 0 = unknown, 1 = certain
    confidences: FrameMaps | None = None
    points: PointCloud | None = None
    #: the lens that the input was taken with, at the size of the frames, where it distorts; the frames and all else are
    #: those of the camera `scene.undistortion.pinhole_of(lens, centered=True)`
    lens: Lens | None = None
    #: the frames as that lens has seen them
    input_frames: Frames | None = None
    #: name of the predictor that made this scene
    predictor: str = ""
    #: the predictor's settings, its diagnostics (fallbacks, warnings, errors in pixels) and times in seconds
    provenance: dict[str, Any] = field(default_factory=dict)
    #: float32 (H, W) in [0, 1] per frame, 1 = observed, 0 = the frame does not show what is there (`scene.observed`);
    #: None: all is observed
    observed: FrameMaps | None = None

    @property
    def given_points(self) -> PointCloud | None:
        """The points, where a person or another program gave them (`scene.projects`)."""
        given = self.provenance.get("given")
        return self.points if isinstance(given, list) and "points" in given else None
