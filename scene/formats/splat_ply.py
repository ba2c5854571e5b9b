"""The PLY file that 3DGS viewers read: Inria's property order, binary little endian, one vertex per Gaussian."""

from pathlib import Path

import numpy as np
import torch

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.gaussians import Gaussians

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2",
    "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4",
    "double": "<f8", "float64": "<f8",
}  # fmt: skip
_HEADER_LIMIT = 1 << 16
#: f_rest properties of degrees 0 to 3
_REST_COUNTS = {0: 0, 9: 1, 24: 2, 45: 3}


def save_ply(path: Path, gaussians: Gaussians, *, sh_degree: int = 3) -> None:
    """Writes `x y z nx ny nz f_dc_* f_rest_* opacity scale_* rot_*`: scales as logarithms, opacity before the sigmoid,
    unit quaternions wxyz, f_rest channel-major (all of red, green, blue).

    Higher harmonics are padded with zeros up to `sh_degree`, because some readers insist on degree 3. The file appears
    whole or not at all.
    """
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
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property float {name}" for name in names]
    header = "\n".join([*lines, "end_header"]) + "\n"
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(header.encode("ascii"))
        file.write(columns.numpy().astype("<f4").tobytes())


def load_ply(path: Path) -> Gaussians:
    """Reads what `save_ply` writes and its relatives: any property order, without normals (gsplat), any degree up to 3,
    and DAS3R's `opacity_ori` and `conf_static`, whose product is the opacity where the stored one is not finite.

    Raises `InputError` for anything that is not such a file.
    """
    path = Path(path)
    vertices = _read_vertices(path)
    names = set(vertices.dtype.names or ())
    required = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
    required += ["rot_0", "rot_1", "rot_2", "rot_3"]
    missing = [name for name in required if name not in names]
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
    """The `vertex` element as a structured array."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER_LIMIT)
            end = head.find(b"end_header")
            body = head.find(b"\n", end) + 1
            if not head.startswith(b"ply") or end < 0 or body == 0:
                raise InputError(f"{path} is not a PLY file.")
            lines = [line.split() for line in head[:end].decode("ascii", "replace").splitlines()]
            count, dtype = _vertex_layout(path, lines)
            size = count * dtype.itemsize
            if path.stat().st_size - body < size:
                raise InputError(f"{path} is cut off: it should hold {count} Gaussians.")
            file.seek(body)
            return np.frombuffer(file.read(size), dtype=dtype)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _vertex_layout(path: Path, lines: list[list[str]]) -> tuple[int, np.dtype]:
    """Number of vertices and their record, from the words of each header line."""
    count = None
    properties: list[tuple[str, str]] = []
    for words in lines:
        if words[:1] == ["format"] and words[1:2] != ["binary_little_endian"]:
            raise InputError(f"{path} is a PLY of another kind; save it as binary_little_endian.")
        if words[:1] == ["element"]:
            if count is not None:
                break
            if len(words) != 3 or words[1] != "vertex" or not words[2].isdigit():
                raise InputError(f"{path} does not begin with the vertices; it is not a PLY of Gaussians.")
            count = int(words[2])
        elif words[:1] == ["property"]:
            if len(words) != 3 or words[1] not in _TYPES:
                raise InputError(f'{path} has a property that Gaussians do not have: "{" ".join(words)}".')
            properties.append((words[2], _TYPES[words[1]]))
    if count is None or not properties or len({name for name, _ in properties}) != len(properties):
        raise InputError(f"{path} is a PLY file without vertices or with repeated properties.")
    return count, np.dtype(properties)
