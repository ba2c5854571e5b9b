"""Motion masks: the pixels whose optical flow is not explained by cameras and depth.

Three steps. `motion_evidence` compares the flow of one frame to frames at several distances with the rigid flow of a
static world, and converts the residual, in units of its standard deviation, into evidence; `far_islands` finds
objects that the camera follows. `segment_graph` links the
superpixels of all frames of a window by color, flow and position and spreads the evidence over them, so that objects
are classified as a whole and over time. Edge-aware smoothing transfers the result to pixels, and `consensus` adds parts
that move slightly, places the borders on the edges of the image, and leaves out what only seems to move.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dynamic_predictor.geometric.consensus.borders import refined_borders
from dynamic_predictor.geometric.consensus.slight_parts import add_slight_parts
from dynamic_predictor.geometric.consensus.votes import clip_threshold, strongest, thresholds, votes
from dynamic_predictor.geometric.consensus.wakes import remove_wakes
from dynamic_predictor.geometric.consensus.weak_parts import remove_weak_parts
from dynamic_predictor.geometric.depth import relative_error_from_confidence
from dynamic_predictor.geometric.edge_aware import EdgeAwareSmoother
from dynamic_predictor.geometric.far_islands import FarIslands
from dynamic_predictor.geometric.motion_evidence import EVIDENCE_LIMIT, Evidence, residual_evidence
from dynamic_predictor.geometric.rigid_flow import pixel_grid
from dynamic_predictor.geometric.segment_graph import FrameSegments, SegmentGraph, mean_per_segment
from dynamic_predictor.geometric.superpixels import superpixels
from dynamic_predictor.optical_flow.contract import OpticalFlow
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.camera import Camera
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

#: width of superpixels in pixels if the long side of the image is 512
SUPERPIXEL_SPACING = 8
#: number of frames that are classified together, and of further frames on either side that are only used as context
WINDOW, CONTEXT = 96, 16
#: weight of the evidence relative to that of the links
EVIDENCE_WEIGHT = 0.1
#: evidence against motion of every superpixel
STATIC_PRIOR = 0.03
#: the same weight for the core, and the limit of its evidence per superpixel, relative to the threshold
CORE_EVIDENCE_WEIGHT, CORE_EVIDENCE_LIMIT = 0.3, 4.0
#: share of the evidence that comes from the votes of similar superpixels
VOTES_SHARE = 0.5
#: standard deviation of color differences (Lab / 100) within an object
COLOR_SCALE = 0.05


@dataclass
class MotionEstimate:
    """Two motion masks of every frame: probabilities (H, W), in [0, 1], that a pixel shows a moving object.

    `extent` reaches as far as there is no evidence against motion: it contains the objects, a halo of several pixels,
    and areas without texture beside them. `core` is what has evidence of its own or is surrounded by it. `evidence`
    (H, W) is that of the superpixels, divided by the strongest of the clip.
    """

    extent: StoredMaps
    core: StoredMaps
    evidence: StoredMaps

    def masks(self, images: Frames, warnings: list[str] | None = None) -> StoredMaps:
        """(H, W) of every frame: the motion masks, with borders on the edges of `images`. Adds a sentence to `warnings`
        where something large was left out."""
        found = refined_borders(images, self.extent, self.core)
        left_out = remove_weak_parts(found, self.evidence)
        left_out += remove_wakes(images, found, self.evidence)
        if left_out > 0.0 and warnings is not None:
            warnings.append(
                f"{100 * left_out:.0f} % of the images move only weakly, as water, smoke and reflections do, and are "
                "not in the motion masks; if an object is missing there, give masks of your own (--masks)."
            )
        return found


def estimate_motion(
    flow: FlowField,
    cameras: Sequence[Camera],
    z_depths: FrameMaps,
    confidences: FrameMaps | None = None,
    *,
    progress: Progress = ignore_progress,
) -> MotionEstimate:
    """The motion of every frame; `consensus.borders` makes masks of it.

    `cameras`, `z_depths` (0 = unknown) and `confidences` may come from any predictor and have the size of
    `flow.frames`. Without confidences, the relative standard deviation of depth is two percent.
    """
    frames = flow.frames
    count = len(frames)
    *maps, slight = (StoredMaps(count, frames.height, frames.width) for _ in range(4))
    estimate = MotionEstimate(*maps)
    for first in range(0, count, WINDOW):
        last = min(first + WINDOW, count)
        span = range(max(first - CONTEXT, 0), min(last + CONTEXT, count))
        graph = SegmentGraph()
        islands = FarIslands(flow, cameras)
        for index in span:
            depth = _inverse_depth(index, z_depths, confidences)
            evidence = residual_evidence(flow, cameras, index, *depth)
            islands.add_frame(index, *depth, evidence)
            graph.add_frame(_segments(flow.images.rgb8(index), evidence))
            progress("motion", index, count)
        for index, island in islands.moving().items():
            _add_island(graph.frames[index - span[0]], island)
        _link(graph, flow, span)
        found = _classified(graph, max(frames.width, frames.height) / 512)
        for index, segments, *values in zip(span, graph.frames, *map(graph.per_frame, found), strict=True):
            if first <= index < last:
                *motion, relative = (value[segments.labels] for value in values)
                maps = _to_pixels(motion, flow.images[index])
                estimate.extent[index], estimate.core[index], slight[index] = maps
                estimate.evidence[index] = relative
        add_slight_parts(flow.images, range(first, last), estimate.extent, estimate.core, slight)
    progress("motion", count, count)
    return estimate


def _classified(graph: SegmentGraph, unit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The motion of all superpixels of `graph`: extent, core, the core if slight motion counts, and the evidence
    relative to the strongest. `unit`: the longer image side divided by 512."""
    names = ("moving", "slight", "static")
    own = np.stack([np.concatenate([getattr(s, name) for s in graph.frames]) for name in names], axis=1)
    voted = votes(graph.frames, own, unit)
    extent, core, relative = _extent_and_core(graph, own[:, [0, 2]], voted[:, [0, 2]], unit)
    wide, narrow, _ = _extent_and_core(graph, own[:, [1, 2]], voted[:, [1, 2]], unit)
    return extent, core, np.minimum(wide, narrow), relative


