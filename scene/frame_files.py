"""Frames as PNG files of a folder, without encoding those again that are PNG files already."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.frames import Frames, stored_pngs
from scene.images import read_image, write_png
from scene.progress import Progress, ignore_progress


def frame_name(index: int) -> str:
    """File name of a frame in a scene folder."""
    return f"{index:05d}.png"


def frame_writer(frames: Frames) -> Callable[[int, Path], None]:
    """A function (index, path) that writes a frame to a new file: a hard link or a copy where the frame is a PNG file
    of ours (`scene.frames.stored_pngs`), else a PNG that is encoded now."""
    paths = stored_pngs(frames)

    def write(index: int, path: Path) -> None:
        if paths is None:
            write_png(path, frames.rgb8(index))
        else:
            link_or_copy(paths[index], path)

    return write


def png_names(names: Sequence[str], count: int) -> list[str]:
    """Names of `count` PNG files for images that are called `names`, with their folders; 00000.png, ... where there are
    none. No two are the same."""
    if len(names) != count:
        return [frame_name(index) for index in range(count)]
    paths = [relative_path(name) for name in names]
    for candidates in ([path.with_suffix(".png") for path in paths if path.name], [f"{path}.png" for path in paths]):
        if len({str(name).lower() for name in candidates}) == count:  # some file systems do not tell cases apart
            return [str(name) for name in candidates]
    return [frame_name(index) for index in range(count)]


def relative_path(name: str) -> PurePosixPath:
    """A name that somebody wrote as a relative path, which does not leave the folder that it is put into."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return PurePosixPath(*[part for part in parts if part not in ("/", "//", "..", ".")])


def store_frames(
    frames: Frames, folder: Path, *, names: Sequence[str] = (), progress: Progress = ignore_progress
) -> list[str]:
    """Writes the frames to `folder` under the names of `png_names` and returns these. Files that are there already are
    kept if they are these frames: their number, and the pixels of the first and the last one, are compared."""
    names = png_names(names, len(frames))
    if _holds(folder, names, frames):
        return names
    write = frame_writer(frames)
    for index, name in enumerate(names):
        with atomic_file(folder / name) as temporary:
            temporary.unlink()
            write(index, temporary)
        progress("writing images", index + 1, len(names))
    return names


def _holds(folder: Path, names: list[str], frames: Frames) -> bool:
    if not names or not all((folder / name).is_file() for name in names) or (folder / frame_name(len(names))).exists():
        return False
    try:
        return all(
            np.array_equal(read_image(folder / names[index]), frames.rgb8(index)) for index in (0, len(names) - 1)
        )
    except InputError:
        return False


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Makes `target` a hard link to the file `source`, or a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
