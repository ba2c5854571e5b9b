"""Scenes with exact depth and cameras, in the processed layout of Spring: a camera moves through a colored room."""

from pathlib import Path

import numpy as np

from scene.images import write_png
from tests.synthetic_pairs import SyntheticClip

SET = "spring"
FOLDER = "processed_spring"


def write_scenes(root: Path, *, scenes: int = 2, frames: int = 6, height: int = 48, width: int = 64) -> Path:
    """Writes the scenes below `root` and returns it."""
    for number in range(scenes):
        clip = SyntheticClip.make(frames, height, width, focal=(0.8 + 0.2 * number) * width, moving_ball=False)
        folder = root / FOLDER / f"scene{number}"
        for name in ("rgb", "depth", "cam"):
            (folder / name).mkdir(parents=True)
        for frame in range(frames):
            pose = clip.world_from_camera[frame]
            points = clip.camera_points(frame) @ pose[:3, :3].T + pose[:3, 3]
            waves = np.sin(points * (2.0, 2.6, 1.7) + (0.0, 1.0 + number, 2.0)) * np.cos(points[..., ::-1] * 1.3)
            name = f"{frame:04d}"
            write_png(folder / "rgb" / f"{name}.png", (127.5 + 110 * waves).astype(np.uint8))
            np.save(folder / "depth" / f"{name}.npy", clip.z_depth[frame].astype(np.float32))
            # stored principal points count pixel centers at integers
            intrinsics = clip.intrinsics.copy()
            intrinsics[:2, 2] -= 0.5
            np.savez(folder / "cam" / f"{name}.npz", intrinsics=intrinsics, pose=pose)
    return root
