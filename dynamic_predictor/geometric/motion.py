"""Motion masks: the pixels whose optical flow is not explained by cameras and depth.

Three steps. `residual_evidence` compares the flow of one frame to frames at several distances with the rigid flow of a
static world, and converts the residual, in units of its standard deviation, into evidence. `segment_graph` links the
superpixels of all frames of a window by color, flow and position and spreads the evidence over them, so that objects
are classified as a whole and over time. Last, edge-aware smoothing transfers the result to pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.geometric.consensus.borders import refined_borders
from dynamic_predictor.geometric.depth import (
    flow_variance,
    partner_frames,
    relative_error_from_confidence,
    texture_variance,
)
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from dynamic_predictor.geometric.rigid_flow import RigidPair, pixel_grid
from dynamic_predictor.geometric.segment_graph import FrameSegments, SegmentGraph, mean_per_segment
from dynamic_predictor.geometric.superpixels import superpixels
from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: distances, in frames, of the flows that are compared with rigid flow
MOTION_STRIDES = (1, 2, 4, 8)
#: largest log-likelihood ratio of one pair of frames, so that no single flow decides
EVIDENCE_LIMIT = 12.0


@dataclass
class Evidence:
    """Evidence about the pixels of one frame, float32.

    `moving` and `static` (H, W) are at least 0: mean log-likelihood ratios over the pairs of frames, clipped at
    `EVIDENCE_LIMIT`, times the share of the flows that could be trusted. `residual` (H, W, 2) is the mean difference
    between observed and rigid flow, in pixels per frame.
    """

    moving: np.ndarray
    static: np.ndarray
    residual: np.ndarray


def background_drift(error: np.ndarray, variance: np.ndarray, step: int = 6) -> tuple[np.ndarray, float]:
    """The smooth part of the residual flow that is common to most of the image: it is due to errors of the camera, the
    focal length or the lens, and not to motion.

    Fits a quadratic polynomial of the pixel position robustly to `error` (H, W, 2). Returns the polynomial (H, W, 2),
    in pixels, and the standard deviation of the rest in units of that of `variance` (H, W), at least 1.
    """
    height, width = variance.shape
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    values = error[y, x].reshape(-1, 2)
    noise = variance[y, x].ravel()
    use = np.isfinite(values).all(axis=1) & (noise < 4.0)
    if use.sum() < 200:
        return np.zeros_like(error), 1.0
    xn, yn = (2.0 * x / width - 1.0).ravel()[use], (2.0 * y / height - 1.0).ravel()[use]
    basis = np.stack([np.ones_like(xn), xn, yn, xn * xn, xn * yn, yn * yn], axis=1)
    values, noise = values[use], noise[use]
    center = np.median(values, axis=0)
    coefficients = np.zeros((6, 2))
    coefficients[0] = center
    scale = 1.0
    for _ in range(8):
        squared = ((values - basis @ coefficients) ** 2).sum(axis=1) / noise
        # 1.386 is the median of a chi-square distribution with two degrees of freedom
        scale = max(float(np.sqrt(np.median(squared) / 1.386)), 1.0)
        weight = 1.0 / (1.0 + squared / (4.0 * scale * scale)) ** 2 / noise
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(
            weighted.T @ basis + 1e-3 * np.eye(6) * weight.sum() / 100.0, weighted.T @ values
        )
    x, y = (
        np.arange(width)[None, :, None] * (2.0 / width) - 1.0,
        np.arange(height)[:, None, None] * (2.0 / height) - 1.0,
    )
    c = coefficients
    drift = c[0] + c[1] * x + c[2] * y + c[3] * x**2 + c[4] * x * y + c[5] * y**2
    return drift.astype(np.float32), scale


def residual_evidence(
    flow: FlowField,
    cameras: Sequence[Camera],
    index: int,
    inverse_depth: np.ndarray,
    deviation: np.ndarray,
) -> Evidence:
    """Evidence about frame `index`, whose `inverse_depth` (H, W) has the standard deviation `deviation` (H, W)."""
    shape = inverse_depth.shape
    moving, static, total = (np.zeros(shape, np.float32) for _ in range(3))
    residual = np.zeros((*shape, 2), np.float32)
    residual_weight = np.zeros(shape, np.float32)
    depth_variance = deviation * deviation
    texture = texture_variance(flow.gray(index))
    shift, rigid_difference, flow_difference = (np.zeros(shape, np.float32) for _ in range(3))
    gray = flow.gray(index).astype(np.float32)
    differences, visible = np.zeros((2, *shape), np.float32), np.zeros((2, *shape), np.float32)
    for other in partner_frames(index, len(cameras), MOTION_STRIDES):
        pair_flow = flow(index, other)
        variance = flow_variance(pair_flow) + _edge_variance(pair_flow.displacement) + texture
        pair = RigidPair.between(cameras[index], cameras[other])
        gx, gy, hx, hy = pair.constraint(pair_flow.displacement, inverse_depth)
        error = np.stack([hx - gx * inverse_depth, hy - gy * inverse_depth], axis=-1)
        drift, scale = background_drift(error, variance)
        error -= drift
        ex, ey = error[..., 0], error[..., 1]
        leverage = gx * gx + gy * gy
        along = (ex * gx + ey * gy) ** 2 / np.maximum(leverage, 1e-12)
        across = np.maximum(ex * ex + ey * ey - along, 0.0)
        spread = variance * (scale * scale)
        chi = across / spread + along / (spread + leverage * depth_variance)
        # near 1 for flow with little noise, 0 where it leaves the image
        trust = np.where(np.isfinite(variance), 1.0 / (1.0 + variance), 0.0)
        chi = np.where(np.isfinite(chi), chi, 0.0)
        # log odds of a broad distribution (moving) against the Rayleigh distribution (static): the sign changes at
        # three standard deviations
        odds = np.clip(0.5 * chi - 4.5, -4.5, EVIDENCE_LIMIT)
        moving += trust * np.maximum(odds, 0.0)
        static += trust * np.maximum(-odds, 0.0)
        total += trust
        frames_apart = other - index
        if abs(frames_apart) <= PHOTOMETRIC_STRIDE:
            image = flow.gray(other)
            seen = np.where(np.isfinite(chi), trust, 0.0)
            rigid = np.nan_to_num(pair_flow.displacement - error, posinf=0.0, neginf=0.0)
            difference = np.square(_warped(image, rigid) - gray)
            side = int(frames_apart > 0)
            inside = _inside(rigid) * _seen_at(flow, other, rigid)
            differences[side] += inside * difference
            visible[side] += inside
            rigid_difference += seen * difference
            flow_difference += seen * np.square(_warped(image, pair_flow.displacement) - gray)
        weight = trust / abs(frames_apart)
        residual += np.nan_to_num(error, posinf=0.0, neginf=0.0) * (weight / frames_apart)[..., None]
        residual_weight += weight
        shift = np.maximum(shift, np.where(trust > 0.3, leverage, 0.0))
    share = 1.0 / (total + 0.5)
    moving *= share * _photometric_factor(rigid_difference, flow_difference)
    static *= share
    moving += (1.0 - total * share) * _appearance_evidence(gray, differences, visible)
    height, spread = prominence(inverse_depth, moving <= static)
    # more prominent than the range of connected inverse depths, and by at least two pixels of flow
    certain = np.clip(height / max(spread, 1e-12) - 1.0, 0.0, 1.0)
    certain *= np.clip(0.5 * height * np.sqrt(shift) - 1.0, 0.0, 1.0)
    moving = np.maximum(moving, EVIDENCE_LIMIT * certain)
    static *= 1.0 - certain
    residual /= np.maximum(residual_weight, 1e-6)[..., None]
    unobserved = flow.unobserved(index)
    if unobserved is not None:
        moving[unobserved], static[unobserved] = 0.0, 0.0
    return Evidence(moving, static, residual)


#: largest distance, in frames, of images that are compared
PHOTOMETRIC_STRIDE = 4
#: factor of evidence for motion that the comparison of images does not confirm
PHOTOMETRIC_FLOOR = 0.4
#: largest evidence from the comparison of images alone
APPEARANCE_LIMIT = 4.0
#: number of level sets in `prominence`
PROMINENCE_LEVELS = 24


def prominence(inverse_depth: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, float]:
    """The topographic prominence (H, W) of each pixel on the map of inverse depth: how far inverse depth has to fall
    along any path from the pixel to the image border. Also returns the range of inverse depth of the pixels that are
    connected to the border. Paths lead over `usable` (H, W) pixels only.

    A static object stands on something, so that a path along the ground leads to the border without a jump of depth. An
    object that moves along its epipolar lines (a car that a panning camera follows) looks like a static near object,
    but it is connected to nothing: its prominence is large. Computed from the connected components of level sets.
    """
    bottom = float(np.quantile(inverse_depth, 0.02))
    levels = np.linspace(bottom, float(np.quantile(inverse_depth, 0.995)), PROMINENCE_LEVELS)
    connected = np.full_like(inverse_depth, bottom)
    for level in levels:
        count, labels = cv2.connectedComponents(((inverse_depth >= level) & usable).astype(np.uint8), connectivity=4)
        touches = np.zeros(count, bool)
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            touches[side] = True
        touches[0] = False
        connected[touches[labels]] = level
    connected = np.minimum(connected, inverse_depth)
    spread = np.quantile(connected[usable], (0.05, 0.95)) if usable.any() else np.zeros(2)
    return inverse_depth - connected, float(spread[1] - spread[0])


def _warped(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """The uint8 `image` (H, W) sampled at the end points of `displacement` (H, W, 2), float32."""
    height, width = image.shape
    x = np.arange(width, dtype=np.float32)[None, :] + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _inside(displacement: np.ndarray) -> np.ndarray:
    """(H, W) bool: whether `displacement` (H, W, 2) ends inside the image."""
    height, width = displacement.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _seen_at(flow: FlowField, index: int, displacement: np.ndarray) -> np.ndarray | float:
    """(H, W) in [0, 1]: whether `displacement` (H, W, 2) ends at a pixel of frame `index` that was observed."""
    unobserved = flow.unobserved(index)
    return 1.0 if unobserved is None else _warped((~unobserved).astype(np.uint8), displacement)


def _appearance_evidence(gray: np.ndarray, differences: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Evidence for motion (H, W) in [0, APPEARANCE_LIMIT] for pixels without usable flow: the rigid flow leads to
    pixels that look different both in earlier and in later frames. (A static pixel is usually occluded in one direction
    of time only.) `differences` (2, H, W) are the sums of squared differences of gray levels over the `visible` (2, H,
    W) frames before and after."""
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    # the difference that half a pixel of misalignment and sensor noise cause
    expected = cv2.GaussianBlur(0.25 * (dx * dx + dy * dy), (0, 0), 3.0) + 25.0
    ratios = []
    for difference, count in zip(differences, visible, strict=True):
        mean = cv2.GaussianBlur(difference, (0, 0), 2.0) / np.maximum(cv2.GaussianBlur(count, (0, 0), 2.0), 0.3)
        ratios.append(np.where(count > 0, mean / expected, np.inf))
    smaller = np.minimum(ratios[0], ratios[1])
    smaller[~np.isfinite(smaller) | ~(visible > 0).all(axis=0)] = 0.0
    return np.clip(np.log2(np.maximum(smaller, 1e-3)) - 1.0, 0.0, APPEARANCE_LIMIT)


