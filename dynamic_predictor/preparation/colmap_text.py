"""Cameras and poses of COLMAP models in text, with any camera model; the points are not needed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import read_text
from scene.rotations import affine_matrix, rotation_from_quaternion


@dataclass(frozen=True)
class ColmapImage:
    """`model` with `parameters` in COLMAP's order, in pixels of `width` x `height`; pose (4, 4)."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]
    camera_from_world: np.ndarray


def read_colmap_text(folder: Path) -> dict[str, ColmapImage]:
    """The images of cameras.txt and images.txt in `folder`, by name."""
    cameras: dict[str, tuple[str, int, int, tuple[float, ...]]] = {}
    path = folder / "cameras.txt"
    try:
        for words in _rows(path):
            if words:
                cameras[words[0]] = words[1], int(words[2]), int(words[3]), tuple(float(word) for word in words[4:])
        path = folder / "images.txt"
        images = {}
        # every second line lists observations, and may be empty
        for words in _rows(path)[::2]:
            if words:
                quaternion, translation = np.split(np.array([float(word) for word in words[1:8]]), [4])
                pose = affine_matrix(rotation_from_quaternion(quaternion), translation)
                images[" ".join(words[9:])] = ColmapImage(*cameras[words[8]], pose)
    except (IndexError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be understood; it is damaged or of another version.") from error
    return images


def _rows(path: Path) -> list[list[str]]:
    lines = [line.split() for line in read_text(path).splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        lines = lines[1:]
    return lines
