"""The table of formats, and the one function that writes them.

A format is one file in this folder and one row here. `docs/exports.md` has the recipe.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.formats import (
    chan,
    colmap,
    compressed_ply,
    das3r,
    depth_vis,
    feat_vis,
    glb,
    gs_ply,
    gs_video,
    nerfstudio,
    npz,
    ply,
    poses_npz,
    splat,
    splat_glb,
    splat_ply,
    spz,
    tum,
)
from scene.formats.exportable import Exportable, HasExportable, Need
from scene.formats.options import ExportOptions
from scene.formats.splat_file import SplatFile
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: results of every predictor with cameras; an optimization adds "gaussians"
SCENE: frozenset[Need] = frozenset({"images", "cameras", "depth", "points"})
#: results that only a clip that is predicted as a whole has
OF_ONE_PREDICTION: frozenset[Need] = frozenset({"gaussians", "pixel_gaussians", "features"})

_WORDS: dict[Need, str] = {
    "images": "images",
    "cameras": "cameras",
    "depth": "depth",
    "points": "points",
    "gaussians": "Gaussians",
    "pixel_gaussians": "one Gaussian per pixel",
    "features": "features of a network",
}


@dataclass(frozen=True)
class Format:
    """One row of the table."""

    name: str
    #: one line for people
    description: str
    #: files and folders that it writes, relative to the output folder
    writes: str
    #: results without which it cannot be written
    needs: tuple[Need, ...]
    #: writes the files, each whole or not at all, in place of earlier ones
    write: Callable[[Exportable, Path, ExportOptions, Progress], None]
    #: `stillsplat poses` writes it in any case
    for_camera_paths: bool = False
    #: whether a folder is a scene of this format, and its reader, which raises `InputError` for damaged files; None:
    #: the format cannot be read as a scene
    recognizes: Callable[[Path], bool] | None = None
    read: Callable[[Path], Scene] | None = None
    #: for formats of Gaussians: their files, which `stillsplat convert` reads and writes
    splat_file: SplatFile | None = None


_FORMATS: dict[str, Format] = {}


def register(row: Format) -> None:
    """Adds a format. Raises `ValueError` for a name that is taken, or that holds other characters than a-z, 0-9 and _
    (names are joined by "," or "-")."""
    if row.name in _FORMATS or not re.fullmatch(r"[a-z0-9_]+", row.name):
        raise ValueError(f"{row.name!r} is no free name for a format")
    _FORMATS[row.name] = row


def formats() -> dict[str, Format]:
    """All formats by name, in the order of the table."""
    return dict(_FORMATS)


def format_of_scene(folder: str | Path) -> Format | None:
    """The format that `folder` is a scene of; None for other folders."""
    rows = (row for row in _FORMATS.values() if row.recognizes is not None and row.recognizes(Path(folder)))
    return next(rows, None)


def format_names(names: str | Sequence[str]) -> list[str]:
    """The names in a list or text ("glb,tum" or "glb-tum"), each once. Raises `InputError` for none or unknown ones."""
    parts = re.split(r"[,-]", names) if isinstance(names, str) else names
    unique = list(dict.fromkeys(part.strip() for part in parts))
    for name in unique:
        if name not in _FORMATS:
            raise InputError(f'There is no export format "{name}"; choose from: {", ".join(_FORMATS)}.')
    if not unique:
        raise InputError(f"No export format was given; choose from: {', '.join(_FORMATS)}.")
    return unique


def needs_of(names: Iterable[str]) -> set[Need]:
    """What the formats called `names` need together."""
    return {need for name in names for need in _FORMATS[name].needs}


def check_formats(names: str | Sequence[str], available: Collection[Need]) -> list[str]:
    """The names (`format_names`) of formats that can all be written from `available` results. Raises `InputError`
    otherwise, so that a command can refuse before its work begins."""
    checked = format_names(names)
    for name in checked:
        missing = [_WORDS[need] for need in _FORMATS[name].needs if need not in available]
        if missing:
            possible = [row.name for row in _FORMATS.values() if set(row.needs) <= set(available)]
            raise InputError(
                f"The format {name} needs {' and '.join(missing)}, which this result does not have; "
                f"choose from: {', '.join(possible)}."
            )
    return checked


def export(
    source: Scene | HasExportable,
    folder: str | Path,
    names: str | Sequence[str],
    options: ExportOptions | None = None,
    *,
    progress: Progress = ignore_progress,
) -> None:
    """Writes a result into `folder` in each of the formats `names` ("glb,nerfstudio"), in place of earlier exports.

    `source`: a scene, or any result with a method `exportable`. Raises `InputError` before anything is written for an
    unknown format, for one that the result has no data for, and when `folder` is a file.
    """
    if isinstance(source, Scene):
        exportable = source if isinstance(source, Exportable) else Exportable.of_scene(source)
    else:
        exportable = source.exportable()
    folder, options = Path(folder), options or ExportOptions()
    checked = check_formats(names, exportable.available())
    check_export_folder(folder)
    for name in checked:
        try:
            _FORMATS[name].write(exportable, folder, options, progress)
        except OSError as error:
            raise writing_error(folder, error) from error


def check_export_folder(folder: Path) -> None:
    """Raises `InputError` when `folder` exists and is not a folder."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} exists and is not a folder; choose another place for the exports.")


