"""splat_ply: Gaussians as the PLY file of 3DGS viewers, with the properties of Kerbl et al. (SIGGRAPH 2023)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from plyfile import PlyData, PlyElement

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.ply_elements import columns_of, read_ply_elements
from scene.formats.splat_file import splats_of
from scene.progress import Progress
from scene.similarity import Similarity
from scene.splats import Splats, precise_enough

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: comment of models that need the antialiasing filter of Mip-Splatting, as Brush writes and splat-transform reads it
ANTIALIASED_COMMENT = "SplatRenderMode: mip"
#: comment of models whose positions are stored in double precision
FAR_COMMENT = "x y z are double: the scene is too far from the origin for single precision"
#: number of f_rest properties of spherical harmonics of degree 0 to 3
_REST_COUNTS = (0, 9, 24, 45)
_REQUIRED = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2") + (
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.ply."""
    write(folder / "gaussians.ply", splats_of(source), options)


def write(path: Path, splats: Splats, options: ExportOptions) -> None:
    """Writes `splats` without those bands of spherical harmonics that are zero."""
    _write(path, splats.without_zero_bands().finished())


def recognizes(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a PLY file with the vertices of Gaussians."""
    return head.startswith(b"ply") and b"packed_position" not in head


def is_antialiased(comments: list[str]) -> bool:
    """Whether the comments of a PLY file say that the model was trained with the antialiasing filter."""
    return any(comment.strip().lower() == ANTIALIASED_COMMENT.lower() for comment in comments)


def save_ply(path: Path, gaussians: "Gaussians", *, sh_degree: int = 3) -> None:
    """Writes `gaussians` without those bands of spherical harmonics that are zero, but padded with zeros up to
    `sh_degree`: some readers require degree 3. The file appears whole or not at all."""
    splats = Splats.of(gaussians).without_zero_bands()
    _write(path, splats.with_sh_degree(max(sh_degree, splats.sh_degree)))


def load_ply(path: Path, world_from_local: Similarity | None = None) -> "Gaussians":
    """The Gaussians in a file (`read`), in the world or in a local frame (`Splats.gaussians`)."""
    return read(path).gaussians(world_from_local)


def _write(path: Path, splats: Splats) -> None:
    """Writes float vertices `x y z nx ny nz f_dc_* f_rest_* opacity scale_* rot_*`, binary little endian: normals of
    zero, logarithmic scales, opacities before the sigmoid, unit quaternions wxyz, f_rest channel by channel. Of scenes
    that are too far from the origin for single precision, x y z are double, and a comment says so."""
    count, coefficients = len(splats), splats.sh_coefficients
    rest = coefficients[:, 1:].transpose(0, 2, 1).reshape(count, 3 * (coefficients.shape[1] - 1))
    columns = [np.zeros((count, 3)), coefficients[:, 0], rest, splats.logit_opacities[:, None]]
    table = np.concatenate([*columns, splats.log_scales, splats.unit_rotations], axis=1, dtype="<f4")
    names = ["nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{index}" for index in range(rest.shape[1])]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    is_double = splats.means.dtype == np.float64
    kind = "<f8" if is_double else "<f4"
    vertices = np.empty(count, [(name, kind) for name in "xyz"] + [(name, "<f4") for name in names])
    for axis, name in enumerate("xyz"):
        vertices[name] = splats.means[:, axis]
    for column, name in enumerate(names):
        vertices[name] = table[:, column]
    comments = [ANTIALIASED_COMMENT] if splats.antialiased else []
    if is_double:
        comments.append(FAR_COMMENT)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<", comments=comments).write(str(temporary))


def read(path: Path) -> Splats:
    """Reads files as of `write`: properties in any order, without normals (gsplat), of degree 0 to 3, or with
    DAS3R's `opacity_ori` and `conf_static`, whose product is the opacity where `opacity` is not finite. Raises
    `InputError` for all other files."""
    path = Path(path)
    ply = read_ply_elements(path)
    vertices = ply.arrays.get("vertex")
    if vertices is None:
        raise InputError(f"{path} holds no Gaussians: it has no vertices, or vertices with lists.")
    names = set(vertices.dtype.names or ())
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise InputError(f"{path} holds no Gaussians: the vertex properties {', '.join(missing)} are missing.")
    rest_count = sum(name.startswith("f_rest_") for name in names)
    if rest_count not in _REST_COUNTS or any(f"f_rest_{index}" not in names for index in range(rest_count)):
        raise InputError(f"{path} has {rest_count} f_rest properties; 0, 9, 24 or 45 are known, numbered from 0.")

    count = len(vertices)
    coefficients = np.zeros((count, 1 + rest_count // 3, 3), np.float32)
    coefficients[:, 0] = columns_of(vertices, "f_dc_0", "f_dc_1", "f_dc_2")
    if rest_count:
        rest = columns_of(vertices, *(f"f_rest_{index}" for index in range(rest_count)))
        coefficients[:, 1:] = rest.reshape(count, 3, rest_count // 3).transpose(0, 2, 1)
    opacity = columns_of(vertices, "opacity")[:, 0]
    if {"opacity_ori", "conf_static"} <= names:
        product = vertices["conf_static"].astype(np.float64) / (1 + np.exp(-vertices["opacity_ori"].astype(np.float64)))
        product = np.clip(np.nan_to_num(product), 1e-6, 1 - 1e-6)
        opacity = np.where(np.isfinite(opacity), opacity, np.log(product / (1 - product))).astype(np.float32)
    log_scales = columns_of(vertices, "scale_0", "scale_1", "scale_2")
    return Splats(
        means=precise_enough(np.stack([vertices[name] for name in "xyz"], axis=1), log_scales),
        log_scales=log_scales,
        rotations=columns_of(vertices, "rot_0", "rot_1", "rot_2", "rot_3"),
        logit_opacities=opacity,
        sh_coefficients=coefficients,
        antialiased=is_antialiased(ply.comments),
    )
