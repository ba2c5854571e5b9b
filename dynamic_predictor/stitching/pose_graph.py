"""Pose graph optimization over similarities: distributes the error of loop closures over the chain of chunks.

Nodes are similarities W = `world_from_chunk`. An edge (a, b, Z) is a measurement Z of `b_from_a`; its error is the
logarithm of Z (W_b^-1 W_a)^-1 in the Lie algebra sim(3) (Strasdat et al., "Scale drift-aware large scale monocular
SLAM", RSS 2010). The Levenberg-Marquardt method, with exact derivatives, minimizes their squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

from scene.similarity import Similarity

_MAX_DAMPING, _MAX_ITERATIONS = 1e12, 100


@dataclass(frozen=True)
class PoseGraphEdge:
    """A measured similarity `b_from_a` from the world of chunk `a` to that of chunk `b`."""

    a: int
    b: int
    b_from_a: Similarity


@dataclass(frozen=True)
class PoseGraphResult:
    """The optimized graph."""

    world_from_chunk: list[Similarity]  #: of every node; node 0 is unchanged
    loop_weights: np.ndarray  #: final weight of each loop in [0, 1]; 1 without `robust`


def close_loops(
    steps: Sequence[Similarity], loops: Sequence[PoseGraphEdge], *, robust: bool = False
) -> PoseGraphResult:
    """Optimizes a chain of chunks with loops; without loops the chain is returned unchanged.

    `steps[k]` is the similarity from the world of chunk k + 1 to that of chunk k. With `robust`, loops that contradict
    the others lose their weight, so that a wrong loop has almost no effect (Geman-McClure loss with graduated
    non-convexity: Yang et al., "Graduated non-convexity for robust spatial perception", RA-L 2020).
    """
    nodes = accumulate(steps)
    chain = [PoseGraphEdge(k + 1, k, step) for k, step in enumerate(steps)]
    if not loops:
        return PoseGraphResult(nodes, np.zeros(0))
    graph = _Graph(len(nodes), [*chain, *loops])
    matrices = np.stack([node.matrix for node in nodes])
    weights = np.ones(len(chain) + len(loops))
    if robust:
        matrices = _optimize_robustly(graph, matrices, weights, len(chain))
    else:
        matrices = _optimize(graph, matrices, weights)
    return PoseGraphResult([Similarity.from_matrix(matrix) for matrix in matrices], weights[len(chain) :].copy())


def accumulate(steps: Sequence[Similarity]) -> list[Similarity]:
    """`world_from_chunk` of every chunk of a chain; the world is that of chunk 0."""
    nodes = [Similarity.identity()]
    for step in steps:
        nodes.append(nodes[-1] @ step)
    return nodes


def similarity_logarithm(matrices: np.ndarray) -> np.ndarray:
    """sim(3) coordinates (N, 7) = (translation part, rotation vector, log scale) of similarities (N, 4, 4)."""
    scale = np.cbrt(np.linalg.det(matrices[:, :3, :3]))
    turns = Rotation.from_matrix(matrices[:, :3, :3] / scale[:, None, None]).as_rotvec()
    sigma = np.log(scale)
    # the upper right corner of exp([[A, 1], [0, 0]]) is the integral of exp(s A) over s in [0, 1], which maps rho to t
    augmented = np.zeros((len(matrices), 6, 6))
    augmented[:, :3, :3] = _skew(turns) + sigma[:, None, None] * np.eye(3)
    augmented[:, :3, 3:] = np.eye(3)
    integral = expm(augmented)[:, :3, 3:]
    rho = np.linalg.solve(integral, matrices[:, :3, 3:])[..., 0]
    return np.concatenate([rho, turns, sigma[:, None]], axis=1)


def similarity_exponential(coordinates: np.ndarray) -> np.ndarray:
    """Similarities (N, 4, 4) of sim(3) coordinates (N, 7)."""
    generator = np.zeros((len(coordinates), 4, 4))
    generator[:, :3, :3] = _skew(coordinates[:, 3:6]) + coordinates[:, 6, None, None] * np.eye(3)
    generator[:, :3, 3] = coordinates[:, :3]
    return expm(generator)


class _Graph:
    """Errors and derivatives of all edges together; nodes are matrices (N, 4, 4)."""

    def __init__(self, count: int, edges: Sequence[PoseGraphEdge]) -> None:
        self.count = count
        self.a = np.array([edge.a for edge in edges])
        self.b = np.array([edge.b for edge in edges])
        self.b_from_a = np.stack([edge.b_from_a.matrix for edge in edges])

    def errors(self, nodes: np.ndarray) -> np.ndarray:
        """The errors of all edges, (E, 7)."""
        return similarity_logarithm(self.b_from_a @ np.linalg.inv(nodes[self.a]) @ nodes[self.b])

    def derivatives(self, nodes: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives (E, 7, 7) of the errors with respect to small motions d, where exp(d) multiplies node a (first
        result) or node b (second) from the right."""
        inverse_right = np.linalg.inv(_right_jacobian(errors))
        relative = np.linalg.inv(nodes[self.b]) @ nodes[self.a]
        return -inverse_right @ _adjoint(relative), inverse_right