def _splats(name: str, description: str, suffix: str, module: Any) -> Format:
    """The row of a format of Gaussians that is read, too."""
    file = SplatFile(suffix, module.write, module.recognizes, module.read)
    return Format(name, description, f"gaussians{suffix}", ("gaussians",), module.export, splat_file=file)


_POSES = ("cameras", "images")
_POINTS = ("cameras", "points")
_DEPTH = ("images", "depth")

for _row in (
    Format("mini_npz", "depth, confidence and cameras", "exports/mini_npz/results.npz", ("depth",), npz.export_mini),
    Format("npz", "mini_npz with the images", "exports/npz/results.npz", _DEPTH, npz.export),
    Format("glb", "points, cameras as pyramids, and their path", "scene.glb", _POINTS, glb.export, True),
    Format("glb_cameras", "glb without points", "camera_poses.glb", _POINTS, glb.export_cameras, True),
    Format("ply", "points with colors", "points.ply", ("points",), ply.export, True),
    Format("colmap", "COLMAP model with tracks, .bin and .txt", "cameras, images, points3D", _POINTS, colmap.export),
    Format(
        "nerfstudio",
        "cameras, frames, masks, points",
        "transforms.json, images/, masks/, points.ply",
        _POSES,
        nerfstudio.export,
        True,
    ),
    Format("chan", "cameras for compositing programs", "cameras.chan", ("cameras",), chan.export),
    Format("tum", "trajectory of the TUM RGB-D benchmark", "trajectory.txt", _POSES, tum.export),
    Format("poses_npz", "cameras and times as arrays", "poses.npz", _POSES, poses_npz.export, True),
    Format(
        "das3r",
        "files of DAS3R's predictor",
        "das3r/",
        ("cameras", *_DEPTH),
        das3r.export,
        recognizes=das3r.is_das3r,
        read=das3r.read_das3r,
    ),
    Format("depth_vis", "images beside their depth in color", "depth_vis/", _DEPTH, depth_vis.export),
    Format("feat_vis", "features of a network in color", "feat_vis/", ("images", "features"), feat_vis.export),
    _splats("splat_ply", "Gaussians for 3DGS viewers", ".ply", splat_ply),
    _splats("compressed_ply", "Gaussians, packed by PlayCanvas's rules", ".compressed.ply", compressed_ply),
    _splats("splat", "Gaussians of one color each, packed", ".splat", splat),
    _splats("spz", "Gaussians, packed by Niantic's rules", ".spz", spz),
    _splats("splat_glb", "Gaussians in glTF", ".glb", splat_glb),
    Format("gs_ply", "Gaussians, trimmed", "gs_ply/0000.ply", ("pixel_gaussians", "depth"), gs_ply.export),
    Format("gs_video", "video of Gaussians", "gs_video/0000_PATH.mp4", ("gaussians", "cameras"), gs_video.export),
):
    register(_row)
