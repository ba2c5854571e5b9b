"""Motion masks with the shapes of the objects that move, found by a network that segments what it is pointed at.

1. The masks are divided into objects (`evidence`, `objects`).
2. Each object is pointed at in the frames that show it best (`prompting`). Where what the network finds there does not
   agree with the mask, another prompt is tried.
3. It is followed forwards and backwards through the clip, a few objects at a time.
4. What it finds is believed where it agrees with the evidence (`acceptance`). It replaces the mask there, whose halo
   goes; thick parts of the mask that it leaves out stay, and so does all of the mask elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.mask_refinement.acceptance import Agreement, accepted_frames, agreement
from dynamic_predictor.mask_refinement.contract import Prompt, VideoSegmenter, tracking_order
from dynamic_predictor.mask_refinement.evidence import frame_evidence, halo_width
from dynamic_predictor.mask_refinement.objects import MovingObject, moving_objects
from dynamic_predictor.mask_refinement.prompting import prompt_frames, prompts_of
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress

#: objects that are followed together: the memory of the device holds that of one frame and of so many objects
AT_ONCE = 8
#: objects of a clip
MOST = 32
#: prompted frames of an object that are used together
_PROMPTS = 2
#: share of an object's cores that others cover where it needs no prompt of its own
_COVERED = 0.7
#: distance from an object up to which thin parts of the mask are its halo, in widths of a halo; thin parts further away
#: may be limbs that the network left out
_HALO_REACH = 1.5
#: in what was found: a part of an object, or all of it
_PART, _WHOLE = 1, 2
#: memory of the masks of one object, above which they are kept in a file
_MASK_BYTES = 32 << 20


@dataclass(frozen=True)
class Refinement:
    """Refined masks, and what became of the objects in them."""

    #: (H, W) float32 in [0, 1] per frame
    masks: FrameMaps
    #: objects in the given masks (without those that others cover), and those that the network agreed with
    objects: int
    refined: int
    #: objects that were not looked at, because there are more than `MOST`
    left_out: int = 0


def refined_masks(
    frames: Frames,
    masks: FrameMaps,
    segmenter: VideoSegmenter,
    progress: Progress = ignore_progress,
    *,
    at_once: int = AT_ONCE,
    most: int = MOST,
) -> Refinement:
    """The motion `masks` of a clip, (H, W) in [0, 1] of the size of the `frames`, with the shapes that `segmenter`
    finds. `at_once` objects are followed together, `most` in all."""
    waiting = moving_objects(masks, progress)
    left_out = max(0, len(waiting) - most)
    waiting = waiting[:most]
    found = StoredMaps(len(masks), frames.height, frames.width, np.uint8)
    objects = refined = 0
    while waiting:
        chosen, waiting = waiting[:at_once], waiting[at_once:]
        stage = f"{segmenter.name}, objects {objects + 1} to {objects + len(chosen)}"
        objects += len(chosen)
        refined += _follow(chosen, frames, masks, segmenter, found, progress, stage)
        waiting = _uncovered(waiting, masks, found)
    if not refined:
        return Refinement(masks, objects, 0, left_out)
    refined_maps = StoredMaps(len(masks), frames.height, frames.width)
    for frame in range(len(masks)):
        refined_maps[frame] = completed(masks[frame], found[frame] > 0, found[frame] == _WHOLE)
    return Refinement(refined_maps, objects, refined, left_out)


def completed(mask: np.ndarray, segment: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The `mask` (H, W) of a frame with the objects `segment`, bool (H, W). Around those of them that are `whole`, bool
    (H, W), its halo goes."""
    moving = mask >= 0.5
    parts, found = cv2.connectedComponents(moving.astype(np.uint8))
    labels = np.asarray(found, np.int64)
    met = np.zeros(parts, bool)
    met[np.unique(labels[whole])] = True
    met[0] = False
    rest = moving & ~segment
    radius = round(halo_width(mask.shape))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    thick = cv2.morphologyEx(rest.astype(np.uint8), cv2.MORPH_OPEN, disk, borderValue=0) > 0
    near = cv2.distanceTransform((~whole).astype(np.uint8), cv2.DIST_L2, 5) <= _HALO_REACH * halo_width(mask.shape)
    halo = met[labels] & rest & ~thick & near
    # below one half, the mask is a doubt, which the halo has around it, too
    doubt = ~moving & near & (cv2.dilate(met[labels].astype(np.uint8), disk) > 0) & ~segment
    return np.where(segment, 1.0, np.where(halo | doubt, 0.0, mask)).astype(np.float32)


