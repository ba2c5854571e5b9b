"""Learns for every pixel of every frame how likely it is static. This weight multiplies the loss of the pixel.

The log odds of a pixel are a prior, from the motion mask, plus evidence, from the residuals of the renderings of its
frame. Residuals are averaged over a patch and compared with what static pixels of the same local contrast leave in the
same frame, because a slightly wrong pose leaves a residual at every edge; only outliers are evidence of motion. The
evidence is bounded, so that only strong evidence outweighs the mask. DAS3R (Xu et al., 2024) learns a free variable per
pixel instead; SpotLessSplats (Sabour et al., 2024) uses robust statistics of residuals, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from scene.maps import FrameMaps, StoredMaps


@dataclass(frozen=True)
class StaticnessSettings:
    """How masks and residuals become log odds of a static pixel."""

    #: bound of the absolute log odds of the prior
    prior_bound: float = 3.0
    #: value of the motion mask at which the prior is neutral; below 0.5, because training on a moving pixel does more
    #: harm than leaving out a static one
    even_odds: float = 0.4
    #: residual, in multiples of the expected one, that is neutral evidence
    neutral: float = 3.0
    #: log odds for each multiple of the expected residual below or above `neutral`
    gain: float = 1.0
    #: bound of the evidence that a pixel moves
    against: float = 6.0
    #: bound of the evidence that a pixel is static; 0 where the mask marks it as moving, because the residuals of
    #: a moving object are small once Gaussians have fitted it in other frames
    favor: float = 2.0
    #: edge of the patch over which residuals are averaged, as a share of the image width
    patch: float = 0.014
    #: weight of the earlier evidence in the running mean
    memory: float = 0.6
    #: residual in [0, 1] that noise leaves in a perfect rendering
    noise_floor: float = 0.02
    #: share of the static pixels of a frame that evidence may turn into moving ones; above it, the rendering of the
    #: frame is taken to be poor, and the evidence of motion is reduced
    max_overturned: float = 0.12


class StaticWeights:
    """Static weights of all frames. `priors[frame]` are motion masks (H, W), 1 = moves; None: nothing moves.

    The evidence is stored at half the size of the frames in half precision, for long clips in a temporary file.
    """

    def __init__(
        self,
        priors: FrameMaps | None,
        frames: int,
        height: int,
        width: int,
        settings: StaticnessSettings | None = None,
        *,
        observed: FrameMaps | None = None,
    ) -> None:
        """`observed`: what the frames have observed (`scene.observed`); it multiplies the weights."""
        self._priors = priors
        self._observed = observed
        self._settings = settings or StaticnessSettings()
        self._size = (height, width)
        # a copy, because a scene on disk decodes a file at every access
        self._motion = StoredMaps(frames, height, width, np.uint8) if priors is not None else None
        self._motion_known = np.zeros(frames, bool)
        self._evidence = StoredMaps(frames, (height + 1) // 2, (width + 1) // 2)
        self._has_evidence = np.zeros(frames, bool)
        #: int8 (H, W) by frame: 1 = moves, -1 = static, 0 = not painted
        self._painted: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._has_evidence)

    def __getitem__(self, index: int) -> np.ndarray:
        """Static weights (H, W) float32 in [0, 1] of a frame."""
        log_odds = self._prior(index)
        if self._has_evidence[index]:
            evidence = cv2.resize(self._evidence[index], log_odds.shape[::-1], interpolation=cv2.INTER_LINEAR)
            log_odds = log_odds + evidence
        # a ramp instead of the logistic function, so that the weight of moving pixels is exactly 0
        weights = np.clip(0.5 + log_odds / 2.0, 0.0, 1.0).astype(np.float32)
        if index in self._painted:
            weights[self._painted[index] > 0] = 0.0
            weights[self._painted[index] < 0] = 1.0
        return weights if self._observed is None else weights * self._observed[index]

    def paint(self, frame: int, region: np.ndarray, moves: bool | None) -> None:
        """Says that the pixels in `region` (H, W) bool of a frame move or are static. Neither the mask nor evidence
        changes that; None takes back what was painted there."""
        painted = self._painted.setdefault(frame, np.zeros(self._size, np.int8))
        painted[region] = 0 if moves is None else 1 if moves else -1
        if not painted.any():
            del self._painted[frame]

    @property
    def is_painted(self) -> bool:
        """Whether anything was painted."""
        return bool(self._painted)

    def painted_motion(self, frame: int) -> np.ndarray:
        """Bool (H, W), true = moves: what was painted, and elsewhere the motion mask above 0.5."""
        motion = np.zeros(self._size, bool)
        if self._priors is not None:
            motion = np.nan_to_num(self._priors[frame], nan=1.0) > 0.5
        painted = self._painted.get(frame)
        return motion if painted is None else (motion | (painted > 0)) & (painted >= 0)

    def _prior(self, frame: int) -> np.ndarray:
        """Log odds (H, W) of a frame from its motion mask and what was painted."""
        log_odds = self._prior_of_mask(frame)
        if frame in self._painted:
            bound = self._settings.prior_bound
            log_odds = np.where(self._painted[frame] == 0, log_odds, -bound * np.sign(self._painted[frame]))
        return log_odds.astype(np.float32, copy=False)

    def _prior_of_mask(self, frame: int) -> np.ndarray:
        """Log odds (H, W) of a frame from its motion mask; pixels that are NaN there count as moving."""
        bound = self._settings.prior_bound
        if self._priors is None or self._motion is None:
            return np.full(self._size, bound, np.float32)
        if not self._motion_known[frame]:
            motion = np.nan_to_num(self._priors[frame], nan=1.0)
            self._motion[frame] = np.rint(np.clip(motion, 0.0, 1.0) * 255.0)
            self._motion_known[frame] = True
        motion = self._motion[frame] / 255.0
        return np.clip((self._settings.even_odds - motion) * np.float32(2 * bound), -bound, bound)

    def observe(self, frame: int, residual: np.ndarray, target: np.ndarray, alpha: np.ndarray | None = None) -> None:
        """Adds the evidence of one rendering of a frame.

        `residual` (h, w): mean over channels of the absolute difference, in [0, 1]. `target` (h, w, 3): the image,
        uint8 or float in [0, 1]. `alpha` (h, w): sum of the blending weights; residuals where it is low are not used.
        All three have one size, which may differ from that of the frame.
        """
        settings = self._settings
        height, width = self._evidence[frame].shape
        residual = cv2.resize(np.ascontiguousarray(residual), (width, height), interpolation=cv2.INTER_AREA)
        gray = np.ascontiguousarray(target[..., 1], np.float32) / (255 if target.dtype == np.uint8 else 1)
        gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        patch = max(3, int(settings.patch * width) | 1)
        residual = cv2.blur(residual, (patch, patch))
        contrast = cv2.blur(_local_contrast(gray), (patch, patch))
        prior = cv2.resize(self._prior(frame), (width, height), interpolation=cv2.INTER_AREA)
        static = prior > 0
        seen = None
        if self._observed is not None:
            seen = cv2.resize(self._observed[frame], (width, height), interpolation=cv2.INTER_AREA) > 0.99
            static &= seen
        if not static.any():
            return
        # the residual of a static pixel of that contrast, by a robust fit of a line
        flat_noise = float(np.median(residual[static & (contrast <= np.median(contrast[static]))]))
        per_contrast = float(np.median(residual[static] / (contrast[static] + settings.noise_floor)))
        expected = 0.5 * flat_noise + 0.5 * per_contrast * (contrast + settings.noise_floor)
        evidence = settings.gain * (settings.neutral - residual / np.maximum(settings.noise_floor, expected))
        if alpha is not None:
            evidence[cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA) < 0.8] = 0
        if seen is not None:
            evidence[~seen] = 0
        if self._has_evidence[frame]:
            evidence = settings.memory * self._evidence[frame] + (1 - settings.memory) * evidence
        evidence = np.clip(evidence, -settings.against, np.where(static, settings.favor, 0.0))
        overturned = static & (prior + evidence < 0)
        share = overturned.sum() / max(1, static.sum())
        if share > settings.max_overturned:
            evidence = np.where(evidence < 0, evidence * (settings.max_overturned / share) ** 2, evidence)
        self._evidence[frame] = evidence
        self._has_evidence[frame] = True

    def state(self, frames: Sequence[int]) -> dict[str, Any]:
        """The content of a checkpoint: the evidence of `frames`, and what was painted."""
        observed = [frame for frame in frames if self._has_evidence[frame]]
        maps = [torch.from_numpy(self._evidence[frame]).half() for frame in observed]
        painted = {frame: torch.from_numpy(values.copy()) for frame, values in self._painted.items()}
        return {"frames": observed, "evidence": torch.stack(maps) if maps else torch.zeros(0), "painted": painted}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self._has_evidence[:] = False
        for frame, evidence in zip(state["frames"], state["evidence"], strict=True):
            self._evidence[int(frame)] = evidence.float().numpy()
            self._has_evidence[int(frame)] = True
        painted = state.get("painted", {})  # checkpoints of earlier versions have none
        self._painted = {int(frame): values.numpy().copy() for frame, values in painted.items()}


def _local_contrast(gray: np.ndarray) -> np.ndarray:
    """The largest minus the smallest value within 3x3 pixels."""
    window = np.ones((3, 3), np.uint8)
    return cv2.dilate(gray, window) - cv2.erode(gray, window)
