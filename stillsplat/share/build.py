"""Collects what the page of a result shows, and writes it."""

import base64
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from scene.camera import Camera
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.images import resize_image
from scene.progress import Progress, ignore_progress
from scene.video import write_video
from stillsplat.reconstruct import frame_rate
from stillsplat.run_folder import code_version
from stillsplat.share.packing import BYTES_EACH, PackedSplats, packed_splats, worth_sending
from stillsplat.share.settings import ShareSettings
from viewer.result import Result, middle_depth, placed

_MEGABYTE = 1_000_000
#: room for style, program and cameras
_PAGE_BYTES = 120_000
#: the video takes at most this share of the page; x264's rate factors that are tried for it
_VIDEO_SHARE, _QUALITIES = 0.35, (24, 29, 34, 39)
#: at most so many cameras can be jumped to
_CAMERAS = 200


@dataclass(frozen=True)
class SharedPage:
    """What was written."""

    path: Path
    bytes: int
    sent: int
    #: Gaussians of the result
    gaussians: int


def write_share(
    result: Result, output: str | Path, settings: ShareSettings | None = None, *, progress: Progress = ignore_progress
) -> SharedPage:
    """Writes the page of `result`, whole or not at all. Raises `InputError` without splats, and when they or the video
    do not fit into the largest page."""
    settings, output = settings or ShareSettings(), Path(output)
    if result.gaussians is None:
        raise InputError(f"{result.path} has no splats to share; give the output folder of a finished stillsplat run.")
    if output.is_dir():
        raise InputError(f"{output} is a folder; give the name of a page, such as scene.html.")
    limit = int(settings.max_megabytes * _MEGABYTE)
    video = _video(result, settings, int(limit * _VIDEO_SHARE), progress)
    room = limit - _PAGE_BYTES - _base64_size(len(video or b""))
    most = room // 4 * 3 // BYTES_EACH
    if most < 1000:
        raise InputError("The page has no room for splats beside the video; raise --max-megabytes or --video-width 0.")
    packed = packed_splats(worth_sending(result.gaussians, most))
    page = _page(result, packed, video, settings.title or result.name)
    with atomic_file(output) as temporary:
        temporary.write_text(page, "utf-8", errors="backslashreplace")
    return SharedPage(output, len(page.encode("utf-8", "backslashreplace")), packed.count, len(result.gaussians))


def _page(result: Result, packed: PackedSplats, video: bytes | None, title: str) -> str:
    assert result.gaussians is not None
    # the page computes in the local frame of the Gaussians
    local = placed(result, result.gaussians.world_from_local.inverse())
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stillsplat", "share"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    source, _, _ = environment.loader.get_source(environment, "viewer.js")  # type: ignore[union-attr]
    style, _, _ = environment.loader.get_source(environment, "page.css")  # type: ignore[union-attr]
    program, _, _ = environment.loader.get_source(environment, "page.js")  # type: ignore[union-attr]
    content: dict[str, Any] = {
        "title": title,
        "style": Markup(style),
        "viewer": Markup(source),
        "program": Markup(program),
        "scene": {
            "count": packed.count,
            "sh_scale": packed.sh_scale,
            "depth": middle_depth(local),
            "cameras": [_camera(camera) for camera in _chosen(local.cameras)],
        },
        "splats": Markup(base64.b64encode(packed.content).decode("ascii")),
        "video": Markup(base64.b64encode(video).decode("ascii")) if video else None,
        "sent": f"{packed.count:,}",
        "all": f"{len(result.gaussians):,}",
        "reduced": packed.count < len(result.gaussians),
        "flattened": bool((result.gaussians.sh_coefficients[:, 4:] != 0).any()),
        "code": code_version(),
        "date": time.strftime("%d %B %Y"),
        "size": "",
    }
    template = environment.get_template("page.html.jinja")
    megabytes = (len(template.render(content)) + 8) / _MEGABYTE
    return template.render({**content, "size": f"{megabytes:.1f} MB"})


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "size": [camera.width, camera.height],
        "focal": [camera.fx, camera.fy],
        "principal": [camera.cx, camera.cy],
        "world_from_camera": [round(float(value), 7) for value in camera.world_from_camera.ravel()],
    }


def _chosen(cameras: Any) -> list[Camera]:
    step = -(-len(cameras) // _CAMERAS)
    return list(cameras[::step])


def _video(result: Result, settings: ShareSettings, limit: int, progress: Progress) -> bytes | None:
    """The clip above its static render, as an MP4 of at most `limit` bytes where that is possible."""
    if not settings.video_width or result.scene is None or not result.renders:
        return None
    frames = result.scene.frames
    width, height = frames.width, frames.height
    if width > settings.video_width:
        width, height = settings.video_width, max(2, round(settings.video_width * height / width))
    width, height = width // 2 * 2, height // 2 * 2

    def images() -> Iterator[np.ndarray]:
        for index in range(len(frames)):
            after = result.static_image(index)
            assert after is not None
            yield np.vstack([resize_image(item, width, height) for item in (frames.rgb8(index), after)])
            progress("video", index + 1, len(frames))

    content = b""
    with tempfile.TemporaryDirectory(prefix="stillsplat-") as folder:
        for quality in _QUALITIES:
            write_video(Path(folder) / "clip.mp4", images(), frame_rate(frames), quality=quality)
            content = (Path(folder) / "clip.mp4").read_bytes()
            if _base64_size(len(content)) <= limit:
                break
    return content


def _base64_size(count: int) -> int:
    return -(-count // 3) * 4
