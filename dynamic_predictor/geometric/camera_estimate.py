"""The result of structure from motion: cameras, sparse points and their observations, in a world of fixed scale."""

from dataclasses import dataclass, field, replace

import numpy as np

from dynamic_predictor.geometric.geometry import Geometry
from dynamic_predictor.geometric.reprojection import host_rays, project_host, residual_norms
from scene.camera import Camera
from scene.frames import Frames
from scene.lens import Lens
from scene.scene import PointCloud

#: median z depth of the static points, in scene units
MEDIAN_DEPTH = 4.0


@dataclass
class SparseObservations:
    """The triangulated static points that each frame sees, frame after frame.

    The rows of frame i in the arrays (N, ...) are `frame_starts[i]` to `frame_starts[i + 1] - 1`.
    """

    #: (F + 1,) int
    frame_starts: np.ndarray
    #: (N, 2) float32, (u, v) of the observation, pixel centers at +0.5
    pixels: np.ndarray
    #: (N,) float32, 1 / z_depth in that frame, in 1 / scene units
    inverse_depths: np.ndarray
    #: (N,) int, row of the point in `CameraEstimate.points`
    points: np.ndarray

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(pixels (n, 2), inverse_depths (n,)) of frame `index`."""
        rows = slice(int(self.frame_starts[index]), int(self.frame_starts[index + 1]))
        return self.pixels[rows], self.inverse_depths[rows]


@dataclass
class CameraEstimate:
    """The cameras of a clip, as `structure_from_motion.estimate_cameras` finds them.

    The world is the camera of the first frame. The scene unit is such that the z depths of all observed static points
    have the median `MEDIAN_DEPTH`; without translation depths have no scale, and all points are at that depth.
    """

    cameras: list[Camera]
    #: "bundle_adjustment", "pycolmap", "rotation_only", "static_camera", or "bridged" if the cameras of some frames are
    #: interpolated from their neighbors
    method: str
    #: median over the observations of static tracks, in pixels
    median_reprojection_error: float
    points: PointCloud
    point_tracks: SparseObservations
    #: False if no parallax could be measured: then any depth explains the clip
    has_translation: bool
    warnings: list[str] = field(default_factory=list)
    #: seconds per stage
    timings: dict[str, float] = field(default_factory=dict)
    #: the lens that the frames were taken with, where it distorts; then `cameras` and points are those of the pinhole
    #: camera of the same focal length, and the pixels of `point_tracks` are not
    lens: Lens | None = None
    #: (F,) bool, frames whose pose was measured and not interpolated
    measured: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def zoom(self) -> np.ndarray | None:
        """The logarithm (F,) of each frame's focal length over that of the first; None if they have the same one."""
        zoom = np.log([camera.fx / self.cameras[0].fx for camera in self.cameras])
        return zoom if zoom.any() else None


def camera_estimate(
    geometry: Geometry, frames: Frames, *, method: str, has_translation: bool, warnings: list[str]
) -> CameraEstimate:
    """The estimate of a solved geometry: its static tracks become colored points, and the world is changed to the first
    camera and the scene unit."""
    count, width, height = len(frames), frames.width, frames.height
    poses, scale = geometry.poses, geometry.scale
    rotations = poses.rotations @ poses.rotations[0].T
    translations = poses.translations - rotations @ poses.translations[0]
    world = replace(poses, rotations=rotations, translations=translations)
    norms = residual_norms(geometry.problem(), poses, geometry.inverse_depths)
    errors, positions, colors = [np.zeros(0)], [np.zeros((0, 3))], [np.zeros((0, 3), np.uint8)]
    observations: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(count)]
    point_count = 0
    for host, inverse_depth, weight, norm in zip(
        geometry.hosts, geometry.inverse_depths, geometry.track_weights, norms, strict=True
    ):
        seen = host.visible & (norm < 8 * scale)
        static = (weight > 0.25) & (seen.sum(0) >= min(2, count - 1)) & (seen.sum(0) > 0.6 * host.visible.sum(0))
        errors.append(norm[:, static][host.visible[:, static]])
        if not has_translation:
            inverse_depth = np.full(host.count, 1 / MEDIAN_DEPTH)
        rows = np.flatnonzero(static)
        numbers = np.full(host.count, -1)
        numbers[rows] = point_count + np.arange(len(rows))
        point_count += len(rows)
        rays = host_rays(host, poses, geometry.center)
        in_camera = rays[rows] / np.maximum(inverse_depth[rows], 1e-9)[:, None]
        positions.append((in_camera - translations[host.host]) @ rotations[host.host])
        column, row = np.clip(host.host_pixels[rows].astype(int), 0, [width - 1, height - 1]).T
        colors.append(frames.rgb8(host.host)[row, column])
        observations[host.host].append((host.host_pixels[rows], inverse_depth[rows], numbers[rows]))
        _, z = project_host(host, inverse_depth, world, geometry.center)
        for k, frame in enumerate(host.frames):
            chosen = np.flatnonzero(static & seen[k] & (z[k] > 1e-3))
            observations[frame].append((host.pixels[k, chosen], inverse_depth[chosen] / z[k, chosen], numbers[chosen]))
    point_tracks = _sparse_observations(observations)
    unit = 1.0
    if has_translation and len(point_tracks.inverse_depths):
        unit = float(np.median(point_tracks.inverse_depths)) * MEDIAN_DEPTH
        unit = unit if np.isfinite(unit) and unit > 1e-12 else 1.0
    point_tracks.inverse_depths /= unit
    cameras = []
    for frame, (rotation, translation) in enumerate(zip(rotations, translations, strict=True)):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = -rotation.T @ (translation * unit)
        focal = poses.focal_of(frame)
        cameras.append(Camera(width, height, focal, focal, width / 2, height / 2, matrix))
    static_errors = np.concatenate(errors)
    return CameraEstimate(
        cameras,
        method,
        float(np.median(static_errors)) if len(static_errors) else 0.0,
        PointCloud((np.concatenate(positions) * unit).astype(np.float32), np.concatenate(colors).astype(np.uint8)),
        point_tracks,
        has_translation,
        warnings,
        lens=None if poses.radial is None else poses.radial.lens(width, height, poses.focal),
        measured=geometry.registered.copy(),
    )


def _sparse_observations(observations: list[list[tuple[np.ndarray, ...]]]) -> SparseObservations:
    """One array per column of the rows (pixels, inverse depths, points) of all frames."""
    counts = [sum(len(rows[0]) for rows in frame) for frame in observations]
    empty = (np.zeros((0, 2)), np.zeros(0), np.zeros(0, int))
    columns = zip(empty, *(rows for frame in observations for rows in frame), strict=True)
    pixels, inverse_depths, points = (np.concatenate(column) for column in columns)
    return SparseObservations(
        np.concatenate([[0], np.cumsum(counts)]).astype(int),
        pixels.astype(np.float32),
        inverse_depths.astype(np.float32),
        points,
    )
