"""Dense depth from optical flow and known cameras.

Every flow vector between two frames gives two linear equations for the inverse depth of the pixel (`rigid_flow`). They
are solved per pixel over several baselines by iteratively reweighted least squares with a Geman-McClure weight. Then
the estimates of neighboring frames are warped along the flow and fused where they agree, and uncertain pixels are
filled by edge-aware smoothing. The unknown is inverse depth, because its error is nearly Gaussian and infinity is 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from dynamic_predictor.geometric.plausible_depth import PlausibleSurface
from dynamic_predictor.geometric.rigid_flow import RigidPair, pixel_grid
from dynamic_predictor.optical_flow.flow_field import Flow, FlowField
from scene.camera import Camera
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress

#: distances, in frames, of the flows for triangulation
STRIDES = (1, 2, 4, 8, 16)
#: distances, in frames, of the estimates that are fused
FUSION_STRIDES = (1, 2, 4, 8)
#: standard deviation of a flow component in pixels where forward and backward flow agree, measured for DIS
FLOW_NOISE = 0.25
#: smaller eigenvalue of the structure tensor, in square gray levels per square pixel, at which the standard deviation
#: of flow is 1 pixel
TEXTURE_SCALE = 1.0
#: relative standard deviation of a depth with confidence 0.5
CONFIDENCE_HALF = 0.02


def confidence_from_relative_error(relative_error: np.ndarray) -> np.ndarray:
    """The confidence in (0, 1] of a depth with this relative standard deviation."""
    return 1.0 / (1.0 + (relative_error / CONFIDENCE_HALF) ** 2)


def relative_error_from_confidence(confidence: np.ndarray) -> np.ndarray:
    """The inverse of `confidence_from_relative_error`, but at least half a percent."""
    return np.maximum(CONFIDENCE_HALF * np.sqrt(1.0 / np.clip(confidence, 1e-4, 1.0) - 1.0), 0.005)


@dataclass
class DepthEstimate:
    """Depth of every frame, complete: `z_depths` in scene units and `confidences` in [0, 1].

    They are made from the measured `inverse_depths` and their `informations` (1 / variance, 0 = not measured).
    """

    z_depths: StoredMaps
    confidences: StoredMaps
    inverse_depths: StoredMaps
    informations: StoredMaps
    #: (H, W) z depths of frame `index` that are used if nothing was measured
    plausible: Callable[[int], np.ndarray]

    def fill(self, frames: Frames, motion_masks: FrameMaps | None = None) -> None:
        """Computes `z_depths` and `confidences` from the measured maps. Pixels that `motion_masks` (1 = moves) mark get
        the depth of their static surroundings and confidence 0."""
        for index in range(len(frames)):
            inverse_depth, information = self.inverse_depths[index], self.informations[index]
            if motion_masks is not None:
                information = information * np.square(1.0 - motion_masks[index])
            completed = complete(inverse_depth, information, frames[index]) if information.any() else inverse_depth
            typical = float(np.median(completed))
            if typical <= 0.0:
                self.z_depths[index] = self.plausible(index)
                self.confidences[index] = np.zeros_like(completed)
                continue
            deviation = 1.0 / np.sqrt(np.maximum(information, 1e-12))
            relative = np.hypot(deviation, np.abs(completed - inverse_depth)) / np.maximum(completed, 0.1 * typical)
            self.z_depths[index] = 1.0 / np.maximum(completed, 1e-3 * typical)
            self.confidences[index] = confidence_from_relative_error(relative)


def partner_frames(index: int, count: int, strides: Sequence[int]) -> list[int]:
    """The frames of the clip at these distances before and after `index`, nearest first."""
    return [other for stride in strides for other in (index - stride, index + stride) if 0 <= other < count]


def flow_variance(flow: Flow) -> np.ndarray:
    """Variance (H, W) of one flow component in square pixels: `FLOW_NOISE`, plus terms that grow with the forward-
    backward error and with the length of the flow; infinite where the flow leaves the image."""
    length = np.abs(flow.displacement).sum(axis=-1)
    return FLOW_NOISE**2 + (0.7 * flow.consistency_error) ** 2 + (0.005 * length) ** 2


def texture_variance(gray: np.ndarray) -> np.ndarray:
    """Variance (H, W) of the flow in square pixels that is due to missing texture in the first frame.

    It follows from the smaller eigenvalue of the structure tensor (Shi and Tomasi, "Good features to track", CVPR 1994)
    of the uint8 gray image. The standard deviation is several pixels on clear sky or asphalt, where flow is only
    extrapolated from distant surroundings.
    """
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    xx, xy, yy = (cv2.GaussianBlur(product, (0, 0), 4.0) for product in (dx * dx, dx * dy, dy * dy))
    smaller = 0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    return 1.0 / np.square(np.maximum(smaller, 0.05) / TEXTURE_SCALE)


def triangulate(
    flows: Sequence[Flow],
    pairs: Sequence[RigidPair],
    iterations: int = 5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse depth of one frame from its `flows` to other frames, which belong to the `pairs` of cameras.

    Returns three float32 maps (H, W): inverse depth (at least 0), its information (1 / variance, 0 = not measured), and
    the share of the information that the robust weights kept, in [0, 1], which is low where the flows contradict a
    static point.
    """
    shape = flows[0].consistency_error.shape
    inverse_depth = np.zeros(shape, np.float32)
    weights = [1.0 / flow_variance(flow) for flow in flows]
    information = kept = np.zeros(shape, np.float32)
    for iteration in range(iterations):
        # the width of the robust weight shrinks, so that the result does not depend on a single wrong flow
        cutoff = np.float32(max(9.0, 400.0 * 0.2**iteration))
        numerator = np.zeros(shape, np.float32)
        information = np.zeros(shape, np.float32)
        total = np.zeros(shape, np.float32)
        for flow, pair, weight in zip(flows, pairs, weights, strict=True):
            gx, gy, hx, hy = pair.constraint(flow.displacement, inverse_depth)
            if iteration == 0:
                robust = 1.0
            else:
                error = ((hx - gx * inverse_depth) ** 2 + (hy - gy * inverse_depth) ** 2) * weight
                robust = (cutoff / (cutoff + error)) ** 2
            leverage = weight * (gx * gx + gy * gy)
            numerator += robust * weight * (gx * hx + gy * hy)
            information += robust * leverage
            total += leverage
        inverse_depth = np.maximum(numerator / np.maximum(information, 1e-20), 0.0)
        kept = information / np.maximum(total, 1e-20)
    return inverse_depth, information, kept


