"""The predictor alone: frames, cameras, motion masks and depth of a clip as a scene folder."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import CheckClip, DrivenScene, SceneDriver, scene_of_folder
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.shots import SeveralShots, cuts_sentence
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.files.output_place import check_output_folder
from scene.folder import save_scene
from scene.formats.registry import export
from scene.open_scene import is_scene
from scene.progress import Progress, ignore_progress
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
    check_output_folder(scene_folder, holds="a scene", is_ours=is_ours, overwrite=overwrite)
    # frames lie meanwhile beside the scene, because a system's temporary folder may be small
    nearby = next(folder for folder in scene_folder.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".stillsplat-", dir=nearby) as working:
        place = Path(working)
        try:
            _predict_one(settings, scene_folder, place, None, overwrite, progress, warn)
        except SeveralShots as several:
            clip = several.workspace
            warn(cuts_sentence(settings.input, several.found))

            def one(number: int, folder: Path) -> None:
                _predict_one(replace(settings, shot=str(number)), folder, place, clip, False, progress, warn)

            write_shots(several, scene_folder, one, overwrite=overwrite, warn=warn)


def _predict_one(
    settings: SceneSettings,
    scene_folder: Path,
    working: Path,
    clip: StreamWorkspace | None,
    overwrite: bool,
    progress: Progress,
    warn: Callable[[str], None],
) -> None:
    formats = checked_formats(settings)
    driven = make_scene(
        settings,
        working,
        progress,
        warn,
        check=length_check(settings, formats),
        clip=clip,
        **export_settings(settings, formats),
    )
    save_scene(driven.scene, scene_folder, overwrite=overwrite, progress=progress)
    rest = export_prediction(driven, scene_folder, formats, settings, progress)
    if rest:
        export(driven.scene, scene_folder, rest, settings.export_options, progress=progress)


def make_scene(
    settings: DriverSettings,
    working_folder: Path,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    *,
    check: CheckClip = lambda frames, positions: None,
    clip: StreamWorkspace | None = None,
    **predictor_settings: Any,
) -> DrivenScene:
    """The scene of the input, a clip or a scene folder. Its frames, depths and masks may lie in `working_folder`, which
    must exist until the scene is saved. `check` is called before the prediction; `clip` has all frames of the input,
    where they are read already; `predictor_settings` are further fields of the predictor's settings type. Raises
    `SeveralShots` for a clip with cuts, unless the settings choose one of its shots."""
    if is_scene(settings.input):
        scene = scene_of_folder(settings, working_folder, progress=progress, warn=warn)
        check(scene.frames, range(len(scene.frames)))
        return DrivenScene(scene)
    driver = SceneDriver(settings, progress=progress, warn=warn, **predictor_settings)
    workspace = clip or StreamWorkspace(working_folder / "clip", {}, resume=False)
    return driver.scene(workspace, check=check)
