"""What a reconstruction can be told; recorded in run.json beside its results."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from scene.errors import InputError

#: the DAS3R protocol (Xu et al., 2024): which frames, how large, how long
DAS3R_FRAMES = "0:50"
DAS3R_MAX_SIZE = 512
DAS3R_ITERATIONS = 4000

#: settings that say how to score or where to compute and change nothing that is already made
_FREE_ON_RESUME = {"annotations", "device"}


@dataclass(frozen=True)
class RunSettings:
    """Settings of `stillsplat.reconstruct.reconstruct`; the command line has one option for each."""

    #: video file, folder of images or glob pattern
    input: str
    #: the dynamic predictor, a name of `dynamic_predictor.specs.available_predictors`
    predictor: str = "geometric"
    #: file or folder with weights for it instead of the official ones
    weights: str | None = None
    #: steps of the Gaussian optimization; None: the optimizer's own default
    iterations: int | None = None
    #: images are shrunk to at most this many pixels on their long side
    max_size: int = 512
    #: "START:STOP:STEP" over the frames of the input, counted from 0
    frames: str | None = None
    #: folder with the user's own motion masks (white moves); they win over what the predictor finds
    masks: str | None = None
    #: a second predictor whose motion masks are taken instead of the first one's
    masks_from: str | None = None
    #: folder with annotated motion masks, used for scores only
    annotations: str | None = None
    #: holds out every so-many-th frame (0: none)
    test_every: int = 0
    #: "none" or "das3r"
    protocol: str = "none"
    #: moves the cameras of held-out frames on their static pixels; the scores name it
    refine_test_cameras: bool = False
    #: horizontal angle of view of the frames in degrees, where it is known
    fov: float | None = None
    #: about how many Gaussians there are at most; None: the optimizer's own default
    max_gaussians: int | None = None
    #: "auto", "cpu" or "cuda"
    #: the kernels for GPUs have not run on one yet, so they are asked for and not chosen
    device: str = "cpu"
    #: of every random choice
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"--iterations must be 1 or more, not {self.iterations}.")
        if self.max_size < 16:
            raise InputError(f"--max-size must be at least 16 pixels, not {self.max_size}.")
        if self.test_every < 0 or self.test_every == 1:
            raise InputError(
                "--test-every must be 0 (hold out nothing) or at least 2, so that frames are left to learn from."
            )
        if self.protocol not in ("none", "das3r"):
            raise InputError(f'There is no protocol called "{self.protocol}"; the only one is das3r.')
        if self.protocol != "none" and self.test_every:
            raise InputError("--protocol and --test-every both choose the held-out frames; give only one of them.")
        if self.refine_test_cameras and self.protocol == "none" and not self.test_every:
            raise InputError("--refine-test-cameras needs held-out frames; add --protocol das3r or --test-every.")
        if self.masks is not None and self.masks_from is not None:
            raise InputError("--masks and --masks-from both say what moves; give only one of them.")
        if self.fov is not None and not 1 <= self.fov <= 170:
            raise InputError(f"--fov is an angle of view between 1 and 170 degrees, not {self.fov}.")
        if self.max_gaussians is not None and self.max_gaussians < 1:
            raise InputError(f"--max-gaussians must be 1 or more, not {self.max_gaussians}.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f'There is no device called "{self.device}"; use auto, cpu or cuda.')
        if self.seed < 0:
            raise InputError(f"--seed must be 0 or more, not {self.seed}.")

    def resolved(self) -> "RunSettings":
        """The same with what the protocol fixes filled in; what was given explicitly stays, and the scores say so."""
        if self.protocol != "das3r":
            return self
        return replace(
            self,
            frames=self.frames if self.frames is not None else DAS3R_FRAMES,
            iterations=self.iterations if self.iterations is not None else DAS3R_ITERATIONS,
        )

    def protocol_deviations(self) -> list[str]:
        """How a run under `--protocol das3r` differs from the protocol, in words; empty when it keeps to it."""
        if self.protocol != "das3r":
            return []
        settings = self.resolved()
        found = []
        if settings.frames != DAS3R_FRAMES:
            found.append(f"frames {settings.frames}")
        if settings.max_size != DAS3R_MAX_SIZE:
            found.append(f"long side {settings.max_size}")
        if settings.iterations != DAS3R_ITERATIONS:
            found.append(f"{settings.iterations} iterations")
        if settings.masks:
            found.append("motion masks given by the user")
        if settings.refine_test_cameras:
            found.append("held-out cameras refined on their static pixels")
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "RunSettings":
        """The reverse of `to_dict`; raises `InputError` for what is unknown."""
        known = {field.name for field in fields(RunSettings)}
        unknown = sorted(set(values) - known)
        if unknown or "input" not in values:
            raise InputError(
                f"The recorded settings ({', '.join(unknown) or 'no input'}) are from another version; start over."
            )
        return RunSettings(**values)

    def differences(self, recorded: "RunSettings") -> list[str]:
        """Names of options that differ from `recorded` and would change what is already made."""
        ours, theirs = self.resolved().to_dict(), recorded.resolved().to_dict()
        return [
            "--" + name.replace("_", "-") if name != "input" else "the input"
            for name in ours
            if name not in _FREE_ON_RESUME and ours[name] != theirs[name]
        ]
