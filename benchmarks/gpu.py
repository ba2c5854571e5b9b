"""Times training iterations on an NVIDIA GPU: ours, gsplat (if installed), Inria's loop (if its package is given).

    python benchmarks/gpu.py [--sizes 512x288 1920x1080] [--counts 100000 500000 2000000] [--inria FOLDER]

All use the same Gaussians, camera, target image and learning rates. An iteration is rendering, loss, backward pass and
Adam on all 59 numbers of a Gaussian. `ours` and `ours, graph` (the same, replayed as a CUDA graph) use FusedOptimizer;
`gsplat` uses our loss and PyTorch's fused Adam; `inria` does what its own loop does: L1 and SSIM in PyTorch and
torch.optim.Adam. `--inria` names the folder of that project's built Python package `diff_gaussian_rasterization`.

Times are medians of single iterations in milliseconds; memory is the peak that PyTorch allocated; `image` and
`gradients` are the largest differences to ours, relative to the largest value. Nothing is installed or downloaded. The
table is also written to benchmarks/results/ as JSON.
"""

import argparse
import datetime
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import diff_gaussian_rasterization as kernels
import torch
from diff_gaussian_rasterization import cuda_compiler, cuda_device, cuda_training
from rasterizer import make_gaussians

RATES = {
    "means": 1e-5,
    "rotations": 1e-4,
    "log_scales": 1e-4,
    "logit_opacities": 1e-3,
    "sh_coefficients": 1e-4,
}
RESULTS = Path(__file__).with_name("results")


class Case:
    """The inputs of the benchmark for one number of Gaussians and one image size."""

    def __init__(self, count: int, width: int, height: int) -> None:
        self.count, self.width, self.height = count, width, height
        device = torch.device("cuda")
        self.start = {name: value.detach().to(device) for name, value in make_gaussians(count, width, height).items()}
        focal = 0.9 * width
        self.pose = torch.eye(4)
        self.intrinsics = torch.tensor([focal, focal, width / 2, height / 2])
        random = torch.Generator().manual_seed(1)
        self.target = torch.rand(3, height, width, generator=random).to(device)

    def gaussians(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.start.items()}

    def loss(self, image: torch.Tensor) -> torch.Tensor:
        """The gradient of the loss to the image."""
        pixels = self.width * self.height
        factors = {"l1_factor": 0.8 / pixels, "ssim_factor": 0.2 / pixels}
        gradient = kernels.photometric_loss(image.detach(), self.target, **factors).gradient
        assert gradient is not None
        return gradient


Iteration = Callable[[], Any]


class Recording:
    """A CUDA graph with the objects it was recorded with, whose memory it needs because it has only addresses."""

    def __init__(self, graph: torch.cuda.CUDAGraph, *kept: object) -> None:
        self.graph, self.kept = graph, kept

    def __call__(self) -> None:
        self.graph.replay()


def ours(case: Case) -> Iteration:
    optimizer = kernels.FusedOptimizer(**case.gaussians())

    def iteration() -> None:
        image = optimizer.render(case.pose, case.intrinsics, case.width, case.height).image
        optimizer.step(case.loss(image), learning_rates=RATES)

    return iteration


def ours_as_graph(case: Case) -> Iteration:
    training = cuda_training.FusedTraining(cuda_device.cuda_device(torch.device("cuda")))
    parameters = list(case.gaussians().values())
    # in the order of FusedOptimizer
    order = ["means", "rotations", "log_scales", "logit_opacities", "sh_coefficients"]
    parameters = [dict(zip(case.start, parameters, strict=True))[name] for name in order]
    exp_avg, exp_avg_sq = ([torch.zeros_like(value) for value in parameters] for _ in range(2))
    camera = [value.cuda() for value in (case.pose, case.intrinsics, torch.zeros(3))]
    learning_rates = torch.tensor([*(RATES[name] for name in order), RATES["sh_coefficients"] * 0.05], device="cuda")

    def once(graph: bool) -> None:
        options = {"sh_degree": 3, "near_plane": 0.01, "antialiased": False, "graph": graph}
        image = training.render(parameters, *camera, case.width, case.height, **options).image
        output_gradients = [case.loss(image), None, None]
        options = {"steps": None, "betas": (0.9, 0.999), "epsilon": 1e-15}
        moments = exp_avg, exp_avg_sq
        training.step(
            parameters, *moments, output_gradients, learning_rates, **options, screen_gradients=None, camera=False
        )

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            once(False)
        torch.cuda.synchronize()
        once(True)
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        once(True)
    return Recording(recorded, case, training, parameters, exp_avg, exp_avg_sq, camera, learning_rates)


