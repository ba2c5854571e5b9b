"""Times every part of a training iteration on the CPU, for a grid of image sizes and numbers of Gaussians.

    python benchmarks/rasterizer.py [--sizes 512x288 1920x1080] [--counts 20000 100000] [--threads 1 2] [--json FILE]
    python benchmarks/rasterizer.py --compare [--opensplat BINARY]
    python benchmarks/rasterizer.py --neighbor

One training iteration is projection, binning, compositing, L1 + SSIM, the backward pass, and Adam on all 59 numbers of
each Gaussian with spherical harmonics of degree 3. All Gaussians are in view, in Morton order, as the optimizer stores
them. `iteration` uses autograd, `fused_iteration` uses FusedOptimizer, whose backward pass takes the step of Adam.
`inference` is an image rendered by `rasterize` without gradients, `prepared` one by PreparedGaussians. Figures are
medians in milliseconds.
"""

import argparse
import json
import platform
import resource
import statistics
import time
from pathlib import Path

import diff_gaussian_rasterization as kernels
import torch
from diff_gaussian_rasterization._library import Frame
from rasterizer_floor import floors, machine_peaks, print_shares
from rasterizer_neighbor import measure_neighbors
from rasterizer_peers import compare

from scene.gaussians import morton_order

PARTS = (
    "projection",
    "binning",
    "depth_sort",
    "forward",
    "loss",
    "backward_tiles",
    "backward_gaussians",
    "adam",
    "python",
)
HEADS = {"depth_sort": "sort", "backward_tiles": "bwd tiles", "backward_gaussians": "bwd gauss"}
HEADS["fused_iteration"] = "fused it."


def make_gaussians(count: int, width: int, height: int) -> dict[str, torch.Tensor]:
    """Gaussians all over the image, of a size that covers it several times."""
    random = torch.Generator().manual_seed(0)
    focal = 0.9 * width
    z = 1.5 + 3 * torch.rand(count, generator=random)
    u, v = torch.rand(count, generator=random) * width, torch.rand(count, generator=random) * height
    typical = (width * height / count) ** 0.5 / focal
    spread = torch.exp(0.5 * torch.randn(3, count, generator=random))
    values = {
        "means": torch.stack([(u - width / 2) / focal * z, (v - height / 2) / focal * z, z]),
        "log_scales": (typical * z * spread).log(),
        "rotations": torch.randn(4, count, generator=random),
        "logit_opacities": torch.randn(count, generator=random) * 1.5,
        "sh_coefficients": torch.randn(16, 3, count, generator=random) * 0.1,
    }
    order = morton_order(values["means"].T)
    return {name: tensor[..., order].movedim(-1, 0).requires_grad_() for name, tensor in values.items()}