def _photometric_factor(rigid_difference: np.ndarray, flow_difference: np.ndarray) -> np.ndarray:
    """Factor (H, W) of the evidence for motion, in [PHOTOMETRIC_FLOOR, 1], from the squared differences between images
    after warping by rigid flow and by observed flow: it is small where the observed flow predicts the image no better
    (ripples, reflections, flicker)."""
    rigid, observed = (cv2.GaussianBlur(difference, (0, 0), 5.0) for difference in (rigid_difference, flow_difference))
    ratio = (rigid + 1e-3) / (observed + 4.0)
    return np.clip(np.log2(np.maximum(ratio, 1e-6)) - 0.3, PHOTOMETRIC_FLOOR, 1.0)


def _edge_variance(displacement: np.ndarray) -> np.ndarray:
    """Additional variance (H, W) of the flow near its discontinuities, where it is blurred over a few pixels: from the
    range of `displacement` in a 5x5 neighborhood."""
    kernel = np.ones((5, 5), np.uint8)
    spread = cv2.dilate(displacement, kernel) - cv2.erode(displacement, kernel)
    return np.square(np.float32(0.15) * spread).sum(axis=-1)


#: width of superpixels in pixels if the long side of the image is 512
SUPERPIXEL_SPACING = 8
#: number of frames that are classified together, and of further frames on either side that are only used as context
WINDOW, CONTEXT = 96, 16
#: weight of the evidence relative to that of the links
EVIDENCE_WEIGHT = 0.1
#: evidence against motion of every superpixel
STATIC_PRIOR = 0.03
#: standard deviation of color differences (Lab / 100) within an object
COLOR_SCALE = 0.05


