"""Which points of a COLMAP model have observations, and where: points that several cameras see, with all of their
views, so that bundle adjusters have tracks to work with."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scene.camera import Camera
from scene.files.arrays import known

#: of all images together, and the least and most per image on average
_MAX_OBSERVATIONS = 400_000
_OBSERVATIONS_PER_IMAGE = (50, 4000)
#: points that are looked at; twice as many as all observations could be tracks of
_MAX_CANDIDATES = 400_000
#: a point lies on the surface of a depth map when it is off by at most this part of the depth
_DEPTH_TOLERANCE = 0.05
_SEED = 0

#: (camera index, pixels (M, 2), z depths (M,)) -> bool (M,)
Visibility = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def observe(
    cameras: Sequence[Camera], positions: np.ndarray, is_visible: Visibility | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where the cameras see the world points (N, 3): pixels (K, 2) and point indices (K,) per camera.

    A camera sees a point that is in front of it and inside its image, and of which `is_visible`, where given, says
    so. Points are chosen that two cameras or more see, as many for each image, until their observations by all these
    cameras reach a bound; all other points have none, so that models of long clips stay small. A image that gets
    fewer than 50 in this way is filled up with points that it sees alone. A camera that sees none gets one observation
    of no point at its principal point: readers skip images whose line of points is empty.
    """
    least, most = _OBSERVATIONS_PER_IMAGE
    budget = len(cameras) * int(np.clip(_MAX_OBSERVATIONS / max(1, len(cameras)), least, most))
    candidates = _evenly(np.arange(len(positions)), _MAX_CANDIDATES)
    # two passes over the cameras rather than one that remembers: long clips see each point in many images
    views = np.zeros(len(candidates), np.int64)
    neediest = np.zeros(len(candidates), np.int64)
    fewest = np.full(len(candidates), np.iinfo(np.int64).max)
    for index, (seen, _) in enumerate(_sightings(cameras, positions[candidates], is_visible)):
        views[seen] += 1
        needier = seen[fewest[seen] > len(seen)]
        fewest[needier], neediest[needier] = len(seen), index
    chosen = candidates[_tracked(views, neediest, budget)]
    alone = candidates[views == 1]
    only_viewer = neediest[views == 1]
    observations = []
    for index, (seen, pixels) in enumerate(_sightings(cameras, positions[chosen], is_visible)):
        indices = chosen[seen]
        if len(indices) < least:
            more = _evenly(alone[only_viewer == index], least - len(indices))
            indices = np.concatenate([indices, more])
            pixels = np.concatenate([pixels, cameras[index].project(positions[more])[0]])
        if not len(indices):
            indices, pixels = np.array([-1]), np.array([[cameras[index].cx, cameras[index].cy]])
        observations.append((pixels, indices))
    return observations


def on_surface(z_depth: np.ndarray, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Which points, given by pixels (M, 2) of a depth map (H, W) and z depths (M,), lie on its surface: bool (M,).
    Those behind it are hidden, those in front of it or where it is unknown are nothing that the image shows."""
    height, width = z_depth.shape
    inside = ((pixels >= 0) & (pixels <= [width, height])).all(axis=1)
    columns, rows = np.clip(np.floor(pixels), 0, [width - 1, height - 1]).astype(np.int64).T
    surface = known(z_depth[rows, columns])
    return inside & (surface > 0) & (np.abs(z - surface) <= _DEPTH_TOLERANCE * surface)


def _sightings(
    cameras: Sequence[Camera], positions: np.ndarray, is_visible: Visibility | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per camera the indices (K,) of the points (N, 3) that it sees, and their pixels (K, 2)."""
    for index, camera in enumerate(cameras):
        pixels, z = camera.project(positions) if len(positions) else (np.zeros((0, 2)), np.zeros(0))
        inside = (z > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] <= camera.width) & (pixels[:, 1] <= camera.height)
        seen = np.flatnonzero(inside)
        if is_visible is not None and len(seen):
            seen = seen[is_visible(index, pixels[seen], z[seen])]
        yield seen, pixels[seen]


def _tracked(views: np.ndarray, neediest: np.ndarray, budget: int) -> np.ndarray:
    """Places of the points with two views or more, in turns one of each camera that sees the fewest points, while
    their views fit into `budget`."""
    shared = np.flatnonzero(views >= 2)
    shared = shared[np.random.default_rng(_SEED).permutation(len(shared))]
    by_camera = shared[np.argsort(neediest[shared], kind="stable")]
    _, starts, counts = np.unique(neediest[by_camera], return_index=True, return_counts=True)
    turn = np.arange(len(by_camera)) - np.repeat(starts, counts)
    in_turns = by_camera[np.argsort(turn, kind="stable")]
    return np.sort(in_turns[np.cumsum(views[in_turns]) <= budget])


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]
