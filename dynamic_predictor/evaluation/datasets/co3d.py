"""CO3Dv2 (Reizenstein et al., ICCV 2021): turns around objects with cameras of COLMAP, as VGGT's and StreamVGGT's pose
evaluations read it.

co3d_v2/<category>/<sequence>/images/frame000001.jpg, and co3d_v2_annotations/<category>_test.jgz with the cameras of
the test sequences, as written by data/prepare_co3d.py. Ten images of each sequence are drawn at random.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.files.json_files import parse_json
from scene.files.text import check_file

#: the categories of published figures
CATEGORIES = (
    "apple", "backpack", "banana", "baseballbat", "baseballglove", "bench", "bicycle", "bottle", "bowl", "broccoli",
    "cake", "car", "carrot", "cellphone", "chair", "cup", "donut", "hairdryer", "handbag", "hydrant", "keyboard",
    "laptop", "microwave", "motorcycle", "mouse", "orange", "parkingmeter", "pizza", "plant", "stopsign", "teddybear",
    "toaster", "toilet", "toybus", "toyplane", "toytrain", "toytruck", "tv", "umbrella", "vase", "wineglass",
)  # fmt: skip
IMAGE_FOLDER, ANNOTATION_FOLDER = "co3d_v2", "co3d_v2_annotations"
#: images that are drawn of each sequence; shorter sequences are left out
DRAWN_IMAGES, _SHORTEST = 10, 50
#: a sequence with a larger sum of a camera's translation is left out, since its reconstruction failed
_LARGEST_TRANSLATION = 1e5
#: of an unpacked annotation file
_MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class Co3dSequence:
    """The drawn images of a sequence `category/sequence`, in the order of the draw, and their cameras (N, 4, 4)."""

    name: str
    images: list[Path]
    camera_from_world: np.ndarray

    @property
    def category(self) -> str:
        return self.name.split("/")[0]


def draw_sequences(
    data_folder: Path, *, count: int = DRAWN_IMAGES, seed: int = 0
) -> tuple[list[Co3dSequence], dict[str, str]]:
    """The drawn images of all test sequences on the disk, and why others are left out, by name.

    As in the official evaluation, one generator draws for all categories and sequences in alphabetical order, so the
    images of a sequence do not depend on which of them are evaluated, only on which annotations are there. Raises
    `InputError` when there are none, or a file is damaged.
    """
    folder, annotations = data_folder / IMAGE_FOLDER, data_folder / ANNOTATION_FOLDER
    if not folder.is_dir():
        raise InputError(
            f"CO3Dv2 is not in {folder}; get it: https://github.com/facebookresearch/co3d, then run "
            f"python data/prepare_co3d.py --folder {data_folder}."
        )
    generator = np.random.RandomState(seed)
    sequences: list[Co3dSequence] = []
    left_out: dict[str, str] = {}
    for category in CATEGORIES:
        path = annotations / f"{category}_test.jgz"
        if not path.is_file():
            continue
        content = read_jgz(path)
        for name in sorted(content):
            title = f"{category}/{name}"
            reason, matrices, files = _cameras(path, content[name])
            if reason is None and len(files) < max(_SHORTEST, count):
                reason = f"{len(files)} images, fewer than {max(_SHORTEST, count)}"
            if reason is not None:
                left_out[title] = reason
                continue
            chosen = generator.choice(len(files), count, replace=False)
            images = [folder / files[index] for index in chosen]
            sequences.append(Co3dSequence(title, images, matrices[chosen]))
    if not sequences and not left_out:
        raise InputError(
            f"{annotations} holds no annotations of test sequences; make them: python data/prepare_co3d.py --folder "
            f"{data_folder}."
        )
    return sequences, left_out


def read_jgz(path: Path) -> Any:
    """The content of a gzip-compressed JSON file. Raises `InputError` for a missing, damaged or far too large one."""
    check_file(path)
    try:
        with gzip.open(path, "rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise InputError(f"{path} unpacks to more than {_MAX_BYTES >> 30} GiB; check the file.")
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{path} is damaged or no compressed JSON; make it again.") from None
    return parse_json(text, str(path))


def opencv_camera(rotation: Any, translation: Any) -> np.ndarray:
    """camera_from_world (4, 4) with OpenCV's axes from PyTorch3D's R (3, 3) and T (3,): there, points are rows times R,
    x points left and y up."""
    matrix = np.eye(4)
    flip = np.diag([-1.0, -1.0, 1.0])
    matrix[:3, :3] = flip @ np.asarray(rotation, np.float64).T
    matrix[:3, 3] = flip @ np.asarray(translation, np.float64)
    return matrix


def _cameras(path: Path, frames: Any) -> tuple[str | None, np.ndarray, list[str]]:
    """Why a sequence is left out or None, its cameras (N, 4, 4) and the paths of its images."""
    try:
        for frame in frames:
            if sum(float(value) for value in frame["T"]) > _LARGEST_TRANSLATION:
                return "a camera is too far away", np.zeros((0, 4, 4)), []
        matrices = np.array([opencv_camera(frame["R"], frame["T"]) for frame in frames]).reshape(-1, 4, 4)
        files = [str(frame["filepath"]) for frame in frames]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} has a camera without filepath, R (3x3) or T (3); make it again.") from None
    if any(Path(file).is_absolute() or ".." in Path(file).parts for file in files):
        raise InputError(f"{path} has a path outside the data set; make it again.")
    return None, matrices, files
