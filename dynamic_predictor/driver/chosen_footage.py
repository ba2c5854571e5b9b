"""What of a clip is predicted: the shot that the settings choose, without what shows nothing."""

from collections.abc import Callable

from dynamic_predictor.driver.preparation import Preparation
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.shot_choice import WHOLE
from dynamic_predictor.driver.shots import (
    SeveralShots,
    chosen_number,
    cuts_sentence,
    found_shots,
    moved,
    part_of_clip,
    shot_name,
)
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.footage.shots import one_shot
from scene.progress import Progress


def chosen_footage(
    workspace: StreamWorkspace, settings: DriverSettings, progress: Progress, warn: Callable[[str], None]
) -> tuple[StreamWorkspace, Preparation]:
    """The frames of the shot that is worked on, and what is left out of them. Raises `SeveralShots` where none of
    several was chosen."""
    title = settings.input
    frames = workspace.frames()
    found = found_shots(workspace, progress)
    if settings.shot == WHOLE:
        found = one_shot(found)
    number = chosen_number(settings.shot, title, found)
    if number is None:
        raise SeveralShots(title, found, workspace)
    shot = found.shots[number - 1]
    if len(found.shots) > 1:
        warn(f"{cuts_sentence(title, found)} This is shot {number}.")
        workspace = part_of_clip(workspace, range(shot.start, shot.stop), shot_name(number))
        frames = workspace.frames()
    for first, last in found.dissolves:
        if shot.start <= first < shot.stop:
            warn(
                f"{title} seems to change slowly from one view into another in frames {first} to {last}; if it "
                "does, take one of the views with --frames."
            )
    shot = moved(shot, shot.start)
    if settings.keep_everything:
        return workspace, Preparation.nothing(frames)
    # what lies over the picture would bend when it is undistorted for a given lens
    preparation = Preparation.of(frames, shot, with_overlays=settings.lens in (None, "auto", "pinhole"))
    for sentence in preparation.sentences(title):
        warn(sentence)
    return workspace, preparation
