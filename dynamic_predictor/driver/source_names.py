"""What the word means that names a source: a camera, an address, a file, a folder, or a pattern of many files."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from scene.errors import InputError
from scene.files.paths import shortened
from scene.frames import natural_order

Source = str | Path | Sequence[str | Path]

#: addresses of network streams; other schemes of FFmpeg would read files or run filters
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "http", "https", "mms", "mmsh")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
#: numbers of cameras that an operating system gives
_MOST_CAMERAS = 1000
_NUMBERED = re.compile(r"%(?:0?(\d+))?d")


def is_address(text: str) -> bool:
    """Whether `text` is the address of a network stream. Raises `InputError` for schemes that are none."""
    match = _ADDRESS.match(text)
    if match is None or (len(text) < 4096 and Path(text).exists()):
        return False
    scheme = match[1].lower()
    if scheme == "file":
        raise InputError(f"{shortened(text)} is the address of a file; give its path instead.")
    if scheme not in _SCHEMES:
        raise InputError(f"{shortened(text)} is no network stream that is read; give one of {', '.join(_SCHEMES)}.")
    return True


def is_live(source: Source) -> bool:
    """Whether `source` names a camera of this machine ("0") or the address of a network stream."""
    if not isinstance(source, str):
        return False
    return is_camera(source) or is_address(source)


def is_camera(text: str) -> bool:
    """Whether `text` is the number of a camera. Raises `InputError` for numbers that no camera has."""
    if not (text.isascii() and text.isdigit()) or (len(text) < 255 and Path(text).exists()):
        return False
    if len(text) > 4 or int(text) >= _MOST_CAMERAS:
        raise InputError(f"{shortened(text)} is no number of a camera; the first one is 0.")
    return True


def source_title(text: str) -> str:
    """How messages name the source that `text` names."""
    return f"camera {text}" if is_live(text) and "://" not in text else text


def matching_files(path: Path) -> list[Path] | None:
    """The files that a pattern names, in natural order: `*`, `?`, `[...]` and `**` as shells have them, or `%05d` as
    FFmpeg has it. The part of the path that exists as it is written is not a pattern, whatever is in it. None where
    `path` is no pattern."""
    parent = path
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    rest = path.relative_to(parent) if parent != Path() else path
    pattern = str(rest)
    if _NUMBERED.search(pattern):
        return _numbered_files(parent, pattern)
    if not glob.has_magic(pattern):
        return None
    matches = glob.glob(f"{glob.escape(str(parent))}/{pattern}", recursive=True)
    return sorted((Path(match) for match in matches if Path(match).is_file()), key=natural_order)


def _numbered_files(folder: Path, pattern: str) -> list[Path]:
    if "/" in pattern:
        return []
    parts = _NUMBERED.split(pattern)
    expression = re.escape(parts[0].replace("%%", "%"))
    for width, after in zip(parts[1::2], parts[2::2], strict=True):
        digits = rf"\d{{{min(int(width), 99)},}}" if width else r"\d+"
        expression += f"({digits}){re.escape(after.replace('%%', '%'))}"
    matcher = re.compile(expression)
    found = [path for path in folder.iterdir() if matcher.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=natural_order)
