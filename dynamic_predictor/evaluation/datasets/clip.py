"""One clip of a data set, and what a data set is."""

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
    """The images of one clip in order, and whatever is known to be true of each; None where a data set has none."""

    name: str
    images: list[Path]
    #: seconds, one per image
    timestamps: list[float] | None = None
    #: (N, 4, 4)
    world_from_cameras: np.ndarray | None = None
    #: (N, 3, 3) in pixels of the images, pixel centres at +0.5
    intrinsics: np.ndarray | None = None
    #: float32 (H, W) per image, 0 = unknown
    z_depths: FrameMaps | None = None
    #: float32 (H, W) per image, 1 = moves; of `annotated` images only, where that is given
    motion_masks: FrameMaps | None = None
    annotated: frozenset[int] | None = None
    #: the images are not of one clip: each is looked at alone
    single_images: bool = False

    def __post_init__(self) -> None:
        for field in ("timestamps", "world_from_cameras", "intrinsics", "z_depths", "motion_masks"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self.images):
                raise InputError(
                    f"{self.name} has {len(values)} entries of {field} for {len(self.images)} images; "
                    "the data set is not complete, fetch it again."
                )

    def select(self, positions: Sequence[int]) -> "DatasetClip":
        """The images at `positions`, with their truth."""
        chosen = list(positions)

        def some(maps: FrameMaps | None) -> FrameMaps | None:
            return None if maps is None else LoadedMaps(len(chosen), lambda index: maps[chosen[index]])

        return replace(
            self,
            images=[self.images[index] for index in chosen],
            timestamps=None if self.timestamps is None else [self.timestamps[index] for index in chosen],
            world_from_cameras=None if self.world_from_cameras is None else self.world_from_cameras[chosen],
            intrinsics=None if self.intrinsics is None else self.intrinsics[chosen],
            z_depths=some(self.z_depths),
            motion_masks=some(self.motion_masks),
            annotated=None
            if self.annotated is None
            else frozenset(place for place, index in enumerate(chosen) if index in self.annotated),
        )

    def annotated_frames(self) -> list[int]:
        """Positions of the images whose motion mask is known."""
        if self.motion_masks is None:
            return []
        return list(range(len(self.images))) if self.annotated is None else sorted(self.annotated)


@dataclass(frozen=True)
class Dataset:
    """A data set: where it lies under the data folder, how to get it, how to read it."""

    name: str
    #: of the paper or the page, for tables and messages
    title: str
    #: relative to the data folder, the place that has to exist
    folder: str
    #: one sentence or command that says how to get it, with {data} for the data folder
    fetch: str
    #: the clips that published figures are of; None: all there are
    published_clips: tuple[str, ...] | None
    #: how many frames of a clip published figures use; None: all
    published_frames: int | None
    #: all clips in the data set's folder
    list_clips: Callable[[Path], list[str]]
    #: reads one; raises `InputError` when it is not there or not complete
    open_clip: Callable[[Path, str], DatasetClip]

    #: what "auto" means as the optical flow of a predictor's alignment; None: what it means everywhere
    flow: str | None = None

    def fetch_into(self, data_folder: Path) -> str:
        """`fetch` for a data folder."""
        return self.fetch.replace("{data}", shlex.quote(str(data_folder)))


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out."""
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
    """For each image the file of the same stem in `folder`; None when the folder is not there at all. Raises
    `InputError` when some are missing."""
    if not folder.is_dir():
        return None
    files = [folder / f"{image.stem}{suffix}" for image in images]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing; the data set is not complete, fetch it again.")
    return files
