"""Extracts data/sample from a complete rendered scene with truth.

    python data/make_sample.py SCENE data/sample

Every second frame is kept, which keeps the camera path long, and renumbered with its original time. Input images are
compressed again as JPEG of quality 90; all truth is copied exactly, but `clean/` and `seen/` only for every second of
the kept frames and four of the views off the camera path. `seen` is counted again over the kept frames: a static point
is visible in a frame when it projects into it, no moving object covers that pixel (alpha > 0), and the depth without
moving objects is at most 2 % smaller.
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

STEP = 2
CLEAN_EVERY = 2
NOVEL = (0, 2, 3, 5)
JPEG_QUALITY = 90
DEPTH_TOLERANCE = 0.02


def main(source: Path, target: Path) -> None:
    cameras = json.loads((source / "cameras.json").read_text())
    kept = list(range(0, len(cameras["frames"]), STEP))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    coverage = _Coverage(source, cameras, kept)
    for new, old in enumerate(kept):
        before, after = f"{old:05d}", f"{new:05d}"
        _folder(target / "rgb")
        with Image.open(source / "rgb" / f"{before}.jpg") as image:
            image.save(target / "rgb" / f"{after}.jpg", quality=JPEG_QUALITY, optimize=True)
        for kind in ("mask", "alpha", "shadow", "ids"):
            _copy_png(source / kind / f"{before}.png", target / kind / f"{after}.png")
        for kind in ("depth", "depth_clean"):
            _copy_npz(source / kind / f"{before}.npz", target / kind / f"{after}.npz")
        if new % CLEAN_EVERY == 0:
            _copy_png(source / "clean" / f"{before}.png", target / "clean" / f"{after}.png")
            seen = coverage.count(_depth(source / "depth_clean" / f"{before}.npz"), _pose(cameras["frames"][old]))
            _save_png(seen, target / "seen" / f"{after}.png")
    _write_cameras(target / "cameras.json", cameras, [cameras["frames"][old] for old in kept])

    novel = json.loads((source / "novel" / "cameras.json").read_text())
    for new, old in enumerate(NOVEL):
        before, after = f"{old:05d}", f"{new:05d}"
        _copy_png(source / "novel" / f"{before}.png", target / "novel" / f"{after}.png")
        _copy_npz(source / "novel" / "depth" / f"{before}.npz", target / "novel" / "depth" / f"{after}.npz")
        seen = coverage.count(_depth(source / "novel" / "depth" / f"{before}.npz"), _pose(novel["frames"][old]))
        _save_png(seen, target / "novel" / "seen" / f"{after}.png")
    _write_cameras(target / "novel" / "cameras.json", novel, [novel["frames"][old] for old in NOVEL])

    centers = np.array([_pose(cameras["frames"][old])[:3, 3] for old in kept])
    meta = json.loads((source / "meta.json").read_text())
    summary = {
        "scene": meta["scene"],
        "version": meta["version"],
        "frames": len(kept),
        "source_frames": kept,
        "source_novel_views": list(NOVEL),
        "camera_path_m": float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum()),
        "camera_end_to_end_m": float(np.linalg.norm(centers[-1] - centers[0])),
        "shadow_threshold": meta["shadow_threshold"],
        "objects": [{**thing, "moving": [thing["moving"][old] for old in kept]} for thing in meta["objects"]],
    }
    (target / "meta.json").write_text(json.dumps(summary, indent=1) + "\n")


class _Coverage:
    """Counts the kept frames in which a static surface point is visible."""

    def __init__(self, source: Path, cameras: dict, kept: list[int]) -> None:
        self.cameras = cameras
        self.poses = [_pose(cameras["frames"][old]) for old in kept]
        self.depths = [_depth(source / "depth_clean" / f"{old:05d}.npz") for old in kept]
        self.covered = [np.asarray(Image.open(source / "alpha" / f"{old:05d}.png")) > 0 for old in kept]

    def count(self, z_depth: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
        """The counts, uint8 (H, W), for the points of the depth map of any camera with the same intrinsics."""
        fx, fy, cx, cy = (self.cameras[key] for key in ("fx", "fy", "cx", "cy"))
        height, width = z_depth.shape
        u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        points = np.stack([(u - cx) / fx * z_depth, (v - cy) / fy * z_depth, z_depth], axis=-1)
        points = points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
        total = np.zeros(z_depth.shape, np.uint8)
        for pose, depth, covered in zip(self.poses, self.depths, self.covered, strict=True):
            local = (points - pose[:3, 3]) @ pose[:3, :3]
            z = np.where(local[..., 2] > 0, local[..., 2], np.nan)
            column = np.floor(local[..., 0] / z * fx + cx)
            row = np.floor(local[..., 1] / z * fy + cy)
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = row[inside].astype(int), column[inside].astype(int)
            total[inside] += (z[inside] <= depth[place] * (1.0 + DEPTH_TOLERANCE)) & ~covered[place]
        return total


def _pose(frame: dict) -> np.ndarray:
    return np.array(frame["world_from_camera"])


def _depth(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        return archive["z_depth"].astype(np.float64)


def _folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _copy_png(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        _save_png(np.asarray(image), target)
    assert np.array_equal(np.asarray(Image.open(source)), np.asarray(Image.open(target)))


def _save_png(pixels: np.ndarray, target: Path) -> None:
    _folder(target.parent)
    Image.fromarray(pixels).save(target, optimize=True)


def _copy_npz(source: Path, target: Path) -> None:
    """Copies the array with LZMA compression, which numpy can read."""
    _folder(target.parent)
    with np.load(source, allow_pickle=False) as archive:
        z_depth = archive["z_depth"]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive, archive.open("z_depth.npy", "w") as file:
        npy.write_array(file, z_depth, allow_pickle=False)


def _write_cameras(path: Path, cameras: dict, frames: list[dict]) -> None:
    renamed = [{**frame, "file": f"{index:05d}.png"} for index, frame in enumerate(frames)]
    path.write_text(json.dumps({**cameras, "frames": renamed}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Give the folder of the complete scene and the output folder.")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
