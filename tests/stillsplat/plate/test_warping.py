"""Where points of a plane lie in another frame."""

import numpy as np

from scene.camera import Camera
from stillsplat.plate.warping import plane_homography, warp_map


def test_a_plane_is_the_depth_map_of_one_value() -> None:
    turned = np.eye(4)
    turned[:3, :3] = [[np.cos(0.2), 0, np.sin(0.2)], [0, 1, 0], [-np.sin(0.2), 0, np.cos(0.2)]]
    turned[:3, 3] = 0.3, -0.1, 0.2
    target = Camera(40, 30, 35.0, 36.0, 19.0, 16.0, np.eye(4))
    source = Camera(40, 30, 41.0, 40.0, 21.0, 14.0, turned)
    places, z = warp_map(target, source, np.full((30, 40), 2.5))
    rows, columns = np.mgrid[:30, :40]
    found = plane_homography(target, source, 2.5) @ np.stack([columns.ravel(), rows.ravel(), np.ones(1200)])
    np.testing.assert_allclose(found[2].reshape(30, 40), z, rtol=1e-5)
    np.testing.assert_allclose((found[:2] / found[2]).T.reshape(30, 40, 2), places, atol=1e-3)
