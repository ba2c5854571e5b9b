"""Time, operations and memory of Depth Anything 3 at the published sizes, against what the official code computes.

    python benchmarks/depth_anything3.py [--models da3-small da3-base da3-large] [--width 504] [--height 280]
        [--views 2] [--threads 2] [--precision float32|bfloat16] [--json OUT.json]

`ours` is a prediction of depth and cameras without rays, which nobody asked for; `rays` adds them. `official` is
what the official code computes, in our blocks and in float32: always rays, their outputs at all four levels of which
one is used, 1x1 convolutions behind the enlarging instead of before it. Its results are checked against ours before it
is timed. Weights are made up; times do not depend on them. On a machine that others use too, the processor's seconds
are what to look at.
"""

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from dynamic_predictor.depth_anything3.dense_head import add_plane_embedding
from dynamic_predictor.depth_anything3.heads import DepthRayHead
from dynamic_predictor.depth_anything3.network import AnyViewNetwork, ForwardOptions, build_network
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS
from dynamic_predictor.made_up_weights import fill_with_made_up_weights
from dynamic_predictor.networks.dense_prediction import FeatureFusion
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.parity_case import network_without_values


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
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
            # made at every level and thrown away
            add_plane_embedding(self.scratch.output_conv1_aux[4 - level](maps), aspect)
    return maps


@contextmanager
def official_operations():
    """Inside, networks compute what the official code computes."""
    with (
        patch.object(FeatureFusion, "forward", _fuse_as_published),
        patch.object(DepthRayHead, "refine", _refine_as_published),
    ):
        yield


def measure(what: str, work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Best wall and processor seconds of `repeats` runs, and operations of one, under names that begin with `what`."""
    with FlopCounterMode(display=False) as counter:
        work()
    wall, processor = [], []
    for _ in range(repeats):
        begin, begin_processor = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - begin_processor)
    return {
        f"{what}_seconds": min(wall),
        f"{what}_processor_seconds": min(processor),
        f"{what}_operations": counter.get_total_flops(),
    }


@torch.inference_mode()
@kept_freed_memory()
def measure_model(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    network = network_without_values(lambda: build_network(PUBLISHED_MODELS[name].settings))
    fill_with_made_up_weights(network.state_dict())
    assert isinstance(network, AnyViewNetwork)
    network.precision = getattr(torch, options.precision)
    images = torch.randn(1, options.views, 3, options.height, options.width)
    plain = ForwardOptions(views_per_chunk=options.views_per_chunk)
    rays = ForwardOptions(rays=True, views_per_chunk=options.views_per_chunk)
    official = ForwardOptions(rays=True, views_per_chunk=8)
    row: dict[str, Any] = {"model": name, "parameters_gib": sum(p.numel() for p in network.parameters()) * 4 / 2**30}
    row.update(measure("ours", lambda: network(images, plain), options.repeats))
    row.update(measure("rays", lambda: network(images, rays), options.repeats))
    row["peak_gib"] = peak_bytes() / 2**30
    before = network(images, rays)
    with official_operations():
        after = network(images, official)
    difference = float((before.depth / after.depth - 1).abs().max())
    assert difference < (1e-3 if options.precision == "float32" else 0.2), difference
    del before, after
    network.precision = torch.float32
    with official_operations():
        row.update(measure("official", lambda: network(images, official), options.repeats))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["da3-small", "da3-base", "da3-large"])
    parser.add_argument("--width", type=int, default=504)
    parser.add_argument("--height", type=int, default=280)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--views-per-chunk", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    print(
        f"{options.views} views of {options.width}x{options.height}, {options.threads} threads, {options.precision}; "
        "images per second (operations and processor seconds per image)"
    )
    for name in options.models:
        row = measure_model(name, options)
        rows.append(row)
        cells = []
        for what in ("ours", "rays", "official"):
            rate, operations = options.views / row[f"{what}_seconds"], row[f"{what}_operations"] / options.views
            processor = row[f"{what}_processor_seconds"] / options.views
            cells.append(f"{what} {rate:.2f} ({operations / 1e9:.0f} G, {processor:.2f} s)")
        gain = row["official_processor_seconds"] / row["ours_processor_seconds"]
        print(f"{name:<10} {'   '.join(cells)}   {gain:.2f} times as fast   peak {row['peak_gib']:.2f} GiB", flush=True)
    if options.json:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        record = {"machine": platform.machine(), "torch": torch.__version__, "settings": settings, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
