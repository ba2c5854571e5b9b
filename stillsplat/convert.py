"""Files of Gaussians from one format to another: cropped, thinned out, turned, scaled and moved on the way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from scene.errors import InputError
from scene.files.text import parse_numbers
from scene.formats.options import ExportOptions, SpzVersion
from scene.option import option
from scene.similarity import Similarity
from scene.splat_files import read_splats, splat_format, write_splats
from scene.splats import Splats

Axis = Literal["x", "-x", "y", "-y", "z", "-z"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class ConvertSettings:
    """What `convert` does, in this order: crop, prune, thin out, then turn, scale and move. Raises `InputError` for
    values out of range.

    Coordinates are those of 3DGS files in PLY format; those in glTF and SPZ files are turned into them (x, -y, -z).
    """

    crop: tuple[float, ...] | None = option(
        None,
        "keep the centers within the box from (x, y, z) to (X, Y, Z), in the coordinates of IN",
        metavar="x,y,z,X,Y,Z",
        parse=lambda text: parse_numbers(text, 6),
    )
    prune_opacity: float = option(0.0, "leave out Gaussians with an opacity below P", metavar="P")
    max_gaussians: int | None = option(None, "keep the N Gaussians with the largest opacity times size", metavar="N")
    sh_degree: int = option(3, "keep view dependence up to this degree", choices=(0, 1, 2, 3))
    from_up: Axis = option("-y", "axis that points up in IN", metavar="AXIS", choices=AXES)
    up: Axis | None = option(
        None, "turn so that this axis points up: x, y, z, -x, -y or -z", metavar="AXIS", choices=AXES
    )
    scale: float = option(1.0, "make everything S times as large, about the origin", metavar="S")
    offset: tuple[float, ...] = option(
        (0.0, 0.0, 0.0),
        "then move by x,y,z",
        metavar="x,y,z",
        parse=lambda text: parse_numbers(text, 3),
    )
    drop_invalid: bool = option(False, "leave out Gaussians with values that are not finite, instead of stopping")
    spz_version: SpzVersion = option(
        3, "version of .spz files; 3 is read everywhere, 4 is newer and smaller", choices=get_args(SpzVersion)
    )
    overwrite: bool = option(False, "replace OUT if it exists")

    def __post_init__(self) -> None:
        if self.crop is not None:
            if len(self.crop) != 6 or not all(self.crop[axis] <= self.crop[axis + 3] for axis in range(3)):
                raise InputError("The box of --crop must be x,y,z,X,Y,Z with x <= X, y <= Y and z <= Z.")
        if not 0 <= self.prune_opacity <= 1:
            raise InputError(f"The opacity to prune below must be from 0 to 1, not {self.prune_opacity:g}.")
        if self.max_gaussians is not None and self.max_gaussians < 1:
            raise InputError(f"At least one Gaussian must be kept, not {self.max_gaussians}.")
        if not 0 <= self.sh_degree <= 3:
            raise InputError(f"The degree of view dependence must be from 0 to 3, not {self.sh_degree}.")
        if not 1e-6 <= self.scale <= 1e6:
            raise InputError(f"The scale must be from 1e-6 to 1e6, not {self.scale:g}.")
        if len(self.offset) != 3 or not np.isfinite(self.offset).all():
            raise InputError("The offset must be three finite numbers x,y,z.")
        for axis in (self.from_up, self.up):
            if axis is not None and axis not in AXES:
                raise InputError(f'There is no axis "{axis}"; choose from: {", ".join(AXES)}.')
        ExportOptions(spz_version=self.spz_version)

    @property
    def transform(self) -> Similarity:
        """The similarity from the coordinates of IN to those of OUT."""
        rotation = rotation_between_axes(self.from_up, self.up or self.from_up)
        return Similarity(self.scale, rotation, np.array(self.offset, np.float64))


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
    return splats.transformed(settings.transform)


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


def _losses(name: str, splats: Splats) -> list[str]:
    losses = []
    if name == "splat":
        if splats.without_zero_bands().sh_degree > 0:
            losses.append("the format .splat has no view dependence, which was left out")
        if splats.antialiased:
            losses.append("the format .splat cannot say that the model needs an antialiasing viewer")
    if name == "splat_glb" and splats.antialiased:
        losses.append("glTF has no standard way to say that the model needs an antialiasing viewer")
    return losses
