"""Cuts of a live source, noticed while it runs: what follows one is predicted in the world of before, which is a guess.

A clip with cuts is taken apart before it is predicted (`shots`); a live source is predicted as it comes, so that a cut
can only be said.
"""

from collections.abc import Callable

import numpy as np

from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.footage.links import compare_images, contrast, small_gray

#: frames that follow each other smoothly before a cut and after it; if the picture of before is back then, it was none
_STEADY, _SOON = 8, 3
#: smallest side of frames that can be compared, in pixels
_LEAST_SIDE = 64
#: contrast below which an image shows nothing to compare, in gray levels
_NOTHING = 2.0


class LiveCuts:
    """Looks at the frames of one workspace as they are stored."""

    def __init__(self, workspace: StreamWorkspace, title: str, warn: Callable[[str], None]) -> None:
        self._workspace, self._title, self._warn = workspace, title, warn
        self._looked = len(workspace)
        self._last: np.ndarray | None = None
        #: a frame that may be the first after a cut, and the image before it
        self._doubt: tuple[int, np.ndarray] | None = None
        #: how many frames have followed each other smoothly
        self._run = 0
        #: first frames after cuts
        self.cuts: list[int] = []

    def look(self) -> None:
        """Looks at the frames since the last call."""
        count = len(self._workspace)
        if count > self._looked:
            frames = self._workspace.frames(range(self._looked, count))
            for place in range(len(frames)):
                if min(frames.width, frames.height) >= _LEAST_SIDE:
                    self._next(self._looked + place, small_gray(frames.rgb8(place)))
        self._looked = count

    def _next(self, frame: int, image: np.ndarray) -> None:
        if contrast(image) < _NOTHING:
            return
        if self._last is not None:
            if compare_images(self._last, image).linked:
                self._run += 1
            else:
                # where images follow each other too slowly to be linked at all, none can be told from a cut
                self._doubt = (frame, self._last) if self._run >= _STEADY else None
                self._run = 0
        if self._doubt is not None and self._run >= _SOON:
            first, before = self._doubt
            self._doubt = None
            if not compare_images(before, image).linked:
                self.cuts.append(first)
                self._warn(
                    f"The picture of {self._title} changes at frame {first} as at a cut; from there on, cameras are "
                    "placed by guess. Record what follows by itself."
                )
        self._last = image
