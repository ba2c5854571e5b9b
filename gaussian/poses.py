"""Camera poses and one shared focal length that are refined together with the Gaussians.

A correction moves points in the camera's own axes: x' = R(omega) x + v, with omega in radians and v in scene units, in
front of the camera_from_world that the predictor found. Gradients come from the rasterizer with respect to
camera_from_world; Adam (Kingma and Ba, 2015) runs in that tangent space, one step for each visit of a frame.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from scene.camera import Camera

_BETA1, _BETA2, _EPSILON = 0.9, 0.99, 1e-15


class CameraRefinement:
    """Cameras of all frames as they are refined; `cameras` are those of the scene and stay as they are."""

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self.cameras = list(cameras)
        self._start = np.stack([camera.camera_from_world for camera in cameras])
        self._now = self._start.copy()
        self._log_focal = 0.0
        self._moments = np.zeros((len(cameras), 2, 6))
        self._visits = np.zeros(len(cameras), np.int64)
        self._focal_moments = np.zeros(2)
        self._focal_visits = 0

    def camera_from_world(self, frame: int) -> np.ndarray:
        """4x4 float64, as refined so far."""
        return self._now[frame]

    @property
    def focal_factor(self) -> float:
        """The refined focal length over the scene's."""
        return float(np.exp(self._log_focal))

    def camera(self, frame: int) -> Camera:
        """The refined camera of a frame."""
        camera = self.cameras[frame]
        matrix = self._now[frame]
        world_from_camera = np.eye(4)
        world_from_camera[:3, :3] = matrix[:3, :3].T
        world_from_camera[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
        factor = self.focal_factor
        return replace(camera, fx=camera.fx * factor, fy=camera.fy * factor, world_from_camera=world_from_camera)

    def step_pose(self, frame: int, gradient: np.ndarray, rotation_rate: float, translation_rate: float) -> None:
        """One Adam step. `gradient` (3 or 4, 4) is that of the loss with respect to camera_from_world."""
        matrix = self._now[frame]
        columns, slopes = matrix[:3, :4].T, np.asarray(gradient, np.float64)[:3, :4].T
        # d(R(omega) x) = omega x x, so each column gives column x slope
        tangent = np.concatenate([np.cross(columns, slopes).sum(axis=0), slopes[3]])
        if not np.isfinite(tangent).all():
            return
        self._visits[frame] += 1
        step = _adam(self._moments[frame], tangent, int(self._visits[frame]))
        self._now[frame] = correction_matrix(-step * np.repeat([rotation_rate, translation_rate], 3)) @ _orthonormal(
            matrix
        )

    def step_focal(self, gradient_fx: float, gradient_fy: float, rate: float) -> None:
        """One Adam step of the logarithm of the focal length, by the gradients in full-size pixels."""
        factor = self.focal_factor
        camera = self.cameras[0]
        slope = factor * (camera.fx * gradient_fx + camera.fy * gradient_fy)
        if not np.isfinite(slope):
            return
        self._focal_visits += 1
        self._log_focal -= rate * float(_adam(self._focal_moments[:, None], np.array([slope]), self._focal_visits)[0])

    def correction(self, frame: int) -> np.ndarray:
        """(6,) omega and v of a frame, so far."""
        matrix = self._now[frame] @ np.linalg.inv(self._start[frame])
        return np.concatenate([Rotation.from_matrix(matrix[:3, :3]).as_rotvec(), matrix[:3, 3]])

    def interpolate(self, held_out: Sequence[int], trained: Sequence[int]) -> None:
        """Gives held-out frames the correction that lies, linearly in time, between those of the trained frames next
        to them. Their own pixels have no part in it."""
        if not held_out or not trained:
            return
        corrections = np.stack([self.correction(frame) for frame in trained])
        for frame in held_out:
            between = np.array([np.interp(frame, trained, corrections[:, k]) for k in range(6)])
            self._now[frame] = correction_matrix(between) @ self._start[frame]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "now": torch.from_numpy(self._now.copy()),
            "log_focal": self._log_focal,
            "moments": torch.from_numpy(self._moments.copy()),
            "visits": torch.from_numpy(self._visits.copy()),
            "focal_moments": torch.from_numpy(self._focal_moments.copy()),
            "focal_visits": self._focal_visits,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self._now = state["now"].numpy().copy()
        self._log_focal = float(state["log_focal"])
        self._moments = state["moments"].numpy().copy()
        self._visits = state["visits"].numpy().copy()
        self._focal_moments = state["focal_moments"].numpy().copy()
        self._focal_visits = int(state["focal_visits"])


def correction_matrix(correction: np.ndarray) -> np.ndarray:
    """4x4 of x' = R(omega) x + v for (6,) omega, v."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(correction[:3]).as_matrix()
    matrix[:3, 3] = correction[3:]
    return matrix


def _adam(moments: np.ndarray, gradient: np.ndarray, visits: int) -> np.ndarray:
    """Updates (2, k) moments in place; the normalised step (k,)."""
    moments[0] += (1 - _BETA1) * (gradient - moments[0])
    moments[1] += (1 - _BETA2) * (gradient**2 - moments[1])
    mean = moments[0] / (1 - _BETA1**visits)
    square = moments[1] / (1 - _BETA2**visits)
    return mean / (np.sqrt(square) + _EPSILON)


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Keeps rounding from adding up over thousands of steps."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    result = matrix.copy()
    result[:3, :3] = u @ v
    return result
