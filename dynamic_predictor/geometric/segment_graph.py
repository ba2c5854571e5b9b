"""A graph of the superpixels of many frames, and the motion of all superpixels from evidence about each of them.

Each superpixel u has evidence for motion (`moving`) and against it (`static`). The motion x of all superpixels
minimizes sum_u moving_u (1 - x_u)^2 + static_u x_u^2 + sum_uv link_uv (x_u - x_v)^2,
a random walk with absorption (Grady, "Random walks for image segmentation", PAMI 2006), which is a sparse symmetric
positive definite system. Superpixels are linked by color and flow within a frame, by flow from frame to frame, and by
similar color and position in more distant frames (after Faktor and Irani, "Video segmentation by non-local consensus
voting", BMVC 2014).
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import cg
from scipy.spatial import KDTree


@dataclass
class FrameSegments:
    """The n superpixels of one frame: `labels` (H, W), and per superpixel its size in pixels (n,), mean color (n, 3) in
    Lab / 100, mean position (n, 2) in pixels, mean residual flow (n, 2) in pixels per frame, and evidence (n,), that of
    `motion_evidence.Evidence`."""

    labels: np.ndarray
    size: np.ndarray
    color: np.ndarray
    position: np.ndarray
    flow: np.ndarray
    moving: np.ndarray
    slight: np.ndarray
    static: np.ndarray

    @property
    def count(self) -> int:
        return len(self.size)


def mean_per_segment(labels: np.ndarray, count: int, values: np.ndarray) -> np.ndarray:
    """Mean of `values` (H, W) or (H, W, C) over each superpixel: (n,) or (n, C)."""
    if values.ndim == 3:
        return np.stack([mean_per_segment(labels, count, values[..., k]) for k in range(values.shape[-1])], axis=-1)
    flat = labels.ravel()
    return np.bincount(flat, values.ravel(), count) / np.maximum(np.bincount(flat, None, count), 1e-9)


@dataclass
class SegmentGraph:
    """The superpixels and links of consecutive frames; nodes are numbered frame after frame."""

    frames: list[FrameSegments] = field(default_factory=list)
    #: number of the first node of each frame
    first: list[int] = field(default_factory=lambda: [0])
    #: superpixels u of frame `position` and v of the next frame that overlap, and their overlaps in pixels
    _steps: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    _links: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    #: all links as a symmetric matrix, and its sums over rows; None until `spread` needs them
    _adjacency: tuple[sparse.csr_matrix, np.ndarray] | None = None

    def add_frame(self, segments: FrameSegments) -> None:
        """Appends the superpixels of the next frame."""
        self._adjacency = None
        self.frames.append(segments)
        self.first.append(self.first[-1] + segments.count)

    def link_neighbors(self, position: int, color_scale: float, flow_scale: float, strength: float) -> None:
        """Links adjacent superpixels of frame `position`, by border length, color and residual flow."""
        s = self.frames[position]
        a = np.concatenate([s.labels[:, :-1].ravel(), s.labels[:-1].ravel()])
        b = np.concatenate([s.labels[:, 1:].ravel(), s.labels[1:].ravel()])
        touching = a != b
        low, high = np.minimum(a, b)[touching], np.maximum(a, b)[touching]
        code, border = np.unique(low.astype(np.int64) * s.count + high, return_counts=True)
        u, v = code // s.count, code % s.count
        color = ((s.color[u] - s.color[v]) ** 2).sum(axis=1) / color_scale**2
        flow = ((s.flow[u] - s.flow[v]) ** 2).sum(axis=1) / flow_scale**2
        length = border / np.sqrt(np.minimum(s.size[u], s.size[v]))
        self._add(position, position, u, v, strength * np.minimum(length, 2.0) * np.exp(-0.5 * color) / (1.0 + flow))

    def link_overlaps(
        self,
        position: int,
        other: int,
        displacement: np.ndarray,
        trusted: np.ndarray,
        color_scale: float,
        strength: float,
    ) -> None:
        """Links superpixels that overlap after the flow `displacement` (H, W, 2) from frame `position` to frame
        `other`, by overlap and color; only `trusted` (H, W) pixels count."""
        s, t = self.frames[position], self.frames[other]
        height, width = s.labels.shape
        y, x = np.nonzero(trusted)
        tx = np.rint(x + displacement[y, x, 0]).astype(int)
        ty = np.rint(y + displacement[y, x, 1]).astype(int)
        inside = (tx >= 0) & (tx < width) & (ty >= 0) & (ty < height)
        a, b = s.labels[y[inside], x[inside]], t.labels[ty[inside], tx[inside]]
        code, overlap = np.unique(a.astype(np.int64) * t.count + b, return_counts=True)
        u, v = code // t.count, code % t.count
        share = overlap / np.maximum(np.maximum(s.size[u], t.size[v]), 1)
        color = ((s.color[u] - t.color[v]) ** 2).sum(axis=1) / color_scale**2
        if other == position + 1:
            similar = color < 25.0
            self._steps[position] = u[similar], v[similar], overlap[similar].astype(np.float64)
        self._add(position, other, u, v, strength * share * np.exp(-0.5 * color))

    def link_similar(
        self, reach: int, neighbors: int, color_scale: float, position_scale: float, strength: float
    ) -> None:
        """Links each superpixel to the `neighbors` ones most similar in color and position, `reach` frames later."""
        trees, features = [], []
        for s in self.frames:
            feature = np.concatenate([s.color / color_scale, s.position / position_scale], axis=1)
            features.append(feature)
            trees.append(KDTree(feature))
        for position in range(len(self.frames) - reach):
            distance, found = trees[position + reach].query(features[position], k=neighbors, workers=-1)
            distance, found = distance.reshape(-1), np.asarray(found).reshape(-1)
            u = np.repeat(np.arange(self.frames[position].count), neighbors)
            self._add(position, position + reach, u, found, strength / neighbors * np.exp(-0.5 * distance**2))

    def _add(self, position: int, other: int, u: np.ndarray, v: np.ndarray, weight: np.ndarray) -> None:
        self._adjacency = None
        strong = weight > 1e-4
        self._links.append((u[strong] + self.first[position], v[strong] + self.first[other], weight[strong]))

    def spread(self, moving: np.ndarray, static: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """The motion x of every node, in [0, 1] (see the docstring of the module), from the evidence of every node.
        `start` is a first guess of the result."""
        adjacency, degree = self._linked()
        diagonal = degree + moving + static + 1e-6
        system = sparse.diags(diagonal) - adjacency
        solution, _ = cg(system, moving, x0=start, rtol=1e-4, maxiter=300, M=sparse.diags(1.0 / diagonal))
        return np.clip(solution, 0.0, 1.0)

    def _linked(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        """`_adjacency`, which is the same for any evidence."""
        if self._adjacency is not None:
            return self._adjacency
        u, v, weight = (np.concatenate([link[k] for link in self._links]) for k in range(3))
        pairs = np.r_[u, v], np.r_[v, u]
        count = self.first[-1]
        matrix = sparse.csr_matrix((np.r_[weight, weight], pairs), (count, count))
        linked = matrix, np.asarray(matrix.sum(axis=1)).ravel()
        self._adjacency = linked
        return linked

    def propagated(self, values: np.ndarray) -> np.ndarray:
        """The largest of the `values` (one per node, in [0, 1]) that reach each node along the flow, from any earlier
        or later frame; where several superpixels overlap one, their mean is propagated."""
        results = []
        for forward in (True, False):
            propagated = [part.copy() for part in self.per_frame(values)]
            order = range(len(self.frames) - 1) if forward else range(len(self.frames) - 2, -1, -1)
            for position in order:
                if position not in self._steps:
                    continue
                u, v, overlap = self._steps[position]
                source, target = (u, v) if forward else (v, u)
                start, end = (position, position + 1) if forward else (position + 1, position)
                count = self.frames[end].count
                covered = np.maximum(np.bincount(target, overlap, count), 0.3 * self.frames[end].size)
                arriving = np.bincount(target, overlap * propagated[start][source], count) / np.maximum(covered, 1.0)
                propagated[end] = np.maximum(propagated[end], arriving)
            results.append(np.concatenate(propagated))
        return np.maximum(*results)

    def per_frame(self, values: np.ndarray) -> list[np.ndarray]:
        """Splits an array over all nodes by frame."""
        return [values[self.first[k] : self.first[k + 1]] for k in range(len(self.frames))]