def _follow(
    objects: Sequence[MovingObject],
    frames: Frames,
    masks: FrameMaps,
    segmenter: VideoSegmenter,
    found: StoredMaps,
    progress: Progress,
    stage: str,
) -> int:
    """Follows objects, adds what is believed of them to `found` (`_PART`, `_WHOLE`), and returns how many were."""
    prompts = _agreed_prompts(objects, frames, masks, segmenter, progress, f"{stage}: prompts")
    followed = [item for item, chosen in zip(objects, prompts, strict=True) if chosen]
    prompts = [chosen for chosen in prompts if chosen]
    if not followed:
        return 0
    count = len(masks)
    tracks = [StoredMaps(count, frames.height, frames.width, np.uint8, memory_limit=_MASK_BYTES) for _ in followed]
    areas = np.zeros((len(followed), count), np.int64)
    agreements: list[dict[int, Agreement]] = [{} for _ in followed]
    total = len(tracking_order(count, prompts))
    for step, (frame, segments) in enumerate(segmenter.tracked(frames, prompts), start=1):
        evidence = frame_evidence(masks[frame], frame)
        for index, segment in enumerate(segments):
            if segment is None:
                continue
            tracks[index][frame] = segment
            areas[index, frame] = int(segment.sum())
            core = followed[index].cores.get(frame)
            if core is not None:
                inside = evidence.core & (evidence.owner == core.label)
                agreements[index][frame] = agreement(segment, inside, evidence.moving)
        progress(stage, step, total)
    believed = [accepted_frames(area.tolist(), known) for area, known in zip(areas, agreements, strict=True)]
    for frame in range(count):
        current = found[frame]
        for track, accepted, known in zip(tracks, believed, agreements, strict=True):
            if accepted[frame]:
                is_whole = frame not in known or known[frame].is_whole
                current = np.maximum(current, (track[frame] > 0) * np.float32(_WHOLE if is_whole else _PART))
        found[frame] = current
    return sum(any(accepted) for accepted in believed)


def _agreed_prompts(
    objects: Sequence[MovingObject],
    frames: Frames,
    masks: FrameMaps,
    segmenter: VideoSegmenter,
    progress: Progress,
    stage: str,
) -> list[list[Prompt]]:
    """For each object the prompts that the network answers in agreement with the mask, the best first; at most
    `_PROMPTS`."""
    wanted: dict[int, list[int]] = {}
    for index, item in enumerate(objects):
        for frame in prompt_frames(item):
            wanted.setdefault(frame, []).append(index)
    answers: list[list[tuple[float, Prompt]]] = [[] for _ in objects]
    for done, (frame, indices) in enumerate(sorted(wanted.items()), start=1):
        evidence = frame_evidence(masks[frame], frame)
        cores = [objects[index].cores[frame] for index in indices]
        tried = [prompts_of(core, evidence) for core in cores]
        segments = segmenter.segmented(frames.rgb8(frame), [prompt for pair in tried for prompt in pair])
        for place, (index, core) in enumerate(zip(indices, cores, strict=True)):
            inside = evidence.core & (evidence.owner == core.label)
            answered = [agreement(segments[2 * place + k], inside, evidence.moving) for k in range(2)]
            best = max(range(2), key=lambda k: answered[k].quality)
            if answered[best].is_enough:
                answers[index].append((answered[best].quality, tried[place][best]))
        progress(stage, done, len(wanted))
    ranked = [sorted(answered, key=lambda item: -item[0])[:_PROMPTS] for answered in answers]
    return [[prompt for _, prompt in chosen] for chosen in ranked]


def _uncovered(objects: Sequence[MovingObject], masks: FrameMaps, found: StoredMaps) -> list[MovingObject]:
    """The objects whose cores are not covered by what was found already."""
    covered, total = np.zeros(len(objects)), np.zeros(len(objects))
    for frame in range(len(masks)):
        cores = [(index, item.cores[frame]) for index, item in enumerate(objects) if frame in item.cores]
        if not cores:
            continue
        evidence, known = frame_evidence(masks[frame], frame), found[frame] > 0
        for index, core in cores:
            inside = evidence.core & (evidence.owner == core.label)
            covered[index] += int((inside & known).sum())
            total[index] += core.area
    return [item for index, item in enumerate(objects) if covered[index] < _COVERED * total[index]]
