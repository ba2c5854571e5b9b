"""Compares depth with the truth: the depth maps of a run's scene, and the depth of its rendered Gaussians."""

from collections.abc import Callable

import numpy as np

from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from stillsplat.scores.run_truth import RunTruth

#: every n-th pixel is kept for medians, which bounds memory
_STEP = 5


def depth_scale(z_depths: FrameMaps, truth: RunTruth) -> float:
    """Truth units per run unit: the median of true over estimated depth on all static pixels; NaN without any."""
    ratios = []
    for index in range(len(truth)):
        estimated, true, static = _static_depths(z_depths, truth, index)
        known = static & (estimated > 0)
        ratios.append((true[known] / estimated[known])[::_STEP])
    return _median(ratios)


def depth_figures(z_depths: FrameMaps, truth: RunTruth, progress: Progress = ignore_progress) -> dict[str, float]:
    """Relative errors and coverage of a scene's depth maps on static pixels, after one scale for the whole clip."""
    scale = depth_scale(z_depths, truth)
    total = known_pixels = pixels = 0.0
    sample = []
    for index in range(len(truth)):
        estimated, true, static = _static_depths(z_depths, truth, index)
        known = static & (estimated > 0)
        relative = np.abs(scale * estimated[known] - true[known]) / true[known]
        total += float(relative.sum())
        known_pixels += int(known.sum())
        pixels += int(static.sum())
        sample.append(relative[::_STEP])
        progress("comparing depth", index + 1, len(truth))
    return {
        "depth_abs_rel": total / known_pixels if known_pixels else float("nan"),
        "depth_median_rel": _median(sample),
        "depth_coverage": known_pixels / pixels if pixels else float("nan"),
    }


def rendered_depth_error(
    render_depth: Callable[[int], np.ndarray], truth: RunTruth, progress: Progress = ignore_progress
) -> float:
    """Mean relative error of rendered depth (H, W) of all frames against the truth without moving objects, after one
    scale for the whole clip; NaN without such truth."""
    pairs = []
    for index in range(len(truth)):
        progress("comparing depth of the Gaussians", index + 1, len(truth))
        true = truth.clean_depth(index)
        if true is None:
            continue
        rendered = render_depth(index)
        known = (rendered > 0) & (true > 0)
        pairs.append((rendered[known][::_STEP], true[known][::_STEP]))
    if not sum(len(rendered) for rendered, _ in pairs):
        return float("nan")
    rendered, true = (np.concatenate(part) for part in zip(*pairs, strict=True))
    scale = float(np.median(true / rendered))
    return float(np.mean(np.abs(scale * rendered - true) / true))


def _static_depths(z_depths: FrameMaps, truth: RunTruth, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimated depth, true depth and the mask of static pixels with a true depth, each (H, W)."""
    estimated, true, moving = z_depths[index], truth.depth(index), truth.mask(index)
    if true is None:
        true = np.zeros(estimated.shape, np.float32)
    return estimated, true, (true > 0) if moving is None else (true > 0) & ~moving


def _median(parts: list[np.ndarray]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0)
    return float(np.median(values)) if len(values) else float("nan")
