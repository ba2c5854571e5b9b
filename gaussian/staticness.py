"""Learns, for every frame and pixel, how surely it is static: the weight that gates the loss.

The log odds of a pixel begin at what the motion mask says and move with evidence from its residuals, gathered over the
visits of its frame. A residual counts as evidence only where it is an outlier among what else the frame shows, in units
of the frame's own noise and of the local contrast (a slightly wrong pose gives residuals at every edge), and where it
holds over a patch. The evidence is bounded, and the mask is a prior that only strong evidence overturns. This is the
learned staticness of DAS3R (Xu et al., 2024) with robust statistics in place of a free variable per pixel; compare
SpotLessSplats (Sabour et al., 2024).
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
    """How residuals speak for or against a pixel."""

    #: bound of the prior log odds; the mask's own certainty is within it
    prior_bound: float = 3.0
    #: motion that speaks neither way: less than a half, since a trace of what moves harms more than a pixel less
    even_odds: float = 0.4
    #: a residual of so many robust standard deviations speaks neither way
    neutral: float = 3.0
    #: log odds per standard deviation above `neutral`
    gain: float = 1.0
    #: bound of the evidence against a pixel, and for one that the mask does not call moving; what the mask calls moving
    #: is never freed, because Gaussians that learned from it would vouch for it
    against: float = 6.0
    favor: float = 2.0
    #: patch over which residuals are averaged, as a share of the image's width
    patch: float = 0.014
    #: share of the old evidence that each visit keeps
    memory: float = 0.6
    #: noise of a perfect image, in [0, 1]
    noise_floor: float = 0.02
    #: share of a frame's unmasked pixels that may turn out to be moving; above it the image is just badly explained
    max_overturned: float = 0.12


class StaticWeights:
    """Static weights of some frames, `priors[frame]` being motion masks (1 = moves), or None for no motion at all.

    Evidence is kept at half size in half precision, on disk where a clip is long.
    """

    def __init__(
        self,
        priors: FrameMaps | None,
        frames: int,
        height: int,
        width: int,
        settings: StaticnessSettings | None = None,
    ) -> None:
        self._priors = priors
        self._settings = settings or StaticnessSettings()
        self._size = (height, width)
        # a scene on the disk decodes a file for every read
        self._motion = StoredMaps(frames, height, width, np.uint8) if priors is not None else None
        self._motion_known = np.zeros(frames, bool)
        self._evidence = StoredMaps(frames, (height + 1) // 2, (width + 1) // 2)
        self._visited = np.zeros(frames, bool)

    def __len__(self) -> int:
        return len(self._visited)

    def __getitem__(self, index: int) -> np.ndarray:
        """Weight (H, W) float32 in [0, 1] of a frame, at full size."""
        odds = self._prior_odds(index)
        if self._visited[index]:
            evidence = cv2.resize(self._evidence[index], odds.shape[::-1], interpolation=cv2.INTER_LINEAR)
            odds = odds + evidence
        # a soft step that is exactly 0 and 1 at the ends, so that what moves leaves no trace
        return np.clip(0.5 + odds / 2.0, 0.0, 1.0).astype(np.float32)

    def _prior_odds(self, frame: int) -> np.ndarray:
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
        """Learns from one rendering: `residual` (h, w), mean absolute difference over channels in [0, 1], and the
        image `target` (h, w, 3), uint8 or float in [0, 1], both at any one size.

        Where `alpha` (h, w), the coverage of the rendering, is low, a residual says nothing about motion.
        """
        settings = self._settings
        height, width = self._evidence[frame].shape
        residual = cv2.resize(np.ascontiguousarray(residual), (width, height), interpolation=cv2.INTER_AREA)
        gray = np.ascontiguousarray(target[..., 1], np.float32) / (255 if target.dtype == np.uint8 else 1)
        gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        patch = max(3, int(settings.patch * width) | 1)
        residual = cv2.blur(residual, (patch, patch))
        contrast = cv2.blur(_local_contrast(gray), (patch, patch))
        prior = cv2.resize(self._prior_odds(frame), (width, height), interpolation=cv2.INTER_AREA)
        static = prior > 0
        if not static.any():
            return
        # what a static pixel of this contrast leaves in this frame, by a robust line through the origin's noise
        flat_noise = float(np.median(residual[static & (contrast <= np.median(contrast[static]))]))
        slope = float(np.median(residual[static] / (contrast[static] + settings.noise_floor)))
        expected = np.maximum(settings.noise_floor, 0.5 * flat_noise + 0.5 * slope * (contrast + settings.noise_floor))
        sigmas = residual / expected
        evidence = settings.gain * (settings.neutral - sigmas)
        if alpha is not None:
            evidence[cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA) < 0.8] = 0
        if self._visited[frame]:
            evidence = settings.memory * self._evidence[frame] + (1 - settings.memory) * evidence
        evidence = np.clip(evidence, -settings.against, np.where(static, settings.favor, 0.0))
        overturned = static & (prior + evidence < 0)
        share = overturned.sum() / max(1, static.sum())
        if share > settings.max_overturned:
            # badly explained rather than moving: weaken all evidence against, evenly
            evidence = np.where(evidence < 0, evidence * (settings.max_overturned / share) ** 2, evidence)
        self._evidence[frame] = evidence
        self._visited[frame] = True

    def state(self, frames: Sequence[int]) -> dict[str, Any]:
        """For a checkpoint: the evidence of the visited ones among `frames`."""
        visited = [frame for frame in frames if self._visited[frame]]
        maps = [torch.from_numpy(self._evidence[frame]).half() for frame in visited]
        return {"frames": visited, "evidence": torch.stack(maps) if maps else torch.zeros(0)}

    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self._visited[:] = False
        for frame, evidence in zip(state["frames"], state["evidence"], strict=True):
            self._evidence[int(frame)] = evidence.float().numpy()
            self._visited[int(frame)] = True


def _local_contrast(gray: np.ndarray) -> np.ndarray:
    """Range within 3x3 pixels."""
    window = np.ones((3, 3), np.uint8)
    return cv2.dilate(gray, window) - cv2.erode(gray, window)