def gsplat_image(case: Case, values: dict[str, torch.Tensor]) -> torch.Tensor:
    from gsplat import rasterization  # pyright: ignore[reportMissingImports]

    fx, fy, cx, cy = case.intrinsics.tolist()
    matrix = torch.tensor([[[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]], device="cuda")
    images, _, _ = rasterization(
        values["means"],
        values["rotations"],
        values["log_scales"].exp(),
        values["logit_opacities"].sigmoid(),
        values["sh_coefficients"],
        case.pose.cuda()[None],
        matrix,
        case.width,
        case.height,
        sh_degree=3,
        packed=False,
    )
    return images[0].permute(2, 0, 1)


def gsplat(case: Case) -> Iteration:
    values = {name: value.contiguous().requires_grad_() for name, value in case.gaussians().items()}
    groups = [{"params": [value], "lr": RATES[name]} for name, value in values.items()]
    optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def iteration() -> None:
        image = gsplat_image(case, values)
        torch.autograd.backward([image], [case.loss(image.contiguous())])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return iteration


def plain_loss(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 and SSIM by convolutions, as in training loops with the original kernels."""
    positions = torch.arange(11, device=image.device) - 5.0
    line = torch.exp(-(positions**2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2).expand(3, 1, 11, 11).contiguous()

    def mean(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(values[None], window, padding=5, groups=3)[0]

    mx, my = mean(image), mean(target)
    vx, vy, both = mean(image**2) - mx**2, mean(target**2) - my**2, mean(image * target) - mx * my
    ssim = (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    return 0.8 * (image - target).abs().mean() + 0.2 * (1 - ssim.mean())


def inria(case: Case, package: ModuleType) -> Iteration:
    values = {name: value.contiguous().requires_grad_() for name, value in case.gaussians().items()}
    optimizer = torch.optim.Adam([{"params": [v], "lr": RATES[n]} for n, v in values.items()], eps=1e-15)
    fx, fy, cx, cy = case.intrinsics.tolist()
    width, height, far, near = case.width, case.height, 100.0, 0.01
    projection = torch.zeros(4, 4)
    projection[0, 0], projection[0, 2] = 2 * fx / width, 2 * cx / width - 1
    projection[1, 1], projection[1, 2] = 2 * fy / height, 2 * cy / height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1.0
    known = {
        "image_height": height,
        "image_width": width,
        "tanfovx": 0.5 * width / fx,
        "tanfovy": 0.5 * height / fy,
        "bg": torch.zeros(3, device="cuda"),
        "scale_modifier": 1.0,
        "viewmatrix": case.pose.T.contiguous().cuda(),
        "projmatrix": (projection @ case.pose).T.contiguous().cuda(),
        "sh_degree": 3,
        "campos": torch.zeros(3, device="cuda"),
        "prefiltered": False,
        "debug": False,
        "antialiasing": False,
    }
    settings = package.GaussianRasterizationSettings
    rasterizer = package.GaussianRasterizer(settings(**{k: v for k, v in known.items() if k in settings._fields}))

    def iteration() -> None:
        image = rasterizer(
            means3D=values["means"],
            means2D=torch.zeros_like(values["means"], requires_grad=True),
            opacities=values["logit_opacities"].sigmoid()[:, None],
            shs=values["sh_coefficients"],
            scales=values["log_scales"].exp(),
            rotations=torch.nn.functional.normalize(values["rotations"]),
        )[0]
        plain_loss(image, case.target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return iteration


def load_inria(folder: Path) -> ModuleType:
    """Imports the package under another name, because ours has the same name."""
    spec = importlib.util.spec_from_file_location(
        "inria_rasterizer", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"--inria {folder} is not a Python package: name the folder that holds its __init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure(make: Callable[[Case], Iteration], case: Case, repeats: int) -> dict[str, float]:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    iteration = make(case)
    for _ in range(5):
        iteration()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        iteration()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    begin = time.perf_counter()
    for _ in range(repeats):
        iteration()
    torch.cuda.synchronize()
    stream = 1e3 * (time.perf_counter() - begin) / repeats
    peak = torch.cuda.max_memory_allocated() - before
    return {"ms": statistics.median(times), "ms_in_a_row": stream, "peak_mb": peak / 2**20}


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def row_of(who: str, make: Callable[[Case], Iteration], case: Case, repeats: int) -> dict[str, Any]:
    """The measurements, or `error`. A failure of one contender, such as a gsplat without a compiler, must not discard
    the measurements of the others."""
    row: dict[str, Any] = {"size": f"{case.width}x{case.height}", "count": case.count, "who": who}
    try:
        row |= measure(make, case, repeats)
        if who == "gsplat":
            row |= compare(case, lambda values: gsplat_image(case, values))
        elif who == "ours" and case.count <= 500_000:
            # against the CPU kernels, which are tested with finite differences
            row |= compare(case, lambda values: our_image(case, {n: v.cpu() for n, v in values.items()}))
    except Exception as error:
        row["error"] = first_line(error)
    return row


def gradients(case: Case, render: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> dict[str, torch.Tensor]:
    values = {name: value.contiguous().requires_grad_() for name, value in case.gaussians().items()}
    image = render(values)
    random = torch.Generator().manual_seed(2)
    output_gradient = torch.randn(image.shape, generator=random).to(image.device)
    torch.autograd.backward([image], [output_gradient])
    return {"image": image.detach(), **{n: v.grad for n, v in values.items() if v.grad is not None}}


def compare(case: Case, render: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> dict[str, float]:
    """Largest differences to ours, relative to the largest value."""
    mine, others = gradients(case, lambda values: our_image(case, values)), gradients(case, render)
    relative = {
        name: ((mine[name] - value.to(mine[name].device)).abs().max() / value.abs().max()).item()
        for name, value in others.items()
    }
    return {"image": relative.pop("image"), "gradients": max(relative.values())}


def our_image(case: Case, values: dict[str, torch.Tensor]) -> torch.Tensor:
    return kernels.rasterize(
        values["means"],
        values["rotations"],
        values["log_scales"],
        values["logit_opacities"],
        sh_coefficients=values["sh_coefficients"],
        camera_from_world=case.pose,
        intrinsics=case.intrinsics,
        width=case.width,
        height=case.height,
        log_scales=True,
        opacity_logits=True,
    ).image


def compile_seconds() -> float:
    """Seconds of compiling the kernels for this GPU, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("STILLSPLAT_CACHE")
        os.environ["STILLSPLAT_CACHE"] = folder
        start = time.perf_counter()
        cuda_compiler.cached_kernels(cuda_compiler.target(torch.cuda.get_device_capability()))
        seconds = time.perf_counter() - start
        if before is None:
            del os.environ["STILLSPLAT_CACHE"]
        else:
            os.environ["STILLSPLAT_CACHE"] = before
    return seconds


def neighbors(counts: list[int]) -> list[dict[str, float]]:
    """Times distCUDA2 by our kernel, and by the KD-tree on a copy on the CPU."""
    from simple_knn import distCUDA2

    rows = []
    for count in counts:
        points = torch.randn(count, 3, device="cuda")
        distCUDA2(points)
        torch.cuda.synchronize()
        start = time.perf_counter()
        on_gpu = distCUDA2(points)
        torch.cuda.synchronize()
        middle = time.perf_counter()
        on_cpu = distCUDA2(points.cpu()).cuda()
        end = time.perf_counter()
        error = ((on_gpu - on_cpu).abs() / on_cpu.clamp_min(1e-12)).max().item()
        rows.append({"points": count, "gpu_ms": 1e3 * (middle - start), "cpu_ms": 1e3 * (end - middle), "error": error})
        print(
            f"nearest neighbors of {count}: {rows[-1]['gpu_ms']:.1f} ms, CPU {rows[-1]['cpu_ms']:.1f} ms, {error:.1e}"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["512x288", "1920x1080"], metavar="WxH")
    parser.add_argument("--counts", nargs="+", type=int, default=[100_000, 500_000, 2_000_000])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--inria", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    reason = cuda_device.unavailable_reason()
    if reason is not None:
        raise SystemExit(f"Nothing can be measured here: {reason}.")
    contenders: dict[str, Callable[[Case], Iteration]] = {"ours": ours, "ours, graph": ours_as_graph}
    if importlib.util.find_spec("gsplat") is not None:
        contenders["gsplat"] = gsplat
    else:
        print("gsplat is not installed and is left out")
    if arguments.inria is not None:
        package = load_inria(arguments.inria)
        contenders["inria"] = lambda case: inria(case, package)
    name = torch.cuda.get_device_name()
    seconds = compile_seconds()
    print(f"{name}, PyTorch {torch.__version__}, kernels compiled in {seconds:.1f} s")
    print(
        f"{'size':>10} {'count':>8} {'who':>12} {'ms':>8} {'in a row':>8} {'peak MB':>8} {'image':>8} {'gradients':>9}"
    )
    rows = []
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        for count in arguments.counts:
            case = Case(count, width, height)
            for who, make in contenders.items():
                row = row_of(who, make, case, arguments.repeats)
                rows.append(row)
                figures = [f"{row[k]:8.2f}" if k in row else "       -" for k in ("ms", "ms_in_a_row", "peak_mb")]
                figures += [f"{row[k]:8.1e}" if k in row else "       -" for k in ("image", "gradients")]
                print(f"{size:>10} {count:>8} {who:>12} " + " ".join(figures), row.get("error", ""), flush=True)
    report = {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda, "compile_seconds": seconds}
    report |= {
        "repeats": arguments.repeats,
        "iterations": rows,
        "neighbors": neighbors([100_000, 1_000_000, 5_000_000]),
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{datetime.date.today()}-gpu-{name.lower().replace(' ', '-')}.json"
    target.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {target.name}")


if __name__ == "__main__":
    main()
