"""The interface of networks that segment what a prompt points at, and follow it through a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scene.frames import Frames


@dataclass(frozen=True)
class Prompt:
    """Where an object is in one frame. Coordinates are in pixels of the frame, pixel centers at +0.5."""

    frame: int
    #: (n, 2) float32 of (x, y): points on the object
    points: np.ndarray
    #: (x0, y0, x1, y1) of the box around the object; None: the points alone say which object is meant
    box: tuple[float, float, float, float] | None = None


class VideoSegmenter(Protocol):
    """Segments objects in a clip. Frames are read one at a time; nothing grows with the clip."""

    #: of the weights, as recorded in `scene.json`
    name: str

    def segmented(self, image: np.ndarray, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """The objects that the `prompts` point at in `image`, uint8 RGB (H, W, 3), seen by itself: bool (H, W) each."""
        ...

    def tracked(
        self, frames: Frames, objects: Sequence[Sequence[Prompt]]
    ) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        """Follows objects through the clip, from the prompts of each forwards to the end and backwards to the start.

        Yields the number of a frame and for each object its mask, bool (H, W), all False where the object is not in
        the frame, and None where the step does not concern the object, in the order of `tracking_order`.
        """
        ...


@dataclass(frozen=True)
class TrackingStep:
    """Work on one frame."""

    frame: int
    #: for each object whether its mask in this frame is found in this step
    concerned: tuple[bool, ...]
    #: the objects concerned have a prompt in this frame
    is_prompt: bool = False
    #: the frames before this step lie after it in the clip
    is_backwards: bool = False


def tracking_order(count: int, objects: Sequence[Sequence[Prompt]]) -> list[TrackingStep]:
    """The steps that give each object one mask for every frame of a clip of `count` frames: all prompted frames, then
    forwards from the first prompt of each object to the end, then backwards from it to the start."""
    prompted = [{prompt.frame for prompt in prompts} for prompts in objects]
    starts = [min(frames) for frames in prompted]
    steps = [
        TrackingStep(frame, tuple(frame in frames for frames in prompted), is_prompt=True)
        for frame in sorted(set[int]().union(*prompted))
    ]
    pairs = list(zip(prompted, starts, strict=True))
    for frame in range(count):
        steps.append(TrackingStep(frame, tuple(frame > start and frame not in given for given, start in pairs)))
    for frame in reversed(range(count)):
        steps.append(TrackingStep(frame, tuple(frame < start for start in starts), is_backwards=True))
    return [step for step in steps if any(step.concerned)]
