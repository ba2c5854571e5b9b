"""The options of all formats, declared once: arguments in Python and options of every command with `--export`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from scene.errors import InputError
from scene.option import check_values, option

if TYPE_CHECKING:
    from scene.camera import Camera

#: camera paths of gs_video, made by `scene.showcase_paths`
ShowcasePath = Literal[
    "original", "smooth", "interpolate", "interpolate_smooth", "wander", "dolly_zoom", "extend", "wobble_inter"
]
SHOWCASE_PATHS: tuple[ShowcasePath, ...] = get_args(ShowcasePath)
VideoQuality = Literal["low", "medium", "high"]
VIDEO_QUALITIES: tuple[VideoQuality, ...] = get_args(VideoQuality)
#: where gs_video shows depth: right of the image, below it, or nowhere
DepthPlace = Literal["right", "below", "nowhere"]
#: versions of .spz files that are written
SpzVersion = Literal[3, 4]
_SPZ_VERSIONS: tuple[SpzVersion, ...] = get_args(SpzVersion)
_DEPTH_PLACES: tuple[DepthPlace, ...] = get_args(DepthPlace)

_MAX_FRAME_RATE = 240
_GROUP = "exports"


@dataclass(frozen=True)
class ExportOptions:
    """Options of the formats. Raises `InputError` for values out of range.

    The declared options (`scene.option.option`) are on the command line too, the others are for Python only.
    """

    confidence_percentile: float = option(
        40.0,
        "glb, ply, colmap: no points from the P % of pixels with the least confidence",
        metavar="P",
        flags=("--conf-percentile",),
        group=_GROUP,
    )
    max_points: int = option(1_000_000, "glb, ply, colmap: at most N points", metavar="N", group=_GROUP)
    show_cameras: bool = option(True, "glb: draw the cameras as wire pyramids", group=_GROUP)
    feature_rate: float = option(
        15.0, "feat_vis: frames per second", metavar="RATE", flags=("--feature-fps",), group=_GROUP
    )
    trajectory: ShowcasePath = option("extend", "gs_video: path of the camera", group=_GROUP)
    quality: VideoQuality = option("high", "gs_video: quality", flags=("--video-quality",), group=_GROUP)
    spz_version: SpzVersion = option(
        3, "spz: version of the file; 3 is read everywhere, 4 is newer and smaller", choices=_SPZ_VERSIONS, group=_GROUP
    )
    #: points need at least this confidence, unless more than `ceiling_percentile` percent of the pixels are below it;
    #: None: 1.05 where confidences are those of a network (c >= 1), else no bound
    least_confidence: float | None = None
    ceiling_percentile: float = 90.0
    #: no points from pixels that are nearly black or nearly white
    drop_black: bool = False
    drop_white: bool = False
    #: glb: length of the pyramids as a fraction of the scene's diagonal; whether depth_vis is written as well
    camera_size: float = 0.03
    depth_vis_beside: bool = False
    #: gs_ply: every `view_step`-th view
    view_step: int = 1
    #: gs_video: cameras along which the path leads (None: those of the scene), place of the depth, and name of the file
    #: without suffix (None: from the path)
    video_cameras: "Sequence[Camera] | None" = None
    depth_place: DepthPlace = "right"
    video_name: str | None = None
    #: chooses among more than `max_points` points
    seed: int = 0

    def __post_init__(self) -> None:
        check_values(self)
        for name, percent in (("confidence", self.confidence_percentile), ("ceiling", self.ceiling_percentile)):
            if not 0 <= percent <= 100:
                raise InputError(f"The {name} percentile must be from 0 to 100, not {percent:g}.")
        if self.max_points < 1:
            raise InputError(f"At least one point must be allowed, not {self.max_points}.")
        if self.view_step < 1:
            raise InputError(f"Every N-th view is exported, N from 1 on, not {self.view_step}.")
        if not 0 < self.feature_rate <= _MAX_FRAME_RATE:
            raise InputError(
                f"Frames per second must be above 0 and at most {_MAX_FRAME_RATE}, not {self.feature_rate:g}."
            )
        if not self.camera_size > 0:
            raise InputError(f"The size of the cameras must be above 0, not {self.camera_size:g}.")
        for what, value, known in (
            ("camera path", self.trajectory, SHOWCASE_PATHS),
            ("video quality", self.quality, VIDEO_QUALITIES),
            ("depth place", self.depth_place, _DEPTH_PLACES),
            ("version of SPZ", self.spz_version, _SPZ_VERSIONS),
        ):
            if value not in known:
                raise InputError(f'There is no {what} "{value}"; choose from: {", ".join(map(str, known))}.')
        if self.video_name is not None and (not self.video_name or Path(self.video_name).name != self.video_name):
            raise InputError(f'The name of the video must be a plain name, not "{self.video_name}".')
