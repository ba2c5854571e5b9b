"""What a frame would show without what moves, at the size of the scene: fetched from other frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stillsplat.plate.alignment import Aligner, exposure_match
from stillsplat.plate.source_choice import SourceChoice
from stillsplat.plate.voting import Vote, vote
from stillsplat.plate.warping import StaticView, displaced, sampled, seen_from, warp_map

#: frames that a background is fetched from
SOURCES = 8
#: frames after which the weight of a source has fallen to 1 / e
_NEARNESS = 20.0


@dataclass(frozen=True)
class Fetched:
    """One source, brought to a frame."""

    index: int
    #: (H, W, 2) float32: where the pixels of the frame lie in the source, pixel centers at integers
    places: np.ndarray
    #: (H, W) float32, 0 = does not see the place
    weight: np.ndarray
    #: (3,) each: value in the frame = gain * value in the source + offset
    gain: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class Background:
    """The background of one frame."""

    sources: list[Fetched]
    voted: Vote
    #: (H, W) int: how many sources see the place
    count: np.ndarray
    #: (H, W, 3) float32, the vote; the render where no source sees anything
    color: np.ndarray


class BackgroundFinder:
    """Finds backgrounds of the frames of one clip. `views` are all frames; `stored` those to fetch from."""

    def __init__(self, views: Sequence[StaticView], stored: Sequence[int]) -> None:
        self.views = views
        self._choice = SourceChoice(views, stored)
        self._aligner = Aligner()
        self._candidates: np.ndarray | None = None
        self._weights: np.ndarray | None = None

    def never_seen(self, target: int) -> np.ndarray:
        """Bool (h, w), coarse: hidden in the frame, and seen in none of the others."""
        return self._choice.never_seen(target)

    def background(self, target: int) -> Background:
        """The background of frame `target`."""
        view = self.views[target]
        reference = np.where(view.hidden[..., None], view.render, view.image)
        shape = view.hidden.shape
        if self._candidates is None or self._weights is None:
            # kept: memory that is asked for anew must be filled with zeros by the system first
            self._candidates = np.empty((SOURCES, *shape, 3), np.float32)
            self._weights = np.empty((SOURCES, *shape), np.float32)
        sources: list[Fetched] = []
        for index in self._choice.sources(target, SOURCES):
            fetched, color = self._fetched(view, reference, index, float(np.exp(-abs(index - target) / _NEARNESS)))
            self._candidates[len(sources)], self._weights[len(sources)] = color, fetched.weight
            sources.append(fetched)
        if not sources:
            empty = np.zeros(shape, np.float32)
            return Background([], Vote(view.render, empty, empty), np.zeros(shape, np.int64), view.render)
        stacked = self._weights[: len(sources)]
        voted = vote(self._candidates[: len(sources)], stacked)
        color = np.where((voted.support > 1e-4)[..., None], voted.color, view.render)
        return Background(sources, voted, (stacked > 0).sum(axis=0), color)

    def _fetched(
        self, view: StaticView, reference: np.ndarray, index: int, nearness: float
    ) -> tuple[Fetched, np.ndarray]:
        """Source `index`, and its colors (H, W, 3) at the pixels of `view`."""
        source = self.views[index]
        places, z = warp_map(view.camera, source.camera, view.z_depth)
        visible = seen_from(places, z, source)
        warped = sampled(source.image, places)
        known = cv2.erode((visible & ~view.hidden).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        gain, offset = exposure_match(view.image, warped, known)
        flow = self._aligner.flow(reference, warped * gain + offset, visible)
        places = displaced(places, flow)
        z = sampled(z, _identity(z.shape) + flow)
        weight = seen_from(places, z, source).astype(np.float32) * np.float32(nearness)
        color = sampled(source.image, places, cv2.INTER_LANCZOS4)
        return Fetched(index, places, weight, gain, offset), np.clip(color, 0, None) * gain + offset


def _identity(shape: tuple[int, int]) -> np.ndarray:
    return np.dstack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))).astype(np.float32)
