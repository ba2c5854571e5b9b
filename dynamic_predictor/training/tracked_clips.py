"""Clips with depth, cameras and 3D tracks, in the layout of PointOdyssey rearranged for fast loading.

Motion between two frames is derived from the tracks: a track moves if its coordinates differ between the frames, and a
pixel moves if the track nearest to its 3D point does (DAS3R, Xu et al., 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.datasets.clip import DatasetClip, folders_in
from dynamic_predictor.evaluation.datasets.point_odyssey import open_clip
from scene.camera import Camera
from scene.errors import InputError
from scene.files.arrays import check_npy, read_npy
from scene.images import read_image

#: depth beyond this, in meters, counts as unknown
MAX_DEPTH = 80.0


@dataclass(frozen=True)
class TrackedView:
    """One frame of a pair: `image` (H, W, 3) uint8 RGB, `z_depth` (H, W) float32 with 0 = unknown, `intrinsics` (3, 3)
    in pixels with centers at +0.5, `world_from_camera` (4, 4), `tracks` (T, 3) world points of the tracks in this
    frame, and `moves` (T,) bool, whether the tracks move between the frames of the pair."""

    image: np.ndarray
    z_depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    tracks: np.ndarray
    moves: np.ndarray

    def points(self) -> np.ndarray:
        """World points (H, W, 3) float32 of all pixels; undefined where the depth is unknown."""
        height, width = self.z_depth.shape
        camera = Camera.from_intrinsics(width, height, self.intrinsics, self.world_from_camera)
        return camera.unproject(self.z_depth).astype(np.float32)

    def motion(self) -> np.ndarray:
        """Motion mask (H, W) float32: 1 = moves, NaN = unknown, because depth or tracks are missing."""
        motion = np.full(self.z_depth.shape, np.nan, np.float32)
        known = self.z_depth > 0
        if len(self.tracks) and known.any():
            _, nearest = KDTree(self.tracks, balanced_tree=False).query(self.points()[known])
            motion[known] = self.moves[nearest]
        return motion


class _FrameCache:
    """Cache of arrays by file, up to a number of bytes, so that small data sets are read only once."""

    def __init__(self, capacity: int = 1 << 28) -> None:
        self._free = capacity
        self._arrays: dict[Path, tuple[np.ndarray, ...]] = {}

    def get(self, path: Path, read: Callable[[], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
        """The result of `read` for `path`; must not be modified."""
        if path in self._arrays:
            return self._arrays[path]
        arrays = read()
        size = sum(array.nbytes for array in arrays)
        if size <= self._free:
            self._free -= size
            self._arrays[path] = arrays
        return arrays


class TrackedClip:
    """One clip of `folder`, a split of a data set such as data/point_odyssey/train."""

    def __init__(self, folder: str | Path, name: str, cache: _FrameCache | None = None) -> None:
        """Clips may share a `cache`. Raises `InputError` if frames, depth, cameras or tracks are missing."""
        self.name = name
        self._cache = cache or _FrameCache()
        self._folder = Path(folder) / name
        self._clip: DatasetClip = open_clip(Path(folder).parent, f"{Path(folder).name}/{name}")
        if self._clip.z_depths is None or self._clip.world_from_cameras is None or self._clip.intrinsics is None:
            raise InputError(f"{self._folder} has no depth or no cameras for some frames; fetch the data set again.")
        self._tracks = [
            self._folder / "trajs_3d" / f"traj_3d_{image.stem.removeprefix('rgb_')}.npy" for image in self._clip.images
        ]
        if not self._tracks or not self._tracks[0].is_file() or not self._tracks[-1].is_file():
            raise InputError(
                f"{self._folder} has no tracks in trajs_3d/; rearrange the data set first (docs/data.md), or leave "
                "this clip out."
            )

    def __len__(self) -> int:
        return len(self._tracks)

    def pair(self, first: int, second: int) -> tuple[TrackedView, TrackedView]:
        """Frames `first` and `second` as a pair. Raises `InputError` if their files are missing or inconsistent."""
        tracks = self._read_tracks(first), self._read_tracks(second)
        if len(tracks[0]) != len(tracks[1]):
            raise InputError(f"{self._folder} has different numbers of tracks in its frames; rearrange it again.")
        known = np.isfinite(tracks[0]).all(axis=1) & np.isfinite(tracks[1]).all(axis=1)
        moves = (tracks[0] != tracks[1]).any(axis=1)[known]
        return self._view(first, tracks[0][known], moves), self._view(second, tracks[1][known], moves)

    def _read_tracks(self, index: int) -> np.ndarray:
        path = self._tracks[index]

        def read() -> tuple[np.ndarray]:
            if not path.is_file():
                raise InputError(f"{path} does not exist; rearrange the data set again.")
            tracks = read_npy(path, check_npy(path, None))
            if tracks.ndim != 2 or tracks.shape[1] != 3:
                raise InputError(f"{path} has shape {tracks.shape}, not (tracks, 3); rearrange the data set again.")
            return (tracks,)

        return self._cache.get(path, read)[0]

    def _view(self, index: int, points: np.ndarray, moves: np.ndarray) -> TrackedView:
        clip = self._clip
        assert clip.intrinsics is not None and clip.world_from_cameras is not None
        image, z_depth = self._cache.get(clip.images[index], lambda: self._image_and_depth(index))
        return TrackedView(image, z_depth, clip.intrinsics[index], clip.world_from_cameras[index], points, moves)

    def _image_and_depth(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        clip = self._clip
        assert clip.z_depths is not None
        image = read_image(clip.images[index])
        z_depth = clip.z_depths[index]
        if image.shape[:2] != z_depth.shape:
            raise InputError(f"{clip.images[index]} and its depth differ in size; fetch the data set again.")
        return image, np.where(z_depth <= MAX_DEPTH, z_depth, 0.0).astype(np.float32)


def list_tracked_clips(folder: str | Path) -> list[TrackedClip]:
    """All clips in `folder` that have tracks. Raises `InputError` if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; fetch the data set with: python data/download_pointodyssey.py.")
    cache = _FrameCache()
    clips = [TrackedClip(folder, name, cache) for name in folders_in(folder) if (folder / name / "trajs_3d").is_dir()]
    if not clips:
        raise InputError(f"No clip in {folder} has tracks in trajs_3d/; rearrange the data set first (docs/data.md).")
    return clips
