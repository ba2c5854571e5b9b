"""Raw folders of single objects: CO3Dv2, WildRGB-D, OmniObject3D."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.evaluation.datasets.depth_files import read_depth_image
from dynamic_predictor.preparation.frames import RawFrame, centered, covering, measured, pinhole
from dynamic_predictor.preparation.running import SceneRecord
from dynamic_predictor.preparation.videos import folders_with
from dynamic_predictor.training.datasets.array_formats import read_exr
from dynamic_predictor.training.datasets.frame_files import read_mask
from dynamic_predictor.training.datasets.listing import SELECTED_FILE
from scene.errors import InputError
from scene.files.json_files import parse_json, read_json, write_json
from scene.files.text import check_file, finite_array, read_rows
from scene.images import read_image
from scene.media.image_header import stored_values

#: as in the published preparation: sequences per category, quality of the cameras, frames per sequence of WildRGB-D
_SEQUENCES, _LEAST_QUALITY, _WILD_FRAMES = 50, 0.5, 100
#: the short and the long side are at least so large
_SHORT_SIDE, _LONG_SIDE = 384, 512
_MAX_JSON_BYTES = 8 << 30
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
#: Blender's depth where there is nothing
_NO_SURFACE = 65504.0


def write_selected(raw: Path, out: Path, records: Sequence[SceneRecord]) -> None:
    """The list {category: {scene: [numbers of frames]}} of CO3D and WildRGB-D."""
    selected: dict[str, dict[str, list[int]]] = {}
    for record in records:
        category, name = record.scene.split("/", 1)
        selected.setdefault(category, {})[name] = [int(frame.removeprefix("frame")) for frame in record.frames]
    write_json(out / SELECTED_FILE, selected)


def co3d_scenes(raw: Path) -> list[str]:
    """The sequences of the training lists with well-estimated cameras, 50 per category at random."""
    scenes = []
    for category in folders_with(raw, "*", "frame_annotations.jgz"):
        good = {
            entry["sequence_name"]
            for entry in _read_annotations(raw / category / "sequence_annotations.jgz")
            if (entry.get("viewpoint_quality_score") or 0.0) > _LEAST_QUALITY
        }
        names = sorted(good & set(_co3d_lists(raw / category)))
        generator = np.random.default_rng(list(category.encode()))
        chosen = generator.choice(names, min(_SEQUENCES, len(names)), replace=False) if names else []
        scenes += [f"{category}/{name}" for name in chosen]
    return scenes


def co3d_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """frame_annotations.jgz has cameras in the conventions of PyTorch3D (x left, y up, row vectors, focal lengths and
    principal points in units of half the short side); depth is stored as half-precision bits in 16-bit images."""
    category, sequence = scene.split("/")
    annotations = _co3d_frames_of(raw / category / "frame_annotations.jgz")[sequence]
    for number, path in sorted(_co3d_lists(raw / category)[sequence]):
        entry = annotations[number]
        image = read_image(raw / path)
        stored = read_depth_image(raw / entry["depth"]["path"], 1.0).astype(np.uint16)
        z_depth = stored.view(np.float16).astype(np.float32) * np.float32(entry["depth"].get("scale_adjustment", 1.0))
        intrinsics, pose = _pytorch3d_camera(entry["viewpoint"], image.shape[:2], raw / path)
        mask = read_mask(raw / path.replace("images/", "masks/").replace(".jpg", ".png"), z_depth.shape)
        frame = RawFrame(Path(path).stem, image, measured(z_depth), intrinsics, pose, object_mask=mask)
        yield _for_training(centered(frame))


def _pytorch3d_camera(viewpoint: dict[str, Any], shape: tuple[int, int], path: Path) -> tuple[np.ndarray, np.ndarray]:
    rotation = finite_array(viewpoint["R"], (3, 3), "R", path)
    translation = finite_array(viewpoint["T"], (3,), "T", path)
    focal = finite_array(viewpoint["focal_length"], (2,), "focal_length", path)
    principal = finite_array(viewpoint["principal_point"], (2,), "principal_point", path)
    half = np.array(shape[::-1]) / 2
    # "ndc_norm_image_bounds" has each axis in units of half its own side
    unit = half if viewpoint.get("intrinsics_format") == "ndc_norm_image_bounds" else np.full(2, half.min())
    camera_from_world = np.eye(4)
    signs = np.array([-1.0, -1.0, 1.0])
    camera_from_world[:3, :3], camera_from_world[:3, 3] = signs[:, None] * rotation.T, signs * translation
    return pinhole(*(focal * unit), *(half - principal * unit)), np.linalg.inv(camera_from_world)


def _for_training(frame: RawFrame) -> RawFrame:
    rows, columns = frame.z_depth.shape
    scale = max(_SHORT_SIDE / min(rows, columns), _LONG_SIDE / max(rows, columns))
    return covering(frame, round(columns * scale), round(rows * scale))


@lru_cache(maxsize=2)
def _co3d_lists(category: Path) -> dict[str, list[tuple[int, str]]]:
    """(number, path of the image) of the frames for training, by sequence."""
    lists: dict[str, list[tuple[int, str]]] = {}
    for path in sorted((category / "set_lists").glob("*fewview_train*.json")):
        for name, number, image in read_json(path).get("train", []):
            lists.setdefault(str(name), []).append((int(number), str(image)))
    return lists


@lru_cache(maxsize=1)
def _co3d_frames_of(path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    frames: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in _read_annotations(path):
        frames.setdefault(entry["sequence_name"], {})[entry["frame_number"]] = entry
    return frames


def _read_annotations(path: Path) -> list[dict[str, Any]]:
    check_file(path)
    try:
        with gzip.open(path, "rb") as stream:
            text = stream.read(_MAX_JSON_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged and cannot be read; download it again.") from error
    entries = parse_json(text, str(path))
    if not isinstance(entries, list):
        raise InputError(f"{path} does not hold a list of annotations; download it again.")
    return entries


def wildrgbd_scenes(raw: Path) -> list[str]:
    """The scenes that are for training in both lists of their category, 50 per category at random."""
    scenes = []
    for category in folders_with(raw, "*", "scenes"):
        lists = [read_json(raw / category / name) for name in ("camera_eval_list.json", "nvs_list.json")]
        names = sorted(set.intersection(*(set(entry.get("train", [])) for entry in lists)))
        names = [name for name in names if (raw / category / name).is_dir()]
        generator = np.random.default_rng(list(category.encode()))
        chosen = generator.choice(names, min(_SEQUENCES, len(names)), replace=False) if names else []
        scenes += [f"{category}/{name}" for name in chosen]
    return scenes


def wildrgbd_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """rgb, depth (millimeters), masks, metadata (JSON; K by columns) and cam_poses.txt (number, world from camera)."""
    folder = raw / scene
    metadata = read_json(folder / "metadata")
    matrix = finite_array(metadata.get("K"), (9,), "K", folder / "metadata").reshape(3, 3).T
    poses = read_rows(folder / "cam_poses.txt", 17)
    chosen = np.unique(np.rint(np.linspace(0, len(poses) - 1, _WILD_FRAMES)).astype(int))
    for row in poses[chosen]:
        name = f"{int(row[0]):05d}"
        z_depth = measured(read_depth_image(folder / "depth" / f"{name}.png", 1000))
        yield _for_training(
            centered(
                RawFrame(
                    name,
                    read_image(folder / "rgb" / f"{name}.png"),
                    z_depth,
                    pinhole(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], centers=0.0),
                    row[1:].reshape(4, 4),
                    object_mask=read_mask(folder / "masks" / f"{name}.png", z_depth.shape),
                )
            )
        )


def omniobject3d_scenes(raw: Path) -> list[str]:
    return folders_with(raw, "*", "render/transforms.json")


def omniobject3d_frames(raw: Path, scene: str) -> Iterator[RawFrame]:
    """render with images, depths (OpenEXR) and transforms.json, a camera of Blender; what is transparent is white."""
    folder = raw / scene / "render"
    path = folder / "transforms.json"
    transforms = read_json(path)
    angle = float(finite_array([transforms.get("camera_angle_x")], (1,), "camera_angle_x", path)[0])
    for entry in transforms.get("frames", []):
        name = Path(str(entry.get("file_path"))).name
        pose = finite_array(entry.get("transform_matrix"), (4, 4), "transform_matrix", path)
        image = _on_white(folder / "images" / f"{name}.png")
        height, width = image.shape[:2]
        focal = width / 2 / np.tan(angle / 2)
        z_depth = read_exr(folder / "depths" / f"{name}_depth.exr")
        z_depth = measured(np.where(z_depth >= _NO_SURFACE, 0, z_depth))
        yield RawFrame(name, image, z_depth, pinhole(focal, focal, width / 2, height / 2), pose @ _FLIP)


def write_scales(raw: Path, out: Path, records: Sequence[SceneRecord]) -> None:
    """scale.json: the published scales where `raw` has them; 0.001 keeps the unit of the raw poses."""
    known = read_json(raw / "scale.json") if (raw / "scale.json").is_file() else {}
    write_json(out / "scale.json", {record.scene: known.get(record.scene, 0.001) for record in records})


def _on_white(path: Path) -> np.ndarray:
    pixels = stored_values(path)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return read_image(path)
    image = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    image[pixels[..., 3] == 0] = 255
    return image
