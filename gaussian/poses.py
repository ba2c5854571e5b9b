"""Camera poses and one shared focal length, refined together with the Gaussians.

A correction moves points in the axes of the camera: x' = R(omega) x + v, with omega in radians and v in scene units. It
is applied after the camera_from_world of the predictor. The rasterizer gives the gradient with respect to
camera_from_world; Adam runs in the tangent space of the pose, one step each time the frame is trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from gaussian.adam import Adam
from scene.camera import Camera
from scene.rotations import affine_matrix, nearest_rotation


@dataclass(frozen=True)
class View:
    """A camera as the rasterizer takes it."""

    #: (4, 4) float32
    camera_from_world: torch.Tensor
    #: fx, fy, cx, cy in pixels
    intrinsics: tuple[float, float, float, float]
    width: int
    height: int


class CameraRefinement:
    """The cameras of all frames, with corrections of their poses and of the focal length that all of them share."""

    def __init__(self, cameras: Sequence[Camera]) -> None:
        """Starts at `cameras`, which are not changed."""
        self._cameras = list(cameras)
        self._initial = np.stack([camera.camera_from_world for camera in cameras])
        self._current = self._initial.copy()
        self._log_focal_factor = 0.0
        self._pose_adam = Adam(len(cameras), 6)
        self._focal_adam = Adam(1, 1)

    @property
    def focal_factor(self) -> float:
        """The refined focal length divided by the initial one."""
        return float(np.exp(self._log_focal_factor))

    def camera(self, frame: int) -> Camera:
        """The refined camera of a frame."""
        camera, matrix, factor = self._cameras[frame], self._current[frame], self.focal_factor
        world_from_camera = affine_matrix(matrix[:3, :3].T, -matrix[:3, :3].T @ matrix[:3, 3])
        return replace(camera, fx=camera.fx * factor, fy=camera.fy * factor, world_from_camera=world_from_camera)

    def view(self, frame: int, width: int, height: int) -> View:
        """The refined camera of a frame for its image at `width` x `height`."""
        camera, factor = self._cameras[frame], self.focal_factor
        x_scale, y_scale = width / camera.width, height / camera.height
        intrinsics = (
            camera.fx * factor * x_scale,
            camera.fy * factor * y_scale,
            camera.cx * x_scale,
            camera.cy * y_scale,
        )
        return View(torch.from_numpy(self._current[frame].astype(np.float32)), intrinsics, width, height)

    def step_pose(
        self, frame: int, gradient: np.ndarray, rotation_learning_rate: float, translation_learning_rate: float
    ) -> None:
        """One Adam step. `gradient` (3 or 4, 4) is that of the loss with respect to camera_from_world; the learning
        rates are in radians and in scene units. A gradient that is not finite is skipped."""
        matrix = self._current[frame]
        columns, gradients = matrix[:3, :4].T, np.asarray(gradient, np.float64)[:3, :4].T
        # d(R(omega) x) = omega x x, so each column contributes the cross product of the column and its gradient
        tangent = np.concatenate([np.cross(columns, gradients).sum(axis=0), gradients[3]])
        if not np.isfinite(tangent).all():
            return
        learning_rates = np.repeat([rotation_learning_rate, translation_learning_rate], 3)
        step = correction_matrix(-self._pose_adam.step(frame, tangent) * learning_rates)
        # the nearest rotation, so that rounding does not accumulate over thousands of steps
        matrix[:3, :3] = nearest_rotation(matrix[:3, :3])
        self._current[frame] = step @ matrix

    def step_focal(self, gradient_fx: float, gradient_fy: float, learning_rate: float) -> None:
        """One Adam step of the logarithm of the focal length; the gradients are those with respect to fx and fy of the
        full-size image. A gradient that is not finite is skipped."""
        factor, camera = self.focal_factor, self._cameras[0]
        gradient = factor * (camera.fx * gradient_fx + camera.fy * gradient_fy)
        if np.isfinite(gradient):
            self._log_focal_factor -= learning_rate * float(self._focal_adam.step(0, np.array([gradient]))[0])

    def correction(self, frame: int) -> np.ndarray:
        """(6,) omega and v of a frame."""
        matrix = self._current[frame] @ np.linalg.inv(self._initial[frame])
        return np.concatenate([Rotation.from_matrix(matrix[:3, :3]).as_rotvec(), matrix[:3, 3]])

    def interpolate(self, held_out: Sequence[int], trained: Sequence[int]) -> None:
        """Gives each held-out frame the correction interpolated linearly in time between the nearest trained frames.
        The pixels of held-out frames are not used."""
        if not held_out or not trained:
            return
        corrections = np.stack([self.correction(frame) for frame in trained])
        for frame in held_out:
            between = np.array([np.interp(frame, trained, corrections[:, k]) for k in range(6)])
            self._current[frame] = correction_matrix(between) @ self._initial[frame]

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        return {
            "camera_from_world": torch.from_numpy(self._current.copy()),
            "log_focal_factor": self._log_focal_factor,
            "pose_adam": self._pose_adam.state(),
            "focal_adam": self._focal_adam.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self._current = state["camera_from_world"].numpy().copy()
        self._log_focal_factor = float(state["log_focal_factor"])
        self._pose_adam.restore(state["pose_adam"])
        self._focal_adam.restore(state["focal_adam"])


def correction_matrix(correction: np.ndarray) -> np.ndarray:
    """The 4x4 matrix of x' = R(omega) x + v for `correction` (6,): omega, then v."""
    return affine_matrix(Rotation.from_rotvec(correction[:3]).as_matrix(), correction[3:])