def warped_estimate(
    flow: Flow, pair: RigidPair, inverse_depth: np.ndarray, information: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The estimate of the target frame (`inverse_depth` and `information`, (H, W)) as an estimate at the pixels of the
    source frame. The information is 0 where a point of the target does not project back to the start of the flow."""
    x, y = pixel_grid(*inverse_depth.shape)
    qx, qy = x + flow.displacement[..., 0], y + flow.displacement[..., 1]
    mapx, mapy = qx - np.float32(0.5), qy - np.float32(0.5)
    rho = cv2.remap(inverse_depth, mapx, mapy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    info = cv2.remap(information, mapx, mapy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    back = np.linalg.inv(pair.target_from_source)
    source_pixels = (pair.source.intrinsics @ back[:3, :3] @ np.linalg.inv(pair.target.intrinsics)).astype(np.float32)
    shift = (pair.source.intrinsics @ back[:3, 3]).astype(np.float32)
    m = source_pixels
    w = np.maximum(m[2, 0] * qx + m[2, 1] * qy + m[2, 2] + rho * shift[2], 1e-3)
    px = (m[0, 0] * qx + m[0, 1] * qy + m[0, 2] + rho * shift[0]) / w
    py = (m[1, 0] * qx + m[1, 1] * qy + m[1, 2] + rho * shift[1]) / w
    missed = (px - x) ** 2 + (py - y) ** 2
    trust = 1.0 / (1.0 + missed / 1.0) ** 2
    trust[(missed > 4.0) | (flow.consistency_error > 2.0)] = 0.0
    return rho / w, info * trust / (w * w)


def fuse(
    inverse_depth: np.ndarray, information: np.ndarray, warped: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """The estimate of one frame fused with the `warped` estimates of others: their weighted median, then the mean of
    the values near it. Information is averaged and not added, because these estimates come from mostly the same
    flows."""
    values = np.stack([inverse_depth] + [rho for rho, _ in warped])
    weights = np.stack([information] + [info for _, info in warped])
    order = np.argsort(values, axis=0)
    sorted_values = np.take_along_axis(values, order, axis=0)
    cumulative = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    at = (cumulative >= 0.5 * cumulative[-1:]).argmax(axis=0)
    median = np.take_along_axis(sorted_values, at[None], axis=0)[0]
    tolerance = (0.05 * median) ** 2 + 4.0 / np.maximum(weights, 1e-12)
    agreeing = weights / (1.0 + (values - median) ** 2 / tolerance) ** 2
    total = agreeing.sum(axis=0)
    return (agreeing * values).sum(axis=0) / np.maximum(total, 1e-20), total / len(values)


def complete(inverse_depth: np.ndarray, information: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Inverse depth (H, W) of all pixels: the measured one where its information is large, an edge-aware mean of the
    surroundings elsewhere. `image` is float32 RGB in [0, 1]."""
    scale = float(np.median(inverse_depth[information > 0])) if (information > 0).any() else 1.0
    # a standard deviation of one percent of the typical inverse depth has certainty 1
    certainty = np.minimum(information * (0.01 * max(scale, 1e-12)) ** 2, 1.0)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB) / 100.0
    wide = EdgeAwareSmoother(lab, 400.0, 0.04)
    surroundings, _ = wide.weighted(inverse_depth, certainty)
    residual_weight = certainty / (1.0 + ((inverse_depth - surroundings) / (0.25 * surroundings + 0.05 * scale)) ** 2)
    fine = EdgeAwareSmoother(lab, 6.0, 0.04)
    near, near_certainty = fine.weighted(inverse_depth, residual_weight)
    near_certainty = np.maximum(near_certainty, 0.0)
    filled = (near_certainty * near + 0.02 * surroundings) / (near_certainty + 0.02)
    return np.maximum(filled, 0.0)


