"""Time of every optical flow per pair, and of its parts, with made-up weights (times do not depend on their values).

    python benchmarks/optical_flow.py [--width 512] [--height 288] [--threads 1] [--device cpu]

Each frame is encoded once for all pairs that it belongs to. The official code encodes both frames of every pair, in
both directions, and upsamples after every refinement step.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from dynamic_predictor.optical_flow.correlation import correlate
from dynamic_predictor.optical_flow.dis import DISFlow
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.refinement import pixel_positions
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights


def seconds(function: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The shortest time of several repetitions."""
    function()
    best = float("inf")
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def operations(function: Callable[[], object]) -> float:
    """Multiplications and additions of convolutions and matrix products, in billions."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def measure_network(network: RAFT | SeaRAFT, images: torch.Tensor, device: torch.device) -> None:
    """Prints the time of encoding a frame, of a refinement, and of whole pairs."""
    first, second = images[:1], images[1:]
    name = type(network).__name__
    features = [network.encode(first), network.encode(second)]

    def run(iterations: int) -> Callable[[], object]:
        return lambda: network(first, second, iterations=iterations, first=features[0], second=features[1])  # type: ignore[arg-type]

    def encode() -> object:
        return network.encode(first)

    few, many = seconds(run(2), device), seconds(run(6), device)
    step = (many - few) / 4
    step_operations = (operations(run(6)) - operations(run(2))) / 4
    print(f"{name}: encode a frame {1e3 * seconds(encode, device):.0f} ms ({operations(encode):.1f} G operations)")
    print(f"{name}: a refinement {1e3 * step:.1f} ms ({step_operations:.2f} G operations)")
    print(f"{name}: the rest of a pair {1e3 * (few - 2 * step):.0f} ms")
    for iterations in sorted({network.default_iterations, 20}):
        print(f"{name}: a pair with {iterations} refinements {few + (iterations - 2) * step:.2f} s, encoding apart")


def measure_correlation(images: torch.Tensor, device: torch.device) -> None:
    """Times of `correlate` with all pairs of pixels at once, and block by block."""
    height, width = images.shape[-2] // 8, images.shape[-1] // 8
    first, second = torch.randn(2, 1, 256, height, width, device=device)
    # a smooth flow of up to 32 pixels
    waves = 4 * torch.sin(pixel_positions(first) / 9).flip(1)
    positions = pixel_positions(first) + waves
    for label, limit in (("all pairs", 1 << 40), ("in blocks", 0)):
        if label == "all pairs" and (height * width) ** 2 * 4 > 6 << 30:
            continue
        built = correlate(first, second, volume_bytes=limit)
        made = seconds(lambda limit=limit: correlate(first, second, volume_bytes=limit), device)
        read = seconds(lambda built=built: built(positions), device)
        print(f"correlation, {label}: build {1e3 * made:.1f} ms, look up {1e3 * read:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    generator = np.random.default_rng(0)
    frames = generator.random((2, options.height, options.width, 3), dtype=np.float32)
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().to(device)
    print(f"{options.width}x{options.height}, {options.threads} threads, {device}, torch {torch.__version__}")
    dis = DISFlow()
    print(f"DIS: a pair {1e3 * seconds(lambda: dis.estimate(*frames), torch.device('cpu')):.0f} ms")
    with torch.inference_mode():
        measure_correlation(images, device)
        for network_class in (SeaRAFT, RAFT):
            network = network_without_values(network_class)
            fill_with_made_up_weights(network.state_dict())
            measure_network(network.to(device), images, device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
