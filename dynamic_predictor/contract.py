"""The contract between predictors and the driver: views in, a prediction out.

A predictor is one folder and one row of `dynamic_predictor.specs`. It does not handle files, chunks, scenes or the
command line; the driver (`dynamic_predictor.driver`) does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from scene.camera import Camera, cameras_of
from scene.errors import InputError
from scene.frames import Frames
from scene.lens import Lens
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import PointCloud

if TYPE_CHECKING:
    from scene.formats.exportable import Exportable


@dataclass(frozen=True)
class Views:
    """The input of a predictor: frames, known masks, focal length, cameras. Raises `InputError` for counts that differ.

    Predictors use `focal`, `world_from_camera` and `intrinsics` only where their spec declares it; otherwise the
    driver refuses them.
    """

    frames: Frames
    #: the user's own motion masks (1 = moves), one for each frame; they replace those of the predictor
    motion_masks: FrameMaps | None = None
    #: what the frames have observed (`scene.observed`); None: everything
    observed: FrameMaps | None = None
    #: focal length in pixels of the frames, shared by all of them
    focal: float | None = None
    #: the lens may distort, and a predictor that can find this out is to do so (`Prediction.lens`)
    find_lens: bool = False
    #: known poses (N, 4, 4), together with `intrinsics`
    world_from_camera: np.ndarray | None = None
    #: known intrinsics (N, 3, 3) in pixels of the frames
    intrinsics: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.motion_masks is not None and len(self.motion_masks) != len(self.frames):
            raise InputError(
                f"There are {len(self.motion_masks)} motion masks for {len(self.frames)} frames; give one mask for "
                "every frame."
            )

    def __len__(self) -> int:
        return len(self.frames)


@dataclass
class Prediction:
    """The output of a predictor for N views, at one size (H, W) and in a world frame and unit that it chooses.

    Maps are anything that yields a float32 array (H, W) for each view: arrays (N, H, W), or `scene.maps` for clips that
    do not fit into memory.
    """

    #: along the camera's z, 0 = unknown
    z_depth: FrameMaps
    #: of the depth, in [0, 1]: 0 = unknown, 1 = certain. A network's confidence c, from 1 without bound, is 1 - 1 / c
    #: (`scene.confidence`)
    confidence: FrameMaps
    #: (N, 4, 4) float64, OpenCV axes; None from models that predict each image separately, without cameras
    world_from_camera: np.ndarray | None = None
    #: (N, 3, 3) float64 in pixels of the maps; None where there are no cameras
    intrinsics: np.ndarray | None = None
    #: in [0, 1], 1 = moves; None from predictors without motion masks of their own
    motion: FrameMaps | None = None
    #: the unit of depth and poses is the meter
    is_metric: bool = False
    #: sparse points of the static world, where the predictor has triangulated some
    points: PointCloud | None = None
    #: the lens that was found for views with `find_lens`, in pixels of the frames; then cameras and maps are those of
    #: the undistorted frames (`scene.undistortion`)
    lens: Lens | None = None
    #: the same for exports, with what else a network gives: Gaussians, features, original names, sizes and confidences
    exportable: "Exportable | None" = None
    #: confidences are those of a network: chunks are joined by weights c - 1 instead of 1 - 1 / c
    has_network_confidence: bool = False
    #: settings, errors, times in seconds: kept in the scene as its provenance
    provenance: dict[str, Any] = field(default_factory=dict)
    #: sentences that a person should read
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.z_depth)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the maps."""
        height, width = self.z_depth[0].shape
        return height, width

    def poses(self) -> np.ndarray:
        """`world_from_camera` (N, 4, 4); `ValueError` where there are no cameras."""
        if self.world_from_camera is None:
            raise ValueError("this prediction has no cameras")
        return self.world_from_camera

    def cameras(self) -> list[Camera]:
        """One camera per view, at the size of the maps; `ValueError` where there are none."""
        poses = self.poses()
        assert self.intrinsics is not None
        height, width = self.size
        return cameras_of(width, height, self.intrinsics, poses)


class Predictor(Protocol):
    """Predicts any number of views together."""

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """Raises `InputError` for views that cannot be used, missing weights and too little memory."""
        ...


@runtime_checkable
class LearnedPredictor(Protocol):
    """Reads weights at its first prediction."""

    def require(self) -> None:
        """Raises `InputError` where its weights are not on this machine; reads nothing of them."""
        ...


class CollectionPredictor(Predictor, Protocol):
    """Also predicts images of different sizes together."""

    def predict_collection(self, images: Sequence[Path], *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction of image files, cropped to a size that all have; with `exportable`."""
        ...


class AttentionPredictor(Predictor, Protocol):
    """Also gives motion masks that its network was not trained for, from its attention."""

    def attention_motion(self, views: Views, *, progress: Progress = ignore_progress) -> FrameMaps:
        """Motion masks of 0 and 1 (1 = moves) at the size of the frames, one for each of the views of a clip of any
        length. Masks, focal length and cameras of the views are not used. Raises `InputError` as `predict` does."""
        ...


class OnlinePredictor(Predictor, Protocol):
    """Predicts one view after the other in one world, with a state whose size does not grow with their number."""

    def start(self) -> None:
        """Resets the state to that before the first view."""
        ...

    def step(self, view: Views) -> Prediction:
        """The prediction of one more view, in the world of the first; updates the state."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """The state as arrays, from which `restore` continues to the same results."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The reverse of `state`."""
        ...


class QueriedView(Protocol):
    """What a predictor believes is to be seen from a virtual camera of H x W pixels."""

    @property
    def points(self) -> np.ndarray:
        """(H, W, 3) float32 in the world of the first view."""
        ...

    @property
    def color(self) -> np.ndarray:
        """(H, W, 3) float32 RGB in [0, 1]."""
        ...

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) float32 in [0, 1], 0 = unknown."""
        ...


@runtime_checkable
class ViewQueryPredictor(OnlinePredictor, Protocol):
    """Also predicts what a camera sees, from its state alone (CUT3R, Wang et al., 2025: a ray-map query)."""

    def query(self, camera: Camera) -> QueriedView:
        """The view of a virtual camera in the world of the first view; its sides are multiples of 16 pixels. Leaves
        the state as it is. Raises `InputError` before the first step."""
        ...
