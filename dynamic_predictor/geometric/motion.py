"""What moves: pixels whose optical flow camera and depth do not explain, in units of the flow's own noise.

Three steps. `residual_evidence` compares the observed flow of one frame at several strides with the rigid flow of a
static world and turns the whitened residual into log odds. `segment_graph` links the superpixels of all frames of a
window by colour, flow and appearance, and spreads the evidence over them, so that an object is decided as a whole and
over time. Last, the decision is brought to pixels along the edges of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

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
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: how far away, in frames, motion is looked for
MOTION_STRIDES = (1, 2, 4, 8)


@dataclass
class Evidence:
    """Evidence about one frame, each float32 (H, W).

    `moving` and `static` are at least 0: mean log-likelihood ratios over the pairs of frames, cut off at
    `EVIDENCE_LIMIT`, times the share of flow that could be trusted. `residual` (H, W, 2) is the flow per frame that
    the rigid world leaves unexplained, in pixels.
    """

    moving: np.ndarray
    static: np.ndarray
    residual: np.ndarray


#: cut-off of one pair's log-likelihood ratio, so that no single flow decides
EVIDENCE_LIMIT = 12.0


def background_drift(error: np.ndarray, variance: np.ndarray, step: int = 6) -> tuple[np.ndarray, float]:
    """The smooth part of the residual flow that most of the image shares: what an error of camera, focal length or
    lens leaves, not motion.

    A quadratic polynomial of the pixel's place is fitted robustly to `error` (H, W, 2). Returns it (H, W, 2) and the
    noise of what remains in units of `variance` (at least 1).
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
        left = ((values - basis @ coefficients) ** 2).sum(axis=1) / noise
        # median of a chi-square with two degrees of freedom
        scale = max(float(np.sqrt(np.median(left) / 1.386)), 1.0)
        weight = 1.0 / (1.0 + left / (4.0 * scale * scale)) ** 2 / noise
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(
            weighted.T @ basis + 1e-3 * np.eye(6) * weight.sum() / 100.0, weighted.T @ values
        )
    gx, gy = np.arange(width) * (2.0 / width) - 1.0, np.arange(height) * (2.0 / height) - 1.0
    columns, rows = gx[None, :], gy[:, None]
    c = coefficients
    drift = np.stack(
        [
            c[0, k]
            + c[1, k] * columns
            + c[2, k] * rows
            + c[3, k] * columns**2
            + c[4, k] * columns * rows
            + c[5, k] * rows**2
            for k in range(2)
        ],
        axis=-1,
    )
    return drift.astype(np.float32), scale


def residual_evidence(
    flow: FlowField,
    cameras: Sequence[Camera],
    index: int,
    inverse_depth: np.ndarray,
    deviation: np.ndarray,
    strides: Sequence[int] = MOTION_STRIDES,
) -> Evidence:
    """Evidence about frame `index` whose `inverse_depth` (H, W) has the standard deviation `deviation` (H, W)."""
    shape = inverse_depth.shape
    moving, static, total = (np.zeros(shape, np.float32) for _ in range(3))
    residual = np.zeros((*shape, 2), np.float32)
    residual_weight = np.zeros(shape, np.float32)
    depth_variance = deviation * deviation
    texture = texture_variance(flow.gray(index))
    shift, unexplained, explained = (np.zeros(shape, np.float32) for _ in range(3))
    gray = flow.gray(index).astype(np.float32)
    differences, visible = np.zeros((2, *shape), np.float32), np.zeros((2, *shape), np.float32)
    for other in partner_frames(index, len(cameras), strides):
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
        # trust: how much of this flow's noise is its floor; nothing where it leaves the image
        trust = np.where(np.isfinite(variance), 1.0 / (1.0 + variance), 0.0)
        chi = np.where(np.isfinite(chi), chi, 0.0)
        # static: Rayleigh residual; moving: broad, so that the odds turn at three standard deviations
        odds = np.clip(0.5 * chi - 4.5, -4.5, EVIDENCE_LIMIT)
        moving += trust * np.maximum(odds, 0.0)
        static += trust * np.maximum(-odds, 0.0)
        total += trust
        frames_apart = other - index
        if abs(frames_apart) <= PHOTOMETRIC_STRIDE:
            image = flow.gray(other)
            seen = np.where(np.isfinite(chi), trust, 0.0)
            rigid = np.nan_to_num(pair_flow.displacement - error, posinf=0.0, neginf=0.0)
            difference = np.square(_fetched(image, rigid) - gray)
            side = int(frames_apart > 0)
            inside = _inside(rigid)
            differences[side] += inside * difference
            visible[side] += inside
            unexplained += seen * difference
            explained += seen * np.square(_fetched(image, pair_flow.displacement) - gray)
        weight = trust / abs(frames_apart)
        residual += np.nan_to_num(error, posinf=0.0, neginf=0.0) * (weight / frames_apart)[..., None]
        residual_weight += weight
        shift = np.maximum(shift, np.where(trust > 0.3, leverage, 0.0))
    share = 1.0 / (total + 0.5)
    moving *= share * _photometric_gain(unexplained, explained)
    static *= share
    moving += (1.0 - total * share) * _unlikeness(gray, differences, visible)
    floating, spread = prominence(inverse_depth, moving <= static)
    # floats, by more than the depth of all that stands on something, and by at least two pixels of flow
    certain = np.clip(floating / max(spread, 1e-12) - 1.0, 0.0, 1.0)
    certain *= np.clip(0.5 * floating * np.sqrt(shift) - 1.0, 0.0, 1.0)
    moving = np.maximum(moving, EVIDENCE_LIMIT * certain)
    static *= 1.0 - certain
    residual /= np.maximum(residual_weight, 1e-6)[..., None]
    return Evidence(moving, static, residual)


