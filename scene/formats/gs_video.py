"""A video along a showcase path through Gaussians, with their depth beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np

from scene.camera import Camera
from scene.gaussians import Gaussians
from scene.progress import Progress, ignore_progress
from scene.showcase_paths import FRAME_RATE, ShowcasePath, showcase_path
from scene.splat_rendering import Renderer, Rendering
from scene.video import write_video

VideoQuality = Literal["low", "medium", "high"]
#: where depth is shown: right of the image, below it, or not
DepthPlace = Literal["right", "below", "nowhere"]
#: x264's constant rate factor
_RATE_FACTORS: dict[str, int] = {"low": 28, "medium": 23, "high": 18}
#: images looked at to find the range of the depth colours
_RANGE_IMAGES = 12


def write_gs_video(
    path: str | Path,
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    *,
    trajectory: ShowcasePath = "extend",
    quality: VideoQuality = "high",
    depth_place: DepthPlace = "right",
    progress: Progress = ignore_progress,
) -> int:
    """Renders `gaussians` along `trajectory` through `cameras` at their size, 24 images per second, one in memory at
    a time. The file appears whole or not at all; returns the number of images."""
    way = showcase_path(cameras, trajectory)
    renderer = Renderer(gaussians)
    limits = (1.0, 2.0) if depth_place == "nowhere" else _depth_limits(renderer, way)

    def images() -> Iterator[np.ndarray]:
        for index, camera in enumerate(way):
            rendering = renderer.render(camera)
            image = np.rint(rendering.image * 255.0).astype(np.uint8)
            if depth_place != "nowhere":
                join = np.hstack if depth_place == "right" else np.vstack
                image = join([image, _depth_image(rendering, limits)])
            yield image
            progress("rendering the video", index + 1, len(way))

    write_video(path, images(), FRAME_RATE, quality=_RATE_FACTORS[quality])
    return len(way)


def _depth_limits(renderer: Renderer, way: Sequence[Camera]) -> tuple[float, float]:
    """The 1st and 99th percentile of the depths along the way."""
    chosen = np.unique(np.linspace(0, len(way) - 1, min(len(way), _RANGE_IMAGES)).round().astype(int))
    depths = [renderer.render(way[index]).z_depth for index in chosen]
    known = np.concatenate([depth[depth > 0][::7] for depth in depths])
    if not len(known):
        return 1.0, 2.0
    near, far = np.percentile(known, [1, 99])
    return float(near), float(max(far, near * 1.01))


def _depth_image(rendering: Rendering, limits: tuple[float, float]) -> np.ndarray:
    """Logarithm of the depth in Spectral, near red; black where nothing is."""
    near, far = np.log(limits)
    known = rendering.z_depth > 0
    level = (np.log(np.where(known, rendering.z_depth, 1.0)) - near) / (far - near)
    colors = matplotlib.colormaps["Spectral"](np.clip(level, 0.0, 1.0))[..., :3]
    return np.rint(colors * known[..., None] * 255.0).astype(np.uint8)
