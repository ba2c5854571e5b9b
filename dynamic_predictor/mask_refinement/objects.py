"""Objects: confident cores of neighboring frames that lie over each other."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dynamic_predictor.mask_refinement.evidence import Core, FrameEvidence, frame_evidence
from scene.maps import FrameMaps
from scene.progress import Progress

#: frames that an object may be missing for
_GAP = 3
#: share of the smaller extent that the other one covers where two cores are the same object
_OVERLAP = 0.3
#: an object in a longer clip is seen moving in at least so many frames
_FEWEST = 2
_STAGE = "moving objects"


@dataclass
class MovingObject:
    """One thing that moves: its core in the frames in which the motion mask has it."""

    cores: dict[int, Core] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """How much motion there is of it: sure pixels over all frames."""
        return sum(core.area * core.confidence for core in self.cores.values())


def moving_objects(masks: FrameMaps, progress: Progress) -> list[MovingObject]:
    """The objects in the motion masks of a clip, those with most evidence first."""
    objects: list[MovingObject] = []
    recent: list[tuple[FrameEvidence, dict[int, MovingObject]]] = []
    count = len(masks)
    for frame in range(count):
        evidence = frame_evidence(masks[frame], frame)
        owners: dict[int, MovingObject] = {}
        continued: set[int] = set()
        for before, known in reversed(recent):
            for old, new in _same(before, evidence):
                item = known.get(old)
                if new in owners or item is None or id(item) in continued:
                    continue
                owners[new] = item
                continued.add(id(item))
        for core in evidence.cores:
            if core.label not in owners:
                owners[core.label] = MovingObject()
                objects.append(owners[core.label])
            owners[core.label].cores[frame] = core
        recent = [*recent, (evidence, owners)][-_GAP:]
        progress(_STAGE, frame + 1, count)
    fewest = min(_FEWEST, count)
    return sorted((item for item in objects if len(item.cores) >= fewest), key=lambda item: -item.weight)


def _same(before: FrameEvidence, after: FrameEvidence) -> Iterator[tuple[int, int]]:
    """Pairs of labels of two frames whose extents lie over each other, the best first."""
    counts = np.zeros((len(before.cores) + 1, len(after.cores) + 1), np.int64)
    np.add.at(counts, (before.owner.ravel(), after.owner.ravel()), 1)
    found = []
    for old in before.cores:
        for new in after.cores:
            share = counts[old.label, new.label] / min(old.extent_area, new.extent_area)
            if share >= _OVERLAP:
                found.append((share, old.label, new.label))
    for _, old_label, new_label in sorted(found, key=lambda item: -item[0]):
        yield old_label, new_label
