"""Evidence for motion of every pixel: the difference between observed flow and the rigid flow of camera and depth, in
units of its standard deviation."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.geometric.depth import flow_variance, partner_frames, texture_variance
from dynamic_predictor.geometric.level_sets import highest_way_out
from dynamic_predictor.geometric.rigid_flow import RigidPair
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera

#: distances, in frames, of the flows that are compared with rigid flow
MOTION_STRIDES = (1, 2, 4, 8)
#: largest log-likelihood ratio of one pair of frames, so that no single flow decides
EVIDENCE_LIMIT = 12.0
#: residual in standard deviations at which evidence against motion ends, and at which that for motion begins. Between
#: them it may be slight motion or an error of depth and camera: neighbors and colors decide
STATIC_UP_TO, MOVING_FROM = 3.0, 4.5


@dataclass
class Evidence:
    """Evidence about the pixels of one frame, float32.

    `moving` and `static` (H, W) are at least 0: mean log-likelihood ratios over the pairs of frames, clipped at
    `EVIDENCE_LIMIT`, times the share of the flows that could be trusted. `slight` (H, W) is `moving` if even slight
    motion counts. `residual` (H, W, 2) is the mean difference between observed and rigid flow, in pixels per frame.
    `leverage` (H, W) is the largest squared change of a certain flow, in pixels, per unit of inverse depth.
    """

    moving: np.ndarray
    slight: np.ndarray
    static: np.ndarray
    residual: np.ndarray
    leverage: np.ndarray


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


def log_odds(chi_square: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moving, slight and static evidence (H, W) of residuals with the squared length `chi_square` (H, W), in units of
    their variance: the log odds of a broad distribution (moving) against the Rayleigh distribution (static).

    Their sign changes at `STATIC_UP_TO`. For `moving`, all standard deviations are larger by MOVING_FROM /
    STATIC_UP_TO.
    """
    zero = 0.5 * STATIC_UP_TO**2
    moving = np.clip(zero * (chi_square / MOVING_FROM**2 - 1.0), 0.0, EVIDENCE_LIMIT)
    slight = np.clip(0.5 * chi_square - zero, 0.0, EVIDENCE_LIMIT)
    return moving, slight, np.clip(zero - 0.5 * chi_square, 0.0, zero)


def residual_evidence(
    flow: FlowField,
    cameras: Sequence[Camera],
    index: int,
    inverse_depth: np.ndarray,
    deviation: np.ndarray,
) -> Evidence:
    """Evidence about frame `index`, whose `inverse_depth` (H, W) has the standard deviation `deviation` (H, W)."""
    shape = inverse_depth.shape
    moving, slight, static, total = (np.zeros(shape, np.float32) for _ in range(4))
    residual = np.zeros((*shape, 2), np.float32)
    residual_weight = np.zeros(shape, np.float32)
    depth_variance = deviation * deviation
    texture = texture_variance(flow.gray(index))
    shift, certain_leverage, rigid_difference, flow_difference = (np.zeros(shape, np.float32) for _ in range(4))
    gray = flow.gray(index).astype(np.float32)
    differences, visible = np.zeros((2, *shape), np.float32), np.zeros((2, *shape), np.float32)
    for other in partner_frames(index, len(cameras), MOTION_STRIDES):
        pair_flow = flow(index, other)
        noise = flow_variance(pair_flow)
        variance = noise + _edge_variance(pair_flow.displacement) + texture
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
        for part, odds in zip((moving, slight, static), log_odds(chi), strict=True):
            part += trust * odds
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
        certain_leverage = np.maximum(certain_leverage, np.where(noise < 2.0, leverage, 0.0))
    share = 1.0 / (total + 0.5)
    factor = share * _photometric_factor(rigid_difference, flow_difference)
    static *= share
    appearance = (1.0 - total * share) * _appearance_evidence(gray, differences, visible)
    moving, slight = moving * factor + appearance, slight * factor + appearance
    height, spread = prominence(inverse_depth, moving <= static)
    # more prominent than the range of connected inverse depths, and by at least two pixels of flow
    certain = np.clip(height / max(spread, 1e-12) - 1.0, 0.0, 1.0)
    certain *= np.clip(0.5 * height * np.sqrt(shift) - 1.0, 0.0, 1.0)
    moving, slight = (np.maximum(values, EVIDENCE_LIMIT * certain) for values in (moving, slight))
    static *= 1.0 - certain
    residual /= np.maximum(residual_weight, 1e-6)[..., None]
    unobserved = flow.unobserved(index)
    if unobserved is not None:
        for values in (moving, slight, static):
            values[unobserved] = 0.0
    return Evidence(moving, slight, static, residual, certain_leverage)


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
    but it is connected to nothing: its prominence is large.
    """
    bottom = float(np.quantile(inverse_depth, 0.02))
    levels = np.linspace(bottom, float(np.quantile(inverse_depth, 0.995)), PROMINENCE_LEVELS)
    connected = np.minimum(highest_way_out(inverse_depth, levels, usable), inverse_depth)
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
