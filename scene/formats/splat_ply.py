"""splat_ply: Gaussians as the PLY file of 3DGS viewers, with the properties of Kerbl et al. (SIGGRAPH 2023)."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from plyfile import PlyData, PlyElement, PlyElementParseError, PlyListProperty, PlyParseError

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.progress import Progress

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

_HEADER_LIMIT = 1 << 16
#: number of f_rest properties of spherical harmonics of degree 0 to 3
_REST_COUNTS = (0, 9, 24, 45)
_REQUIRED = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2") + (
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.ply."""
    assert source.gaussians is not None
    save_ply(folder / "gaussians.ply", source.gaussians)


def save_ply(path: Path, gaussians: "Gaussians", *, sh_degree: int = 3) -> None:
    """Writes float vertices `x y z nx ny nz f_dc_* f_rest_* opacity scale_* rot_*`, binary little endian: normals of
    zero, logarithmic scales, opacities before the sigmoid, unit quaternions wxyz, f_rest channel by channel.

    Spherical harmonics are padded with zeros up to `sh_degree`, because some readers require degree 3. The file
    appears whole or not at all.
    """
    import torch

    gaussians = gaussians.with_sh_degree(max(sh_degree, gaussians.sh_degree))
    count = len(gaussians)
    rotations = torch.nn.functional.normalize(gaussians.rotations.detach().cpu(), dim=1)
    coefficients = gaussians.sh_coefficients.detach().cpu()
    rest = coefficients[:, 1:].transpose(1, 2).flatten(1)
    columns = torch.cat(
        [
            gaussians.means.detach().cpu(),
            torch.zeros(count, 3),
            coefficients[:, 0],
            rest,
            gaussians.logit_opacities.detach().cpu()[:, None],
            gaussians.log_scales.detach().cpu(),
            rotations,
        ],
        dim=1,
    )
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{index}" for index in range(rest.shape[1])]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    vertices = columns.contiguous().numpy().astype("<f4", copy=False).view([(name, "<f4") for name in names])[:, 0]
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def load_ply(path: Path) -> "Gaussians":
    """Reads files as of `save_ply`: properties in any order, without normals (gsplat), of degree 0 to 3, or with
    DAS3R's `opacity_ori` and `conf_static`, whose product is the opacity where `opacity` is not finite. Raises
    `InputError` for all other files."""
    import torch

    from scene.gaussians import Gaussians

    path = Path(path)
    vertices = _read_vertices(path)
    names = set(vertices.dtype.names or ())
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise InputError(f"{path} holds no Gaussians: the vertex properties {', '.join(missing)} are missing.")
    rest_count = sum(name.startswith("f_rest_") for name in names)
    if rest_count not in _REST_COUNTS or any(f"f_rest_{index}" not in names for index in range(rest_count)):
        raise InputError(f"{path} has {rest_count} f_rest properties; 0, 9, 24 or 45 are known, numbered from 0.")

    def columns(*wanted: str) -> np.ndarray:
        return np.stack([vertices[name].astype(np.float32) for name in wanted], axis=1)

    count = len(vertices)
    coefficients = np.zeros((count, 1 + rest_count // 3, 3), np.float32)
    coefficients[:, 0] = columns("f_dc_0", "f_dc_1", "f_dc_2")
    if rest_count:
        rest = columns(*(f"f_rest_{index}" for index in range(rest_count)))
        coefficients[:, 1:] = rest.reshape(count, 3, rest_count // 3).transpose(0, 2, 1)
    opacity = vertices["opacity"].astype(np.float32)
    if {"opacity_ori", "conf_static"} <= names:
        product = vertices["conf_static"].astype(np.float64) / (1 + np.exp(-vertices["opacity_ori"].astype(np.float64)))
        product = np.clip(np.nan_to_num(product), 1e-6, 1 - 1e-6)
        opacity = np.where(np.isfinite(opacity), opacity, np.log(product / (1 - product))).astype(np.float32)
    return Gaussians(
        means=torch.from_numpy(columns("x", "y", "z")),
        log_scales=torch.from_numpy(columns("scale_0", "scale_1", "scale_2")),
        rotations=torch.from_numpy(columns("rot_0", "rot_1", "rot_2", "rot_3")),
        logit_opacities=torch.from_numpy(opacity),
        sh_coefficients=torch.from_numpy(coefficients),
    )


def _read_vertices(path: Path) -> np.ndarray:
    """The vertices as a structured array, mapped from the file where it is binary."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_LIMIT).partition(b"end_header")[0]
            size = os.fstat(file.fileno()).st_size
        # an element takes at least a byte; plyfile would allocate memory for any count
        if any(int(count) > size for count in re.findall(rb"element\s+\S+\s+(\d+)", header)):
            raise InputError(f"{path} is cut off: its header declares more elements than the file can hold.")
        ply = PlyData.read(str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except PlyElementParseError as error:
        raise InputError(f"{path} is cut off or damaged: {error}.") from None
    except (PlyParseError, ValueError) as error:
        raise InputError(f"{path} is not a PLY file: {error}.") from None
    if "vertex" not in ply or any(isinstance(item, PlyListProperty) for item in ply["vertex"].properties):
        raise InputError(f"{path} holds no Gaussians: it has no vertices, or vertices with lists.")
    return ply["vertex"].data