#: frames apart up to which images are compared, and what is left of motion that no image confirms
PHOTOMETRIC_STRIDE = 4
PHOTOMETRIC_FLOOR = 0.4
#: most evidence that images alone give
UNLIKENESS_LIMIT = 4.0
#: levels at which `prominence` looks for islands
PROMINENCE_LEVELS = 24


def prominence(inverse_depth: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, float]:
    """How much nearer each pixel is than every way from it to the border of the image: (H, W) inverse depth, and the
    range of inverse depths of what is connected to the border.

    Topographic prominence on the map of inverse depth, by components of its level sets. A static thing stands on
    something: along the ground there is a way to the border without a jump. What moves along its epipolar lines (a car
    that a panning camera follows) looks static but near, and floats. Ways lead over `usable` pixels only.
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


def _fetched(image: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """The uint8 `image` (H, W) as seen from where the displacement starts, float32."""
    height, width = image.shape
    x = np.arange(width, dtype=np.float32)[None, :] + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _inside(displacement: np.ndarray) -> np.ndarray:
    height, width = displacement.shape[:2]
    x = np.arange(width, dtype=np.float32)[None, :] + displacement[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + displacement[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _unlikeness(gray: np.ndarray, differences: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Evidence, in [0, UNLIKENESS_LIMIT], that a pixel is not where a static world has it, where no flow can be had: it
    looks different in the frames before and in those after. (What is merely hidden from one side is seen from the
    other.) `differences` (2, H, W) are sums of squared grey levels over `visible` frames of each side."""
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    # half a pixel off, and sensor noise
    expected = cv2.GaussianBlur(0.25 * (dx * dx + dy * dy), (0, 0), 3.0) + 25.0
    ratios = []
    for difference, count in zip(differences, visible, strict=True):
        mean = cv2.GaussianBlur(difference, (0, 0), 2.0) / np.maximum(cv2.GaussianBlur(count, (0, 0), 2.0), 0.3)
        ratios.append(np.where(count > 0, mean / expected, np.inf))
    smaller = np.minimum(ratios[0], ratios[1])
    smaller[~np.isfinite(smaller) | ~(visible > 0).all(axis=0)] = 0.0
    return np.clip(np.log2(np.maximum(smaller, 1e-3)) - 1.0, 0.0, UNLIKENESS_LIMIT)


