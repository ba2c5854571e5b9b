"""Opens the masks that a user gives for the frames of a clip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from scene.errors import InputError
from scene.frames import Frames, list_images
from scene.given_masks.convention import MaskConvention
from scene.given_masks.growing import grown
from scene.given_masks.mask_arrays import read_mask_stack
from scene.given_masks.mask_images import MaskImage, mask_image_of_array, read_mask_image
from scene.given_masks.matching import has_two_endings, match_masks
from scene.given_masks.meaning import MaskMeaning, meaning_of
from scene.images import IMAGE_SUFFIXES, resize_image
from scene.maps import FrameMaps, LoadedMaps, StoredMaps
from scene.media.decoding import VideoClip

#: masks of a clip from which it is found out what all of them mean
_SAMPLE = 48
#: share of moving pixels of a clip above which the masks can hardly be meant so
_LARGEST_SHARE = 0.6
_ARRAY_SUFFIXES = (".npy", ".npz")


@dataclass
class GivenMasks:
    """Motion masks float32 (H, W) in [0, 1], 1 = moves, of all frames or some."""

    maps: FrameMaps
    #: bool per frame: whether its mask was given; the maps of other frames are 0
    given: np.ndarray
    #: how they were read, for the provenance
    description: str
    #: sentences that a user should read
    warnings: list[str]

    @property
    def is_complete(self) -> bool:
        """Whether every frame has a mask."""
        return bool(self.given.all())

    def merged(self, others: FrameMaps) -> FrameMaps:
        """These masks, and `others` for frames without one."""
        if self.is_complete:
            return self.maps
        return LoadedMaps(len(self.given), lambda index: (self.maps if self.given[index] else others)[index])


@dataclass
class _Files:
    """The masks as they are stored, by number."""

    title: str
    names: list[str]
    read: Callable[[int], MaskImage]
    #: what a message calls one of them
    name: Callable[[int], str]
    are_ours: bool = False


def check_masks(option_name: str, given: str | None) -> None:
    """Raises `InputError` unless `given` is None, or something that may hold masks."""
    if given is None:
        return
    path = Path(given).expanduser()
    if not path.exists():
        raise InputError(f"{option_name} {given} does not exist; give a folder with one mask image per frame.")
    if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir():
        raise InputError(f"{option_name} {given} is not a folder; give the folder with all masks of the clip.")
    if not path.is_dir() and (not path.is_file() or path.stat().st_size == 0):
        raise InputError(f"{option_name} {given} is no folder of masks, array file or video.")


def open_masks(
    masks: str | Path,
    frames: Frames,
    *,
    positions: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    convention: MaskConvention = "motion",
    warn: Callable[[str], None] = lambda sentence: None,
) -> FrameMaps:
    """The masks of all `frames`: as `given_masks`, which tells `warn` what it finds; masks of some frames only are an
    `InputError`."""
    found = given_masks(masks, frames, positions=positions, names=names, convention=convention)
    if not found.is_complete:
        missing = int((~found.given).sum())
        raise InputError(f"{masks} holds {len(frames) - missing} masks for {len(frames)} frames; give one per frame.")
    for sentence in found.warnings:
        warn(sentence)
    return found.maps


def given_masks(
    masks: str | Path,
    frames: Frames,
    *,
    positions: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    convention: MaskConvention = "auto",
    grow: float = 0.0,
) -> GivenMasks:
    """Reads the masks for `frames`: a folder of images, a .npy or .npz array (N, H, W), or a video.

    `positions` are the frames' places in the input, whose images are called `names` (`matching.match_masks`).
    `convention`: which color moves (`meaning`). Masks are gray images, alpha channels, palette or color label images;
    soft masks stay soft, those of lossy files are divided at one half. A mask of another size but the same aspect is
    brought to the frames' size. `grow`: pixels of the frames by which masks are made larger, below 0 smaller. Raises
    `InputError` when the count or an aspect does not fit or a file cannot be read.
    """
    files = _open(Path(masks).expanduser())
    matched = match_masks(files.names, len(frames), names=names, positions=positions, title=files.title)
    if not matched:
        raise InputError(f"{files.title} holds no mask of the frames that were chosen.")
    chosen = list(dict.fromkeys(matched.values()))
    sample = [chosen[int(k)] for k in np.unique(np.linspace(0, len(chosen) - 1, min(_SAMPLE, len(chosen))).round())]
    meaning = meaning_of(
        [files.read(index) for index in sample],
        convention,
        colmap_names=all(has_two_endings(files.names[index]) for index in chosen),
        are_ours=files.are_ours,
    )
    maps = StoredMaps(len(frames), frames.height, frames.width, np.float16)
    shares, size = [], (frames.width, frames.height)
    for frame, index in matched.items():
        mask = _fitted(meaning.motion(files.read(index)), size, meaning.is_soft, lambda index=index: files.name(index))
        maps[frame] = mask = grown(mask, grow)
        shares.append(float((mask >= 0.5).mean()))
    given = np.zeros(len(frames), bool)
    given[list(matched)] = True
    return GivenMasks(maps, given, meaning.description, _warnings(files.title, meaning, given, float(np.mean(shares))))


def _open(path: Path) -> _Files:
    if path.is_dir():
        files = list_images(path)
        if not files:
            inside = sorted(folder for folder in path.iterdir() if folder.is_dir() and list_images(folder))
            where = f"; give one of its folders, such as {inside[0]}" if inside else ""
            raise InputError(f"{path} holds no mask images{where}.")
        ours = path.name == "motion_masks" and (path.parent / "scene.json").is_file()
        names = [file.name for file in files]
        return _Files(str(path), names, lambda i: read_mask_image(files[i]), lambda i: str(files[i]), are_ours=ours)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a folder of mask images, one per frame.")
    if path.suffix.lower() in _ARRAY_SUFFIXES:
        stack = read_mask_stack(path)
        names = [str(index) for index in range(len(stack))]
        return _Files(str(path), names, lambda i: mask_image_of_array(stack[i]), lambda i: f"Mask {i} of {path}")
    stored = list(_video_masks(path))
    names = [str(index) for index in range(len(stored))]
    return _Files(str(path), names, lambda i: stored[i], lambda i: f"Frame {i} of {path}")


def _video_masks(path: Path) -> Iterator[MaskImage]:
    clip = VideoClip(path)
    for image in clip.images(lambda position: True):
        # lossy: only which side of one half a level is on will count
        yield MaskImage((image.pixels.max(axis=2) >= 128).astype(np.int32), 1, is_lossy=True)
    if clip.damage is not None:
        raise InputError(clip.damage)


def _fitted(mask: np.ndarray, size: tuple[int, int], is_soft: bool, name: Callable[[], str]) -> np.ndarray:
    width, height = size
    mask_height, mask_width = mask.shape
    if (mask_width, mask_height) == size:
        return mask
    # sizes are whole numbers, so a resized pair may differ by one pixel in the shorter side
    if abs(mask_width * height - width * mask_height) > max(mask_width, width, mask_height, height):
        raise InputError(
            f"{name()} is {mask_width}x{mask_height}, which is not the shape of the frames ({width}x{height}); "
            "give masks of the frames' size or aspect."
        )
    if is_soft:
        return np.clip(resize_image(mask, width, height), 0.0, 1.0)
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _warnings(title: str, meaning: MaskMeaning, given: np.ndarray, share: float) -> list[str]:
    found = [f"{title}: {note}." for note in meaning.notes]
    if not given.all():
        missing = np.flatnonzero(~given)
        which = ", ".join(str(index) for index in missing[:5]) + (", ..." if len(missing) > 5 else "")
        found.append(
            f"{title} has masks for {int(given.sum())} of {len(given)} frames; those of the others ({which}) are "
            "predicted."
        )
    if share > _LARGEST_SHARE:
        other = "motion" if meaning.inverted else "ignore"
        found.append(
            f"{title} marks {100 * share:.0f} % of the pixels as moving, which can hardly be meant: little is left to "
            f"find cameras from. If black and white are exchanged, give --masks-convention {other}."
        )
    elif share == 0.0:
        found.append(f"{title} marks nothing as moving: no pixel of a mask is at least half {_color(meaning)}.")
    return found


def _color(meaning: MaskMeaning) -> str:
    return "transparent" if meaning.layer == "alpha" and meaning.inverted else "black" if meaning.inverted else "white"
