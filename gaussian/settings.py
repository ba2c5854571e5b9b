"""What can be set in an optimization; saved as settings.json beside its result."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from scene.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `gaussian.trainer.train`. The defaults are what was best on held-out frames for clips of some fifty
    frames (docs/gaussian.md has the figures)."""

    #: optimizer steps, one frame each
    iterations: int = 4000
    #: of every random choice; the same seed gives the same result on the same CPU
    seed: int = 0
    #: "das3r": frame i is held out when (i + 5) mod 10 = 0
    protocol: Literal["none", "das3r"] = "none"
    #: holds out every so-many-th frame (0: none); not together with a protocol
    test_every: int = 0
    #: moves the cameras of held-out frames by the static pixels (of the annotations, if given) of those frames
    #: themselves; the result names it
    refine_test_cameras: bool = False
    #: moves the cameras of the training frames
    refine_cameras: bool = True
    #: moves the shared focal length
    refine_focal: bool = True
    #: gain and offset per frame and channel
    exposure: bool = True
    #: learns which pixels are static, starting from the motion masks; off: the masks stay as they are
    learn_staticness: bool = True
    #: how Gaussians are added and removed during the run
    densification: Literal["none", "adaptive", "mcmc"] = "mcmc"
    #: about how many Gaussians there are at most
    max_gaussians: int = 120_000
    #: highest degree of the spherical harmonics
    sh_degree: int = 1
    #: weight of the difference to the scene's depth at the start; fades out over the run
    depth_weight: float = 0.1
    #: weight of the mean opacity and of the mean scale (in units of the typical depth) in the loss: less is simpler
    opacity_pull: float = 0.01
    scale_pull: float = 0.01
    #: share of 1 - SSIM in the loss, the rest is L1
    ssim_weight: float = 0.05
    #: starts at quarter size, goes on at half size, ends at full size
    resolution_schedule: bool = True
    #: where the Gaussians are optimized: "cpu", "cuda", or "auto" for a GPU where there is one
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    #: writes a checkpoint every so many iterations (0: only when interrupted)
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise InputError(f"The number of iterations must be 0 or more, not {self.iterations}.")
        if self.protocol not in ("none", "das3r"):
            raise InputError(f'There is no protocol called "{self.protocol}"; use "das3r" or "none".')
        if self.test_every < 0 or self.test_every == 1:
            raise InputError(
                "--test-every must be 0 (hold out nothing) or at least 2, so that frames are left to train."
            )
        if self.protocol != "none" and self.test_every:
            raise InputError("--protocol and --test-every both choose the held-out frames; give only one of them.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f'There is no device called "{self.device}"; use auto, cpu or cuda.')
        if not 0 <= self.sh_degree <= 3:
            raise InputError(f"The degree of the spherical harmonics must be 0 to 3, not {self.sh_degree}.")
        if self.densification not in ("none", "adaptive", "mcmc"):
            raise InputError(f'There is no densification called "{self.densification}"; use none, adaptive or mcmc.')

    def test_frames(self, count: int) -> list[int]:
        """Indices of the held-out frames of a clip of `count` frames."""
        if self.protocol == "das3r":
            return [index for index in range(count) if (index + 5) % 10 == 0]
        if self.test_every:
            return list(range(self.test_every // 2, count, self.test_every))
        return []

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "TrainSettings":
        """The reverse of `to_dict`; raises `InputError` for what is unknown."""
        known = {field.name for field in fields(TrainSettings)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"Unknown optimization settings: {', '.join(unknown)}; they are from another version.")
        return TrainSettings(**values)
