"""Options of the plate, for `stillsplat run` and `stillsplat plate`."""

from dataclasses import dataclass
from typing import Literal, get_args

from scene.errors import InputError
from scene.option import option

PlateFormat = Literal["png", "png16", "exr"]
PlateFill = Literal["synthesis", "render", "none"]
_GROUP = "plate"


@dataclass(frozen=True)
class PlateSettings:
    """Raises `InputError` for values that make no sense."""

    #: files of the plate; None: png, or png16 for inputs of more than 8 bits
    plate_format: PlateFormat | None = option(
        None,
        "files of the plate: png, png16, or exr (half float, linear Rec.709, with matte, invented and depth layers); "
        "default: as deep as the input",
        choices=get_args(PlateFormat),
        group=_GROUP,
    )
    #: what is put where no frame has seen anything
    plate_fill: PlateFill = option(
        "render",
        "what no frame has seen: render (the Gaussians), synthesis (texture of its surroundings) or none (transparent)",
        choices=get_args(PlateFill),
        flags=("--plate-fill", "--fill"),
        group=_GROUP,
    )
    #: number of the first frame of a video in file names; images keep their names
    plate_start: int = option(0, "number of a video's first frame in file names", metavar="N", group=_GROUP)

    def __post_init__(self) -> None:
        if self.plate_format is not None and self.plate_format not in get_args(PlateFormat):
            raise InputError(f'--plate-format is "{self.plate_format}"; choose png, png16 or exr.')
        if self.plate_fill not in get_args(PlateFill):
            raise InputError(f'--plate-fill is "{self.plate_fill}"; choose synthesis, render or none.')
        if not 0 <= self.plate_start <= 10_000_000:
            raise InputError(f"--plate-start is a number from 0 to 10000000, not {self.plate_start}.")
