"""Settings of the commands that write a scene; those of `stillsplat run` are recorded in run.json."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.option import option

#: the DAS3R protocol (Xu et al., 2024): which frames, how large, how long
DAS3R_FRAMES = "0:50"
DAS3R_MAX_SIZE = 512
DAS3R_ITERATIONS = 4000

#: settings that do not affect finished stages: how to score, where to compute, what else to write
_FREE_ON_RESUME = {"annotations", "device", "export", "export_options"}
_OPTIMIZATION, _SCORES = "optimization", "scores"


@dataclass(frozen=True)
class SceneSettings(DriverSettings):
    """Settings of the commands that write a scene."""

    #: names of `scene.formats.registry`, joined by commas
    export: str | None = option(
        None, "also write these formats, for example glb,nerfstudio", metavar="FORMATS", group="exports"
    )
    export_options: ExportOptions = field(default_factory=ExportOptions, kw_only=True)


@dataclass(frozen=True)
class PosesSettings(SceneSettings, StreamSettings):
    """Settings of `extract_poses`."""

    def __post_init__(self) -> None:
        SceneSettings.__post_init__(self)
        StreamSettings.__post_init__(self)

    def stream(self) -> StreamSettings:
        """How the clip is cut into chunks."""
        return StreamSettings(**{item.name: getattr(self, item.name) for item in fields(StreamSettings)})


@dataclass(frozen=True)
class RunSettings(SceneSettings):
    """Settings of `stillsplat.reconstruct.reconstruct`."""

    #: steps of the Gaussian optimization; None: the optimizer's own default
    iterations: int | None = option(
        None, "optimizer steps (default: the optimizer's own)", metavar="N", group=_OPTIMIZATION
    )
    #: about how many Gaussians there are at most; None: the optimizer's own default
    max_gaussians: int | None = option(
        None, "about how many Gaussians there are at most", metavar="N", group=_OPTIMIZATION
    )
    #: folder with annotated motion masks, used for scores only
    annotations: str | None = option(
        None, "annotated motion masks (white = moving), for scores only", metavar="DIR", group=_SCORES
    )
    test_every: int = option(0, "hold out every K-th frame", metavar="K", group=_SCORES)
    protocol: str = option(
        "none",
        "das3r: first 50 frames, long side 512, frame i held out when (i + 5) mod 10 = 0, 4000 iterations",
        choices=("none", "das3r"),
        group=_SCORES,
    )
    refine_test_cameras: bool = option(
        False, "refine cameras of held-out frames on their static pixels; noted in the scores", group=_SCORES
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"--iterations must be 1 or more, not {self.iterations}.")
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
        if self.max_gaussians is not None and self.max_gaussians < 1:
            raise InputError(f"--max-gaussians must be 1 or more, not {self.max_gaussians}.")

    @property
    def splat_device(self) -> str:
        """Where splats are optimized and rendered. Their kernels have not run on a GPU yet, so "auto" is the CPU."""
        return "cuda" if self.device == "cuda" else "cpu"

    def resolved(self) -> "RunSettings":
        """The same with what the protocol fixes filled in; explicit values stay, and the scores name the deviation."""
        if self.protocol != "das3r":
            return self
        return replace(
            self,
            frames=self.frames if self.frames is not None else DAS3R_FRAMES,
            max_size=self.max_size if self.max_size is not None else DAS3R_MAX_SIZE,
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
        if settings.fps is not None:
            found.append(f"{settings.fps:g} frames per second")
        if settings.max_frames is not None and settings.max_frames < 50:
            found.append(f"at most {settings.max_frames} frames")
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
        """The reverse of `to_dict`; raises `InputError` for unknown names."""
        known = {item.name for item in fields(RunSettings)}
        unknown = sorted(set(values) - known)
        if unknown or "input" not in values:
            raise InputError(
                f"The recorded settings ({', '.join(unknown) or 'no input'}) are from another version; start over."
            )
        options = values.get("export_options") or {}
        known_options = {item.name for item in fields(ExportOptions)}
        kept = {name: value for name, value in options.items() if name in known_options}
        return RunSettings(**{**values, "export_options": ExportOptions(**kept)})

    def differences(self, recorded: "RunSettings") -> list[str]:
        """Names of options that differ from `recorded` and would change what is already made."""
        ours, theirs = self.resolved().to_dict(), recorded.resolved().to_dict()
        return [
            "--" + name.replace("_", "-") if name != "input" else "the input"
            for name in ours
            if name not in _FREE_ON_RESUME and ours[name] != theirs[name]
        ]
