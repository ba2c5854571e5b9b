"""Parts of benchmarks/gpu.py that can be checked without a GPU."""

import gc
import importlib.util
import weakref
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from tests.paths import ROOT
from tests.submodules.diff_gaussian_rasterization.pretended_gpu import PretendedGpu

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """The module, with a torch.cuda that does nothing."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", BENCHMARKS / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(torch, "cuda", MagicMock())
    return module


def test_a_recording_keeps_what_it_was_recorded_on(benchmark, monkeypatch):
    """A graph has addresses: memory that went back to PyTorch would be handed to somebody else."""
    seen = []

    class Training:
        def __init__(self, device):
            seen.append(weakref.ref(self))

        def render(self, parameters, *camera, **options):
            seen.extend(map(weakref.ref, [*parameters, *camera[:3]]))
            return SimpleNamespace(image=torch.zeros(3, 2, 2))

        def step(self, parameters, exp_avg, exp_avg_sq, output_gradients, learning_rates, **options):
            seen.extend(map(weakref.ref, [*exp_avg, *exp_avg_sq, learning_rates]))

    monkeypatch.setattr(benchmark.cuda_training, "FusedTraining", Training)
    monkeypatch.setattr(benchmark.cuda_device, "cuda_device", lambda where: None)
    start = {name: torch.zeros(4) for name in benchmark.RATES}
    case = SimpleNamespace(
        start=start,
        gaussians=lambda: {name: value.clone() for name, value in start.items()},
        pose=torch.eye(4),
        intrinsics=torch.ones(4),
        width=2,
        height=2,
        loss=lambda image: image,
    )
    with PretendedGpu():
        iteration = benchmark.ours_as_graph(case)
    gc.collect()
    assert len({id(reference) for reference in seen}) > 15
    assert all(reference() is not None for reference in seen)
    iteration()
    assert torch.cuda.CUDAGraph.return_value.replay.call_count == 1


@pytest.mark.parametrize("error", [AttributeError("'NoneType' object has no attribute 'x'\nand more"), OSError()])
def test_a_contender_that_fails_costs_its_own_row_only(error, benchmark):
    """gsplat where there is no nvcc says so by an AttributeError."""

    def make(case):
        raise error

    row = benchmark.row_of("gsplat", make, SimpleNamespace(width=64, height=48, count=500), 3)
    expected = str(error).splitlines()[0] if str(error) else "OSError"
    assert row == {"size": "64x48", "count": 500, "who": "gsplat", "error": expected}
