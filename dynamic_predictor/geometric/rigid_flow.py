"""The optical flow of a static world between two known cameras: rigid flow, and its linear constraint on inverse depth.

A pixel p of camera i at inverse depth rho (1 / z_depth) projects into camera j at the homogeneous pixel
`infinity @ (p, 1) + rho * parallax`, where `infinity` is the homography of the plane at infinity, K_j R K_i^-1, and
`parallax` = K_j t (Hartley and Zisserman, Multiple View Geometry, ch. 9). Multiplied by its denominator this is linear
in rho, so that a flow vector gives two linear equations for rho.
"""

from dataclasses import dataclass

import numpy as np

from scene.camera import Camera


def pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x (1, W) and y (H, 1) of the pixel centers, float32; the first center is at 0.5."""
    return (
        np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5),
        np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5),
    )


@dataclass(frozen=True)
class RigidPair:
    """A source and a target camera that see the same static world.

    `infinity` (3, 3) maps homogeneous source pixels of points at infinity to target pixels; `parallax` (3,) is added
    per unit of inverse depth. `target_from_source` is the rigid 4x4 transform between the camera frames.
    """

    infinity: np.ndarray
    parallax: np.ndarray
    target_from_source: np.ndarray
    source: Camera
    target: Camera

    @classmethod
    def between(cls, source: Camera, target: Camera) -> "RigidPair":
        """The pair of two cameras with known poses."""
        relative = target.camera_from_world @ source.world_from_camera
        infinity = target.intrinsics @ relative[:3, :3] @ np.linalg.inv(source.intrinsics)
        return cls(infinity, target.intrinsics @ relative[:3, 3], relative, source, target)

    def transferred_infinity(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`infinity @ (p, 1)` for every source pixel: three float32 maps (H, W)."""
        x, y = pixel_grid(self.source.height, self.source.width)
        m = self.infinity.astype(np.float32)
        return tuple(m[k, 0] * x + m[k, 1] * y + m[k, 2] for k in range(3))  # type: ignore[return-value]

    def flow(self, inverse_depth: np.ndarray) -> np.ndarray:
        """The rigid flow (H, W, 2) float32, in pixels, of a static world at `inverse_depth` (H, W) in the source; NaN
        for points behind the target camera."""
        x, y = pixel_grid(self.source.height, self.source.width)
        ax, ay, az = self.transferred_infinity()
        b = self.parallax.astype(np.float32)
        w = az + inverse_depth * b[2]
        w = np.where(w > 1e-6, w, np.nan)
        return np.stack([(ax + inverse_depth * b[0]) / w - x, (ay + inverse_depth * b[1]) / w - y], axis=-1)

    def constraint(
        self, displacement: np.ndarray, inverse_depth: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The equations `gx * rho = hx` and `gy * rho = hy` for the inverse depth rho, from the observed flow
        `displacement` (H, W, 2), in units of pixels of the target image at `inverse_depth`.

        Returns gx, gy, hx, hy, each float32 (H, W). h - g * rho is the observed flow minus the rigid flow at rho (exact
        at rho = `inverse_depth`); cross(g, h) / |g| is the distance from the epipolar line and does not depend on rho.
        """
        x, y = pixel_grid(self.source.height, self.source.width)
        qx, qy = x + displacement[..., 0], y + displacement[..., 1]
        ax, ay, az = self.transferred_infinity()
        b = self.parallax.astype(np.float32)
        scale = 1.0 / np.maximum(az + inverse_depth * b[2], 1e-3)
        return (b[0] - qx * b[2]) * scale, (b[1] - qy * b[2]) * scale, (qx * az - ax) * scale, (qy * az - ay) * scale
