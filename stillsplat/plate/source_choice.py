"""Chooses the frames from which the background of a frame is fetched."""

from collections.abc import Sequence

import numpy as np

from stillsplat.plate.warping import StaticView, coarse, seen_from, warp_map

#: frames that shall see a place, behind what moves and elsewhere
_WANTED, _WANTED_ELSEWHERE = 5, 3
#: weight of a place where nothing is known to move
_ELSEWHERE = 0.15


class SourceChoice:
    """The frames of a clip, seen coarsely. `stored`: indices of frames that can be fetched from."""

    def __init__(self, views: Sequence[StaticView], stored: Sequence[int]) -> None:
        """`views` may be larger; they are kept small."""
        self._views = [coarse(view) for view in views]
        self._stored = list(stored)
        self._latest: tuple[int, np.ndarray] | None = None

    def sources(self, target: int, count: int) -> list[int]:
        """Up to `count` frames that together see what is hidden in frame `target`, each place in several of them, near
        frames first, and that let what is not known to move be compared with other times."""
        view = self._views[target]
        others = [index for index in self._stored if index != target]
        if not others:
            return []
        seen = self._seen_in(target)
        place = np.where(view.hidden, 1.0, _ELSEWHERE)
        wanted = np.where(view.hidden, _WANTED, _WANTED_ELSEWHERE).astype(np.float64)
        missing = wanted.copy()
        span = max(8.0, 0.5 * len(self._views))
        nearness = np.exp(-np.abs(np.array(others) - target) / span)
        chosen: list[int] = []
        left = list(range(len(others)))
        while left and len(chosen) < count:
            # the first frame that sees a place counts most, each further one half as much
            need = place * np.minimum(missing, 1.0) * np.exp2(missing - wanted)
            gains = (seen[left] * need).sum(axis=(1, 2)) * nearness[left]
            for at, candidate in enumerate(left):
                # two frames next to each other show the same mover at the same place
                gap = min((abs(others[candidate] - others[other]) for other in chosen), default=9)
                gains[at] *= min(1.0, (1 + gap) / 4)
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            index = left.pop(best)
            missing = np.maximum(missing - seen[index], 0.0)
            chosen.append(index)
        return [others[index] for index in chosen]

    def never_seen(self, target: int) -> np.ndarray:
        """Bool (h, w), coarse: hidden in frame `target`, seen in no other, and not known by what others have shown."""
        seen = self._seen_in(target)
        view = self._views[target]
        return view.hidden & ~seen.any(axis=0) & (view.ground < 0.5)

    def _seen_in(self, target: int) -> np.ndarray:
        """Bool (N, h, w): whether each of the other stored frames sees the places of frame `target`."""
        if self._latest is None or self._latest[0] != target:
            view = self._views[target]
            others = [self._views[index] for index in self._stored if index != target]
            maps = [seen_from(*warp_map(view.camera, other.camera, view.z_depth), other) for other in others]
            self._latest = target, np.stack(maps) if maps else np.zeros((0, *view.hidden.shape), bool)
        return self._latest[1]
