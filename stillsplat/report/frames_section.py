"""The report's sections on the shown frames: the before/after slider, and strips of masks, depth and errors."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from scene.depth_colors import depth_range
from scene.progress import Progress
from stillsplat import overlays
from stillsplat.report.color_bars import ColorBar, color_bar
from stillsplat.report.material import Material
from stillsplat.report.page import SMALL_WIDTH, large_image, small_image, thumbnail
from stillsplat.report.plate_pictures import PlatePictures


@dataclass(frozen=True)
class _Column:
    """One kind of image of the strips."""

    title: str
    note: str
    image: Callable[[int], np.ndarray | None]


def slider_section(material: Material, workers: Executor) -> dict[str, Any] | None:
    """Pairs of frame and static render; None before rendering."""
    if not material.has_renders:
        return None

    def pair(index: int) -> dict[str, Any]:
        return {
            "index": index,
            "before": large_image(material.frame(index)),
            "after": large_image(material.render(index)),
            "thumbnail": thumbnail(material.frame(index)),
        }

    frames = list(workers.map(pair, material.shown))
    # the first frame to show is that with the largest moving area
    first = max(material.shown, key=lambda index: float(material.motion(index).mean()))
    return {"frames": frames, "first": first}


def strips_section(material: Material, progress: Progress, workers: Executor) -> dict[str, Any]:
    """Images of every kind that the run has, for each shown frame."""
    columns, bars = _columns(material)
    per_frame = material.metrics["per_frame"] if material.metrics is not None else None
    held_out = set(material.held_out)

    def strip(index: int) -> dict[str, Any]:
        images = []
        for column in columns:
            pixels = column.image(index)
            if pixels is not None:
                alt = f"frame {index}: {column.title.lower()}"
                images.append({"source": small_image(pixels), "title": column.title, "note": column.note, "alt": alt})
        return {
            "index": index,
            "images": images,
            "held_out": index in held_out,
            "psnr": per_frame[index]["psnr_static"] if per_frame is not None else None,
            "moving_percent": 100 * float((material.motion(index) >= 0.5).mean()),
        }

    frames = []
    for done, frame in enumerate(workers.map(strip, material.shown), start=1):
        frames.append(frame)
        progress("report", done, len(material.shown))
    return {
        "frames": frames,
        "bars": bars,
        "seen": _seen_sentence(material.visibility),
        "plate": PlatePictures(material).sentence(),
    }


def _columns(material: Material) -> tuple[list[_Column], list[ColorBar]]:
    columns = [_Column("Input", "", material.frame)]
    bars = []
    if material.scene.motion_masks is not None:
        masked = lambda index: overlays.mask_image(material.frame(index), material.motion(index))  # noqa: E731
        columns.append(_Column("What moves", "bright orange, the rest dimmed", masked))
    observed = material.scene.observed
    if observed is not None:
        unobserved = lambda index: overlays.seen_image(material.frame(index), 255.0 * observed[index])  # noqa: E731
        columns.append(_Column("Not observed", "solid: transparent, border or caption", unobserved))
    z_depths = material.scene.z_depths
    if z_depths is not None:
        depths = {index: z_depths[index] for index in material.shown}
        near, far = depth_range([np.where(material.motion(index) < 0.5, depths[index], 0) for index in depths])
        columns.append(_Column("Depth", "", lambda index: overlays.depth_image(depths[index], near, far)))
        middle = 2 / (1 / near + 1 / far)
        bars.append(color_bar("Depth, scene units", "inferno_r", [f"{value:.3g}" for value in (near, middle, far)]))
    if not material.has_renders:
        return columns, bars
    columns.append(_Column("Static render", "", material.render))

    def difference(index: int) -> np.ndarray:
        return overlays.error_image(
            material.render(index), material.frame(index), material.ignored(index), width=SMALL_WIDTH
        )

    columns.append(_Column("Render − input", "striped: moves, meant to differ", difference))
    bars.append(color_bar("Difference, gray levels of 255", "magma", ["0", "32", "64 and more"]))
    if material.truth is not None:

        def error(index: int) -> np.ndarray | None:
            clean = material.clean_truth(index)
            return overlays.error_image(material.render(index), clean, width=SMALL_WIDTH) if clean is not None else None

        columns.append(_Column("Truth without movers", "", material.clean_truth))
        columns.append(_Column("Render − truth", "the error", error))
    plate = PlatePictures(material)
    if plate.has_images:
        columns.append(_Column("Plate", "the clip without what moves", plate.image))
    if plate.has_mattes:
        columns.append(_Column("Replaced", "orange: fetched, solid yellow: invented", plate.replaced))
    if material.visibility is not None:

        def seen(index: int) -> np.ndarray:
            return overlays.seen_image(material.frame(index), material.seen(index))

        columns.append(_Column("Never seen", "solid: never, striped: once or twice", seen))
    return columns, bars


def _seen_sentence(visibility: dict[str, Any] | None) -> str:
    if visibility is None:
        return ""
    shown, behind = visibility["never_share"], visibility["never_behind_share"]
    hidden = f", and of the moving pixels {100 * behind:.1f} % hide," if behind is not None else ""
    return (
        f"{100 * shown:.1f} % of the pixels of these frames show{hidden} a place of the static scene that is seen in "
        f"none of {visibility['sampled']} frames that were compared. What the render shows there is a guess. Measured "
        "on the depth of the rendered Gaussians at a coarse scale."
    )
