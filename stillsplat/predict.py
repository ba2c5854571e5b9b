"""The predictor alone: frames, cameras, motion masks and depth of a clip as a scene folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import CheckClip, DrivenScene, SceneDriver, scene_of_folder
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.files.atomic import put_folder_in_place
from scene.files.locking import only_process
from scene.files.output_place import check_output_folder
from scene.files.recovery import working_folder
from scene.folder import save_scene
from scene.formats.registry import export
from scene.frames import Frames
from scene.open_scene import can_open, is_scene
from scene.progress import Progress, ignore_progress, say_progress
from stillsplat.estimate import estimated_time
from stillsplat.scene_exports import checked_formats, export_prediction, export_settings, length_check
from stillsplat.settings import SceneSettings


def predict(
    settings: SceneSettings,
    scene_folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Writes the scene of the input into `scene_folder`, whole or not at all, and exports beside it."""
    check_options(settings)
    scene_folder = Path(scene_folder)
    formats = checked_formats(settings)
    check_length = length_check(settings, formats)

    def check(frames: Frames, positions: Sequence[int]) -> None:
        check_length(frames, positions)
        say_progress(progress, estimated_time(frames, settings))

    with only_process(scene_folder), working_folder(scene_folder) as working:
        check_output_folder(scene_folder, holds="a scene", is_ours=is_scene, overwrite=overwrite)
        driven = make_scene(
            settings,
            working,
            progress,
            warn,
            check=check,
            **export_settings(settings, formats),
        )
        made = working / "scene"
        save_scene(driven.scene, made, progress=progress)
        rest = export_prediction(driven, made, formats, settings, progress)
        if rest:
            export(driven.scene, made, rest, settings.export_options, progress=progress)
        put_folder_in_place(made, scene_folder)


def make_scene(
    settings: DriverSettings,
    working_folder: Path,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    *,
    check: CheckClip = lambda frames, positions: None,
    **predictor_settings: Any,
) -> DrivenScene:
    """The scene of the input, a clip or a scene folder. Its frames, depths and masks may lie in `working_folder`, which
    must exist until the scene is saved. `check` is called before the prediction; `predictor_settings` are further
    fields of the predictor's settings type."""
    if can_open(settings.input):
        scene = scene_of_folder(settings, working_folder, progress=progress, warn=warn)
        check(scene.frames, range(len(scene.frames)))
        return DrivenScene(scene)
    driver = SceneDriver(settings, progress=progress, warn=warn, **predictor_settings)
    workspace = StreamWorkspace(working_folder / "clip", {}, resume=False)
    return driver.scene(workspace, check=check)
