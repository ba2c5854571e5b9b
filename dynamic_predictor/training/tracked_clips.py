"""Clips with depth, cameras and 3-D tracks, in the layout of PointOdyssey as rearranged for fast loading.

What moves between two frames follows from the tracks: a track whose coordinates differ at all between the two moves,
and a pixel moves if the track nearest to its 3-D point does (DAS3R, Xu et al., 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from dynamic_predictor.evaluation.datasets.clip import DatasetClip, folders_in
from dynamic_predictor.evaluation.datasets.point_odyssey import open_clip
from scene.errors import InputError
from scene.files.arrays import check_npy, read_npy
from scene.images import read_image

#: metres beyond which depth counts as unknown
FARTHEST = 80.0


@dataclass(frozen=True)
class TrackedView:
    """One frame of a pair: `image` (H, W, 3) uint8 RGB, `z_depth` (H, W) float32 with 0 = unknown, `intrinsics`
    (3, 3) in pixels, centres at +0.5, `world_from_camera` (4, 4); `tracks` (T, 3), where the tracks are in the world in
    this frame, and `moves` (T,) bool, whether they move between the pair's frames."""

    image: np.ndarray
    z_depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    tracks: np.ndarray
    moves: np.ndarray

    def points(self) -> np.ndarray:
        """World points (H, W, 3) float32 of all pixels; meaningless where the depth is unknown."""
        height, width = self.z_depth.shape
        x = (np.arange(width) + 0.5 - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        y = (np.arange(height) + 0.5 - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), axis=-1)
        points = (rays * self.z_depth[..., None]) @ self.world_from_camera[:3, :3].T + self.world_from_camera[:3, 3]
        return points.astype(np.float32)

    def motion(self) -> np.ndarray:
        """(H, W) float32: 1 = moves, NaN = unknown, for want of depth or of tracks."""
        motion = np.full(self.z_depth.shape, np.nan, np.float32)
        known = self.z_depth > 0
        if len(self.tracks) and known.any():
            _, nearest = KDTree(self.tracks, balanced_tree=False).query(self.points()[known])
            motion[known] = self.moves[nearest]
        return motion


class _ReadFrames:
    """What was read of frames, kept as long as there is room: small data sets are read once."""

    def __init__(self, room: int = 1 << 28) -> None:
        self._room = room
        self._kept: dict[Path, tuple[np.ndarray, ...]] = {}

    def get(self, path: Path, read: Callable[[], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
        """The arrays that `read` gives for `path`; not to be changed."""
        if path in self._kept:
            return self._kept[path]
        arrays = read()
        size = sum(array.nbytes for array in arrays)
        if size <= self._room:
            self._room -= size
            self._kept[path] = arrays
        return arrays


class TrackedClip:
    """One clip of `folder`, a data set's part such as data/point_odyssey/train."""

    def __init__(self, folder: str | Path, name: str, read_frames: _ReadFrames | None = None) -> None:
        """Clips may share `read_frames`. Raises `InputError` when frames, depth, cameras or tracks are missing."""
        self.name = name
        self._read = read_frames or _ReadFrames()
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
        """Frames `first` and `second` as a pair."""
        tracks = self._read_tracks(first), self._read_tracks(second)
        if len(tracks[0]) != len(tracks[1]):
            raise InputError(f"{self._folder} has different numbers of tracks in its frames; rearrange it again.")
        known = np.isfinite(tracks[0]).all(axis=1) & np.isfinite(tracks[1]).all(axis=1)
        moves = (tracks[0] != tracks[1]).any(axis=1)[known]
        return self._view(first, tracks[0][known], moves), self._view(second, tracks[1][known], moves)

    def _read_tracks(self, index: int) -> np.ndarray:
        return self._read.get(self._tracks[index], lambda: (self._tracks_of(self._tracks[index]),))[0]

    def _tracks_of(self, path: Path) -> np.ndarray:
        if not path.is_file():
            raise InputError(f"{path} does not exist; rearrange the data set again.")
        tracks = read_npy(path, check_npy(path, None))
        if tracks.ndim != 2 or tracks.shape[1] != 3:
            raise InputError(f"{path} has shape {tracks.shape}, not (tracks, 3); rearrange the data set again.")
        return tracks

    def _view(self, index: int, points: np.ndarray, moves: np.ndarray) -> TrackedView:
        clip = self._clip
        assert clip.intrinsics is not None and clip.world_from_cameras is not None
        image, z_depth = self._read.get(clip.images[index], lambda: self._image_and_depth(index))
        return TrackedView(image, z_depth, clip.intrinsics[index], clip.world_from_cameras[index], points, moves)

    def _image_and_depth(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        clip = self._clip
        assert clip.z_depths is not None
        image = read_image(clip.images[index])
        z_depth = clip.z_depths[index]
        if image.shape[:2] != z_depth.shape:
            raise InputError(f"{clip.images[index]} and its depth differ in size; fetch the data set again.")
        return image, np.where(z_depth <= FARTHEST, z_depth, 0.0).astype(np.float32)


def list_tracked_clips(folder: str | Path) -> list[TrackedClip]:
    """All clips of one part of the data set that have tracks; `InputError` when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; fetch the data set with: python data/download_pointodyssey.py.")
    read_frames = _ReadFrames()
    clips = [
        TrackedClip(folder, name, read_frames) for name in folders_in(folder) if (folder / name / "trajs_3d").is_dir()
    ]
    if not clips:
        raise InputError(f"No clip in {folder} has tracks in trajs_3d/; rearrange the data set first (docs/data.md).")
    return clips
