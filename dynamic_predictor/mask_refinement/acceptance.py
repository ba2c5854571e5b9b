"""Which masks of a followed object are believed: those that agree with the evidence of motion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: share of an object's mask that must lie where something moves; the rest is what motion masks miss of an object. With
#: less, the mask has run into the static scene
_PRECISION = 0.5
#: share of the core that it must cover, and share of it where something moves that makes up for less
_COVERAGE, _WITHIN = 0.5, 0.8
#: share of the core that a mask covers where it is all of the object, not a part of it
_WHOLE = 0.7
#: share of the frames with evidence in which it must agree
_AGREEING = 0.6
#: change of the area to the next frame up to which an object without evidence is still the same one
_CHANGE = 2.0


@dataclass(frozen=True)
class Agreement:
    """How a mask of an object agrees with the motion mask of a frame."""

    #: share of the object's core that the mask covers
    coverage: float
    #: share of the mask that lies where something moves
    precision: float

    @property
    def quality(self) -> float:
        """In [0, 1], to choose the better of two masks."""
        return self.coverage * self.precision

    @property
    def is_enough(self) -> bool:
        return self.precision >= _PRECISION and (self.coverage >= _COVERAGE or self.precision >= _WITHIN)

    @property
    def is_whole(self) -> bool:
        """Whether what the mask leaves out around it is no part of the object."""
        return self.is_enough and self.coverage >= _WHOLE


def agreement(segment: np.ndarray, core: np.ndarray, moving: np.ndarray) -> Agreement:
    """The agreement of a mask with the core of its object and with all that moves; bool (H, W) each."""
    covered, within = int((segment & core).sum()), int((segment & moving).sum())
    return Agreement(covered / max(1, int(core.sum())), within / max(1, int(segment.sum())))


def accepted_frames(areas: Sequence[int], agreements: Mapping[int, Agreement]) -> list[bool]:
    """Whether the mask of an object is believed, for each frame.

    `areas`: pixels of the mask in each frame. `agreements`: of the frames in which the object has a core. Nothing is
    believed unless most of these agree. Frames without evidence, in which the object rests or was missed, follow their
    neighbors while the area changes little, for as many frames as have agreed: a wrong spot of a few frames never
    becomes an object of the whole clip.
    """
    accepted = [frame in agreements and agreements[frame].is_enough for frame in range(len(areas))]
    agreeing = sum(accepted)
    if not agreeing or agreeing < _AGREEING * len(agreements):
        return [False] * len(areas)
    believed = list(accepted)
    for step in (1, -1):
        last, left = 0, 0
        for frame in range(len(areas))[::step]:
            if accepted[frame]:
                last, left = areas[frame], agreeing
            elif frame in agreements:
                left = 0
            elif left > 0:
                left -= 1
                if areas[frame] == 0:
                    continue
                if not last / _CHANGE <= areas[frame] <= last * _CHANGE:
                    left = 0
                    continue
                believed[frame], last = True, areas[frame]
    return believed
