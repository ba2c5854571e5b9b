"""gs_video: a video of Gaussians along a showcase path of the camera, with their depth beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scene.camera import Camera
from scene.depth_colors import depth_colors, depth_range
from scene.formats.exportable import Exportable
from scene.formats.options import DepthPlace, ExportOptions, ShowcasePath, VideoQuality
from scene.progress import Progress, ignore_progress
from scene.showcase_paths import FRAME_RATE, possible_path, showcase_path
from scene.video import write_video

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: x264's constant rate factor
_RATE_FACTORS: dict[VideoQuality, int] = {"low": 28, "medium": 23, "high": 18}
#: images rendered to find the range of the depth colors
_RANGE_IMAGES = 12


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gs_video/0000_PATH.mp4."""
    assert source.gaussians is not None
    cameras = options.video_cameras or source.cameras
    trajectory = possible_path(options.trajectory, len(cameras))
    write_gs_video(
        folder / "gs_video" / f"{options.video_name or f'0000_{trajectory}'}.mp4",
        source.gaussians,
        cameras,
        trajectory=trajectory,
        quality=options.quality,
        depth_place=options.depth_place,
        progress=progress,
    )


def write_gs_video(
    path: str | Path,
    gaussians: "Gaussians",
    cameras: Sequence[Camera],
    *,
    trajectory: ShowcasePath = "extend",
    quality: VideoQuality = "high",
    depth_place: DepthPlace = "right",
    progress: Progress = ignore_progress,
) -> int:
    """Renders `gaussians` along `trajectory` through `cameras` at their size, 24 frames per second, one in memory at a
    time. The file appears whole or not at all. Returns the number of frames."""
    from scene.splat_rendering import Renderer

    path_cameras = showcase_path(cameras, trajectory)
    renderer = Renderer(gaussians)
    limits = (0.0, 0.0)
    if depth_place != "nowhere":
        chosen = np.linspace(0, len(path_cameras) - 1, min(len(path_cameras), _RANGE_IMAGES)).round().astype(int)
        depths = [renderer.render(path_cameras[index]).z_depth for index in np.unique(chosen)]
        near, far = np.log(depth_range(depths))
        limits = (float(near), float(far))

    def images() -> Iterator[np.ndarray]:
        for index, camera in enumerate(path_cameras):
            rendering = renderer.render(camera)
            image = np.rint(rendering.image * 255.0).astype(np.uint8)
            if depth_place != "nowhere":
                join = np.hstack if depth_place == "right" else np.vstack
                colors = depth_colors(rendering.z_depth, limits, scale="log", unknown=(0, 0, 0))
                image = join([image, colors])
            yield image
            progress("rendering the video", index + 1, len(path_cameras))

    write_video(path, images(), FRAME_RATE, quality=_RATE_FACTORS[quality])
    return len(path_cameras)
