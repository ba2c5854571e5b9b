"""The plausible surface of clips without parallax."""

import numpy as np
from scipy.spatial.transform import Rotation

from dynamic_predictor.geometric.plausible_depth import PlausibleSurface
from scene.camera import Camera


def test_all_frames_of_a_rotating_camera_see_the_same_surface():
    angles = [-0.3, 0.0, 0.4]
    cameras = []
    for angle in angles:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("yx", [angle, 0.2 * angle]).as_matrix()
        cameras.append(Camera(96, 64, 90.0, 90.0, 48.0, 32.0, pose))
    surface = PlausibleSurface(cameras)
    middle = surface.z_depth(cameras[1])
    assert middle.shape == (64, 96) and np.isfinite(middle).all() and (middle > 0).all()
    # depth decreases on the ground, towards the lower edge, but not on the cylinder
    assert middle[63, 48] < 0.8 * middle[32, 48] and abs(middle[20, 48] / middle[30, 48] - 1) < 0.05
    for camera in (cameras[0], cameras[2]):
        points = camera.unproject(surface.z_depth(camera)).reshape(-1, 3)
        pixels, z = cameras[1].project(points)
        column, row = np.round(pixels - 0.5).astype(int).T
        inside = (z > 0) & (column >= 0) & (column < 96) & (row >= 0) & (row < 64)
        assert inside.sum() > 1000
        np.testing.assert_allclose(z[inside], middle[row[inside], column[inside]], rtol=0.03)