def _extent_and_core(
    graph: SegmentGraph, own: np.ndarray, voted: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Extent, core and relative evidence, from the evidence (N, 2) for and against motion of the superpixels, their
    `own` and that of their votes."""
    moving, static = ((1.0 - VOTES_SHARE) * own + VOTES_SHARE * voted).T
    evidence = moving - static
    strength = strongest(evidence, np.concatenate([s.size for s in graph.frames]))
    # where all evidence is weak, that against motion counts less
    less_static = np.maximum(static + min(clip_threshold(strength), 0.0), 0.0)
    extent = _spread(graph, moving * EVIDENCE_WEIGHT, (less_static + STATIC_PRIOR) * EVIDENCE_WEIGHT)
    excess = evidence - thresholds(graph.frames, voted[:, 0] - voted[:, 1], strength, unit)
    excess = np.clip(excess, -CORE_EVIDENCE_LIMIT, CORE_EVIDENCE_LIMIT) * CORE_EVIDENCE_WEIGHT
    core = _spread(graph, np.maximum(excess, 0.0), np.maximum(-excess, 0.0), CORE_EVIDENCE_WEIGHT)
    return extent, core, np.clip(evidence / max(strength, 1e-6), -10.0, 10.0)


def _spread(
    graph: SegmentGraph, moving: np.ndarray, static: np.ndarray, resting_weight: float = EVIDENCE_WEIGHT
) -> np.ndarray:
    """The motion of all superpixels from their evidence, carried on through the times at which an object rests."""
    probability = graph.spread(moving, static)
    # an object that moves at one time may rest at other times; then zero flow is no evidence against motion. Weak
    # propagated values are ignored, because they come from object borders
    propagated = graph.propagated(np.clip(4.0 * probability - 2.0, 0.0, 1.0))
    resting = np.clip((propagated - 0.6) / 0.3, 0.0, 1.0)
    return graph.spread(moving + resting_weight * resting, static * (1.0 - resting), probability)


def motion_masks(
    flow: FlowField,
    cameras: Sequence[Camera],
    z_depths: FrameMaps,
    confidences: FrameMaps | None = None,
    *,
    progress: Progress = ignore_progress,
) -> StoredMaps:
    """Motion masks: per frame the probability (H, W), in [0, 1], that a pixel shows a moving object, with borders on
    the edges of the image. The parameters are those of `estimate_motion`."""
    return estimate_motion(flow, cameras, z_depths, confidences, progress=progress).masks(flow.images)


def scene_motion(scene: Scene, *, flow: OpticalFlow | None = None, progress: Progress = ignore_progress) -> StoredMaps:
    """`motion_masks` for the scene of a predictor without motion masks, from its cameras and depth, by any optical
    `flow` (default: DIS). Raises `ValueError` for a scene without depth."""
    if scene.z_depths is None:
        raise ValueError("motion estimation needs depth; this scene has none")
    field = FlowField(scene.frames, flow)
    with np.errstate(all="ignore"):  # the depths of a damaged network may have any value
        return motion_masks(field, scene.cameras, scene.z_depths, scene.confidences, progress=progress)


def _inverse_depth(index: int, z_depths: FrameMaps, confidences: FrameMaps | None) -> tuple[np.ndarray, np.ndarray]:
    """The inverse depth of frame `index` and its standard deviation (H, W); pixels without depth have the median, with
    a large deviation."""
    z_depth = z_depths[index]
    known = z_depth > 0
    if not known.any():
        return np.zeros_like(z_depth), np.full_like(z_depth, 1e6)
    typical = float(np.median(1.0 / z_depth[known]))
    inverse_depth = np.where(known, 1.0 / np.where(known, z_depth, 1.0), typical).astype(np.float32)
    if confidences is None:
        relative = np.full_like(z_depth, 0.02)
    else:
        relative = relative_error_from_confidence(confidences[index])
    deviation = relative * np.maximum(inverse_depth, 0.1 * typical)
    deviation[~known] = typical
    return inverse_depth, deviation


def _add_island(segments: FrameSegments, island: np.ndarray) -> None:
    """Gives the superpixels in `island` (H, W) the largest evidence for motion, as far as they are in it."""
    share = mean_per_segment(segments.labels, segments.count, island.astype(np.float32))
    for values in (segments.moving, segments.slight):
        np.maximum(values, EVIDENCE_LIMIT * share, out=values)
    segments.static *= 1.0 - share


def _segments(image: np.ndarray, evidence: Evidence) -> FrameSegments:
    """The superpixels of the uint8 `image` with their mean evidence."""
    height, width = image.shape[:2]
    spacing = max(4, round(SUPERPIXEL_SPACING * max(height, width) / 512))
    labels = superpixels(image, spacing)
    count = int(labels.max()) + 1
    lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB) / 100.0
    columns, rows = pixel_grid(height, width)
    position = np.stack(np.broadcast_arrays(columns, rows), axis=-1)
    return FrameSegments(
        labels=labels,
        size=np.bincount(labels.ravel(), minlength=count),
        color=mean_per_segment(labels, count, lab),
        position=mean_per_segment(labels, count, position),
        flow=mean_per_segment(labels, count, evidence.residual),
        moving=mean_per_segment(labels, count, evidence.moving),
        slight=mean_per_segment(labels, count, evidence.slight),
        static=mean_per_segment(labels, count, evidence.static),
    )


def _link(graph: SegmentGraph, flow: FlowField, span: range) -> None:
    """Adds all links between the superpixels of the frames `span`."""
    for position, index in enumerate(span):
        graph.link_neighbors(position, COLOR_SCALE, flow_scale=1.0, strength=1.0)
        for ahead in (1, 2):
            if position + ahead < len(span):
                step = flow(index, index + ahead)
                trusted = step.consistency_error < 1.5
                graph.link_overlaps(position, position + ahead, step.displacement, trusted, COLOR_SCALE, strength=4.0)
    reach_in_pixels = 20.0 * max(flow.frames.width, flow.frames.height) / 512
    for reach in (4, 8, 16):
        graph.link_similar(reach, 3, COLOR_SCALE, reach_in_pixels, strength=0.5)


def _to_pixels(values: Sequence[np.ndarray], image: np.ndarray) -> list[np.ndarray]:
    """Probabilities per pixel (H, W) from those of the superpixels, smoothed along the edges of `image`."""
    lab = cv2.cvtColor(np.ascontiguousarray(image, dtype=np.float32), cv2.COLOR_RGB2LAB) / 100.0
    maps = []
    for smooth in EdgeAwareSmoother(lab, 30.0, 0.06)(*values):
        smooth = np.clip(smooth, 0.0, 1.0)
        # the probabilities of the random walk are too close to one half; cubing the odds does not move that threshold
        moving, static = smooth**3, (1.0 - smooth) ** 3
        maps.append(moving / (moving + static))
    return maps
