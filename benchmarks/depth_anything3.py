"""Time, operations and memory of Depth Anything 3 at the published sizes, compared with the official code.

    python benchmarks/depth_anything3.py [--models da3-small da3-base da3-large] [--width 504] [--height 280]
        [--views 2] [--threads 2] [--repeats 3] [--official SRC] [--json OUT.json]

`ours` predicts depth and cameras without rays; `rays` predicts them too; `bfloat16` is `ours` with the backbone in
bfloat16. `operations` computes the operations of the official code with our blocks: always rays, with outputs at all
four levels of which one is used, and 1x1 convolutions after the enlarging instead of before it.

With `--official SRC`, the folder `src` of a checkout of the official repository (its network needs einops, addict and
omegaconf), the official network runs too, with the same weights: `official` in float32, as in its benchmark, and
`official_half` with the float16 autocast of its interface on machines without a GPU. Weights are made up, results are
compared, and the contestants run alternately; ratios are medians over the rounds. With one thread the seconds are
processor seconds, which are comparable on shared machines.
"""

import argparse
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from dynamic_predictor.depth_anything3.heads import DepthRayHead
from dynamic_predictor.depth_anything3.network import AnyViewNetwork, ForwardOptions, build_network
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS
from dynamic_predictor.networks.dense_head import add_plane_embedding
from dynamic_predictor.networks.dense_prediction import FeatureFusion
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights
from scene.files.json_files import write_json