def estimate_motion(
    flow: FlowField,
    cameras: Sequence[Camera],
    z_depths: FrameMaps,
    confidences: FrameMaps | None = None,
    *,
    progress: Progress = ignore_progress,
) -> StoredMaps:
    """Motion masks: per frame the probability (H, W), in [0, 1], that a pixel shows a moving object. Their borders may
    be several pixels outside of the object (see `consensus.borders`).

    `cameras`, `z_depths` (0 = unknown) and `confidences` may come from any predictor and have the size of
    `flow.frames`. Without confidences, the relative standard deviation of depth is two percent.
    """
    frames = flow.frames
    count = len(frames)
    motion = StoredMaps(count, frames.height, frames.width)
    for first in range(0, count, WINDOW):
        last = min(first + WINDOW, count)
        span = range(max(first - CONTEXT, 0), min(last + CONTEXT, count))
        graph = SegmentGraph()
        for index in span:
            evidence = _frame_evidence(flow, cameras, index, z_depths, confidences)
            graph.add_frame(_segments(flow.images.rgb8(index), evidence))
            progress("motion", index, count)
        _link(graph, flow, span)
        moving = np.concatenate([s.moving for s in graph.frames]) * EVIDENCE_WEIGHT
        static = (np.concatenate([s.static for s in graph.frames]) + STATIC_PRIOR) * EVIDENCE_WEIGHT
        probability = graph.spread(moving, static)
        # an object that moves at one time may rest at other times; then zero flow is no evidence against motion. Weak
        # propagated values are ignored, because they come from object borders
        propagated = graph.propagated(np.clip(4.0 * probability - 2.0, 0.0, 1.0))
        resting = np.clip((propagated - 0.6) / 0.3, 0.0, 1.0)
        probability = graph.spread(moving + EVIDENCE_WEIGHT * resting, static * (1.0 - resting), probability)
        for index, values, segments in zip(span, graph.per_frame(probability), graph.frames, strict=True):
            if first <= index < last:
                motion[index] = _to_pixels(values[segments.labels], flow.images[index])
    progress("motion", count, count)
    return motion


