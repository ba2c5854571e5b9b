"""spz: Gaussians in Niantic's packed format, versions 3 and 4; versions 2 to 4 are read.

All values are quantized: positions to 24 bits, scales, colors, opacities and view dependence to 8, rotations (from
version 3 on the three smaller components of the quaternion) to 32 in all. Versions up to 3 are one gzip stream; version
4 has a header of 32 bytes, a table of contents and one Zstandard stream per property. Axes are x right, y up, z
backward. Facts: nianticlabs/spz.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.splat_file import FLIP_Y_AND_Z, read_bytes, splats_of
from scene.installing import pip_line
from scene.progress import Progress
from scene.splats import Splats, logit_of

_MAGIC = 0x5053474E
_GZIP = b"\x1f\x8b"
#: magic, version, number of Gaussians, degree, fractional bits, flags, number of streams (0 before version 4)
_HEADER = struct.Struct("<IIIBBBB")
#: of version 4: offset of the table of contents, and 12 bytes of nothing
_HEADER_REST = struct.Struct("<I12x")
_ANTIALIASED, _HAS_EXTENSIONS = 1, 2
#: the extension of Adobe that stores files in other axes
_COORDINATE_SYSTEM = 0xADBE0003
_COLOR_SCALE = 0.15
#: bits of the first and of the further degrees of view dependence; fewer bits compress better
_SH_BITS = (5, 4)
_MAX_FRACTIONAL_BITS = 18
_MAX_DEGREE = 4
#: real files shrink to a tenth at best; gzip and Zstandard can shrink zeros a thousandfold and more
_MAX_RATIO, _ALWAYS_FINE = 200, 64 << 20


@dataclass(frozen=True)
class _Layout:
    """Header of a file, and the sizes that follow from it."""

    version: int
    count: int
    degree: int
    fractional_bits: int
    flags: int
    streams: int

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each property, in their order in the file."""
        per_gaussian = {"positions": 9, "alphas": 1, "colors": 3, "scales": 3}
        per_gaussian |= {"rotations": 4 if self.version >= 3 else 3, "sh": 3 * ((self.degree + 1) ** 2 - 1)}
        return {name: self.count * size for name, size in per_gaussian.items()}


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.spz."""
    write(folder / "gaussians.spz", splats_of(source), options)


def write(path: Path, splats: Splats, options: ExportOptions) -> None:
    """Writes `splats` as version `options.spz_version`. Raises `InputError` where there are none, or without zstandard
    for version 4."""
    if not len(splats):
        raise InputError(f"There are no Gaussians to write to {path}, and readers of .spz refuse empty files.")
    splats = splats.without_zero_bands().finished().transformed(FLIP_Y_AND_Z)
    bits = _fractional_bits(splats.means)
    flags = _ANTIALIASED * splats.antialiased
    layout = _Layout(options.spz_version, len(splats), splats.sh_degree, bits, flags, 0)
    streams = [part for part in _quantized(splats, bits) if part]
    if layout.version < 4:
        content = _header(layout) + b"".join(streams)
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        packed = compressor.compress(content) + compressor.flush()
    else:
        library = _zstandard(path)
        parts = [library.ZstdCompressor(level=12).compress(part) for part in streams]
        table = b"".join(struct.pack("<QQ", len(part), len(whole)) for part, whole in zip(parts, streams, strict=True))
        header = _header(layout, len(parts)) + _HEADER_REST.pack(_HEADER.size + _HEADER_REST.size)
        packed = header + table + b"".join(parts)
    with atomic_file(path) as temporary:
        temporary.write_bytes(packed)


def recognizes(head: bytes, name: str) -> bool:
    """Whether a file begins like version 4, or is a gzip stream called .spz."""
    return head.startswith(struct.pack("<I", _MAGIC)) or (head.startswith(_GZIP) and name.lower().endswith(".spz"))


def read(path: Path) -> Splats:
    """Reads versions 2, 3 and 4. Degree 4 of view dependence is dropped. Raises `InputError`."""
    path = Path(path)
    content = read_bytes(path)
    if content.startswith(_GZIP):
        layout, streams = _read_gzip(path, content)
    elif content.startswith(struct.pack("<I", _MAGIC)):
        layout, streams = _read_version_4(path, content)
    else:
        raise InputError(f"{path} is not an SPZ file: it begins neither like version 4 nor like a gzip stream.")
    return _dequantized(layout, streams).transformed(FLIP_Y_AND_Z)


def _fractional_bits(positions: np.ndarray) -> int:
    """As many bits after the binary point as the largest coordinate leaves of 24."""
    largest = max(float(np.abs(positions).max()), 1e-6)
    return int(np.clip(np.floor(np.log2((2**23 - 1) / largest)), 0, _MAX_FRACTIONAL_BITS))


def _header(layout: _Layout, streams: int = 0) -> bytes:
    return _HEADER.pack(
        _MAGIC, layout.version, layout.count, layout.degree, layout.fractional_bits, layout.flags, streams
    )


def _quantized(splats: Splats, fractional_bits: int) -> list[bytes]:
    """The streams in the order of the file."""
    fixed = np.rint(splats.means.astype(np.float64) * 2.0**fractional_bits)
    fixed = np.clip(fixed, -(2**23), 2**23 - 1).astype("<i4")
    positions = np.ascontiguousarray(fixed).view(np.uint8).reshape(-1, 3, 4)[:, :, :3]
    coefficients = splats.sh_coefficients
    rest = np.rint(coefficients[:, 1:] * 128) + 128
    for band, bits in enumerate((_SH_BITS[0], _SH_BITS[1], _SH_BITS[1])):
        block, step = slice((band + 1) ** 2 - 1, (band + 2) ** 2 - 1), 1 << (8 - bits)
        rest[:, block] = (rest[:, block] + step // 2) // step * step
    return [
        positions.tobytes(),
        _bytes(splats.opacities * 255),
        _bytes((coefficients[:, 0] * _COLOR_SCALE + 0.5) * 255),
        _bytes((splats.log_scales + 10) * 16),
        _pack_rotations(splats.unit_rotations).astype("<u4").tobytes(),
        _bytes(rest),
    ]


def _bytes(values: np.ndarray) -> bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


def _pack_rotations(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz (N, 4) as uint32 (N,): the index of the largest component in the order xyzw in 2 bits, the
    others with a sign and 9 bits each, as fractions of sqrt(1/2)."""
    unit = quaternions[:, [1, 2, 3, 0]]
    largest = np.abs(unit).argmax(axis=1)
    unit = unit * np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -1, 1)
    others = unit[np.arange(4)[None] != largest[:, None]].reshape(-1, 3)
    packed = largest.astype(np.uint32)
    for component in others.T:
        magnitude = np.minimum(np.floor(511 * np.abs(component) * np.sqrt(2.0) + 0.5), 511).astype(np.uint32)
        packed = (packed << np.uint32(10)) | ((component < 0).astype(np.uint32) << np.uint32(9)) | magnitude
    return packed


