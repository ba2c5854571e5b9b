"""gs_video: a video of Gaussians along a showcase path of the camera, with their depth beside it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scene.depth_colors import depth_colors, depth_range
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions, VideoQuality
from scene.progress import Progress
from scene.showcase_paths import FRAME_RATE, possible_path, showcase_path
from scene.video import write_video

#: x264's constant rate factor
_RATE_FACTORS: dict[VideoQuality, int] = {"low": 28, "medium": 23, "high": 18}
#: images rendered to find the range of the depth colors
_RANGE_IMAGES = 12


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes gs_video/0000_PATH.mp4 at the size of the cameras, 24 frames per second, one in memory at a time."""
    from scene.splat_rendering import Renderer

    assert source.gaussians is not None
    cameras, depth_place = options.video_cameras or source.cameras, options.depth_place
    trajectory = possible_path(options.trajectory, len(cameras))
    path_cameras = showcase_path(cameras, trajectory)
    renderer = Renderer(source.gaussians)
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

    path = folder / "gs_video" / f"{options.video_name or f'0000_{trajectory}'}.mp4"
    write_video(path, images(), FRAME_RATE, quality=_RATE_FACTORS[options.quality])
