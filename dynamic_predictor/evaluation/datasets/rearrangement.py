"""Rearranges PointOdyssey for fast loading: one small file per frame in place of a large archive per clip.

The layout is that of DAS3R and MonST3R: <clip>/trajs_3d/traj_3d_00000.npy etc. for each array of anno.npz.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import folders_in
from scene.errors import InputError
from scene.files.arrays import read_header
from scene.files.atomic import atomic_folder
from scene.progress import Progress, ignore_progress

#: arrays of anno.npz with one entry per frame, and the stems of their files
ARRAYS = {
    "trajs_2d": "traj_2d",
    "trajs_3d": "traj_3d",
    "valids": "valid",
    "visibs": "visib",
    "intrinsics": "intrinsic",
    "extrinsics": "extrinsic",
}
PARTS = ("train", "val", "test", "sample")
_DAMAGE = (ValueError, EOFError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error)


def rearrange(folder: str | Path, *, progress: Progress = ignore_progress) -> tuple[int, int]:
    """Rearranges all clips of the data set that are not rearranged yet; returns the number of rearranged clips, earlier
    ones included, and the number of clips without tracks, which are skipped."""
    folder = Path(folder)
    clips = [folder / part / name for part in PARTS if (folder / part).is_dir() for name in folders_in(folder / part)]
    if not clips:
        raise InputError(f"{folder} holds no clips of PointOdyssey; run python data/download_pointodyssey.py.")
    done = 0
    for index, clip in enumerate(clips, start=1):
        done += rearrange_clip(clip)
        progress("rearrange (clips)", index, len(clips))
    return done, len(clips) - done


def rearrange_clip(clip: Path) -> bool:
    """Rearranges one clip; returns False, and writes nothing, when it has no tracks. Frames are read one by one, so
    that memory does not grow with the length of the clip."""
    annotations = clip / "anno.npz"
    if not annotations.is_file():
        raise InputError(f"{annotations} does not exist; download PointOdyssey again.")
    try:
        with zipfile.ZipFile(annotations) as archive:
            missing = [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]
            if missing:
                raise InputError(f"{annotations} has no {missing[0]}; download PointOdyssey again.")
            counts = {name: _frame_count(archive, name, annotations) for name in ARRAYS}
            if counts["trajs_3d"] == 0:
                return False
            if len(set(counts.values())) != 1:
                raise InputError(f"{annotations} has arrays of different lengths ({counts}); download it again.")
            for name, file_name in ARRAYS.items():
                last = clip / name / f"{file_name}_{counts[name] - 1:05d}.npy"
                # an earlier run has written each folder completely or not at all
                if not last.is_file() or len(os.listdir(clip / name)) != counts[name]:
                    _split(archive, name, clip / name, file_name)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{annotations} is damaged; download PointOdyssey again.") from error
    return True


def _frame_count(archive: zipfile.ZipFile, name: str, path: Path) -> int:
    with archive.open(f"{name}.npy") as stream:
        shape, _, _ = _header(stream, name, path)
    return shape[0] if len(shape) > 1 else 0


def _header(stream: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    shape, fortran_order, dtype = read_header(stream)
    if dtype.kind not in "fiub":
        raise InputError(f"{path}: {name} is of type {dtype}, not of numbers; download PointOdyssey again.")
    return shape, fortran_order, dtype


def _split(archive: zipfile.ZipFile, name: str, folder: Path, file_name: str) -> None:
    with archive.open(f"{name}.npy") as stream, atomic_folder(folder, overwrite=True) as temporary:
        shape, fortran_order, dtype = _header(stream, name, folder)
        if fortran_order:
            raise InputError(f"{folder.parent / 'anno.npz'}: {name} is stored by columns; download PointOdyssey again.")
        frame_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        for index in range(shape[0]):
            content = stream.read(frame_bytes)
            if len(content) != frame_bytes:
                raise EOFError(name)
            frame = np.frombuffer(content, dtype).reshape(shape[1:])
            np.save(temporary / f"{file_name}_{index:05d}.npy", frame)
