"""Time and memory of global alignment, on simulated predictions of a synthetic clip.

    python -m benchmarks.alignment [--frames 50] [--width 512] [--height 288] [--iterations 300] [--threads N]

The lower bound is the time to read all pointmaps, weights and flows once per iteration, at the bandwidth that the
machine reaches when it only reads them.
"""

import argparse
import json
import platform
import resource
import time
from pathlib import Path

import numpy as np
import torch

from dynamic_predictor.das3r.global_alignment.align import align
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from scene.trajectory import absolute_trajectory_error, path_length
from tests.synthetic_pairs import SyntheticClip


def peak_gib() -> float:
    """Peak memory of this process so far in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--graph", default="swinstride-5-noncyclic")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["float16", "float32"], default="float16")
    parser.add_argument("--noise", type=float, default=0.01, help="of points, relative to their depth")
    parser.add_argument("--no-flow", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    clip = SyntheticClip.make(options.frames, options.height, options.width)
    edges = pair_edges(options.frames, options.graph)
    predictions = PairPredictions(
        edges, options.height, options.width, dtype=getattr(torch, options.precision), device=options.device
    )
    clip.fill(predictions, noise=options.noise)
    flows = 0 if options.no_flow else len(edges)
    item = predictions.points.element_size()
    streamed = item * options.height * options.width * (8 * len(edges) + 2 * flows)
    bandwidth = read_bandwidth(predictions.points)
    print(f"{options.frames} frames {options.width}x{options.height}, {len(edges)} pairs, {options.threads} threads")
    print(f"predictions ready; peak memory so far {peak_gib():.2f} GiB")

    begin, begin_processor = time.perf_counter(), time.process_time()
    result = align(
        predictions, AlignmentSettings(iterations=options.iterations), flow=None if options.no_flow else clip.flow
    )
    seconds, processor = time.perf_counter() - begin, time.process_time() - begin_processor
    floor = streamed * options.iterations / bandwidth
    print(f"seconds: {result.seconds}, in total {seconds:.1f}; processor time {processor:.1f}")
    print(
        f"lower bound: {streamed / 1e9:.2f} GB per iteration at {bandwidth / 1e9:.1f} GB/s = {floor:.1f} s for "
        f"{options.iterations} iterations; optimization takes {result.seconds['optimization'] / max(floor, 1e-9):.1f} "
        f"times that"
    )
    print(f"peak memory {peak_gib():.2f} GiB")
    if options.json:
        figures = {
            "options": {key: value for key, value in vars(options).items() if key != "json"},
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "seconds": {**result.seconds, "together": seconds, "of processors": processor},
            "gigabytes_per_iteration": streamed / 1e9,
            "gigabytes_per_second": bandwidth / 1e9,
            "peak_gib": peak_gib(),
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    error = absolute_trajectory_error(result.world_from_camera, clip.world_from_camera)
    print(
        f"loss {result.losses[0]:.5f} -> {result.losses[-1]:.5f}, trajectory error "
        f"{100 * error.rmse / path_length(clip.world_from_camera):.3f} % of the path, focal length "
        f"{result.intrinsics[0, 0, 0]:.2f} for {clip.focal:.2f} pixels"
    )


def read_bandwidth(tensor: torch.Tensor) -> float:
    """Bytes per second that summing a large tensor reads."""
    flat = tensor.view(-1).view(torch.int32)
    best = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        flat.sum(dtype=torch.int32)
        if tensor.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return flat.numel() * 4 / best


if __name__ == "__main__":
    main()