def _optimize(graph: _Graph, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nodes that minimize the squared errors with `weights` (E,); node 0 is fixed."""
    damping = 1e-6
    errors = graph.errors(nodes)
    cost = float((weights[:, None] * errors**2).sum())
    for _ in range(_MAX_ITERATIONS):
        by_a, by_b = graph.derivatives(nodes, errors)
        roots = np.sqrt(weights)[:, None, None]
        jacobian = _assemble(graph, by_a * roots, by_b * roots)
        normal = (jacobian.T @ jacobian).tocsc()
        gradient = jacobian.T @ (errors * roots[..., 0]).ravel()
        while damping < _MAX_DAMPING:
            step = np.asarray(spsolve(normal + diags(damping * normal.diagonal() + 1e-12, format="csc"), -gradient))
            moved = nodes.copy()
            moved[1:] = nodes[1:] @ similarity_exponential(step.reshape(-1, 7))
            new_errors = graph.errors(moved)
            new_cost = float((weights[:, None] * new_errors**2).sum())
            if np.isfinite(new_cost) and new_cost <= cost:
                break
            damping *= 10.0
        else:
            return nodes
        gain = cost - new_cost
        nodes, errors, cost, damping = moved, new_errors, new_cost, max(damping / 10.0, 1e-12)
        if gain <= 1e-12 * cost + 1e-24:
            break
    return nodes


def _optimize_robustly(graph: _Graph, nodes: np.ndarray, weights: np.ndarray, chain: int) -> np.ndarray:
    """Graduated non-convexity: all loops have full weight at first; then those with large errors lose it gradually.
    Writes the final weights into `weights`, whose first `chain` entries belong to the chain."""
    # the chain absorbs the error of a correct loop, which therefore ends at a small fraction of its initial error
    errors = np.linalg.norm(graph.errors(nodes)[chain:], axis=1)
    accepted = max(0.05, 0.1 * float(np.median(errors)))
    control = max(2.0 * float((errors**2).max()) / accepted**2, 1.0)
    while True:
        nodes = _optimize(graph, nodes, weights)
        squared = (graph.errors(nodes)[chain:] ** 2).sum(axis=1)
        weights[chain:] = (control * accepted**2 / (squared + control * accepted**2)) ** 2
        if control <= 1.0:
            return _optimize(graph, nodes, weights)
        control = max(control / 1.4, 1.0)


def _assemble(graph: _Graph, by_a: np.ndarray, by_b: np.ndarray):
    """The sparse Jacobian of all errors with respect to all nodes but the first."""
    edges = np.arange(len(graph.a))
    rows = np.broadcast_to((edges[:, None] * 7 + np.arange(7))[:, :, None], by_a.shape)
    values, row_indices, column_indices = [], [], []
    for nodes, blocks in ((graph.a, by_a), (graph.b, by_b)):
        free = nodes > 0
        columns = np.broadcast_to(((nodes[:, None] - 1) * 7 + np.arange(7))[:, None, :], blocks.shape)
        values.append(blocks[free].ravel())
        row_indices.append(rows[free].ravel())
        column_indices.append(columns[free].ravel())
    shape = (len(graph.a) * 7, (graph.count - 1) * 7)
    indices = (np.concatenate(row_indices), np.concatenate(column_indices))
    return coo_matrix((np.concatenate(values), indices), shape=shape).tocsr()


def _skew(vectors: np.ndarray) -> np.ndarray:
    """The matrices (..., 3, 3) of the cross products with `vectors` (..., 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape[:-1], 3, 3)


def _adjoint(matrices: np.ndarray) -> np.ndarray:
    """The adjoints Ad (N, 7, 7) of similarities M (N, 4, 4): M exp(d) = exp(Ad d) M."""
    scaled, translation = matrices[:, :3, :3], matrices[:, :3, 3]
    scale = np.cbrt(np.linalg.det(scaled))[:, None, None]
    adjoint = np.zeros((len(matrices), 7, 7))
    adjoint[:, :3, :3] = scaled
    adjoint[:, :3, 3:6] = _skew(translation) @ scaled / scale
    adjoint[:, :3, 6] = -translation
    adjoint[:, 3:6, 3:6] = scaled / scale
    adjoint[:, 6, 6] = 1.0
    return adjoint


def _right_jacobian(coordinates: np.ndarray) -> np.ndarray:
    """The right Jacobians J (N, 7, 7) at x = `coordinates` (N, 7): exp(x + d) = exp(x) exp(J d) to first order. J is
    the integral of exp(-s ad(x)) over s in [0, 1]."""
    rho, phi, sigma = coordinates[:, :3], coordinates[:, 3:6], coordinates[:, 6]
    small_adjoint = np.zeros((len(coordinates), 7, 7))
    small_adjoint[:, :3, :3] = _skew(phi) + sigma[:, None, None] * np.eye(3)
    small_adjoint[:, :3, 3:6] = _skew(rho)
    small_adjoint[:, :3, 6] = -rho
    small_adjoint[:, 3:6, 3:6] = _skew(phi)
    augmented = np.zeros((len(coordinates), 14, 14))
    augmented[:, :7, :7] = -small_adjoint
    augmented[:, :7, 7:] = np.eye(7)
    return expm(augmented)[:, :7, 7:]
