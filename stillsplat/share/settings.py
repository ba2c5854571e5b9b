"""Options of `stillsplat share`."""

from dataclasses import dataclass

from scene.errors import InputError
from scene.option import check_values, option


@dataclass(frozen=True)
class ShareSettings:
    """Raises `InputError` for limits that leave no room."""

    max_megabytes: float = option(
        15.0, "largest page; fainter and smaller splats are left out where it would be larger", metavar="MB"
    )
    title: str | None = option(None, "title of the page (default: the name of OUT)", metavar="TEXT")
    video_width: int = option(480, "width of the video in pixels; 0: without a video", metavar="PIXELS")

    def __post_init__(self) -> None:
        check_values(self)
        if not 1.0 <= self.max_megabytes <= 200.0:
            raise InputError(f"--max-megabytes must be between 1 and 200, not {self.max_megabytes:g}.")
        if self.video_width != 0 and not 16 <= self.video_width <= 1920:
            raise InputError(f"--video-width must be 0 or between 16 and 1920, not {self.video_width}.")
