"""The clips of a data set, and its description."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.frames import list_images
from scene.maps import FrameMaps, LoadedMaps


@dataclass(frozen=True)
class DatasetClip:
    """The images of one clip in order, and the ground truth of each image; None for truth that the data set lacks."""

    name: str
    images: list[Path]
    #: seconds, one per image
    timestamps: list[float] | None = None
    #: (N, 4, 4)
    world_from_cameras: np.ndarray | None = None
    #: (N, 3, 3) in pixels of the images; pixel centers are at +0.5
    intrinsics: np.ndarray | None = None
    #: float32 (H, W) per image, 0 = unknown
    z_depths: FrameMaps | None = None
    #: float32 (H, W) per image, 1 = moving
    motion_masks: FrameMaps | None = None
    #: positions of the images with a motion mask; None: all
    annotated: frozenset[int] | None = None
    #: the images are unrelated, and each is predicted alone
    single_images: bool = False

    def __post_init__(self) -> None:
        for field in ("timestamps", "world_from_cameras", "intrinsics", "z_depths", "motion_masks"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self.images):
                raise InputError(
                    f"{self.name} has {len(values)} entries of {field} for {len(self.images)} images; "
                    "the data set is incomplete, download it again."
                )

    def select(self, positions: Sequence[int]) -> "DatasetClip":
        """The clip of the images at `positions` and their truth."""
        chosen = list(positions)

        def select_maps(maps: FrameMaps | None) -> FrameMaps | None:
            return None if maps is None else LoadedMaps(len(chosen), lambda index: maps[chosen[index]])

        return replace(
            self,
            images=[self.images[index] for index in chosen],
            timestamps=None if self.timestamps is None else [self.timestamps[index] for index in chosen],
            world_from_cameras=None if self.world_from_cameras is None else self.world_from_cameras[chosen],
            intrinsics=None if self.intrinsics is None else self.intrinsics[chosen],
            z_depths=select_maps(self.z_depths),
            motion_masks=select_maps(self.motion_masks),
            annotated=None
            if self.annotated is None
            else frozenset(position for position, index in enumerate(chosen) if index in self.annotated),
        )

    def annotated_frames(self) -> list[int]:
        """Positions of the images with a motion mask."""
        if self.motion_masks is None:
            return []
        return list(range(len(self.images))) if self.annotated is None else sorted(self.annotated)


@dataclass(frozen=True)
class Dataset:
    """A data set: its location in the data folder, how to download it, and how to read it."""

    name: str
    #: its published name, for tables and messages
    title: str
    #: relative to the data folder
    folder: str
    #: how to download it: a command or a sentence, with {data} for the data folder
    fetch: str
    #: names of all clips in the folder of the data set
    list_clips: Callable[[Path], list[str]]
    #: reads one clip from the folder of the data set; raises `InputError` when it is missing or incomplete
    open_clip: Callable[[Path, str], DatasetClip]
    #: the clips for which figures are published; None: all
    published_clips: tuple[str, ...] | None = None
    #: number of frames per clip in published figures; None: all
    published_frames: int | None = None
    #: published figures of depth of single images are for all clips
    all_clips_alone: bool = False
    #: the optical flow that predictors use by default on this data set; None: their usual default
    flow: str | None = None

    def fetch_into(self, data_folder: Path) -> str:
        """`fetch` with the path of the data folder inserted."""
        return self.fetch.replace("{data}", shlex.quote(str(data_folder)))


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the subfolders that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order; raises `InputError` when there is none."""
    images = list_images(folder) if folder.is_dir() else []
    if not images:
        raise InputError(
            f"{folder} {'holds no images' if folder.is_dir() else 'does not exist'}; see docs/evaluation.md."
        )
    return images


def beside_images(images: Sequence[Path], folder: Path, suffix: str) -> list[Path] | None:
    """For each image the file in `folder` with the same stem and the given suffix; None when there is no such folder.
    Raises `InputError` when a file is missing."""
    if not folder.is_dir():
        return None
    files = [folder / f"{image.stem}{suffix}" for image in images]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing; the data set is incomplete, download it again.")
    return files