def _unpack_rotations(packed: np.ndarray) -> np.ndarray:
    """Quaternions wxyz (N, 4) of `_pack_rotations`."""
    fields = np.stack([packed >> np.uint32(shift) & np.uint32(1023) for shift in (20, 10, 0)], axis=1)
    others = (fields & 511) / 511.0 * np.sqrt(0.5) * np.where(fields & 512, -1.0, 1.0)
    place = np.arange(4)[None] != (packed >> np.uint32(30))[:, None]
    xyzw = np.empty((len(packed), 4))
    xyzw[place] = others.ravel()
    xyzw[~place] = np.sqrt(np.maximum(0.0, 1 - (others**2).sum(axis=1)))
    return xyzw[:, [3, 0, 1, 2]]


def _dequantized(layout: _Layout, streams: dict[str, bytes]) -> Splats:
    """The Gaussians in the axes of the file."""

    def bytes_of(name: str, *shape: int) -> np.ndarray:
        return np.frombuffer(streams[name], np.uint8).reshape(layout.count, *shape)

    wide = np.zeros((layout.count, 3, 4), np.uint8)
    # in the upper three bytes, so that the shift back down repeats the sign
    wide[:, :, 1:] = bytes_of("positions", 3, 3)
    fixed = wide.view("<i4")[:, :, 0] >> 8
    if layout.version >= 3:
        rotations = _unpack_rotations(np.frombuffer(streams["rotations"], "<u4"))
    else:
        vector = bytes_of("rotations", 3) / 127.5 - 1
        rotations = np.column_stack([np.sqrt(np.maximum(0.0, 1 - (vector**2).sum(axis=1))), vector])
    colors = (bytes_of("colors", 1, 3) / 255 - 0.5) / _COLOR_SCALE
    kept = (min(layout.degree, 3) + 1) ** 2 - 1
    rest = (bytes_of("sh", (layout.degree + 1) ** 2 - 1, 3)[:, :kept].astype(np.float32) - 128) / 128
    return Splats(
        means=(fixed / 2.0**layout.fractional_bits).astype(np.float32),
        log_scales=bytes_of("scales", 3).astype(np.float32) / 16 - 10,
        rotations=rotations.astype(np.float32),
        logit_opacities=logit_of(bytes_of("alphas") / 255),
        sh_coefficients=np.concatenate([colors, rest], axis=1).astype(np.float32),
        antialiased=bool(layout.flags & _ANTIALIASED),
    )


