"""Wall time and processor time of a fused iteration beside busy processes."""

import os
import statistics
import subprocess
import sys
import time
from typing import Any

import diff_gaussian_rasterization as kernels
import torch

_BUSY = "while True: pass"


def measure_neighbors(gaussians: dict[str, torch.Tensor], row: dict[str, Any], repeats: int) -> list[dict[str, float]]:
    """Prints and returns milliseconds of an iteration without a busy process, with one, and with one on each core.

    Threads that spin while waiting would increase the processor time. With a fair scheduler the wall time grows to
    about (threads + neighbors) / cores of the time alone.
    """
    kernels.set_num_threads(row["threads"])
    optimizer = kernels.FusedOptimizer(**{name: tensor.detach().clone() for name, tensor in gaussians.items()})
    learning_rates = dict.fromkeys(gaussians, 1e-5)
    width, height = row["width"], row["height"]
    target, d_image = torch.rand(3, height, width), torch.empty(3, height, width)
    camera = (torch.eye(4), torch.tensor([0.9 * width, 0.9 * width, width / 2, height / 2]), width, height)

    def iterate() -> tuple[float, float]:
        clock, processor = time.perf_counter(), time.process_time()
        image = optimizer.render(*camera).image
        factor = 1.0 / (width * height)
        kernels.photometric_loss(image, target, l1_factor=0.8 * factor, ssim_factor=0.2 * factor, out=d_image)
        optimizer.step(d_image, learning_rates=learning_rates)
        return time.perf_counter() - clock, time.process_time() - processor

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"\n{row['count']} Gaussians, {width}x{height}, {row['threads']} threads, {cores} cores")
    print(f"{'neighbors':>12} {'ms':>8} {'slowest':>8} {'processor ms':>13}")
    found = []
    for count in sorted({0, 1, cores}):
        neighbors = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
        try:
            samples = [iterate() for _ in range(repeats + 3)][3:]
        finally:
            for neighbor in neighbors:
                neighbor.kill()
                neighbor.wait()
        clock, processor = ([1e3 * sample[k] for sample in samples] for k in range(2))
        found.append(
            {
                "neighbors": count,
                "median_ms": statistics.median(clock),
                "slowest_ms": max(clock),
                "processor_ms": statistics.median(processor),
            }
        )
        figures = found[-1]
        print(
            f"{count:>12} {figures['median_ms']:8.1f} {figures['slowest_ms']:8.1f} {figures['processor_ms']:13.1f}",
            flush=True,
        )
    return found