def estimate_depth(
    flow: FlowField,
    cameras: Sequence[Camera],
    motion_masks: FrameMaps | None = None,
    *,
    progress: Progress = ignore_progress,
) -> DepthEstimate:
    """Depth of every frame, complete, in the unit of `cameras`. Pixels that `motion_masks` (1 = moves) mark get the
    depth of their static surroundings and confidence 0. If all cameras are at one place, the depth is that of a
    `PlausibleSurface`, with confidence 0."""
    frames = flow.frames
    count, height, width = len(frames), frames.height, frames.width
    surface = PlausibleSurface(cameras)
    estimate = DepthEstimate(
        StoredMaps(count, height, width, np.float32),
        StoredMaps(count, height, width),
        StoredMaps(count, height, width, np.float32),
        StoredMaps(count, height, width, np.float32),
        lambda index: surface.z_depth(cameras[index]),
    )
    centers = np.stack([camera.center for camera in cameras])
    if not np.ptp(centers, axis=0).any():
        estimate.fill(flow.images, motion_masks)
        progress("depth", 2 * count, 2 * count)
        return estimate
    raw = StoredMaps(count, height, width, np.float32), StoredMaps(count, height, width, np.float32)
    for index in range(count):
        partners = partner_frames(index, count, STRIDES)
        flows = [flow(index, other) for other in partners]
        pairs = [RigidPair.between(cameras[index], cameras[other]) for other in partners]
        raw[0][index], raw[1][index], _ = triangulate(flows, pairs)
        progress("depth", index, 2 * count)
    for index in range(count):
        warped = [
            warped_estimate(
                flow(index, other), RigidPair.between(cameras[index], cameras[other]), raw[0][other], raw[1][other]
            )
            for other in partner_frames(index, count, FUSION_STRIDES)
        ]
        estimate.inverse_depths[index], estimate.informations[index] = fuse(raw[0][index], raw[1][index], warped)
        progress("depth", count + index + 1, 2 * count)
    estimate.fill(flow.images, motion_masks)
    return estimate
