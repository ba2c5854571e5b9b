"""Times other programs, as far as they are installed, with the same number of Gaussians and image size."""

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from scene.camera import Camera
from scene.formats.colmap import write_colmap
from scene.installing import pip_line
from scene.scene import PointCloud

VIEWS = 8


def compare(rows: list[dict[str, Any]], opensplat: Path | None, scene: Path | None) -> dict[str, Any]:
    """Prints a table of all programs: bytes and flops of a training iteration, the theoretical minimum ("floor") in
    milliseconds, and the measured milliseconds. Programs that are not installed get a sentence."""
    print("\nside by side, one training iteration; MB, Mflop and floor are the same for all programs")
    print(f"{'':>24} {'image':>10} {'Gaussians':>9} {'MB':>7} {'Mflop':>7} {'floor ms':>9} {'ms':>9} {'share':>6}")
    peers: dict[str, Any] = {"opensplat": []}
    for row in rows:
        _print_row(f"ours, {row['threads']} threads", row, row["floor"], row["fused_iteration_ms"])
    if opensplat is None:
        peers["opensplat"] = "not given: --opensplat BINARY times it"
    else:
        most = max(row["threads"] for row in rows)
        for row in (row for row in rows if row["threads"] == most):
            result = _opensplat(opensplat, scene, row)
            peers["opensplat"].append({"count": row["count"], "size": [row["width"], row["height"]], "ms": result})
            _print_row("OpenSplat", row, row["floor"], result)
    for name in ("gsplat", "inria"):
        peers[name] = _on_a_gpu(name)
    for name, result in peers.items():
        if isinstance(result, str):
            print(f"{name:>24} {result}")
    return peers


def _print_row(name: str, row: dict[str, Any], floor: dict[str, dict[str, float]], result: float | str) -> None:
    moved, flops, least = (sum(stage[key] for stage in floor.values()) for key in ("bytes", "flops", "ms"))
    size = f"{row['width']}x{row['height']}"
    figures = result if isinstance(result, str) else f"{result:9.1f} {least / result:6.1%}"
    print(f"{name:>24} {size:>10} {row['count']:>9} {moved / 1e6:7.1f} {flops / 1e6:7.0f} {least:9.2f} {figures}")


def _on_a_gpu(name: str) -> str:
    """One sentence about a program that needs a GPU."""
    if name == "inria":
        return "has the same package name as ours and needs an NVIDIA GPU: benchmarks/gpu.py --inria FOLDER times it"
    try:
        __import__("gsplat")
    except ImportError:
        line = pip_line("gsplat>=1.5", depends_on_torch=True)
        return f"is not installed: {line}, and benchmarks/gpu.py times it on an NVIDIA GPU"
    if not torch.cuda.is_available():
        return "is installed, but it renders on NVIDIA GPUs and none was found"
    return "is installed: benchmarks/gpu.py times it"


def _opensplat(binary: Path, scene: Path | None, row: dict[str, Any]) -> float | str:
    """Milliseconds per iteration of OpenSplat on the CPU, from two runs of different length, which excludes start-up.

    OpenSplat creates one Gaussian for each point of a scene; by default that is a synthetic scene with `count` points.
    Its first iterations use spherical harmonics of degree 0, which is less work than ours.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        if scene is None:
            scene = Path(folder) / "scene"
            _write_scene(scene, row["count"], row["width"], row["height"])
        for iterations in (5, 45):
            # --num-downscales 0: images at full size from the first iteration
            command = [str(binary), str(scene), "--cpu", "--num-downscales", "0", "-n", str(iterations)]
            command += ["-o", str(Path(folder) / "splats.ply")]
            start = time.perf_counter()
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                return f"could not be started: {error.strerror}"
            if done.returncode:
                said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
                return f"failed: {said[-1] if said else done.returncode}"
            seconds.append(time.perf_counter() - start)
    return 1e3 * (seconds[1] - seconds[0]) / 40


def _write_scene(folder: Path, count: int, width: int, height: int) -> None:
    """Writes a COLMAP scene with random images and points distributed like the Gaussians of `make_gaussians`."""
    random = np.random.default_rng(0)
    focal = 0.9 * width
    z = 1.5 + 3 * random.random(count)
    x, y = (random.random(count) - 0.5) * width / focal * z, (random.random(count) - 0.5) * height / focal * z
    names, cameras = [], []
    (folder / "images").mkdir(parents=True)
    for view in range(VIEWS):
        names.append(f"{view:05d}.png")
        cv2.imwrite(str(folder / "images" / names[-1]), random.integers(0, 256, (height, width, 3), np.uint8))
        pose = np.eye(4)
        pose[0, 3] = 0.02 * (view - VIEWS / 2)
        cameras.append(Camera(width, height, focal, focal, width / 2, height / 2, pose))
    points = PointCloud(np.stack([x, y, z], 1).astype(np.float32), random.integers(0, 256, (count, 3), np.uint8))
    write_colmap(folder / "sparse" / "0", names, cameras, points)
