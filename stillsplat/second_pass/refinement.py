"""The second pass over the motion masks: a draft of the static scene says what moves.

A quick optimization (`gaussian.draft`) learns the static scene from the frames and the predicted masks. What a frame
shows and the draft does not is evidence of motion; where both agree, a mask is taken back. What had rested before it
left is found by `resting`. Frames that are held out keep their masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gaussian.draft import Draft
from gaussian.settings import TrainSettings
from scene.maps import FrameMaps, LoadedMaps, StoredMaps
from scene.observed import is_observed
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat.second_pass.masks import masks_from_evidence
from stillsplat.second_pass.residual import noise_of, residual_score, shadow_likeness
from stillsplat.second_pass.resting import DIFFERENT, EQUAL, Observations, blob, departed, pixel_sums
from stillsplat.second_pass.same_object import whole_objects

#: share of all pixels that must move for a second pass, and iterations of the smallest draft that says something
_FEWEST, _SHORTEST = 5e-4, 100
#: share of the pixels taken as static that may differ from the draft; above it, the draft is a poor one
_POOR = 0.35
#: score at which a residual says nothing, log odds for each unit above or below, and their bounds
_NEUTRAL, _GAIN, _AGAINST, _FOR = DIFFERENT, 2.0, -2.5, 3.0
#: log odds of the predicted masks, and those of the masks of what has left or was never learned
_PREDICTED, _CERTAIN = 1.5, 4.0


@dataclass(frozen=True)
class RefinedMasks:
    """The result of a second pass."""

    #: (H, W) in [0, 1] of every frame, 1 = moves
    masks: FrameMaps
    #: frames whose masks are new; the others are held out, or nothing of them was observed
    frames: list[int]
    #: whether something was found that rested before it left or after it came
    rested: bool


def refine_masks(scene: Scene, settings: TrainSettings, progress: Progress = ignore_progress) -> RefinedMasks | None:
    """New motion masks for `scene`, before its optimization with `settings`.

    None where there is nothing to refine: no masks or depth, nothing that moves, an optimization that is too short, or
    a draft that resembles nothing. Progress stages: "drafting", "refining masks". Raises `InputError` where no static
    pixel is left.
    """
    masks = scene.motion_masks
    if masks is None or scene.z_depths is None or settings.draft_iterations < _SHORTEST:
        return None
    count = len(scene.frames)
    if float(np.mean([(masks[index] > 0.5).mean() for index in range(count)])) < _FEWEST:
        return None
    draft = Draft(scene, settings, progress)
    frames = draft.training_frames
    observations, noise = _observations(scene, draft, frames)
    if poor_share(observations) > _POOR:
        return None
    sums = pixel_sums(draft, frames, observations)
    gone = departed(draft, frames, observations, sums)
    rested = bool(gone.any())
    if rested:
        gone = whole_objects(draft, frames, observations, gone, sums, noise)
    evidence = StoredMaps(len(frames), scene.frames.height, scene.frames.width)
    for position, (frame, seen) in enumerate(zip(frames, observations, strict=True)):
        odds = _evidence(seen)
        if rested:
            odds = _with_departed(odds, seen, draft.share_of(gone, frame))
        full = cv2.resize(odds, (scene.frames.width, scene.frames.height), interpolation=cv2.INTER_LINEAR)
        if scene.observed is not None:
            full[~is_observed(scene.observed, frame)] = _AGAINST
        evidence[position] = full
        progress("refining masks", position + 1, len(frames))
    found = masks_from_evidence(scene.frames, frames, evidence)
    position_of = {frame: position for position, frame in enumerate(frames)}

    def mask(index: int) -> np.ndarray:
        return found[position_of[index]] if index in position_of else masks[index]

    return RefinedMasks(LoadedMaps(count, mask), frames, rested)


def _observations(scene: Scene, draft: Draft, frames: Sequence[int]) -> tuple[list[Observations], float]:
    """What the `frames` say about the draft, and the difference to it that noise leaves."""
    assert scene.motion_masks is not None and scene.z_depths is not None
    views = [draft.view(frame) for frame in frames]
    motions = [cv2.resize(scene.motion_masks[frame], draft.size, interpolation=cv2.INTER_AREA) for frame in frames]
    noise = noise_of([views[int(k)].image for k in np.unique(np.linspace(0, len(views) - 1, 6).round())])
    found = []
    for frame, view, motion in zip(frames, views, motions, strict=True):
        z_depth = np.nan_to_num(scene.z_depths[frame], nan=0.0, posinf=0.0, neginf=0.0)
        z_depth = cv2.resize(z_depth, draft.size, interpolation=cv2.INTER_NEAREST)
        score = residual_score(view.image, view.render, noise)
        shadow = shadow_likeness(view.image, view.render, noise)
        found.append(Observations(view, score, shadow, z_depth, motion))
    return found, noise


def poor_share(observations: Sequence[Observations]) -> float:
    """The share of the pixels that no motion mask has, and that were learned, at which the frames differ from the
    draft: large where cameras or depth are wrong, so that the draft resembles nothing."""
    where = [(seen.motion < 0.5) & (seen.view.alpha > 0.5) for seen in observations]
    different = sum(
        int((seen.score > DIFFERENT)[static].sum()) for seen, static in zip(observations, where, strict=True)
    )
    return different / max(1, sum(int(static.sum()) for static in where))


def _evidence(seen: Observations) -> np.ndarray:
    """(h, w) float32: log odds that a pixel of a frame moves."""
    odds = np.clip(_GAIN * (seen.score - _NEUTRAL), _AGAINST, _FOR)
    # what casts a shadow moves, the shadow itself is a change of light on what is static
    odds = np.where(odds > 0.0, (1.0 - seen.shadow) * odds, odds)
    # where nothing was learned, because every frame has a mask there, the render says nothing
    known = np.clip(2.0 * seen.view.alpha - 1.0, 0.0, 1.0)
    predicted = 2.0 * seen.motion - 1.0
    return (known * odds + (_PREDICTED + (1.0 - known) * _CERTAIN) * predicted).astype(np.float32)


def _with_departed(odds: np.ndarray, seen: Observations, share: np.ndarray) -> np.ndarray:
    """The evidence `odds` (h, w) with what has left: it moves in frames that show it, and frames that see through it
    show the static scene. `share`: (h, w) of the Gaussians that have left."""
    there = blob(share)
    odds = np.where(there & (seen.score < EQUAL), _CERTAIN, odds)
    odds = np.where(there & (seen.score >= EQUAL) & (seen.motion >= 0.5), np.maximum(odds, 0.0), odds)
    return np.where(there & seen.seen_through, _AGAINST, odds).astype(np.float32)
