"""Observations of a COLMAP model: where its cameras see its points, chosen so that bundle adjusters have tracks."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scene.camera import Camera
from scene.files.arrays import known
from scene.maps import FrameMaps

#: bound for all images together, and the smallest and largest bound per image on average
_MAX_OBSERVATIONS = 400_000
_OBSERVATIONS_PER_IMAGE = (50, 4000)
#: points that are considered: a track has two observations or more, so half as many could have tracks
_MAX_CANDIDATES = 400_000
#: a point lies on the surface of a depth map when its depth differs by at most this fraction
_DEPTH_TOLERANCE = 0.05
_SEED = 0

#: (camera index, pixels (M, 2), z depths (M,)) -> bool (M,)
Visibility = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def observe(
    cameras: Sequence[Camera], positions: np.ndarray, is_visible: Visibility | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Observations of the world points (N, 3): pixels (K, 2) and point indices (K,) per camera.

    A camera sees a point that is in front of it, inside its image and, where `is_visible` is given, visible. Among the
    points that two cameras or more see, equally many per image are chosen, until their observations by all cameras that
    see them reach a bound. All other points have no observations, so that models of long clips stay small. An image
    with fewer than 50 observations also gets some of points that no other image sees. An image that sees no point gets
    one observation without a point, at its principal point, because some readers skip images without observations.
    """
    least, most = _OBSERVATIONS_PER_IMAGE
    budget = len(cameras) * int(np.clip(_MAX_OBSERVATIONS / max(1, len(cameras)), least, most))
    candidates = _evenly(np.arange(len(positions)), _MAX_CANDIDATES)
    # two passes over the cameras, because all sightings of a long clip together would need too much memory
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
    """Whether points, given by pixels (M, 2) of a depth map (H, W) and z depths (M,), lie on its surface: bool (M,).
    Points behind the surface are hidden; points in front of it, or where depth is unknown, are not in the image."""
    height, width = z_depth.shape
    inside = ((pixels >= 0) & (pixels <= [width, height])).all(axis=1)
    columns, rows = np.clip(np.floor(pixels), 0, [width - 1, height - 1]).astype(np.int64).T
    surface = known(z_depth[rows, columns])
    return inside & (surface > 0) & (np.abs(z - surface) <= _DEPTH_TOLERANCE * surface)


def visible_on_depth(z_depths: FrameMaps | None, maps_from_images: Sequence[np.ndarray] = ()) -> Visibility | None:
    """The test whether points lie on the surface of a camera's depth map; None without depth. `maps_from_images`: per
    image the 3x3 matrix from its pixels to those of the depth map; empty: they are the same."""
    if z_depths is None:
        return None

    def is_visible(index: int, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
        if len(maps_from_images):
            matrix = maps_from_images[index]
            pixels = pixels @ matrix[:2, :2].T + matrix[:2, 2]
        return on_surface(z_depths[index], pixels, z)

    return is_visible


def _sightings(
    cameras: Sequence[Camera], positions: np.ndarray, is_visible: Visibility | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per camera the indices (K,) of the points (N, 3) that it sees, with their pixels (K, 2)."""
    for index, camera in enumerate(cameras):
        pixels, z = camera.project(positions) if len(positions) else (np.zeros((0, 2)), np.zeros(0))
        inside = (z > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] <= camera.width) & (pixels[:, 1] <= camera.height)
        seen = np.flatnonzero(inside)
        if is_visible is not None and len(seen):
            seen = seen[is_visible(index, pixels[seen], z[seen])]
        yield seen, pixels[seen]


def _tracked(views: np.ndarray, neediest: np.ndarray, budget: int) -> np.ndarray:
    """Sorted indices of the chosen points among those with two views or more, whose views sum up to at most `budget`.

    `views` (N,): number of cameras that see a point. `neediest` (N,): among these the camera that sees the fewest
    points. Points are taken in turns, one per neediest camera, so that cameras with few points get theirs first.
    """
    shared = np.flatnonzero(views >= 2)
    shared = shared[np.random.default_rng(_SEED).permutation(len(shared))]
    by_camera = shared[np.argsort(neediest[shared], kind="stable")]
    _, starts, counts = np.unique(neediest[by_camera], return_index=True, return_counts=True)
    turn = np.arange(len(by_camera)) - np.repeat(starts, counts)
    in_turns = by_camera[np.argsort(turn, kind="stable")]
    return np.sort(in_turns[np.cumsum(views[in_turns]) <= budget])


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, evenly spaced."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]
