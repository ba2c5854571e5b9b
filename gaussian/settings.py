"""Settings of an optimization: Python arguments, options of train_gui.py, and part of a model's settings.json."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from scene.compute_settings import ComputeSettings
from scene.errors import InputError
from scene.option import option

_HELD_OUT, _CAMERAS, _GAUSSIANS, _LOSS = "held-out frames", "cameras and exposure", "Gaussians", "loss"
_MAX = 10**9
#: smallest and largest values
_RANGES = {
    "iterations": (0, _MAX),
    "checkpoint_every": (0, _MAX),
    "test_every": (0, _MAX),
    "max_gaussians": (1, _MAX),
    "sh_degree": (0, 3),
    "depth_weight": (0, _MAX),
    "opacity_regularization": (0, _MAX),
    "scale_regularization": (0, _MAX),
    "ssim_weight": (0, 1),
}
#: iterations of a draft: share of those of the optimization, and their largest number
_SHARE_OF_DRAFT, _MOST_OF_DRAFT = 0.15, 600
#: names of settings in the settings.json of earlier versions
_FORMER_NAMES = {"opacity_pull": "opacity_regularization", "scale_pull": "scale_regularization"}


Quality = Literal["draft", "standard", "high"]
#: values of options for each quality, where they are not given themselves
QUALITIES: dict[Quality, dict[str, int]] = {
    "draft": {"max_size": 256, "iterations": 1000, "max_gaussians": 40_000},
    "standard": {},
    "high": {"iterations": 12_000, "max_gaussians": 300_000},
}


def _in_words(quality: Quality) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in QUALITIES[quality].items())


@dataclass(frozen=True)
class OptimizationSettings(ComputeSettings):
    """What `stillsplat run` and train_gui.py both let the user choose. Raises `InputError` for values that are not
    allowed."""

    #: a preset for other options (`QUALITIES`), which the command line applies; in Python: `**QUALITIES["draft"]`
    preset: Quality = option(
        "standard",
        "draft: a quick look (" + _in_words("draft") + "); high: more time (" + _in_words("high") + "); options that "
        "are given themselves win",
        presets=QUALITIES,
        flags=("--quality",),
        group=_GAUSSIANS,
    )
    iterations: int = option(
        4000, "optimizer steps, with one frame each", metavar="N", flags=("--iterations", "--iter"), group=_GAUSSIANS
    )
    max_gaussians: int = option(120_000, "approximate limit of the number of Gaussians", metavar="N", group=_GAUSSIANS)
    protocol: Literal["none", "das3r"] = option(
        "none",
        "das3r: frame i is held out if (i + 5) mod 10 = 0; run also takes 50 frames, long side 512",
        group=_HELD_OUT,
    )
    test_every: int = option(
        0, "holds out every K-th frame; 0: none; not together with --protocol", metavar="K", group=_HELD_OUT
    )
    refine_test_cameras: bool = option(
        False, "refines the cameras of held-out frames on their static pixels; noted in the scores", group=_HELD_OUT
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise InputError(f'There is no {name} called "{getattr(self, name)}"; use one of: {known}.')
        for name, (smallest, largest) in _RANGES.items():
            if hasattr(self, name) and not smallest <= getattr(self, name) <= largest:
                allowed = f"{smallest} or more" if largest == _MAX else f"{smallest} to {largest}"
                raise InputError(f"--{name.replace('_', '-')} must be {allowed}, not {getattr(self, name)}.")
        if self.test_every == 1:
            raise InputError(
                "--test-every must be 0 (hold out nothing) or at least 2, so that frames are left to learn from."
            )
        if self.protocol != "none" and self.test_every:
            raise InputError("--protocol and --test-every both choose the held-out frames; give only one of them.")
        if self.refine_test_cameras and self.protocol == "none" and not self.test_every:
            raise InputError("--refine-test-cameras needs held-out frames; add --protocol das3r or --test-every.")

    def test_frames(self, count: int) -> list[int]:
        """Indices of the held-out frames of a clip of `count` frames."""
        if self.protocol == "das3r":
            return [index for index in range(count) if (index + 5) % 10 == 0]
        if self.test_every:
            return list(range(self.test_every // 2, count, self.test_every))
        return []


@dataclass(frozen=True)
class TrainSettings(OptimizationSettings):
    """Settings of `gaussian.trainer.train`. The defaults had the best scores on held-out frames of clips of about fifty
    frames (figures in docs/gaussian.md)."""

    checkpoint_every: int = option(1000, "iterations between two checkpoints; 0: only when interrupted", metavar="N")
    refine_cameras: bool = option(True, "refines the poses of the training frames", group=_CAMERAS)
    refine_focal: bool = option(True, "refines the focal length that all frames share", group=_CAMERAS)
    exposure: bool = option(True, "learns gain and offset per frame and color channel", group=_CAMERAS)
    densification: Literal["none", "adaptive", "mcmc"] = option(
        "mcmc", "how Gaussians are added and removed", group=_GAUSSIANS
    )
    sh_degree: int = option(1, "highest degree of the spherical harmonics", choices=range(4), group=_GAUSSIANS)
    learn_staticness: bool = option(True, "learns which pixels are static, starting from the motion masks", group=_LOSS)
    depth_weight: float = option(
        0.1,
        "weight of the difference to the depth of the scene; it decreases to 0 over the run",
        metavar="W",
        group=_LOSS,
    )
    opacity_regularization: float = option(0.01, "weight of the mean opacity", metavar="W", group=_LOSS)
    scale_regularization: float = option(
        0.01, "weight of the mean standard deviation, in units of the typical depth", metavar="W", group=_LOSS
    )
    ssim_weight: float = option(0.05, "weight of 1 - SSIM; that of L1 is 1 minus this", metavar="W", group=_LOSS)
    resolution_schedule: bool = option(
        True, "starts with images of a quarter of the size, then half, then full size", group=_LOSS
    )

    @property
    def draft_iterations(self) -> int:
        """The number of iterations of a `gaussian.draft.Draft` before an optimization with these settings."""
        return min(_MOST_OF_DRAFT, int(self.iterations * _SHARE_OF_DRAFT))

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "TrainSettings":
        """The settings in the result of `to_dict`, also of earlier versions. Raises `InputError` for unknown names."""
        values = {_FORMER_NAMES.get(name, name): value for name, value in values.items()}
        unknown = sorted(set(values) - {field.name for field in fields(TrainSettings)})
        if unknown:
            raise InputError(f"Unknown optimization settings: {', '.join(unknown)}; they are from another version.")
        return TrainSettings(**values)
