"""compressed_ply: Gaussians in the packed PLY format of PlayCanvas, 16 bytes each, and up to 45 for view dependence.

256 neighbors form a chunk with its least and largest position, logarithmic scale and color, between which values are
stored with 8 to 11 bits. Rotations are the three smaller components of the quaternion with 10 bits each. The format is
described by PlayCanvas's "Compressed PLY" documentation; view dependence, with 8 bits, came in December 2024.
"""

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.ply_elements import columns_of, read_ply_elements
from scene.formats.splat_file import splats_of
from scene.formats.splat_ply import ANTIALIASED_COMMENT, is_antialiased
from scene.morton import morton_order_of_points
from scene.progress import Progress
from scene.spherical_harmonics import SH_CONSTANT
from scene.splats import Splats, logit_of

_CHUNK = 256
#: scales outside are clamped, as other writers do
_LOG_SCALE_LIMIT = 20.0
#: coefficients of view dependence are stored within -4 and 4
_SH_RANGE = 8.0
_GROUPS = (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_REST_COUNTS = (9, 24, 45)


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.compressed.ply."""
    write(folder / "gaussians.compressed.ply", splats_of(source), options)


def write(path: Path, splats: Splats, options: ExportOptions) -> None:
    """Writes `splats`, ordered along a space-filling curve so that chunks are small."""
    splats = splats.without_zero_bands().finished()
    splats = splats.select(morton_order_of_points(splats.means))
    count = len(splats)
    coefficients = splats.sh_coefficients
    groups = [
        splats.means,
        splats.log_scales.clip(-_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT),
        coefficients[:, 0] * SH_CONSTANT + 0.5,
    ]
    chunks, within = zip(*(_within_chunks(values) for values in groups), strict=True)
    chunk_rows = np.zeros(len(chunks[0][0]), [(name, "<f4") for name in _chunk_names()])
    for names, bounds in zip(_GROUPS, chunks, strict=True):
        for prefix, values in zip(("min", "max"), bounds, strict=True):
            for axis, name in enumerate(names):
                chunk_rows[f"{prefix}_{name}"] = values[:, axis]
    rows = np.zeros(count, [(name, "<u4") for name in _PACKED])
    rows["packed_position"], rows["packed_scale"] = _pack_11_10_11(within[0]), _pack_11_10_11(within[1])
    rows["packed_rotation"] = _pack_rotations(splats.unit_rotations)
    rows["packed_color"] = _pack(np.column_stack([within[2], splats.opacities]), (8, 8, 8, 8))
    elements = [PlyElement.describe(chunk_rows, "chunk"), PlyElement.describe(rows, "vertex")]
    if splats.sh_degree > 0:
        rest = coefficients[:, 1:].transpose(0, 2, 1).reshape(count, 3 * (coefficients.shape[1] - 1))
        stored = np.clip((rest / _SH_RANGE + 0.5) * 256, 0, 255).astype(np.uint8)
        sh_rows = stored.view([(f"f_rest_{index}", "u1") for index in range(stored.shape[1])])[:, 0]
        elements.append(PlyElement.describe(sh_rows, "sh"))
    comments = [ANTIALIASED_COMMENT] if splats.antialiased else []
    with atomic_file(path) as temporary:
        PlyData(elements, byte_order="<", comments=comments).write(str(temporary))


def recognizes(head: bytes, name: str) -> bool:
    """Whether a file that begins with `head` is a PLY file of this kind."""
    return head.startswith(b"ply") and b"packed_position" in head


def read(path: Path) -> Splats:
    """Reads a file, also without colors in the chunks (the older form). Raises `InputError`."""
    path = Path(path)
    ply = read_ply_elements(path)
    chunk, rows, sh = (ply.arrays.get(name) for name in ("chunk", "vertex", "sh"))
    if chunk is None or rows is None or not set(_PACKED) <= set(rows.dtype.names or ()):
        raise InputError(f"{path} is no compressed PLY file: its elements chunk and vertex are incomplete.")
    names = set(chunk.dtype.names or ())
    groups = _GROUPS if "min_r" in names else _GROUPS[:2]
    missing = [name for name in _chunk_names(groups) if name not in names]
    if missing:
        raise InputError(f"{path} is no compressed PLY file: the chunks lack {', '.join(missing)}.")
    count = len(rows)
    if len(chunk) != -(-count // _CHUNK):
        raise InputError(f"{path} is damaged: it has {len(chunk)} chunks for {count} Gaussians, 256 each.")
    for name in _PACKED:
        if rows.dtype[name] not in (np.dtype("<u4"), np.dtype("<i4")):
            raise InputError(f"{path} is no compressed PLY file: {name} must be an uint.")
    packed = {name: np.ascontiguousarray(rows[name]).view(np.uint32) for name in _PACKED}
    colors = _unpack(packed["packed_color"], (8, 8, 8, 8))
    units = [_unpack(packed["packed_position"], (11, 10, 11)), _unpack(packed["packed_scale"], (11, 10, 11))]
    values = [
        _between(unit, columns_of(chunk, *_named("min", group)), columns_of(chunk, *_named("max", group)))
        for unit, group in zip([*units, colors[:, :3]], groups, strict=False)
    ]
    color = values[2] if len(values) == 3 else colors[:, :3]
    coefficients = ((color - 0.5) / SH_CONSTANT)[:, None, :]
    if sh is not None:
        coefficients = np.concatenate([coefficients, _read_rest(path, sh, count)], axis=1)
    return Splats(
        means=values[0],
        log_scales=values[1],
        rotations=_unpack_rotations(packed["packed_rotation"]),
        logit_opacities=logit_of(colors[:, 3]),
        sh_coefficients=coefficients.astype(np.float32),
        antialiased=is_antialiased(ply.comments),
    )


def _named(prefix: str, group: tuple[str, ...]) -> list[str]:
    return [f"{prefix}_{name}" for name in group]


def _chunk_names(groups: tuple[tuple[str, ...], ...] = _GROUPS) -> list[str]:
    return [name for group in groups for prefix in ("min", "max") for name in _named(prefix, group)]


def _within_chunks(values: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The bounds (C, 3) of each chunk, and values (N, 3) as fractions between them."""
    count = len(values)
    padded = np.concatenate([values, np.repeat(values[-1:], -count % _CHUNK, axis=0)]) if count else values
    chunks = padded.reshape(-1, _CHUNK, 3)
    low, high = (chunks.min(axis=1), chunks.max(axis=1)) if count else (values, values)
    extent = np.where(high > low, high - low, 1.0)
    return (low, high), ((chunks - low[:, None]) / extent[:, None]).reshape(-1, 3)[:count]


def _between(unit: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Fractions (N, 3) between the bounds (C, 3) of their chunks, as values."""
    index = np.arange(len(unit)) // _CHUNK
    with np.errstate(invalid="ignore", over="ignore"):
        return (low[index] * (1 - unit) + high[index] * unit).astype(np.float32)


def _pack(unit: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    """Fractions (N, len(bits)) as bit fields, the first one highest, in uint32 (N,)."""
    packed = np.zeros(len(unit), np.uint32)
    for column, width in enumerate(bits):
        steps = (1 << width) - 1
        value = np.clip(np.floor(unit[:, column] * steps + 0.5), 0, steps).astype(np.uint32)
        packed = (packed << np.uint32(width)) | value
    return packed


def _unpack(packed: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    """The fractions in bit fields (`_pack`), float32."""
    columns, shift = [], sum(bits)
    for width in bits:
        shift -= width
        steps = (1 << width) - 1
        columns.append(((packed >> np.uint32(shift)) & np.uint32(steps)) / np.float32(steps))
    return np.stack(columns, axis=1).astype(np.float32)


def _pack_11_10_11(unit: np.ndarray) -> np.ndarray:
    return _pack(unit, (11, 10, 11))


def _pack_rotations(quaternions: np.ndarray) -> np.ndarray:
    """The index of the largest component of unit quaternions wxyz (N, 4) in 2 bits, the others in 10 bits each."""
    largest = np.abs(quaternions).argmax(axis=1)
    unit = quaternions * np.where(np.take_along_axis(quaternions, largest[:, None], 1) < 0, -1, 1)
    others = unit[np.arange(4)[None] != largest[:, None]].reshape(-1, 3)
    return (largest.astype(np.uint32) << np.uint32(30)) | _pack(others * np.sqrt(0.5) + 0.5, (10, 10, 10))


def _unpack_rotations(packed: np.ndarray) -> np.ndarray:
    """Quaternions wxyz (N, 4), float32, of `_pack_rotations`."""
    others = (_unpack(packed & np.uint32(0x3FFFFFFF), (10, 10, 10)) - 0.5) * np.sqrt(2.0)
    largest = packed >> np.uint32(30)
    quaternions = np.empty((len(packed), 4), np.float32)
    place = np.arange(4)[None] != largest[:, None]
    quaternions[place] = others.ravel()
    quaternions[~place] = np.sqrt(np.maximum(0.0, 1.0 - (others**2).sum(axis=1)))
    return quaternions


def _read_rest(path: Path, sh: np.ndarray, count: int) -> np.ndarray:
    """The coefficients (N, K - 1, 3) in the element sh."""
    names = [f"f_rest_{index}" for index in range(len(sh.dtype.names or ()))]
    if len(sh) != count or len(names) not in _REST_COUNTS or set(names) != set(sh.dtype.names or ()):
        raise InputError(f"{path} is damaged: its element sh must have 9, 24 or 45 f_rest bytes for each Gaussian.")
    stored = np.stack([sh[name] for name in names], axis=1).astype(np.float32)
    unit = np.where(stored == 0, 0.0, np.where(stored == 255, 1.0, (stored + 0.5) / 256))
    return ((unit - 0.5) * _SH_RANGE).reshape(count, 3, len(names) // 3).transpose(0, 2, 1)
