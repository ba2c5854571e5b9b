"""Small networks with made-up weights, and goldens that the official code computed with the same weights."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.network import TwoViewNetwork
from tests.dynamic_predictor.das3r.small_networks import COPIES, SHARED, TINY, filled_network


@pytest.fixture(scope="session")
def das3r_tiny() -> TwoViewNetwork:
    return filled_network(TINY)


@pytest.fixture(scope="session")
def monst3r_tiny() -> TwoViewNetwork:
    return filled_network(replace(TINY, has_mask_heads=False))


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], dict[str, np.ndarray]]:
    """Reads a golden by file name from ../shared, or its copy in this repository, which may have every fourth pixel of
    the outputs only."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = SHARED / name if (SHARED / name).exists() else COPIES / name
        if not path.exists():
            path = request.getfixturevalue("shared") / "parity" / "das3r" / name
        with np.load(path) as arrays:
            return dict(arrays)

    return read


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
