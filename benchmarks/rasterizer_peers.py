"""Other programs beside ours, as far as they are here."""

import subprocess
import time
from pathlib import Path
from typing import Any

import torch


def compare(rows: list[dict[str, Any]], opensplat: Path | None, scene: Path | None) -> dict[str, Any]:
    """Prints one line for each program; what is not here is said so."""
    print("\nside by side, ms per training iteration")
    for row in rows:
        name = f"ours, {row['threads']} threads, {row['count']} at {row['width']}x{row['height']}"
        print(f"{name:>50} {row['fused_iteration_ms']:9.1f}")
    peers: dict[str, Any] = {"opensplat": _opensplat(opensplat, scene)}
    for name, module in (("gsplat", "gsplat"), ("inria", "diff_gaussian_rasterization._C")):
        peers[name] = _importable(module)
    for name, result in peers.items():
        print(f"{name:>50} {result if isinstance(result, str) else f'{result:9.1f}'}")
    return peers


def _importable(module: str) -> str:
    try:
        __import__(module)
    except ImportError:
        return "not installed"
    if not torch.cuda.is_available():
        return "installed, but it needs an NVIDIA GPU and none is here"
    return "runs on the GPU: see benchmarks/gpu.py"


def _opensplat(binary: Path | None, scene: Path | None) -> float | str:
    """Milliseconds per iteration of its CPU path, from two runs of different length; start-up cancels out."""
    if binary is None or scene is None:
        return "not given (--opensplat BINARY --opensplat-scene FOLDER)"
    seconds = []
    for iterations in (5, 45):
        start = time.perf_counter()
        command = [str(binary), str(scene), "--cpu", "-n", str(iterations), "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        seconds.append(time.perf_counter() - start)
    return 1e3 * (seconds[1] - seconds[0]) / 40
