"""A tiny data set in PointOdyssey's layout: a moving square in front of a textured wall."""

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES, FOCAL = 96, 64, 12, 80.0


def square_at(number: int) -> tuple[int, int, int]:
    """Left, top and side, in pixels, of the square in a frame."""
    return 10 + 4 * number, 18, 22


def write_clip(folder: Path, seed: int) -> None:
    """Writes a clip with images, depth, cameras and tracks."""
    rng = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 2)
    wall = cv2.normalize(wall, None, 40, 120, cv2.NORM_MINMAX)
    for name in ("rgbs", "depths", "trajs_3d", "intrinsics", "extrinsics"):
        (folder / name).mkdir(parents=True)
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    x, y = np.meshgrid(np.arange(2, WIDTH, 4) + 0.5, np.arange(2, HEIGHT, 4) + 0.5)
    on_wall = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ np.linalg.inv(intrinsics).T * 4.0
    for number in range(FRAMES):
        image, depth = wall.copy(), np.full((HEIGHT, WIDTH), 4.0)
        left, top, side = square_at(number)
        image[top : top + side, left : left + side] = (230, 200, 60)
        depth[top : top + side, left : left + side] = 2.0
        u, v = np.meshgrid(np.arange(0, side, 2) + left + 0.5, np.arange(0, side, 2) + top + 0.5)
        on_square = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(intrinsics).T * 2.0
        cv2.imwrite(str(folder / "rgbs" / f"rgb_{number:05d}.png"), image[..., ::-1].astype(np.uint8))
        stored = np.rint(depth * 65.535).astype(np.uint16)
        cv2.imwrite(str(folder / "depths" / f"depth_{number:05d}.png"), stored)
        np.save(
            folder / "trajs_3d" / f"traj_3d_{number:05d}.npy", np.concatenate([on_wall, on_square]).astype(np.float32)
        )
        np.save(folder / "intrinsics" / f"intrinsic_{number:05d}.npy", intrinsics)
        np.save(folder / "extrinsics" / f"extrinsic_{number:05d}.npy", np.eye(4))
