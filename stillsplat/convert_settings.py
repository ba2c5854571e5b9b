"""Settings of `stillsplat convert`."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from scene.errors import InputError
from scene.formats.options import ExportOptions, SpzVersion
from scene.option import check_values, option

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
        parse=lambda text: _numbers(text, 6),
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
        parse=lambda text: _numbers(text, 3),
    )
    drop_invalid: bool = option(False, "leave out Gaussians with values that are not finite, instead of stopping")
    spz_version: SpzVersion = option(
        3, "version of .spz files; 3 is read everywhere, 4 is newer and smaller", choices=get_args(SpzVersion)
    )
    overwrite: bool = option(False, "replace OUT if it exists")

    def __post_init__(self) -> None:
        check_values(self)
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
        if len(self.offset) != 3 or not all(map(math.isfinite, self.offset)):
            raise InputError("The offset must be three finite numbers x,y,z.")
        for axis in (self.from_up, self.up):
            if axis is not None and axis not in AXES:
                raise InputError(f'There is no axis "{axis}"; choose from: {", ".join(AXES)}.')
        ExportOptions(spz_version=self.spz_version)


def _numbers(text: str, count: int) -> tuple[float, ...]:
    from scene.files.text import parse_numbers  # here, so that --help stays fast

    return parse_numbers(text, count)
