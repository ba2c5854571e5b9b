"""COLMAP models for tests."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.scene import PointCloud


def made_up_model(
    count: int = 4, points: int = 50, shared: bool = True, seed: int = 0
) -> tuple[list[str], list[Camera], PointCloud]:
    """Names, cameras that look at the points, and random points."""
    generator = np.random.default_rng(seed)
    cameras = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(generator.normal(0, 0.1, 3)).as_matrix()
        pose[:3, 3] = generator.normal(0, 0.2, 3)
        focal = 70.0 + (0 if shared else index)
        cameras.append(Camera(80, 60, focal, focal + 1, 40.5, 29.75, pose))
    positions = (generator.uniform(-1, 1, (points, 3)) + [0, 0, 4]).astype(np.float32)
    cloud = PointCloud(positions, generator.integers(0, 256, (points, 3)).astype(np.uint8))
    return [f"{index:05d}.png" for index in range(count)], cameras, cloud


def read_by_pycolmap(folder: Path) -> dict:
    """The model as pycolmap reads it, in its own process because it can crash together with other libraries."""
    script = """
import json, sys
import pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
images = {}
for image in model.images.values():
    pose = image.cam_from_world
    pose = pose() if callable(pose) else pose
    camera = model.cameras[image.camera_id]
    images[image.name] = {
        "camera_from_world": pose.matrix().tolist(),
        "model": camera.model.name,
        "params": list(map(float, camera.params)),
        "size": [camera.width, camera.height],
        "points2D": [[*map(float, p.xy), p.point3D_id if p.has_point3D() else -1] for p in image.points2D],
    }
    images[image.name]["errors"] = [
        float(abs(camera.img_from_cam(pose * model.points3D[p.point3D_id].xyz) - p.xy).max())
        for p in image.points2D if p.has_point3D()
    ]
points = {
    str(i): {
        "xyz": p.xyz.tolist(),
        "color": p.color.tolist(),
        "track": sorted([e.image_id, e.point2D_idx] for e in p.track.elements),
    }
    for i, p in model.points3D.items()
}
print(json.dumps({"images": images, "points": points, "cameras": len(model.cameras)}))
"""
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
