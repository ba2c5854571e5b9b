"""Initial values of global alignment: pairs are joined along the maximum spanning tree of their confidences, each
registered to the frames that are already placed (Wang et al., "DUSt3R", CVPR 2024, section 3.4 and appendix)."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from dynamic_predictor.das3r.global_alignment.focal import estimate_focal, typical_focal
from dynamic_predictor.das3r.global_alignment.official import OURS, Conventions
from dynamic_predictor.das3r.global_alignment.parameters import AlignmentParameters
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.registration import register_cameras, register_points
from dynamic_predictor.das3r.global_alignment.resection import resect
from scene.errors import InputError
from scene.similarity import Similarity

#: estimates of the focal length outside these multiples of the typical one are rejected
_LEAST_FOCAL, _LARGEST_FOCAL = 0.1, 20.0


@dataclass
class SpanningTree:
    """The initial scene. Its world is the camera frame of the first frame of the most confident pair."""

    points: list[Tensor]  #: (3, H*W) float32 world points of every frame
    focals: list[float]  #: pixels
    world_from_camera: np.ndarray  #: (N, 4, 4)
    edges: list[tuple[int, int]]  #: pairs of the tree in the order in which they were joined


def build_spanning_tree(
    predictions: PairPredictions,
    principal_points: np.ndarray,
    known_focals: np.ndarray | None = None,
    *,
    minimum_confidence: float = 3.0,
    conventions: Conventions = OURS,
) -> SpanningTree:
    """Joins pairs outwards from the most confident one (largest product of both views' mean confidences).

    `principal_points` (N, 2) and `known_focals` (N,) in pixels; focal lengths that are not known are estimated. Raises
    `InputError` if all confidences are zero or the pairs do not connect all frames."""
    scores = predictions.mean_confidence.prod(axis=1)
    if not np.isfinite(scores).all() or scores.max() <= 0:
        raise InputError(
            "The network has no confidence in any pair of frames, so there is nothing to align; check its weights and "
            "the frames."
        )
    todo = deque(_tree_edges(predictions, scores))
    builder = _TreeBuilder(predictions, principal_points, known_focals, conventions)
    builder.begin(*todo.popleft())
    deferred = 0
    while todo and deferred < len(todo):
        pair, edge = todo.popleft()
        if builder.touches(edge):
            builder.join(pair, edge)
            deferred = 0
        else:
            todo.append((pair, edge))
            deferred += 1
    lost = [i for i, points in enumerate(builder.points) if points is None]
    if lost:
        raise InputError(
            f"The pair graph leaves frame {lost[0]} without a confident link to the others; choose a denser graph."
        )
    return builder.finish(np.argsort(-scores, kind="stable"), minimum_confidence)


def _tree_edges(predictions: PairPredictions, scores: np.ndarray) -> list[tuple[int, tuple[int, int]]]:
    """The pairs (position, edge) of the spanning tree, most confident first. Pairs with zero confidence get a small
    score instead, so that they can still connect frames."""
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
    """A spanning tree that grows pair by pair; points, poses and focal lengths of frames are None until found."""

    def __init__(
        self,
        predictions: PairPredictions,
        principal_points: np.ndarray,
        known_focals: np.ndarray | None,
        conventions: Conventions,
    ) -> None:
        count = predictions.frame_count
        self.predictions, self.conventions = predictions, conventions
        self.principal_points = [(float(x), float(y)) for x, y in principal_points]
        self.points: list[Tensor | None] = [None] * count
        self.poses: list[np.ndarray | None] = [None] * count
        self.focals: list[float | None] = [None] * count if known_focals is None else known_focals.tolist()
        self.edges: list[tuple[int, int]] = []
        self._last_pair = 0

    def touches(self, edge: tuple[int, int]) -> bool:
        """Whether the tree contains a frame of the pair."""
        return self.points[edge[0]] is not None or self.points[edge[1]] is not None

    def begin(self, pair: int, edge: tuple[int, int]) -> None:
        """Makes the pair the root of the tree."""
        i, j = edge
        self.points[i] = self.predictions.view_points(pair, 0)
        self.points[j] = self.predictions.view_points(pair, 1)
        self.poses[i] = np.eye(4)
        self._set_focal(i, pair)
        self._record(pair, edge)

    def join(self, pair: int, edge: tuple[int, int]) -> None:
        """Adds the missing frame of a pair whose other frame is in the tree."""
        i = edge[0]
        self._set_focal(i, self.conventions.focal_pair(pair, self._last_pair))
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
        self._record(pair, edge)

    def finish(self, pairs_by_score: np.ndarray, minimum_confidence: float) -> SpanningTree:
        """Estimates the focal lengths that are still missing, and resects the cameras without a pose."""
        for pair in pairs_by_score.tolist():
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
            resected = resect(
                points.T.reshape(*shape, 3).cpu().numpy(),
                confident[i].reshape(shape).cpu().numpy(),
                focals[i],
                self.principal_points[i],
                pixel_offset=self.conventions.pixel_offset,
            )
            self.poses[i] = np.eye(4) if resected is None else resected
        return SpanningTree(
            points=[p for p in self.points if p is not None],
            focals=focals,
            world_from_camera=np.stack([p for p in self.poses if p is not None]),
            edges=self.edges,
        )

    def _set_focal(self, frame: int, pair: int) -> None:
        """Estimates the focal length of `frame`, if it is missing, from the first view of `pair`."""
        if self.focals[frame] is not None:
            return
        shape = self.predictions.height, self.predictions.width
        points = self.predictions.view_points(pair, 0).T.reshape(*shape, 3)
        focal = estimate_focal(points, self.principal_points[frame], pixel_offset=self.conventions.pixel_offset)
        typical = typical_focal(*shape)
        if _LEAST_FOCAL * typical <= focal <= _LARGEST_FOCAL * typical:
            self.focals[frame] = focal

    def _record(self, pair: int, edge: tuple[int, int]) -> None:
        self._last_pair = pair
        self.edges.append(edge)


def initialize(
    tree: SpanningTree, predictions: PairPredictions, parameters: AlignmentParameters, conventions: Conventions = OURS
) -> None:
    """Sets all parameters from the initial scene, after moving it onto the known poses."""
    points, poses = torch.stack(tree.points), tree.world_from_camera.copy()
    if (similarity := _similarity_to_known_poses(poses, parameters)) is not None:
        matrix = torch.from_numpy(similarity.scale * similarity.rotation).to(points)
        points = matrix @ points + torch.from_numpy(similarity.translation).to(points)[:, None]
        poses = similarity.apply_to_poses(poses)
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
            in_units = float(scale[k]) / float(predictions.units[pair])
            parameters.set_pair(pair, Similarity(in_units, rotation[k].cpu().numpy(), translation[k].cpu().numpy()))
    normalization = float(parameters.scale_normalization())
    poses[:, :3, 3] *= normalization
    points *= normalization
    for frame, pose in enumerate(poses):
        parameters.set_pose(frame, pose)
    actual = parameters.world_from_camera()
    for frame in range(predictions.frame_count):
        optical_axis = actual[frame, :3, 2]
        depth = optical_axis @ (points[frame] - actual[frame, :3, 3:])
        parameters.log_depth[frame] = torch.where(depth > 0, depth, 1.0).log().nan_to_num(0.0, 0.0, 0.0)
    if parameters.focals_are_free:
        if len(parameters.focals) == 1:
            parameters.set_focal(0, float(conventions.average_focal(np.array(tree.focals))))
        else:
            for frame, focal in enumerate(tree.focals):
                parameters.set_focal(frame, focal)


def _similarity_to_known_poses(poses: np.ndarray, parameters: AlignmentParameters) -> Similarity | None:
    """The similarity from the initial `poses` to the known ones, if any; a single one leaves the scale at 1."""
    if parameters.known_poses is None:
        return None
    known = parameters.known_poses.cpu().numpy().astype(np.float64)
    given = np.flatnonzero(np.isfinite(known).all(axis=(1, 2)))
    if not len(given):
        return None
    if len(given) > 1:
        return register_cameras(poses[given], known[given])
    rotation = known[given[0], :3, :3] @ poses[given[0], :3, :3].T
    return Similarity(1.0, rotation, known[given[0], :3, 3] - rotation @ poses[given[0], :3, 3])
