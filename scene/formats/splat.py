"""splat: Gaussians in 32 bytes each without view dependence, as the web viewer of antimatter15 and many others read.

Per Gaussian: position and linear scales as float32, red, green, blue and opacity as bytes, the quaternion wxyz as
bytes 128 q + 128. The most visible ones come first, since viewers show files while they load.
"""

from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.splat_file import read_bytes, splats_of
from scene.progress import Progress
from scene.spherical_harmonics import SH_CONSTANT
from scene.splats import Splats, log_of_scale, logit_of

_RECORD = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("rotation", "u1", 4)])


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gaussians.splat."""
    write(folder / "gaussians.splat", splats_of(source), options)


def write(path: Path, splats: Splats, options: ExportOptions) -> None:
    """Writes `splats` without view dependence. The format cannot say that they are antialiased."""
    splats = splats.finished()
    splats = splats.select(np.argsort(-splats.log_importance(), kind="stable"))
    records = np.zeros(len(splats), _RECORD)
    records["position"], records["scale"] = splats.means, splats.scales
    color = splats.sh_coefficients[:, 0] * SH_CONSTANT + 0.5
    records["color"] = np.clip(np.rint(np.column_stack([color, splats.opacities]) * 255), 0, 255)
    records["rotation"] = np.clip(np.rint(splats.unit_rotations * 128 + 128), 0, 255)
    with atomic_file(path) as temporary:
        temporary.write_bytes(records.tobytes())


def recognizes(head: bytes, name: str) -> bool:
    """Whether a file is called .splat: its content has no mark."""
    return name.lower().endswith(".splat")


def read(path: Path) -> Splats:
    """Reads a file. Raises `InputError` for one that is cut off or empty."""
    path = Path(path)
    content = read_bytes(path)
    if not content or len(content) % _RECORD.itemsize:
        raise InputError(
            f"{path} is cut off or no .splat file: it has {len(content)} bytes, not a multiple of {_RECORD.itemsize}."
        )
    records = np.frombuffer(content, _RECORD)
    color = records["color"].astype(np.float32) / 255
    return Splats(
        means=records["position"].astype(np.float32),
        log_scales=log_of_scale(records["scale"]),
        rotations=(records["rotation"].astype(np.float32) - 128) / 128,
        logit_opacities=logit_of(color[:, 3]),
        sh_coefficients=((color[:, :3] - 0.5) / SH_CONSTANT)[:, None, :],
    )
