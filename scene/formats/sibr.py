"""The files beside a model by which the viewers of 3DGS (Kerbl et al., SIGGRAPH 2023) open it.

cameras.json   a list: id, img_name, width, height, position, rotation (world_from_camera), fy, fx
cfg_args       the arguments of the training, in the notation of Python's argparse

The principal point, for which that list has no place, stands beside it as cx and cy; other readers pass over it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import read_json_list, write_json
from scene.files.text import finite_array
from scene.formats.checked_camera import checked_camera, checked_size
from scene.rotations import affine_matrix


def write_sibr_cameras(path: str | Path, names: Sequence[str], cameras: Sequence[Camera]) -> None:
    """Writes a cameras.json with `cameras` of the images `names`."""
    entries = [
        {
            "id": index,
            "img_name": str(Path(name).with_suffix("")),
            "width": camera.width,
            "height": camera.height,
            "position": camera.center,
            "rotation": camera.world_from_camera[:3, :3],
            "fy": camera.fy,
            "fx": camera.fx,
            "cx": camera.cx,
            "cy": camera.cy,
        }
        for index, (name, camera) in enumerate(zip(names, cameras, strict=True))
    ]
    write_json(path, entries)


def read_sibr_cameras(path: str | Path) -> list[Camera]:
    """The cameras of a cameras.json of 3DGS, in its order. Raises `InputError` for damaged files."""
    path = Path(path)
    entries = read_json_list(path)
    if not entries:
        raise InputError(f"{path} has no cameras; restore the file.")
    return [_camera(path, index, entry) for index, entry in enumerate(entries)]


def _camera(path: Path, index: int, entry: Any) -> Camera:
    of = f"camera {index}"
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {of} is no JSON object; the file is damaged.")
    width, height = checked_size([entry.get("width"), entry.get("height")], of, path)
    rotation = finite_array(entry.get("rotation"), (3, 3), f"the rotation of {of}", path)
    position = finite_array(entry.get("position"), (3,), f"the position of {of}", path)
    intrinsics = [entry.get("fx"), entry.get("fy"), entry.get("cx", width / 2), entry.get("cy", height / 2)]
    return checked_camera(path, of, [width, height], intrinsics, affine_matrix(rotation, position))


def write_cfg_args(path: str | Path, model: str | Path, source: str | Path, *, sh_degree: int) -> None:
    """Writes a cfg_args: the model is in the folder `model`, its cameras and images in the folder `source`."""
    arguments = {
        "sh_degree": sh_degree,
        "source_path": str(Path(source).expanduser().absolute()),
        "model_path": str(Path(model).expanduser().absolute()),
        "images": "images",
        "resolution": -1,
        "white_background": False,
        "data_device": "cuda",
        "eval": False,
    }
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    with atomic_file(path) as temporary:
        temporary.write_text(f"Namespace({text})", "utf-8", errors="surrogateescape")


def is_list_of_cameras(path: Path) -> bool:
    """Whether a cameras.json is a list, as those of 3DGS are."""
    try:
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    except OSError:
        return False


def check_cameras(path: Path, cameras: Sequence[Camera], count: int, width: int, height: int) -> None:
    """Raises `InputError` unless there are `count` cameras of this size."""
    if len(cameras) != count:
        raise InputError(f"{path} has {len(cameras)} cameras for {count} frames; the model is inconsistent.")
    if any((camera.width, camera.height) != (width, height) for camera in cameras):
        raise InputError(f"{path} has cameras of another size than the frames; the model is inconsistent.")
