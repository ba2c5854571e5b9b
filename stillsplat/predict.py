"""The predictor alone: frames, cameras, motion masks and depth of a clip as a scene folder."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.folder_scenes import scene_of_folder
from dynamic_predictor.driver.scene_driver import CheckClip, DrivenScene, SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence
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
from stillsplat.shot_folders import holds_shots, write_shots


def is_ours(folder: str | Path) -> bool:
    """Whether a folder is a scene, or holds the scenes of the shots of a clip."""
    return is_scene(folder) or holds_shots(folder)


def predict(
    settings: SceneSettings,
    scene_folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Writes the scene of the input into `scene_folder`, whole or not at all, and exports beside it; of a clip with
    cuts, a scene for each shot into `scene_folder`/shot-01 and so on."""
    check_options(settings)
    checked_formats(settings)
    scene_folder = Path(scene_folder)
    with only_process(scene_folder), working_folder(scene_folder) as working:
        check_output_folder(scene_folder, holds="a scene", is_ours=is_ours, overwrite=overwrite)
        made = working / "scene"
        try:
            _predict_one(settings, made, working, None, progress, warn)
        except SeveralShots as several:
            clip = several.workspace
            warn(cuts_sentence(settings.input, several.found))

            def one(number: int, folder: Path) -> None:
                _predict_one(replace(settings, shot=str(number)), folder, working, clip, progress, warn)

            write_shots(several, made, one, warn=warn)
        put_folder_in_place(made, scene_folder)


def _predict_one(
    settings: SceneSettings,
    scene_folder: Path,
    working: Path,
    clip: StreamWorkspace | None,
    progress: Progress,
    warn: Callable[[str], None],
) -> None:
    formats = checked_formats(settings)
    check_length = length_check(settings, formats)

    def check(frames: Frames, positions: Sequence[int], source_size: tuple[int, int]) -> None:
        check_length(frames)
        say_progress(progress, estimated_time(frames, source_size, settings))

    driven = make_scene(
        settings,
        working,
        progress,
        warn,
        check=check,
        clip=clip,
        **export_settings(settings, formats),
    )
    save_scene(driven.scene, scene_folder, progress=progress)
    rest = export_prediction(driven, scene_folder, formats, settings, progress)
    if rest:
        export(driven.scene, scene_folder, rest, settings.export_options, progress=progress)


def make_scene(
    settings: DriverSettings,
    working_folder: Path,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    *,
    check: CheckClip = lambda frames, positions, source_size: None,
    clip: StreamWorkspace | None = None,
    **predictor_settings: Any,
) -> DrivenScene:
    """The scene of the input, a clip or a scene folder. Its frames, depths and masks may lie in `working_folder`, which
    must exist until the scene is saved. `check` is called before the prediction; `clip` has all frames of the input,
    where they are read already; `predictor_settings` are further fields of the predictor's settings type. Raises
    `SeveralShots` for a clip with cuts, unless the settings choose one of its shots."""
    if can_open(settings.input):
        scene = scene_of_folder(settings, working_folder, progress=progress, warn=warn)
        check(scene.frames, range(len(scene.frames)), (scene.frames.width, scene.frames.height))
        return DrivenScene(scene)
    driver = SceneDriver(settings, progress=progress, warn=warn, **predictor_settings)
    workspace = clip or StreamWorkspace(working_folder / "clip", {}, resume=False)
    return driver.scene(workspace, check=check)
