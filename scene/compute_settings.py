"""Where computation runs and what its random numbers start from: settings that every command has."""

from dataclasses import dataclass
from typing import Literal, get_args

from scene.errors import InputError
from scene.option import check_values, option

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """Raises `InputError` for an unknown device, a negative seed, and values that are not of their type or absurd."""

    #: "auto" is a GPU where there is one, but the CPU for optimizer and renders, whose GPU kernels have not run on a
    #: GPU yet
    device: Device = option("auto", "where networks, optimizer and renders run; auto: splats on the CPU")
    #: seed of all random number generators
    seed: int = option(0, "same seed, same CPU: same result (default: 0)", metavar="N")

    def __post_init__(self) -> None:
        check_values(self)
        if self.device not in DEVICES:
            raise InputError(f'There is no device called "{self.device}"; use auto, cpu or cuda.')
        if self.seed < 0:
            raise InputError(f"--seed must be 0 or more, not {self.seed}.")
