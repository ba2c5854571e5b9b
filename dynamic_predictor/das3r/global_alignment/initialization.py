"""Where global alignment starts: pairs are joined along the spanning tree of the most confident ones, each registered
to what is there already (DUSt3R, section 3.4 and its appendix)."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.focal import estimate_focal, typical_focal
from dynamic_predictor.das3r.global_alignment.parameters import AlignmentParameters
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.registration import register_cameras, register_points
from dynamic_predictor.das3r.global_alignment.resection import resect
from scene.errors import InputError

#: focal lengths outside of these multiples of the typical one are not believed
_LEAST_FOCAL, _LARGEST_FOCAL = 0.1, 20.0


@dataclass
class SpanningTree:
    """A first scene: all frames in the camera frame of the first frame of the strongest pair."""

    points: list[Tensor]  #: (3, H*W) float32 world points of every frame
    focals: list[float]  #: pixels
    world_from_camera: np.ndarray  #: (N, 4, 4)
    edges: list[tuple[int, int]]  #: pairs of the tree in the order in which they were joined


@dataclass(frozen=True)
class CameraConventions:
    """Where pixels and principal points (N, 2) are, and focal lengths (N,) in pixels that are given or None."""

    pixel_offset: float
    principal_points: np.ndarray
    focals: np.ndarray | None = None


def build_spanning_tree(
    predictions: PairPredictions,
    conventions: CameraConventions,
    *,
    minimum_confidence: float = 3.0,
    strict_official: bool = False,
) -> SpanningTree:
    """Joins pairs from the strongest (product of mean confidences) outwards.

    With `strict_official`, the focal length of a frame that is joined by its second view is estimated from the pair
    that was joined before it, whatever that shows. Raises `InputError` if confidences are all zero or pairs do not
    connect the clip."""
    scores = predictions.mean_confidence.prod(axis=1)
    if not np.isfinite(scores).all() or scores.max() <= 0:
        raise InputError(
            "The network gives no pair of frames any confidence, so there is nothing to align; check its weights and "
            "the frames."
        )
    todo = deque(_tree_edges(predictions, scores))
    builder = _TreeBuilder(predictions, conventions, strict_official)
    builder.begin(*todo.popleft())
    put_off = 0
    while todo and put_off < len(todo):
        pair, edge = todo.popleft()
        if builder.touches(edge):
            builder.join(pair, edge)
            put_off = 0
        else:
            todo.append((pair, edge))
            put_off += 1
    lost = [i for i, points in enumerate(builder.points) if points is None]
    if lost:
        raise InputError(
            f"The pair graph leaves frame {lost[0]} without a confident link to the others; choose a denser graph."
        )
    return builder.finish(np.argsort(-scores, kind="stable"), minimum_confidence)


def _tree_edges(predictions: PairPredictions, scores: np.ndarray) -> list[tuple[int, tuple[int, int]]]:
    """(pair, edge) of the spanning tree, strongest first. Pairs without any confidence are weak links, not none."""
    count = predictions.frame_count
    usable = predictions.edges[:, 0] != predictions.edges[:, 1]
    best: dict[tuple[int, int], int] = {}
    for pair in np.flatnonzero(usable).tolist():
        best[tuple(predictions.edges[pair].tolist())] = pair
    floor = 1e-12 * scores.max()
    rows, columns = np.array(list(best)).T if best else np.zeros((2, 0), int)
    weights = -np.maximum(scores[list(best.values())], floor)
    graph = scipy.sparse.coo_array((weights, (rows, columns)), shape=(count, count)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    edges = sorted(zip(tree.data, tree.row, tree.col, strict=True), key=lambda e: (e[0], -e[1], -e[2]))
    return [(best[int(i), int(j)], (int(i), int(j))) for _, i, j in edges]


class _TreeBuilder:
    def __init__(self, predictions: PairPredictions, conventions: CameraConventions, strict_official: bool) -> None:
        count = predictions.frame_count
        self.predictions, self.conventions, self.strict = predictions, conventions, strict_official
        self.points: list[Tensor | None] = [None] * count
        self.poses: list[np.ndarray | None] = [None] * count
        given = conventions.focals
        self.focals: list[float | None] = [None] * count if given is None else [float(f) for f in given]
        self.edges: list[tuple[int, int]] = []
        self._last_pair = 0

    def touches(self, edge: tuple[int, int]) -> bool:
        return self.points[edge[0]] is not None or self.points[edge[1]] is not None

    def begin(self, pair: int, edge: tuple[int, int]) -> None:
        i, j = edge
        self.points[i] = self.predictions.view_points(pair, 0)
        self.points[j] = self.predictions.view_points(pair, 1)
        self.poses[i] = np.eye(4)
        self._set_focal(i, pair)
        self._close(pair, edge)

    def join(self, pair: int, edge: tuple[int, int]) -> None:
        i, j = edge
        self._set_focal(i, self._last_pair if self.strict else pair)
        known_side = 0 if self.points[i] is not None else 1
        known = self.points[edge[known_side]]
        assert known is not None
        scale, rotation, translation = register_points(
            self.predictions.view_points(pair, known_side)[None],
            known,
            self.predictions.view_confidence(pair, known_side)[None],
        )
        other = self.predictions.view_points(pair, 1 - known_side)
        matrix = (scale[0] * rotation[0]).to(other)
        self.points[edge[1 - known_side]] = matrix @ other + translation[0].to(other)[:, None]
        if self.poses[i] is None:
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = rotation[0].cpu().numpy(), translation[0].cpu().numpy()
            self.poses[i] = pose
        self._close(pair, edge)

    def finish(self, pairs_by_strength: np.ndarray, minimum_confidence: float) -> SpanningTree:
        """Fills in focal lengths and poses that the tree did not give."""
        for pair in pairs_by_strength.tolist():
            self._set_focal(int(self.predictions.edges[pair, 0]), pair)
        typical = typical_focal(self.predictions.height, self.predictions.width)
        found = [f for f in self.focals if f is not None]
        focals = [f if f is not None else float(np.median(found)) if found else typical for f in self.focals]
        confident = self.predictions.image_confidence() > minimum_confidence
        shape = self.predictions.height, self.predictions.width
        for i, pose in enumerate(self.poses):
            if pose is not None:
                continue
            points = self.points[i]
            assert points is not None
            cx, cy = self.conventions.principal_points[i]
            resected = resect(
                points.T.reshape(*shape, 3).cpu().numpy(),
                confident[i].reshape(shape).cpu().numpy(),
                focals[i],
                (float(cx), float(cy)),
                pixel_offset=self.conventions.pixel_offset,
            )
            self.poses[i] = np.eye(4) if resected is None else resected[1]
        return SpanningTree(
            points=[p for p in self.points if p is not None],
            focals=focals,
            world_from_camera=np.stack([p for p in self.poses if p is not None]),
            edges=self.edges,
        )

    def _set_focal(self, frame: int, pair: int) -> None:
        if self.focals[frame] is not None:
            return
        shape = self.predictions.height, self.predictions.width
        cx, cy = self.conventions.principal_points[frame]
        points = self.predictions.view_points(pair, 0).T.reshape(*shape, 3)
        focal = estimate_focal(points, (float(cx), float(cy)), pixel_offset=self.conventions.pixel_offset)
        typical = typical_focal(*shape)
        if _LEAST_FOCAL * typical <= focal <= _LARGEST_FOCAL * typical:
            self.focals[frame] = focal

    def _close(self, pair: int, edge: tuple[int, int]) -> None:
        self._last_pair = pair
        self.edges.append(edge)


def initialize(
    tree: SpanningTree,
    predictions: PairPredictions,
    parameters: AlignmentParameters,
    *,
    focals_given: bool = False,
    strict_official: bool = False,
) -> None:
    """Sets all parameters from a first scene, moved onto the poses that are known. A shared focal length is the median
    of the frames', with `strict_official` their mean."""
    points, poses = torch.stack(tree.points), tree.world_from_camera.copy()
    points, poses = _moved_to_known_poses(points, poses, parameters)
    for frame in range(predictions.frame_count):
        begin, end = int(predictions.frame_start[frame]), int(predictions.frame_start[frame + 1])
        slots = np.flatnonzero(predictions.side_of_slot[begin:end] == 0) + begin
        if not len(slots):
            continue
        pairs = predictions.pair_of_slot[slots]
        scale, rotation, translation = register_points(
            predictions.points[slots], points[frame], predictions.confidence[slots]
        )
        for k, pair in enumerate(pairs.tolist()):
            stored = float(scale[k]) / float(predictions.units[pair])
            parameters.set_pair(pair, stored, rotation[k].cpu().numpy(), translation[k].cpu().numpy())
    normalization = parameters.scale_normalization()
    poses[:, :3, 3] *= normalization
    points *= normalization
    for frame, pose in enumerate(poses):
        parameters.set_pose(frame, pose)
    actual = parameters.world_from_camera()
    for frame in range(predictions.frame_count):
        row = actual[frame, :3, 2]
        depth = row @ (points[frame] - actual[frame, :3, 3:])
        parameters.log_depth[frame] = torch.where(depth > 0, depth, 1.0).log().nan_to_num(0.0, 0.0, 0.0)
    if not focals_given:
        if len(parameters.focals) == 1:
            parameters.set_focal(0, float(np.mean(tree.focals) if strict_official else np.median(tree.focals)))
        else:
            for frame, focal in enumerate(tree.focals):
                parameters.set_focal(frame, focal)


def _moved_to_known_poses(
    points: Tensor, poses: np.ndarray, parameters: AlignmentParameters
) -> tuple[Tensor, np.ndarray]:
    if parameters.known_poses is None:
        return points, poses
    known = parameters.known_poses.cpu().numpy().astype(np.float64)
    given = np.flatnonzero(np.isfinite(known).all(axis=(1, 2)))
    if not len(given):
        return points, poses
    if len(given) == 1:
        scale = 1.0
        rotation = known[given[0], :3, :3] @ poses[given[0], :3, :3].T
        translation = known[given[0], :3, 3] - rotation @ poses[given[0], :3, 3]
    else:
        scale, rotation, translation = register_cameras(poses[given], known[given])
    matrix = torch.from_numpy(scale * rotation).to(points)
    moved = matrix @ points + torch.from_numpy(translation).to(points)[:, None]
    poses[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.T + translation
    poses[:, :3, :3] = rotation @ poses[:, :3, :3]
    return moved, poses
