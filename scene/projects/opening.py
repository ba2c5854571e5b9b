"""Opens the projects of COLMAP and nerfstudio as scenes: which folders are some, and what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from scene.errors import InputError
from scene.folder import is_scene
from scene.formats.colmap_reader import holds_colmap, read_colmap
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.ply_elements import read_ply_elements
from scene.frame_files import relative_path
from scene.frames import natural_order
from scene.images import IMAGE_SUFFIXES, fitted_size
from scene.projects.views import ProjectFrames, ProjectView, common_size
from scene.scene import PointCloud, Scene

#: where a project of COLMAP has its model
_MODELS = ("sparse/0", "sparse", ".")
#: where it has its images, the first that is there
IMAGE_FOLDERS = ("images", "images_2", "images_4", "images_8", "input")
#: what the files of nerfstudio and of its predecessors are called
_TRANSFORMS = ("transforms.json", "transforms_train.json")
#: the suffix of an image that transforms.json names without one
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")


@dataclass(frozen=True)
class ProjectChoice:
    """What is taken of a project."""

    #: the long side of the frames in pixels, at most; None: as the images are
    max_size: int | None = None
    #: which images, in the order of their names; None: all
    frames: slice | None = None
    max_frames: int | None = None
    #: the folder of the images of a COLMAP project, in the project; None: the first of `IMAGE_FOLDERS`
    images: str | None = None


def is_project(folder: str | Path) -> bool:
    """Whether `folder` is a project of COLMAP or nerfstudio, and no scene (`is_scene`); it may be damaged."""
    folder = Path(folder).expanduser()
    if is_scene(folder):
        return False
    return _transforms(folder) is not None or _colmap_model(folder) is not None


def open_project(folder: str | Path, choice: ProjectChoice | None = None) -> Scene:
    """The project in `folder` as a scene: frames without lens distortion, cameras, and what else there is of points,
    masks and depth. Images are read when used.

    `provenance` says under "given" what was there, and under "image_names" how the project calls the frames. Raises
    `InputError` for what is missing, damaged or inconsistent.
    """
    folder, choice = Path(folder).expanduser(), choice or ProjectChoice()
    transforms = _transforms(folder)
    if transforms is not None:
        if choice.images is not None:
            raise InputError(f"{transforms} names its images itself; leave out --images.")
        return _of_nerfstudio(folder, transforms, choice)
    model = _colmap_model(folder)
    if model is None:
        raise InputError(f"{folder} is no project of COLMAP or nerfstudio.")
    return _of_colmap(folder, model, choice)


def _transforms(folder: Path) -> Path | None:
    return next((folder / name for name in _TRANSFORMS if (folder / name).is_file()), None)


def _colmap_model(folder: Path) -> Path | None:
    if not folder.is_dir() or not any((folder / name).is_dir() for name in IMAGE_FOLDERS):
        return None
    return next((folder / name for name in _MODELS if holds_colmap(folder / name)), None)


def _of_colmap(folder: Path, model_folder: Path, choice: ProjectChoice) -> Scene:
    model = read_colmap(model_folder, distorted=True, without_points=True)
    if not model.names:
        raise InputError(f"{model_folder} has no images; reconstruct the project with COLMAP first.")
    if len(set(model.names)) < len(model.names):
        raise InputError(f"{model_folder} names an image twice; the model is damaged.")
    given = IMAGE_FOLDERS if choice.images is None else (choice.images,)
    images = next((folder / name for name in given if (folder / name).is_dir()), None)
    if images is None:
        raise InputError(f"{folder} has no folder {given[0]} with the images of the project.")
    views = [
        ProjectView(name, _image(images, name), lens, camera.world_from_camera, _colmap_mask(folder, name))
        for name, lens, camera in zip(model.names, model.lenses, model.cameras, strict=True)
    ]
    points = model.points if len(model.points.positions) else None
    return _scene("colmap", views, points, None, choice)


def _image(folder: Path, name: str) -> Path:
    """The file of the image `name`; where the folders of the name are not there, the only file with its last part."""
    path = folder / relative_path(name)
    if path.is_file():
        return path
    if len(path.relative_to(folder).parts) > 1 and (folder / path.name).is_file():
        return folder / path.name
    raise InputError(f"{path} is missing; the project names it.")


def _colmap_mask(folder: Path, name: str) -> Path | None:
    """The mask of an image in masks/, named as COLMAP does; None without one."""
    relative = relative_path(name)
    candidates = (folder / "masks" / f"{relative}.png", folder / "masks" / relative.with_suffix(".png"))
    return next((path for path in candidates if path.is_file()), None)


def _of_nerfstudio(folder: Path, path: Path, choice: ProjectChoice) -> Scene:
    model = read_nerfstudio(path, distorted=True)
    views = []
    for index, file_path in enumerate(model.file_paths):
        views.append(
            ProjectView(
                _name_of(file_path),
                _named(path, file_path),
                model.lenses[index],
                model.cameras[index].world_from_camera,
                _named(path, model.mask_paths[index]) if model.mask_paths else None,
                _named(path, model.depth_paths[index]) if model.depth_paths else None,
            )
        )
    if len({view.image for view in views}) < len(views):
        raise InputError(f"{path} names an image twice; leave one of them out.")
    points = None if model.ply_file_path is None else read_points(_named(path, model.ply_file_path))
    return _scene("nerfstudio", views, points, model.depth_unit, choice)


def _named(path: Path, file_path: str) -> Path:
    """The file that transforms.json names, relative to its folder."""
    plain = file_path.replace("\\", "/")
    for suffix in _SUFFIXES:
        candidate = path.parent / f"{plain}{suffix}"
        if candidate.is_file():
            return candidate
    raise InputError(f"{path.parent / plain} is missing; {path} names it.")


def _name_of(file_path: str) -> str:
    """The name of an image without the folder that all images of a project are in."""
    parts = relative_path(file_path).parts
    name = str(PurePosixPath(*(parts[1:] if len(parts) > 1 and parts[0] in IMAGE_FOLDERS else parts)))
    return name if Path(name).suffix.lower() in IMAGE_SUFFIXES else f"{name}.png"


def _scene(
    kind: str, views: Sequence[ProjectView], points: PointCloud | None, unit: float | None, choice: ProjectChoice
) -> Scene:
    views = sorted(views, key=lambda view: natural_order(view.name))
    positions = list(range(len(views)))[choice.frames or slice(None)][: choice.max_frames]
    views = [views[position] for position in positions]
    if len(views) < 2:
        raise InputError(f"The project has {len(views)} images here; a scene needs two or more.")
    image_size = common_size(views)
    frames = ProjectFrames(views, fitted_size(*image_size, choice.max_size))
    masks = frames.motion_masks()
    z_depths = None if unit is None else frames.z_depths(unit)
    present = {"cameras": True, "points": points is not None, "masks": masks is not None, "depth": z_depths is not None}
    distorted = sum(not view.lens.is_pinhole for view in views)
    return Scene(
        frames=frames,
        cameras=frames.cameras(),
        motion_masks=masks,
        z_depths=z_depths,
        points=points,
        observed=frames.observed(),
        predictor=kind,
        provenance={
            "given": [name for name, is_there in present.items() if is_there],
            "source_frames": positions,
            "image_names": [view.name for view in views],
            # of images that were undistorted, there are none of that size
            **({"undistorted_images": distorted} if distorted else {"image_size": list(image_size)}),
            **({"masks": "given by the project"} if masks is not None else {}),
        },
    )


def read_points(path: Path) -> PointCloud | None:
    """The points of a PLY file with x, y and z; gray without red, green and blue. None where there are none. Raises
    `InputError` for damaged files."""
    vertices = read_ply_elements(path).arrays.get("vertex")
    names = set() if vertices is None else set(vertices.dtype.names or ())
    if vertices is None or not {"x", "y", "z"} <= names:
        raise InputError(f"{path} has no vertices with x, y and z.")
    positions = np.stack([vertices[name].astype(np.float64) for name in "xyz"], axis=1)
    colors = np.full((len(positions), 3), 128, np.uint8)
    if {"red", "green", "blue"} <= names:
        channels = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=1)
        scale = 255.0 if channels.dtype.kind == "f" else 1.0
        colors = np.clip(np.nan_to_num(channels * scale), 0, 255).astype(np.uint8)
    finite = (np.abs(positions) < 1e30).all(axis=1)
    return PointCloud(positions[finite], colors[finite]) if finite.any() else None
