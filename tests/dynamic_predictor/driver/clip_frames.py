"""Frames of a source by way of the driver's intake, for tests."""

from pathlib import Path

from dynamic_predictor.driver.intake import Intake
from dynamic_predictor.driver.sources import Source, open_source
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.frames import ImageFolderFrames
from scene.progress import Progress, ignore_progress


def open_frames(
    source: Source,
    *,
    max_size: int | None = 512,
    frame_range: slice | str | None = None,
    working_folder: Path,
    progress: Progress = ignore_progress,
) -> ImageFolderFrames:
    """The frames of `source`, stored in `working_folder`."""
    chosen = {"max_size": max_size, "frame_range": frame_range, "working_folder": working_folder}
    frames, ended = read_clip(source, **chosen, progress=progress)
    assert ended is None
    return frames


def read_clip(
    source: Source,
    *,
    max_size: int | None = 512,
    frame_range: slice | str | None = None,
    working_folder: Path,
    progress: Progress = ignore_progress,
) -> tuple[ImageFolderFrames, str | None]:
    """The frames, and why the source ended early (or None)."""
    opened = open_source(source, frames=frame_range)
    workspace = StreamWorkspace(Path(working_folder), {}, resume=False)
    intake = Intake(opened, workspace, max_size=max_size, progress=progress)
    intake.take_all()
    intake.finish()
    return workspace.frames(), intake.ended