def _read_gzip(path: Path, content: bytes) -> tuple[_Layout, dict[str, bytes]]:
    stream = zlib.decompressobj(31)
    try:
        header = stream.decompress(content, _HEADER.size)
        if len(header) < _HEADER.size:
            raise InputError(f"{path} is cut off: it ends within the header.")
        layout = _layout(path, header, versions=(2, 3), size=len(content))
        wanted = sum(layout.sizes.values())
        body = stream.decompress(stream.unconsumed_tail, wanted)
        further = stream.decompress(stream.unconsumed_tail, 1)  # of extensions; else the end with its checksum
    except zlib.error as error:
        raise InputError(f"{path} is damaged: its gzip stream ends with {error}.") from None
    if len(body) < wanted or not (further or stream.eof):
        raise InputError(f"{path} is cut off: {len(body)} of {wanted} bytes for {layout.count} Gaussians are there.")
    streams, start = {}, 0
    for name, size in layout.sizes.items():
        streams[name] = body[start : start + size]
        start += size
    return layout, streams


def _read_version_4(path: Path, content: bytes) -> tuple[_Layout, dict[str, bytes]]:
    whole = _HEADER.size + _HEADER_REST.size
    if len(content) < whole:
        raise InputError(f"{path} is cut off: it ends within the header.")
    layout = _layout(path, content[: _HEADER.size], versions=(4,), size=len(content))
    (table,) = _HEADER_REST.unpack_from(content, _HEADER.size)
    sizes = {name: size for name, size in layout.sizes.items() if size}
    start = table + 16 * layout.streams
    if layout.streams != len(sizes) or not whole <= table or start > len(content):
        raise InputError(f"{path} is damaged: its table of contents does not fit its header.")
    if layout.flags & _HAS_EXTENSIONS:
        _check_extensions(path, content[whole:table])
    library = _zstandard(path)
    streams = {name: b"" for name in layout.sizes}
    for index, (name, size) in enumerate(sizes.items()):
        compressed, declared = struct.unpack_from("<QQ", content, table + 16 * index)
        if declared != size or start + compressed > len(content):
            raise InputError(f"{path} is cut off or damaged: its stream of {name} does not fit the table of contents.")
        # the size that a frame itself declares is not to be trusted: at most `size` bytes are read
        reader = library.ZstdDecompressor(max_window_size=1 << 27).stream_reader(content[start : start + compressed])
        try:
            streams[name] = reader.read(size)
        except library.ZstdError as error:
            raise InputError(f"{path} is damaged: its stream of {name} cannot be decompressed ({error}).") from None
        if len(streams[name]) != size:
            raise InputError(f"{path} is cut off: its stream of {name} is too short.")
        start += compressed
    return layout, streams


def _layout(path: Path, header: bytes, *, versions: tuple[int, ...], size: int) -> _Layout:
    """The checked header of a file of `size` bytes."""
    magic, version, count, degree, fractional_bits, flags, streams = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise InputError(f"{path} is not an SPZ file: its header begins with {magic:#010x}.")
    if version not in versions:
        raise InputError(f"{path} has version {version} of SPZ, which is not read; versions 2, 3 and 4 are.")
    if degree > _MAX_DEGREE or fractional_bits > 30:
        raise InputError(f"{path} is damaged: degree {degree} and {fractional_bits} fractional bits are not possible.")
    layout = _Layout(version, count, degree, fractional_bits, flags, streams)
    wanted = sum(layout.sizes.values())
    if not count or wanted > max(_ALWAYS_FINE, size * _MAX_RATIO):
        raise InputError(f"{path} is damaged: {count} Gaussians in a file of {size} bytes are not possible.")
    return layout


def _check_extensions(path: Path, records: bytes) -> None:
    """Raises `InputError` for the extension that changes the axes; all others are skipped."""
    start = 0
    while start + 8 <= len(records):
        kind, size = struct.unpack_from("<II", records, start)
        if kind == _COORDINATE_SYSTEM:
            raise InputError(f"{path} has axes of its own (Adobe's extension), which are not read; save it without.")
        start += 8 + size


def _zstandard(path: Path):
    try:
        import zstandard
    except ImportError:
        raise InputError(
            f"{path}: version 4 of SPZ needs zstandard; use version 3, or install it: {pip_line('zstandard>=0.22')}"
        ) from None
    return zstandard
