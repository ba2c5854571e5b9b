"""splat_glb: Gaussians in binary glTF with Khronos' extension KHR_gaussian_splatting.

Each property is an attribute of a primitive of points: position, rotation xyzw, linear scale, opacity in [0, 1], and
the coefficients of spherical harmonics; COLOR_0 is what viewers without the extension show. Axes are glTF's: x right,
y up, z backward.
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import parse_json
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.splat_file import FLIP_Y_AND_Z, read_bytes, splats_of
from scene.progress import Progress
from scene.rotations import affine_matrix, is_rigid, rotation_from_quaternion
from scene.similarity import Similarity
from scene.spherical_harmonics import SH_CONSTANT
from scene.splats import Splats, joined, log_of_scale, logit_of

_NAME = "KHR_gaussian_splatting"
_COLOR_SPACE = "srgb_rec709_display"
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_FLOAT, _POINTS, _ARRAY_BUFFER = 5126, 0, 34962
#: component types of glTF
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_MAX_BYTES = (1 << 32) - 1
_MAX_JSON_BYTES, _MAX_NODES = 64 << 20, 100_000


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.glb."""
    write(folder / "gaussians.glb", splats_of(source), options)


def write(path: Path, splats: Splats, options: ExportOptions) -> None:
    """Writes `splats`. The format cannot say that they are antialiased; a glTF "extras" entry of the primitive does."""
    if not len(splats):
        raise InputError(f"There are no Gaussians to write to {path}, and glTF has no empty accessors.")
    splats = splats.without_zero_bands().finished().transformed(FLIP_Y_AND_Z)
    # single precision is enough about a middle, from which the node puts the points where they are
    middle = np.zeros(3) if splats.means.dtype == np.float32 else np.rint(np.median(splats.means, axis=0))
    means = (splats.means - middle).astype(np.float32)
    opacities, coefficients = splats.opacities, splats.sh_coefficients
    color = np.column_stack([coefficients[:, 0] * SH_CONSTANT + 0.5, opacities])
    buffer = _Buffer()
    buffer.add("POSITION", means, min=means.min(axis=0).tolist(), max=means.max(axis=0).tolist())
    buffer.add("COLOR_0", np.clip(np.rint(color * 255), 0, 255).astype(np.uint8), normalized=True)
    buffer.add(f"{_NAME}:ROTATION", splats.unit_rotations[:, [1, 2, 3, 0]])
    buffer.add(f"{_NAME}:SCALE", splats.scales)
    buffer.add(f"{_NAME}:OPACITY", opacities)
    for index in range(coefficients.shape[1]):
        degree = int(index**0.5)
        buffer.add(f"{_NAME}:SH_DEGREE_{degree}_COEF_{index - degree**2}", coefficients[:, index])
    extension = {
        "kernel": "ellipse",
        "colorSpace": _COLOR_SPACE,
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    primitive: dict[str, Any] = {"attributes": buffer.attributes, "mode": _POINTS, "extensions": {_NAME: extension}}
    if splats.antialiased:
        primitive["extras"] = {"antialiased": True}
    content = {
        "asset": {"version": "2.0", "generator": "Stillsplat"},
        "extensionsUsed": [_NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": middle.tolist()} if middle.any() else {"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": buffer.length}],
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = _HEADER.size + 2 * _CHUNK.size + len(text) + buffer.length
    if total > _MAX_BYTES:
        raise InputError(f"{path} would have {total} bytes, more than .glb files can; write a .spz file.")
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(_HEADER.pack(b"glTF", 2, total) + _CHUNK.pack(len(text), b"JSON") + text)
        file.write(_CHUNK.pack(buffer.length, b"BIN\0"))
        for part in buffer.parts:
            file.write(part)


def recognizes(head: bytes, name: str) -> bool:
    """Whether a file is binary glTF."""
    return head.startswith(b"glTF")


def read(path: Path) -> Splats:
    """Reads all primitives with the extension, of all meshes that nodes show, in their places. Raises `InputError`."""
    path = Path(path)
    gltf = _open(path)
    found = [_transformed_by(path, _read_primitive(gltf, each), matrix) for each, matrix in _shown_primitives(gltf)]
    if not found:
        raise InputError(f"{path} holds no Gaussians: no mesh in it has the extension {_NAME}.")
    return joined(found)


@dataclass
class _Buffer:
    """The binary chunk while it is filled, and what describes it."""

    parts: list[bytes] = field(default_factory=list)
    length: int = 0
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, values: np.ndarray, **further: Any) -> None:
        """Appends an attribute (N,) or (N, C), float32 or uint8 with C = 4."""
        kind = 5121 if values.dtype == np.uint8 else _FLOAT
        data = np.ascontiguousarray(values, np.uint8 if kind == 5121 else "<f4").tobytes()
        shape = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        view = {"buffer": 0, "byteOffset": self.length, "byteLength": len(data), "target": _ARRAY_BUFFER}
        self.attributes[name] = len(self.accessors)
        self.accessors.append(
            {"bufferView": len(self.views), "componentType": kind, "count": len(values), "type": shape, **further}
        )
        self.views.append(view)
        self.parts.append(data)
        self.length += len(data)


@dataclass(frozen=True)
class _Gltf:
    """A file that is read."""

    path: Path
    content: dict[str, Any]
    binary: memoryview

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """An entry of one of the lists at the top level. Raises `InputError` if there is none."""
        entries = self.content.get(kind)
        if not isinstance(entries, list) or type(index) is not int or not 0 <= index < len(entries):
            raise InputError(f"{self.path} is damaged: it has no {kind} number {str(index)[:20]}.")
        if not isinstance(entries[index], dict):
            raise InputError(f"{self.path} is damaged: {kind} number {index} is no JSON object.")
        return entries[index]


def _open(path: Path) -> _Gltf:
    content = read_bytes(path, _MAX_BYTES)
    if len(content) < _HEADER.size + _CHUNK.size or not content.startswith(b"glTF"):
        raise InputError(f"{path} is not a .glb file, or it is cut off.")
    _, version, total = _HEADER.unpack_from(content)
    if version != 2 or total > len(content):
        raise InputError(f"{path} is cut off or of version {version} of glTF, where 2 is known.")
    chunks: dict[bytes, memoryview] = {}
    start = _HEADER.size
    while start + _CHUNK.size <= len(content):
        size, kind = _CHUNK.unpack_from(content, start)
        start += _CHUNK.size
        if start + size > len(content):
            raise InputError(f"{path} is cut off: its chunk {kind!r} has fewer bytes than it says.")
        chunks.setdefault(kind, memoryview(content)[start : start + size])
        start += size
    text = chunks.get(b"JSON", memoryview(b""))
    if len(text) > _MAX_JSON_BYTES:
        raise InputError(f"{path} is damaged: its JSON has {len(text)} bytes.")
    parsed = parse_json(bytes(text), str(path))
    if not isinstance(parsed, dict):
        raise InputError(f"{path} is damaged: its JSON is no object.")
    return _Gltf(path, parsed, chunks.get(b"BIN\0", memoryview(b"")))


def _shown_primitives(gltf: _Gltf) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The primitives with Gaussians, each with the matrix (4, 4) from its coordinates to those of the file."""
    nodes = gltf.content.get("nodes")
    scenes = gltf.content.get("scenes")
    if scenes:
        roots = gltf.item("scenes", gltf.content.get("scene", 0)).get("nodes", [])
    else:
        roots = list(range(len(nodes))) if isinstance(nodes, list) else []
    waiting = [(root, np.eye(4)) for root in _list_of(gltf, roots, "nodes")]
    visited = 0
    while waiting:
        index, above = waiting.pop(0)
        visited += 1
        if visited > _MAX_NODES:
            raise InputError(f"{gltf.path} is damaged: its nodes contain each other, or are more than {_MAX_NODES}.")
        node = gltf.item("nodes", index)
        matrix = above @ _matrix_of(gltf, node)
        waiting += [(child, matrix) for child in _list_of(gltf, node.get("children", []), "children")]
        if "mesh" in node:
            primitives = gltf.item("meshes", node["mesh"]).get("primitives", [])
            for primitive in _list_of(gltf, primitives, "primitives"):
                extensions = primitive.get("extensions") if isinstance(primitive, dict) else None
                if isinstance(extensions, dict) and _NAME in extensions:
                    yield primitive, matrix


def _list_of(gltf: _Gltf, value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{gltf.path} is damaged: its {what} are no list.")
    return value


def _matrix_of(gltf: _Gltf, node: dict[str, Any]) -> np.ndarray:
    """The matrix (4, 4) of a node."""

    def numbers(name: str, standard: list[float]) -> np.ndarray:
        try:
            values = np.array(node.get(name, standard), np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.zeros(0)
        if values.shape != (len(standard),) or not np.isfinite(values).all():
            raise InputError(f"{gltf.path} is damaged: the {name} of a node is not {len(standard)} numbers.")
        return values

    if "matrix" in node:
        return numbers("matrix", np.eye(4).ravel().tolist()).reshape(4, 4).T
    xyzw = numbers("rotation", [0.0, 0.0, 0.0, 1.0])
    if not np.linalg.norm(xyzw) > 0:
        raise InputError(f"{gltf.path} is damaged: the rotation of a node has length zero.")
    rotation = rotation_from_quaternion(xyzw[[3, 0, 1, 2]])
    return affine_matrix(rotation * numbers("scale", [1.0, 1.0, 1.0]), numbers("translation", [0.0, 0.0, 0.0]))


def _transformed_by(path: Path, splats: Splats, matrix: np.ndarray) -> Splats:
    """`splats` moved by the matrix of their node, in the axes of 3DGS files."""
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    if not scale > 0 or not is_rigid(affine_matrix(matrix[:3, :3] / scale, np.zeros(3))):
        raise InputError(f"{path} stretches or mirrors Gaussians by the matrix of a node; apply it to them first.")
    return splats.transformed(FLIP_Y_AND_Z @ Similarity.from_matrix(matrix))


def _read_primitive(gltf: _Gltf, primitive: dict[str, Any]) -> Splats:
    extension, attributes = primitive["extensions"][_NAME], primitive.get("attributes")
    if not isinstance(extension, dict) or not isinstance(attributes, dict):
        raise InputError(f"{gltf.path} is damaged: its primitive of Gaussians has no attributes.")
    if isinstance(extension.get("extensions"), dict) and extension["extensions"]:
        raise InputError(f"{gltf.path} holds compressed Gaussians ({next(iter(extension['extensions']))}), not read.")
    if extension.get("kernel", "ellipse") != "ellipse" or extension.get("colorSpace", _COLOR_SPACE) != _COLOR_SPACE:
        raise InputError(f"{gltf.path} has Gaussians of another kernel or color space than ellipse and {_COLOR_SPACE}.")

    def attribute(name: str, width: int) -> np.ndarray:
        if name not in attributes:
            raise InputError(f"{gltf.path} holds no complete Gaussians: the attribute {name} is missing.")
        values = _accessor(gltf, attributes[name])
        if values.shape[1] != width:
            raise InputError(f"{gltf.path} is damaged: {name} has {values.shape[1]} components, not {width}.")
        return values

    means = attribute("POSITION", 3)
    degrees = [int(name[-8]) for name in attributes if re.fullmatch(rf"{_NAME}:SH_DEGREE_[0-3]_COEF_0", name)]
    terms = [(degree, index) for degree in range(max(degrees, default=0) + 1) for index in range(2 * degree + 1)]
    coefficients = [attribute(f"{_NAME}:SH_DEGREE_{degree}_COEF_{index}", 3) for degree, index in terms]
    rotations, scales = attribute(f"{_NAME}:ROTATION", 4), attribute(f"{_NAME}:SCALE", 3)
    opacities = attribute(f"{_NAME}:OPACITY", 1)[:, 0]
    if any(len(values) != len(means) for values in (rotations, scales, opacities, *coefficients)):
        raise InputError(f"{gltf.path} is damaged: the attributes of its Gaussians are of different lengths.")
    extras = primitive.get("extras")
    return Splats(
        means=means,
        log_scales=log_of_scale(scales),
        rotations=rotations[:, [3, 0, 1, 2]],
        logit_opacities=logit_of(opacities),
        sh_coefficients=np.stack(coefficients, axis=1),
        antialiased=isinstance(extras, dict) and extras.get("antialiased") is True,
    )


def _accessor(gltf: _Gltf, index: Any) -> np.ndarray:
    """The values (N, C) of an accessor as float32; normalized integers as the fractions that they stand for."""
    accessor = gltf.item("accessors", index)
    view = gltf.item("bufferViews", accessor.get("bufferView"))
    kind, width = _TYPES.get(_whole(accessor.get("componentType"))), _WIDTHS.get(str(accessor.get("type")))
    count, stride = _whole(accessor.get("count")), _whole(view.get("byteStride", 0))
    start = _whole(view.get("byteOffset", 0)) + _whole(accessor.get("byteOffset", 0))
    if kind is None or width is None or "sparse" in accessor or _whole(view.get("buffer")) != 0 or count < 1:
        raise InputError(f"{gltf.path}: accessor {index} is of a kind that is not read.")
    if "uri" in gltf.item("buffers", 0):
        raise InputError(f"{gltf.path} keeps its data in another file; save it as one .glb file.")
    size = np.dtype(kind).itemsize * width
    stride = stride or size
    if min(start, stride - size) < 0 or start + stride * (count - 1) + size > len(gltf.binary):
        raise InputError(f"{gltf.path} is cut off or damaged: accessor {index} ends beyond the data.")
    shape, strides = (count, width), (stride, np.dtype(kind).itemsize)
    values = np.ndarray(shape, np.dtype(kind).newbyteorder("<"), gltf.binary, start, strides)
    if kind is np.float32:
        return values.astype(np.float32)
    if not accessor.get("normalized"):
        raise InputError(f"{gltf.path}: accessor {index} has integers that are not normalized.")
    return np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1.0)


def _whole(value: Any) -> int:
    """`value` as an index or size; -1 where it is none."""
    return value if type(value) is int and 0 <= value <= _MAX_BYTES else -1
