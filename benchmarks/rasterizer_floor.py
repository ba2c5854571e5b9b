"""The theoretical minimum of a training iteration: bytes and flops of each stage; rasterizer.md explains the counts."""

import time
from typing import Any

import torch

#: floats of a Gaussian with spherical harmonics of degree 3
FLOATS = 59
#: flops of one splat at one pixel, counting a fused multiply-add as two
FORWARD_FLOPS, BACKWARD_FLOPS = 36, 40
#: bytes that the forward pass saves per visit (a splat composited over a block of 4x4 pixels)
SAVED = 65
LOSS_FLOPS_PER_VALUE = 230


def machine_peaks(threads: int) -> dict[str, float]:
    """The peak rates of the machine: bytes per second of a copy that exceeds the caches (read and written), and flops
    per second of a matrix product."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    source, target = torch.ones(1 << 26), torch.ones(1 << 26)
    square = torch.rand(1024, 1024)
    copies, products = [], []
    for _ in range(4):
        start = time.perf_counter()
        target.copy_(source)
        copies.append(time.perf_counter() - start)
        start = time.perf_counter()
        square @ square
        products.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return {"bytes_per_second": 8 * source.numel() / min(copies), "flops_per_second": 2 * 1024**3 / min(products)}


def floors(row: dict[str, Any], peaks: dict[str, float]) -> dict[str, dict[str, float]]:
    """Bytes, flops and the milliseconds that they take at the peak rates, by stage of the fused iteration."""
    count, pairs, pixels = row["count"], row["pairs"], row["width"] * row["height"]
    evaluated, saved = 16 * row["block_visits"], SAVED * row["block_visits"]
    needs = {
        "projection": (count * (4 * FLOATS + 64 + 4) + 16 * pairs, 400 * count),
        "binning": ((16 + 16) * pairs, 0),
        "depth_sort": (2 * 16 * pairs, 0),
        "forward": ((64 + 16) * pairs + 20 * pixels + saved, FORWARD_FLOPS * evaluated),
        "loss": (3 * 12 * pixels, LOSS_FLOPS_PER_VALUE * 3 * pixels),
        "backward_tiles": ((64 + 16 + 64) * pairs + 24 * pixels + saved, BACKWARD_FLOPS * evaluated),
        "backward_gaussians": (count * (6 * 4 * FLOATS + 64) + 64 * pairs, (600 + 12 * FLOATS) * count),
    }
    return {
        stage: {
            "bytes": moved,
            "flops": flops,
            "ms": 1e3 * max(moved / peaks["bytes_per_second"], flops / peaks["flops_per_second"]),
        }
        for stage, (moved, flops) in needs.items()
    }


def print_shares(row: dict[str, Any], peaks: dict[str, float]) -> None:
    print(
        f"\n{row['count']} Gaussians, {row['width']}x{row['height']}, {row['threads']} threads: "
        f"{peaks['bytes_per_second'] / 1e9:.0f} GB/s, {peaks['flops_per_second'] / 1e9:.0f} Gflop/s; "
        f"{row['block_visits']} block visits, {row['pairs']} pairs"
    )
    print(f"{'stage':>20} {'MB':>8} {'Mflop':>8} {'floor ms':>9} {'ours ms':>8} {'share':>6}")
    total = 0.0
    for stage, floor in row["floor"].items():
        ours = row["fused_stages_ms"][stage]
        total += floor["ms"]
        print(
            f"{stage:>20} {floor['bytes'] / 1e6:8.1f} {floor['flops'] / 1e6:8.0f} {floor['ms']:9.2f} {ours:8.2f} "
            f"{floor['ms'] / ours:6.0%}"
        )
    whole = row["fused_iteration_ms"]
    print(f"{'whole iteration':>20} {'':>8} {'':>8} {total:9.2f} {whole:8.2f} {total / whole:6.0%}")
