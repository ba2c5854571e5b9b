"""The report's video player: the comparison video, of which the page shows all or one of its three parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scene.files.recovery import working_folder
from scene.images import resize_image
from scene.video import frame_rate, write_video
from stillsplat import overlays
from stillsplat.report.material import Material, evenly
from stillsplat.report.page import video_source

#: a larger comparison video is replaced by a preview of so many bytes at most
LARGEST_VIDEO = 2_000_000
#: frames, and width of one part in pixels, of the first preview that is tried; the next ones are smaller
_PREVIEW_FRAMES = 48
_PREVIEW_WIDTHS = (320, 200, 120)
_PREVIEW_QUALITY = 28
#: frames per second of the preview of a long clip
_SLOWEST = 6.0


def video_section(material: Material) -> dict[str, Any] | None:
    """The embedded video with a note on what it leaves out; None before rendering."""
    path = material.folder.compare_video
    if not material.folder.finished("render") or not path.is_file():
        return None
    if path.stat().st_size <= LARGEST_VIDEO:
        return {"source": video_source(path), "note": ""}
    with working_folder(material.folder.path / "report_preview") as working:
        preview = working / "preview.mp4"
        for width in _PREVIEW_WIDTHS:
            chosen = _write_preview(material, preview, width)
            if preview.stat().st_size <= LARGEST_VIDEO:
                note = f"A small preview of {len(chosen)} of {len(material.scene.frames)} frames; compare.mp4 has all."
                return {"source": video_source(preview), "note": note}
    return None


def _write_preview(material: Material, path: Path, width: int) -> list[int]:
    """A comparison video of some of the frames, as long as the clip or shorter; returns the frames."""
    count = len(material.scene.frames)
    chosen = evenly(range(count), _PREVIEW_FRAMES)
    width = min(width, material.scene.frames.width)
    height = max(1, round(material.scene.frames.height * width / material.scene.frames.width))
    masks = material.scene.motion_masks

    def images() -> Iterator[np.ndarray]:
        for index in chosen:
            frame = resize_image(material.scene.frames.rgb8(index), width, height)
            rendered = resize_image(material.folder.render(index, material.scene.frames), width, height)
            motion = resize_image(masks[index], width, height) if masks is not None else None
            yield overlays.comparison(frame, motion, rendered)

    rate = max(_SLOWEST, frame_rate(material.scene.frames) * len(chosen) / count)
    write_video(path, images(), rate, quality=_PREVIEW_QUALITY)
    return chosen
