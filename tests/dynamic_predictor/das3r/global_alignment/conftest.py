"""Goldens of the official code: the small ones are in tests/data, the others in the shared folder beside the
repository."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from tests.paths import DATA, SHARED


@pytest.fixture(autouse=True)
def _no_gradients():
    """Replaces the fixture of the folder above: these tests need gradients."""


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """The path of a golden file by its name; skips the test if the file is missing."""

    def find(name: str) -> Path:
        for folder in (DATA / "alignment", SHARED / "parity/das3r"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"the golden {name} is neither in tests/data/alignment nor in ../shared/parity/das3r")

    return find


@pytest.fixture
def golden_arrays(golden: Callable[[str], Path]) -> Callable[[str], dict[str, np.ndarray]]:
    """The arrays of a golden .npz by its name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(golden(name), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return load


@pytest.fixture
def data(golden_arrays) -> dict[str, np.ndarray]:
    """The golden of the whole alignment: predictions, states, losses and gradients."""
    return golden_arrays("global_alignment.npz")


@pytest.fixture
def geometry(golden_arrays) -> dict[str, torch.Tensor]:
    """The golden of single geometric functions."""
    return {key: torch.from_numpy(value) for key, value in golden_arrays("geometry.npz").items()}


@pytest.fixture
def monst3r(golden_arrays) -> tuple[dict[str, np.ndarray], PairPredictions]:
    """The golden of MonST3R's motion masks and its predictions."""
    data = golden_arrays("monst3r_motion_mask.npz")
    predictions = PairPredictions(data["edges"], 24, 32, dtype=torch.float32, with_motion=False)
    predictions.store(np.arange(18), data["pred_i"], data["conf_i"], data["pred_j"], data["conf_j"])
    return data, predictions
