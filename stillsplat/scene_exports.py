"""Which formats a command can write, and the writing of those that only a prediction can fill."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.scene_driver import DrivenScene
from scene.errors import InputError
from scene.formats.exportable import Need
from scene.formats.registry import OF_ONE_PREDICTION, SCENE, check_formats, export, format_names, needs_of
from scene.frames import Frames
from scene.open_scene import can_open
from scene.progress import Progress
from stillsplat.settings import SceneSettings

#: what only the prediction of a whole clip has, also where splats are optimized
_OF_THE_PREDICTION: frozenset[Need] = frozenset({"pixel_gaussians", "features"})


def checked_formats(
    settings: SceneSettings, *, in_chunks: bool = False, each: bool = False, optimized: bool = False
) -> list[str]:
    """The formats of `--export`. Raises `InputError` for one that the result will have no data for.

    `in_chunks`: the clip is not predicted as a whole; `each`: every image is predicted by itself; `optimized`: there
    are optimized splats."""
    if settings.export is None:
        return []
    spec = settings.spec
    available: set[Need] = {"images", "depth"} if each else set(SCENE)
    if optimized:
        available.add("gaussians")
    if not each and not spec.cameras:
        available -= {"cameras", "points"}
    if not (in_chunks or each or can_open(settings.input)):
        if spec.gaussians:
            available |= {"gaussians", "pixel_gaussians"}
        if settings.predictor_options.get("export_feat_layers"):
            available.add("features")
        elif spec.features and "features" in needs_of(format_names(settings.export)):
            raise InputError("This export needs --export-features, the blocks whose features are shown: 5,11.")
    return check_formats(settings.export, available)


def export_settings(settings: SceneSettings, formats: Sequence[str], *, optimized: bool = False) -> dict[str, Any]:
    """The settings with which the predictor gives what `formats` need."""
    needed: set[Need] = {"pixel_gaussians"} if optimized else {"gaussians", "pixel_gaussians"}
    return {"infer_gs": True} if settings.spec.gaussians and needed & needs_of(formats) else {}


def of_the_prediction(formats: Sequence[str], *, optimized: bool = False) -> list[str]:
    """Those of `formats` that are written from the prediction and not from the scene."""
    needed = _OF_THE_PREDICTION if optimized else OF_ONE_PREDICTION
    return [name for name in formats if needs_of([name]) & needed]


def length_check(
    settings: SceneSettings, formats: Sequence[str], *, optimized: bool = False
) -> Callable[[Frames], None]:
    """A check that raises `InputError` for clips that are too long to be predicted as a whole, where `formats` need
    that."""

    def check(frames: Frames) -> None:
        largest, count = settings.spec.largest_views, len(frames)
        if largest is not None and count > largest and of_the_prediction(formats, optimized=optimized):
            raise InputError(
                f"There are {count} frames, but {settings.spec.name} predicts what these exports need of at most "
                f"{largest} together; choose fewer with --frames or --max-frames."
            )

    return check


def export_prediction(
    driven: DrivenScene,
    folder: Path,
    formats: Sequence[str],
    settings: SceneSettings,
    progress: Progress,
    *,
    optimized: bool = False,
) -> list[str]:
    """Writes those of `formats` that only the prediction can fill; returns the names of the others."""
    chosen = of_the_prediction(formats, optimized=optimized)
    if chosen:
        source = driven.prediction.exportable if driven.prediction is not None else None
        export(source or driven.scene, folder, chosen, settings.export_options, progress=progress)
    return [name for name in formats if name not in chosen]