def measure(count: int, width: int, height: int, threads: int, repeats: int) -> dict[str, float]:
    kernels.set_num_threads(threads)
    torch.set_num_threads(1)  # as in training, because PyTorch's threads spin and take the cores from the kernels
    gaussians = make_gaussians(count, width, height)
    moments = [{name: torch.zeros_like(t) for name, t in gaussians.items()} for _ in range(2)]
    target = torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))
    camera = {
        "camera_from_world": torch.eye(4),
        "intrinsics": torch.tensor([0.9 * width, 0.9 * width, width / 2, height / 2]),
        "width": width,
        "height": height,
    }
    samples = []
    for step in range(1, repeats + 4):
        start = time.perf_counter()
        result = kernels.rasterize(
            gaussians["means"],
            gaussians["rotations"],
            gaussians["log_scales"],
            gaussians["logit_opacities"],
            sh_coefficients=gaussians["sh_coefficients"],
            log_scales=True,
            opacity_logits=True,
            **camera,
        )
        before_loss = time.perf_counter()
        pixels = width * height
        loss = kernels.photometric_loss(result.image.detach(), target, l1_factor=0.8 / pixels, ssim_factor=0.2 / pixels)
        after_loss = time.perf_counter()
        torch.autograd.backward([result.image], [loss.gradient])
        before_adam = time.perf_counter()
        groups = [
            kernels.AdamGroup(t.detach(), t.grad, moments[0][name], moments[1][name], 1e-5)
            for name, t in gaussians.items()
            if t.grad is not None
        ]
        kernels.adam_step(groups, step)
        end = time.perf_counter()
        for tensor in gaussians.values():
            tensor.grad = None
        sample = Frame.last_statistics()
        sample |= {"loss": after_loss - before_loss, "adam": end - before_adam, "iteration": end - start}
        sample["python"] = sample["iteration"] - sum(sample[part] for part in PARTS if part != "python")
        samples.append(sample)
    for name, tensor in gaussians.items():
        gaussians[name] = tensor.detach()
    inference, prepared = render_alone(gaussians, camera, repeats)
    optimizer = kernels.FusedOptimizer(**gaussians)
    assert optimizer._on_cpu is not None
    frame = optimizer._on_cpu.frame
    learning_rates = dict.fromkeys(gaussians, 1e-5)
    d_image = torch.empty(3, height, width)
    fused, stages = [], []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        image = optimizer.render(**camera).image
        before_loss = time.perf_counter()
        kernels.photometric_loss(image, target, l1_factor=0.8 / pixels, ssim_factor=0.2 / pixels, out=d_image)
        after_loss = time.perf_counter()
        optimizer.step(d_image, learning_rates=learning_rates)
        fused.append(time.perf_counter() - start)
        stages.append(frame.statistics() | {"loss": after_loss - before_loss})
    row = {"count": count, "width": width, "height": height, "threads": threads}
    for name in (*PARTS, "iteration"):
        row[name + "_ms"] = 1e3 * statistics.median(s[name] for s in samples[3:])
    row["fused_iteration_ms"] = 1e3 * statistics.median(fused[3:])
    row["fused_stages_ms"] = {
        name: 1e3 * statistics.median(stage[name] for stage in stages[3:]) for name in (*PARTS[:-2],)
    }
    row["block_visits"] = frame.visits()
    row["inference_ms"], row["prepared_ms"] = 1e3 * inference, 1e3 * prepared["seconds"]
    row["prepared_stages_ms"] = {name: 1e3 * prepared[name] for name in ("projection", "binning", "forward")}
    for name in ("visible", "pairs", "workspace_bytes"):
        row[name] = int(samples[-1][name])
    row["state_bytes_per_gaussian"] = sum(3 * 4 * t.numel() for t in gaussians.values()) // count
    row["workspace_bytes_per_gaussian"] = row["workspace_bytes"] // count
    row["peak_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kernels.release_memory()
    return row


def render_alone(gaussians: dict, camera: dict, repeats: int) -> tuple[float, dict[str, float]]:
    """Median seconds per image by `rasterize`; for PreparedGaussians medians of the stages, and of the total `seconds`.

    Sorting a tile is part of the stage `forward`."""
    options = {"sh_coefficients": gaussians["sh_coefficients"], "log_scales": True, "opacity_logits": True}
    given = [gaussians[name] for name in ("means", "rotations", "log_scales", "logit_opacities")]
    prepared = kernels.PreparedGaussians(*given, **options)
    times, samples = [], []
    with torch.no_grad():
        for _ in range(repeats + 3):
            start = time.perf_counter()
            kernels.rasterize(*given, **options, **camera)
            times.append(time.perf_counter() - start)
        for _ in range(repeats + 3):
            start = time.perf_counter()
            prepared.render(**camera)
            seconds = time.perf_counter() - start
            samples.append(Frame.last_statistics() | {"seconds": seconds})
    medians = {name: statistics.median(sample[name] for sample in samples[3:]) for name in samples[0]}
    return statistics.median(times[3:]), medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["512x288", "960x540"], metavar="WxH")
    parser.add_argument("--counts", nargs="+", type=int, default=[20_000, 100_000, 300_000])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, kernels.num_threads()}))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--simd", default="auto", choices=["auto", "avx512", "avx2", "plain"])
    parser.add_argument(
        "--compare", action="store_true", help="print bytes, flops and the theoretical minimum; time other programs"
    )
    parser.add_argument("--opensplat", type=Path, metavar="BINARY", help="with --compare: times OpenSplat's CPU path")
    parser.add_argument(
        "--opensplat-scene", type=Path, metavar="FOLDER", help="scene for OpenSplat; by default a synthetic one"
    )
    parser.add_argument("--neighbor", action="store_true", help="time fused iterations beside busy processes too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    arguments = parser.parse_args()
    kernels.set_simd(arguments.simd)
    columns = (*PARTS, "iteration", "fused_iteration", "inference", "prepared")
    print(f"{platform.processor() or platform.machine()}, {kernels.simd()}, medians of {arguments.repeats}, ms")
    print(f"{'size':>10} {'count':>8} {'threads':>7} " + " ".join(f"{HEADS.get(c, c)[:9]:>9}" for c in columns))
    rows = []
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        for count in arguments.counts:
            for threads in arguments.threads:
                row = measure(count, width, height, threads, arguments.repeats)
                rows.append(row)
                figures = " ".join(f"{row[c + '_ms']:9.2f}" for c in columns)
                print(f"{size:>10} {count:>8} {threads:>7} {figures}", flush=True)
    print("columns in order: " + ", ".join(columns))
    report = {"simd": kernels.simd(), "machine": platform.machine(), "repeats": arguments.repeats, "rows": rows}
    if arguments.compare:
        for threads in arguments.threads:
            report[f"peaks_{threads}_threads"] = peaks = machine_peaks(threads)
            for row in rows:
                if row["threads"] == threads:
                    row["floor"] = floors(row, peaks)
                    print_shares(row, peaks)
        report["peers"] = compare(rows, arguments.opensplat, arguments.opensplat_scene)
    if arguments.neighbor:
        report["neighbors"] = []
        for row in rows:
            gaussians = make_gaussians(row["count"], row["width"], row["height"])
            report["neighbors"].append(measure_neighbors(gaussians, row, arguments.repeats))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
