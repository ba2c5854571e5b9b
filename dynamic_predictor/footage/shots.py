"""Divides a clip into shots, and finds the frames of each that nothing can be learned from.

A cut is where neighboring frames show different places (`links`). What shows nothing, or something else for a moment,
before the same place comes back, is an interruption: a black frame, a flash, a hand before the lens. Blurred frames of
a fast turn are no cut, and a slow change into another view is none either, but it is noted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dynamic_predictor.footage.frame_states import (
    FrameLooks,
    blank_frames,
    fades,
    flashes,
    repetitions,
    smeared_frames,
)
from dynamic_predictor.footage.links import GrayThumbnails, Links
from scene.frames import Frames
from scene.progress import Progress, ignore_progress

Reason = Literal["black", "white", "one color", "flash", "interruption", "repetition", "faded"]
#: frames that are a shot by themselves
FEWEST_FRAMES = 4
#: most frames of an interruption that shows something, and of one that shows little
_LONGEST_INTERRUPTION, _LONGEST_COVERED = 12, 72
#: how many runs of frames an interruption may consist of
_MOST_RUNS = 6
#: share of neighbors without a link above which images are a collection and no video
_COLLECTION = 0.25
#: contrast, in shares of the usual, of frames that show little: a covered lens
_BLURRED = 0.5
#: gain of a faded frame below which its camera is not measured
_TOO_FAINT = 0.3
#: correlation of neighbors below which a frame may be a mixture of two shots
_MIXED = 0.85
#: contrast of the middle of a dissolve in that of its ends, and half of its length, in frames
_DISSOLVED, _DISSOLVE_REACHES = 0.88, (2, 4, 8, 12)


@dataclass
class Shot:
    """Frames `start` to `stop` - 1 of the clip."""

    start: int
    stop: int
    #: frames that are not predicted, with the reason; their cameras are interpolated
    left_out: dict[int, Reason] = field(default_factory=dict)
    #: frames that are predicted, and whose colors are not used
    faded: dict[int, Reason] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def predicted(self) -> list[int]:
        """The frames that are predicted."""
        return [frame for frame in range(self.start, self.stop) if frame not in self.left_out]


@dataclass
class FoundShots:
    """The shots of a clip of `count` frames; what lies between them belongs to none."""

    shots: list[Shot]
    count: int
    #: neighboring images show different places everywhere: no video
    is_collection: bool = False
    #: (first, last) frames of slow changes from one view into another, inside of shots
    dissolves: list[tuple[int, int]] = field(default_factory=list)


def find_shots(frames: Frames, *, progress: Progress = ignore_progress) -> FoundShots:
    """The shots of a clip."""
    count = len(frames)
    images = GrayThumbnails(frames)
    links = Links(images)
    looks = FrameLooks.of(images, progress)
    usual = looks.usual_contrast()
    reasons: dict[int, Reason] = {}
    blank = blank_frames(looks)
    for frame in np.flatnonzero(blank):
        mean = looks.mean[frame]
        reasons[int(frame)] = "black" if mean < 40 else "white" if mean > 215 else "one color"
    for frame in np.flatnonzero(flashes(looks, blank)):
        reasons[int(frame)] = "flash"
    good = [frame for frame in range(count) if frame not in reasons]
    if len(good) < 2:
        return FoundShots([Shot(0, count)], count)
    runs = _linked_runs(good, links, smeared_frames(looks), count, progress)
    if len(runs) - 1 > max(2, _COLLECTION * (len(good) - 1)):
        return FoundShots([Shot(0, count)], count, is_collection=True)
    groups, passing = _without_interruptions(runs, links, looks, usual)
    reasons |= dict.fromkeys(passing, "interruption")
    shots = [group for group in groups if len(group) >= FEWEST_FRAMES]
    if len(shots) < 2:
        whole = max(groups, key=len)
        others = [frame for group in groups if group is not whole for frame in group]
        if len(whole) < max(6, 3 * len(others)) and others:
            return FoundShots([Shot(0, count)], count, is_collection=True)
        shots = [sorted(whole)]
        reasons |= dict.fromkeys(others, "interruption")
        spans = [(0, count)]
    else:
        spans = [(group[0], group[-1] + 1) for group in shots]
    found = []
    for (start, stop), group in zip(spans, shots, strict=True):
        shot = Shot(start, stop, {frame: reason for frame, reason in reasons.items() if start <= frame < stop})
        for frame, gain in fades(group, looks, links).items():
            (shot.left_out if gain < _TOO_FAINT else shot.faded)[frame] = "faded"
        for frame in np.flatnonzero(repetitions(looks, [frame for frame in group if frame not in shot.faded], links)):
            shot.left_out[int(frame)] = "repetition"
        if len(shot.predicted) < 2:
            shot.left_out, shot.faded = {}, {}
        found.append(shot)
    progress("looking for cuts", 2 * count, 2 * count)
    return FoundShots(found, count, dissolves=[span for shot in found for span in _dissolves(shot, looks, links)])


def one_shot(found: FoundShots) -> FoundShots:
    """The whole clip as one shot, with the frames that show nothing."""
    joined = Shot(0, found.count)
    for shot in found.shots:
        joined.left_out |= {frame: why for frame, why in shot.left_out.items() if why != "interruption"}
        joined.faded |= shot.faded
    return FoundShots([joined], found.count)


def _linked_runs(
    good: Sequence[int], links: Links, smeared: np.ndarray, count: int, progress: Progress
) -> list[list[int]]:
    """The frames `good` in runs whose neighbors show the same place, or are blurred by a fast turn of the camera."""
    runs = [[good[0]]]
    for one, two in zip(good, good[1:], strict=False):
        link = links(one, two)
        if link.linked or (two == one + 1 and smeared[[one, two]].any()):
            runs[-1].append(two)
        else:
            runs.append([two])
        progress("looking for cuts", count + two, 2 * count)
    return [part for run in runs for part in _without_mixtures(run, links)]


def _without_mixtures(run: list[int], links: Links) -> list[list[int]]:
    """A run divided at single frames that are a mixture of two shots, as changes of the frame rate leave them at cuts:
    both neighbors resemble such a frame, and not each other."""
    parts, begin = [], 0
    for place in range(1, len(run) - 1):
        before, frame, after = run[place - 1 : place + 2]
        if max(links(before, frame).correlation, links(frame, after).correlation) > _MIXED:
            continue
        if place > begin and not links(before, after).linked:
            parts += [run[begin:place], [frame]]
            begin = place + 1
    return [part for part in (*parts, run[begin:]) if part]


def _without_interruptions(
    runs: list[list[int]], links: Links, looks: FrameLooks, usual: np.ndarray
) -> tuple[list[list[int]], list[int]]:
    """Runs joined where the place of one comes back after others, and the frames of the others."""
    groups, passing, place = [list(runs[0])], [], 1
    while place < len(runs):
        for later in range(place + 1, min(place + _MOST_RUNS, len(runs))):
            between = [frame for run in runs[place:later] for frame in run]
            covered = float(np.median(looks.contrast[between] / np.maximum(usual[between], 1e-6))) < _BLURRED
            # the place that comes back is seen longer than what was between
            longest = min(_LONGEST_COVERED if covered else _LONGEST_INTERRUPTION, len(groups[-1]) + len(runs[later]))
            if len(between) <= longest and _come_together(groups[-1], runs[later], links):
                passing += between
                groups[-1] += runs[later]
                place = later + 1
                break
        else:
            groups.append(list(runs[place]))
            place += 1
    return groups, passing


def _dissolves(shot: Shot, looks: FrameLooks, links: Links) -> list[tuple[int, int]]:
    """(first, last) frames of mixtures of two views: contrast is less than before and after, such a frame resembles
    both the view before and the one after in part, and these two show different places."""
    found: list[tuple[int, int]] = []
    frames, seen = shot.predicted, looks.contrast
    for place, middle in enumerate(frames):
        if found and middle <= found[-1][1]:
            continue
        for reach in _DISSOLVE_REACHES:
            if not reach <= place < len(frames) - reach:
                break
            before, after = frames[place - reach], frames[place + reach]
            if seen[middle] > _DISSOLVED * min(seen[before], seen[after]) or links(before, after).linked:
                continue
            partly = [links(middle, end) for end in (before, after)]
            if all(link.linked and link.correlation < _MIXED for link in partly):
                found.append((before, after))
                break
    return found


def _come_together(before: Sequence[int], after: Sequence[int], links: Links) -> bool:
    pairs = [(one, two) for one in before[-2:][::-1] for two in after[:2]]
    return any(links(one, two).linked for one, two in pairs)
