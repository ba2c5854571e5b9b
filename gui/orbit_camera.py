"""A free camera that is moved by dragging: it orbits around a point, pans, and zooms."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.rotations import affine_matrix, nearest_rotation

#: nearest and farthest pivot, relative to the distance at which the camera was placed
_NEAREST, _FARTHEST = 1e-3, 1e3
#: the angle between the line of sight and the vertical stays above this, in degrees
_CLOSEST_TO_VERTICAL = 2.0


@dataclass(frozen=True)
class OrbitCamera:
    """A camera with the point in front of it around which it turns. Every movement gives a new one."""

    #: where it is, and its intrinsics
    camera: Camera
    #: z depth of the point around which it turns, in scene units
    distance: float
    #: unit vector (3,) of the world that points up
    up: np.ndarray
    #: the distance at which it was placed
    placed: float

    @staticmethod
    def at(camera: Camera, distance: float, up: np.ndarray) -> "OrbitCamera":
        """A free camera at `camera`. `distance`: z depth of what it looks at."""
        return OrbitCamera(camera, distance, np.asarray(up, np.float64) / np.linalg.norm(up), distance)

    @property
    def pivot(self) -> np.ndarray:
        """The point (3,) of the world around which it turns, in the middle of the picture."""
        matrix = self.camera.world_from_camera
        return matrix[:3, 3] + self.distance * self._sight

    @property
    def _sight(self) -> np.ndarray:
        """The direction (3,) to the pivot, of z depth 1."""
        camera = self.camera
        ray = np.array([(camera.width / 2 - camera.cx) / camera.fx, (camera.height / 2 - camera.cy) / camera.fy, 1.0])
        return camera.world_from_camera[:3, :3] @ ray

    def orbited(self, right: float, down: float) -> "OrbitCamera":
        """Dragged by shares of the picture's width and height, which are half a turn each: what is in front follows
        the pointer. It stops before it looks straight up or down."""
        matrix = self.camera.world_from_camera
        turn = Rotation.from_rotvec(np.pi * right * -self.up_sign * self.up).as_matrix()
        forward = turn @ matrix[:3, 2]
        angle = np.degrees(np.arccos(np.clip(forward @ self.up, -1.0, 1.0)))
        # a camera placed closer to the vertical may come back from there
        low, high = min(_CLOSEST_TO_VERTICAL, angle), max(180.0 - _CLOSEST_TO_VERTICAL, angle)
        wanted = np.clip(angle + self.up_sign * 180.0 * down, low, high)
        axis = np.cross(self.up, forward)
        length = np.linalg.norm(axis)
        tilt = np.eye(3)
        if length > 1e-9:
            tilt = Rotation.from_rotvec(np.radians(wanted - angle) * axis / length).as_matrix()
        rotation = nearest_rotation(tilt @ turn @ matrix[:3, :3])
        turned = self.camera.moved(affine_matrix(rotation, matrix[:3, 3]))
        there = replace(self, camera=turned)
        moved = turned.moved(affine_matrix(rotation, matrix[:3, 3] + self.pivot - there.pivot))
        return replace(self, camera=moved)

    @property
    def up_sign(self) -> float:
        """1 if the picture is upright, -1 if it is upside down."""
        return 1.0 if -self.camera.world_from_camera[:3, 1] @ self.up >= 0 else -1.0

    def panned(self, right: float, down: float) -> "OrbitCamera":
        """Dragged by shares of the picture's width and height: the pivot follows the pointer."""
        camera = self.camera
        shift = np.array([-right * camera.width / camera.fx, -down * camera.height / camera.fy, 0.0]) * self.distance
        matrix = camera.world_from_camera
        return replace(self, camera=camera.moved(affine_matrix(matrix[:3, :3], matrix[:3, 3] + matrix[:3, :3] @ shift)))

    def zoomed(self, factor: float) -> "OrbitCamera":
        """`factor` times as far from the pivot, which stays where it is; below 1 is nearer."""
        distance = float(np.clip(self.distance * factor, _NEAREST * self.placed, _FARTHEST * self.placed))
        matrix = self.camera.world_from_camera
        place = self.pivot - distance * self._sight
        return replace(self, camera=self.camera.moved(affine_matrix(matrix[:3, :3], place)), distance=distance)


def up_of(cameras: list[Camera]) -> np.ndarray:
    """The mean upward direction (3,) of cameras, of length 1."""
    mean = -np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-6 else -cameras[0].world_from_camera[:3, 1]
