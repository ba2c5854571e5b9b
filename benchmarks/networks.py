"""Time and memory of the two-view network: encoder, decoders and heads, at the published size.

    python benchmarks/networks.py [--width 512] [--height 288] [--network das3r|monst3r] [--frames 50] [--json OUT.json]

Also counts the floating-point operations of a whole clip, for this code and for the official one, which encodes both
frames of every pair (2 P encodings for P pairs instead of N for N frames) and repeats, for every pair, the part of the
heads that depends on one frame alone. Weights are made up; times do not depend on them.
"""

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights


def peak_bytes() -> int:
    """Peak memory of this process so far in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str, work: Callable[[], Any], repeats: int, stages: list[dict[str, Any]]) -> Any:
    """Appends to `stages` the operations, the best wall and processor times of `repeats` runs, and the increase of the
    peak memory; returns the result of `work`. Processor time is not affected by other programs on the machine."""
    before = peak_bytes()
    # without fused attention, whose CPU kernel the counter does not support
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        result = work()
    raised = max(peak_bytes() - before, 0)
    seconds, processor = [], []
    for _ in range(repeats):
        begin, processor_begin = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - begin)
        processor.append(time.process_time() - processor_begin)
    operations = counter.get_total_flops()
    print(
        f"{name:<28} {operations / 1e9:8.1f} G operations {min(seconds):7.2f} s, {min(processor):6.2f} s of processor "
        f"({operations / min(processor) / 1e9:.0f} G/s), {raised / 2**20:.0f} MiB more"
    )
    stages.append(
        {
            "name": name,
            "operations": operations,
            "seconds": min(seconds),
            "processor_seconds": min(processor),
            "raised_peak_bytes": raised,
        }
    )
    return result


@kept_freed_memory()
@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("das3r", "monst3r"), default="das3r")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--graph", default="swinstride-5-noncyclic")
    parser.add_argument("--batch", type=int, default=1, help="frames and pairs at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    config = TwoViewConfig(has_mask_heads=options.network == "das3r")
    network = network_without_values(lambda: TwoViewNetwork(config))
    fill_with_made_up_weights(network.state_dict())
    print(f"{options.network} at {options.width}x{options.height}, {options.threads} threads, batch {options.batch}")
    images = torch.rand(options.batch, 3, options.height, options.width) * 2 - 1
    stages: list[dict[str, Any]] = []
    view = measure("encode frames", lambda: network.encode(images), options.repeats, stages)
    layers, _ = measure("decode pairs, both sides", lambda: network.decode(view, view), options.repeats, stages)
    alone = measure("heads, one side, frame alone", lambda: network.frame_features(1, view), options.repeats, stages)
    measure("heads, one side, the rest", lambda: network.predict_view(1, layers, view, alone), options.repeats, stages)
    pairs = len(pair_edges(options.frames, options.graph))

    def of_clip(what: str, *, once_per_frame: bool) -> float:
        """The sum of a figure over all stages of the clip."""
        encode, decode, frame, rest = (stage[what] / options.batch for stage in stages)
        if once_per_frame:
            return options.frames * (encode + 2 * frame) + pairs * (decode + 2 * rest)
        return pairs * (2 * encode + decode + 2 * (frame + rest))

    ours = of_clip("operations", once_per_frame=True)
    official = of_clip("operations", once_per_frame=False)
    seconds = of_clip("processor_seconds", once_per_frame=True)
    print(
        f"{options.frames} frames, {pairs} pairs: {ours / 1e12:.1f} T operations where doing everything for every "
        f"pair takes {official / 1e12:.1f} T ({official / ours:.2f} times as many); "
        f"{seconds / 60:.0f} min of processor here"
    )
    print(f"peak memory {peak_bytes() / 2**30:.2f} GiB, of which parameters {_parameter_bytes(network) / 2**30:.2f}")
    if options.json:
        record = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
            "stages": stages,
            "pairs": pairs,
            "operations": ours,
            "official_operations": official,
            "processor_seconds_of_clip": seconds,
            "peak_bytes": peak_bytes(),
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def _parameter_bytes(network: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


if __name__ == "__main__":
    main()