def peak_bytes() -> int:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _fuse_as_published(
    self: FeatureFusion, coarse: Tensor, lateral: Tensor | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    features = self.resConfUnit2(coarse if lateral is None else coarse + self.resConfUnit1(lateral))
    factor = 2.0 if size is None else None
    return self.out_conv(interpolate(features, size=size, scale_factor=factor, mode="bilinear", align_corners=True))


def _refine_as_published(self: DepthRayHead, levels: list[Tensor], suffix: str = "") -> Tensor:
    maps = levels[3]
    aspect = levels[0].shape[-1] / levels[0].shape[-2]
    for level in (4, 3, 2, 1):
        lateral = levels[level - 1] if level < 4 else None
        size = (levels[level - 2].shape[-2], levels[level - 2].shape[-1]) if level > 1 else None
        maps = getattr(self.scratch, f"refinenet{level}{suffix}")(maps, lateral, size)
        if suffix and level > 1:
            # computed at every level and not used
            add_plane_embedding(self.scratch.output_conv1_aux[4 - level](maps), aspect)
    return maps


@contextmanager
def official_operations():
    """Makes networks compute the operations of the official code."""
    with (
        patch.object(FeatureFusion, "forward", _fuse_as_published),
        patch.object(DepthRayHead, "refine", _refine_as_published),
    ):
        yield


Contestant = Callable[[], Any]


def official_network(source: Path, name: str, weights: dict[str, Tensor]) -> torch.nn.Module:
    """The official network called `name` from a checkout, with the given `weights`."""
    sys.path.insert(0, str(source))
    from depth_anything_3.cfg import create_object, load_config  # pyright: ignore[reportMissingImports]
    from depth_anything_3.registry import MODEL_REGISTRY  # pyright: ignore[reportMissingImports]

    network = create_object(load_config(MODEL_REGISTRY[name])).eval()
    # not strict: copies of the norm of the rays and unused outputs have no weights here
    network.load_state_dict(weights, strict=False)
    return network


def operations_of(work: Contestant) -> int:
    """Floating-point operations of one run, including attention."""
    # attention as matrix products: the counter supports neither the fused kernel of CPUs nor fused linear layers
    torch.backends.mkldnn.enabled = False
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            work()
    finally:
        torch.backends.mkldnn.enabled = True
    return counter.get_total_flops()


def take_turns(contestants: dict[str, Contestant], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, without the first round."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for index in range(rounds + 1):
        for name, work in contestants.items():
            begin = clock()
            work()
            if index:
                seconds[name].append(clock() - begin)
    return seconds


@torch.inference_mode()
def measure_model(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    network = network_without_values(lambda: build_network(PUBLISHED_MODELS[name].settings))
    weights = network.state_dict()
    fill_with_made_up_weights(weights)
    assert isinstance(network, AnyViewNetwork)
    images = torch.randn(1, options.views, 3, options.height, options.width)

    def ours(
        precision: torch.dtype = torch.float32, *, rays: bool = False, chunk: int = options.views_per_chunk
    ) -> Any:
        network.precision = precision
        with kept_freed_memory():
            return network(images, ForwardOptions(rays=rays, views_per_chunk=chunk))

    def official_in_our_blocks() -> Any:
        with official_operations():
            return ours(rays=True, chunk=8)

    expected = ours().depth
    peak = peak_bytes()
    contestants: dict[str, Contestant] = {
        "ours": ours,
        "rays": lambda: ours(rays=True),
        "bfloat16": lambda: ours(torch.bfloat16),
        "operations": official_in_our_blocks,
    }
    depths = {"bfloat16": contestants["bfloat16"]().depth, "operations": official_in_our_blocks().depth}
    if options.official is not None:
        theirs = official_network(options.official, name, weights)

        def official_half() -> Any:
            with torch.autocast("cpu", dtype=torch.float16):
                return theirs(images)

        contestants["official"] = lambda: theirs(images)
        depths["official"] = theirs(images).depth
        if options.half:
            contestants["official_half"] = official_half
            depths["official_half"] = official_half().depth
    contestants = {what: contestants[what] for what in contestants if what not in options.without}
    seconds = take_turns(contestants, options.repeats)
    row: dict[str, Any] = {
        "model": name,
        "parameters_gib": sum(p.numel() for p in network.parameters()) * 4 / 2**30,
        "peak_gib": peak / 2**30,
        "operations_per_image": {
            what: operations_of(contestants[what]) / options.views
            for what in ("ours", "rays", "operations")
            if what in contestants
        },
        "seconds_per_image": {
            what: [round(second / options.views, 4) for second in values] for what, values in seconds.items()
        },
        "times_as_fast": {
            what: {
                other: round(statistics.median(b / a for a, b in zip(seconds[what], values, strict=True)), 3)
                for other, values in seconds.items()
                if other.startswith(("o", "official")) and other not in ("ours", what)
            }
            for what in ("ours", "bfloat16")
            if what in seconds
        },
        "depth_differs_relatively": {
            what: _differences(depth, expected) for what, depth in depths.items() if what in contestants
        },
    }
    for what in ("operations", "official"):
        assert what not in depths or row["depth_differs_relatively"].get(what, {}).get("most", 0) < 1e-3, row
    return row


def _differences(depth: Tensor, expected: Tensor) -> dict[str, float]:
    error = (depth.float() / expected - 1).abs().flatten()
    return {
        "median": float(error.median()),
        "99 percent below": float(error.quantile(0.99)),
        "most": float(error.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["da3-small", "da3-base", "da3-large"])
    parser.add_argument("--width", type=int, default=504)
    parser.add_argument("--height", type=int, default=280)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--views-per-chunk", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--official", type=Path, metavar="SRC", help="src of a checkout of the official repository")
    parser.add_argument("--half", action="store_true", help="also with its float16 autocast (slow)")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="contestants to leave out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    clock = "processor seconds" if options.threads == 1 else "seconds"
    print(f"{options.views} views of {options.width}x{options.height}, {options.threads} threads; {clock} per image")
    for name in options.models:
        row = measure_model(name, options)
        rows.append(row)
        print(f"{name}, peak {row['peak_gib']:.2f} GiB")
        for what, values in row["seconds_per_image"].items():
            operations = row["operations_per_image"].get(what)
            counted = f"{operations / 1e9:6.0f} G operations" if operations else " " * 19
            ratio = [row["times_as_fast"].get(which, {}).get(what) for which in ("ours", "bfloat16")]
            compared = "" if ratio[0] is None else f", ours is {ratio[0]:.2f} times as fast"
            compared += "" if ratio[1] is None else f", with bfloat16 {ratio[1]:.2f}"
            print(f"  {what:<14} {counted} {statistics.median(values):7.3f} s{compared}", flush=True)
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key not in ("json", "official")}
        record = {
            "machine": _processor(),
            "torch": torch.__version__,
            "clock": clock,
            "settings": settings,
            "rows": rows,
        }
        write_json(options.json, record)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
