"""The predictor alone: frames, cameras, motion masks and depth of a clip as a scene folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import CheckClip, SceneDriver, scene_of_folder
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.files.output_place import check_output_folder
from scene.folder import save_scene
from scene.formats.registry import SCENE, check_formats, export
from scene.open_scene import is_scene
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
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
    check_output_folder(scene_folder, holds="a scene", is_ours=is_scene, overwrite=overwrite)
    formats = check_formats(settings.export, SCENE) if settings.export is not None else []
    # frames lie meanwhile beside the scene, because a system's temporary folder may be small
    nearby = next(folder for folder in scene_folder.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".stillsplat-", dir=nearby) as working:
        scene = make_scene(settings, Path(working), progress, warn)
        save_scene(scene, scene_folder, overwrite=overwrite, progress=progress)
        if formats:
            export(scene, scene_folder, formats, settings.export_options, progress=progress)


def make_scene(
    settings: DriverSettings,
    working_folder: Path,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    *,
    check: CheckClip = lambda frames, positions: None,
) -> Scene:
    """The scene of the input, a clip or a scene folder. Its frames, depths and masks may lie in `working_folder`, which
    must exist until the scene is saved. `check` is called before the prediction."""
    if is_scene(settings.input):
        scene = scene_of_folder(settings, working_folder, progress=progress, warn=warn)
        check(scene.frames, range(len(scene.frames)))
        return scene
    driver = SceneDriver(settings, progress=progress, warn=warn)
    workspace = StreamWorkspace(working_folder / "clip", {}, resume=False)
    return driver.scene(workspace, check=check).scene
