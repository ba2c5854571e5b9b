"""Idle threads sleep, so that other busy processes slow the kernels down only by their share of the processor.

The tests measure processor time, which hardly depends on other processes. Threads that spin while waiting increase it.
"""

import os
import subprocess
import sys
import time

import diff_gaussian_rasterization as kernels
import pytest
import torch

pytestmark = pytest.mark.skipif(kernels.simd() == "torch", reason="the threads are those of the compiled kernels")


def cloud(count, width, height, spread=1.0):
    """Gaussians over the left part of the image; `spread`: the part of its width."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.rand(count, generator=random) * spread - 0.5, torch.rand(count, generator=random) - 0.5
    return {
        "means": torch.stack([2 * x, 2 * height / width * y, torch.full((count,), 2.0)], 1),
        "rotations": torch.randn(count, 4, generator=random),
        "scales": torch.full((count, 3), 0.02),
        "opacities": torch.full((count,), 0.05),
        "colors": torch.rand(count, 3, generator=random),
        "camera_from_world": torch.eye(4),
        "intrinsics": torch.tensor([float(width), float(width), width / 2, height / 2]),
    }


def iterate(scene, width, height, repeats):
    means = scene["means"].requires_grad_()
    for _ in range(repeats):
        means.grad = None
        kernels.rasterize(**scene, width=width, height=height).image.sum().backward()


def processor_seconds(scene, width, height, repeats=5, tries=3):
    """The least processor time of several tries."""
    iterate(scene, width, height, 2)
    least = float("inf")
    for _ in range(tries):
        start = time.process_time()
        iterate(scene, width, height, repeats)
        least = min(least, time.process_time() - start)
    return least


def test_idle_threads_use_no_processor_time(threads):
    threads(8)
    iterate(cloud(5000, 256, 144), 256, 144, 3)
    torch.ones(1).sum()
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.05


def test_threads_sleep_while_one_has_much_to_do(threads):
    """All Gaussians are in one of two tiles, so that seven of eight threads wait."""
    scene = cloud(3000, 64, 16, spread=0.4)
    threads(1)
    alone = processor_seconds(scene, 64, 16)
    threads(8)
    together = processor_seconds(scene, 64, 16)
    assert together < 1.5 * alone + 0.02, (
        f"{together:.3f} s of the processor with eight threads, {alone:.3f} s with one"
    )


@pytest.mark.parametrize("count", [2, 8])
def test_busy_neighbors_cost_little_processor_time(count, threads):
    """With a busy process on every core, and with more threads than cores, an iteration takes about the same processor
    time as alone."""
    scene = cloud(20_000, 256, 144)
    threads(count)
    quiet = processor_seconds(scene, 256, 144)
    program = "import time; end = time.time() + 60\nwhile time.time() < end: pass"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    neighbors = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(min(cores, 16))]
    try:
        busy = processor_seconds(scene, 256, 144)
    finally:
        for neighbor in neighbors:
            neighbor.kill()
            neighbor.wait()
    # the margin is for shared caches and short time slices; spinning would take several times as long
    assert busy < 1.7 * quiet + 0.05, f"{busy:.3f} s of the processor with neighbors, {quiet:.3f} s without"
