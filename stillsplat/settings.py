"""Settings of the commands that write a scene; those of `stillsplat run` are recorded in run.json."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from gaussian.settings import OptimizationSettings, TrainSettings
from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.option import option, values_of
from stillsplat.plate.settings import PlateSettings

#: the DAS3R protocol (Xu et al., 2024): which frames, how large, how long
DAS3R_FRAME_COUNT = 50
DAS3R_FRAMES = f"0:{DAS3R_FRAME_COUNT}"
DAS3R_MAX_SIZE = 512
DAS3R_ITERATIONS = 4000

#: settings that do not affect finished stages: how to score, where to compute, what else to write
_FREE_ON_RESUME = {
    "annotations", "device", "export", "export_options", "preset", "plate", "plate_format", "plate_fill", "plate_start",
}  # fmt: skip


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
        return StreamSettings(**values_of(self, StreamSettings))


@dataclass(frozen=True)
class RunSettings(SceneSettings, OptimizationSettings, PlateSettings):
    """Settings of `stillsplat.reconstruct.reconstruct`."""

    #: the cameras stay as they were given or predicted
    fixed_cameras: bool = option(False, "keeps the cameras, for example those of a project", group="cameras")
    #: a second pass over the predicted motion masks (`stillsplat.second_pass`)
    second_pass: bool = option(
        True, "a second pass over the motion masks, by a draft of the static scene (docs/gaussian.md)", group="masks"
    )
    #: folder with annotated motion masks, used for scores only
    annotations: str | None = option(
        None, "annotated motion masks (white = moving), for scores only", metavar="DIR", group="scores"
    )

    #: the clip at full size without what moves (`stillsplat.plate`)
    plate: bool = option(True, "the clip at full size without what moves (docs/plate.md)", group="plate")

    def __post_init__(self) -> None:
        SceneSettings.__post_init__(self)
        OptimizationSettings.__post_init__(self)
        PlateSettings.__post_init__(self)
        if self.iterations < 1:
            raise InputError(f"--iterations must be 1 or more, not {self.iterations}.")

    def plate_settings(self) -> PlateSettings:
        """The settings of the plate."""
        return PlateSettings(**values_of(self, PlateSettings))

    def optimization(self) -> TrainSettings:
        """The settings of the optimizer."""
        settings = TrainSettings(**values_of(self, OptimizationSettings))
        return replace(settings, refine_cameras=False, refine_focal=False) if self.fixed_cameras else settings

    def resolved(self) -> "RunSettings":
        """The same with the default predictor and what the protocol fixes filled in; explicit values stay, and the
        scores name the deviation."""
        from scene.open_scene import can_open  # here, so that --help stays fast

        if self.predictor is None and not can_open(self.input):
            return replace(self, predictor=self.spec.name).resolved()
        if self.protocol != "das3r":
            return self
        return replace(
            self,
            frames=self.frames if self.frames is not None else DAS3R_FRAMES,
            max_size=self.max_size if self.max_size is not None else DAS3R_MAX_SIZE,
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
        """As JSON holds it."""
        return json.loads(json.dumps(asdict(self)))

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
        for name, value in (("export_options", options), ("predictor_options", values.get("predictor_options") or {})):
            if not isinstance(value, dict):
                raise InputError(f"The recorded {name} are damaged; start over.")
        known_options = {item.name for item in fields(ExportOptions)}
        kept = {name: value for name, value in options.items() if name in known_options}
        # earlier versions wrote null for the optimizer's own values
        given = {name: value for name, value in values.items() if value is not None}
        return RunSettings(**{**given, "export_options": ExportOptions(**kept)})

    def differences(self, recorded: "RunSettings") -> list[str]:
        """Names of options that differ from `recorded` and would change what is already made."""
        from dynamic_predictor.predictor_options import option_flags
        from scene.files.json_files import plain

        ours, theirs = self.resolved().to_dict(), recorded.resolved().to_dict()
        of_predictor, before = ours.pop("predictor_options"), theirs["predictor_options"]
        names = [name for name in ours if name not in _FREE_ON_RESUME and plain(ours[name]) != plain(theirs[name])]
        changed = [name for name in {**before, **of_predictor} if before.get(name) != of_predictor.get(name)]
        found = ["the input" if name == "input" else "--" + name.replace("_", "-") for name in names]
        return found + ([option_flags(changed)] if changed else [])