def _photometric_gain(unexplained: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """How far to believe in motion, in [PHOTOMETRIC_FLOOR, 1]: flow that does not predict the image better than the
    static world does (ripples, reflections, flicker) has found nothing that moves."""
    ratio = (cv2.GaussianBlur(unexplained, (0, 0), 5.0) + 1e-3) / (cv2.GaussianBlur(explained, (0, 0), 5.0) + 4.0)
    return np.clip(np.log2(np.maximum(ratio, 1e-6)) - 0.3, PHOTOMETRIC_FLOOR, 1.0)


def _edge_variance(displacement: np.ndarray) -> np.ndarray:
    """Flow is smeared over a few pixels where it jumps: variance from its range in the surroundings."""
    kernel = np.ones((5, 5), np.uint8)
    spread = cv2.dilate(displacement, kernel) - cv2.erode(displacement, kernel)
    return np.square(np.float32(0.15) * spread).sum(axis=-1)


#: width of superpixels in pixels at a long side of 512
SUPERPIXEL_SPACING = 8
#: frames that are decided together, and how many of them on either side only lend context
WINDOW, CONTEXT = 96, 16
#: weight of a superpixel's evidence against its links
EVIDENCE_WEIGHT = 0.1
#: evidence against motion that everything starts with
STATIC_PRIOR = 0.03
#: difference in colour (Lab / 100) that separates
COLOR_SCALE = 0.05


def estimate_motion(
    flow: FlowField,
    cameras: Sequence[Camera],
    z_depths: FrameMaps,
    confidences: FrameMaps | None = None,
    *,
    strides: Sequence[int] = MOTION_STRIDES,
    progress: Progress = ignore_progress,
) -> StoredMaps:
    """Probability that a pixel shows something that moves, float (H, W) in [0, 1] per frame.

    `cameras`, `z_depths` (0 = unknown) and `confidences` may come from any predictor and must have the size of
    `flow.frames`; without confidences the depth counts as two percent uncertain.
    """
    frames = flow.frames
    count = len(frames)
    motion = StoredMaps(count, frames.height, frames.width)
    for first in range(0, count, WINDOW):
        last = min(first + WINDOW, count)
        span = range(max(first - CONTEXT, 0), min(last + CONTEXT, count))
        graph = SegmentGraph()
        for index in span:
            evidence = _frame_evidence(flow, cameras, index, z_depths, confidences, strides)
            graph.add_frame(_segments(frames.rgb8(index), evidence))
            progress("motion", index, count)
        _link(graph, flow, span)
        moving = np.concatenate([s.moving for s in graph.frames]) * EVIDENCE_WEIGHT
        static = (np.concatenate([s.static for s in graph.frames]) + STATIC_PRIOR) * EVIDENCE_WEIGHT
        decided = graph.spread(moving, static)
        # what moves at some time may rest at another, however long: then the flow's silence is no evidence
        memory = graph.remembered(np.clip(4.0 * decided - 2.0, 0.0, 1.0))
        rested = _certain_memory(memory)
        decided = graph.spread(moving + EVIDENCE_WEIGHT * rested, static * (1.0 - rested), decided)
        for index, values, segments in zip(span, graph.per_frame(decided), graph.frames, strict=True):
            if first <= index < last:
                motion[index] = _to_pixels(values[segments.labels], frames[index])
    progress("motion", count, count)
    return motion


def scene_motion(scene: Scene, *, progress: Progress = ignore_progress) -> StoredMaps:
    """`estimate_motion` for the scene of a predictor that has no masks of its own, from its cameras and depth."""
    if scene.z_depths is None:
        raise ValueError("motion is found from depth; this scene has none")
    return estimate_motion(FlowField(scene.frames), scene.cameras, scene.z_depths, scene.confidences, progress=progress)


def _certain_memory(memory: np.ndarray) -> np.ndarray:
    """The part of a memory that may silence evidence of rest: faint traces come from borders, not from objects."""
    return np.clip((memory - 0.6) / 0.3, 0.0, 1.0)


def _frame_evidence(
    flow: FlowField,
    cameras: Sequence[Camera],
    index: int,
    z_depths: FrameMaps,
    confidences: FrameMaps | None,
    strides: Sequence[int],
) -> Evidence:
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
    return residual_evidence(flow, cameras, index, inverse_depth, deviation, strides)


def _segments(image: np.ndarray, evidence: Evidence) -> FrameSegments:
    height, width = image.shape[:2]
    spacing = max(4, round(SUPERPIXEL_SPACING * max(height, width) / 512))
    labels = superpixels(image, spacing)
    count = int(labels.max()) + 1
    lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
    columns, rows = pixel_grid(height, width)
    place = np.stack(np.broadcast_arrays(columns, rows), axis=-1)
    return FrameSegments(
        labels=labels,
        size=np.bincount(labels.ravel(), minlength=count),
        color=mean_per_segment(labels, count, lab),
        place=mean_per_segment(labels, count, place),
        flow=mean_per_segment(labels, count, evidence.residual),
        moving=mean_per_segment(labels, count, evidence.moving),
        static=mean_per_segment(labels, count, evidence.static),
    )


def _link(graph: SegmentGraph, flow: FlowField, span: range) -> None:
    for position, index in enumerate(span):
        graph.link_neighbors(position, COLOR_SCALE, flow_scale=1.0, strength=1.0)
        for ahead in (1, 2):
            if position + ahead < len(span):
                step = flow(index, index + ahead)
                trusted = step.consistency_error < 1.5
                graph.link_overlaps(position, position + ahead, step.displacement, trusted, COLOR_SCALE, strength=4.0)
    reach_in_pixels = 20.0 * max(flow.frames.width, flow.frames.height) / 512
    for reach in (4, 8, 16):
        graph.link_alike(reach, 3, COLOR_SCALE, reach_in_pixels, strength=0.5)


def _to_pixels(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(np.ascontiguousarray(image, dtype=np.float32), cv2.COLOR_RGB2LAB) / 100.0
    smooth = np.clip(EdgeAwareSmoother(lab, 30.0, 0.06)(values)[0], 0.0, 1.0)
    # the random walk is timid: its odds are cubed, which leaves the decision at one half where it is
    moving, static = smooth**3, (1.0 - smooth) ** 3
    return moving / (moving + static)
