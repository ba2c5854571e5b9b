"""Files of Gaussians from one format to another: cropped, thinned out, turned, scaled and moved on the way."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.similarity import Similarity
from scene.splat_files import read_splats, splat_format, write_splats
from scene.splats import Splats
from stillsplat.convert_settings import Axis, ConvertSettings


@dataclass(frozen=True)
class Converted:
    """What `convert` did."""

    #: Gaussians in IN and in OUT
    read: int
    written: int
    #: name of the format of OUT in the table
    format: str
    #: sentences about what OUT cannot hold
    losses: tuple[str, ...]


def convert(source: str | Path, target: str | Path, settings: ConvertSettings | None = None) -> Converted:
    """Reads the Gaussians in `source` (a file, or the output folder of `stillsplat run`), changes them by `settings`
    and writes `target`, whose suffix names the format.

    Raises `InputError` for bad files and settings, where `target` exists without `overwrite`, and where no Gaussians
    remain.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    settings = settings or ConvertSettings()
    row = splat_format(target)
    if target.exists() and (target.is_dir() or not settings.overwrite):
        raise InputError(f"{target} exists already; choose another place or add --overwrite.")
    if source.is_dir():
        if not (source / "splats.ply").is_file():
            raise InputError(f"{source} is not the output folder of stillsplat run; give a file of Gaussians.")
        source = source / "splats.ply"
    before = read_splats(source, drop_invalid=settings.drop_invalid)
    after = converted(before, settings)
    if not len(after):
        raise InputError(f"No Gaussians of {source} remain; take a larger --crop or a smaller --prune-opacity.")
    after.check_valid(f"the result of {source}")
    write_splats(target, after, ExportOptions(spz_version=settings.spz_version))
    return Converted(len(before), len(after), row.name, tuple(_losses(row.name, after)))


def converted(splats: Splats, settings: ConvertSettings) -> Splats:
    """`splats` after the changes of `settings`."""
    kept = splats.opacities >= settings.prune_opacity
    if settings.crop is not None:
        kept &= splats.inside_box(np.array(settings.crop[:3]), np.array(settings.crop[3:]))
    splats = splats.select(kept)
    if settings.max_gaussians is not None:
        splats = splats.select(splats.most_important(settings.max_gaussians))
    if splats.sh_degree > settings.sh_degree:
        splats = splats.with_sh_degree(settings.sh_degree)
    return splats.transformed(transform_of(settings))


def transform_of(settings: ConvertSettings) -> Similarity:
    """The similarity from the coordinates of IN to those of OUT."""
    rotation = rotation_between_axes(settings.from_up, settings.up or settings.from_up)
    return Similarity(settings.scale, rotation, np.array(settings.offset, np.float64))


def rotation_between_axes(before: Axis, after: Axis) -> np.ndarray:
    """The rotation (3, 3) that takes one axis to another by the shortest way; half a turn is about x, or about z for
    the axes x and -x. From -y to y it changes 3DGS's axes into OpenGL's; from -y to z, z (forward) becomes y."""
    start, end = _direction(before), _direction(after)
    if before == after:
        return np.eye(3)
    if np.allclose(start, -end):
        return np.diag([-1.0, -1.0, 1.0]) if before in ("x", "-x") else np.diag([1.0, -1.0, -1.0])
    normal = np.cross(start, end)
    frame_before = np.stack([start, normal, np.cross(start, normal)], axis=1)
    frame_after = np.stack([end, normal, np.cross(end, normal)], axis=1)
    return frame_after @ frame_before.T


def _direction(axis: Axis) -> np.ndarray:
    return np.eye(3)["xyz".index(axis[-1])] * (-1.0 if axis.startswith("-") else 1.0)


#: formats with positions in single precision or less
_SINGLE = ("compressed_ply", "splat", "spz")
#: extents that .spz files can hold
_SPZ_LOG_SCALES = (-10.0, 255 / 16 - 10.0)


def _losses(name: str, splats: Splats) -> list[str]:
    losses = _of_scale_and_place(name, splats)
    if name == "splat":
        if splats.without_zero_bands().sh_degree > 0:
            losses.append("the format .splat has no view dependence, which was left out")
        if splats.antialiased:
            losses.append("the format .splat cannot say that the model needs an antialiasing viewer")
    if name == "splat_glb" and splats.antialiased:
        losses.append("glTF has no standard way to say that the model needs an antialiasing viewer")
    return losses


def _of_scale_and_place(name: str, splats: Splats) -> list[str]:
    """What is lost of scenes far from the origin, or very large or small."""
    losses = []
    if name in _SINGLE and splats.means.dtype == np.float64:
        middle = np.rint(np.median(splats.means, axis=0))
        step = float(np.spacing(np.float32(np.abs(splats.means).max())))
        offset = ",".join(f"{-value:.0f}" for value in middle)
        losses.append(
            f"the scene is {np.linalg.norm(middle):.3g} units from the origin, where the positions of this format are "
            f"{step:.2g} apart; bring it near the origin with --offset={offset}"
        )
    if name == "spz":
        low, high = _SPZ_LOG_SCALES
        outside = float(np.mean(((splats.log_scales < low) | (splats.log_scales > high)).any(axis=1)))
        if outside > 0.01:
            losses.append(
                f"{100 * outside:.0f} % of the Gaussians are smaller or larger than .spz files can say "
                f"({np.exp(low):.1g} to {np.exp(high):.3g} units); bring the scene to a usual size with --scale"
            )
    return losses