def scene_motion(scene: Scene, *, flow: OpticalFlow | None = None, progress: Progress = ignore_progress) -> StoredMaps:
    """`estimate_motion` with refined borders for the scene of a predictor without motion masks, from its cameras and
    depth, by any optical `flow` (default: DIS). Raises `ValueError` for a scene without depth."""
    if scene.z_depths is None:
        raise ValueError("motion estimation needs depth; this scene has none")
    field = FlowField(scene.frames, flow, observed=scene.observed)
    with np.errstate(all="ignore"):  # the depths of a damaged network may have any value
        motion = estimate_motion(field, scene.cameras, scene.z_depths, scene.confidences, progress=progress)
    return refined_borders(field.images, motion)


def _frame_evidence(
    flow: FlowField,
    cameras: Sequence[Camera],
    index: int,
    z_depths: FrameMaps,
    confidences: FrameMaps | None,
) -> Evidence:
    """The evidence about frame `index`; pixels without depth have the median inverse depth, with a large deviation."""
    z_depth = z_depths[index]
    known = z_depth > 0
    if not known.any():
        inverse_depth = np.zeros_like(z_depth)
        deviation = np.full_like(z_depth, 1e6)
    else:
        typical = float(np.median(1.0 / z_depth[known]))
        inverse_depth = np.where(known, 1.0 / np.where(known, z_depth, 1.0), typical).astype(np.float32)
        if confidences is None:
            relative = np.full_like(z_depth, 0.02)
        else:
            relative = relative_error_from_confidence(confidences[index])
        deviation = relative * np.maximum(inverse_depth, 0.1 * typical)
        deviation[~known] = typical
    return residual_evidence(flow, cameras, index, inverse_depth, deviation)


def _segments(image: np.ndarray, evidence: Evidence) -> FrameSegments:
    """The superpixels of the uint8 `image` with their mean evidence."""
    height, width = image.shape[:2]
    spacing = max(4, round(SUPERPIXEL_SPACING * max(height, width) / 512))
    labels = superpixels(image, spacing)
    count = int(labels.max()) + 1
    lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
    columns, rows = pixel_grid(height, width)
    position = np.stack(np.broadcast_arrays(columns, rows), axis=-1)
    return FrameSegments(
        labels=labels,
        size=np.bincount(labels.ravel(), minlength=count),
        color=mean_per_segment(labels, count, lab),
        position=mean_per_segment(labels, count, position),
        flow=mean_per_segment(labels, count, evidence.residual),
        moving=mean_per_segment(labels, count, evidence.moving),
        static=mean_per_segment(labels, count, evidence.static),
    )


def _link(graph: SegmentGraph, flow: FlowField, span: range) -> None:
    """Adds all links between the superpixels of the frames `span`."""
    for position, index in enumerate(span):
        graph.link_neighbors(position, COLOR_SCALE, flow_scale=1.0, strength=1.0)
        for ahead in (1, 2):
            if position + ahead < len(span):
                step = flow(index, index + ahead)
                trusted = step.consistency_error < 1.5
                graph.link_overlaps(position, position + ahead, step.displacement, trusted, COLOR_SCALE, strength=4.0)
    reach_in_pixels = 20.0 * max(flow.frames.width, flow.frames.height) / 512
    for reach in (4, 8, 16):
        graph.link_similar(reach, 3, COLOR_SCALE, reach_in_pixels, strength=0.5)


def _to_pixels(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Probabilities per pixel (H, W) from those of the superpixels, smoothed along the edges of `image`."""
    lab = cv2.cvtColor(np.ascontiguousarray(image, dtype=np.float32), cv2.COLOR_RGB2LAB) / 100.0
    smooth = np.clip(EdgeAwareSmoother(lab, 30.0, 0.06)(values)[0], 0.0, 1.0)
    # the probabilities of the random walk are too close to one half; cubing the odds does not move that threshold
    moving, static = smooth**3, (1.0 - smooth) ** 3
    return moving / (moving + static)
